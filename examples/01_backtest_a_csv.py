"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 01  Backtest a CSV file from Python                                          │
│                                                                              │
│ The point: a backtest is three calls. Settings go into layers, layers and    │
│ the installed plugins into an assembly, the assembly through `run_batch`.    │
│                                                                              │
│ Run it:   python 01_backtest_a_csv.py              (makes itself a small CSV)│
│           python 01_backtest_a_csv.py prices.csv   (time,open,high,low,close,│
│                                                     volume; one-minute rows) │
└──────────────────────────────────────────────────────────────────────────────┘
"""

import math
import sys
import time
from pathlib import Path

from lab.backtesting.runner import run_batch
from lab.composition.assembly import assemble, layers_for
from lab.plugins.discovery import Registry


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
    sets = [f"replay.file={source}", "sma.fast=5", "sma.slow=20", "sma.atr_min_percent=0"]
    layers = layers_for(None, sets, {"run.provider": "replay", "run.reporters": [], "run.equity": "5000"})
    assembly = assemble(Registry(), layers, {})  # {}: the environment variables to heed; os.environ for the shell's

    finished = run_batch(assembly, wall_ns=time.time_ns, seconds=time.perf_counter)

    report = finished.report
    print(f"{report.candles} candles, {report.fills} fills, {report.trades} trades, fees {report.fees_paid} USDT")
    print(f"equity {report.starting_equity} -> {report.ending_equity} USDT ({report.pnl_percent} %)")
    print(f"files: {finished.directory}")


if __name__ == "__main__":
    main()
