"""Checks the class, figures, symbol and time of all market data before the engine takes it.

Pure. Live sessions hand in the monotonic clock's time; recorded data is judged by its own order.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from lab.domain.market import (
    BACKFILLED,
    FINAL,
    MARKET_DATA,
    MARKET_KINDS,
    UNCONFIRMED,
    Candle,
    Depth,
    Funding,
    MarketData,
    Quote,
    Trade,
    check_candle,
    check_depth,
    check_quote,
    check_trade,
)
from lab.domain.orders import Side
from lab.domain.time import SECOND_NS
from lab.domain.venue_clock import TOLERANCE_NS, VenueClock
from lab.errors import class_name, describe_error, text_of

BEHIND_NS: Final = 60 * SECOND_NS
"""How far behind the venue's clock a quote, trade or depth may arrive. What is older was held up somewhere on the way:
its price is history. A candle is never too late: the engine knows where it belongs."""

_STATUSES: Final = frozenset({FINAL, UNCONFIRMED, BACKFILLED})
_FIRST_MOST: Final = 8
_TIME_MOST: Final = 1 << 62  # the year 2116


def check_funding(funding: Funding) -> str | None:
    """Return what is wrong with a funding rate's figures, or ``None``."""
    if not -1.0 < funding.rate < 1.0:
        return f"rate {funding.rate!r} is no fraction"
    if not 0.0 <= funding.mark < 1e15:
        return f"mark {funding.mark!r} is not a price"
    return None


def _floats(*values: object) -> bool:
    return all(value.__class__ is float for value in values)


def _times(*values: object) -> bool:
    return all(value.__class__ is int and 0 <= value < _TIME_MOST for value in values)


def _candle(event: Candle) -> str | None:
    if not _times(event.open_ns, event.time_ns):
        return f"open_ns {event.open_ns!r}, time_ns {event.time_ns!r}: not times in nanoseconds"
    if not _floats(*event[3:8]):
        return f"figures {event[3:8]!r} are not all float"
    return check_candle(event) if event.status in _STATUSES else f"status {event.status!r} is unknown"


def _quote(event: Quote) -> str | None:
    _, time_ns, bid, bid_size, ask, ask_size = event  # a live session consists of these: no further calls
    if time_ns.__class__ is not int or not 0 <= time_ns < _TIME_MOST:
        return f"time_ns {time_ns!r} is no time in nanoseconds"
    if bid.__class__ is bid_size.__class__ is ask.__class__ is ask_size.__class__ is float:
        return check_quote(event)
    return f"figures {event[2:]!r} are not all float"


def _trade(event: Trade) -> str | None:
    if not _times(event.time_ns):
        return f"time_ns {event.time_ns!r} is no time in nanoseconds"
    if not _floats(event.price, event.size):
        return f"figures {event[2:4]!r} are not all float"
    return check_trade(event) if event.side.__class__ is Side else f"side {event.side!r} is no Side"


def _depth(event: Depth) -> str | None:
    if not _times(event.time_ns):
        return f"time_ns {event.time_ns!r} is no time in nanoseconds"
    for side in (event.bids, event.asks):
        if side.__class__ is not tuple:
            return f"levels are a {type(side).__name__}, not a tuple"
        for level in side:
            if level.__class__ is not tuple or len(level) != 2 or not _floats(*level):
                return f"level {level!r} is no (price, size) of two floats"
    return check_depth(event)


def _funding(event: Funding) -> str | None:
    if not _times(event.time_ns, event.next_ns):
        return f"time_ns {event.time_ns!r}, next_ns {event.next_ns!r}: not times in nanoseconds"
    if not _floats(event.rate, event.mark):
        return f"rate {event.rate!r}, mark {event.mark!r}: not float"
    return check_funding(event)


_CHECKS: Final[dict[type, Callable[..., str | None]]] = {
    Candle: _candle,
    Quote: _quote,
    Trade: _trade,
    Depth: _depth,
    Funding: _funding,
}


