"""The mark at which a position is liquidated, in float: to know from when on to look at the exact figures.

The same as `lab.domain.margin.breach_price`, once more because it is asked for after each fill, and compiled.
"""

from collections.abc import Sequence
from math import inf

from lab.domain.margin import TierFigures


def breach_price_in_float(value: float, quantity: float, aside: float, tiers: Sequence[TierFigures[float]]) -> float:
    """Return the mark; ``value`` is the contract's, 0 for a linear one, ``aside`` what backs a position beside itself.

    Where no mark is low or high enough it is 0 for a long and infinite for a short; where every mark is, the reverse.
    """
    never, always = (0.0, inf) if quantity > 0.0 else (inf, 0.0)
    if (quantity > 0.0) is (value == 0.0):  # the notional falls on the way of the loss
        for begins, _, rate, deduction in reversed(tiers):
            notional = -(aside + deduction) / (1.0 - rate)
            if notional >= begins and notional > 0.0:
                break
        else:
            return never
    else:
        for begins, ends, rate, deduction in tiers:  # pragma: no branch - the last tier has no end
            notional = max((aside + deduction) / (1.0 + rate), begins)
            if notional < ends:
                break
        if notional <= 0.0:
            return always
    size = abs(quantity)
    return size * value / notional if value else notional / size
