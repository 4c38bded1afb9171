"""What the command line costs: start-up, memory, an idle session. Everything runs as a user runs it."""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LAB: Final = Path(sys.executable).with_name("lab")


def python_path(*folders: Path) -> str:
    """Return these folders, and then what the environment has, as a module search path."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*map(str, folders), *([given] if given else [])])


def cost(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Run a command to its end; return its wall and CPU seconds (user and system) and its peak memory in MiB."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, cwd=cwd, env=dict(environment), stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        if child.returncode not in {0, 3}:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {errors.read().decode()[-500:]}")
    cpu = usage.ru_utime + usage.ru_stime
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"wall_s": wall, "cpu_s": cpu, "peak_mib": peak}


def help_cost(runs: int) -> dict[str, float]:
    """Return the CPU and wall seconds of ``lab --help`` and of an interpreter that does nothing, medians."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        shown = [cost([str(LAB), "--help"], here, os.environ) for _ in range(runs)]
        empty = [cost([sys.executable, "-c", "pass"], here, os.environ) for _ in range(runs)]
    return {
        "help_cpu_s": statistics.median(one["cpu_s"] for one in shown),
        "help_cpu_best_s": min(one["cpu_s"] for one in shown),
        "help_wall_s": statistics.median(one["wall_s"] for one in shown),
        "python_cpu_s": statistics.median(one["cpu_s"] for one in empty),
    }


@contextlib.contextmanager
def installed() -> Iterator[dict[str, str]]:
    """Yield an environment in which the benchmark's plugin is installed as a third party's would be."""
    with tempfile.TemporaryDirectory() as folder:
        info = Path(folder) / "lab_benchmarks-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-benchmarks\nVersion: 0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text("[lab]\nbenchmarks = benchmarks.offers\n", encoding="utf-8")
        yield {**os.environ, "PYTHONPATH": python_path(ROOT, Path(folder))}


def first_quote(runs: int) -> dict[str, Any]:
    """Return the wall seconds from starting ``lab run`` to the first quote at the strategy, and which source it was."""
    try:
        local = import_module("lab_bitunix.venue").LocalVenue is not None
    except ImportError:
        local = False
    source = ["--set", "bitunix.venue=local"] if local else ["--provider", "mock"]
    seconds = []
    with installed() as environment, tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            note = Path(folder) / f"note-{number}"
            command = [str(LAB), "run", *source, "--strategy", "clocked", "--set", f"clocked.note={note}"]
            began_ns = time.monotonic_ns()
            child = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                seconds.append(_wait_for(note, child, began_ns))
            finally:
                child.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.communicate(timeout=10)
                child.kill()
                child.wait()
    return {
        "source": "bitunix.venue=local" if local else "mock (the local venue is not installed)",
        "median_s": statistics.median(seconds),
        "best_s": min(seconds),
        "runs": runs,
    }


def _wait_for(note: Path, child: "subprocess.Popen[bytes]", began_ns: int) -> float:
    while time.monotonic_ns() - began_ns < 30 * 10**9:
        if note.is_file() and (text := note.read_text(encoding="utf-8")):
            return (int(text) - began_ns) / 1e9
        if child.poll() is not None:
            assert child.stderr is not None
            raise RuntimeError(f"lab run ended before its first quote: {child.stderr.read().decode()[-500:]}")
        time.sleep(0.005)
    raise RuntimeError("no quote within 30 s")


def idle(port: int, short_s: float, long_s: float) -> dict[str, float]:
    """Return the share of a core and the peak memory of a session on three quotes a second, default reporters and all.

    Two lengths are run; their difference is the session without its start and end.
    """
    urls = [
        "--set",
        f"bitunix.rest_url=http://127.0.0.1:{port}",
        "--set",
        f"bitunix.ws_url=ws://127.0.0.1:{port}/public/",
    ]
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (short_s, long_s):
            command = [str(LAB), "run", *urls, "--minutes", f"{seconds / 60:.4f}"]
            costs.append(cost(command, Path(folder), os.environ))
    cpu = costs[1]["cpu_s"] - costs[0]["cpu_s"]
    return {
        "idle_percent": 100 * cpu / (long_s - short_s), "peak_mib": costs[1]["peak_mib"],
        "session_cpu_s": costs[0]["cpu_s"], "seconds": long_s,
    }  # fmt: skip
