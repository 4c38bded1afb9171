"""Reads ticks (quotes and trades) from CSV."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

from lab.domain.market import Quote, check_quote, quote_from_row

from lab_recordings.errors import RecordingError
from lab_recordings.table import TIME_NAMES, Row, TimeColumn, column_of, places, read_table

_TIME: Final = ("venue_ms", *TIME_NAMES)
_QUOTE_FIELDS: Final = ("bid", "bid_size", "ask", "ask_size")
_TRADE_FIELDS: Final = ("price", "size", "side")


class TickTrade(NamedTuple):
    """One trade: venue time, price, size in coins, and the taker's side, ``buy`` or ``sell``."""

    time_ns: int
    price: float
    size: float
    side: str


Tick = Quote | TickTrade


def read_ticks(path: Path, symbol: str = "BTCUSDT") -> Iterator[list[Tick]]:
    """Yield the file's quotes and trades in batches, in the order of the file.

    Columns: ``venue_ms`` (or ``time``: anything `lab.domain.time.parse_time` reads), ``bid``, ``bid_size``, ``ask``,
    ``ask_size``; with trades also ``kind`` (``quote`` or ``trade``), ``price``, ``size`` and ``side``. Others are
    ignored.

    ``time_ns`` never falls: a venue's clock that steps back (by up to 30 ms in the shipped file) is held at the
    largest time seen, because the order of arrival is the truth. Raises `RecordingError`, at the latest when the row
    to blame is reached.
    """
    table = read_table(path)
    _, (header,) = next(table)
    time_place = column_of(path, header, _TIME)
    quote_places = tuple(places(path, header, {name: (name,) for name in _QUOTE_FIELDS}).values())
    mixed = "kind" in header
    trade_places = tuple(places(path, header, {name: (name,) for name in _TRADE_FIELDS}).values()) if mixed else ()
    kind_place = header.index("kind") if mixed else None
    times, newest = TimeColumn(), 0
    for line, rows in table:
        column = [row[time_place] for row in rows]
        try:
            stamps = list(accumulate(times.parse(column), max, initial=newest))[1:]
        except ValueError as error:
            raise times.blame(path, line, column, error) from None
        newest = stamps[-1]
        batch: list[Tick] = []
        for place, (stamp, row) in enumerate(zip(stamps, rows, strict=True)):
            try:
                if kind_place is None or row[kind_place] == "quote":
                    batch.append(_quote(symbol, stamp, row, quote_places))
                else:
                    batch.append(_trade(stamp, row, trade_places, row[kind_place]))
            except ValueError as error:
                raise RecordingError(path, line + place, str(error)) from None
        yield batch


def _quote(symbol: str, time_ns: int, row: Row, fields: Sequence[int]) -> Quote:
    b, bs, a, s = fields
    bid, bid_size, ask, ask_size = float(row[b]), float(row[bs]), float(row[a]), float(row[s])
    if not (0.0 < bid <= ask < 1e15 and 0.0 <= bid_size < 1e18 and 0.0 <= ask_size < 1e18):
        raise ValueError(check_quote(Quote(symbol, time_ns, bid, bid_size, ask, ask_size)))
    return quote_from_row((symbol, time_ns, bid, bid_size, ask, ask_size))


def _trade(time_ns: int, row: Row, fields: Sequence[int], kind: str) -> TickTrade:
    if kind != "trade":
        raise ValueError(f"kind {kind!r}; expected quote or trade")
    p, z, d = fields
    price, size, side = float(row[p]), float(row[z]), row[d]
    if not (0.0 < price < 1e15 and 0.0 <= size < 1e18):
        raise ValueError(f"price {price!r}, size {size!r}: not a trade")
    if side not in {"buy", "sell"}:
        raise ValueError(f"side {side!r}; expected buy or sell")
    return TickTrade(time_ns, price, size, side)
