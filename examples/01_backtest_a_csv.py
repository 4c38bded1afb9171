"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 01  From a CSV file to a page                                                │
│                                                                              │
│ The point: a strategy, a file, `lab.backtest`. The result has the report,    │
│ the trades as a table, and a page. Nothing else is written.                  │
│                                                                              │
│ Run it:   python 01_backtest_a_csv.py              (makes itself a small CSV)│
│           python 01_backtest_a_csv.py prices.csv   (time,open,high,low,close,│
│                                                     volume)                  │
└──────────────────────────────────────────────────────────────────────────────┘
"""

import math
import sys
from pathlib import Path

import lab


def write_waves(path: Path, rows: int = 600) -> Path:
    """Write candles whose price rises and falls every two hours, so that averages cross."""
    lines = ["time,open,high,low,close,volume"]
    close = 50_000.0
    for minute in range(rows):
        before, close = close, round(50_000 * (1 + 0.02 * math.sin(minute / 19)), 1)
        lines.append(f"{1_704_067_200 + 60 * minute},{before},{max(before, close)},{min(before, close)},{close},10")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else write_waves(Path("waves.csv"))
    settings = {"sma.fast": 5, "sma.slow": 20, "sma.atr_min_percent": 0}

    result = lab.backtest("sma", source, equity=5000, settings=settings)

    report = result.report
    print(f"{report.candles} candles, {report.fills} fills, {len(result.trades)} trades, fees {report.fees_paid} USDT")
    print(f"equity {report.starting_equity} -> {report.ending_equity} USDT ({report.pnl_percent} %)")
    for trade in result.trades[:3]:
        print(f"{trade.side} {trade.quantity} from {trade.entry_price} to {trade.exit_price}: {trade.profit}")
    print(f"page: {result.plot('page.html').name}")


if __name__ == "__main__":
    main()
