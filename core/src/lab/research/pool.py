"""Where the trials of a sweep are run, while it goes on, and what ends it."""

import signal
import threading
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


@contextmanager
def interruptible(stopped: Stopped | None) -> Iterator[Stopped]:
    """Return what says whether the end is asked for; Ctrl-C asks for it, and the second one does not wait."""
    seen: list[int] = []

    def asked() -> object:
        return bool(seen) or (stopped is not None and stopped())

    def note(number: int, frame: object) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
