"""Reads ticks (quotes and trades) from CSV, whole columns at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, compress, repeat
from operator import eq, le, ne
from pathlib import Path
from typing import Final, NamedTuple

from lab.domain.batches import TickColumns
from lab.domain.market import Quote, check_quote

from lab_recordings.columns import Columns, ExactColumns
from lab_recordings.errors import RecordingError
from lab_recordings.table import Table
from lab_recordings.times import TIME_NAMES, TimeColumn

_TIME: Final = ("venue_ms", *TIME_NAMES)
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


Tick = Quote | TickTrade
_KINDS: Final = frozenset({"quote", "trade"})
_SIDES: Final = frozenset({"buy", "sell"})
_trade_from_row: Final[Callable[[Iterable[object]], TickTrade]] = partial(tuple.__new__, TickTrade)


def read_ticks(path: Path, symbol: str = "BTCUSDT") -> Iterator[TickColumns]:
    """Yield the file's quotes and trades in batches, in the order of the file.

    Columns: ``venue_ms`` (or ``time``: anything `lab.domain.time.parse_time` reads, in one form and unit), ``bid``,
    ``bid_size``, ``ask``, ``ask_size``; with trades also ``kind`` (``quote`` or ``trade``), ``price``, ``size`` and
    ``side``. Others are ignored.

    ``time_ns`` never falls: a venue's clock that steps back (by up to 30 ms in the shipped file) is held at the
    largest time seen, because the order of arrival is the truth. Raises `RecordingError`, at the latest when the row
    to blame is reached.
    """
    table = Table(path)
    reader = _Reader(table, symbol)
    for block in table.blocks():
        yield block.read(reader.read, reader.refuse)


class _Reader:
    """Turns blocks of rows into ticks; remembers the largest time from block to block."""

    def __init__(self, table: Table, symbol: str) -> None:
        self._path = table.path
        self._symbol = symbol
        self._time = table.place(*_TIME)
        self._quote = table.places(_QUOTE_FIELDS)
        self._kind = table.place("kind") if "kind" in table.header else None
        self._trade = table.places(_TRADE_FIELDS) if self._kind is not None else ()
        self._times = TimeColumn()
        self._newest_ns = 0

    def read(self, columns: Columns) -> TickColumns:
        stamps = columns.times(self._time, self._times)
        if stamps[0] < self._newest_ns or not all(map(le, stamps, stamps[1:])):
            stamps = list(accumulate(stamps, max, initial=self._newest_ns))[1:]
        if self._kind is None:
            ticks = TickColumns(self._symbol, [stamps, *(columns.floats(place) for place in self._quote)])
        else:
            ticks = self._mixed(columns, self._kind, stamps)
        self._newest_ns = stamps[-1]
        return ticks

    def _mixed(self, columns: Columns, kind: int, stamps: Sequence[int]) -> TickColumns:
        kinds = columns.texts(kind)
        quoted, traded = list(map(eq, kinds, repeat("quote"))), list(map(eq, kinds, repeat("trade")))
        if not all(map(ne, quoted, traded)):
            raise ValueError("neither quote nor trade")
        quotes: list[Sequence[object]] = [
            list(compress(stamps, quoted)),
            *(columns.floats(place, quoted) for place in self._quote),
        ]
        price, size, side = self._trade
        trades = _trades(
            list(compress(stamps, traded)),
            columns.floats(price, traded),
            columns.floats(size, traded),
            list(compress(columns.texts(side), traded)),
        )
        return TickColumns(self._symbol, quotes, trades, quoted)

    def refuse(self, line: int, columns: ExactColumns) -> None:
        """Raise the `RecordingError` for what `read` refuses: times first, then the first row that is no tick."""
        stamps = columns.texts(self._time)
        try:
            self._times.parse(stamps)
        except ValueError:
            place, reason = self._times.why_not(stamps)
            raise RecordingError(self._path, line + place, reason) from None
        quote = dict(zip(_QUOTE_FIELDS, map(columns.texts, self._quote), strict=True))
        trade = dict(zip(_TRADE_FIELDS, map(columns.texts, self._trade), strict=False))
        kinds = repeat("quote", len(stamps)) if self._kind is None else columns.texts(self._kind)
        for place, kind in enumerate(kinds):
            fields = quote if kind == "quote" else trade
            why = _why_not(kind, {name: column[place] for name, column in fields.items()})
            if why is not None:
                raise RecordingError(self._path, line + place, why)


def _trades(
    stamps: Sequence[int], prices: Sequence[float], sizes: Sequence[float], sides: Sequence[str]
) -> Iterator[TickTrade]:
    sound = (
        all(prices)
        and max(prices, default=0.0) < _PRICE_LIMIT
        and max(sizes, default=0.0) < _SIZE_LIMIT
        and _SIDES.issuperset(sides)
    )
    if not sound:
        raise ValueError("not all are trades")
    return map(_trade_from_row, zip(stamps, prices, sizes, sides, strict=True))


def _why_not(kind: str, texts: Mapping[str, str]) -> str | None:
    """Return what is wrong with a row, or ``None``."""
    if kind not in _KINDS:
        return f"kind {kind!r}; expected quote or trade"
    figures: dict[str, float] = {}
    for name, text in texts.items():
        if name != "side":
            try:
                figures[name] = float(text)
            except ValueError:
                return f"{name} {text!r} is not a number"
    if kind == "quote":
        return check_quote(Quote("", 0, **figures))
    if not (0.0 < figures["price"] < _PRICE_LIMIT and 0.0 <= figures["size"] < _SIZE_LIMIT):
        return f"price {figures['price']!r}, size {figures['size']!r}: not a trade"
    return None if texts["side"] in _SIDES else f"side {texts['side']!r}; expected buy or sell"
