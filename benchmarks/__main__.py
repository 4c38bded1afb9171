"""Run the suite: ``python -m benchmarks [--quick] [--peers] [--only GROUP] [--name NAME] [--wheels FOLDER]``."""

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

from benchmarks import commands, forms, live, parts, races, table
from benchmarks.children import case
from benchmarks.data import Expected
from benchmarks.measure import cost, machine, median
from benchmarks.peers import PEERS
from benchmarks.suite import Suite

# Peers run in turn with lab: both names stand for one group.
GROUPS: Final[dict[str, Callable[[Suite], None]]] = {
    "backtests": races.run, "peers": races.run, "parts": parts.run, "live": live.run, "cli": commands.run,
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the groups that are asked for; store the results, and after a full run write the README's figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure lab on this machine.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: a minute after building")
    parser.add_argument("--peers", action="store_true", help="also install and measure " + ", ".join(PEERS))
    parser.add_argument("--only", action="append", choices=GROUPS, help="only this group; may be repeated")
    parser.add_argument("--name", help="name of the results file; default: full, quick or partial")
    parser.add_argument("--wheels", type=Path, help="what tools/compile_wheels.py built of this tree; else built now")
    given = parser.parse_args(arguments)
    if given.wheels is not None and not list(given.wheels.glob("*.whl")):
        parser.error(f"--wheels {given.wheels}: no wheel is there; tools/compile_wheels.py {given.wheels} builds them")
    wanted = [name for name in GROUPS if (name in given.only if given.only else name != "peers" or given.peers)]
    found, began, measured = machine(), time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with tempfile.TemporaryDirectory() as folder:
        suite, lacking = _prepare(Path(folder), given.quick, wanted, given.wheels and given.wheels.resolve())
        steps = {GROUPS[group]: group for group in reversed(wanted)}
        failed = [group for group in wanted if steps.get(GROUPS[group]) == group and not _run(group, suite)]
    name = "partial" if given.only else "quick" if given.quick else "full"
    name = "failed" if failed else given.name or name
    results = {
        "schema_version": table.SCHEMA,
        "measured": measured,
        "seconds": round(time.monotonic() - began, 1),
        "machine": found,
        "forms": {form.name: form.version for form in suite.forms.values()},
        "not_compiled": lacking,
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


def _prepare(folder: Path, quick: bool, wanted: Sequence[str], wheels: Path | None) -> tuple[Suite, str]:
    """Build and install what is measured, and write the data; return also why nothing is compiled, if so."""
    os.environ[forms.CACHE] = str(folder / "cache")  # not the user's own
    began = time.monotonic()
    ready, lacking = forms.prepare(folder, wheels)
    print(
        f"installed: {', '.join(ready)}{f'; {lacking}' if lacking else ''} ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    candles, quotes, orders = [100_000], 100_000, 4_000
    if not quick:
        huge = [5_000_000] if "backtests" in wanted else []
        candles, quotes, orders = [100_000, 1_000_000, *huge], 1_000_000, 40_000
    # In a process of its own: what this one holds at its peak would count as the peak of those it starts.
    texts = case(None, "data", limit_s=600, folder=str(folder), candles=candles, quotes=quotes, orders=orders)
    expected = {name: msgspec.convert(values, Expected, strict=False) for name, values in texts.items()}
    for form in ready.values():
        for command in (
            ["--help"],
            ["backtest", "--provider", "mock", "--no-write"],
            ["run", "--provider", "mock", "--speed", "max"],
        ):
            cost([form.lab, *command], folder, form.environment())
    suite = Suite(quick, folder, expected, ready, frozenset(wanted))
    suite.unit()
    return suite, lacking


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
