"""Exact double-entry money of one book. Every event's postings sum to zero; nothing is ever rounded away.

A linear perpetual moves cash only by realised profit, fees and funding, so at every moment
``equity = deposits − Σ signed quantity × price − Σ fees + Σ quantity × mark``, to the last digit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    localcontext,
    setcontext,
)
from typing import Final

from msgspec import Struct

from lab.errors import EngineError

ZERO: Final = Decimal(0)
_COST_STEP: Final = Decimal("1e-10")

Posting = tuple[str, Decimal]


EXACT_DIGITS: Final = 100
EXACT: Final = Context(prec=EXACT_DIGITS, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow])
"""The decimal context in which money is exact, whatever the process or a plugin set as its own.

Prices and quantities have at most 15 digits before the point and 18 behind it, rates 10: a fee, their product, fits.
"""


def restore_exact() -> None:
    """Make `EXACT` the context in force again, as it was, after code that may have set or changed one."""
    fresh = Context(prec=EXACT_DIGITS, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow])
    for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps", "flags"):
        setattr(EXACT, name, getattr(fresh, name))
    setcontext(EXACT)


@contextmanager
def own_context() -> Iterator[None]:
    """Give a run a decimal context of its own: what a component does to it is over with the run. Also a decorator."""
    with localcontext(Context()):
        yield


class Position(Struct, frozen=True, gc=False):
    """Signed quantity (above 0 is long) and its cost: the signed sum of quantity × price of what is still held."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    @property
    def price(self) -> Decimal:
        """The average entry price, for display: a quotient, so not exact. 0 when flat."""
        return self.cost / self.quantity if self.quantity else ZERO


FLAT: Final = Position()


class Ledger:
    """Cash and positions of one book. Each account's balance is a field: a posting is an addition.

    `fill` and `deposit` must be called in an exact context; the engine sees to that.
    """

    __slots__ = ("capital", "cash", "fees", "positions", "realised")

    def __init__(self) -> None:
        self.cash = ZERO
        self.capital = ZERO
        self.realised = ZERO
        self.fees = ZERO
        self.positions: dict[str, Position] = {}

    @property
    def balances(self) -> dict[str, Decimal]:
        """The balance of each account; they sum to zero."""
        return {"cash": self.cash, "capital": self.capital, "realised": self.realised, "fees": self.fees}

    def check_balance(self) -> None:
        """Raise `lab.errors.EngineError` where the balances do not sum to zero: money was lost or created."""
        total = ZERO
        for amount in self.balances.values():
            total = EXACT.add(total, amount)
        if total:
            raise EngineError(f"the balances {self.balances} sum to {total}, not to 0")

    def deposit(self, amount: Decimal) -> tuple[Posting, ...]:
        """Put starting money in."""
        self.cash += amount
        self.capital -= amount
        return (("cash", amount), ("capital", -amount))

    def position(self, symbol: str) -> Position:
        """Return the position, a flat one when there is none yet."""
        return self.positions.get(symbol, FLAT)

    def fill(self, symbol: str, quantity: Decimal, price: Decimal, fee: Decimal) -> tuple[Posting, ...]:
        """Book a fill of a signed quantity and return its postings.

        Closing a part releases a share of the cost, rounded to 1e-10; the remainder stays with the position, so that
        the sum over the position's life is exact.
        """
        held = self.positions.get(symbol, FLAT)
        before, cost = held.quantity, held.cost
        after = before + quantity
        if not before or (before > ZERO) is (quantity > ZERO):
            self.positions[symbol] = Position(after, cost + quantity * price)
            move = -fee
            self.cash += move
            self.fees += fee
            return (("cash", move), ("fees", fee))
        if not after:
            loss = cost + quantity * price
            cost = ZERO
        elif (after > ZERO) is (before > ZERO):
            released = (cost * -quantity / before).quantize(_COST_STEP)
            cost -= released
            loss = quantity * price + released
        else:
            loss = cost - before * price
            cost = after * price
        self.positions[symbol] = Position(after, cost)
        move = -loss - fee
        self.cash += move
        self.realised += loss
        self.fees += fee
        return (("cash", move), ("realised", loss), ("fees", fee))
