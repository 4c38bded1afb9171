"""NautilusTrader: the low-level BacktestEngine, with bars or quotes made beforehand."""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import sys
import time
from decimal import Decimal
from typing import Any, Final

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler, QuoteTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

from benchmarks.peer_engines.signals import EQUITY, FAST, FEE, QUANTITY, SLOW

_PURGE: Final = 100  # rows from one purge of what is closed to the next: its cache slows down as it fills
_MINUTE_NS: Final = 60_000_000_000
INSTRUMENT: Final = CryptoPerpetual(
    instrument_id=InstrumentId(Symbol("BTCUSDT"), Venue("PAPER")), raw_symbol=Symbol("BTCUSDT"),
    base_currency=BTC, quote_currency=USDT, settlement_currency=USDT, is_inverse=False,
    price_precision=1, size_precision=4, price_increment=Price.from_str("0.1"),
    size_increment=Quantity.from_str("0.0001"), margin_init=Decimal("0.1"), margin_maint=Decimal("0.05"),
    maker_fee=Decimal("0.0002"), taker_fee=Decimal(str(FEE)), ts_event=0, ts_init=0,
)  # fmt: skip
_BARS: Final = BarType.from_str(f"{INSTRUMENT.id}-1-MINUTE-LAST-EXTERNAL")
_ONE: Final = INSTRUMENT.make_qty(Decimal(str(QUANTITY)))
_TWO: Final = INSTRUMENT.make_qty(Decimal(str(2 * QUANTITY)))


class Sender(Strategy):
    """Sends orders and adds up what its fills cost; forgets what is closed every now and then."""

    def on_start(self) -> None:
        self.rows, self.side, self.minute, self.last = 0, 0, 0, 0.0
        self.sent, self.fills, self.fees = 0, 0, 0.0
        self.fast, self.slow = SimpleMovingAverage(FAST), SimpleMovingAverage(SLOW)
        self.listen()

    def listen(self) -> None:
        self.subscribe_bars(_BARS)

    def count(self) -> None:
        self.rows += 1
        if self.rows % _PURGE == 0:
            now_ns = self.clock.timestamp_ns()
            self.cache.purge_closed_orders(now_ns)
            self.cache.purge_closed_positions(now_ns)

    def send(self, way: int, quantity: Any) -> None:
        side = OrderSide.BUY if way > 0 else OrderSide.SELL
        self.submit_order(self.order_factory.market(INSTRUMENT.id, side, quantity))
        self.sent += 1

    def close_at(self, price: float) -> None:
        self.fast.update_raw(price)
        self.slow.update_raw(price)
        if not self.slow.initialized:
            return
        side = 1 if self.fast.value > self.slow.value else -1
        if self.side and side != self.side:
            self.send(side, _TWO if self.sent else _ONE)
        self.side = side

    def on_order_filled(self, event: Any) -> None:
        self.fills += 1
        self.fees += float(event.commission)

    def trades(self) -> int:
        return int(self.fills - 1)  # each but the first closes


class Crossings(Sender):
    """Trades the crossings of bars."""

    def on_bar(self, bar: Bar) -> None:
        self.count()
        self.close_at(bar.close.as_double())


class Flips(Sender):
    """In and out in turn, an order every second bar."""

    def on_bar(self, bar: Bar) -> None:
        if not self.rows % 2:
            if self.sent % 2:
                self.close_all_positions(INSTRUMENT.id)
                self.sent += 1
            else:
                self.send(1, _ONE)
        self.count()

    def trades(self) -> int:
        return int(self.fills // 2)


class Quotes(Sender):
    """Looks at every quote; the last bid of a minute is its close."""

    def listen(self) -> None:
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.count()
        minute = tick.ts_event // _MINUTE_NS
        if minute != self.minute:
            if self.minute:
                self.close_at(self.last)
            self.minute = minute
        self.last = tick.bid_price.as_double()


def _data(kind: str, path: str) -> list[Any]:
    if kind == "quotes":
        data = pd.read_csv(path, usecols=["kind", "venue_ms", "bid", "bid_size", "ask", "ask_size"])
        data = data[data.pop("kind") == "quote"]
        data.index = pd.to_datetime(data.pop("venue_ms"), unit="ms", utc=True)
        data.columns = ["bid_price", "bid_size", "ask_price", "ask_size"]
        return list(QuoteTickDataWrangler(INSTRUMENT).process(data))
    data = pd.read_csv(path)
    data.index = pd.to_datetime(data.pop("time"), unit="ms", utc=True)
    return list(BarDataWrangler(_BARS, INSTRUMENT).process(data))


def run(kind: str, path: str) -> dict[str, Any]:
    """Run it: orders fill at the close of the candle that caused them, or at the quote."""
    data = _data(kind, path)
    quiet = {"logging": LoggingConfig(bypass_logging=True), "run_analysis": False}
    engine = BacktestEngine(BacktestEngineConfig(risk_engine=RiskEngineConfig(bypass=True), **quiet))
    account = [Money(EQUITY, USDT)]
    # Netting copies a position each time it is flat, which takes half as long again where every second order does that.
    netting = OmsType.HEDGING if kind == "orders" else OmsType.NETTING
    engine.add_venue(Venue("PAPER"), netting, AccountType.MARGIN, account, base_currency=None)
    engine.add_instrument(INSTRUMENT)
    engine.add_data(data)
    strategy = {"candles": Crossings, "orders": Flips, "quotes": Quotes}[kind](StrategyConfig())
    engine.add_strategy(strategy)
    began = time.process_time()
    engine.run()
    run_s = time.process_time() - began
    return {"rows": strategy.rows, "trades": strategy.trades(), "fees": strategy.fees, "run_s": run_s}


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
