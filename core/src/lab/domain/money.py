"""Prices and sizes of market data, which are floats, as exact decimals."""

from decimal import Decimal
from functools import lru_cache


@lru_cache(maxsize=64, typed=True)
def as_decimal(value: float) -> Decimal:
    """Return the decimal of a float's shortest text: what the venue wrote, so exact.

    The newest are remembered: strategy, gates, broker and ledger ask for the same few prices, and texts are slow.
    """
    return Decimal(repr(value))
