"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 06  Indicators of another library in a strategy                              │
│                                                                              │
│ The point: an indicator that takes one price after another (talipp's RSI)    │
│ lives in the strategy's memory, `field(init=False)`. It depends on nothing   │
│ but the candles it was given, so a run of it can be verified and resumed.    │
│                                                                              │
│ Run it:   pip install talipp; python 06_an_indicator_library.py              │
└──────────────────────────────────────────────────────────────────────────────┘
"""

from decimal import Decimal
from typing import Any

import attrs
import lab
from talipp.indicators import RSI


@attrs.define(kw_only=True)
class Rsi(lab.Strategy):
    """Buys where the RSI comes up through a level, sells where it goes down through another."""

    period: int = attrs.field(default=14, metadata={"help": "candles of the RSI"})
    low: float = attrs.field(default=30.0, metadata={"help": "bought where the RSI rises above it"})
    high: float = attrs.field(default=70.0, metadata={"help": "sold where the RSI falls below it"})
    _rsi: Any = attrs.field(init=False, default=None)

    def on_candle(self, candle: lab.Candle, view: lab.View) -> list[lab.OrderRequest]:
        self._rsi = self._rsi or RSI(self.period)
        self._rsi.add(candle.close)
        before, now = (self._rsi[-2], self._rsi[-1]) if len(self._rsi) > 1 else (None, None)
        if before is None or now is None:
            return []
        held = view.position(candle.symbol).quantity
        if not held and before < self.low <= now:
            size = lab.size_by_equity(view, candle.symbol, lab.Side.BUY, Decimal("0.5"))
            return [lab.OrderRequest.buy(candle.symbol, size, reason=f"RSI rose to {now:.1f}")]
        if held and before > self.high >= now:
            return [lab.OrderRequest.sell(candle.symbol, held, reduce_only=True, reason=f"RSI fell to {now:.1f}")]
        return []


def main() -> None:
    prices = lab.load("btcusd-1m", symbol="BTCUSD")
    for period in (5, 7, 14):
        result = lab.backtest(Rsi(period=period), prices)
        print(f"RSI {period}: {len(result.trades)} trades, profit {result.report.pnl_absolute:.2f}")


if __name__ == "__main__":
    main()
