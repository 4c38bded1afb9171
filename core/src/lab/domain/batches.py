"""Market data as columns: checked once by C code, then turned into events that need no second check.

A provider that reads columns makes its events here. `CheckedBatch` can't be made in any other way, so the guard in
front of the engine lets it pass as it is; whatever else a provider hands over is checked event by event.
"""

from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat
from math import inf
from operator import gt, le
from struct import pack
from typing import Any, Final, NoReturn, TypeVar, cast

from lab.domain.market import FINAL, Candle, Quote, candle_from_row, check_candle, quote_from_row

PRICE_LIMIT: Final = 1e15
SIZE_LIMIT: Final = 1e18
_Event = TypeVar("_Event", Candle, Quote, Candle | Quote)
_NEVER: Final = -(2**63)  # before the first tick


class CheckedBatch(tuple[_Event, ...]):
    """Candles and quotes of one symbol that were checked as columns. Only this module makes one."""

    __slots__ = ()

    def __new__(cls, *_: object) -> NoReturn:
        """Refuse: a batch that was not checked must not look like one that was."""
        raise TypeError("a CheckedBatch is made by CandleColumns.candles() or CandleBuilder.take() only")

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


def _checked(events: Iterable[_Event]) -> CheckedBatch[_Event]:
    return cast("CheckedBatch[_Event]", tuple.__new__(cast("Any", CheckedBatch), events))


class CandleColumns:
    """Candles as columns: opening times, then open, high, low, close and volume.

    Making one checks the figures of all rows and raises ``ValueError`` where one is no candle. Packed columns take an
    eighth of the memory of `Candle` objects. ``lowest`` and ``highest`` are the lowest low and the highest high.
    """

    __slots__ = ("figures", "highest", "lowest", "opens_ns")

    def __init__(self, opens_ns: Sequence[int], figures: Sequence[Sequence[float]]) -> None:
        """Check and keep the columns, all of one length and of plain numbers."""
        opens, highs, lows, closes, volumes = figures
        self.lowest, self.highest = min(lows, default=1.0), max(highs, default=1.0)
        sound = (
            len(set(map(len, (opens_ns, *figures)))) == 1
            and self.lowest > 0.0
            and self.highest < PRICE_LIMIT
            and all(map(le, lows, closes))
            and all(map(le, closes, highs))
            and min(opens, default=1.0) > 0.0
            and _all_below(PRICE_LIMIT, opens)
            and min(volumes, default=0.0) >= 0.0
            and _all_below(SIZE_LIMIT, volumes)
        )
        if not sound:
            raise ValueError("not all are candles")
        self.opens_ns = opens_ns
        self.figures = tuple(figures)

    def __len__(self) -> int:
        return len(self.opens_ns)

    def packed(self) -> "CandleColumns":
        """Return the same candles in packed arrays, which hold the same figures in the least memory."""
        same: CandleColumns = object.__new__(CandleColumns)
        same.lowest, same.highest = self.lowest, self.highest
        same.opens_ns = self.opens_ns if isinstance(self.opens_ns, range) else _packed("q", self.opens_ns)
        same.figures = tuple(_packed("d", column) for column in self.figures)
        return same

    def candles(self, symbol: str, interval_ns: int, status: str = FINAL) -> CheckedBatch[Candle]:
        """Return them as events, each known when its bucket ended."""
        opens_ns, rows = self.opens_ns, len(self.opens_ns)
        if isinstance(opens_ns, range) and opens_ns.step == interval_ns:  # each closes when the next one opens
            bounds_ns = list(range(opens_ns.start, opens_ns.stop + interval_ns, interval_ns))
            opens_ns, closes_ns = bounds_ns[:-1], bounds_ns[1:]
        else:
            closes_ns = [open_ns + interval_ns for open_ns in opens_ns]
        symbols, states = repeat(symbol, rows), repeat(status, rows)
        return _checked(map(candle_from_row, zip(symbols, opens_ns, closes_ns, *self.figures, states, strict=True)))


