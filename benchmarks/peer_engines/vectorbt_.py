"""vectorbt: the whole run is a few calls of compiled functions over arrays."""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt

from benchmarks.peer_engines.signals import EQUITY, FEE, FLAT, LONG, QUANTITY, SHORT, wanted


def run(kind: str, path: str, again: str = "") -> dict[str, Any]:
    """Run it: orders fill at the close that caused them. A second run in the process finds everything compiled."""
    closes = pd.read_csv(path, usecols=["close"])["close"]
    first = _once(kind, closes)
    return {**first, "again_s": _once(kind, closes)["run_s"]} if again else first


def _once(kind: str, closes: Any) -> dict[str, Any]:
    began = time.process_time()
    where = wanted(kind, closes) if kind == "orders" else _crossings(closes)
    size = np.full(len(closes), np.nan)
    size[where == LONG], size[where == SHORT], size[where == FLAT] = QUANTITY, -QUANTITY, 0.0
    given = {"size_type": "targetamount", "fees": FEE, "init_cash": EQUITY, "freq": "1min"}
    portfolio = vbt.Portfolio.from_orders(closes, size=size, **given)
    trades, fees = int(portfolio.trades.closed.count()), float(portfolio.orders.fees.sum())
    run_s = time.process_time() - began
    return {"rows": len(closes), "trades": trades, "fees": fees, "run_s": run_s}


def _crossings(closes: Any) -> Any:
    fast, slow = vbt.MA.run(closes, 10), vbt.MA.run(closes, 30)
    above, below = (each.to_numpy().ravel() for each in (fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)))
    return above.astype(float) - below


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
