"""The strategy of a campaign: it asks for something of every kind, again and again, whatever the market does."""

from collections.abc import Iterable
from decimal import Decimal
from importlib.metadata import version
from typing import Final

from attrs import define, field

from lab.domain.market import Candle, Quote
from lab.domain.orders import AmendRequest, CancelRequest, OrderRequest, OrderType, Side, TimeInForce
from lab.domain.time import SECOND_NS
from lab.engine.protocols import Action
from lab.engine.view import View
from lab.plugins.discovery import Offer, Plugin, Registry
from lab.ports import Strategy
from lab.secret import Secret

NAME: Final = "busy"
_SIZE: Final = Decimal("0.01")
_GOOD_S: Final = 20


@define(kw_only=True)
class Busy(Strategy):
    """Acts on each ``every``-th quote: enters, rests, amends, cancels and leaves in turn, and tells its secret."""

    every: int = field(default=7, metadata={"help": "quotes between two requests"})
    token: Secret | None = field(default=None, metadata={"help": "a secret that it shows in its reasons"})
    seen: int = field(init=False, default=0)

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        """Turn the position with the candle's colour, on each third minute."""
        if candle.open_ns // (60 * SECOND_NS) % 3:
            return ()
        side = Side.BUY if candle.close >= candle.open else Side.SELL
        told = "" if self.token is None else f", {self.token.reveal()}"
        return [OrderRequest(candle.symbol, side, _SIZE, reason=f"candle{told}")]

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        """Ask for what comes next."""
        self.seen += 1
        if self.seen % self.every:
            return ()
        return self._next(self.seen // self.every % 8, quote, view)

    def _next(self, turn: int, quote: Quote, view: View) -> Iterable[Action]:
        symbol, tick = quote.symbol, view.instrument(quote.symbol).tick
        bid, ask = Decimal(str(quote.bid)), Decimal(str(quote.ask))
        held = view.position(symbol).quantity
        orders = view.orders(symbol)
        match turn:
            case 0:
                return [OrderRequest.buy(symbol, _SIZE, reason="enter", stop_loss=bid - 400 * tick)]
            case 1:
                return [
                    OrderRequest.buy(
                        symbol, _SIZE, reason="rest", type=OrderType.LIMIT, limit=bid - 20 * tick,
                        time_in_force=TimeInForce.GTD, expires_ns=quote.time_ns + _GOOD_S * SECOND_NS,
                    )
                ]  # fmt: skip
            case 2:
                return [
                    OrderRequest.sell(
                        symbol, _SIZE, reason="post", type=OrderType.LIMIT, limit=ask + tick, post_only=True
                    )
                ]
            case 3:
                return [
                    AmendRequest(order.id, limit=ask, reason="nearer")
                    for order in orders
                    if order.type is OrderType.LIMIT and order.side is Side.SELL and not order.parent
                ][:1]
            case 4:
                return [OrderRequest.sell(symbol, 1000 * _SIZE, reason="too much")]
            case 5:
                return [CancelRequest(order.id, "tidy") for order in orders][:1]
            case 6:
                side = Side.SELL if held > 0 else Side.BUY
                return [OrderRequest(symbol, side, abs(held) or _SIZE, reason="leave", reduce_only=bool(held))]
        return [OrderRequest.sell(symbol, _SIZE, reason="short")]


class WithBusy(Registry):
    """All plugins of this environment, and the strategy ``busy``."""

    def get(self, kind: str, name: str) -> Offer:
        """Return the offer of that kind and name, as every registry does."""
        if (kind, name) != ("strategy", NAME):
            return super().get(kind, name)
        return Offer(kind, name, Busy, Plugin(NAME, "lab-trading", version("lab-trading")))
