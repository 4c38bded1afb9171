"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 08  Two symbols in one strategy                                              │
│                                                                              │
│ The point: a mapping of symbols to prices is data like any other. The        │
│ strategy is called for each candle of each symbol, in the order of their     │
│ times, and `view` knows both.                                                │
│                                                                              │
│ Run it:   python 08_two_symbols.py                                           │
└──────────────────────────────────────────────────────────────────────────────┘
"""

from decimal import Decimal

import attrs
import lab


@attrs.define(kw_only=True)
class Stronger(lab.Strategy):
    """Holds whichever symbol rose more over some candles."""

    window: int = attrs.field(default=30, metadata={"help": "candles over which the rise is measured"})
    fraction: Decimal = attrs.field(default=Decimal("0.5"), metadata={"help": "of the equity in the position"})

    @property
    def lookback(self) -> int:
        return self.window + 1

    def on_candle(self, candle: lab.Candle, view: lab.View) -> list[lab.OrderRequest]:
        if candle.symbol != view.symbols[-1] or view.orders():
            return []  # at one time the last symbol's candle comes last; what is on its way may still fill
        rises = {}
        for symbol in view.symbols:
            closes = view.closes(symbol)
            if len(closes) <= self.window:
                return []
            rises[symbol] = closes[-1] / closes[-self.window - 1]
        best = max(rises, key=lambda symbol: (rises[symbol], symbol))
        held = {symbol: view.position(symbol).quantity for symbol in view.symbols}
        orders = [
            lab.OrderRequest.sell(other, quantity, reduce_only=True, reason=f"{best} rose more")
            for other, quantity in held.items()
            if quantity and other != best
        ]
        if not held[best]:
            size = lab.size_by_equity(view, best, lab.Side.BUY, self.fraction)
            orders.append(lab.OrderRequest.buy(best, size, reason=f"{best} rose most"))
        return orders


def main() -> None:
    first = list(lab.load("btcusd-1m", symbol="BTCUSD").candles())
    # The second symbol is made up: the first one's prices, twelve hours apart.
    half = len(first) // 2
    second = [
        one._replace(symbol="OTHERUSD", open_ns=there.open_ns, time_ns=there.time_ns)
        for one, there in zip([*first[half:], *first[:half]], first, strict=True)
    ]
    result = lab.backtest(Stronger(), {"BTCUSD": first, "OTHERUSD": second})
    print(f"{len(result.trades)} trades, equity {result.report.starting_equity} -> {result.report.ending_equity:.2f}")
    for symbol, figures in result.stats.by_symbol.items():
        print(f"{symbol}: {figures.trades} trades, profit {figures.profit:.2f}")


if __name__ == "__main__":
    main()
