"""The sink of a live session: what providers give, until the runner takes it. Bounded; never raises for data."""

from collections import deque
from collections.abc import Iterable
from typing import Final

import anyio

from lab.domain.control import Notice
from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED, Candle, Funding, Quote, check_candle, check_quote
from lab.domain.time import SECOND_NS
from lab.ports import Clock, FeedState

_SAMPLES_A_REASON: Final = 5
_SAMPLE_BYTES: Final = 200
_QUEUE_MOST: Final = 100_000
_AHEAD_NS: Final = 60 * SECOND_NS


class Inbox:
    """Holds one quote a symbol (the newer replaces the older, counted) and everything else in order.

    ``first_open_ns`` says where the stream of each symbol's candles began; what opened before is history.
    Candles and notices are never dropped: the queue's bound is far beyond what candles fill; reaching it is an error.
    """

    def __init__(self, symbols: Iterable[str], clock: Clock) -> None:
        self._clock = clock
        self._symbols = frozenset(symbols)
        self._quotes: dict[str, Quote] = {}
        self._queue: deque[Input] = deque()
        self._wake = anyio.Event()
        self.state = FeedState.DOWN
        self.states: dict[str, int] = {}
        self.conflated = 0
        self.malformed_count = 0
        self._reasons: dict[str, int] = {}
        self.hosts: dict[str, None] = {}
        self.quote_at = float("-inf")
        self.first_open_ns: dict[str, int] = {}
        self._venue_ns = 0
        self._venue_at = 0.0
        self._doubtful_ns = 0

    # -- the provider's side -----------------------------------------------------------------------------------------

    def quote(self, quote: Quote) -> None:
        """Take a quote; see `lab.ports.Sink`."""
        symbol = quote.symbol
        if symbol in self._quotes:
            self.conflated += 1
            if quote.time_ns < self._quotes[symbol].time_ns:
                return
        problem = check_quote(quote) if symbol in self._symbols else f"quote of {symbol!r}, which was not asked for"
        if problem is not None or not self._accept_time(quote.time_ns):
            self.malformed(problem or f"quote of {symbol} from the future: {quote.time_ns}", repr(quote))
            return
        self.quote_at = self._clock.monotonic()
        self._quotes[symbol] = quote
        self._wake.set()

    def candle(self, candle: Candle) -> None:
        """Take a closed candle; see `lab.ports.Sink`."""
        wanted = candle.symbol in self._symbols
        problem = check_candle(candle) if wanted else f"candle of {candle.symbol!r}, which was not asked for"
        if problem is not None:
            self.malformed(problem, repr(candle))
            return
        if candle.status != BACKFILLED:
            self._accept_time(candle.time_ns)
            self.first_open_ns.setdefault(candle.symbol, candle.open_ns)
        self.put(candle)

    def funding(self, funding: Funding) -> None:
        """Take a funding rate; see `lab.ports.Sink`."""
        self.put(funding)

    def feed(self, state: FeedState, detail: str = "") -> None:
        """Take the connection's state; see `lab.ports.Sink`."""
        if state is self.state and not detail:
            return
        self.state = state
        self.states[state.value] = self.states.get(state.value, 0) + 1
        self.notice("feed", state=state.value, detail=detail)

    def malformed(self, reason: str, sample: bytes | str) -> None:
        """Count malformed input, and journal the first samples of each reason; see `lab.ports.Sink`."""
        self.malformed_count += 1
        # Figures differ from one to the next: without them the reasons are few, and so are the samples.
        short = "".join(c for c in reason if not c.isdigit())[:60]
        if short not in self._reasons and len(self._reasons) >= 50:
            return
        seen = self._reasons[short] = self._reasons.get(short, 0) + 1
        if seen <= _SAMPLES_A_REASON:
            text = sample.decode("utf-8", "replace") if isinstance(sample, bytes) else sample
            self.notice(
                "malformed",
                reason=reason[:_SAMPLE_BYTES],
                sample=text[:_SAMPLE_BYTES],
                number=str(self.malformed_count),
            )

    def contacted(self, host: str) -> None:
        """Note a host; see `lab.ports.Sink`."""
        self.hosts[host] = None

    # -- the session's side ------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Learn that recorded data has ended: the feed is down, and that is no failure of it."""
        self.state = FeedState.DOWN
        self.notice("feed", state=FeedState.DOWN.value, detail="the data ended")

    def notice(self, topic: str, **detail: str) -> None:
        """Put a notice into the stream, stamped with the estimated venue time."""
        self.put(Notice(self.now_ns(), topic, detail))

    def put(self, event: Input) -> None:
        """Put any input but a quote into the queue and wake the runner."""
        if len(self._queue) >= _QUEUE_MOST:
            raise OverflowError(f"{_QUEUE_MOST} inputs wait and none is taken")
        self._queue.append(event)
        self._wake.set()

    def now_ns(self) -> int:
        """Return venue time: the newest accepted plus what the monotonic clock has gone on since; 0 before any."""
        if not self._venue_ns:
            return 0
        return self._venue_ns + int((self._clock.monotonic() - self._venue_at) * SECOND_NS)

    def wake(self) -> None:
        """Let the runner look again."""
        self._wake.set()

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._wake.wait()
        self._wake = anyio.Event()

    def take(self) -> list[Input]:
        """Return everything that waits: candles and notices in order, then the newest quote of each symbol."""
        taken: list[Input] = list(self._queue)
        self._queue.clear()
        if self._quotes:
            taken.extend(self._quotes.values())
            self._quotes.clear()
        return taken

    def _accept_time(self, time_ns: int) -> bool:
        """Follow venue time. What lies more than a minute ahead counts only once a second message agrees with it."""
        now = self._clock.monotonic()
        if self._venue_ns:
            expected = self._venue_ns + int((now - self._venue_at) * SECOND_NS)
            if time_ns > expected + _AHEAD_NS and not 0 <= time_ns - self._doubtful_ns <= _AHEAD_NS:
                self._doubtful_ns = time_ns
                return False
        if time_ns >= self._venue_ns:
            self._venue_ns = time_ns
            self._venue_at = now
        return True
