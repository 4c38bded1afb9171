"""Where the trials of a sweep are run, while it goes on, and what ends it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lab.research.dask_workers import DaskWorkers
from lab.research.offered import Stopped
from lab.research.prices import Prices
from lab.research.shared import PriceFile, events_of
from lab.research.trials import Plan
from lab.research.workers import InProcess, Processes, Runner


@contextmanager
def runner_of(plan: Plan, prices: Prices, workers: int, scheduler: str | None, stopped: Stopped) -> Iterator[Runner]:
    """Return what runs the trials, while it is needed. Raises `LabError`."""
    with ExitStack() as held:
        runner: Runner
        if scheduler is not None:
            runner = DaskWorkers(plan, prices, scheduler)
        elif workers == 1:
            runner = InProcess(plan, events_of(prices), stopped)
        else:
            runner = Processes(plan, held.enter_context(PriceFile(prices)), workers)
        held.callback(runner.close)
        yield runner
