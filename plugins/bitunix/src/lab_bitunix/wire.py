"""The socket's frames: decoded once, straight into typed objects, and checked before anything uses them.

Facts about the protocol are measured ones (docs and captures of 2026): data frames carry ``ch``, control frames
``op``; numbers come as JSON numbers or strings; a candle push has no open time and no closed flag, only the time it was
sent; an unknown symbol answers with depth levels of empty strings. A trade's own time has whole seconds, so the time of
sending, which quotes have too, stands for it.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

import msgspec
from lab.domain.market import (
    PRICE_LEAST,
    PRICE_LIMIT,
    UNCONFIRMED,
    Candle,
    Depth,
    Quote,
    Trade,
    check_candle,
    check_depth,
    check_quote,
    check_trade,
    quote_from_row,
)
from lab.domain.orders import Side
from lab.domain.time import MILLISECOND_NS, MINUTE_NS, format_interval
from lab.errors import ProviderError

SAMPLE_BYTES: Final = 400
"""How much of a malformed frame or body is kept as its sample."""

DEPTH_CHANNELS: Final[Mapping[int, str]] = {levels: f"depth_book{levels}" for levels in (1, 5, 15)}
"""Levels a side to the channel that shows so many. ``depth_books`` sends the whole book each time, some 460 KB."""
TRADE_CHANNEL: Final = "trade"
# REST and socket name the same intervals differently. The buckets of 3d, 1w and 1M do not start at multiples since 1970
# that anyone has established, so their candles can't be separated on the socket, which sends no open time.
_INTERVALS: Final = (
    (1, "1m", "1min"), (5, "5m", "5min"), (15, "15m", "15min"), (30, "30m", "30min"), (60, "1h", "60min"),
    (120, "2h", "2h"), (240, "4h", "4h"), (360, "6h", "6h"), (480, "8h", "8h"), (720, "12h", "12h"),
    (1440, "1d", "1day"),
)  # fmt: skip
REST_INTERVALS: Final[Mapping[int, str]] = {minutes * MINUTE_NS: rest for minutes, rest, _ in _INTERVALS}
CANDLE_CHANNELS: Final[Mapping[int, str]] = {
    minutes * MINUTE_NS: f"market_kline_{name}" for minutes, _, name in _INTERVALS
}

# Milliseconds from 2001 to 2128: whatever is outside is not a time of this venue.
_TS_MIN: Final = 10**12
_TS_MAX: Final = 5 * 10**12


def supported(interval_ns: int) -> str:
    """Return the venue's REST name of an interval. Raises `ProviderError` naming those it has."""
    name = REST_INTERVALS.get(interval_ns)
    if name is None:
        raise ProviderError(
            f"bitunix: interval {format_interval(interval_ns)} is not supported; choose one of "
            f"{' '.join(REST_INTERVALS.values())} (3d, 1w and 1M can't be streamed: the venue's candle pushes carry no "
            "open time, and these buckets can't be derived from the time of sending)"
        )
    return name


class _Level(msgspec.Struct, array_like=True, gc=False):
    price: float
    size: float


class _Book(msgspec.Struct, gc=False):
    b: list[_Level]
    a: list[_Level]


class _Kline(msgspec.Struct, gc=False):
    o: float
    h: float
    l: float  # noqa: E741 - the wire's name
    c: float
    b: float


class _TradeRow(msgspec.Struct, gc=False):
    p: float
    v: float
    s: Side
    t: msgspec.Raw = msgspec.Raw()
    """Only compared, never read: the time of the trade, in whole seconds."""


class DepthFrame(msgspec.Struct):
    """The best levels of each side, best first, whole each time, about three times a second."""

    ts: int
    data: _Book
    symbol: str = ""


class KlineFrame(msgspec.Struct):
    """The open candle so far (cumulative). The documents say ``data`` is a list, captures show an object."""

    ts: int
    data: _Kline | list[_Kline]
    symbol: str = ""


class TradeFrame(msgspec.Struct, tag_field="ch", tag=TRADE_CHANNEL):
    """The trades since the frame before, which carry no number: a frame that was lost, or came twice, does not show."""

    ts: int
    data: list[_TradeRow]
    symbol: str = ""


class Control(msgspec.Struct):
    """A frame with ``op``: connect, ping reply, subscribe reply (which may name its ``ch``), refusal."""

    op: str
    data: Any = None
    pong: Any = None


class Other(msgspec.Struct):
    """A data frame of a channel nobody here asked for."""

    ch: str


class Malformed(msgspec.Struct):
    """A frame that is not what the protocol says, and why."""

    reason: str


DataFrame = DepthFrame | KlineFrame | TradeFrame
Frame = DataFrame | Control | Other | Malformed

# One struct a channel: the tag decides the type, so that one pass over the bytes is enough.
DEPTH_FRAMES: Final[Mapping[int, type]] = {
    levels: msgspec.defstruct(f"Depth{levels}", [], bases=(DepthFrame,), tag_field="ch", tag=channel)
    for levels, channel in DEPTH_CHANNELS.items()
}
_LEVELS: Final = {frame: levels for levels, frame in DEPTH_FRAMES.items()}
KLINE_INTERVAL: Final[Mapping[type, int]] = {
    msgspec.defstruct(
        "Kline" + channel.removeprefix("market_kline_"), [], bases=(KlineFrame,), tag_field="ch", tag=channel
    ): interval_ns
    for interval_ns, channel in CANDLE_CHANNELS.items()
}
_KNOWN: Final = frozenset({*DEPTH_CHANNELS.values(), *CANDLE_CHANNELS.values(), TRADE_CHANNEL})


