"""Handles SIGINT, SIGTERM, SIGHUP and SIGUSR1 from when `lab_command` has noted the first to the end of the process.

SIGHUP stays ignored where it was when the process began: ``nohup`` means that closing the terminal ends nothing.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

if sys.platform == "win32":
    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK)
    _KILL = None  # a file throws the kill switch there
else:
    # SIGHUP comes when a terminal is closed: an orderly end. SIGQUIT comes from a key, and stays what it is.
    _KILL = signal.SIGUSR1
    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, _KILL)


def _is_for_nobody(number: int) -> bool:
    """Return whether it is SIGHUP, and the process was told to ignore it, as ``nohup`` does."""
    return signal.Signals(number).name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN


class Interrupts:
    """Counts the signals; while nobody listens, the second ends the process at once, with 130.

    SIGUSR1 throws the kill switch of a session, any number of times, and is not counted; to whatever has no kill switch
    it is a signal like the others.
    """

    def __init__(self) -> None:
        self.count = 0
        self.killed = False
        self.own_process = False
        """Whether the process is the command line's own, so that it may be left at any moment."""
        self._on_kill: Callable[[str], None] | None = None
        self._listener: Callable[[str], None] | None = None

    def install(self, noted: Sequence[int] = ()) -> None:
        """Count signals from now on, and those that came before. Does nothing outside the main thread."""
        self._handle(self._note)
        for number in noted:
            self._note(number, None)

    def ask(self, name: str) -> None:
        """Ask for the end as a signal does, from any thread; ``name`` is what is said to have asked."""
        self.count += 1
        if self._listener is not None and self.count <= 2:
            self._listener(name)

    def release(self) -> None:
        """Let the first signal interrupt, as Python does: for commands that have nothing to bring to an end."""
        self._handle(signal.default_int_handler)

    def ignore(self) -> None:
        """Ignore further signals, so that none can change the exit code."""
        self._handle(signal.SIG_IGN)

    @contextmanager
    def handled_by(self, listener: Callable[[str], None], on_kill: Callable[[str], None]) -> Iterator[None]:
        """Give each signal's name to a listener, which brings things to an end; a third does not wait for that."""
        self._listener, self._on_kill = listener, on_kill
        try:
            yield
        finally:
            self._listener = self._on_kill = None

    def _note(self, number: int, frame: object) -> None:
        if number == _KILL:
            self.killed = True
            if self._on_kill is not None:
                self._on_kill(signal.Signals(number).name)
                return
        self.count += 1
        if self._listener is not None and self.count <= 2:
            self._listener(signal.Signals(number).name)
        elif self.count > 1:
            # An exception would be raised wherever the interpreter happens to be, even in a destructor.
            os.write(2, b"lab: interrupted\n")
            os._exit(130)

    def _handle(self, handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
        try:
            for number in _SIGNALS:
                if not _is_for_nobody(number):
                    signal.signal(number, handler)
        except ValueError:
            return  # not the main thread
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # a supervisor starts the process with them blocked
