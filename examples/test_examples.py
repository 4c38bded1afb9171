"""Each example runs as its header says, in an empty folder, within seconds."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLUGIN = HERE / "02_a_strategy_in_one_file"
LAB = "from lab_command import main; main()"
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run Python in an empty folder; return what it printed. Nothing of the caller's lab settings is seen."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LAB_", "PYTEST_", "COV_"))}

    def call(*args: object, path: str = "") -> str:
        finished = subprocess.run(
            [sys.executable, *map(str, args)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            env={**environment, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        )  # fmt: skip
        assert finished.returncode == 0, f"{args}: exit code {finished.returncode}\n{finished.stdout}{finished.stderr}"
        assert not finished.stderr, finished.stderr
        return finished.stdout

    return call


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """The search path of an environment that has the plugin: its source and what an installer writes beside it."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path / "site"
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["lab"].items())
    (info / "entry_points.txt").write_text(f"[lab]\n{points}", encoding="utf-8")
    return os.pathsep.join((str(site), str(PLUGIN / "src")))


def test_a_csv_leads_to_trades_and_a_page(run: Run, tmp_path: Path) -> None:
    told = run(HERE / "01_backtest_a_csv.py")
    found = re.search(r"600 candles, (\d+) fills, (\d+) trades", told)
    assert found, told
    assert int(found[2]) >= 3, told
    assert re.search(r"^(long|short) [\d.]+ from [\d.]+ to [\d.]+: ", told, re.MULTILINE), told
    assert "600 candles of BTCUSDT" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not (tmp_path / "runs").exists()


def test_the_journal_alone_gives_the_equity_of_the_report(run: Run) -> None:
    told = run("-c", LAB, "backtest", "btcusd-1m", "--symbol", "BTCUSD", "--json")
    checked = run(HERE / "05_read_a_journal.py")
    assert f"sma: recomputed {json.loads(told)['ending_equity']}" in checked
    assert checked.rstrip().endswith("equal")


def test_an_indicator_of_another_library_is_traded_on(run: Run) -> None:
    pytest.importorskip("talipp")
    told = run(HERE / "06_an_indicator_library.py")
    assert re.findall(r"^RSI (\d+): [1-9]\d* trades", told, re.MULTILINE) == ["5", "7", "14"], told


def test_two_symbols_are_traded_by_one_strategy(run: Run) -> None:
    told = run(HERE / "08_two_symbols.py")
    assert re.search(r"^BTCUSD: [1-9]\d* trades", told, re.MULTILINE), told
    assert re.search(r"^OTHERUSD: [1-9]\d* trades", told, re.MULTILINE), told


def test_a_sweep_names_its_best_and_what_speaks_against_it(run: Run) -> None:
    pytest.importorskip("optuna")
    told = run(HERE / "09_a_sweep.py")
    assert "12 settings, the best: {'fast': " in told
    assert "  chosen: the best of 12 different settings" in told
    assert "walking forward over 6 windows:" in told


def test_a_run_is_asked_in_sql(run: Run) -> None:
    for module in ("polars", "duckdb", "pyarrow"):
        pytest.importorskip(module)
    told = run(HERE / "07_query_a_run_with_sql.py")
    assert "candle_open" in told
    assert re.search(r"deepest drawdown at a close: -\d+\.\d\d %", told), told


def test_a_csv_of_ones_own_is_read(run: Run, tmp_path: Path) -> None:
    rows = [f"{1_704_067_200 + 60 * n},100,101.25,98.75,100.01,1" for n in range(40)]
    own = tmp_path / "own.csv"
    own.write_text("\n".join(["time,open,high,low,close,volume", *rows]) + "\n", encoding="utf-8")
    assert "40 candles, 0 fills" in run(HERE / "01_backtest_a_csv.py", own)


def test_a_third_partys_strategy_is_found_by_its_entry_point_and_trades(run: Run, installed: str) -> None:
    shown = run("-c", LAB, "plugins", "breakout", path=installed)
    assert "strategy breakout  (lab-breakout 0.1.0)" in shown
    assert "breakout.window" in shown
    chosen = ("--provider", "mock", "--set", "mock.minutes=240", "--strategy", "breakout")
    told = run("-c", LAB, "backtest", *chosen, path=installed)
    trades = re.search(r"^trades +(\d+)$", told, re.MULTILINE)
    assert trades, told
    assert int(trades[1]) >= 2, told
    assert "identical" in run("-c", LAB, "verify", path=installed)


def test_a_third_partys_strategy_keeps_its_contract(run: Run, installed: str) -> None:
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PLUGIN, PLUGIN / "tests", path=installed)
    passed = re.search(r"(\d+) passed", told)
    assert passed, told
    assert int(passed[1]) > 10, told


def test_a_provider_of_five_coroutines_is_traded_on(run: Run) -> None:
    told = run(HERE / "03_a_provider_with_five_coroutines.py")
    found = re.search(r"completed: (\d+) quotes, (\d+) candles, (\d+) fills", told)
    assert found, told
    assert int(found[1]) > 3_500, told
    assert int(found[2]) >= 59, told
    assert int(found[3]) >= 2, told


def test_two_sessions_in_virtual_time_write_the_same_bytes(run: Run) -> None:
    first, second, rest = run(HERE / "04_a_session_in_virtual_time.py", 3).splitlines()
    assert re.fullmatch(r"first +[0-9a-f]{64}", first), first
    assert first.split()[1] == second.split()[1]
    assert "fills each" in rest


def test_each_example_says_its_one_point_and_how_to_run_it() -> None:
    examples = sorted(path for path in HERE.iterdir() if re.match(r"\d\d_", path.name))
    assert [path.name[:2] for path in examples] == [f"{number:02d}" for number in range(1, len(examples) + 1)]
    for path in examples:
        text = (path / "pyproject.toml" if path.is_dir() else path).read_text(encoding="utf-8")
        assert "│ The point: " in text, path
        assert "│ Run it" in text, path
