"""Checks the class, figures and symbol of all market data before the engine takes it. Pure."""

from collections.abc import Callable, Iterable
from typing import Final

from lab.domain.market import (
    BACKFILLED,
    FINAL,
    MARKET_DATA,
    MARKET_KINDS,
    PRICE_LEAST,
    PRICE_LIMIT,
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
from lab.errors import class_name, describe_error, text_of

_STATUSES: Final = frozenset({FINAL, UNCONFIRMED, BACKFILLED})
TIME_MOST: Final = 1 << 62  # the year 2116


def check_funding(funding: Funding) -> str | None:
    """Return what is wrong with a funding rate's figures, or ``None``."""
    if not -1.0 < funding.rate < 1.0:
        return f"rate {funding.rate!r} is no fraction"
    if not (funding.mark == 0.0 or PRICE_LEAST <= funding.mark < PRICE_LIMIT):
        return f"mark {funding.mark!r} is not a price"
    return None


def _floats(*values: object) -> bool:
    return all(value.__class__ is float for value in values)


def _times(*values: object) -> bool:
    return all(value.__class__ is int and 0 <= value < TIME_MOST for value in values)


def _candle(event: Candle) -> str | None:
    if not _times(event.open_ns, event.time_ns):
        return f"open_ns {event.open_ns!r}, time_ns {event.time_ns!r}: not times in nanoseconds"
    if not _floats(*event[3:8]):
        return f"figures {event[3:8]!r} are not all float"
    return check_candle(event) if event.status in _STATUSES else f"status {event.status!r} is unknown"


def _quote(event: Quote) -> str | None:
    _, time_ns, bid, bid_size, ask, ask_size = event  # a live session consists of these: no further calls
    if time_ns.__class__ is not int or not 0 <= time_ns < TIME_MOST:
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
