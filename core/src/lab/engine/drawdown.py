"""The highest equity and the deepest drawdown, exact, at little cost for each event.

Equity is followed in float. Where it is clearly a new extreme, the exact figures of that moment are kept as they are
and added up only when somebody asks; where float cannot tell it from the extreme before, the exact figures decide.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Final

from lab.domain.instrument import Instrument
from lab.domain.ledger import EXACT, ZERO
from lab.domain.money import as_decimal

# (cash, (quantity, cost, mark, instrument) of each open position): the equity of a moment, not yet added up.
Moment = tuple[Decimal, Sequence[tuple[Decimal, Decimal, float, Instrument]]]

# The float of an equity is wrong by a few units in its last place; this is far more, and still far below a cent.
_RELATIVE: Final = 1e-13
_PERCENT: Final = Context(prec=50)
_PERCENT_STEP: Final = Decimal("1e-10")


def exact(moment: Moment) -> Decimal:
    """Return an equity exactly, whatever decimal context is in force."""
    equity, held = moment
    for quantity, cost, mark, instrument in held:
        equity = EXACT.subtract(EXACT.fma(quantity, instrument.worth(as_decimal(mark)), equity), cost)
    return equity


class Drawdown:
    """The highest equity so far, and the deepest fall below the highest before it."""

    __slots__ = (
        "_deepest", "_high_ns", "_longest_ns", "_lowest", "_lowest_value", "_peak", "_peak_at", "_peak_value", "_seen",
        "_slack", "_steep_fall", "_steep_from", "_steep_peak_at", "_steep_trough_at", "_trough_at", "above", "below",
    )  # fmt: skip

    def __init__(self, start: Decimal) -> None:
        self._peak_at: Moment = (start, ())
        self._trough_at: Moment = self._peak_at
        self._seen: Moment = self._peak_at
        self._deepest = 0.0
        self._steep_peak_at: Moment = self._peak_at
        self._steep_trough_at: Moment = self._peak_at
        self._steep_fall, self._steep_from = 0.0, 1.0
        self._lowest: Moment = self._peak_at
        self._lowest_value = float(start)
        self._high_ns = self._longest_ns = 0
        self._on_new_peak(float(start), self._peak_at, 0)

    def observe(self, equity: float, moment: Moment, now_ns: int) -> None:
        """Take an equity above ``above`` or below ``below``, with the exact figures behind it."""
        if moment == self._seen:
            return  # an unchanged price at an extreme is looked at once
        self._seen = moment
        fall, slack = self._peak_value - equity, self._slack
        if fall > self._deepest + slack:
            self._on_new_trough(fall, moment)
        elif fall < -slack or (fall < slack and exact(moment) > exact(self._peak)):
            self._on_new_peak(equity, moment, now_ns)
        elif fall > slack and fall > self._deepest - slack:
            deeper = EXACT.subtract(exact(self._peak), exact(moment))
            if deeper > self.deepest:
                self._on_new_trough(fall, moment)

    def rest(self, cash: float, now_ns: int) -> None:
        """Learn that until now nothing was held: at its highest the equity has then stayed there."""
        if cash >= self._peak_value - self._slack:
            self._high_ns = now_ns

    @property
    def peak(self) -> Decimal:
        """The highest equity so far."""
        return exact(self._peak)

    @property
    def deepest(self) -> Decimal:
        """The deepest fall from a peak so far, 0 or more."""
        return max(EXACT.subtract(exact(self._peak_at), exact(self._trough_at)), ZERO)

    @property
    def deepest_fall(self) -> tuple[Decimal, Decimal]:
        """The equities between which it fell deepest: the highest before, and the lowest. Equal before any fall."""
        return exact(self._peak_at), exact(self._trough_at)

    @property
    def steepest_fall(self) -> tuple[Decimal, Decimal]:
        """The same of the fall that was deepest as a fraction of the highest equity before it."""
        return exact(self._steep_peak_at), exact(self._steep_trough_at)

    @property
    def steepest_percent(self) -> Decimal:
        """That fall in % of the equity it began at, on 1e-10."""
        peak, lowest = self.steepest_fall
        if not peak > ZERO:
            return ZERO  # without a deposit there is no part of it
        fall = _PERCENT.multiply(_PERCENT.subtract(peak, lowest), Decimal(100))
        return _PERCENT.quantize(_PERCENT.divide(fall, peak), _PERCENT_STEP)

    @property
    def lowest(self) -> Decimal:
        """The lowest equity so far."""
        return exact(self._lowest)

    def longest_ns(self, equity: Decimal, now_ns: int) -> int:
        """Return the longest time from a highest equity to the next, the one that goes on at ``equity`` included."""
        return max(self._longest_ns, now_ns - self._high_ns if equity < self.peak else 0)

    def _on_new_peak(self, equity: float, moment: Moment, now_ns: int) -> None:
        """Set a new peak, and the bounds outside of which the next equity is looked at. An equal equity is not."""
        self._longest_ns = max(self._longest_ns, now_ns - self._high_ns)
        self._high_ns = now_ns
        self._peak, self._peak_value = moment, equity
        slack = self._slack = max(abs(equity), 1.0) * _RELATIVE
        self.above = equity - slack
        self.below = equity - self._deepest + slack

    def _on_new_trough(self, fall: float, moment: Moment) -> None:
        self._peak_at, self._trough_at, self._deepest = self._peak, moment, fall
        value, slack = self._peak_value - fall, self._slack
        self.below = value + slack
        # Peaks only rise: what is lower than all before is the deepest fall too.
        near = value < self._lowest_value + slack
        if near and (value < self._lowest_value - slack or exact(moment) < exact(self._lowest)):
            self._lowest, self._lowest_value = moment, value
        # Peaks only rise: a fall that is the deepest so far in relation to its peak is the deepest in money too.
        if fall * self._steep_from >= self._steep_fall * self._peak_value:
            self._steep_peak_at, self._steep_trough_at = self._peak, moment
            self._steep_fall, self._steep_from = fall, self._peak_value
