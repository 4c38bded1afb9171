"""Market data: candles, quotes, trades, depth and funding rates.

Named tuples: immutable, made from columns by C code, and written as JSON arrays. Prices and sizes are ``float``,
because they are evidence; where money moves they become ``Decimal`` on the instrument's steps.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from math import inf
from typing import Final, NamedTuple

from lab.domain.orders import Side

PRICE_LEAST: Final = 1e-18
PRICE_LIMIT: Final = 1e15
"""A price is at least the one and below the other: far beyond any there is, and money is still added up exactly."""
FINAL: Final = "final"
UNCONFIRMED: Final = "unconfirmed"
BACKFILLED: Final = "backfilled"


class Candle(NamedTuple):
    """One closed candle. ``open`` may lie outside ``[low, high]``: venues carry it over from the close before.

    ``time_ns`` is when the candle became known, in venue time: never before its bucket ended.
    ``status`` is ``final``, ``unconfirmed`` (the venue did not confirm it in time) or ``backfilled`` (history: it
    warms strategies up and no order is ever placed on it).
    """

    symbol: str
    open_ns: int
    time_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    status: str = FINAL


class Quote(NamedTuple):
    """The best bid and ask and what is displayed there; ``time_ns`` is the venue's."""

    symbol: str
    time_ns: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class Funding(NamedTuple):
    """The funding rate that was fetched: a fraction; positive means longs pay shorts at ``next_ns``."""

    symbol: str
    time_ns: int
    rate: float
    next_ns: int
    mark: float


class Trade(NamedTuple):
    """A trade of the market: ``side`` is the taker's. ``time_ns`` is the venue's."""

    symbol: str
    time_ns: int
    price: float
    size: float
    side: Side


Level = tuple[float, float]
"""Price and displayed size of one level of a book."""


class Depth(NamedTuple):
    """The displayed levels of a book, the best first on each side; ``time_ns`` is the venue's.

    Each side holds price and size of as many levels as the source shows; each is whole, and replaces the one before.
    """

    symbol: str
    time_ns: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Backfill(NamedTuple):
    """Closed candles of the past, fetched together: ascending, of one symbol, each with the status ``backfilled``.

    ``time_ns`` is the venue time at which they were given.
    """

    symbol: str
    time_ns: int
    candles: tuple[Candle, ...]


MarketData = Candle | Quote | Trade | Depth | Funding
MARKET_KINDS: Final[dict[type, str]] = {
    Candle: "candle", Quote: "quote", Trade: "trade", Depth: "depth", Funding: "funding",
}  # fmt: skip
"""Each class of market data and its name on tapes, in the journal and in messages. The guard, the codec, the sources of
backtests and the engine read this table: a new kind is entered here, in `MarketData`, and nowhere else as a kind."""
MARKET_DATA: Final = tuple(MARKET_KINDS)

# Made from columns without a Python-level call a row: 0.2 µs an object against 1.0 µs for a frozen attrs class.
candle_from_row: Final[Callable[[Iterable[object]], Candle]] = partial(tuple.__new__, Candle)
quote_from_row: Final[Callable[[Iterable[object]], Quote]] = partial(tuple.__new__, Quote)
trade_from_row: Final[Callable[[Iterable[object]], Trade]] = partial(tuple.__new__, Trade)


def _plain(value: float) -> str:
    """Return a number as people write it: the price of a cheap coin without an exponent."""
    return f"{Decimal(repr(float(value))):f}" if 1e-12 <= abs(value) <= 1e18 else repr(value)


def check_candle(candle: Candle) -> str | None:
    """Return what is wrong with a candle's figures, or ``None``. ``open`` outside ``[low, high]`` is not wrong."""
    for name in ("open", "high", "low", "close"):
        value = getattr(candle, name)
        if not PRICE_LEAST <= value < PRICE_LIMIT:
            return f"{name} {_plain(value)} is not a price"
    if not candle.low <= candle.close <= candle.high:
        if candle.high < candle.low:
            return f"high {_plain(candle.high)} is below low {_plain(candle.low)}"
        return f"close {_plain(candle.close)} outside [{_plain(candle.low)}, {_plain(candle.high)}]"
    if not 0.0 <= candle.volume < 1e18:
        return f"volume {_plain(candle.volume)} is not a volume"
    return None


def check_quote(quote: Quote) -> str | None:
    """Return what is wrong with a quote's figures, or ``None``."""
    if not (PRICE_LEAST <= quote.bid < PRICE_LIMIT and PRICE_LEAST <= quote.ask < PRICE_LIMIT):
        return f"bid {_plain(quote.bid)}, ask {_plain(quote.ask)}: not prices"
    if quote.bid > quote.ask:
        return f"bid {_plain(quote.bid)} above ask {_plain(quote.ask)}"
    if not (0.0 <= quote.bid_size < 1e18 and 0.0 <= quote.ask_size < 1e18):
        return f"sizes {_plain(quote.bid_size)}, {_plain(quote.ask_size)}: not sizes"
    return None


def check_trade(trade: Trade) -> str | None:
    """Return what is wrong with a trade's figures, or ``None``."""
    if not PRICE_LEAST <= trade.price < PRICE_LIMIT:
        return f"price {_plain(trade.price)} is not a price"
    if not 0.0 < trade.size < 1e18:
        return f"size {_plain(trade.size)} is not a size"
    return None


def check_depth(depth: Depth) -> str | None:
    """Return what is wrong with a book's figures, or ``None``.

    Each side must run from its best level outwards, with a size above 0 at each; the best bid may equal the best ask.
    """
    for name, levels, ahead in (("bid", depth.bids, -1.0), ("ask", depth.asks, 1.0)):
        before = 0.0 if ahead > 0 else inf
        for price, size in levels:
            if not PRICE_LEAST <= price < PRICE_LIMIT or not 0.0 < size < 1e18:
                return f"{name} level {_plain(price)} × {_plain(size)} is not a price and a size"
            if (price - before) * ahead <= 0.0:
                return f"{name} level {_plain(price)} does not lie beyond {_plain(before)}"
            before = price
    if depth.bids and depth.asks and depth.bids[0][0] > depth.asks[0][0]:
        return f"bid {_plain(depth.bids[0][0])} above ask {_plain(depth.asks[0][0])}"
    return None
