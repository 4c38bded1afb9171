"""What the tests of sweeps share: a strategy that looks at two averages, and a market that makes waves."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CODE = '''
"""A strategy in a file. What it does on a setting that kills is for tests of workers."""

import os
import signal
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import lab
from attrs import define


@define(kw_only=True)
class Waves(lab.Strategy):
    fast: int = 3
    slow: int = 9
    size: Decimal = Decimal(1)
    bias: float = 0.0
    kind: str = "both"
    kills: int = 0
    kills_once: int = 0
    marker: str = ""

    def __attrs_post_init__(self) -> None:
        if self.fast >= self.slow:
            raise ValueError(f"fast = {self.fast} must be below slow = {self.slow}")

    @property
    def lookback(self) -> int:
        return self.slow

    def on_candle(self, candle: lab.Candle, view: lab.View) -> Iterable[lab.OrderRequest]:
        if self.kind == "raises":
            raise RuntimeError("it was asked to")
        if self.fast == self.kills or (self.fast == self.kills_once and not Path(self.marker).exists()):
            Path(self.marker).write_text("killed")
            os.kill(os.getpid(), signal.SIGKILL)
        closes = view.closes(candle.symbol)
        fast, slow = sum(closes[-self.fast :]) / self.fast, sum(closes[-self.slow :]) / self.slow
        held = view.position(candle.symbol).quantity
        if fast > slow + self.bias and not held:
            return [lab.OrderRequest.buy(candle.symbol, self.size)]
        if fast < slow - self.bias and held:
            return [lab.OrderRequest.sell(candle.symbol, held)]
        return ()
'''
MINUTE = 60_000_000_000
BEGIN = 1_577_836_800_000_000_000
PLAIN = {"gates": [], "latency_ms": 0, "fees": 0, "settings": {"paper.slippage_bps": 0}, "symbol": "X"}
"""A market that costs nothing, so that what a strategy makes is what it decided."""


def closes(count: int = 200) -> list[float]:
    return [1000.0 + 40.0 * math.sin(at / 7.0) + 15.0 * math.sin(at / 2.3) + at / 20.0 for at in range(count)]


def columns(count: int = 200, *, step_ns: int = MINUTE, moved: float = 0.0) -> dict[str, Sequence[Any]]:
    ends = [one + moved for one in closes(count)]
    opens = [ends[0], *ends[:-1]]
    return {
        "time": [BEGIN + at * step_ns for at in range(count)],
        "open": opens,
        "high": [max(pair) + 0.5 for pair in zip(opens, ends, strict=True)],
        "low": [min(pair) - 0.5 for pair in zip(opens, ends, strict=True)],
        "close": ends,
        "volume": [1000.0] * count,
    }


def strategy_file(folder: Path) -> Path:
    path = folder / "waves.py"
    path.write_text(CODE, encoding="utf-8")
    return path


def rows(sweep: Any) -> list[tuple[Any, ...]]:
    """Return the table of a sweep without how long each trial took."""
    place = sweep.trials.names.index("seconds")
    return [(*row[:place], *row[place + 1 :]) for row in sweep.trials]
