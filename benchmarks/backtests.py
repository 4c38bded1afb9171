"""Candles and ticks a second through ``lab backtest``: the command as a user runs it, the whole process."""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.data import EQUITY, FAST, SLOW, Expected
from benchmarks.measure import LAB, cost, median
from benchmarks.suite import Suite
from benchmarks.table import row

GATES: Final = ("max_daily_loss", "margin")
CONFIG: Final = f"""\
[run]
strategies = ["sma"]
broker = "paper"
gates = {json.dumps(GATES)}
equity = "{EQUITY}"

[replay]  # each run reads the file
keep = false

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

[max_daily_loss]  # out of reach, so that every crossing trades
usd = "1000000000"
"""


def run(suite: Suite) -> None:
    """Measure 100,000 and 1,000,000 candles and 1,000,000 ticks, each with the journal off and on."""
    for name in suite.expected:
        figures = {journal: _measure(suite, name, journal) for journal in (False, True)}
        for journal, results in figures.items():
            _show(suite, name, journal, results)
    if not suite.quick:
        for journal in (False, True):
            _show_margin(suite, journal)


def _measure(suite: Suite, name: str, journal: bool) -> list[dict[str, Any]]:
    big = "1000000" in name
    return [backtest(suite, name, journal) for _ in range(2 if suite.quick else 3 if big else 5)]


def backtest(suite: Suite, name: str, journal: bool) -> dict[str, Any]:
    """Run ``lab backtest`` on one file. Raises ``RuntimeError`` where it did not come to what the data demands."""
    with tempfile.TemporaryDirectory(dir=suite.folder) as folder:
        here = Path(folder)
        (here / "lab.toml").write_text(CONFIG, encoding="utf-8")
        command = [str(LAB), "backtest", str(suite.folder / name), "--config", "lab.toml", "--json"]
        before = suite.unit()
        taken = cost([*command, *([] if journal else ["--no-write"])], here)
        u_ns = min(before, suite.unit())
        written = sum(path.stat().st_size for path in here.glob("runs/*/journal.db"))
    report = json.loads(taken.output)
    _check(report, suite.expected[name], written, journal)
    return {
        "rows": int(name.partition("-")[2].removesuffix(".csv")), "wall_s": taken.wall_s, "cpu_s": taken.cpu_s,
        "u_ns": u_ns, "peak_mib": taken.peak_mib, "inside_s": report["duration_seconds"], "journal_bytes": written,
        **{key: report[key] for key in ("candles", "quotes", "orders", "fills", "trades", "fees_paid")},
        "ending_equity": report["ending_equity"],
    }  # fmt: skip


def _check(report: Any, expected: Expected, written: int, journal: bool) -> None:
    """Compare a report with the figures computed from the data without lab, to the last decimal."""
    names = ("candles", "quotes", "orders", "fills", "trades", "fees_paid", "ending_equity")
    found = msgspec.convert([str(report[name]) for name in names], Expected, strict=False)
    if found != expected:
        raise RuntimeError(f"the backtest came to {found}, the data demands {expected}")
    if report["gates"] != list(GATES) or bool(written) is not journal:
        raise RuntimeError(f"not the run that was asked for: gates {report['gates']}, journal of {written} bytes")


def _show(suite: Suite, name: str, journal: bool, results: list[dict[str, Any]]) -> None:
    kind, _, text = name.removesuffix(".csv").partition("-")
    count, one = int(text), results[0]
    wall_s, cpu_s = median(result["wall_s"] for result in results), median(result["cpu_s"] for result in results)
    u = median(result["cpu_s"] / result["u_ns"] for result in results) * 1e9 / count
    trading = f"{one['trades']:,} trades"
    if kind == "candles":
        trading = f"{100 * one['orders'] / 2 / count:.2f} % of candles trade ({one['orders']:,} orders)"
    peak = "" if one["peak_mib"] is None else f"; peak {max(result['peak_mib'] for result in results):.0f} MiB"
    size = f"; journal {one['journal_bytes'] / 2**20:.1f} MiB" if journal else ""
    note = (
        f"median of {len(results)} processes, best {min(result['wall_s'] for result in results):.2f} s, worst "
        f"{max(result['wall_s'] for result in results):.2f} s; CPU {cpu_s:.2f} s; {trading}{size}{peak}"
    )
    figure = f"{count / wall_s:,.0f}/s ({wall_s:.2f} s)"
    what = f"`lab backtest`, {count:,} {kind}, journal {'on' if journal else 'off'}"
    suite.add(what, results, row(what, figure, u=u, note=note))


def _show_margin(suite: Suite, journal: bool) -> None:
    """Show what the second 900,000 candles cost: the rate without start and end."""
    state = "on" if journal else "off"
    small, big = (
        suite.raw[f"`lab backtest`, {count}, journal {state}"] for count in ("100,000 candles", "1,000,000 candles")
    )
    wall_s, cpu_s = (median(one[key] for one in big) - median(one[key] for one in small) for key in ("wall_s", "cpu_s"))
    count = big[0]["rows"] - small[0]["rows"]
    u = cpu_s * 1e9 / count / median(one["u_ns"] for one in [*small, *big])
    what = f"the same, from 100,000 to 1,000,000 candles, journal {state}"
    note = "the difference of the medians: start and end of the process left out"
    suite.add(what, {"wall_s": wall_s, "cpu_s": cpu_s}, row(what, f"{count / wall_s:,.0f}/s", u=u, note=note))
