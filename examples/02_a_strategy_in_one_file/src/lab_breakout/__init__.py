"""Donchian breakout: buy a close above the highest high of the window, leave on a close below the lowest low.

One class decides, one hook offers it. A distribution with heavier imports puts the class into a module of its own
and imports it inside the hook, so that `lab --help` does not pay for it.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from attrs import define, field, validators
from lab import Candle, OrderRequest, Strategy, View, hookimpl


@define(kw_only=True)
class Breakout(Strategy):
    """Long above the window's highest high, flat below its lowest low.

    It keeps no state: what is held, it reads from the view each time, so a restart cannot confuse it.
    """

    window: int = field(default=20, validator=validators.ge(2), metadata={"help": "candles that make the range"})
    fraction: Decimal = field(
        default=Decimal("0.5"),
        validator=[validators.gt(Decimal(0)), validators.le(Decimal(1))],
        metadata={"help": "share of the equity a position is worth when it is opened, above 0, at most 1"},
    )

    @property
    def lookback(self) -> int:
        """The window and the candle that leaves it."""
        return self.window + 1

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        """Compare the close with the range of the candles before it."""
        highest = max(view.column(candle.symbol, "high")[-self.window - 1 : -1])
        lowest = min(view.column(candle.symbol, "low")[-self.window - 1 : -1])
        held = view.position(candle.symbol).quantity
        if candle.close > highest and not held:
            price = view.instrument(candle.symbol).price(candle.close)
            quantity = view.equity * self.fraction / price  # lab floors it to the lot
            yield OrderRequest.buy(candle.symbol, quantity, reason=f"close {candle.close} above {highest}")
        elif candle.close < lowest and held > 0:
            reason = f"close {candle.close} below {lowest}"
            yield OrderRequest.sell(candle.symbol, held, reduce_only=True, reason=reason)


@hookimpl
def lab_strategies() -> Mapping[str, type[Strategy]]:
    """Offer the strategy ``breakout``."""
    return {"breakout": Breakout}
