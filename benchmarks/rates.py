"""What races say of lab alone: rates of whole processes, what an order costs, and whether size changes any of it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from benchmarks.backtests import CROSS, FLIP, QUIET, STILL, Run
from benchmarks.forms import COMPILED, OWN, PLAIN
from benchmarks.measure import median
from benchmarks.suite import Suite
from benchmarks.table import alone, judged, row

Results = Sequence[Mapping[str, Any]]
Found = Mapping[Run, Results]
OfForms = Mapping[str, Results]
_CANDLES: Final = {COMPILED: 800_000, OWN: 550_000, PLAIN: 400_000}
_QUOTES: Final = {COMPILED: 1_500_000}
_TARGETS: Final = {"1,000,000 candles": _CANDLES, "1,000,000 quotes": _QUOTES}
_ORDER_US: Final = 12.0
_SAME: Final = 0.1
"""Costs per candle that differ by no more are the same."""
_FLAT: Final = 1.25
"""Peaks of memory that differ by no more than this factor are flat."""


def rate(results: Results) -> float:
    """Return rows a second of CPU time, the median's."""
    return float(results[0]["rows"] / cpu_s(results))


def cpu_s(results: Results) -> float:
    """Return the median of CPU seconds."""
    return median(one["cpu_s"] for one in results)


def wall_s(results: Results) -> float:
    """Return the median of wall-clock seconds."""
    return median(one["wall_s"] for one in results)


def peak(results: Results) -> str:
    """Return the highest peak of memory in words; empty where it is not known."""
    known = [one["peak_mib"] for one in results if one["peak_mib"] is not None]
    return f"peak {max(known):.0f} MiB" if known else ""


def show_rates(suite: Suite, what: str, found: Found) -> None:
    """Show a file's rates: compiled and plain beside each other, then with the strategy alone in plain Python."""
    for kind, name in ((CROSS, f"`lab backtest`, {what}"), (QUIET, f"`lab backtest`, {what}, no crossing traded")):
        runs = {
            run.form: results for run, results in found.items() if run.kind == kind and run.journal and not run.warm
        }
        if not runs:
            continue
        beside = {form: results for form, results in runs.items() if form != OWN}
        _show(suite, what, name, kind, beside, found)
        if OWN in runs:
            _show(suite, what, f"{name}, strategy in plain Python", kind, {OWN: runs[OWN]}, found)


def _show(suite: Suite, what: str, name: str, kind: str, runs: OfForms, found: Found) -> None:
    figures = {form: f"{rate(results):,.0f}/s ({cpu_s(results):.2f} s)" for form, results in runs.items()}
    targets = [
        judged(f"{'plain ' if form == PLAIN else ''}≥ {least:,}/s", rate(runs[form]) >= least)
        for form, least in _TARGETS.get(what, {}).items()
        if form in runs
    ]
    first = next(iter(runs.values()))
    u = median(one["cpu_s"] / one["u_ns"] for one in first) * 1e9 / first[0]["rows"]
    raw = {str(run): results for run, results in found.items() if run.kind == kind and run.form in runs}
    shown = figures if OWN not in figures else alone(figures[OWN])
    suite.add(name, raw, row(name, shown, u=u, targets=targets, note=_note(kind, runs, found)))
    if kind == CROSS and QUIET in {run.kind for run in found}:
        _show_crossing_order(suite, what, runs, found)


def _note(kind: str, runs: OfForms, found: Found) -> str:
    form, first = next(iter(runs.items()))
    walls = " and ".join(f"{wall_s(one):.2f} s" for one in runs.values())
    notes = [f"CPU, median of {len(first)}; wall {walls}"]
    if warm := [found[run] for name in runs if (run := Run(name, kind, warm=True)) in found]:
        notes.append("cache filled " + " and ".join(f"{rate(one):,.0f}/s" for one in warm))
    if (unwritten := found.get(Run(form, kind, journal=False))) is not None:
        notes.append(f"no journal {rate(unwritten):,.0f}/s, {peak(unwritten)}")
    notes += [f"{first[0]['orders']:,} orders", f"journal {first[0]['journal_bytes'] / 2**20:.1f} MiB"]
    notes.append(" and ".join(filter(None, map(peak, runs.values()))))
    return "; ".join(filter(None, notes))


