"""Notices a blocked event loop, and what blocked it: the stack of the loop's thread while it does not turn."""

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

import anyio

LAG_S: Final = 0.25
_EVERY_S: Final = 0.1
_FRAMES: Final = 6
_TOLD_MOST: Final = 20
_TELL_EVERY_S: Final = 60.0


class LagMonitor:
    """Compares when the loop was to wake with when it did. A thread looks at the stack meanwhile.

    ``report`` is called in the loop once it turns again, with the seconds it was late and where it was: the innermost
    calls, the newest last. Seconds are real ones: in virtual time there is nothing to notice.
    """

    def __init__(self, report: Callable[[float, str], object], *, pace: float = 1.0) -> None:
        self._report = report
        self.pace = pace
        self._thread_id = threading.get_ident()
        self._due = float("inf")
        self._where = ""
        self._stopped = threading.Event()
        self._told_at = 0.0
        self.times = 0
        """How often the loop was late."""
        self._thread = threading.Thread(target=self._look, name="lab lag monitor", daemon=True)

    async def watch(self) -> None:
        """Wake ten times a second, and report when that was late: the first twenty times, then once a minute."""
        with contextlib.suppress(RuntimeError):  # no further thread can be started: it reports, and can't say where
            self._thread.start()
        try:
            await self._wake_and_compare()
        finally:
            self._stopped.set()

    async def _wake_and_compare(self) -> None:
        while True:
            self._due = time.monotonic() + _EVERY_S
            await anyio.sleep(_EVERY_S * self.pace)
            late = time.monotonic() - self._due
            self._due = float("inf")
            where, self._where = self._where, ""
            if late > LAG_S:
                self.times += 1
                now = time.monotonic()
                if self.times <= _TOLD_MOST or now - self._told_at > _TELL_EVERY_S:
                    self._told_at = now
                    self._report(late, where)

    def _look(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            if time.monotonic() - self._due > LAG_S and not self._where:
                frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - its documented purpose is debugging
                if frame is not None:
                    self._where = _calls(traceback.extract_stack(frame, limit=_FRAMES))


def _calls(stack: traceback.StackSummary) -> str:
    """Return calls in one line, the newest last, with the names of their files."""
    return " > ".join(f"{one.name} ({one.filename.rpartition('/')[2]}:{one.lineno})" for one in stack)
