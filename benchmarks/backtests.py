"""``lab backtest`` as a user runs it, the whole process, in each form; and that it came to what the data demands."""

import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import frozen

from benchmarks.children import plugin
from benchmarks.data import EQUITY, FAST, SLOW, Expected
from benchmarks.forms import CACHE, COMPILED, OWN, PLAIN
from benchmarks.measure import cost
from benchmarks.suite import Suite

GATES: Final = ("max_daily_loss", "margin")
CONFIG: Final = f"""\
[run]
strategies = ["sma"]
broker = "paper"
gates = {json.dumps(GATES)}
equity = "{EQUITY}"

[sma]  # trades every crossing, without stop or target, at a fixed size
fast = {FAST}
slow = {SLOW}
confirmation = 1
stop_percent = "0"
target_percent = "0"
quantity = "0.001"

[paper]
taker_fee = "0.0006"
slippage_bps = "1"

[replay]  # what the data demands is computed with candles known at their end
confirm_ms = 0

[max_daily_loss]  # out of reach, so that every crossing trades
usd = "1000000000"
"""
CROSS: Final = "cross"
QUIET: Final = "quiet"
FLIP: Final = "flip"
STILL: Final = "still"
_KINDS: Final = {
    CROSS: (),
    # crossings are seen, none is traded
    QUIET: ("sma.direction=long", "sma.atr_period=1", "sma.atr_min_percent=99"),
    FLIP: ("flipper.every=2",),
    STILL: ("flipper.every=2", "flipper.orders=0"),
}


@frozen
class Run:
    """What is run: of which form, doing what, with the journal in a file or not, and lab's cache empty or filled."""

    form: str = COMPILED
    kind: str = CROSS
    journal: bool = True
    warm: bool = False

    def __str__(self) -> str:
        journal, cache = "" if self.journal else ", no journal", "warm" if self.warm else "cold"
        return f"{self.form} {self.kind}, {cache}{journal}"


def backtest(suite: Suite, name: str, run: Run) -> dict[str, Any]:
    """Run ``lab backtest`` on one file. Raises ``RuntimeError`` where it did not come to what the data demands."""
    form, flips = suite.forms[run.form], run.kind in (FLIP, STILL)
    settings = [*_KINDS[run.kind], *([f"flipper.orders={suite.expected[name].orders}"] if run.kind == FLIP else [])]
    with tempfile.TemporaryDirectory(dir=suite.folder) as folder, plugin() as with_plugin:
        here = Path(folder)
        (here / "lab.toml").write_text(CONFIG, encoding="utf-8")
        command = [form.lab, "backtest", str(suite.folder / name), "--config", "lab.toml", "--json"]
        command += [] if run.journal else ["--no-write"]
        command += ["--strategy", "flipper"] if flips else []
        command += [word for setting in settings for word in ("--set", setting)]
        cache = suite.folder / "warm" if run.warm else here / "cold"
        cache.mkdir(exist_ok=True)
        variables = form.environment() | {CACHE: str(cache)} | (with_plugin if flips else {})
        before = suite.unit()
        taken = cost(command, here, variables, 600)
        u_ns = min(before, suite.unit())
        written = sum(path.stat().st_size for path in here.glob("runs/*/journal.db"))
    report = json.loads(taken.output)
    _check(report, demanded(suite.expected[name], run.kind), written, run.journal)
    return {
        "rows": int(name.partition("-")[2].removesuffix(".csv")), "wall_s": taken.wall_s, "cpu_s": taken.cpu_s,
        "u_ns": u_ns, "peak_mib": taken.peak_mib, "inside_s": report["duration_seconds"], "journal_bytes": written,
        **{key: report[key] for key in ("candles", "quotes", "orders", "fills", "trades", "fees_paid")},
        "ending_equity": report["ending_equity"],
    }  # fmt: skip


def demanded(expected: Expected, kind: str) -> Expected:
    """Return what a run of this kind must report, where one that trades must report ``expected``."""
    if kind in (CROSS, FLIP):
        return expected
    return Expected(expected.candles, expected.quotes, 0, 0, 0, Decimal(0), Decimal(EQUITY))


def _check(report: Any, expected: Expected, written: int, journal: bool) -> None:
    """Compare a report with the figures computed from the data without lab, to the last decimal."""
    names = ("candles", "quotes", "orders", "fills", "trades", "fees_paid", "ending_equity")
    found = msgspec.convert([str(report[name]) for name in names], Expected, strict=False)
    if found != expected:
        raise RuntimeError(f"the backtest came to {found}, the data demands {expected}")
    if report["gates"] != list(GATES) or bool(written) is not journal:
        raise RuntimeError(f"not the run that was asked for: gates {report['gates']}, journal of {written} bytes")


def runs_of(suite: Suite, *kinds: str, own: bool = True) -> list[Run]:
    """Return the runs of each form that is there, cold and warm, the journal written."""
    names = [name for name in (COMPILED, OWN, PLAIN) if name in suite.forms and (own or name != OWN)]
    return [Run(name, kind, True, warm) for kind in kinds for name in names for warm in (False, True)]
