"""A tick recording in memory, and the endless path made of it.

The recording is played forwards, then backwards, then forwards again, and the same before its start. So for every
offset, however far, there is a real price, and it never jumps where one pass meets the next.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate, islice, repeat
from operator import mul, sub
from pathlib import Path
from typing import Final, NamedTuple

from attrs import field, frozen
from lab.domain.market import Quote

from lab_recordings.catalog import Recording, locate, shipped
from lab_recordings.errors import RecordingError
from lab_recordings.survey import Survey
from lab_recordings.tick_csv import Tick, TickBlock, TickTrade, read_tick_blocks

TICKS_MOST: Final = 200_000
"""Ticks of the longest recording that a path is made of: they take some 55 MB of memory."""
_BLOCK: Final = 128
"""How many prices have their extremes kept."""


class PathQuote(NamedTuple):
    """A quote on the endless path: its offset in ns from the recording's start, then prices and sizes."""

    offset_ns: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class PathTrade(NamedTuple):
    """A trade on the endless path: its offset in ns from the recording's start, price, size, and the taker's side."""

    offset_ns: int
    price: float
    size: float
    side: str


class PathCandle(NamedTuple):
    """A candle on the endless path; ``volume_base`` in coins, ``turnover_quote`` in the quote currency."""

    open: float
    high: float
    low: float
    close: float
    volume_base: float
    turnover_quote: float


class _Span(NamedTuple):
    """The part of one pass inside a range: rows ``lo`` up to ``hi``, and how a row's time becomes an offset."""

    lo: int
    hi: int
    forwards: bool
    base_ns: int

    def offset_ns(self, at_ns: int) -> int:
        return self.base_ns + at_ns if self.forwards else self.base_ns - at_ns

    def rows(self) -> range:
        return range(self.lo, self.hi) if self.forwards else range(self.hi - 1, self.lo - 1, -1)


