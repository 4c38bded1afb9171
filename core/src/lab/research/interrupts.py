"""Ctrl-C in a program that runs backtests: it ends them in order, and is no fault of a strategy."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lab.research.offered import Stopped


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
