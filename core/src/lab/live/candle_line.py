"""The order in which one symbol's candles reach the engine: after an outage, what was missed goes first. Pure."""

from collections import deque
from typing import Final

from attrs import define, field

from lab.domain.market import Candle
from lab.domain.time import SECOND_NS
from lab.domain.venue_clock import TOLERANCE_NS
from lab.ports import FeedState

_STREAMED_NS: Final = 10 * SECOND_NS
"""How long after its end the stream may still bring a candle. What is older when the feed comes back was missed."""


@define
class CandleLine:
    """Lets a candle of the stream pass while it is the next one, and holds it where others have to go before it.

    ``next_ns`` is the open time of the candle that follows those which passed; 0 before any did. With ``whole`` every
    gap is one that the feed tore: a venue's candles follow one another. Otherwise only a gap behind an outage is, for
    recorded data may have gaps of its own.
    """

    interval_ns: int
    whole: bool = False
    next_ns: int = 0
    held: deque[Candle] = field(init=False, factory=deque)
    handing_over: bool = field(init=False, default=False)
    """Whether candles of the past are on their way to the engine, in pieces."""
    behind: bool = field(init=False, default=False)
    """Whether candles are missing that ended while the feed was down."""
    _interrupted: bool = field(init=False, default=False)
    _live: bool = field(init=False, default=False)

    @property
    def wanted(self) -> bool:
        """Whether candles have to be fetched before the stream's may go on."""
        return self.behind or bool(self.held)

    @property
    def waits(self) -> bool:
        """Whether the engine's history ends before the candles that are known."""
        return self.handing_over or self.wanted

    def feed(self, state: FeedState, now_ns: int) -> None:
        """Take the feed's state, at the venue's time as far as it is known."""
        self._live = state is FeedState.LIVE
        if not self._live:
            self._interrupted = True
        elif self._interrupted:
            self.look(now_ns)

    def look(self, now_ns: int) -> None:
        """Look whether candles are missing that the stream won't bring any more."""
        self.behind = self.behind or self.missing(now_ns) > 0

    def missing(self, now_ns: int) -> int:
        """Return how many candles ended too long ago for the stream to bring them; 0 before any candle passed."""
        if not self.next_ns:
            return 0
        return max(0, (now_ns - _STREAMED_NS - self.next_ns) // self.interval_ns)

    def take(self, candle: Candle) -> bool:
        """Return whether a candle of the stream may go on; otherwise it is held."""
        if self.waits or self._tears(candle):
            self.held.append(candle)
            return False
        self.passed(candle)
        self._interrupted = not self._live
        return True

    def set_back(self, time_ns: int) -> None:
        """The venue's clock stepped: forget candles that end later than the new time, as the engine does."""
        until_ns = time_ns + TOLERANCE_NS
        self.held = deque(candle for candle in self.held if candle.open_ns + self.interval_ns <= until_ns)
        self.next_ns -= max(0, -(-(self.next_ns - until_ns) // self.interval_ns)) * self.interval_ns

    def passed(self, candle: Candle) -> None:
        """Note a candle that goes to the engine."""
        self.next_ns = max(self.next_ns, candle.open_ns + self.interval_ns)

    def release(self) -> list[Candle]:
        """Return the candles that may go on now, the first one in any case: what it waited for is not to be had."""
        self.behind = False
        released = []
        if self.held:
            released.append(self._let_go())
        return released + self.settle()

    def settle(self) -> list[Candle]:
        """Return the candles that were held, as far as they follow one another."""
        released = []
        while self.held and not self.behind and not self.handing_over and not self._tears(self.held[0]):
            released.append(self._let_go())
        return released

    def _let_go(self) -> Candle:
        candle = self.held.popleft()
        self.passed(candle)
        self._interrupted = not self._live
        return candle

    def _tears(self, candle: Candle) -> bool:
        """Return whether candles before this one are missing that the feed should have brought."""
        ahead_ns = candle.open_ns - self.next_ns
        torn = bool(self.next_ns) and ahead_ns > 0 and not ahead_ns % self.interval_ns
        return torn and (self.whole or self._interrupted)
