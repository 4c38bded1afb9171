"""The extremes of equity, exact, for next to nothing an event.

Equity is followed in float. Where it is clearly a new extreme, the exact figures of that moment are kept as they are and added up only
when somebody asks; where float cannot tell it from the extreme before, the exact figures decide.
"""

from decimal import Decimal
from typing import Final

from lab.domain.ledger import ZERO

# (cash, (quantity, cost, mark) of each open position): the equity of a moment, not yet added up.
Moment = tuple[Decimal, tuple[tuple[Decimal, Decimal, float], ...]]

# The float of an equity is wrong by a few units in its last place; this is far more, and still far below a cent.
_RELATIVE: Final = 1e-13


def exact(moment: Moment) -> Decimal:
    """Return the equity of a moment to the last digit."""
    equity, held = moment
    for quantity, cost, mark in held:
        equity += quantity * Decimal(repr(mark)) - cost
    return equity


class Drawdown:
    """The highest equity so far, and the deepest fall below the highest before it."""

    __slots__ = ("_bottom", "_deepest", "_peak", "_peak_value", "_seen", "_summit", "above", "below")

    def __init__(self, start: Decimal) -> None:
        self._peak: Moment = (start, ())
        self._peak_value = float(start)
        self._summit: Moment = self._peak
        self._bottom: Moment = self._peak
        self._seen: Moment = self._peak
        self._deepest = 0.0
        self.above = self.below = 0.0
        self._bound()

    def look(self, equity: float, moment: Moment) -> None:
        """Take an equity above ``above`` or below ``below``, with the exact figures behind it."""
        if moment == self._seen:
            return  # an unchanged price at an extreme is looked at once
        self._seen = moment
        slack = self._slack()
        if equity > self._peak_value + slack or (
            equity > self._peak_value - slack and exact(moment) > exact(self._peak)
        ):
            self._peak, self._peak_value = moment, equity
        elif equity < self._peak_value - slack:
            fall = self._peak_value - equity
            if fall > self._deepest + slack or (
                fall > self._deepest - slack and exact(self._peak) - exact(moment) > self.deepest
            ):
                self._summit, self._bottom, self._deepest = self._peak, moment, fall
        self._bound()

    @property
    def peak(self) -> Decimal:
        """The highest equity so far."""
        return exact(self._peak)

    @property
    def deepest(self) -> Decimal:
        """The deepest fall from a peak so far, 0 or more."""
        return max(exact(self._summit) - exact(self._bottom), ZERO)

    def _slack(self) -> float:
        return max(abs(self._peak_value), 1.0) * _RELATIVE

    def _bound(self) -> None:
        """Say from where on an equity is worth a look; an equal one is not, where nothing has moved."""
        slack = self._slack()
        self.above = self._peak_value - slack
        self.below = self._peak_value - self._deepest + slack
