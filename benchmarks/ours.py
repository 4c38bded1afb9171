"""What ``lab backtest`` traded, read from its journal."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from lab.journal.reader import JournalReader

from benchmarks.fills import Fill
from benchmarks.trades import Bar, Trade


class Booked(NamedTuple):
    """A fill as it was booked: the number of the candle it was made on, time, signed quantity, price and fee."""

    number: int
    time_ns: int
    size: Decimal
    price: Decimal
    fee: Decimal


def booked(folder: Path) -> list[Booked]:
    """Return the fills of a run. A backtest's inputs are its candles, so an input's number is its candle's."""
    reader = JournalReader.open(folder)
    try:
        return [_booked(row[2], json.loads(row[5])) for row in reader.rows() if row[3] == "order_filled"]
    finally:
        reader.close()


def _booked(input_n: int, body: Mapping[str, Any]) -> Booked:
    fill = body["fill"]
    size = Decimal(fill["quantity"]) * (1 if body["side"] == "buy" else -1)
    return Booked(input_n - 1, fill["time_ns"], size, Decimal(fill["price"]), Decimal(fill["fee"]))


def round_trips(fills: Iterable[Booked], bars: Sequence[Bar]) -> list[Trade]:
    """Pair fills that open with those that close.

    Raises ``ValueError`` for a fill at a time outside its candle, and where one does not close what is held whole.
    """
    return list(_round_trips(fills, bars))


def _round_trips(fills: Iterable[Booked], bars: Sequence[Bar]) -> Iterator[Trade]:
    entry: Booked | None = None
    for fill in fills:
        begins_ns = bars[fill.number].time_ms * 1_000_000
        ends_ns = begins_ns + (bars[1].time_ms - bars[0].time_ms) * 1_000_000
        if not begins_ns <= fill.time_ns <= ends_ns:
            raise ValueError(f"the fill at {fill.time_ns} is outside its candle, {begins_ns} to {ends_ns}")
        if entry is None:
            entry = fill
        elif fill.size != -entry.size:
            raise ValueError(f"the fill at {fill.time_ns} of {fill.size} does not close {entry.size}")
        else:
            yield _trade(entry, fill, bars)
            entry = None
    if entry is not None:
        yield _trade(entry, None, bars)


def _trade(entry: Booked, leave: Booked | None, bars: Sequence[Bar]) -> Trade:
    fees = entry.fee + (leave.fee if leave else 0)
    price = leave.price if leave else bars[-1].close
    left_ms, out = (bars[leave.number].time_ms, leave.price) if leave else (None, None)
    profit = entry.size * (price - entry.price) - fees
    way = 1 if entry.size > 0 else -1
    return Trade(bars[entry.number].time_ms, way, abs(entry.size), entry.price, left_ms, out, fees, profit)


def by_decision(fills: Iterable[Booked]) -> dict[int, Fill]:
    """Return what was filled at each open, exit and entry together, by the number of the candle that decided it.

    That is the one before. Raises ``ValueError`` for two prices at one open.
    """
    found: dict[int, Fill] = {}
    for fill in fills:
        before = found.get(fill.number - 1, Fill(Decimal(0), fill.price, Decimal(0)))
        if before.price != fill.price:
            raise ValueError(f"two prices at one open: {before.price} and {fill.price}")
        found[fill.number - 1] = Fill(before.size + fill.size, fill.price, before.fee + fill.fee)
    return found