def _show_crossing_order(suite: Suite, what: str, runs: OfForms, found: Found) -> None:
    """Show what an order costs where crossings cause it: text, gates, fill and journal of a run against one without."""
    if OWN in runs or what != "1,000,000 candles":
        return
    still = {form: found[Run(form, QUIET)] for form in runs}
    name = f"order with its journal, at the crossings of {what}"
    note = "the run that trades less the one that does not, by the orders: one in 13 candles"
    _show_order(suite, name, runs, still, note)


def show_orders(suite: Suite, what: str, found: Found) -> None:
    """Show what an order with its journal costs: the same candles with and without orders, whole processes."""
    names = [run.form for run in found if run.kind == FLIP]
    some, none = ({form: found[Run(form, kind)] for form in names} for kind in (FLIP, STILL))
    note = "whole processes over the same candles, with orders less without, by the orders: one every second candle"
    _show_order(suite, f"order with its journal, {what}", some, none, note)


def _show_order(suite: Suite, name: str, some: OfForms, none: OfForms, note: str) -> None:
    def each_us(form: str) -> float:
        return float((cpu_s(some[form]) - cpu_s(none[form])) / some[form][0]["orders"] * 1e6)

    figures = {form: f"{each_us(form):.2f} µs" for form in some}
    u_ns = median(one["u_ns"] for one in next(iter(some.values())))
    targets = [judged(f"≤ {_ORDER_US:g} µs", each_us(COMPILED) <= _ORDER_US)] if COMPILED in some else []
    spent = " and ".join(f"{cpu_s(some[form]):.2f} s − {cpu_s(none[form]):.2f} s" for form in some)
    shown = row(name, figures, u=each_us(next(iter(some))) * 1000 / u_ns, targets=targets, note=f"{note}; CPU {spent}")
    suite.add(name, {"with": {**some}, "without": {**none}}, shown)


def show_flatness(suite: Suite, races: Mapping[str, Found]) -> None:
    """Show whether a candle costs the same, and memory stays what it is, from the smallest file to the largest."""
    sizes = [what for what in races if what.endswith(" candles")]
    forms = [form for form in (COMPILED, PLAIN) if all(Run(form) in races[what] for what in sizes)]

    def cells(of: Callable[[str], str]) -> dict[str, str]:
        return {form: of(form) for form in forms}

    costs = {form: _steps_ns([races[what][Run(form)] for what in sizes]) for form in forms}
    peaks = {form: [max(one["peak_mib"] or 0 for one in races[what][Run(form)]) for what in sizes] for form in forms}
    even = all(abs(later / first - 1) <= _SAME for first, *others in costs.values() for later in others)
    known = all(all(values) for values in peaks.values())
    flat = all(max(values) <= _FLAT * min(values) for values in peaks.values()) if known else None
    name = f"a candle, from {' to '.join(what.removesuffix(' candles') for what in sizes)}"
    suite.add(
        "flatness", {"ns": costs, "peak_mib": peaks},
        row(name, cells(lambda form: " → ".join(f"{ns:,.0f} ns" for ns in costs[form])),
            targets=[judged("the same, to 10 %", even)],
            note="whole processes with orders and journal, each less the next smaller one: no start or end in it"),
        row("peak memory on them", cells(lambda form: " → ".join(f"{mib:.0f} MiB" for mib in peaks[form])),
            targets=[judged("flat, to a quarter", flat)], note="journal written, cache empty"),
    )  # fmt: skip


def _steps_ns(results: Sequence[Results]) -> list[float]:
    """Return what a further row costs from each size to the next."""
    pairs = pairwise(results)
    return [(cpu_s(more) - cpu_s(less)) / (more[0]["rows"] - less[0]["rows"]) * 1e9 for less, more in pairs]
