"""Signals that come before anything can act on them: only counted, so that none of the first moments is lost.

Imported before everything else, so it imports next to nothing.
"""

import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """How many SIGINT and SIGTERM have come so far. The second raises ``KeyboardInterrupt``."""

    def __init__(self) -> None:
        self.count = 0

    def install(self) -> None:
        """Count signals from now on; a session takes over while it listens. Does nothing outside the main thread."""
        try:
            for number in _SIGNALS:
                signal.signal(number, self._note)
        except ValueError:
            return

    def release(self) -> None:
        """Let the first signal interrupt, as Python does: for commands that have nothing to bring to an end."""
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.default_int_handler)
        except ValueError:
            return

    def _note(self, number: int, frame: object) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
