"""What a sweep gains by workers: ``python -m benchmarks.sweeps [CANDLES [TRIALS [ROUNDS]]]``.

200 trials of the strategy sma over 20,000 candles of a seeded walk, without gates, drawn by TPE: in one process, in two
worker processes, and on two workers of a Dask scheduler on loopback, each of one thread and without Dask's profiler.
Wall time, the start of the processes included, those of Dask not; the median of three rounds, in turn. Dask runs while
it is measured only. The same best to the last digit each way, or it fails. Memory is the highest of a worker, and what
of it is its own.
"""

import contextlib
import importlib
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import lab
from lab.research.workers import Processes

_CANDLES: Final = 20_000
_TRIALS: Final = 200
_ROUNDS: Final = 3
_TARGETS: Final = {"two processes": 1.8, "two Dask workers": 1.7}
_MINUTE_NS: Final = 60_000_000_000
_BEGIN_NS: Final = 1_577_836_800_000_000_000
_SPACE: Final = {"fast": (3, 30), "slow": (40, 120), "confirmation": [1, 2, 3]}


def main() -> None:
    """Measure and print."""
    given = [int(one) for one in sys.argv[1:]]
    candles, trials, rounds = (*given, *(_CANDLES, _TRIALS, _ROUNDS)[len(given) :])
    prices = lab.load(_walk(candles), symbol="X")
    memory = _noting_memory()
    took: dict[str, list[float]] = {name: [] for name in _WAYS}
    bests = set()
    for _ in range(rounds):
        for name, way in _WAYS.items():
            with way() as how:
                begun = time.perf_counter()
                found = lab.sweep("sma", prices, _SPACE, metric="pnl", trials=trials, gates=[], **how)
                took[name].append(time.perf_counter() - begun)
            assert found.best is not None
            bests.add((found.best.number, found.best.value, found.trials[found.best.number].pnl))
    assert len(bests) == 1, f"not the same best each way: {bests}"
    alone = took["one process"]
    print(f"{trials} trials over {candles:,} candles, best {bests.pop()}")
    for name, seconds in took.items():
        ratio = statistics.median(one / other for one, other in zip(alone, seconds, strict=True))
        target = f"; target ≥ {_TARGETS[name]}" if name in _TARGETS else ""
        print(f"{name}: {statistics.median(seconds):.2f} s, {ratio:.2f} times as fast as one{target}")
    print(f"memory of a worker: {max(memory['VmHWM']):,} KiB at most, {max(memory['Private']):,} KiB of it its own")


def _walk(count: int) -> dict[str, list[Any]]:
    rng, price = random.Random(7), 30_000.0
    columns: dict[str, list[Any]] = {key: [] for key in ("time", "open", "high", "low", "close", "volume")}
    for at in range(count):
        opened, price = price, round(price * (1.0 + rng.gauss(0.0, 0.0008)), 1)
        row = (_BEGIN_NS + at * _MINUTE_NS, opened, max(opened, price) + 3.0, min(opened, price) - 3.0, price, 5.0)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns


def _noting_memory() -> dict[str, list[int]]:
    """Note what the workers of a sweep held, in KiB, when it ends. Linux only; elsewhere nothing is noted."""
    found: dict[str, list[int]] = {"VmHWM": [0], "Private": [0]}
    close = Processes.close

    def noting(self: Processes) -> None:
        for pid in self.pids:
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/status").read_text() + Path(f"/proc/{pid}/smaps_rollup").read_text()
                found["VmHWM"].append(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]))
                found["Private"].append(sum(map(int, re.findall(r"Private_\w+:\s+(\d+)", text))))
        close(self)

    Processes.close = noting  # type: ignore[method-assign]
    return found


@contextlib.contextmanager
def _processes(number: int) -> Iterator[dict[str, Any]]:
    yield {"workers": number}


@contextlib.contextmanager
def _dask() -> Iterator[dict[str, Any]]:
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--no-dashboard", "--host", "127.0.0.1"]
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *flags]
        started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder)]
        try:
            lines = started[0].stderr
            assert lines is not None
            address = next(at[0] for line in lines if (at := re.search(r"tcp://127\.0\.0\.1:\d+", line)))
            for _ in range(2):
                worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, *flags, "--nthreads", "1"]
                started.append(
                    subprocess.Popen(
                        [*worker, "--no-nanny"], stderr=subprocess.DEVNULL, text=True, cwd=folder, env=environment
                    )
                )
            client_of: Any = importlib.import_module("distributed").Client
            with client_of(address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            yield {"scheduler": address}
        finally:
            for process in started:
                process.kill()
                process.wait()


_WAYS: Final[dict[str, Callable[[], contextlib.AbstractContextManager[dict[str, Any]]]]] = {
    "one process": partial(_processes, 1),
    "two processes": partial(_processes, 2),
    "two Dask workers": _dask,
}


if __name__ == "__main__":
    main()
