"""NautilusTrader, fill by fill: market orders sent from ``on_bar``, without latency or with it."""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

_VENUE: Final = Venue("PAPER")
_MINUTE_MS: Final = 60_000
_LOT: Final = Quantity.from_str("0.0001")


class Told(Strategy):
    """Sends what it is told at each bar, and notes its fills."""

    work: Any
    instrument: Any
    bars: Any

    def on_start(self) -> None:
        self.number, self.sent = -1, 0
        self.fills: list[list[Any]] = []
        self.subscribe_bars(self.bars)

    def on_bar(self, bar: Bar) -> None:
        self.number += 1
        way = self.work["way"][self.number]
        if way:
            size = Decimal(self.work["quantity"]) * (2 if self.sent else 1)
            side = OrderSide.BUY if way > 0 else OrderSide.SELL
            quantity = self.instrument.make_qty(size)
            # The order's tag is the candle that decided it.
            self.submit_order(self.order_factory.market(self.instrument.id, side, quantity, tags=[str(self.number)]))
            self.sent += 1

    def on_order_filled(self, event: Any) -> None:
        decided = int(self.cache.order(event.client_order_id).tags[0])
        size = event.last_qty.as_decimal() * (1 if event.order_side == OrderSide.BUY else -1)
        fee = event.commission.as_decimal()
        self.fills.append([decided, str(size), str(event.last_px), str(fee)])


def run(path: str, work_path: str, latency_ms: str) -> dict[str, Any]:
    """Run it; return its fills with the candles that decided them, and its profit: balance and what is open."""
    work = json.loads(Path(work_path).read_text(encoding="ascii"))
    fee, tick = Decimal(str(work["fee"])), Price.from_str(work["tick"])
    instrument = CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSDT"), _VENUE), raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC, quote_currency=USDT, settlement_currency=USDT, is_inverse=False,
        price_precision=tick.precision, size_precision=4, price_increment=tick, size_increment=_LOT,
        margin_init=Decimal("0.1"), margin_maint=Decimal("0.05"), maker_fee=fee, taker_fee=fee, ts_event=0, ts_init=0,
    )  # fmt: skip
    bars = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    data = pd.read_csv(path)
    # Its bars carry the time of their close, which is when they are known.
    data.index = pd.to_datetime(data.pop("time") + _MINUTE_MS, unit="ms", utc=True)
    data["volume"] = 1_000_000.0  # unlimited, as ours is
    quiet = {"logging": LoggingConfig(bypass_logging=True), "run_analysis": False}
    engine = BacktestEngine(BacktestEngineConfig(risk_engine=RiskEngineConfig(bypass=True), **quiet))
    latency = LatencyModel(base_latency_nanos=int(latency_ms) * 1_000_000) if int(latency_ms) else None
    account = [Money(work["equity"], USDT)]
    engine.add_venue(_VENUE, OmsType.NETTING, AccountType.MARGIN, account, latency_model=latency)
    engine.add_instrument(instrument)
    engine.add_data(list(BarDataWrangler(bars, instrument).process(data)))
    strategy = Told(StrategyConfig())
    strategy.work, strategy.instrument, strategy.bars = work, instrument, bars
    engine.add_strategy(strategy)
    engine.run()
    balance = engine.portfolio.account(_VENUE).balance_total(USDT).as_decimal()
    last = instrument.make_price(data["close"].iloc[-1])
    still = sum(one.unrealized_pnl(last).as_decimal() for one in engine.cache.positions_open())
    return {"fills": strategy.fills, "profit": str(balance - work["equity"] + still)}


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
