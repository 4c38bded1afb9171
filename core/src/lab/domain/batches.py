"""Market data in whole columns: checked once by C code, then made into events that need no second check.

A provider that reads columns makes its events here. `CheckedBatch` can't be made in any other way, so the guard in
front of the engine lets it pass as it is; whatever else a provider hands over is checked event by event.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from operator import le
from struct import pack
from typing import Any, Final, NoReturn, cast

from lab.domain.market import FINAL, Candle, Quote, candle_from_row

PRICE_LIMIT: Final = 1e15
SIZE_LIMIT: Final = 1e18


class CheckedBatch(tuple[Candle | Quote, ...]):
    """Candles and quotes of one symbol that were checked as columns. Only this module makes one."""

    __slots__ = ()

    def __new__(cls, *_: object) -> NoReturn:
        """Refuse: a batch that was not checked must not look like one that was."""
        raise TypeError("a CheckedBatch is made by CandleColumns.candles() or QuoteColumns.quotes() only")

    @property
    def symbol(self) -> str:
        """The symbol of all events; empty where there is none."""
        return self[0].symbol if self else ""


_checked: Final[Callable[[Iterable[Candle | Quote]], CheckedBatch]] = partial(tuple.__new__, cast("Any", CheckedBatch))


class CandleColumns:
    """Candles as columns: opening times, then open, high, low, close and volume.

    Making one checks the figures of all rows and raises ``ValueError`` where one is no candle. Packed columns take an
    eighth of the memory of `Candle` objects.
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
            and max(opens, default=1.0) < PRICE_LIMIT
            and min(volumes, default=0.0) >= 0.0
            and max(volumes, default=0.0) < SIZE_LIMIT
        )
        if not sound:
            raise ValueError("not all are candles")
        self.opens_ns = opens_ns
        self.figures = tuple(figures)

    def __len__(self) -> int:
        return len(self.opens_ns)

    def packed(self) -> "CandleColumns":
        """Return the same candles in as little memory as goes without loss."""
        same: CandleColumns = object.__new__(CandleColumns)
        same.lowest, same.highest = self.lowest, self.highest
        same.opens_ns = self.opens_ns if isinstance(self.opens_ns, range) else _packed("q", self.opens_ns)
        same.figures = tuple(_packed("d", column) for column in self.figures)
        return same

    def candles(self, symbol: str, interval_ns: int, status: str = FINAL) -> CheckedBatch:
        """Return them as events, each known when its bucket ended."""
        opens_ns, rows = self.opens_ns, len(self.opens_ns)
        if isinstance(opens_ns, range) and opens_ns.step == interval_ns:  # each closes when the next one opens
            bounds_ns = list(range(opens_ns.start, opens_ns.stop + interval_ns, interval_ns))
            opens_ns, closes_ns = bounds_ns[:-1], bounds_ns[1:]
        else:
            closes_ns = [open_ns + interval_ns for open_ns in opens_ns]
        symbols, states = repeat(symbol, rows), repeat(status, rows)
        return _checked(map(candle_from_row, zip(symbols, opens_ns, closes_ns, *self.figures, states, strict=True)))


def _packed(code: str, column: Sequence[Any]) -> "array[Any]":
    # By way of bytes: a third of the time that an array takes of a list.
    return array(code, pack(f"{len(column)}{code}", *column))
