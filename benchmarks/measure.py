"""Clocks and units: the cost of one bound-method call, best and median of repeated runs, what the machine is."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


class _Callee:
    def method(self) -> None:
        return None


def unit_ns(repeats: int = 7, calls: int = 100_000) -> float:
    """Return u: the nanoseconds of one call of a bound method that does nothing, loop included; the best of several.

    Figures in u compare across machines better than nanoseconds do. CPU time is taken, which other processes on the
    machine stretch less than wall time.
    """
    call = _Callee().method
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time_ns()
        for _ in range(calls):
            call()
        best = min(best, time.process_time_ns() - began)
    return best / calls


def best_ns(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the CPU nanoseconds of the fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - began)
    return best


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that ``percent`` % of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1))
    return ordered[int(rank)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, best (smallest) and worst of several runs."""
    return {"median": statistics.median(values), "best": min(values), "worst": max(values), "runs": len(values)}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, with versions of what takes part."""
    names = ("lab-trading", "lab-bitunix", "attrs", "msgspec", "anyio", "websockets", "httpx")
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_1m": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions,
        "optimised": sys.flags.optimize,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
