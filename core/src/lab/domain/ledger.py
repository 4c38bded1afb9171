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
    """Cash and positions of one book. Each account's balance is a field: a posting is an addition."""

    cash: Decimal = ZERO
    capital: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    positions: dict[str, Position] = field(factory=dict)

    @property
    def balances(self) -> dict[str, Decimal]:
        """The balance of each account; they sum to zero."""
        return {name: getattr(self, name) for name in ("cash", "capital", "realised", "fees")}

    def deposit(self, amount: Decimal) -> tuple[Posting, ...]:
        """Put starting money in."""
        self.cash += amount
        self.capital -= amount
        return (("cash", amount), ("capital", -amount))

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
        held = self.positions.get(symbol) or self.position(symbol)
        before = held.quantity
        held.quantity = after = before + quantity
        if not before or (before > ZERO) is (quantity > ZERO):
            held.cost += quantity * price
            move = -fee
            self.cash += move
            self.fees += fee
            return (("cash", move), ("fees", fee))
        if not after:
            loss = held.cost + quantity * price
            held.cost = ZERO
        elif (after > ZERO) is (before > ZERO):
            released = (held.cost * -quantity / before).quantize(_COST_STEP)
            held.cost -= released
            loss = quantity * price + released
        else:
            loss = held.cost - before * price
            held.cost = after * price
        move = -loss - fee
        self.cash += move
        self.realised += loss
        self.fees += fee
        return (("cash", move), ("realised", loss), ("fees", fee))
