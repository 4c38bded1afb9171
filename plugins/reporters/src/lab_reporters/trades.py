"""Trades, from the fills they are made of: a trade is a round trip, from flat to flat or to the other side."""

from decimal import Decimal
from typing import Final

from attrs import define, frozen
from lab.domain.events import OrderFilled
from lab.domain.orders import Side

from lab_reporters import text

_ZERO: Final = Decimal(0)

Cells = tuple[str, ...]


@frozen
class Trade:
    """A closed trade. Prices are averages; ``profit`` is after the fees of both sides."""

    side: str
    entry_ns: int
    exit_ns: int
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    fees: Decimal
    profit: Decimal

    def cells(self, strategy: str, symbol: str) -> Cells:
        """Return the row of the page's table."""
        return (
            text.second(self.entry_ns), text.second(self.exit_ns), strategy, self.side, text.exact(self.quantity),
            symbol, text.exact(_rounded(self.entry_price)), text.exact(_rounded(self.exit_price)),
            text.money(self.fees), text.money(self.profit, signed=True),
        )  # fmt: skip


@define
class OpenTrade:
    """A trade that is not closed yet: what was bought and sold so far, and for how much."""

    side: str = ""
    entry_ns: int = 0
    entered: Decimal = _ZERO
    paid: Decimal = _ZERO
    left: Decimal = _ZERO
    received: Decimal = _ZERO
    fees: Decimal = _ZERO

    def take(self, event: OrderFilled) -> "tuple[Trade | None, OpenTrade | None]":
        """Add a fill; return the trade that it closed, and the one that is open after it.

        A fill that turns the position closes one trade and opens the next; its fee is shared by quantity.
        """
        fill = event.fill
        way = "long" if event.side is Side.BUY else "short"
        if not fill.quantity > _ZERO:
            return None, self if self.left else None
        if not self.left:
            self._begin(way, fill.time_ns)
        if way == self.side:
            self._enter(fill.quantity, fill.price, fill.fee)
            return None, self
        leaving = min(fill.quantity, self.left)
        share = fill.fee if leaving == fill.quantity else fill.fee * leaving / fill.quantity
        self.left -= leaving
        self.received += leaving * fill.price
        self.fees += share
        if self.left:
            return None, self
        closed = self._closed(fill.time_ns)
        if leaving == fill.quantity:
            return closed, None
        turned = OpenTrade()
        turned._begin(way, fill.time_ns)
        turned._enter(fill.quantity - leaving, fill.price, fill.fee - share)
        return closed, turned

    def _begin(self, side: str, time_ns: int) -> None:
        self.side, self.entry_ns = side, time_ns

    def _enter(self, quantity: Decimal, price: Decimal, fee: Decimal) -> None:
        self.entered += quantity
        self.left += quantity
        self.paid += quantity * price
        self.fees += fee

    def _closed(self, time_ns: int) -> Trade:
        gained = self.received - self.paid if self.side == "long" else self.paid - self.received
        return Trade(
            self.side, self.entry_ns, time_ns, self.entered, self.paid / self.entered, self.received / self.entered,
            self.fees, gained - self.fees,
        )  # fmt: skip


def _rounded(price: Decimal) -> Decimal:
    """Return an average price with ten significant digits: it is a quotient, for the eye."""
    return Decimal(f"{price:.10g}")
