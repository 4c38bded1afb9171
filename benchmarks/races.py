"""Whole processes in turn: each round runs every form of lab, and every peer, once on the same file.

So a machine that is slow for a while is slow for all of them. The figures are CPU time, user and system.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import field, frozen

from benchmarks.backtests import CROSS, FLIP, QUIET, STILL, Run, backtest, runs_of
from benchmarks.forms import PLAIN, why
from benchmarks.peers import Peer, prepared
from benchmarks.rates import show_flatness, show_orders, show_rates
from benchmarks.ratios import show_ratios, show_skipped
from benchmarks.suite import Suite

HUGE: Final = "candles-5000000.csv"


@frozen
class Race:
    """One file, what runs on it, and how often; peers take part in the first ``with_peers`` rounds."""

    name: str
    kind: str
    runs: list[Run]
    rounds: int
    with_peers: int
    found: dict[Run, list[dict[str, Any]]] = field(factory=dict)
    peers: dict[str, list[dict[str, Any]]] = field(factory=dict)

    @property
    def what(self) -> str:
        """The file in words."""
        kind, _, count = self.name.removesuffix(".csv").partition("-")
        return f"{int(count):,} {kind}"


def run(suite: Suite) -> None:
    """Run all races; show rates, then how the peers compare."""
    rivals: dict[str, Peer] = {}
    if "peers" in suite.groups:
        rivals, lacking = prepared(suite)
        show_skipped(suite, lacking)
    races = _plan(suite)
    for race in races:
        _hold(suite, race, rivals)
        if "backtests" in suite.groups:
            (show_orders if race.kind == FLIP else show_rates)(suite, race.what, race.found)
        show_ratios(suite, race.what, race.found, race.peers, rivals)
    if "backtests" in suite.groups and not suite.quick:
        show_flatness(suite, {race.what: race.found for race in races if race.kind == CROSS})


def _plan(suite: Suite) -> list[Race]:
    """Return the races; of lab only what peers are compared with, where only they are wanted."""
    if "backtests" not in suite.groups:
        rounds = 1 if suite.quick else 2
        kinds = {name: FLIP if name.startswith("orders") else CROSS for name in suite.expected}
        return [Race(name, kind, _compared(suite, kind), rounds, rounds) for name, kind in kinds.items()]
    return [_race(suite, name) for name in suite.expected]


def _race(suite: Suite, name: str) -> Race:
    """Return the race on one file, with everything that is to be known of lab."""
    if name == HUGE:
        return Race(name, CROSS, [Run(form.name) for form in suite.both()], 1, 0)
    if name.startswith("orders"):
        runs = [Run(form.name, kind) for form in suite.both() for kind in (FLIP, STILL)]
        return Race(name, FLIP, runs, 2 if suite.quick else 3, 1 if suite.quick else 2)
    if name.startswith("quotes"):
        runs = [*runs_of(suite, CROSS, own=False), Run(suite.first.name, journal=False)]
        return Race(name, CROSS, runs, 1 if suite.quick else 3, 1 if suite.quick else 2)
    runs = [*runs_of(suite, CROSS, QUIET), Run(suite.first.name, journal=False)]
    rounds, with_peers = (1, 1) if suite.quick else (3, 2)
    return Race(name, CROSS, runs, rounds, with_peers)


def _compared(suite: Suite, kind: str) -> list[Run]:
    first = suite.first.name
    wanted = (Run(first, kind), Run(first, kind, warm=True), Run(first, kind, journal=False), Run(PLAIN, kind))
    return list(dict.fromkeys(wanted))


def _hold(suite: Suite, race: Race, rivals: dict[str, Peer]) -> None:
    """Run all rounds of a race. A peer that fails is out of it, and said; a run of lab that fails ends it."""
    taking_part = {name: peer for name, peer in rivals.items() if race.name.partition("-")[0] in peer.files}
    if any(run.warm for run in race.runs):
        backtest(suite, race.name, Run(suite.first.name, race.kind, warm=True))  # fills the cache; not measured
    for number in range(race.rounds):
        for one in race.runs:
            race.found.setdefault(one, []).append(backtest(suite, race.name, one))
        for name, peer in list(taking_part.items()) if number < race.with_peers else []:
            if (result := _try(suite, partial(peer.race, suite, race.name), name, race.what)) is None:
                del taking_part[name]
            else:
                race.peers.setdefault(name, []).append(result)


def _try(suite: Suite, work: Callable[[], dict[str, Any]], name: str, what: str) -> dict[str, Any] | None:
    try:
        return work()
    except RuntimeError as error:
        show_skipped(suite, {f"{name}, {what}": why(error)})
        return None
