"""vectorbt, trade by trade: signals one candle later than they are decided, their price that candle's open."""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt


def run(path: str, work_path: str) -> dict[str, Any]:
    """Run it; return its trades, the open one too, as candle numbers, prices, fees and profit."""
    work = json.loads(Path(work_path).read_text(encoding="ascii"))
    data = pd.read_csv(path, usecols=["open", "high", "low", "close"])
    way = np.array([0, *work["way"][:-1]])
    given = {"size": work["quantity"], "fees": work["fee"], "init_cash": work["equity"], "freq": "1min"}
    if any(level is not None for level in work["stop"]):
        given |= {
            "sl_stop": _fractions(data["close"], work["stop"]), "tp_stop": _fractions(data["close"], work["target"]),
            "open": data["open"], "high": data["high"], "low": data["low"],
            # Levels lie around the close before, which -inf stands for.
            "val_price": -np.inf, "stop_entry_price": "valprice", "upon_stop_update": "overridenan",
            "stop_exit_price": "stoplimit", "upon_stop_exit": "close",
        }  # fmt: skip
    portfolio = vbt.Portfolio.from_signals(
        data["close"], way > 0, False, way < 0, False, price=data["open"], upon_opposite_entry="reverse", **given
    )
    trades = []
    for row in portfolio.trades.records.to_dict("records"):
        ended = row["status"] == 1
        size = row["size"] if row["direction"] == 0 else -row["size"]
        leave = (row["exit_idx"], row["exit_price"]) if ended else (None, None)
        trades.append(
            [row["entry_idx"], size, row["entry_price"], *leave, row["entry_fees"] + row["exit_fees"], row["pnl"]]
        )
    return {"trades": trades}


def _fractions(closes: Any, levels: list[float | None]) -> Any:
    """Return the levels as what vectorbt takes: fractions of the close before the entry, which decided it.

    Its arithmetic must come to the level itself, or to the last place on the side from which the price comes: else a
    price that just touches a level would miss it.
    """
    found = np.full(len(closes), np.nan)
    for number, level in enumerate(levels[:-1]):
        if level is None:
            continue
        close = float(closes[number])
        factor = level / close
        rises = 1 if factor > 1 else -1
        while (close * factor - level) * rises > 0:
            factor = math.nextafter(factor, 1)
        found[number + 1] = abs(factor - 1)
    return found


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