@frozen(kw_only=True, eq=False)
class TickRecording:
    """Quotes and trades of a recording as columns, and the mirrored path through them.

    Offsets are nanoseconds from the first quote, any integer. Pass ``k`` covers the offsets from ``k * duration_ns``
    up to ``(k + 1) * duration_ns``; even passes run forwards, odd ones backwards. Going backwards, the quote that held
    before a change holds after it; a trade keeps its price, size and side.
    """

    start_ns: int
    """Venue time of the first quote: offset 0."""
    duration_ns: int
    """Length of one pass."""
    quotes: tuple[tuple[float, float, float, float], ...] = field(repr=False)
    """Bid, bid size, ask, ask size, in the order recorded."""
    quote_times: "array[int]" = field(repr=False)
    """The offset in ns of each quote, ascending, the first 0."""
    trades: tuple[tuple[float, float, str], ...] = field(repr=False)
    """Price, size, taker's side, in the order recorded."""
    trade_times: "array[int]" = field(repr=False)
    """The offset in ns of each trade, ascending."""
    tick: Decimal = Decimal("0.1")
    """The price step: a shipped recording's own, else as its decimals show it, at most 5 basis points of its prices."""
    lot: Decimal = Decimal("0.0001")
    """The quantity step, in coins."""
    _price_times: "array[int]" = field(repr=False)
    _prices: "array[float]" = field(repr=False)
    _volumes: "array[float]" = field(repr=False)
    _turnovers: "array[float]" = field(repr=False)
    _whole: dict[tuple[int, int], tuple[float, float]] = field(factory=dict, init=False, repr=False)
    _blocks: list[tuple[float, float]] = field(factory=list, init=False, repr=False)

    @classmethod
    def load(cls, name_or_path: str | Path) -> "TickRecording":
        """Return the recording of a name (``btcusdt-ticks``) or file; the same object while the file stays the same.

        Raises `RecordingError`.
        """
        path = locate(name_or_path)
        status = path.stat()
        return _load(path, status.st_mtime_ns, status.st_size)

    @classmethod
    def from_ticks(
        cls, ticks: Iterable[Tick], name: object = "ticks", steps: "Recording | Survey | None" = None
    ) -> "TickRecording":
        """Return a recording of ticks ascending by time; trades before the first quote are left out.

        ``steps`` says tick and lot; a survey must be complete once the ticks were read.

        Raises `RecordingError` when there is no stretch of time between the first quote and the last tick.
        """
        quotes: list[Quote] = []
        trades: list[TickTrade] = []
        for tick in ticks:
            if isinstance(tick, Quote):
                quotes.append(tick)
            elif quotes:
                trades.append(tick)
        times = [quote.time_ns for quote in quotes], [trade.time_ns for trade in trades]
        return cls._made(times, [quote[2:] for quote in quotes], [trade[1:] for trade in trades], name, steps)

    @classmethod
    def from_blocks(
        cls, blocks: Iterable[TickBlock], name: object = "ticks", steps: "Recording | Survey | None" = None
    ) -> "TickRecording":
        """Return the recording that `from_ticks` would make of the blocks' ticks, in half the time."""
        quotes: list[tuple[float, float, float, float]] = []
        trades: list[tuple[float, float, str]] = []
        quote_stamps: list[int] = []
        trade_stamps: list[int] = []
        for (quote_ns, *quoted), (trade_ns, *traded), order in blocks:
            # Where no quote came yet, trades count from the block's first quote on.
            skipped = 0 if quotes or order is None else order.index(True) if quote_ns else len(trade_ns)
            quote_stamps += quote_ns
            quotes += zip(*quoted, strict=True)
            trade_stamps += trade_ns[skipped:]
            trades += islice(zip(*traded, strict=True), skipped, None)
        return cls._made((quote_stamps, trade_stamps), quotes, trades, name, steps)

    @classmethod
    def _made(
        cls,
        times: tuple[Sequence[int], Sequence[int]],
        quotes: Sequence[tuple[float, float, float, float]],
        trades: Sequence[tuple[float, float, str]],
        name: object,
        steps: "Recording | Survey | None",
    ) -> "TickRecording":
        if not quotes:
            raise RecordingError(name, None, "no quote in it")
        start_ns = times[0][0]
        last_ns = max(stamps[-1] for stamps in times if stamps)
        if last_ns <= start_ns:
            raise RecordingError(name, None, "all ticks at one moment; at least two are needed")
        quote_times, trade_times = (array("q", map(sub, stamps, repeat(start_ns))) for stamps in times)
        if trades:
            prices, sizes, _ = zip(*trades, strict=True)
        else:  # the middle of the quotes stands in for the price, with no volume
            prices, sizes = tuple((quote[0] + quote[2]) / 2 for quote in quotes), (0.0,) * len(quotes)
        return cls(
            **_steps(steps),
            start_ns=start_ns,
            duration_ns=last_ns - start_ns,
            quotes=tuple(quotes),
            quote_times=quote_times,
            trades=tuple(trades),
            trade_times=trade_times,
            price_times=trade_times if trades else quote_times,
            prices=array("d", prices),
            volumes=array("d", accumulate(sizes, initial=0.0)),
            turnovers=array("d", accumulate(map(mul, prices, sizes), initial=0.0)),
        )

    def quote_at(self, offset_ns: int) -> tuple[float, float, float, float]:
        """Return bid, bid size, ask and ask size in force at an offset: after every change at or before it."""
        turn, inside = divmod(offset_ns, self.duration_ns)
        if turn % 2 == 0:
            return self.quotes[bisect_right(self.quote_times, inside) - 1]
        return self.quotes[bisect_left(self.quote_times, self.duration_ns - inside) - 1]

    def quotes_between(self, begin_ns: int, end_ns: int) -> list[PathQuote]:
        """Return the changes of the quote from ``begin_ns`` up to, not at, ``end_ns``, ascending by offset.

        The last one before or at a moment is what `quote_at` gives for it.
        """
        times, quotes, found = self.quote_times, self.quotes, []
        for span in self._spans(times, begin_ns, end_ns):
            back = 0 if span.forwards else 1
            found += [PathQuote(span.offset_ns(times[row]), *quotes[row - back]) for row in span.rows()]
        return found

    def trades_between(self, begin_ns: int, end_ns: int) -> list[PathTrade]:
        """Return the trades from ``begin_ns`` up to, not at, ``end_ns``, ascending by offset."""
        times, trades, found = self.trade_times, self.trades, []
        for span in self._spans(times, begin_ns, end_ns):
            found += [PathTrade(span.offset_ns(times[row]), *trades[row]) for row in span.rows()]
        return found

    def candle(self, open_offset_ns: int, interval_ns: int) -> PathCandle:
        """Return the candle of the trades from the offset on, for ``interval_ns`` (0 or more: a part of a bucket too).

        ``open`` is the first trade's price. Without a trade in the range all four prices are the last one before it
        and the volumes 0. In a recording without any trade, prices are the middles of the quotes. Volumes are rounded
        to 1e-8.
        """
        if interval_ns < 0:
            raise ValueError(f"interval_ns must be 0 or more, not {interval_ns}")
        prices, first, last = self._prices, 0.0, 0.0
        high, low, volume, turnover = 0.0, float("inf"), 0.0, 0.0
        for span in self._spans(self._price_times, open_offset_ns, open_offset_ns + interval_ns):
            lo, hi = span.lo, span.hi
            if lo == hi:
                continue
            begin, last = (prices[lo], prices[hi - 1]) if span.forwards else (prices[hi - 1], prices[lo])
            first = first or begin
            top, bottom = self._extremes(lo, hi)
            high, low = max(high, top), min(low, bottom)
            volume += self._volumes[hi] - self._volumes[lo]
            turnover += self._turnovers[hi] - self._turnovers[lo]
        if not first:
            price = self.price_before(open_offset_ns)
            return PathCandle(price, price, price, price, 0.0, 0.0)
        return PathCandle(first, high, low, last, round(volume, 8), round(turnover, 8))

    def price_before(self, offset_ns: int) -> float:
        """Return the last trade's price before, not at, the offset."""
        turn = (offset_ns - 1) // self.duration_ns
        begin_ns, end_ns = turn * self.duration_ns, offset_ns
        while True:
            (span,) = self._spans(self._price_times, begin_ns, end_ns)
            if span.lo < span.hi:
                return self._prices[span.hi - 1 if span.forwards else span.lo]
            # A price lies in each pair of passes, so this ends soon.
            begin_ns, end_ns = begin_ns - self.duration_ns, begin_ns

    def _extremes(self, lo: int, hi: int) -> tuple[float, float]:
        """Return the highest and the lowest price of some rows."""
        known = self._whole.get((lo, hi))
        if known is None:
            known = self._searched(lo, hi)
            if hi - lo > len(self._prices) - 64:  # a whole pass: long candles ask for it again and again
                self._whole[lo, hi] = known
        return known

    def _searched(self, lo: int, hi: int) -> tuple[float, float]:
        """Look at the extremes of whole blocks, which are known, and at the prices around them."""
        first, last = -(-lo // _BLOCK), hi // _BLOCK
        if first >= last:
            part = self._prices[lo:hi]
            return max(part), min(part)
        if not self._blocks:
            parts = [self._prices[at : at + _BLOCK] for at in range(0, len(self._prices), _BLOCK)]
            self._blocks.extend((max(part), min(part)) for part in parts)
        tops, bottoms = zip(*self._blocks[first:last], strict=True)
        edges = self._prices[lo : first * _BLOCK] + self._prices[last * _BLOCK : hi]
        return max((*tops, *edges)), min((*bottoms, *edges))

    def _spans(self, times: "array[int]", begin_ns: int, end_ns: int) -> Iterator[_Span]:
        length = self.duration_ns
        for turn in range(begin_ns // length, (end_ns - 1) // length + 1):
            base = turn * length
            left, right = max(begin_ns - base, 0), min(end_ns - base, length)
            if turn % 2 == 0:
                yield _Span(bisect_left(times, left), bisect_left(times, right), True, base)
            else:  # offsets [left, right) of a backward pass are positions (length - right, length - left]
                lo, hi = bisect_right(times, length - right), bisect_right(times, length - left)
                yield _Span(lo, hi, False, base + length)


def _steps(known: Recording | Survey | None) -> dict[str, Decimal]:
    if isinstance(known, Survey):
        return {"tick": known.fine_tick(), "lot": known.lot()[0]}
    return {"tick": known.tick, "lot": known.lot} if known is not None else {}


@lru_cache(maxsize=4)
def _load(path: Path, _mtime_ns: int, _size: int) -> TickRecording:
    survey = Survey()
    blocks = _bounded(path, read_tick_blocks(path, survey))
    return TickRecording.from_blocks(blocks, path, shipped(path) or survey)


def _bounded(path: Path, blocks: Iterable[TickBlock]) -> Iterator[TickBlock]:
    """Yield the blocks. Raises `RecordingError` where they hold more ticks than are kept in memory."""
    count = 0
    for block in blocks:
        count += len(block.quotes[0]) + len(block.trades[0])
        if count > TICKS_MOST:
            raise RecordingError(path, None, f"more than {TICKS_MOST:,} ticks; a path is made of fewer: cut the file")
        yield block
