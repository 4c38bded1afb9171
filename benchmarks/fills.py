"""Why two engines whose orders are decided at the same closes end with other profits: to the last decimal.

Ours fill at the next open, NautilusTrader's at a close. What lies between is price, fee, and what one filled alone.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from attrs import frozen

from benchmarks.trades import FEE, Bar

_NOTHING: Final = Decimal(0)


class Fill(NamedTuple):
    """What was filled for one decision: signed quantity, price, and the fee that was booked."""

    size: Decimal
    price: Decimal
    fee: Decimal


@frozen
class Explanation:
    """A difference of profits (ours less theirs), and the parts that it must be the sum of."""

    difference: Decimal
    decisions: int
    """Those that both filled."""
    other_prices: int
    """How many of them at other prices."""
    prices: Decimal
    """From prices: the sum of −quantity · (our open − their close)."""
    rates: Decimal
    """From fees: their rate on the same differences, the quantity without sign."""
    rounding: Decimal
    """What their booked fees are above the exact ones, less what ours are."""
    alone: Decimal
    """From orders of the last candles, which one of them filled and the other had no price for."""
    unexplained: tuple[str, ...]
    """Fills at a price that is neither rule's."""

    @property
    def residual(self) -> Decimal:
        """Return what is left of the difference: 0 where it is explained."""
        return self.difference - self.prices - self.rates - self.rounding - self.alone

    @property
    def holds(self) -> bool:
        """Return whether every fill is at its rule's price and nothing is left, not even a part of a cent."""
        return not self.unexplained and not self.residual


def explain(
    bars: Sequence[Bar],
    ours: Mapping[int, Fill],
    theirs: Mapping[int, Fill],
    profits: tuple[Decimal, Decimal],
    behind: int,
) -> Explanation:
    """Explain profits by fills, which are by the number of the candle that decided them.

    Ours must be at the open of the next candle, theirs at the close of the one ``behind`` candles after the decision.
    Positions at the end are worth the last close to both.
    """
    wrong, last = [], bars[-1].close
    for name, fills, want in (
        ("ours", ours, [bar.open for bar in bars[1:]]),
        ("theirs", theirs, [bar.close for bar in bars[behind:]]),
    ):
        for number, fill in fills.items():
            if number >= len(want) or fill.price != want[number]:
                rule = want[number] if number < len(want) else "none"
                wrong.append(f"{name}, decided by candle {number}: filled at {fill.price}, its rule's price is {rule}")
    both = sorted(ours.keys() & theirs.keys())
    wrong += [
        f"candle {number}: ours is {ours[number].size}, theirs {theirs[number].size}"
        for number in both
        if ours[number].size != theirs[number].size
    ]
    pairs = [(ours[number], theirs[number]) for number in both]
    alone = sum((_worth(fill, last) for number, fill in ours.items() if number not in theirs), _NOTHING)
    alone -= sum((_worth(fill, last) for number, fill in theirs.items() if number not in ours), _NOTHING)
    return Explanation(
        profits[0] - profits[1], len(both), sum(mine.price != other.price for mine, other in pairs),
        sum((-mine.size * (mine.price - other.price) for mine, other in pairs), _NOTHING),
        sum((-FEE * abs(mine.size) * (mine.price - other.price) for mine, other in pairs), _NOTHING),
        sum((_extra(other) - _extra(mine) for mine, other in pairs), _NOTHING),
        alone, tuple(wrong),
    )  # fmt: skip


def _extra(fill: Fill) -> Decimal:
    """Return what a booked fee is above the exact one."""
    return fill.fee - FEE * abs(fill.size) * fill.price


def _worth(fill: Fill, last: Decimal) -> Decimal:
    """Return what a fill adds to the profit at the end."""
    return fill.size * (last - fill.price) - fill.fee
