"""Market data to measure with: a seeded random walk, kept as columns of machine numbers in a file."""

import random
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Final

from attrs import frozen
from lab.domain.market import FINAL, Candle, Input, Quote, candle_from_row, quote_from_row
from lab.domain.time import MINUTE_NS, SECOND_NS

SYMBOL: Final = "BTCUSDT"
BEGIN_NS: Final = 1_640_995_200 * SECOND_NS
BATCH: Final = 4096
TICKS_A_CANDLE: Final = 60
_STEP: Final = 0.0008  # standard deviation of a minute's return: about that of BTC
_COLUMNS: Final = 5


def write_walk(path: Path, count: int, seed: int = 1) -> None:
    """Write open, high, low, close and volume of ``count`` one-minute candles of a random walk on a 0.1 grid."""
    draw = random.Random(seed)
    gauss, uniform = draw.gauss, draw.random
    columns = [array("d") for _ in range(_COLUMNS)]
    opens, highs, lows, closes, volumes = (column.append for column in columns)
    price = 43_000.0
    for _ in range(count):
        opened = price
        price = max(100.0, round(price * (1 + gauss(0.0, _STEP)), 1))
        reach = opened * _STEP / 2
        opens(opened)
        highs(round(max(opened, price) + reach * uniform(), 1))
        lows(round(min(opened, price) - reach * uniform(), 1))
        closes(price)
        volumes(round(5 + 20 * uniform(), 3))
    with path.open("wb") as file:
        for column in columns:
            column.tofile(file)


@frozen
class Columns:
    """Open, high, low, close and volume of candles in a row."""

    columns: "list[array[float]]"

    @classmethod
    def read(cls, path: Path, count: int) -> "Columns":
        """Read the first ``count`` candles of a file that `write_walk` made."""
        held = path.stat().st_size // (8 * _COLUMNS)
        if held < count:
            raise ValueError(f"{path}: holds {held} candles, not {count}")
        columns = []
        with path.open("rb") as file:
            for number in range(_COLUMNS):
                file.seek(8 * held * number)
                column = array("d")
                column.fromfile(file, count)
                columns.append(column)
        return cls(columns)

    def __len__(self) -> int:
        return len(self.columns[0])

    def candles(self) -> Iterator[list[Input]]:
        """Yield the candles, a batch at a time, each made from columns by C code."""
        for first in range(0, len(self), BATCH):
            last = min(first + BATCH, len(self))
            begin_ns, end_ns = BEGIN_NS + first * MINUTE_NS, BEGIN_NS + last * MINUTE_NS
            prices = [column[first:last].tolist() for column in self.columns]
            opened = range(begin_ns, end_ns, MINUTE_NS)
            known = range(begin_ns + MINUTE_NS, end_ns + MINUTE_NS, MINUTE_NS)
            yield list(map(candle_from_row, zip(repeat(SYMBOL), opened, known, *prices, repeat(FINAL), strict=False)))

    def quotes(self) -> Iterator[list[Input]]:
        """Yield one quote a second, its bids the closes in turn, and after each sixty the candle they make."""
        closes = self.columns[3]
        per_batch = BATCH // TICKS_A_CANDLE * TICKS_A_CANDLE
        for first in range(0, len(self), per_batch):
            last = min(first + per_batch, len(self))
            bids = closes[first:last].tolist()
            asks = [bid + 0.1 for bid in bids]
            times = range(BEGIN_NS + first * SECOND_NS, BEGIN_NS + last * SECOND_NS, SECOND_NS)
            made = list(
                map(quote_from_row, zip(repeat(SYMBOL), times, bids, repeat(1.5), asks, repeat(2.5), strict=False))
            )
            minutes = (made[at : at + TICKS_A_CANDLE] for at in range(0, len(made), TICKS_A_CANDLE))
            yield list(chain.from_iterable((*minute, _candle(minute)) for minute in minutes))


def _candle(minute: Sequence[Quote]) -> Candle:
    bids = [quote.bid for quote in minute]
    opened = minute[0].time_ns
    return Candle(SYMBOL, opened, opened + MINUTE_NS, bids[0], max(bids), min(bids), bids[-1], 1.0, FINAL)
