"""Other people's engines at the same work: run by the peer's own interpreter, ``python peer_engines.py NAME FILE``.

Nothing of lab is imported. Prints one line of JSON: seconds of the run itself, candles, closed round trips, fees.
"""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import sys
import time
from typing import Any, Final

FAST: Final = 10
SLOW: Final = 30
FEE: Final = "0.0006"
QUANTITY: Final = "0.001"
_WHOLE: Final = 1000  # backtesting.py trades whole units: a thousand times the quantity


def _read(path: str) -> Any:
    import pandas as pd

    data = pd.read_csv(path)
    data.index = pd.to_datetime(data.pop("time"), unit="ms", utc=True)
    return data


def backtesting_py(path: str) -> dict[str, Any]:
    """Run on backtesting.py: orders fill at the next candle's open."""
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    data = _read(path)
    data.columns = ["Open", "High", "Low", "Close", "Volume"]
    data.index = data.index.tz_localize(None)

    def mean(values: Any, length: int) -> Any:
        return pd.Series(values).rolling(length).mean()

    class Cross(Strategy):
        def init(self) -> None:
            self.fast = self.I(mean, self.data.Close, FAST)
            self.slow = self.I(mean, self.data.Close, SLOW)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.position.close()
                self.buy(size=1)
            elif crossover(self.slow, self.fast):
                self.position.close()
                self.sell(size=1)

    began = time.perf_counter()
    stats = Backtest(data, Cross, cash=100_000 * _WHOLE, commission=float(FEE)).run()
    seconds = time.perf_counter() - began
    fees = float(stats["Commissions [$]"]) / _WHOLE
    return {"seconds": seconds, "candles": len(data), "trades": int(stats["# Trades"]), "fees": fees}


def nautilus_trader(path: str) -> dict[str, Any]:
    """Run on NautilusTrader: orders fill at the close of the candle that caused them."""
    from decimal import Decimal

    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.indicators import SimpleMovingAverage
    from nautilus_trader.model.currencies import BTC, USDT
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import CryptoPerpetual
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.persistence.wranglers import BarDataWrangler
    from nautilus_trader.trading.strategy import Strategy

    instrument = CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSDT"), Venue("PAPER")), raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC, quote_currency=USDT, settlement_currency=USDT, is_inverse=False,
        price_precision=1, size_precision=4, price_increment=Price.from_str("0.1"),
        size_increment=Quantity.from_str("0.0001"), margin_init=Decimal("0.1"), margin_maint=Decimal("0.05"),
        maker_fee=Decimal("0.0002"), taker_fee=Decimal(FEE), ts_event=0, ts_init=0,
    )  # fmt: skip
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    size = instrument.make_qty(Decimal(QUANTITY))

    class Cross(Strategy):
        def on_start(self) -> None:
            self.fast, self.slow = SimpleMovingAverage(FAST), SimpleMovingAverage(SLOW)
            self.side = 0
            self.candles = 0
            self.subscribe_bars(bar_type)

        def on_bar(self, bar: Bar) -> None:
            self.candles += 1
            self.fast.handle_bar(bar)
            self.slow.handle_bar(bar)
            if not self.slow.initialized:
                return
            side = 1 if self.fast.value > self.slow.value else -1
            if self.side and side != self.side:
                self.close_all_positions(instrument.id)
                way = OrderSide.BUY if side > 0 else OrderSide.SELL
                self.submit_order(self.order_factory.market(instrument.id, way, size))
            self.side = side

    bars = BarDataWrangler(bar_type, instrument).process(_read(path))
    # As fast as it goes: no log, no statistics afterwards, and no copy of each position, which netting keeps.
    config = BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False)
    engine = BacktestEngine(config)
    venue = Venue("PAPER")
    engine.add_venue(venue, OmsType.HEDGING, AccountType.MARGIN, [Money(100_000, USDT)], base_currency=None)
    engine.add_instrument(instrument)
    engine.add_data(bars)
    strategy = Cross(StrategyConfig())
    engine.add_strategy(strategy)
    began = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - began
    filled = [order for order in engine.cache.orders() if order.filled_qty == size]
    fees = sum(float(money) for order in filled for money in order.commissions())
    closing = sum(order.is_reduce_only for order in filled)
    return {"seconds": seconds, "candles": strategy.candles, "trades": closing, "fees": fees}


if __name__ == "__main__":
    work = {"backtesting.py": backtesting_py, "nautilus_trader": nautilus_trader}[sys.argv[1]]
    print(json.dumps(work(sys.argv[2])))
