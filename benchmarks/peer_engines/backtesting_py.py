"""backtesting.py: signals as one indicator computed before the run, and orders that close what is open."""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import sys
import time
from typing import Any, Final

import pandas as pd
from backtesting import Backtest, Strategy

from benchmarks.peer_engines.signals import EQUITY, FEE, FLAT, wanted

_WHOLE: Final = 1000  # it trades whole units: a thousand times the quantity


def run(kind: str, path: str) -> dict[str, Any]:
    """Run it: orders fill at the next candle's open."""
    data = pd.read_csv(path, usecols=["time", "open", "high", "low", "close"])
    data.index = pd.to_datetime(data.pop("time"), unit="ms")
    data.columns = ["Open", "High", "Low", "Close"]

    class Follow(Strategy):
        def init(self) -> None:
            self.wanted = self.I(lambda closes: wanted(kind, closes), self.data.Close)

        def next(self) -> None:
            now = self.wanted[-1]
            if not now:
                return
            if now == FLAT:
                self.position.close()
            elif now > 0:
                self.buy(size=1)
            else:
                self.sell(size=1)

    began = time.process_time()
    given = {"cash": EQUITY * _WHOLE, "commission": FEE, "exclusive_orders": True}
    stats = Backtest(data, Follow, **given).run()
    run_s = time.process_time() - began
    fees = float(stats["Commissions [$]"]) / _WHOLE
    return {"rows": len(data), "trades": int(stats["# Trades"]), "fees": fees, "run_s": run_s}


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
