"""Market data as columns: checked once by C code, then turned into events that need no second check.

A provider that reads columns makes its events here. `CheckedBatch` can't be made in any other way, so the guard in
front of the engine lets it pass as it is; whatever else a provider hands over is checked event by event.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import compress, islice, repeat
from math import inf
from operator import add, gt, itemgetter, le
from struct import Struct, pack
from typing import Any, Final, NoReturn, TypeVar, cast

from lab.domain.market import (
    FINAL,
    PRICE_LEAST,
    PRICE_LIMIT,
    Candle,
    Quote,
    Trade,
    candle_from_row,
    check_candle,
    quote_from_row,
    trade_from_row,
)
from lab.domain.orders import Side

SIZE_LIMIT: Final = 1e18
_Event = TypeVar("_Event", Candle, Quote, Candle | Quote | Trade)
_NEVER: Final = -(2**63)  # before the first tick
_CANDLES: Final = Struct("=qqqdd")  # rows, first opening, distance or 0, lowest, highest; then the columns
_TICKS: Final = Struct("=qqdd")  # quotes, trades, lowest, highest; then the columns
_SIDES: Final = (Side.SELL, Side.BUY)
_time_of: Final = itemgetter(1)
_SIGN: Final = pack("=d", -0.0).index(0x80)  # the place of a packed float's byte that begins with its sign


class CheckedBatch(tuple[_Event, ...]):
    """Candles, quotes and trades of one symbol that were checked as columns. Only this module makes one."""

    __slots__ = ()

    def __new__(cls, *_: object) -> NoReturn:
        """Refuse: a batch that was not checked must not look like one that was."""
        raise TypeError("a CheckedBatch is made by CandleColumns.candles() or CandleBuilder.take_columns() only")

    @property
    def symbol(self) -> str:
        """The symbol of all events; empty where there is none."""
        return self[0].symbol if self else ""


def _all_below(limit: float, column: Sequence[float]) -> bool:
    """Return whether all of a column are below a limit, and none is NaN: quick where none is negative.

    Python adds floats far faster than it compares them, and a sum of such numbers is no smaller than any of them.
    """
    total = sum(column)
    return total < limit or (total == total and all(map(gt, repeat(limit), column)))


def trusted(events: Iterable[_Event]) -> CheckedBatch[_Event]:
    """Return events that were checked before as a batch; for this module and `lab.domain.packed` only."""
    return cast("CheckedBatch[_Event]", tuple.__new__(cast("Any", CheckedBatch), events))


class CandleColumns:
    """Candles as columns: opening times, then open, high, low, close and volume.

    Making one checks the figures of all rows and raises ``ValueError`` where one is no candle. The columns are kept
    packed, in an eighth of the memory of `Candle` objects. ``lowest`` and ``highest`` are the lowest low and the
    highest high.
    """

    __slots__ = ("_data", "figures", "highest", "lowest", "opens_ns")

    opens_ns: Sequence[int]
    figures: Sequence[Sequence[float]]
    lowest: float
    highest: float

    def __init__(self, opens_ns: Sequence[int], figures: Sequence[Sequence[float]]) -> None:
        """Check the columns, all of one length and of plain numbers, and pack them."""
        opens, highs, lows, closes, volumes = figures
        lowest, highest = min(lows, default=1.0), max(highs, default=1.0)
        sound = (
            len(set(map(len, (opens_ns, *figures)))) == 1
            and lowest >= PRICE_LEAST
            and highest < PRICE_LIMIT
            and all(map(le, lows, closes))
            and all(map(le, closes, highs))
            and min(opens, default=1.0) >= PRICE_LEAST
            and _all_below(PRICE_LIMIT, opens)
            and _all_below(SIZE_LIMIT, volumes)
        )
        packed = b"".join(map(_packed, "ddddd", figures)) if sound else b""
        if not sound or (_signed(packed) and min(volumes, default=0.0) < 0.0):
            raise ValueError("not all are candles")
        start_ns, step_ns, times = 0, 0, b""
        if isinstance(opens_ns, range):
            start_ns, step_ns = opens_ns.start, opens_ns.step
        else:
            times = _packed("q", opens_ns)
        self._take(b"".join((_CANDLES.pack(len(opens_ns), start_ns, step_ns, lowest, highest), times, packed)))

    def _take(self, data: bytes) -> None:
        rows, start_ns, step_ns, self.lowest, self.highest = _CANDLES.unpack_from(data)
        times = () if step_ns else (("q", rows),)
        views = _views(data, _CANDLES.size, [*times, *[("d", rows)] * 5])
        self.opens_ns = range(start_ns, start_ns + rows * step_ns, step_ns) if step_ns else views[0]
        self.figures = views[-5:]
        self._data = data

    def __len__(self) -> int:
        return len(self.opens_ns)

    def dumped(self) -> bytes:
        """Return them as bytes, for `loaded`."""
        return self._data

    @classmethod
    def loaded(cls, data: bytes) -> "CandleColumns":
        """Return, without a second check, the columns that `dumped` gave these very bytes for."""
        made: CandleColumns = object.__new__(cls)
        made._take(data)
        return made

    def candles(self, symbol: str, interval_ns: int, status: str = FINAL) -> CheckedBatch[Candle]:
        """Return them as events, each known when its bucket ended."""
        opens_ns, rows = self.opens_ns, len(self.opens_ns)
        if isinstance(opens_ns, range) and opens_ns.step == interval_ns:  # each closes when the next one opens
            bounds_ns = list(range(opens_ns.start, opens_ns.stop + interval_ns, interval_ns))
            opens_ns, closes_ns = bounds_ns[:-1], bounds_ns[1:]
        else:
            closes_ns = [open_ns + interval_ns for open_ns in opens_ns]
        symbols, states = repeat(symbol, rows), repeat(status, rows)
        return trusted(map(candle_from_row, zip(symbols, opens_ns, closes_ns, *self.figures, states, strict=True)))


class TickColumns:
    """Ticks as columns: quotes (time, bid, bid size, ask, ask size) and trades (time, price, size, 1 or 0).

    1 is a trade whose taker buys, 0 one whose taker sells. Making one checks the figures of all rows and raises
    ``ValueError`` where one is no quote or no trade. Times ascend, which is not checked. The columns are kept packed.
    ``lowest`` and ``highest`` are the lowest bid and the highest ask: infinite and 0 where there is no quote.
    """

    __slots__ = ("_data", "highest", "lowest", "quotes", "trades")

    quotes: Sequence[Sequence[Any]]
    trades: Sequence[Sequence[Any]]
    lowest: float
    highest: float

    def __init__(self, quotes: Sequence[Sequence[Any]], trades: Sequence[Sequence[Any]] = ((), (), (), ())) -> None:
        """Check the columns, of plain numbers, and pack them.

        Those of the quotes are of one length, those of the trades too; either may be without rows.
        """
        times, bids, bid_sizes, asks, ask_sizes = quotes
        trade_times, prices, sizes, buys = trades
        lowest, highest = min(bids, default=inf), max(asks, default=0.0)
        quoted, traded = (b"".join(map(_packed, "dddd", columns)) for columns in (quotes[1:], (prices, sizes)))
        sound = (
            len({len(times), *map(len, quotes)}) == 1
            and lowest >= PRICE_LEAST
            and highest < PRICE_LIMIT
            and all(map(le, bids, asks))
            and _all_below(SIZE_LIMIT, bid_sizes)
            and _all_below(SIZE_LIMIT, ask_sizes)
        )
        if not sound or (_signed(quoted) and (min(bid_sizes) < 0.0 or min(ask_sizes) < 0.0)):
            raise ValueError("not all are quotes")
        sound = (
            len({len(trade_times), len(prices), len(sizes), len(buys)}) == 1
            and {0, 1}.issuperset(buys)
            and min(prices, default=1.0) >= PRICE_LEAST
            and _all_below(PRICE_LIMIT, prices)
            and _all_below(SIZE_LIMIT, sizes)
        )
        if not sound or (_signed(traded) and min(sizes) < 0.0):
            raise ValueError("not all are trades")
        head = _TICKS.pack(len(times), len(trade_times), lowest, highest)
        self._take(b"".join((head, _packed("q", times), quoted, _packed("q", trade_times), traded, _packed("q", buys))))

    def _take(self, data: bytes) -> None:
        quotes, trades, self.lowest, self.highest = _TICKS.unpack_from(data)
        views = _views(data, _TICKS.size, [*zip("qdddd", repeat(quotes)), *zip("qddq", repeat(trades))])
        self.quotes, self.trades, self._data = views[:5], views[5:], data

    def __len__(self) -> int:
        return len(self.quotes[0]) + len(self.trades[0])

    def dumped(self) -> bytes:
        """Return them as bytes, for `loaded`."""
        return self._data

    @classmethod
    def loaded(cls, data: bytes) -> "TickColumns":
        """Return, without a second check, the columns that `dumped` gave these very bytes for."""
        made: TickColumns = object.__new__(cls)
        made._take(data)
        return made

    def made(self, symbol: str) -> "map[Quote]":
        """Return the quotes as events."""
        return map(quote_from_row, zip(repeat(symbol, len(self.quotes[0])), *self.quotes, strict=True))


class CandleBuilder:
    """Collects trades, ascending by time, into candles of one symbol.

    A candle is known ``confirm_ns`` after its bucket's end, which is its ``time_ns``: with 0 it comes before the tick
    that closes it, else after all ticks up to that time. One that is not known by the last tick is not given. Only
    whole candles are given: the first bucket is dropped unless the first tick lies exactly on its start, and the last
    bucket always is. ``open`` is the first trade's price. A bucket without a trade gives no candle.
    """

    def __init__(self, symbol: str, interval_ns: int, confirm_ns: int = 0) -> None:
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._confirm_ns = confirm_ns
        self._closed: deque[Candle] = deque()  # closed, and not known yet
        self._end_ns = _NEVER  # of the open bucket
        self._whole = True
        self._high = self._low = self._first = self._last = self._volume = 0.0

    def take(self, ticks: Iterable[Any]) -> Sequence[Candle | Quote]:
        """Return the quotes among the ticks and, in its place, each candle.

        A tick that is no quote is a trade, with ``time_ns``, ``price`` and ``size``.
        """
        events: list[Candle | Quote] = []
        for tick in ticks:
            events += self._known(tick.time_ns)
            if tick.__class__ is Quote:
                events.append(tick)
            else:
                self._add((tick.price,), (tick.size,))
        return events

    def take_columns(self, ticks: TickColumns, *, trades_too: bool = False) -> CheckedBatch[Candle | Quote | Trade]:
        """Return what `take` does, and with ``trades_too`` the trades that have a size.

        At one time they come before the quotes: a trade meets the quote before it. Takes a stretch inside a bucket at
        once.
        """
        times, (trade_times, prices, sizes, buys) = ticks.quotes[0], ticks.trades
        quotes, trades = len(times), len(trade_times)
        quote = trade = 0
        made = ticks.made(self._symbol)
        events: list[Candle | Quote | Trade] = []
        while quote < quotes or trade < trades:
            events += self._known(min([*times[quote : quote + 1], *trade_times[trade : trade + 1]]))
            until_ns = min(self._end_ns, self._closed[0].time_ns + 1) if self._closed else self._end_ns
            next_quote, next_trade = bisect_left(times, until_ns, quote), bisect_left(trade_times, until_ns, trade)
            stretch = islice(made, next_quote - quote)
            part = slice(trade, next_trade)
            if next_trade > trade:
                self._add(prices[part], sizes[part])
            if next_trade > trade and trades_too:
                sides = map(_SIDES.__getitem__, buys[part])
                rows = zip(repeat(self._symbol), trade_times[part], prices[part], sizes[part], sides, strict=False)
                traded = map(trade_from_row, compress(rows, sizes[part]))
                events += sorted([*traded, *stretch], key=_time_of)
            else:
                events += stretch
            quote, trade = next_quote, next_trade
        return trusted(events)

    def _known(self, now_ns: int) -> Iterator[Candle]:
        """Close the bucket that a tick's time is behind of, and yield the candles that are known before the tick."""
        if now_ns >= self._end_ns and (candle := self._roll(now_ns)) is not None:
            self._closed.append(candle)
        while self._closed and self._closed[0].time_ns < now_ns + (not self._confirm_ns):
            yield self._closed.popleft()

    def _add(self, prices: Sequence[float], sizes: Sequence[float]) -> None:
        """Take the trades of one bucket; there is one at least."""
        high, low = max(prices), min(prices)
        if not self._first:
            self._first, self._high, self._low = prices[0], high, low
        else:
            self._high, self._low = max(self._high, high), min(self._low, low)
        self._last = prices[-1]
        self._volume = reduce(add, sizes, self._volume)  # not by sum(): from Python 3.12 on it rounds otherwise

    def _roll(self, now_ns: int) -> Candle | None:
        closed = None
        start_ns = now_ns - now_ns % self._interval_ns
        if self._end_ns == _NEVER:
            self._whole = now_ns == start_ns
        else:
            if self._first and self._whole:
                volume = round(self._volume, 8)
                closed = Candle(
                    self._symbol, self._end_ns - self._interval_ns, self._end_ns + self._confirm_ns,
                    self._first, self._high, self._low, self._last, volume, FINAL,
                )  # fmt: skip
                problem = check_candle(closed)
                if problem is not None:
                    raise ValueError(f"the trades before {self._end_ns} make no candle: {problem}")
            self._whole = True
        self._end_ns = start_ns + self._interval_ns
        self._first = self._volume = 0.0
        return closed


def _packed(code: str, column: Sequence[Any]) -> bytes:
    return pack(f"{len(column)}{code}", *column)


def _signed(packed: bytes) -> bool:
    """Return whether a packed number may be negative: whether one has its sign bit set, as -0 has too."""
    return not packed[_SIGN::8].isascii()


def _views(data: bytes, start: int, columns: Iterable[tuple[str, int]]) -> "tuple[memoryview[Any], ...]":
    """Return the columns that follow one another from ``start`` on, each of a code and a number of rows."""
    views, whole = [], memoryview(data)
    for code, rows in columns:
        views.append(whole[start : start + 8 * rows].cast(code))  # type: ignore[call-overload]  # it is q or d
        start += 8 * rows
    if start != len(data):
        raise ValueError("more or less than these columns")
    return tuple(views)
