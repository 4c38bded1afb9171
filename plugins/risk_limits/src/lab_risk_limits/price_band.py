"""The gate ``price_band``: refuses an order at a price far from the market."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from attrs import define, field
from lab import PASS, OrderRequest, OrderType, Refuse, RiskGate, Side, Verdict, View

from lab_risk_limits.figures import above_0, texts

_BUY: Final = Side.BUY
_MARKET: Final = OrderType.MARKET


@define(kw_only=True)
class PriceBand(RiskGate):
    """Refuse an entry whose price is further from the market than a limit, above or below.

    The order's price is its limit or its stop, whichever is further away; for any other order it is the touch: the ask
    for a buy, the bid for a sell. The market is the middle of the last quote; without quotes it is the last close,
    which is the touch as well.
    """

    percent: Decimal = field(
        default=Decimal(1),
        validator=above_0,
        metadata={"help": "largest distance of an order's price from the middle of the last quote, in % of that"},
    )

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass an order whose price is within the band, its edges included."""
        try:
            reference, price = _market(request, view)
        except LookupError:
            reason = f"no price of {request.symbol} yet: the distance from the market cannot be computed"
            return Refuse(reason, texts(percent=self.percent))
        named = [one for one in (request.limit, request.stop) if one is not None]
        if named and request.type is not _MARKET:
            price = max(named, key=lambda one: abs(one - reference))
        distance, allowed = abs(price - reference), reference * self.percent / 100
        if distance <= allowed:
            return PASS
        numbers = texts(price=price, reference=reference, distance=distance, allowed=allowed, percent=self.percent)
        return Refuse(
            f"the price {numbers['price']} is {numbers['distance']} from the market at {numbers['reference']}, "
            f"the limit is {numbers['allowed']}",
            numbers,
        )

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the band."""
        return {"limit": f"{self.percent:f} % from the middle of the last quote"}


def _market(request: OrderRequest, view: View) -> tuple[Decimal, Decimal]:
    """Return the middle of the last quote and the touch, without quotes twice the last close.

    Raises ``LookupError`` before the first price.
    """
    quote = view.quote(request.symbol)
    if quote is None:
        close = view.mark(request.symbol)
        return close, close
    bid, ask = Decimal(repr(quote.bid)), Decimal(repr(quote.ask))
    return (bid + ask) / 2, ask if request.side is _BUY else bid