class Judged(NamedTuple):
    """The verdict of a `LiveGuard`: the events to step now, in order, and the events held out, each with the reason."""

    let_in: Sequence[MarketData] = ()
    held_out: Sequence[tuple[str, MarketData]] = ()
    behind_ns: int = 0
    """How far the event's stamp lies behind the venue's clock; 0 within the tolerance."""


class InputGuard:
    """Checks market data of the symbols that are wanted: its class, the types of its fields, its figures.

    ``phase_ns`` is where the candles' grid lies relative to 1970; ``None`` leaves the grid to the engine, which takes
    the first candle's.
    """

    def __init__(self, symbols: Iterable[str], interval_ns: int, *, phase_ns: int | None = 0) -> None:
        self.symbols = frozenset(symbols)
        self.interval_ns = interval_ns
        self._phase_ns = phase_ns

    def foreign(self, event: object) -> str | None:
        """Return why an event is not one of the subscription (its class or its symbol), or ``None``."""
        if event.__class__ not in _CHECKS:
            known = ", ".join(cls.__name__ for cls in MARKET_DATA)
            return f"{class_name(event)} is no market data; expected {known}"
        symbol = event[0]  # type: ignore[index]
        if symbol.__class__ is not str or symbol not in self.symbols:
            return f"{MARKET_KINDS[type(event)]} of {text_of(repr, symbol, 60)}, which was not asked for"
        return None

    def malformed(self, event: MarketData) -> str | None:
        """Return what is wrong with the fields of an event that is not `foreign`, or ``None``."""
        try:
            problem = _CHECKS[event.__class__](event)
        except BaseException as error:  # a field that can't even be compared, or described
            problem = describe_error(error)
        if problem is None and event.__class__ is Candle:
            problem = self._misplaced(event)
        return None if problem is None else f"{MARKET_KINDS[type(event)]}: {problem}"

    def _misplaced(self, candle: Candle) -> str | None:
        ended_ns = candle.open_ns + self.interval_ns
        if candle.time_ns < ended_ns:
            return f"time_ns {candle.time_ns} lies before its bucket ended at {ended_ns}: the candle is open"
        if self._phase_ns is not None and (candle.open_ns - self._phase_ns) % self.interval_ns:
            return f"open_ns {candle.open_ns} is not on the grid of {self.interval_ns} ns"
        return None


