"""The venue's time, estimated from the stamps of what it sends."""

from collections.abc import Callable
from typing import Final

from lab.domain.time import SECOND_NS

TOLERANCE_NS: Final = 5 * SECOND_NS
"""How far ahead of the estimate a stamp may lie. Stamps of one venue scatter by network delay and by its own servers'
clocks, well under a second; five seconds is also the age from which a quote is stale."""
STEP_NS: Final = 2 * SECOND_NS
"""How far a stamp may lie from the estimate to be followed at once."""
PATIENCE_S: Final = 5.0
"""How long all stamps must agree on another time before that is the venue's."""
STEADY_S: Final = 30.0
"""How long stamps that ran away little by little must keep pace with the monotonic clock before they are believed."""

_SETTLES_S: Final = 10.0
_DRIFT_NS: Final = SECOND_NS // 1000
"""How far two clocks may part in a second: ten times what a crystal drifts."""


class VenueClock:
    """The venue's time: learnt from time stamps, and advanced by the monotonic clock that the caller passes in.

    A stamp more than 2 s off is not followed: old bytes that a healed network delivers, or a wrong stamp. When all
    stamps agree on another time for ``patience_s``, that one is right and the estimate was not.

    Nor are stamps followed that part from the monotonic clock by more than 5 s, faster than clocks drift: they come
    later and later, through a queue that fills somewhere. Those are believed when they have kept pace for `STEADY_S`.
    """

    __slots__ = (
        "_offset_ns", "_ran_away", "_rival_ns", "_rival_since", "_settles_at", "_steady_at", "_steady_ns", "changes",
        "monotonic", "newest_ns", "patience_s", "stepped_ns",
        "unsure_since",
    )  # fmt: skip

    def __init__(self, monotonic: Callable[[], float], patience_s: float = PATIENCE_S) -> None:
        self.monotonic = monotonic
        self.patience_s = patience_s
        self.newest_ns = 0
        """The newest stamp that was used."""
        self.changes = 0
        """How often the estimate was replaced."""
        self.stepped_ns = 0
        """By how much the newest replacement changed it."""
        self.unsure_since: float | None = None
        """Since when no stamp agrees with the estimate; ``None`` while the newest did."""
        self._offset_ns: int | None = None
        self._rival_ns: int | None = None
        self._rival_since = 0.0
        self._steady_ns = 0
        self._steady_at = self._settles_at = 0.0
        self._ran_away = False

    def admit(self, time_ns: int, now: float) -> bool:
        """Take a time stamp that came at the monotonic time ``now``; ``False`` when its event must not be used."""
        if self._offset_ns is None:
            self.begin(time_ns, now)
            return True
        if self.follows(time_ns, now):
            return True
        offset_ns = time_ns - int(now * SECOND_NS)
        apart_ns = offset_ns - (self._steady_ns if self._ran_away else self._offset_ns)
        tolerance_ns, patience_s = (STEP_NS, STEADY_S) if self._ran_away else (TOLERANCE_NS, self.patience_s)
        if self.agrees_for_long(offset_ns, now, tolerance_ns, patience_s):
            self.stepped_ns = apart_ns
            self.changes += 1
            self.newest_ns = 0
            self.begin(time_ns, now)
            return True
        if not -TOLERANCE_NS <= apart_ns <= TOLERANCE_NS:
            return False
        if time_ns > self.newest_ns:
            self.newest_ns = time_ns
        return True

    def agrees_for_long(self, offset_ns: int, now: float, tolerance_ns: int, patience_s: float) -> bool:
        """Take a stamp, less its monotonic time, that nothing confirms; return whether all agreed for so long."""
        if self.unsure_since is None:
            self.unsure_since = now
        if self._rival_ns is None or not -tolerance_ns <= offset_ns - self._rival_ns <= tolerance_ns:
            self._rival_ns, self._rival_since = offset_ns, now
            return False
        return now - self._rival_since >= patience_s

    def rival_s(self, now: float) -> float:
        """Return for how long all stamps have agreed on another time; 0 where the newest agrees with the estimate."""
        return 0.0 if self._rival_ns is None else now - self._rival_since

    def begin(self, time_ns: int, now: float) -> None:
        """Believe a stamp, whatever the estimate was."""
        self._offset_ns = self._steady_ns = time_ns - int(now * SECOND_NS)
        self._steady_at, self._settles_at = now, now + _SETTLES_S
        self.confirm()
        if time_ns > self.newest_ns:
            self.newest_ns = time_ns

    def confirm(self) -> None:
        """Note that something agrees with the estimate."""
        self._rival_ns = self.unsure_since = None
        self._ran_away = False

    def follows(self, time_ns: int, now: float) -> bool:
        """Take a stamp that agrees with the estimate, as `admit` does, and nearly all do."""
        known = self._offset_ns
        if known is None:
            return False
        offset_ns = time_ns - int(now * SECOND_NS)
        parted_ns = offset_ns - self._steady_ns
        if not -STEP_NS <= offset_ns - known <= STEP_NS and not (self._ran_away and -STEP_NS <= parted_ns <= STEP_NS):
            return False
        if time_ns < self.newest_ns - STEP_NS:
            return False  # out of order, or the stamps go back little by little
        if not -TOLERANCE_NS <= parted_ns <= TOLERANCE_NS:
            self._ran_away = True
            return False
        if time_ns > self.newest_ns:
            self.newest_ns = time_ns
        self._rival_ns = self.unsure_since = None
        self._ran_away = False
        self._offset_ns = offset_ns
        if now < self._settles_at:
            self._steady_ns = max(self._steady_ns, offset_ns)  # the first stamp may have come late
        elif now >= self._steady_at + 1.0:
            most_ns = int(_DRIFT_NS * (now - self._steady_at))
            self._steady_ns += max(-most_ns, min(most_ns, parted_ns))
            self._steady_at = now
        return True

    def now_ns(self) -> int | None:
        """Return the venue's time now, ``None`` before the first stamp."""
        return self.at(self.monotonic())

    def at(self, now: float) -> int | None:
        """Return the venue's time at a monotonic time, ``None`` before the first stamp."""
        if self._offset_ns is None:
            return None
        return (self._steady_ns if self._ran_away else self._offset_ns) + int(now * SECOND_NS)