def _decoder() -> "msgspec.json.Decoder[DataFrame]":
    union: Any = reduce(or_, (*DEPTH_FRAMES.values(), *KLINE_INTERVAL, TradeFrame))
    return msgspec.json.Decoder(union, strict=False)


_decode = _decoder().decode
_decode_control: Final = msgspec.json.Decoder(Control, strict=False).decode
_decode_other: Final = msgspec.json.Decoder(Other, strict=False).decode


def decode_frame(frame: bytes | str) -> Frame:
    """Return the frame as a typed object; never raises.

    Figures are not checked yet: see `quote_of`, `depth_of`, `trades_of` and `candle_of`.
    """
    try:
        return _decode(frame)
    except (ValueError, RecursionError) as error:  # msgspec's and the codec's errors are ValueErrors
        return _decode_rest(frame, error)


def _decode_rest(frame: bytes | str, error: Exception) -> Frame:
    for decode in (_decode_control, _decode_other):
        try:
            found: Control | Other = decode(frame)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, Other) and found.ch in _KNOWN:
            return Malformed(f"{found.ch}: {error}"[:SAMPLE_BYTES])
        return found
    return Malformed(f"neither op nor ch: {error}"[:SAMPLE_BYTES])


def quote_of(frame: DepthFrame) -> Quote | str:
    """Return the frame's quote, or what is wrong with it."""
    book = frame.data
    if not (book.b and book.a):
        return "depth_book1: a side without levels"
    if not _TS_MIN <= frame.ts < _TS_MAX:
        return f"depth_book1: ts {frame.ts} is not a time in ms"
    bid, ask = book.b[0], book.a[0]
    quote = quote_from_row((frame.symbol, frame.ts * MILLISECOND_NS, bid.price, bid.size, ask.price, ask.size))
    # The same rule as `check_quote`, in one expression: this runs for every frame. NaN fails each comparison.
    if PRICE_LEAST <= bid.price <= ask.price < PRICE_LIMIT and 0.0 <= bid.size < 1e18 and 0.0 <= ask.size < 1e18:
        return quote
    return f"depth_book1: {check_quote(quote)}"


def depth_of(frame: DepthFrame) -> Depth | str:
    """Return the frame's levels, at most as many a side as its channel has, or what is wrong with them."""
    count, book = _LEVELS[type(frame)], frame.data
    if not (book.b and book.a):
        return f"{DEPTH_CHANNELS[count]}: a side without levels"
    if not _TS_MIN <= frame.ts < _TS_MAX:
        return f"{DEPTH_CHANNELS[count]}: ts {frame.ts} is not a time in ms"
    bids, asks = (tuple((level.price, level.size) for level in side[:count]) for side in (book.b, book.a))
    depth = Depth(frame.symbol, frame.ts * MILLISECOND_NS, bids, asks)
    problem = check_depth(depth)
    return depth if problem is None else f"{DEPTH_CHANNELS[count]}: {problem}"


def trades_of(frame: TradeFrame) -> Sequence[Trade] | str:
    """Return the frame's trades in its order, each at the time of sending, or what is wrong with one of them."""
    if not _TS_MIN <= frame.ts < _TS_MAX:
        return f"{TRADE_CHANNEL}: ts {frame.ts} is not a time in ms"
    time_ns = frame.ts * MILLISECOND_NS
    trades = [Trade(frame.symbol, time_ns, row.p, row.v, row.s) for row in frame.data]
    for trade in trades:
        problem = check_trade(trade)
        if problem is not None:
            return f"{TRADE_CHANNEL}: {problem}"
    return trades


def keys_of(frame: TradeFrame) -> Sequence[tuple[object, ...]]:
    """Return what tells the frame's trades from others, in their order: the same on each socket that brings them."""
    return [(frame.symbol, row.p, row.v, row.s, bytes(row.t)) for row in frame.data]


def candle_of(frame: KlineFrame, interval_ns: int) -> Candle | str:
    """Return the frame's open candle, ``unconfirmed`` and with the time of sending, or what is wrong with it."""
    data = frame.data
    if data.__class__ is list:
        if not data:
            return "kline: empty data"
        data = data[-1]
    if not _TS_MIN <= frame.ts < _TS_MAX:
        return f"kline: ts {frame.ts} is not a time in ms"
    time_ns = frame.ts * MILLISECOND_NS
    open_ns = time_ns - time_ns % interval_ns
    candle = Candle(frame.symbol, open_ns, time_ns, data.o, data.h, data.l, data.c, data.b, UNCONFIRMED)  # type: ignore[union-attr]
    _, _, _, open_, high, low, close, volume, _ = candle
    if (
        PRICE_LEAST <= low <= close <= high < PRICE_LIMIT
        and PRICE_LEAST <= open_ < PRICE_LIMIT
        and 0.0 <= volume < 1e18
    ):
        return candle
    return f"kline: {check_candle(candle)}"


def refusal(frame: Control) -> str | None:
    """Return the venue's words when a control frame refuses something, for example the 301st subscription."""
    data = frame.data
    if isinstance(data, dict) and data.get("result") is False:
        return f"{frame.op:.40} refused: {str(data.get('msg', 'no reason given'))[:200]}"
    return None


def subscribe_frame(channels: Sequence[tuple[str, str]]) -> str:
    """Return the one frame that subscribes all of these (symbol, channel)."""
    wanted = [{"symbol": symbol, "ch": channel} for symbol, channel in channels]
    return msgspec.json.encode({"op": "subscribe", "args": wanted}).decode()


def ping_frame(unix_seconds: int) -> str:
    """Return the JSON keepalive; the venue echoes the number as ``pong``."""
    return f'{{"op":"ping","ping":{unix_seconds}}}'
