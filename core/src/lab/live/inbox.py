"""The sink of a live session: keeps a provider's events until the runner takes them. Bounded; never raises for data."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import anyio

from lab.domain.control import ClockStepped, Notice
from lab.domain.inputs import Input
from lab.domain.live_guard import Judged, LiveGuard
from lab.domain.market import BACKFILLED, Backfill, Candle, Depth, MarketData, Quote
from lab.domain.time import SECOND_NS
from lab.domain.venue_clock import PATIENCE_S
from lab.errors import text_of
from lab.live.candle_line import CandleLine
from lab.live.notice_limit import NoticeLimit
from lab.live.wake import Wake
from lab.ports import Clock, FeedState, Realm

_SAMPLES_A_REASON: Final = 5
_SAMPLE_BYTES: Final = 200
_QUEUE_MOST: Final = 100_000
_UNSURE_S: Final = 1.0
_CONFLATED: Final = (Quote, Depth)


class Inbox:
    """Holds the newest quote and depth of each symbol (a newer one replaces it, counted) and all else in order.

    Every event passes a `LiveGuard` first; what it holds out is counted and reported as malformed.
    Candles, trades and notices are never dropped: the queue's bound is far beyond what they fill; reaching it is an
    error. A candle may wait in its `CandleLine` until those before it were fetched.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        interval_ns: int,
        clock: Clock,
        *,
        realm: Realm = Realm.SYNTHETIC,
        pace: float = 1.0,
    ) -> None:
        """Make it empty. ``realm`` says how far stamps and gaps can be believed: only real clocks step.

        ``pace`` is how many seconds of the clock a real one has.
        """
        self._clock = clock
        self._guard = LiveGuard(
            symbols,
            interval_ns,
            monotonic=clock.monotonic,
            wall_ns=clock.wall_ns,
            recorded=realm is Realm.RECORDED,
            patience_s=PATIENCE_S if realm is Realm.REAL else 0.0,
            pace=pace,
        )
        self.realm = realm
        self.lines = {symbol: CandleLine(interval_ns, realm is Realm.REAL) for symbol in self._guard.symbols}
        """The order of each symbol's candles."""
        self.watchers: list[Callable[[], None]] = []
        """Called when the feed's state changes, or a candle has to wait for others."""
        self._taken: anyio.Event | None = None
        self._newest: dict[object, Quote | Depth] = {}
        self._queue: deque[Input] = deque()
        self._wake = Wake()
        self.state = FeedState.DOWN
        self.states: dict[str, int] = {}
        self.conflated = 0
        self.malformed_count = 0
        self._reasons: dict[str, int] = {}
        self._limit = NoticeLimit()
        self.quote_at = dict.fromkeys(self.lines, float("-inf"))
        """Monotonic time at which the newest quote of each symbol was fresh."""
        self.late = False
        """Whether something that waits to be taken came late."""
        self._quote_ns: dict[str, int] = {}
        self._first_open_ns: dict[str, int] = {}
        self.steps: dict[str, tuple[int, int]] = {}
        """How often each clock stepped, and by how much at most, in nanoseconds."""
        self._stepped = False

    # -- the provider's side -----------------------------------------------------------------------------------------

    def put(self, event: MarketData) -> None:
        """Take market data; see `lab.ports.Sink`."""
        now = self._clock.monotonic()
        if event.__class__ is Quote and self._guard.follows(event, now):  # nearly every event there is
            self._note_quote(event, now)
            self._conflate(event, event.symbol)
        else:
            self._take_in(self._guard.judge(event, now), now)

    def feed(self, state: FeedState, detail: str = "") -> None:
        """Take the connection's state; see `lab.ports.Sink`. What is said too often is counted and not journalled."""
        if state is self.state and not detail:
            return
        if state.__class__ is not FeedState:
            raise TypeError(f"feed() was given {text_of(repr, state, 60)}, expected a FeedState")
        if state is not self.state:
            self.state = state
            for line in self.lines.values():
                line.feed(state, self.now_ns())
            self._changed()
        self.states[state.value] = self.states.get(state.value, 0) + 1
        text, now = text_of(str, detail), self._clock.monotonic()
        self.tell_left_out()
        if self._limit.admit(f"{state.value} {_without_figures(text)}", now):
            self.notice("feed", state=state.value, detail=text)

    def malformed(self, reason: str, sample: bytes | str) -> None:
        """Count malformed input, and journal the first samples of each reason; see `lab.ports.Sink`."""
        self.malformed_count += 1
        reason = text_of(str, reason, _SAMPLE_BYTES)
        short = _without_figures(reason)
        if short not in self._reasons and len(self._reasons) >= 50:
            return
        seen = self._reasons[short] = self._reasons.get(short, 0) + 1
        if seen <= _SAMPLES_A_REASON:
            text = sample[: 4 * _SAMPLE_BYTES].decode("utf-8", "replace") if isinstance(sample, bytes) else sample
            self.notice(
                "malformed",
                reason=reason[:_SAMPLE_BYTES],
                sample=text_of(str, text, _SAMPLE_BYTES)[:_SAMPLE_BYTES],
                number=str(self.malformed_count),
            )

    # -- the session's side ------------------------------------------------------------------------------------------

    def backfill(self, symbol: str, candles: Sequence[Candle]) -> Sequence[Candle]:
        """Take candles of the past, fetched together, as one input; return those that were sound.

        Those that are newer than what the engine has come to its strategies one by one, as `hand_over` gives them.
        """
        now = self._clock.monotonic()
        sound: list[Candle] = []
        for candle in candles:
            judged = self._guard.judge(candle, now)
            self._report(judged)
            sound += [one for one in judged.let_in if isinstance(one, Candle)]
        for candle in sound:
            self.lines[symbol].passed(candle)
        if sound:
            self.give(Backfill(symbol, self.now_ns() or sound[-1].time_ns, tuple(sound)))
        return sound

    def go_on(self, candles: Iterable[Candle]) -> None:
        """Give candles to the engine that had to wait in their line."""
        for candle in candles:
            self.give(candle)

    async def taken(self) -> None:
        """Wait until the runner is through with everything that waits now."""
        if self._taken is None:
            self._taken = anyio.Event()
        await self._taken.wait()

    def history_of(self, symbol: str, candles: Sequence[Candle]) -> Sequence[Candle]:
        """Return the candles, ascending, that opened before the stream's first candle."""
        oldest_ns = candles[0].open_ns if candles else 0
        streamed = [one.open_ns for one in self._guard.waiting if isinstance(one, Candle) and one.symbol == symbol]
        begins = [open_ns for open_ns in streamed if open_ns >= oldest_ns]
        if symbol in self._first_open_ns:
            begins.append(self._first_open_ns[symbol])
        return [candle for candle in candles if candle.open_ns < min(begins)] if begins else candles

    def tell_left_out(self) -> None:
        """Say how many messages of the feed were not journalled, once the minute in which they came is over."""
        left_out = self._limit.take_left_out(self._clock.monotonic())
        if left_out:
            self.notice("feed", state=self.state.value, detail=f"{left_out} more messages of the feed within a minute")

    def end(self) -> None:
        """Note that recorded data has ended: the feed is down, which is no failure."""
        self._take_in(self._guard.end(), self._clock.monotonic())
        for line in self.lines.values():
            while line.held:
                self.go_on(line.release())
        self.state = FeedState.DOWN
        self.notice("feed", state=FeedState.DOWN.value, detail="the data ended")

    def notice(self, topic: str, **detail: str) -> None:
        """Put a notice into the stream, stamped with the estimated venue time."""
        self.give(Notice(self.now_ns(), topic, detail))

    def give(self, event: Input) -> None:
        """Append an input to the queue and wake the runner. Raises ``OverflowError`` where nobody takes any."""
        if len(self._queue) >= _QUEUE_MOST:
            raise OverflowError(f"{_QUEUE_MOST} inputs wait and none is taken")
        self._queue.append(event)
        self._wake.set()

    def now_ns(self) -> int:
        """Return the estimate of the venue's time; 0 before any stamp was believed."""
        return self._guard.clock.now_ns() or 0

    def resume_at(self, time_ns: int) -> None:
        """Note the time up to which the engine came before its session was cut off."""
        self._guard.resume_at(time_ns)

    def is_unsure(self) -> bool:
        """Return whether nobody knows the venue's time: no stamp agrees with it, or it stepped and no quote came."""
        return self._stepped or self._guard.unsure_s(self._clock.monotonic()) > _UNSURE_S

    def clock_stepped(self, step: ClockStepped) -> None:
        """Take a step of a clock, behind all that came before it."""
        times, most_ns = self.steps.get(step.clock, (0, 0))
        self.steps[step.clock] = times + 1, max(most_ns, abs(step.by_ns))
        if step.clock == "venue":
            for event in self._newest.values():
                self.give(event)
            self._newest.clear()
            self._quote_ns.clear()
            self.quote_at = dict.fromkeys(self.lines, float("-inf"))
            self._stepped = self._guard.quoted
            for line in self.lines.values():
                line.set_back(step.time_ns)
        self.give(step)

    def wake(self) -> None:
        """Let the runner look again."""
        self._wake.set()

    def wait(self) -> Awaitable[None]:
        """Wait until there is something to take."""
        return self._wake.wait()

    def take(self) -> list[Input]:
        """Return everything that waits: the queue in order, then the newest quote and depth of each symbol."""
        newest = self._newest
        if self._queue:
            if self._taken is not None:  # who waits has a turn when the runner is through with all of it
                self._taken.set()
                self._taken = None
            taken: list[Input] = [*self._queue, *newest.values()]
            self._queue.clear()
        else:
            taken = [*newest.values()]
        newest.clear()
        self.late = False
        return taken

    def _take_in(self, judged: Judged, now: float) -> None:
        self._report(judged)
        self.late = self.late or judged.behind_ns > 0
        if judged.stepped is not None:
            self.clock_stepped(judged.stepped)
        last = len(judged.let_in) - 1
        for place, event in enumerate(judged.let_in):
            if event.__class__ is Quote:
                # A late quote is as old as its time stamp.
                self._note_quote(event, now - judged.behind_ns / SECOND_NS)
            if event.__class__ in _CONFLATED and place == last:
                # A quote's key is its symbol: nearly all events are quotes, and this one is hashed already.
                self._conflate(event, event.symbol if event.__class__ is Quote else (event.__class__, event.symbol))
                continue
            if isinstance(event, Candle) and self._waits(event, self.lines[event.symbol]):
                self._changed()
                continue
            self.give(event)

    def _changed(self) -> None:
        for watcher in self.watchers:
            watcher()

    def _waits(self, candle: Candle, line: CandleLine) -> bool:
        """Return whether a candle has to wait for others. Raises ``OverflowError`` where too many do."""
        if candle.status == BACKFILLED:
            line.passed(candle)
            return False
        self._first_open_ns.setdefault(candle.symbol, candle.open_ns)
        if len(line.held) >= _QUEUE_MOST:
            raise OverflowError(f"{_QUEUE_MOST} candles wait for those before them")
        return not line.take(candle)

    def _report(self, judged: Judged) -> None:
        for reason, event in judged.held_out:
            self.malformed(reason, text_of(repr, event, 2 * _SAMPLE_BYTES))

    def _note_quote(self, quote: Quote, fresh_at: float) -> None:
        """Note when the price was fresh; a quote out of order does not count."""
        symbol, time_ns = quote[0], quote[1]
        if time_ns >= self._quote_ns.get(symbol, 0):
            self._quote_ns[symbol] = time_ns
            if fresh_at > self.quote_at[symbol]:
                self.quote_at[symbol] = fresh_at
                self._stepped = False

    def _conflate(self, event: Quote | Depth, key: object) -> None:
        waiting = self._newest.get(key)
        if waiting is None:
            self._wake.set()
        else:
            self.conflated += 1
            if event.time_ns < waiting.time_ns:
                return
        self._newest[key] = event


def _without_figures(text: str) -> str:
    """Return the beginning of a text: figures differ from one to the next, and without them the kinds are few."""
    return "".join(c for c in text if not c.isdigit())[:60]
