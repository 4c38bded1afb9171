"""Run the suite: ``python -m benchmarks [--quick] [--peers] [--only GROUP] [--name NAME]``."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import backtests, commands, live, parts, peers, table
from benchmarks.children import case
from benchmarks.data import Expected
from benchmarks.measure import LAB, cost, machine, median
from benchmarks.suite import Suite

GROUPS: Final[dict[str, Callable[[Suite], None]]] = {
    "backtests": backtests.run, "parts": parts.run, "live": live.run, "cli": commands.run, "peers": peers.run,
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the groups that are asked for; store the results, and after a full run write the README's figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure lab on this machine.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: at most a minute")
    parser.add_argument("--peers", action="store_true", help="also install and measure " + " and ".join(peers.PEERS))
    parser.add_argument("--only", action="append", choices=GROUPS, help="only this group; may be repeated")
    parser.add_argument("--name", help="name of the results file; default: full, quick or partial")
    given = parser.parse_args(arguments)
    wanted = [name for name in GROUPS if (name in given.only if given.only else name != "peers" or given.peers)]
    found, began, measured = machine(), time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with tempfile.TemporaryDirectory() as folder:
        suite = _prepare(Path(folder), given.quick)
        failed = [group for group in wanted if not _run(group, suite)]
    name = "partial" if given.only else "quick" if given.quick else "full"
    name = "failed" if failed else given.name or name
    results = {
        "schema_version": 2,
        "measured": measured,
        "seconds": round(time.monotonic() - began, 1),
        "machine": found,
        "u_ns": {"median": median(suite.units), "least": min(suite.units), "most": max(suite.units)},
        "left_out": [group for group in GROUPS if group not in wanted or group in failed],
        "rows": suite.rows,
        "raw": suite.raw,
    }
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(
        f"\n{table.plain(suite.rows)}\n\nu = {median(suite.units):.1f} ns; {results['seconds']} s; results/{name}.json"
    )
    if failed:
        print(f"failed, see above: {', '.join(failed)}", file=sys.stderr)
        return 1
    return table.main() if name == "full" else 0


def _prepare(folder: Path, quick: bool) -> Suite:
    """Write the data, and let lab's modules be compiled once, as they are where lab is installed."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    os.environ["LAB_CACHE_DIR"] = str(folder / "cache")
    candles, ticks = ([100_000], 100_000) if quick else ([100_000, 1_000_000], 1_000_000)
    # In a process of its own: what this one holds at its peak would count as the peak of those it starts.
    texts = case("data", folder=str(folder), candles=candles, ticks=ticks)
    expected = {name: msgspec.convert(values, Expected, strict=False) for name, values in texts.items()}
    for command in (
        ["--help"],
        ["backtest", "--provider", "mock", "--no-write"],
        ["run", "--provider", "mock", "--speed", "max"],
    ):
        cost([str(LAB), *command], folder)
    suite = Suite(quick, folder, expected)
    suite.unit()
    return suite


def _run(group: str, suite: Suite) -> bool:
    """Run one group; a failure is said and ends this group alone."""
    print(group, flush=True)
    began = time.monotonic()
    try:
        GROUPS[group](suite)
    except (RuntimeError, OSError, LookupError, ValueError) as error:
        print(f"{group} failed: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    finally:
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
