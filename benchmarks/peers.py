"""Other people's engines beside ours: the same file of candles, SMA 10/30, 6 bps, in the same run."""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.backtests import backtest
from benchmarks.install import environment, outside, why
from benchmarks.measure import cost, median
from benchmarks.suite import Suite
from benchmarks.table import Row, row

PEERS: Final = {"backtesting.py": "backtesting==0.6.6", "nautilus_trader": "nautilus_trader==1.221.0"}
_ENGINES: Final = Path(__file__).with_name("peer_engines.py")
_FILE: Final = "candles-100000.csv"


def run(suite: Suite) -> None:
    """Measure lab and each peer that can be installed, whole processes."""
    runs = 1 if suite.quick else 3
    ours = [backtest(suite, _FILE, journal=False) for _ in range(runs)]
    results = [
        {"wall_s": one["wall_s"], "seconds": one["inside_s"], "candles": one["candles"], "peak_mib": one["peak_mib"],
         "trades": one["trades"], "fees": float(one["fees_paid"])}
        for one in ours
    ]  # fmt: skip
    suite.add("peer lab", results, _row("lab, journal off", results))
    for name, requirement in PEERS.items():
        results = []
        try:
            with tempfile.TemporaryDirectory() as folder:
                here = Path(folder)
                python = environment(here / "env", [requirement], None, "--only-binary", ":all:", "--compile-bytecode")
                command = [str(python), str(_ENGINES), name, str(suite.folder / _FILE)]
                results = [_measure(command, here, ours[0]) for _ in range(runs)]
        except RuntimeError as error:
            suite.add(f"peer {name}", {"skipped": why(error)}, row(requirement, "skipped", note=why(error)))
            continue
        suite.add(f"peer {name}", results, _row(requirement, results))


def _measure(command: list[str], folder: Path, ours: dict[str, Any]) -> dict[str, Any]:
    """Run a peer once. Raises ``RuntimeError`` where it did not do the work that lab did."""
    taken = cost(command, folder, outside(), 300)
    found: dict[str, Any] = json.loads(taken.output.splitlines()[-1])
    fees = float(ours["fees_paid"])
    if (
        found["candles"] != ours["candles"]
        or abs(found["trades"] - ours["trades"]) > 2
        or abs(found["fees"] - fees) > 0.01 * fees
    ):
        raise RuntimeError(f"other work than ours: {found}, ours {ours['trades']} trades, fees {fees}")
    return {**found, "wall_s": taken.wall_s, "peak_mib": taken.peak_mib}


def _row(what: str, results: list[dict[str, Any]]) -> Row:
    count, one = results[0]["candles"], results[0]
    wall_s, seconds = median(each["wall_s"] for each in results), median(each["seconds"] for each in results)
    note = (
        f"whole process, reading the file included, median of {len(results)}; the run itself {count / seconds:,.0f}/s; "
        f"{one['trades']:,} trades, fees {one['fees']:.2f}; peak {one['peak_mib'] or 0:.0f} MiB"
    )
    return row(f"{what}, {count:,} candles", f"{count / wall_s:,.0f}/s ({wall_s:.2f} s)", note=note)
