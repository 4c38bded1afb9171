"""What the disk is given at a session's end has three seconds: a disk that hangs keeps no process.

A call that hangs in the kernel can be interrupted by nothing in its process but the end of the process.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from lab.exit_codes import EndReason
from lab.runs.result import Echo

DISK_S: Final = 3.0
_TEXT: Final = f"the disk has not taken the end of the run within {DISK_S:g} s; the next start writes what is missing"


class LastWords:
    """Ends the process, where it is lab's own, when the disk takes too long."""

    def __init__(self, say: Echo, *, own_process: bool, leave: Callable[[int], object] = os._exit) -> None:
        self._say = say
        self._own_process = own_process
        self._leave = leave

    @contextmanager
    def in_time(self, code: int = EndReason.STORAGE.exit_code) -> Iterator[None]:
        """Leave with an exit code unless the block is through within three seconds."""
        if not self._own_process:
            yield
            return
        done = threading.Event()
        watch = threading.Thread(target=self._wait, args=(done, code), name="lab last words", daemon=True)
        with contextlib.suppress(RuntimeError):  # without memory no thread starts, and the end comes all the same
            watch.start()
        try:
            yield
        finally:
            done.set()
            if watch.ident is not None:
                watch.join(timeout=1.0)  # a process in which a thread runs is left without its last steps

    def _wait(self, done: threading.Event, code: int) -> None:
        if not done.wait(DISK_S):
            self._say(_TEXT)
            self._leave(code)
