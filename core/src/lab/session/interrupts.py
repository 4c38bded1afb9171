"""Signals that come before anything can act on them: only counted, so that an interrupt in the first moments is not lost."""

import contextlib
import signal

from attrs import define


@define
class Interrupts:
    """How many SIGINT and SIGTERM have come so far."""

    count: int = 0

    def install(self) -> None:
        """Count signals from now on; the session takes over when it listens. Does nothing outside the main thread."""
        with contextlib.suppress(ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
