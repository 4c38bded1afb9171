"""Judges the times that a venue stamps its frames with, by the venue's own clock."""

from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field

from lab.domain.time import format_time
from lab.domain.venue_clock import VenueClock
from lab.feed.chain import CandleChain
from lab.feed.venue import ChannelKey
from lab.ports import Sink

SAMPLE_BYTES: Final = 400
"""How much of a malformed frame is kept as its sample."""
_DOUBT_S: Final = 1.0
_LATE_TOLD_EVERY_S: Final = 60.0


@define(kw_only=True)
class Stamps:
    """Tells frames of now from those that a healed network delivers late and from those whose time is wrong.

    Where all stamps agree on another time for 5 s the clock follows them, and open candles are judged anew; stamps that
    came later and later have to keep pace with this machine's clock for 30 s first.
    """

    clock: VenueClock
    sink: Sink
    chains: Mapping[ChannelKey, CandleChain]
    say: Callable[[str], None]
    _changes: int = field(init=False)
    _late: int = field(init=False, default=0)
    _late_told_at: float = field(init=False, default=float("-inf"))

    def __attrs_post_init__(self) -> None:
        self._changes = self.clock.changes

    def timely(self, time_ns: int, frame: bytes, now: float) -> bool:
        """Return whether a frame may be used, by its time: at most 5 s ahead of the venue's clock, and as much behind.

        One that is ahead is malformed; those behind are counted, and told once a minute.
        """
        if self.clock.follows(time_ns, now):
            return True  # nearly always
        if not self.clock.admit(time_ns, now):
            if time_ns < (self.clock.now_ns() or 0):
                self._tell_late(now)
            else:
                reason = f"time {format_time(time_ns)} is more than 5 s ahead of the venue's clock"
                self.sink.malformed(reason, frame[:SAMPLE_BYTES])
            return False
        if self.clock.changes != self._changes:
            self._changes = self.clock.changes
            for chain in self.chains.values():
                chain.assembler.clock_changed()
            self.say(f"the venue's clock now says {format_time(time_ns)}: open candles are judged anew")
        return True

    def doubtful(self, now: float) -> bool:
        """Return whether the venue's clock may have stepped: the session then is to see what is not timely.

        It judges for itself, and comes to its answer a second after this one.
        """
        return self.clock.rival_s(now) >= _DOUBT_S

    def _tell_late(self, now: float) -> None:
        """Report, at most once a minute, that frames were late; they are otherwise sound."""
        self._late += 1
        if now >= self._late_told_at + _LATE_TOLD_EVERY_S:
            self._late_told_at = now
            self.say(f"frames left out because they came more than 5 s late: {self._late} so far")