def check_quotes(figures: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Check columns of bid, bid size, ask and ask size, all plain numbers; return the lowest bid and the highest ask.

    They are infinite and 0 where there is no row. Raises ``ValueError`` where a row is no quote.
    """
    bids, bid_sizes, asks, ask_sizes = figures
    lowest, highest = min(bids, default=inf), max(asks, default=0.0)
    sound = not bids or (
        lowest > 0.0
        and highest < PRICE_LIMIT
        and all(map(le, bids, asks))
        and min(bid_sizes) >= 0.0
        and _all_below(SIZE_LIMIT, bid_sizes)
        and min(ask_sizes) >= 0.0
        and _all_below(SIZE_LIMIT, ask_sizes)
    )
    if not sound:
        raise ValueError("not all are quotes")
    return lowest, highest


class TickColumns(tuple[Any, ...]):
    """Quotes of one symbol, made from checked columns, together with the other ticks between them, in their order."""

    symbol: str
    lowest: float
    """The lowest bid; infinite where there is no quote."""
    highest: float
    """The highest ask; 0 where there is no quote."""

    def __new__(
        cls,
        symbol: str,
        quotes: Sequence[Sequence[Any]],
        others: Iterable[Any] = (),
        quoted: Sequence[bool] | None = None,
    ) -> "TickColumns":
        """Check the columns (time, bid, bid size, ask, ask size; all plain numbers) and make the quotes.

        ``others`` are those ticks that are no quotes; ``quoted`` says of each tick whether it is a quote (``None``: all
        are). Raises ``ValueError`` where a row is no quote.
        """
        lowest, highest = check_quotes(quotes[1:])
        made = map(quote_from_row, zip(repeat(symbol, len(quotes[0])), *quotes, strict=True))
        between = list(others)
        if Quote in set(map(type, between)):
            raise ValueError("a quote among what is no quote")
        rest = iter(between)
        ticks = made if quoted is None else [next(made) if one else next(rest) for one in quoted]
        self = super().__new__(cls, ticks)
        self.symbol, self.lowest, self.highest = symbol, lowest, highest
        return self


class CandleBuilder:
    """Collects trades, ascending by time, into candles of one symbol.

    Only whole candles are given: the first bucket is dropped unless the first tick lies exactly on its start, and the
    last bucket always is. ``open`` is the first trade's price. A bucket without a trade gives no candle.
    """

    def __init__(self, symbol: str, interval_ns: int) -> None:
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._end_ns = _NEVER  # of the open bucket
        self._whole = True
        self._high = self._low = self._first = self._last = self._volume = 0.0

    def take(self, ticks: Iterable[Any]) -> Sequence[Candle | Quote]:
        """Return the quotes among the ticks and, before the tick whose time closes it, each candle.

        A tick that is no quote is a trade, with ``time_ns``, ``price`` and ``size``. A candle's ``time_ns`` is the end
        of its bucket. For `TickColumns` of the builder's symbol the result is a `CheckedBatch`.
        """
        events: list[Candle | Quote] = []
        give, end_ns = events.append, self._end_ns
        for tick in ticks:
            time_ns = tick.time_ns
            if time_ns >= end_ns:
                closed = self._roll(time_ns)
                end_ns = self._end_ns
                if closed is not None:
                    give(closed)
            if tick.__class__ is Quote:
                give(tick)
                continue
            price = tick.price
            if not self._first:
                self._first = self._high = self._low = price
            elif price > self._high:
                self._high = price
            elif price < self._low:
                self._low = price
            self._last = price
            self._volume += tick.size
        checked = isinstance(ticks, TickColumns) and ticks.symbol == self._symbol
        return _checked(events) if checked else events

    def _roll(self, now_ns: int) -> Candle | None:
        closed = None
        start_ns = now_ns - now_ns % self._interval_ns
        if self._end_ns == _NEVER:
            self._whole = now_ns == start_ns
        else:
            if self._first and self._whole:
                volume = round(self._volume, 8)
                closed = Candle(
                    self._symbol, self._end_ns - self._interval_ns, self._end_ns,
                    self._first, self._high, self._low, self._last, volume, FINAL,
                )  # fmt: skip
                problem = check_candle(closed)
                if problem is not None:
                    raise ValueError(f"the trades before {self._end_ns} make no candle: {problem}")
            self._whole = True
        self._end_ns = start_ns + self._interval_ns
        self._first = self._volume = 0.0
        return closed


def _packed(code: str, column: Sequence[Any]) -> "array[Any]":
    # By way of bytes: a third of the time that ``array(code, column)`` takes.
    return array(code, pack(f"{len(column)}{code}", *column))
