"""Runs many seeds, in this process or in several, and counts the interesting states they reach."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Final

from attrs import define, field

from lab.campaign.trial import Trial, Verdict, runner
from lab.errors import RunError
from lab.exit_codes import EndReason

SOMETIMES: Final = (
    "back-filled", "candle not confirmed", "closed at the end", "disk failed", "disk full",
    "disk full with a working order", "filled in part", "filled while trading was shut", "killed",
    "killed before the first row", "killed twice", "killed while it recovered", "killed with a position",
    "killed with a working order", "malformed messages", "order amended", "order cancelled",
    "order ended while trading was shut", "order expired", "request refused", "resumed", "stop triggered",
    "trading shut",
)  # fmt: skip
"""The interesting states that a campaign of the default provider and strategy has to reach."""


@define
class Table:
    """What the seeds of a campaign came to so far."""

    seeds: int = 0
    rows: int = 0
    commits: int = 0
    faults: Counter[str] = field(factory=Counter)
    """How many faults of each kind were in force."""
    states: Counter[str] = field(factory=Counter)
    """In how many sessions each interesting state was reached."""
    heads: dict[int, str] = field(factory=dict)
    """The hash of the last row of each seed's journal."""
    violated: list[Verdict] = field(factory=list)

    def add(self, verdict: Verdict) -> None:
        """Count a session."""
        self.seeds += 1
        self.rows += verdict.rows
        self.commits += verdict.commits
        self.heads[verdict.seed] = verdict.head
        self.faults.update(text.partition("@")[0].partition("=")[0] for text in verdict.faults)
        self.states.update(verdict.states)
        if verdict.violations:
            self.violated.append(verdict)


def run_all(
    trial: Trial, seeds: range, jobs: int, stopped: Callable[[], object], faults: Sequence[str] | None = None
) -> Iterator[Verdict]:
    """Yield the verdict of every seed, in their order, with ``faults`` in place of those that it draws.

    Once ``stopped`` is true, no further session begins.
    """
    if jobs == 1:
        for seed in seeds:
            if stopped():
                return
            yield trial.run(seed, faults)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_ignore_interrupts) as pool:
        try:
            for verdict in pool.map(runner(trial, faults), seeds):
                yield verdict
                if stopped():
                    return
        except BrokenProcessPool:
            raise RunError(EndReason.INTERNAL, "a process of the campaign was killed; try fewer --jobs") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the first one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
