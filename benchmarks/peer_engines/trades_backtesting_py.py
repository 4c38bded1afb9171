"""backtesting.py, trade by trade: what it is told to do at each close, its orders filled at the next open."""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from backtesting import Backtest, Strategy


def run(path: str, work_path: str) -> dict[str, Any]:
    """Run it; return its trades, the open one too, as candle numbers, prices, fees and profit."""
    work = json.loads(Path(work_path).read_text(encoding="ascii"))
    data = pd.read_csv(path, usecols=["time", "open", "high", "low", "close"])
    data.index = pd.to_datetime(data.pop("time"), unit="ms")
    data.columns = ["Open", "High", "Low", "Close"]

    class Told(Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            number = len(self.data) - 1
            way = work["way"][number]
            if way:
                levels = {"sl": work["stop"][number], "tp": work["target"][number]}
                (self.buy if way > 0 else self.sell)(size=work["quantity"], **levels)

    given = {"cash": work["equity"], "commission": work["fee"], "exclusive_orders": True}
    strategy = Backtest(data, Told, **given).run()["_strategy"]
    trades = []
    for trade in sorted([*strategy.closed_trades, *strategy.trades], key=lambda one: one.entry_bar):
        size, entry, out = trade.size, trade.entry_price, trade.exit_price
        # A trade's profit is after its fees, but an open trade knows none yet: they are only taken from the cash.
        fees = trade._commissions if out is not None else abs(size) * entry * work["fee"]  # noqa: SLF001
        profit = trade.pl if out is not None else trade.pl - fees
        trades.append([trade.entry_bar, size, entry, trade.exit_bar, out, fees, profit])
    return {"trades": trades}


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
