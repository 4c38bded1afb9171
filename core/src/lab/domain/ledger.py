"""Exact double-entry money of one book. Every event's postings sum to zero; nothing is ever rounded away.

A linear perpetual moves cash only by realised profit, fees and funding, so at every moment
``equity = deposits − Σ signed quantity × price − Σ fees + Σ quantity × mark``, to the last digit.
"""

from decimal import Decimal
from typing import Final

from attrs import define, field

ZERO: Final = Decimal(0)
_COST_STEP: Final = Decimal("1e-10")

Posting = tuple[str, Decimal]


@define
class Position:
    """Signed quantity (above 0 is long) and its cost: the signed sum of quantity × price of what is still held."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    @property
    def price(self) -> Decimal:
        """The average entry price, for display: a quotient, so not exact. 0 when flat."""
        return self.cost / self.quantity if self.quantity else ZERO


@define
class Ledger:
    """Cash and positions of one book, and the balance of each account."""

    cash: Decimal = ZERO
    positions: dict[str, Position] = field(factory=dict)
    balances: dict[str, Decimal] = field(factory=dict)

    def deposit(self, amount: Decimal) -> tuple[Posting, ...]:
        """Put starting money in."""
        return self._post((("cash", amount), ("capital", -amount)))

    def position(self, symbol: str) -> Position:
        """Return the position, a flat one when there is none yet."""
        held = self.positions.get(symbol)
        if held is None:
            held = self.positions[symbol] = Position()
        return held

    def fill(self, symbol: str, quantity: Decimal, price: Decimal, fee: Decimal) -> tuple[Posting, ...]:
        """Book a fill of a signed quantity and return its postings.

        Closing a part releases a share of the cost, rounded to 1e-10; the remainder stays with the position, so that
        the sum over the position's life is exact.
        """
        held = self.position(symbol)
        before = held.quantity
        after = before + quantity
        if not before or (before > 0) == (quantity > 0):
            held.cost += quantity * price
            realised = ZERO
        elif not after or (after > 0) == (before > 0):
            released = held.cost if not after else (held.cost * -quantity / before).quantize(_COST_STEP)
            held.cost -= released
            realised = -quantity * price - released
        else:
            realised = before * price - held.cost
            held.cost = after * price
        held.quantity = after
        if not after:
            held.cost = ZERO
        if realised:
            return self._post((("cash", realised - fee), ("realised", -realised), ("fees", fee)))
        return self._post((("cash", -fee), ("fees", fee)))

    def equity(self, marks: dict[str, Decimal]) -> Decimal:
        """Return cash plus unrealised profit at the given marks. Raises ``KeyError`` for a held symbol without one."""
        total = self.cash
        for symbol, held in self.positions.items():
            if held.quantity:
                total += held.quantity * marks[symbol] - held.cost
        return total

    def _post(self, postings: tuple[Posting, ...]) -> tuple[Posting, ...]:
        balances = self.balances
        for account, amount in postings:
            balances[account] = balances.get(account, ZERO) + amount
        self.cash = balances["cash"]
        return postings
