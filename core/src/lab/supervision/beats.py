"""What a supervised session tells its supervisor: a line twice a second on a pipe, as long as its loop turns."""

import contextlib
import faulthandler
import json
import os
import select
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from lab.journal.files import private

VARIABLE: Final = "SUPERVISOR_PIPE"
"""The environment variable that holds the number of the pipe."""
STACKS_NAME: Final = "stacks.log"
EVERY_S: Final = 0.5
_GONE: Final = 1


class Beats:
    """The session's end of the pipe. Without a supervisor nothing is sent."""

    now_s: Callable[[], float] = staticmethod(time.monotonic)
    """The clock by which the age of a beat's health is judged: real seconds, but for a simulated session."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        pipe = environment.get(VARIABLE, "")
        self._pipe = int(pipe) if pipe.isdigit() else None
        self._stacks: BinaryIO | None = None

    @property
    def supervised(self) -> bool:
        """Whether somebody listens."""
        return self._pipe is not None

    def keep_stacks(self, directory: Path) -> None:
        """Let a process that is aborted write the stack of each thread into the run's folder, as ``stacks.log``."""
        if self.supervised and self._stacks is None:
            self._stacks = open(directory / STACKS_NAME, "ab", opener=private)  # noqa: SIM115 - kept open
            faulthandler.enable(self._stacks)

    def end_with_supervisor(self) -> None:
        """End the process when its supervisor is gone, also while a component keeps its event loop from turning."""
        if self._pipe is not None and hasattr(select, "poll"):
            with contextlib.suppress(RuntimeError):  # no further thread can be started: the next beat ends it
                threading.Thread(
                    target=self._watch, args=(self._pipe,), name="lab supervisor watch", daemon=True
                ).start()

    @staticmethod
    def _watch(pipe: int) -> None:
        poll = select.poll()
        poll.register(pipe, 0)  # that nobody reads any more is told without asking
        poll.poll()
        os._exit(_GONE)

    async def send(self, state: Callable[[], Mapping[str, Any]], sleep: Callable[[float], Awaitable[object]]) -> None:
        """Send what ``state`` returns, again and again. A supervisor that is gone ends the process, as a kill would.

        Nobody would start it again, and the next supervisor could not while it holds its state directory.
        """
        while self._pipe is not None:
            self.tell(state())
            await sleep(EVERY_S)

    def tell(self, state: Mapping[str, Any]) -> None:
        """Send this at once."""
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, json.dumps(state).encode() + b"\n")
        except BlockingIOError:
            pass  # the supervisor is stopped; it reads on when it wakes
        except OSError:
            os._exit(_GONE)
