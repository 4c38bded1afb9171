"""The gate ``max_position``: keeps a book's position in each symbol within a size."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

from attrs import define, field, validators
from lab import PASS, OrderRequest, Refuse, RiskGate, Shrink, Side, Verdict, View
from lab.domain.ledger import ZERO

from lab_risk_limits.figures import above_0, texts
from lab_risk_limits.load import order_price, touch

_BUY: Final = Side.BUY
_ONE: Final = Decimal(1)


@define(kw_only=True)
class MaxPosition(RiskGate):
    """Refuse (or shrink) an entry that would make a strategy's position in a symbol larger than a limit.

    The position after an order is what the book holds, with all that is still working on the order's side taken as
    filled, long or short. Where both limits are set, both hold. Notional is at the touch, or at the limit of an order
    to sell that would rest above it; without quotes the last close stands for the touch.
    """

    quantity: Decimal | None = field(
        default=None, validator=above_0, metadata={"help": "largest position in a symbol, long or short, in coins"}
    )
    notional: Decimal | None = field(
        default=Decimal(50_000),
        validator=above_0,
        metadata={"help": "largest position in a symbol, long or short, in the currency of the money"},
    )
    on_excess: Literal["refuse", "shrink"] = field(
        default="refuse",
        validator=validators.in_(("refuse", "shrink")),
        metadata={
            "help": "refuse an order that is too large, or shrink it to what fits (at least the minimum quantity)"
        },
    )

    def __attrs_post_init__(self) -> None:
        if self.quantity is None and self.notional is None:
            raise ValueError("max_position limits nothing: set quantity, notional or both, or leave the gate out")

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass an order that leaves the position within the limits; refuse or shrink another, with the figures."""
        price = ZERO
        if self.notional is not None:
            try:
                price = self._price(request, view)
            except LookupError:
                reason = f"no price of {request.symbol} yet: the worth of the position cannot be computed"
                return Refuse(reason, texts(limit_notional=self.notional))
        already = _already(request, view)
        after = already + request.quantity
        too_many = self.quantity is not None and after > self.quantity
        if not too_many and (self.notional is None or after * price <= self.notional):
            return PASS
        reason, numbers = self._figures(request, view, after, price, too_many)
        fits = self._fits(request, view, already, price) if self.on_excess == "shrink" else ZERO
        return Shrink(fits, reason, numbers) if fits else Refuse(reason, numbers)

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limits in force."""
        limits = {}
        if self.quantity is not None:
            limits["quantity"] = f"{self.quantity:f} coins a symbol"
        if self.notional is not None:
            limits["notional"] = f"{self.notional:f} a symbol"
        return {**limits, "on_excess": self.on_excess}

    @staticmethod
    def _price(request: OrderRequest, view: View) -> Decimal:
        """Return the price the position is valued at: a low limit to buy must not make a position look small.

        Of an inverse contract it is what one is worth in the base coin then.
        """
        price = order_price(request, view)
        if request.side is _BUY:
            price = max(price, touch(request, view))
        return view.instrument(request.symbol).notional(_ONE, price)

    def _figures(
        self, request: OrderRequest, view: View, after: Decimal, price: Decimal, too_many: bool
    ) -> tuple[str, dict[str, str]]:
        held = view.position(request.symbol).quantity
        numbers = texts(position=held, quantity=request.quantity, position_after=after)
        if self.quantity is not None:
            numbers |= texts(limit_quantity=self.quantity)
        if self.notional is not None:
            numbers |= texts(price=price, notional_after=after * price, limit_notional=self.notional)
        if too_many:
            return (
                f"the position would be {numbers['position_after']} coins, above {numbers['limit_quantity']}",
                numbers,
            )
        return f"the position would be worth {numbers['notional_after']}, above {numbers['limit_notional']}", numbers

    def _fits(self, request: OrderRequest, view: View, already: Decimal, price: Decimal) -> Decimal:
        """Return the largest quantity on the lot that fits, 0 where it would open nothing or is below the minimum."""
        instrument = view.instrument(request.symbol)
        lot, fits = instrument.lot, request.quantity
        # Whole lots by integer division, so that no quotient is rounded up.
        if self.quantity is not None:
            fits = min(fits, (self.quantity - already) // lot * lot)
        if self.notional is not None:
            fits = min(fits, (self.notional - already * price) // (price * lot) * lot)
        return fits if fits > max(ZERO, -already) and fits >= instrument.quantity_min else ZERO


def _already(request: OrderRequest, view: View) -> Decimal:
    """Return the position in the order's direction before it fills: below 0 is what it has to close first.

    All that works on its side counts as filled. What works on the other side does not: it may never fill.
    """
    symbol, side = request.symbol, request.side
    held = view.position(symbol).quantity
    already = held if side is _BUY else -held
    left = max(ZERO, -already)
    for order in view.orders(symbol):
        if order.side is not side:
            continue
        # What only reduces cannot fill beyond the position.
        part = min(left, order.remaining) if order.reduce_only else order.remaining
        already += part
        if order.reduce_only:
            left -= part
    return already
