"""How long an installation takes, and how much it brings: core and the usual plugins into a new environment."""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.forms import environment, outside, why
from benchmarks.measure import ROOT, cost
from benchmarks.suite import Suite
from benchmarks.table import Row, alone, judged, row

PARTS: Final = (
    "core", "plugins/recordings", "plugins/bitunix", "plugins/mock", "plugins/sma_strategy", "plugins/paper_broker",
    "plugins/risk_limits", "plugins/reporters",
)  # fmt: skip
_MINUTES: Final = 200


def run(suite: Suite) -> None:
    """Install with uv, with an empty cache and with the filled one, and with pip; run what was installed."""
    packages = [str(ROOT / part) for part in PARTS]
    raw: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            for which in ("cold", "warm"):
                began = time.perf_counter()
                python = environment(here / which, packages, here / "cache")
                raw[f"{which}_s"] = time.perf_counter() - began
            raw["bytes"] = _size(here / "cold")
            raw["fills"] = _works(python.with_name("lab"), here)
            raw["bytes_compiled"] = _size(here / "warm")
            if not suite.quick:
                raw |= _with_pip(here, packages)
    except RuntimeError as error:
        suite.add("install", {"skipped": why(error)}, row("installation", alone("skipped"), note=why(error)))
        return
    names = ", ".join(Path(part).name for part in PARTS)
    warm = f"with a filled one {raw['warm_s']:.1f} s"
    note = f"`uv venv` and `uv pip install`, empty cache; {warm}; depends on the network; {names}"
    compiled = f"with the bytecode of a backtest, which found {raw['fills']} fills on the mock"
    rows = [
        _time("uv", raw["cold_s"], note),
        _space("uv", raw["bytes"], f"{raw['bytes_compiled'] / 1e6:.1f} MB {compiled}"),
    ]
    if "pip_s" in raw:
        rows.append(_time("pip", raw["pip_s"], "`python -m venv` and `pip install --no-cache-dir` of the same"))
        rows.append(_space("pip", raw["pip_bytes"], "all bytecode and pip itself are in it"))
    suite.add("install", raw, *rows)


def _time(tool: str, seconds: float, note: str) -> Row:
    targets = [judged("≤ 20 s", seconds <= 20)]
    return row(f"installation with {tool}, cold", alone(f"{seconds:.1f} s"), targets=targets, note=note)


def _space(tool: str, size: int, note: str) -> Row:
    targets = [judged("≤ 60 MB", size <= 60e6)]
    return row(f"installation with {tool}, size", alone(f"{size / 1e6:.1f} MB"), targets=targets, note=note)


def _with_pip(folder: Path, packages: Sequence[str]) -> dict[str, float]:
    """Return seconds and bytes of the same with venv and pip."""
    began = time.perf_counter()
    cost([sys.executable, "-m", "venv", str(folder / "pip")], folder, outside())
    pip = [str(folder / "pip" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", *packages]
    cost(pip, folder, outside(), 300)
    seconds = time.perf_counter() - began
    fills = _works(folder / "pip" / "bin" / "lab", folder)
    return {"pip_s": seconds, "pip_bytes": _size(folder / "pip"), "pip_fills": fills}


def _works(lab: Path, folder: Path) -> int:
    """Run a backtest with the environment's own ``lab``; return its fills. Raises ``RuntimeError`` for too few."""
    command = [str(lab), "backtest", "--provider", "mock", "--set", f"mock.minutes={_MINUTES}", "--json"]
    report = json.loads(cost(command, folder, outside()).output)
    if report["candles"] < _MINUTES - 1 or not report["fills"] or not report["gates"]:
        raise RuntimeError(f"the installed lab saw {report['candles']} of {_MINUTES} candles, {report['fills']} fills")
    return int(report["fills"])


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
