"""The gate ``margin``: keeps the margin of an account's positions within a share of its equity."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from attrs import define, field, validators
from lab import PASS, OrderRequest, Refuse, RiskGate, Shrink, Verdict, View
from lab.domain.ledger import ZERO

from lab_risk_limits.load import Load, excess_of


@define(kw_only=True)
class Margin(RiskGate):
    """Refuse (or shrink) entries whose margin exceeds a fraction of what is free.

    ``notional / leverage ≤ fraction × (cash + unrealised profit − margin in use)``, of the strategy's account; with
    isolated margin without the unrealised profit, which is each position's own. Margin in use is that of the account's
    positions at their marks, long and short of a symbol netted, with isolated margin of each at its entry. It
    is without what working reduce-only orders of the symbol will release, with what its other working orders, of any
    symbol, will bind. Of an order that turns a position only the part that opens counts. Notional is at the price the
    order would fill at now: the touch, or the limit of an order that would rest; without quotes the mark stands for the
    touch.
    """

    fraction: Decimal = field(
        default=Decimal("0.9"),
        validator=[validators.gt(Decimal(0)), validators.le(Decimal(1))],
        metadata={"help": "part of the free equity that an order's margin may take, above 0 to 1"},
    )
    on_excess: Literal["refuse", "shrink"] = field(
        default="refuse",
        validator=validators.in_(("refuse", "shrink")),
        metadata={
            "help": "refuse an order that is too large, or shrink it to what fits (at least the minimum quantity)"
        },
    )

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass an order that fits; refuse or shrink another, with the figures."""
        try:
            excess = excess_of(request, view, self.fraction)
        except LookupError:
            return Refuse(f"no price of {request.symbol} yet: the margin cannot be computed", {})
        if excess is None:
            return PASS
        load, equity, leverage, opening, notional, room = excess
        numbers = {
            "notional": notional, "leverage": leverage, "margin": notional / leverage, "allowed": room / leverage,
            "fraction": self.fraction, "equity": equity, "cash": view.cash, "unrealised": equity - view.cash,
            "margin_in_use": load.bound / leverage, "price": load.price, "quantity": request.quantity,
        }  # fmt: skip
        texts = {name: format(number, "f") for name, number in numbers.items()}
        reason = (
            f"margin {numbers['margin']:.2f} of {opening:f} at {load.price:f} exceeds {numbers['allowed']:.2f}, "
            f"{self.fraction:f} of what is free"
        )
        fits = self._fits(request, view, load, room) if self.on_excess == "shrink" else ZERO
        return Shrink(fits, reason, texts) if fits else Refuse(reason, texts)

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the rule with its figures."""
        money = "equity" if view.margin_mode == "cross" else "cash"
        return {
            "limit": f"notional / {view.leverage:f} ≤ {self.fraction:f} × ({money} − margin in use)",
            "on_excess": self.on_excess,
        }

    @staticmethod
    def _fits(request: OrderRequest, view: View, load: Load, room: Decimal) -> Decimal:
        """Return the largest quantity on the lot that fits, 0 where not even the minimum does."""
        if room <= 0:
            return ZERO
        instrument = view.instrument(request.symbol)
        # Whole lots by integer division, so that no quotient is rounded up.
        fits = load.offset + room // instrument.notional(instrument.lot, load.price) * instrument.lot
        return fits if instrument.quantity_min <= fits < request.quantity and fits > load.offset else ZERO
