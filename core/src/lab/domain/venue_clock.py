"""The venue's time, estimated from the stamps of what it sends."""

from collections.abc import Callable
from typing import Final

from lab.domain.time import SECOND_NS

TOLERANCE_NS: Final = 5 * SECOND_NS
"""How far a stamp may lie from the estimate. Stamps of one venue scatter by network delay and by its own servers'
clocks, well under a second; five seconds is also the age from which a quote is stale."""


class VenueClock:
    """The venue's time: learnt from time stamps, and advanced by the monotonic clock that the caller passes in.

    A stamp more than 5 s off is not followed: old bytes that a healed network delivers, or a wrong stamp. When all
    stamps agree on another time for 5 s, that one is right and the estimate was not.
    """

    __slots__ = ("_offset_ns", "_rival_ns", "_rival_since", "changes", "monotonic", "newest_ns")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self.newest_ns = 0
        self.changes = 0
        """How often the estimate was replaced."""
        self._offset_ns: int | None = None
        self._rival_ns: int | None = None
        self._rival_since = 0.0

    def admit(self, time_ns: int, now: float) -> bool:
        """Take a time stamp that came at the monotonic time ``now``; ``False`` when its event must not be used."""
        offset_ns = time_ns - int(now * SECOND_NS)
        known = self._offset_ns
        if known is None or -TOLERANCE_NS <= offset_ns - known <= TOLERANCE_NS:
            self._rival_ns = None
        elif self._rival_ns is None or abs(offset_ns - self._rival_ns) > TOLERANCE_NS:
            self._rival_ns, self._rival_since = offset_ns, now
            return False
        elif now - self._rival_since < TOLERANCE_NS / SECOND_NS:
            return False
        else:
            self._rival_ns = None
            self.newest_ns = 0
            self.changes += 1
        self._offset_ns = offset_ns
        if time_ns > self.newest_ns:
            self.newest_ns = time_ns
        return True

    def follows(self, time_ns: int, now: float) -> bool:
        """Take a stamp that agrees with the estimate, as `admit` does, and nearly all do; else change nothing."""
        known = self._offset_ns
        if known is None:
            return False
        offset_ns = time_ns - int(now * SECOND_NS)
        if not -TOLERANCE_NS <= offset_ns - known <= TOLERANCE_NS:
            return False
        self._rival_ns = None
        self._offset_ns = offset_ns
        if time_ns > self.newest_ns:
            self.newest_ns = time_ns
        return True

    def now_ns(self) -> int | None:
        """Return the venue's time now, ``None`` before the first stamp."""
        return self.at(self.monotonic())

    def at(self, now: float) -> int | None:
        """Return the venue's time at a monotonic time, ``None`` before the first stamp."""
        return None if self._offset_ns is None else self._offset_ns + int(now * SECOND_NS)
