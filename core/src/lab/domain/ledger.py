"""Exact double-entry money of one book. Every event's postings sum to zero; nothing is ever rounded away.

A perpetual moves cash only by realised profit, fees, funding and what a liquidation adds, so at every moment
``equity = deposits − Σ signed quantity × price − Σ fees − funding + Σ quantity × mark``, to the last digit. In an
inverse contract the worth of a contract (`lab.domain.instrument.Instrument.worth`) stands for each price.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from typing import Final

from lab.domain.position import FLAT, Position
from lab.errors import EngineError

ZERO: Final = Decimal(0)
_FLAT: Final = FLAT  # compiled code reads a name that is Final at once, where it looks any other up in its module
_position: Final = Position
_COST_STEP: Final = Decimal("1e-10")

Posting = tuple[str, Decimal]


EXACT_DIGITS: Final = 100


def exact_context() -> Context:
    """Return a decimal context in which money is exact.

    Prices and quantities have at most 15 digits before the point and 18 behind it, rates 10: a fee, their product,
    fits.
    """
    return Context(prec=EXACT_DIGITS, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow])


EXACT: Final = Context(
    prec=EXACT_DIGITS, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow]
)
"""The engine's context, whatever the process or a plugin set as its own. No component is called in it.

What would be rounded in it raises ``decimal.Inexact`` instead.
"""
_SHARES: Final = exact_context()  # in which a share of a cost is divided off


def renew(lent: Context) -> None:
    """Make a context that was lent to a component as exact as it was.

    This is called where precision or rounding was changed, which a component may do in good faith. What else it changes
    lasts, and changes its own figures only.
    """
    fresh = exact_context()
    for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps", "flags"):
        setattr(lent, name, getattr(fresh, name))


@contextmanager
def own_context() -> Iterator[None]:
    """Give a run a decimal context of its own: what a component does to it is over with the run. Also a decorator."""
    with localcontext(Context()):
        yield


class Ledger:
    """Cash and positions of one book. Each account's balance is a field: a posting is an addition.

    Its methods must be called in an exact context; the engine sees to that.
    """

    __slots__ = (
        "capital", "cash", "fees", "funding", "insurance", "liquidation_fees", "positions", "realised",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cash = ZERO
        self.capital = ZERO
        self.realised = ZERO
        self.fees = ZERO
        self.funding = ZERO
        self.liquidation_fees = ZERO
        self.insurance = ZERO
        self.positions: dict[str, Position] = {}

    @property
    def balances(self) -> dict[str, Decimal]:
        """The balance of each account; they sum to zero."""
        return {
            "cash": self.cash, "capital": self.capital, "realised": self.realised, "fees": self.fees,
            "funding": self.funding, "liquidation_fees": self.liquidation_fees, "insurance": self.insurance,
        }  # fmt: skip

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

    def pay_funding(self, amount: Decimal) -> tuple[Posting, ...]:
        """Pay funding; below 0 is received."""
        self.cash -= amount
        self.funding += amount
        return (("cash", -amount), ("funding", amount))

    def settle_liquidation(self, fee: Decimal, insurance: Decimal) -> tuple[Posting, ...]:
        """Pay the venue's liquidation fee, and take what its insurance fund pays for a loss beyond the margin."""
        self.cash += insurance - fee
        self.liquidation_fees += fee
        self.insurance -= insurance
        return (("cash", insurance - fee), ("liquidation_fees", fee), ("insurance", -insurance))

    def position(self, symbol: str) -> Position:
        """Return the position, a flat one when there is none yet."""
        return self.positions.get(symbol, _FLAT)

    def fill(self, symbol: str, quantity: Decimal, price: Decimal, fee: Decimal) -> tuple[Posting, ...]:
        """Book a fill of a signed quantity and return its postings. ``price`` is the worth of a contract at its price.

        Closing a part releases a share of the cost, rounded to 1e-10; the remainder stays with the position, so that
        the sum over the position's life is exact. Raises ``decimal.Inexact`` for figures of more digits than are kept,
        and has then booked nothing.
        """
        held = self.positions.get(symbol, _FLAT)
        before, cost = held.quantity, held.cost
        after = before + quantity
        if not before or (before > ZERO) is (quantity > ZERO):
            position, move = _position(after, cost + quantity * price), -fee
            cash, fees = self.cash + move, self.fees + fee  # nothing is changed before all of it is known to be exact
            self.positions[symbol], self.cash, self.fees = position, cash, fees
            return (("cash", move), ("fees", fee))
        if not after:
            loss = cost + quantity * price
            cost = ZERO
        elif (after > ZERO) is (before > ZERO):
            released = _SHARES.quantize(_SHARES.divide(cost * -quantity, before), _COST_STEP)
            cost -= released
            loss = quantity * price + released
        else:
            loss = cost - before * price
            cost = after * price
        position, move = _position(after, cost), -loss - fee
        cash, realised, fees = self.cash + move, self.realised + loss, self.fees + fee
        self.positions[symbol], self.cash, self.realised, self.fees = position, cash, realised, fees
        return (("cash", move), ("realised", loss), ("fees", fee))
