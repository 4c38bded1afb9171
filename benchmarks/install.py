"""How long an installation takes, and how much it brings: core and the usual plugins into a new environment."""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import ROOT, cost
from benchmarks.suite import Suite
from benchmarks.table import Row, row

PARTS: Final = (
    "core", "plugins/recordings", "plugins/bitunix", "plugins/mock", "plugins/sma_strategy", "plugins/paper_broker",
    "plugins/risk_limits", "plugins/reporters",
)  # fmt: skip
_MINUTES: Final = 200


def outside() -> dict[str, str]:
    """Return the environment variables without those that lead into this interpreter's environment."""
    ours = {"PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def why(error: RuntimeError) -> str:
    """Return an error's last words as one line that names no address and no path: results are kept."""
    return re.sub(r"(\w+://|(?<!\S)/)\S+", "…", " ".join(str(error).split()))[-300:]


def environment(folder: Path, packages: Sequence[str], cache: Path | None, *options: str) -> Path:
    """Make a new environment with these packages and return its interpreter. Raises ``RuntimeError`` where uv fails."""
    uv = shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is not on the path")
    given = {**outside(), "UV_PYTHON_DOWNLOADS": "never"} | ({"UV_CACHE_DIR": str(cache)} if cache else {})
    cost([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], folder.parent, given)
    python = folder / "bin" / "python"
    cost([uv, "pip", "install", "--quiet", "--python", str(python), *options, *packages], folder.parent, given, 300)
    return python


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
        suite.add("install", {"skipped": why(error)}, row("installation", "skipped", note=why(error)))
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
    return row(f"installation with {tool}, cold", f"{seconds:.1f} s", target="≤ 20 s", met=seconds <= 20, note=note)


def _space(tool: str, size: int, note: str) -> Row:
    return row(f"installation with {tool}, size", f"{size / 1e6:.1f} MB", target="≤ 60 MB", met=size <= 60e6, note=note)


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
