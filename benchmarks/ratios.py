"""How peers compare: the ratio of CPU times of whole processes first, then both times and rates."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.backtests import Run
from benchmarks.forms import COMPILED
from benchmarks.peers import Peer
from benchmarks.rates import Found, cpu_s, peak, wall_s
from benchmarks.suite import Suite
from benchmarks.table import alone, judged, row

_LEAST: Final = {"backtesting.py": 6.0, "nautilus_trader": 30.0}
"""How many times as fast lab is to be on candles, compiled."""


def show_ratios(
    suite: Suite, what: str, found: Found, peers: Mapping[str, Sequence[Mapping[str, Any]]], rivals: Mapping[str, Peer]
) -> None:
    """Show each peer that ran, above 1x lab is the faster one."""
    kind = next(iter(found)).kind
    for name, theirs in peers.items():
        rival = rivals[name]
        # As many of ours as of theirs, from the same rounds.
        ours = {run: results[: len(theirs)] for run, results in found.items()}
        beside = {form.name: ours[Run(form.name, kind)] for form in suite.both() if Run(form.name, kind) in ours}
        figures = {form: _figure(results, theirs) for form, results in beside.items()}
        targets = []
        if (least := _LEAST.get(name)) is not None and COMPILED in beside and what.endswith(" candles"):
            times = _ratio(beside[COMPILED], theirs)
            targets = [judged(f"≥ {least:g}x", times >= least)]
        key = f"{what} against {rival.title}"
        raw = {"peer": theirs, "lab": {str(run): ours[run] for run in ours if run.kind == kind}}
        note = _note(suite, kind, ours, theirs, rival)
        suite.add(key, raw, row(key, figures, targets=targets, note=note))


def show_skipped(suite: Suite, reasons: Mapping[str, str]) -> None:
    """Show peers that could not take part, and why."""
    for name, reason in reasons.items():
        suite.add(f"peer {name}", {"skipped": reason}, row(f"against {name}", alone("skipped"), note=reason))


def _ratio(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> float:
    return cpu_s(theirs) / cpu_s(ours)


def _figure(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> str:
    count = ours[0]["rows"]
    return (
        f"{_ratio(ours, theirs):.1f}x: {cpu_s(ours):.2f} s against {cpu_s(theirs):.2f} s CPU, "
        f"{count / cpu_s(ours):,.0f}/s against {count / cpu_s(theirs):,.0f}/s"
    )


def _note(suite: Suite, kind: str, ours: Found, theirs: Sequence[Mapping[str, Any]], rival: Peer) -> str:
    first, one = suite.first.name, theirs[0]
    notes = [f"whole processes, median of {len(theirs)}"]
    others = ((Run(first, kind, True, True), "cache filled"), (Run(first, kind, False), "without journal"))
    notes += [f"{text} {_ratio(ours[run], theirs):.1f}x" for run, text in others if run in ours]
    notes.append(f"by the wall {wall_s(theirs) / wall_s(ours[Run(first, kind)]):.1f}x")
    notes.append(f"the peer: {one['trades']:,} trades, fees {one['fees']:.2f}, {peak(theirs)}")
    notes += [f"{text} {one[key]:.2f} s" for key, text in rival.also.items() if key in one]
    return "; ".join([*notes, rival.differs])
