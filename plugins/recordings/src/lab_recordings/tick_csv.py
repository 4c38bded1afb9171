"""Reads ticks (quotes and trades) from CSV, whole columns at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, compress, repeat
from operator import eq, le, ne, not_
from pathlib import Path
from typing import Any, Final, NamedTuple

from lab.domain.batches import TickColumns, check_quotes
from lab.domain.market import Quote, check_quote

from lab_recordings.columns import Columns, ExactColumns
from lab_recordings.errors import RecordingError, excerpt
from lab_recordings.survey import Survey
from lab_recordings.table import Table
from lab_recordings.times import TIME_NAMES, TimeColumn

_TIME: Final = ("venue_ms", *TIME_NAMES)
_RECEIVED: Final = "received_ns"
_QUOTE_FIELDS: Final = ("bid", "bid_size", "ask", "ask_size")
_TRADE_FIELDS: Final = ("price", "size", "side")
_PRICE_LIMIT: Final = 1e15
_SIZE_LIMIT: Final = 1e18


class TickTrade(NamedTuple):
    """One trade: venue time, price, size in coins, and the taker's side, ``buy`` or ``sell``."""

    time_ns: int
    price: float
    size: float
    side: str


class TickBlock(NamedTuple):
    """Checked columns of a block of rows."""

    quotes: Sequence[Sequence[Any]]
    """Time, bid, bid size, ask, ask size."""
    trades: Sequence[Sequence[Any]]
    """Time, price, size, side."""
    quoted: Sequence[bool] | None
    """Of each row whether it is a quote, else it is a trade; ``None``: all are."""


Tick = Quote | TickTrade
_KINDS: Final = frozenset({"quote", "trade"})
_SIDES: Final = frozenset({"buy", "sell"})
_trade_from_row: Final[Callable[[Iterable[object]], TickTrade]] = partial(tuple.__new__, TickTrade)


def read_ticks(path: Path, symbol: str = "BTCUSDT", survey: Survey | None = None) -> Iterator[TickColumns]:
    """Yield the file's quotes and trades in batches, in the order of the file. A ``survey`` takes in what was read.

    Columns: ``venue_ms`` (or ``time``: anything `lab.domain.time.parse_time` reads, in one form and unit), ``bid``,
    ``bid_size``, ``ask``, ``ask_size``; with trades also ``kind`` (``quote`` or ``trade``), ``price``, ``size`` and
    ``side``. Others are ignored. Where ``venue_ms`` is empty, because some venues stamp no quotes, ``received_ns``
    stands in for it.

    ``time_ns`` never falls: a venue's clock that steps back (by up to 30 ms in the shipped file) is held at the
    largest time seen, because the order of arrival is the truth. Raises `RecordingError`, at the latest when the row
    to blame is reached.
    """
    for block in read_tick_blocks(path, survey):
        others = map(_trade_from_row, zip(*block.trades, strict=True))
        yield TickColumns(symbol, block.quotes, others, block.quoted)


def read_tick_blocks(path: Path, survey: Survey | None = None) -> Iterator[TickBlock]:
    """Yield what `read_ticks` makes ticks of, as checked columns."""
    table = Table(path)
    reader = _Reader(table, survey)
    for block in table.blocks():
        yield block.read(reader.read, reader.refuse)


