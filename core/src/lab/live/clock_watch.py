"""Notices that the machine's clocks part: the wall clock was set, the machine slept, or the process stood still."""

from typing import Final

from attrs import define, field

from lab.domain.control import ClockStepped
from lab.domain.time import SECOND_NS
from lab.live.inbox import Inbox
from lab.ports import Clock

_STEP_S: Final = 2.0
_SET: Final = "the machine's clock was set, or the machine slept"
_STOOD: Final = "the process stood still"


@define
class ClockWatch:
    """Compares the wall clock with the monotonic one. `look` is called twice a second, and nothing follows from it.

    A venue's time is learnt from its stamps and advanced by the monotonic clock: the wall clock only labels. ``pace``
    is how many seconds of the session's clock a real one has.
    """

    _clock: Clock
    _inbox: Inbox
    _pace: float = 1.0
    _wall_ns: int = field(init=False)
    _at: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wall_ns, self._at = self._clock.wall_ns(), self._clock.monotonic()

    def look(self) -> None:
        """Tell a step of more than two seconds since the last look, of either clock."""
        wall_ns, at = self._clock.wall_ns(), self._clock.monotonic()
        passed_s = at - self._at
        apart_ns = wall_ns - self._wall_ns - int(passed_s * SECOND_NS)
        self._wall_ns, self._at = wall_ns, at
        if abs(apart_ns) > _STEP_S * self._pace * SECOND_NS:
            self._tell(apart_ns, _SET)
        elif passed_s > _STEP_S * self._pace:
            self._tell(int(passed_s * SECOND_NS), _STOOD)

    def _tell(self, by_ns: int, why: str) -> None:
        self._inbox.clock_stepped(ClockStepped(self._inbox.now_ns(), by_ns, "wall", why))
