"""Sums and ranges over closed candles. Pure functions of plain numbers."""

from collections.abc import Sequence
from itertools import pairwise
from math import fsum
from typing import Final

from lab import Candle

# Averages nearer than this, relative to their size, are equal: float noise is no crossover.
EQUAL: Final = 1e-9


def closes_sum(candles: Sequence[Candle], count: int, *, skip: int = 0) -> float:
    """Return the correctly rounded sum of ``count`` closes, ending ``skip`` candles before the newest."""
    end = len(candles) - skip
    return fsum([candle[6] for candle in candles[end - count : end]])


def average_true_range(candles: Sequence[Candle], period: int) -> float:
    """Return the plain average of the newest ``period`` true ranges: high to low, the close before included.

    Needs ``period + 1`` candles; raises ``ValueError`` with fewer.
    """
    if len(candles) <= period:
        raise ValueError(f"an average true range of {period} needs {period + 1} candles, not {len(candles)}")
    newest = candles[len(candles) - period - 1 :]
    ranges = [max(candle.high, before.close) - min(candle.low, before.close) for before, candle in pairwise(newest)]
    return fsum(ranges) / period
