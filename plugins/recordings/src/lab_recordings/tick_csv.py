"""Reads ticks (quotes and trades) from CSV, whole columns at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, compress, repeat
from operator import eq, le, ne, not_
from pathlib import Path
from typing import Any, Final, NamedTuple

from lab.domain.batches import SIZE_LIMIT, TickColumns
from lab.domain.market import PRICE_LEAST, PRICE_LIMIT, Quote, check_quote

from lab_recordings.columns import Columns, ExactColumns
from lab_recordings.errors import RecordingError, excerpt
from lab_recordings.opening import Digest
from lab_recordings.survey import Survey
from lab_recordings.table import Table
from lab_recordings.times import TIME_NAMES, TimeColumn

_TIME: Final = ("venue_ms", *TIME_NAMES)
_RECEIVED: Final = "received_ns"
_QUOTE_FIELDS: Final = ("bid", "bid_size", "ask", "ask_size")
_TRADE_FIELDS: Final = ("price", "size", "side")


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


def read_ticks(path: Path, symbol: str = "BTCUSDT", survey: Survey | None = None) -> Iterator[Sequence[Tick]]:
    """Yield the file's quotes and trades in batches, in the order of the file. A ``survey`` takes in what was read.

    Columns: ``venue_ms`` (or ``time``: anything `lab.domain.time.parse_time` reads, in one form and unit), ``bid``,
    ``bid_size``, ``ask``, ``ask_size``; with trades also ``kind`` (``quote`` or ``trade``), ``price``, ``size`` and
    ``side``. Others are ignored. Where ``venue_ms`` is empty, because some venues stamp no quotes, ``received_ns``
    stands in for it.

    ``time_ns`` never falls: a venue's clock that steps back (by up to 30 ms in the shipped file) is held at the
    largest time seen, because the order of arrival is the truth. Raises `RecordingError`, at the latest when the row
    to blame is reached.
    """
    for rows in _read(path, survey, None):
        yield rows.ticks(symbol)


def read_tick_columns(path: Path, survey: Survey | None = None, digest: Digest | None = None) -> Iterator[TickColumns]:
    """Yield what `read_ticks` does, as columns of quotes and columns of trades. A ``digest`` takes in the file's bytes.

    It is complete after the last block.
    """
    for rows in _read(path, survey, digest):
        yield rows.columns


def read_tick_blocks(path: Path, survey: Survey | None = None) -> Iterator[TickBlock]:
    """Yield what `read_ticks` makes ticks of."""
    for rows in _read(path, survey, None):
        yield TickBlock(rows.columns.quotes, (*rows.columns.trades[:3], rows.sides), rows.quoted)


def _read(path: Path, survey: Survey | None, digest: Digest | None) -> Iterator["_Rows"]:
    table = Table(path)
    reader = _Reader(table, survey)
    for block in table.blocks(digest):
        yield block.read(reader.read, reader.refuse)


class _Rows(NamedTuple):
    """A block of ticks: its columns, the side of each trade, and which rows are quotes (``None``: all)."""

    columns: TickColumns
    sides: Sequence[str] = ()
    quoted: Sequence[bool] | None = None

    def ticks(self, symbol: str) -> Sequence[Tick]:
        """Return the ticks in the order of their rows."""
        quotes = self.columns.made(symbol)
        if self.quoted is None:
            return list(quotes)
        trades = map(_trade_from_row, zip(*self.columns.trades[:3], self.sides, strict=True))
        return [next(quotes) if one else next(trades) for one in self.quoted]


class _Reader:
    """Turns blocks of rows into ticks; remembers the largest time from block to block."""

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

    def read(self, columns: Columns) -> _Rows:
        stamps = self._stamps(columns)
        if stamps[0] < self._newest_ns or not all(map(le, stamps, stamps[1:])):
            stamps = list(accumulate(stamps, max, initial=self._newest_ns))[1:]
        if self._kind is None:
            figures = [columns.floats(place) for place in self._quote]
            rows = _Rows(TickColumns([stamps, *figures]))  # raises where one is no quote
        else:
            rows = self._mixed(columns, self._kind, stamps)
        self._see(rows.columns)
        self._newest_ns = stamps[-1]
        return rows

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

    def _mixed(self, columns: Columns, kind: int, stamps: Sequence[int]) -> _Rows:
        kinds = columns.texts(kind)
        quoted, traded = list(map(eq, kinds, repeat("quote"))), list(map(eq, kinds, repeat("trade")))
        if not all(map(ne, quoted, traded)):
            raise ValueError("neither quote nor trade")
        quotes = [columns.floats(place, quoted) for place in self._quote]
        price, size, side = self._trade
        trades = [columns.floats(place, traded) for place in (price, size)]
        sides = list(compress(columns.texts(side), traded))
        if not _SIDES.issuperset(sides):
            raise ValueError("not all are trades")
        times = [list(compress(stamps, chosen)) for chosen in (quoted, traded)]
        buys = list(map(eq, sides, repeat("buy")))
        return _Rows(TickColumns([times[0], *quotes], [times[1], *trades, buys]), sides, quoted)

    def _see(self, ticks: TickColumns) -> None:
        _, bids, _, asks, _ = ticks.quotes
        _, prices, _, _ = ticks.trades
        if bids:
            self._survey.see_prices((bids, asks), ticks.lowest, ticks.highest)
        if prices:
            self._survey.see_prices((prices,), min(prices), max(prices))

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
                if self._kind is None and not quote["bid"][place].strip():
                    why += "; a file that holds trades as well needs the column kind (quote or trade)"
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
    if not (PRICE_LEAST <= figures["price"] < PRICE_LIMIT and 0.0 <= figures["size"] < SIZE_LIMIT):
        return f"price {figures['price']!r}, size {figures['size']!r}: not a trade"
    return None if texts["side"] in _SIDES else f"side {excerpt(texts['side'])}; expected buy or sell"