class _Reader:
    """Turns blocks of rows into columns; remembers the largest time from block to block."""

    def __init__(self, table: Table, survey: Survey | None) -> None:
        self._path = table.path
        self._survey = survey or Survey()
        self._time = table.place(*_TIME, _RECEIVED)
        stamped = table.header[self._time] == _TIME[0] and _RECEIVED in table.header
        self._received = table.place(_RECEIVED) if stamped else None
        self._quote = table.places(_QUOTE_FIELDS)
        self._kind = table.place("kind") if "kind" in table.header else None
        self._trade = table.places(_TRADE_FIELDS) if self._kind is not None else ()
        self._times = TimeColumn()
        self._receipts = TimeColumn()
        self._newest_ns = 0

    def read(self, columns: Columns) -> TickBlock:
        stamps = self._stamps(columns)
        if stamps[0] < self._newest_ns or not all(map(le, stamps, stamps[1:])):
            stamps = list(accumulate(stamps, max, initial=self._newest_ns))[1:]
        if self._kind is None:
            block = TickBlock((stamps, *self._quotes(columns, None)), ((), (), (), ()), None)
        else:
            block = self._mixed(columns, self._kind, stamps)
        self._newest_ns = stamps[-1]
        return block

    def _stamps(self, columns: Columns) -> Sequence[int]:
        """Return the rows' times: the venue's, or where that is empty the recorder's."""
        if self._received is None:
            return columns.times(self._time, self._times)
        try:
            return columns.times(self._time, self._times)
        except ValueError:
            texts = columns.texts(self._time)
            empty = [not text or text.isspace() for text in texts]
            if not any(empty):
                raise
        received = iter(self._receipts.parse(list(compress(columns.texts(self._received), empty))))
        present = list(compress(texts, map(not_, empty)))
        stamped = iter(self._times.parse(present) if present else ())
        return [next(received) if none else next(stamped) for none in empty]

    def _quotes(self, columns: Columns, quoted: Sequence[bool] | None) -> Sequence[Sequence[float]]:
        figures = [columns.floats(place, quoted) for place in self._quote]
        lowest, highest = check_quotes(figures)
        bids, _, asks, _ = figures
        if bids:
            self._survey.see_prices((bids, asks), lowest, highest)
        return figures

    def _mixed(self, columns: Columns, kind: int, stamps: Sequence[int]) -> TickBlock:
        kinds = columns.texts(kind)
        quoted, traded = list(map(eq, kinds, repeat("quote"))), list(map(eq, kinds, repeat("trade")))
        if not all(map(ne, quoted, traded)):
            raise ValueError("neither quote nor trade")
        price, size, side = self._trade
        prices, sizes = columns.floats(price, traded), columns.floats(size, traded)
        sides = list(compress(columns.texts(side), traded))
        lowest, highest = min(prices, default=1.0), max(prices, default=1.0)
        if not (
            lowest > 0.0
            and highest < _PRICE_LIMIT
            and max(sizes, default=0.0) < _SIZE_LIMIT
            and _SIDES.issuperset(sides)
        ):
            raise ValueError("not all are trades")
        figures = self._quotes(columns, quoted)
        if prices:
            self._survey.see_prices((prices,), lowest, highest)
        trades = list(compress(stamps, traded)), prices, sizes, sides
        return TickBlock((list(compress(stamps, quoted)), *figures), trades, quoted)

    def refuse(self, line: int, columns: ExactColumns) -> None:
        """Raise the `RecordingError` for what `read` refuses: times first, then the first row that is no tick."""
        self._refuse_times(line, columns)
        count = len(columns.texts(self._time))
        quote = dict(zip(_QUOTE_FIELDS, map(columns.texts, self._quote), strict=True))
        trade = dict(zip(_TRADE_FIELDS, map(columns.texts, self._trade), strict=False))
        kinds = repeat("quote", count) if self._kind is None else columns.texts(self._kind)
        for place, kind in enumerate(kinds):
            fields = quote if kind == "quote" else trade
            why = _why_not(kind, {name: column[place] for name, column in fields.items()})
            if why is not None:
                raise RecordingError(self._path, line + place, why)

    def _refuse_times(self, line: int, columns: ExactColumns) -> None:
        stamps = columns.texts(self._time)
        received = stamps if self._received is None else columns.texts(self._received)
        for number, (stamp, receipt) in enumerate(zip(stamps, received, strict=True), line):
            times, text = (self._times, stamp) if stamp.strip() else (self._receipts, receipt)
            try:
                times.parse((text,))
            except ValueError:
                raise RecordingError(self._path, number, times.why_not((text,))[1]) from None


def _why_not(kind: str, texts: Mapping[str, str]) -> str | None:
    """Return what is wrong with a row, or ``None``."""
    if kind not in _KINDS:
        return f"kind {excerpt(kind)}; expected quote or trade"
    figures: dict[str, float] = {}
    for name, text in texts.items():
        if name != "side":
            try:
                figures[name] = float(text)
            except ValueError:
                return f"{name} {excerpt(text)} is not a number"
    if kind == "quote":
        return check_quote(Quote("", 0, **figures))
    if not (0.0 < figures["price"] < _PRICE_LIMIT and 0.0 <= figures["size"] < _SIZE_LIMIT):
        return f"price {figures['price']!r}, size {figures['size']!r}: not a trade"
    return None if texts["side"] in _SIDES else f"side {excerpt(texts['side'])}; expected buy or sell"
