"""Other people's engines on the same candles and the same rule, in environments made for the occasion.

Run as a script (``python peers.py NAME FILE COUNT``) by the peer's own interpreter: nothing of lab is imported.
"""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path
from typing import Any, Final

PEERS: Final = {
    "backtesting.py": ("backtesting==0.6.6",),
    "nautilus_trader": ("nautilus_trader==1.221.0",),
}
_FAST: Final = 10
_SLOW: Final = 30


def measure(name: str, path: Path, count: int, runs: int) -> dict[str, Any]:
    """Install a peer into a new environment and measure it; ``skipped`` says why that was not possible."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        steps = (
            [sys.executable, "-m", "venv", folder],
            [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:", *PEERS[name]],
        )
        try:
            for step in steps:
                subprocess.run(step, check=True, capture_output=True, text=True, timeout=300)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            words = str(error.stderr or error).strip().splitlines() or [type(error).__name__]
            return {"skipped": f"cannot be installed: {words[-1][-200:]}"}
        command = [str(python), __file__, name, str(path), str(count)]
        results = []
        for _ in range(runs):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                return {"skipped": f"failed: {done.stderr.strip()[-300:]}"}
            results.append(json.loads(done.stdout.splitlines()[-1]))
    ordered = sorted(results, key=lambda result: float(result["seconds"]))
    return {**ordered[len(ordered) // 2], "runs": runs}


def _read(path: str, count: int) -> list["array[float]"]:
    held = Path(path).stat().st_size // 40
    columns = []
    with Path(path).open("rb") as file:
        for number in range(5):
            file.seek(8 * held * number)
            column = array("d")
            column.fromfile(file, count)
            columns.append(column)
    return columns


def _backtesting(path: str, count: int) -> dict[str, Any]:
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    columns = _read(path, count)
    index = pd.date_range("2022-01-01", periods=count, freq="min")
    data = pd.DataFrame(dict(zip(("Open", "High", "Low", "Close", "Volume"), columns, strict=True)), index=index)

    def mean(values: Any, length: int) -> Any:
        return pd.Series(values).rolling(length).mean()

    class Cross(Strategy):
        def init(self) -> None:
            self.fast = self.I(mean, self.data.Close, _FAST)
            self.slow = self.I(mean, self.data.Close, _SLOW)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.position.close()
                self.buy(size=1)
            elif crossover(self.slow, self.fast):
                self.position.close()
                self.sell(size=1)

    began = time.perf_counter()
    stats = Backtest(data, Cross, cash=100_000_000, commission=0.0006, finalize_trades=True).run()
    return {"seconds": time.perf_counter() - began, "inputs": count, "trades": int(stats["# Trades"])}


def _nautilus(path: str, count: int) -> dict[str, Any]:
    from decimal import Decimal

    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.indicators import SimpleMovingAverage
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")

    class Cross(Strategy):
        def on_start(self) -> None:
            self.fast, self.slow = SimpleMovingAverage(_FAST), SimpleMovingAverage(_SLOW)
            self.side = 0
            self.sent = 0
            self.subscribe_bars(bar_type)

        def on_bar(self, bar: Bar) -> None:
            self.fast.update_raw(float(bar.close))
            self.slow.update_raw(float(bar.close))
            if not self.slow.initialized:
                return
            side = 1 if self.fast.value > self.slow.value else -1
            if self.side and side != self.side:
                self.close_all_positions(instrument.id)
                way = OrderSide.BUY if side > 0 else OrderSide.SELL
                size = instrument.make_qty(Decimal("0.001"))
                self.submit_order(self.order_factory.market(instrument.id, way, size))
                self.sent += 1
            self.side = side

    opens, highs, lows, closes, volumes = _read(path, count)
    minute = 60 * 10**9
    began_ns = 1_640_995_200 * 10**9
    began = time.perf_counter()
    bars = [
        Bar(bar_type, Price(o, 1), Price(h, 1), Price(low, 1), Price(c, 1), Quantity(v, 3), at, at)
        for o, h, low, c, v, at in zip(
            opens, highs, lows, closes, volumes, range(began_ns, began_ns + count * minute, minute), strict=True
        )
    ]
    built = time.perf_counter() - began
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(100_000, USDT)], base_currency=None)
    engine.add_instrument(instrument)
    engine.add_data(bars)
    strategy = Cross(StrategyConfig())
    engine.add_strategy(strategy)
    began = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - began
    filled = len(engine.cache.orders_closed())
    return {"seconds": seconds, "making_seconds": built, "inputs": count, "trades": filled}


if __name__ == "__main__":
    run = {"backtesting.py": _backtesting, "nautilus_trader": _nautilus}[sys.argv[1]]
    print(json.dumps(run(sys.argv[2], int(sys.argv[3]))))
