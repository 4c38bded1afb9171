"""Clocks and units: the cost of one bound-method call, what a process costs, percentiles, what the machine is."""

import contextlib
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parent.parent
_MAXRSS_MIB: Final = 2**20 if sys.platform == "darwin" else 2**10


class _Callee:
    def method(self) -> None:
        return None


def unit_ns(repeats: int = 5, calls: int = 100_000) -> float:
    """Return u: the CPU nanoseconds of one call of a bound method that does nothing, loop included; the best run's.

    Figures in u compare across machines, and across moments of a busy one, better than nanoseconds do.
    """
    call = _Callee().method
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time_ns()
        for _ in range(calls):
            call()
        best = min(best, time.process_time_ns() - began)
    return best / calls


def in_units(work: Callable[[], float], repeats: int) -> dict[str, float]:
    """Run ``work``, which returns the nanoseconds it measured, several times; return the best and what it is in u.

    u is taken before each run and after the last: a machine that is slow for a while is slow for both.
    """
    units, found = [], []
    for _ in range(repeats):
        units.append(unit_ns(3))
        found.append(work())
    units.append(unit_ns(3))
    return {"ns": min(found), "worst_ns": max(found), "u_ns": min(units), "u": min(found) / min(units)}


@frozen
class Cost:
    """What a process that has ended took: seconds of wall and CPU (user and system), and peak memory.

    ``peak_mib`` is ``None`` where it is no more than this process's own: a new process inherits the mark of the one
    that started it, and the figure would be that.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float | None
    output: str


def cost(command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None, limit_s: float = 120) -> Cost:
    """Run a command to its end. Raises ``RuntimeError``, with its last words, where it fails or outlasts the limit."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        child = subprocess.Popen(command, cwd=cwd, env=environment and dict(environment), stdout=out, stderr=errors)
        limit = threading.Timer(limit_s, child.kill)
        limit.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
        limit.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, errors):
            file.seek(0)
        if child.returncode:
            said = (errors.read() or out.read()).decode("utf-8", "replace").strip()[-800:]
            late = f" after its {limit_s:g} s" if child.returncode == -signal.SIGKILL else ""
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}{late}: {said}")
        peak = usage.ru_maxrss / _MAXRSS_MIB
        return Cost(
            wall_s, usage.ru_utime + usage.ru_stime, peak if peak > peak_mib() else None, out.read().decode("utf-8")
        )


def peak_mib() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_MIB


@contextlib.contextmanager
def ended(child: "subprocess.Popen[Any]", wait_s: float = 10) -> Iterator[None]:
    """Ask a process to end when the block is left, and make it end when it does not."""
    try:
        yield
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            child.wait(wait_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that ``percent`` % of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1))
    return ordered[int(rank)]


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, with versions of what takes part."""
    names = ("lab-trading", "anyio", "attrs", "click", "httpx", "msgspec", "pluggy", "rich", "websockets")
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
        "load_before": round(os.getloadavg()[0], 2),
        "commit": _commit(),
        "versions": versions,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Return the commit that is measured, with a plus where the tree differs from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        changed = git(
            "status",
            "--porcelain",
            "--",
            "core",
            "plugins",
            "tools",
            "benchmarks",
            ":!benchmarks/README.md",
            ":!benchmarks/results",
        )
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
