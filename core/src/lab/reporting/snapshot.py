"""A value of the trading thread that other threads may read, without a lock and without trading noticing."""

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_FRESH_S: Final = 0.6
_READ_WITHIN_S: Final = 5.0
_APART_S: Final = 0.2
_POLL_S: Final = 0.01
_WAIT_S: Final = 1.0


class Snapshot(Generic[T]):
    """Made anew by the trading thread while somebody reads it, five times a second of real time at most.

    While nobody reads it, it costs the trading thread one look at the clock. ``make`` returns a value that does not
    change afterwards.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value = make()
        self._made_at = time.monotonic()
        self._read_at = float("-inf")
        self._final = False

    def refresh(self) -> None:
        """Make the value anew where it was read within five seconds. Only for the trading thread."""
        now = time.monotonic()
        if now - self._read_at < _READ_WITHIN_S and now - self._made_at >= _APART_S:
            self.renew()

    def renew(self) -> None:
        """Make the value anew, whoever reads it. Only for the trading thread."""
        self._value = self._make()
        self._made_at = time.monotonic()

    def finish(self) -> None:
        """Make the value for the last time: nothing will change any more."""
        self._value = self._make()
        self._final = True

    def read(self) -> T:
        """Return the value. Waits a second at most for one that is not older than about half a second.

        Only for other threads than the trading one.
        """
        asked_at = self._read_at = time.monotonic()
        if asked_at - self._made_at > _FRESH_S:
            while not self._final and self._made_at < asked_at and time.monotonic() - asked_at < _WAIT_S:
                time.sleep(_POLL_S)
        return self._value
