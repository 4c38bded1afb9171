"""Sweeps in worker processes: the same trials, workers that are killed, scripts and Ctrl-C; and Dask's workers."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab as library
import pytest
from lab.errors import LabError
from lab.research.pickling import dumped
from lab.research.workers import Processes
from sweeping import PLAIN, columns, rows, strategy_file

SPACE = {"fast": (2, 5), "slow": (6, 12, 3)}
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")


def sweep(folder: Path, **more: Any) -> Any:
    given = {"metric": "pnl", "data": columns(), "space": SPACE, **PLAIN, **more}
    return library.sweep(f"{strategy_file(folder)}:Waves", **given)


@pytest.mark.behaviour("L4")
@posix_only
def test_a_worker_that_is_killed_loses_its_own_trial_which_is_begun_once_more(tmp_path: Path) -> None:
    marker = {"waves.kills": 5, "waves.kills_once": 3, "waves.marker": str(tmp_path / "marker")}
    settings = {**PLAIN["settings"], **marker}  # type: ignore[dict-item]
    alone = rows(sweep(tmp_path))
    found = sweep(tmp_path, workers=2, settings=settings)
    assert (tmp_path / "marker").exists(), "a worker was killed on its first trial with fast = 3"
    assert [row for row in rows(found) if row[3] != 5] == [row for row in alone if row[3] != 5]
    assert {(row.state, row.error) for row in found.trials if row.fast == 5} == {
        ("failed", "its worker died 2 times (SIGKILL)")
    }
    drawn = sweep(tmp_path, workers=2, trials=12, space={"bias": (0.0, 9.0)})
    assert rows(drawn) == rows(sweep(tmp_path, trials=12, space={"bias": (0.0, 9.0)})), "the same to the last digit"


SCRIPT = '''
"""A script without a guard, whose strategy is in it; the trial with fast = 7 interrupts it the first time."""

import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

import lab
from attrs import define

sys.path.insert(0, "{helpers}")
from sweeping import PLAIN, columns


@define(kw_only=True)
class Mine(lab.Strategy):
    fast: int = 3

    def on_candle(self, candle: lab.Candle, view: lab.View) -> list[lab.OrderRequest]:
        if self.fast == 7 and not Path("marker").exists():
            Path("marker").write_text("interrupted")
            os.kill({parent}, signal.{signal})
        if view.position(candle.symbol).quantity or len(view.candles(candle.symbol)) < self.fast:
            return []
        return [lab.OrderRequest.buy(candle.symbol, Decimal(1))]


def first_price(result: lab.Result) -> float:
    return float(result.fills[0].price)


found = lab.sweep(Mine, columns(), {{"fast": (1, 20)}}, metric=first_price, workers=2, storage="sweep.db", **PLAIN)
print(len(found.trials), found.interrupted, found.best.settings if found.best else None)
'''


@pytest.mark.behaviour("L4")
@posix_only
@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 0), ("SIGKILL", -9)])
def test_a_script_that_is_interrupted_or_killed_goes_on_with_the_same_call(
    tmp_path: Path, signal: str, code: int
) -> None:
    helpers = Path(__file__).parent / "helpers"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(helpers=helpers, parent="os.getppid()", signal=signal), encoding="utf-8")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}

    def run() -> tuple[int, list[str]]:
        command = [sys.executable, script]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.stderr == ""
        return done.returncode, done.stdout.split(maxsplit=2)

    ended, first = run()
    assert ended == code
    if code == 0:
        assert first[1] == "True"
        assert 0 < int(first[0]) < 20, "it ended before all trials had"
    kept = library_rows(tmp_path / "sweep.db")
    assert 0 < len(kept) < 20
    ended, second = run()
    assert (ended, second[:2]) == (0, ["20", "False"])
    assert set(kept) < set(library_rows(tmp_path / "sweep.db")), "what had ended was not run again"
    assert second[2].startswith("{'fast': "), "trials came to something"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["marker", "script.py", "sweep.db", "temporary"]
    assert list(temporary.iterdir()) == []


def library_rows(path: Path) -> list[tuple[int, str]]:
    """Return number and outcome of each trial that a storage has, its seconds included."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        query = "SELECT trial_id, value_json FROM trial_user_attributes WHERE key = 'lab:outcome' ORDER BY trial_id"
        return db.execute(query).fetchall()


def test_workers_that_cannot_load_what_they_are_to_run_say_why(tmp_path: Path) -> None:
    path = tmp_path / "here_only.py"
    path.write_text(
        textwrap.dedent("""
        import os
        if os.environ.get("LAB_SWEEP_WORKER"):
            raise RuntimeError("not here")
        """)
        + strategy_file(tmp_path).read_text(),
        encoding="utf-8",
    )
    with pytest.raises(LabError, match=r"here_only\.py: cannot be imported: RuntimeError: not here \(line 4\)"):
        library.sweep(f"{path}:Waves", columns(), {"fast": [2, 3]}, metric="pnl", workers=2, **PLAIN)


def test_without_cloudpickle_what_is_of_a_script_needs_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local:
        pass

    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    monkeypatch.setattr(Local, "__module__", "__main__")
    with pytest.raises(
        LabError, match="is of a script or a notebook, which the workers do not have; pip install cloudpickle, or put"
    ):
        dumped(Local, [Local])
    assert dumped([1], [library.Candle]) == dumped([1], [])
    with pytest.raises(LabError, match="what the workers need cannot be sent to them"):
        dumped(lambda: 1, [])


def test_no_worker_outlives_its_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    close = Processes.close

    def closing(self: Processes) -> None:
        pids.extend(self.pids)
        close(self)
        assert self.pids == []

    monkeypatch.setattr(Processes, "close", closing)
    sweep(tmp_path, workers=2, space={"fast": [2, 3]}, stopped=lambda: False)
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# -- Dask -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dask_of_two_workers(folder: Path) -> Iterator[str]:
    """Start a scheduler and two workers on loopback, each a process; yield the scheduler's address."""
    flags = ["--no-dashboard", "--host", "127.0.0.1"]
    started = [subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *flags],
        stderr=subprocess.PIPE, text=True, cwd=folder,
    )]  # fmt: skip
    try:
        assert started[0].stderr is not None
        address = next(found[0] for line in started[0].stderr if (found := re.search(r"tcp://127\.0\.0\.1:\d+", line)))
        for _ in range(2):
            more = ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
            command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *flags, *more]
            started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder))
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()
        assert started[0].stderr is not None
        started[0].stderr.close()


@pytest.mark.behaviour("L4")
@posix_only
@pytest.mark.filterwarnings("ignore")
def test_dask_workers_find_the_same_best_when_one_is_killed_on_the_way(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    alone = rows(sweep(tmp_path))
    marker = {"waves.kills_once": 3, "waves.marker": str(tmp_path / "marker")}
    settings = {**PLAIN["settings"], **marker}  # type: ignore[dict-item]
    with dask_of_two_workers(tmp_path) as address:
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=30)
        found = sweep(tmp_path, scheduler=address, settings=settings)
        assert (tmp_path / "marker").exists(), "a worker was killed"
        assert rows(found) == alone
        with pytest.raises(LabError, match="pruner: trials on Dask's workers are not given up"):
            sweep(tmp_path, scheduler=address, pruner="median")
    with pytest.raises(LabError, match=rf"scheduler {address}: no Dask scheduler answers there within 5 s .*start one"):
        sweep(tmp_path, scheduler=address)


def test_without_dask_the_cure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LabError, match=r"scheduler needs Dask: pip install 'lab-trading\[dask\]'"):
        sweep(tmp_path, scheduler="tcp://127.0.0.1:1")