class LiveGuard(InputGuard):
    """An `InputGuard` that also judges stamps by the venue's clock.

    A first stamp is believed at once where it agrees with the machine's clock; else it waits for a second that agrees
    with it, so that one wrong frame sets no clock. ``recorded`` data has other times than the machine, and was checked
    when it was read: its first stamp is believed, and the grid of its candles may lie anywhere.

    A stamp ahead of the venue's clock is held out; its event would move the engine's time, which never goes back.
    Candles are the only clock of a source without quotes. They come as late as they come, so there the tolerance is
    one interval.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        interval_ns: int,
        *,
        monotonic: Callable[[], float],
        wall_ns: Callable[[], int],
        recorded: bool = False,
    ) -> None:
        super().__init__(symbols, interval_ns, phase_ns=None if recorded else 0)
        self.clock = VenueClock(monotonic)
        self._recorded = recorded
        self._wall_ns = wall_ns
        self._quoted = False
        self._first: list[tuple[int, MarketData]] = []

    def follows(self, quote: Quote, now: float) -> bool:
        """Return whether a quote is sound and agrees with the venue's clock, which then follows it.

        Otherwise nothing was changed: `judge` says what becomes of it.
        """
        try:
            symbol, time_ns, bid, bid_size, ask, ask_size = quote
        except ValueError:  # made past its class
            return False
        # What `foreign`, `malformed` and `_follow` ask of a quote, in one expression: a live session consists of these.
        if (
            symbol.__class__ is str
            and symbol in self.symbols
            and time_ns.__class__ is int
            and 0 <= time_ns < _TIME_MOST
            and bid.__class__ is bid_size.__class__ is ask.__class__ is ask_size.__class__ is float
            and 0.0 < bid <= ask < 1e15
            and 0.0 <= bid_size < 1e18
            and 0.0 <= ask_size < 1e18
            and self.clock.follows(time_ns, now)
        ):
            self._quoted = True
            return True
        return False

    def judge(self, event: MarketData, now: float) -> Judged:
        """Judge an event that came at the monotonic time ``now``."""
        problem = self.foreign(event) or self.malformed(event)
        if problem is not None:
            return Judged(held_out=((problem, event),))
        if event.__class__ is Funding:  # it was fetched, so its time says nothing about the clock
            return Judged((event,))
        venue_ns = self.clock.at(now)
        if event.__class__ is Candle and event.status == BACKFILLED:
            return self._past(event, venue_ns)
        if venue_ns is None:
            return self._begin(event, now)
        self._quoted = self._quoted or event.__class__ is not Candle
        return self._follow(event, event.time_ns - venue_ns, now)

    def _tolerance_ns(self) -> int:
        return TOLERANCE_NS if self._quoted else max(TOLERANCE_NS, self.interval_ns)

    def _past(self, candle: Candle, venue_ns: int | None) -> Judged:
        if venue_ns is not None and candle.time_ns > venue_ns + TOLERANCE_NS:
            return self._ahead(candle, candle.time_ns - venue_ns)
        return Judged((candle,))

    def _begin(self, event: MarketData, now: float) -> Judged:
        """Judge an event while the venue's clock is still unknown."""
        offset_ns = event.time_ns - int(now * SECOND_NS)
        self._quoted = self._quoted or event.__class__ is not Candle
        agreeing = [held for at, held in self._first if abs(at - offset_ns) <= self._tolerance_ns()]
        believed = self._recorded or abs(event.time_ns - self._wall_ns()) <= TOLERANCE_NS
        if not agreeing and not believed:
            self._first.append((offset_ns, event))
            dropped = self._first.pop(0)[1] if len(self._first) > _FIRST_MOST else None
            return Judged() if dropped is None else Judged(held_out=((_alone(dropped), dropped),))
        others = [(_alone(held), held) for _, held in self._first if not any(held is one for one in agreeing)]
        self._first.clear()
        self.clock.admit(event.time_ns, now)
        return Judged((*agreeing, event), others)

    def _follow(self, event: MarketData, drift_ns: int, now: float) -> Judged:
        """Judge an event by the venue's clock, and let the clock follow it."""
        if event.__class__ is Candle and drift_ns <= self._tolerance_ns():
            if drift_ns > 0:
                self.clock.admit(event.time_ns, now)
            return Judged((event,))
        if self.clock.admit(event.time_ns, now):
            return Judged((event,))
        if drift_ns > 0:
            return self._ahead(event, drift_ns)
        if drift_ns < -BEHIND_NS:
            text = f"{MARKET_KINDS[type(event)]}: {-drift_ns / SECOND_NS:.0f} s behind the venue's clock"
            return Judged(held_out=((text, event),))
        return Judged((event,), behind_ns=-drift_ns)

    @property
    def waiting(self) -> Sequence[MarketData]:
        """The events that wait for a second time stamp that agrees with theirs."""
        return [event for _, event in self._first]

    def end(self) -> Judged:
        """Judge the events that still wait for a second time stamp when the data has ended."""
        held, self._first = [event for _, event in self._first], []
        if len(held) == 1:
            return Judged(tuple(held))
        return Judged(held_out=[(_alone(event), event) for event in held])

    @staticmethod
    def _ahead(event: MarketData, ahead_ns: int) -> Judged:
        text = f"{MARKET_KINDS[type(event)]}: {ahead_ns / SECOND_NS:.0f} s ahead of the venue's clock"
        return Judged(held_out=((text, event),))


def _alone(event: MarketData) -> str:
    return f"{MARKET_KINDS[type(event)]}: time_ns {event.time_ns} agrees with no other stamp"
