"""The command line with columns that were kept of a file: the same run, whether they are there or not."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from lab.domain.time import SECOND_NS, parse_time

ROWS = 40_000
COMMAND = ("backtest", "prices.csv", "--reporter", "none", "--set", "max_daily_loss.lasts=day")


@pytest.fixture
def cache(lab: Any) -> Path:
    return Path(lab.environment["LAB_CACHE_DIR"])


@pytest.fixture
def prices(lab: Any) -> Path:
    """A file of candles that is just long enough to be kept, with a gap, on which the crossover trades."""
    begin_s, rows = parse_time("2024-01-01") // SECOND_NS, []
    for n in range(ROWS):
        price = 40_000 + (n % 90) * 7.5 - (n % 77) * 6.25
        rows.append(f"{begin_s + 60 * (n + n // 30_000)},{price},{price + 20},{price - 20},{price + n % 7},{n / 8}000")
    path: Path = lab.folder / "prices.csv"
    path.write_text("time,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    assert path.stat().st_size > 2 << 20
    return path


def test_the_journal_is_the_same_byte_by_byte_with_kept_columns_and_without(
    lab: Any, prices: Path, cache: Path
) -> None:
    def journal() -> list[Any]:
        assert lab(*COMMAND).code == 0
        rows = lab.run().raw()
        last = lab.run().rows("run_ended")[0][2]
        assert last["session"]["counters"]["inputs"] == ROWS
        return [row[:-1] for row in rows if row[3] != "run_ended"]  # which has the duration

    cold = journal()
    assert len(cold) > 1000
    (kept,) = cache.iterdir()
    before = kept.stat().st_ino
    assert journal() == cold, "warm"
    assert kept.stat().st_ino == before
    assert lab("verify", "latest").code == 0
    kept.unlink()
    kept.mkdir()  # so that nothing can be kept under its name
    assert journal() == cold, "without"


@pytest.mark.behaviour("S7")
def test_no_write_keeps_nothing_of_a_file_and_uses_what_is_kept(lab: Any, prices: Path, cache: Path) -> None:
    first = lab(*COMMAND, "--no-write", "--json")
    assert not cache.exists()
    assert lab.files() == ["prices.csv"]
    assert lab(*COMMAND, "--json").code == 0
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    damaged = lab(*COMMAND, "--no-write", "--json")
    assert damaged.err == f"lab: kept columns {kept}: its end is damaged; not used\n"
    same = [key for key in first.json() if key not in {"run_id", "duration_seconds", "started", "finished"}]
    assert [damaged.json()[key] for key in same] == [first.json()[key] for key in same]


def test_the_variable_is_no_setting_and_the_setting_switches_it_off(lab: Any, prices: Path, cache: Path) -> None:
    result = lab(*COMMAND, "--json", "--set", "replay.keep=false", env={"LAB_COMPILED": "1"})
    assert (result.code, result.err) == (0, "")
    assert not cache.exists()
    assert lab(*COMMAND, "--json", env={"LAB_REPLAY_KEEP": "false"}).code == 0
    assert not cache.exists()


def test_two_processes_that_read_a_file_at_once_keep_one_whole_set(lab: Any, prices: Path, cache: Path) -> None:
    command = lab.command(*COMMAND, "--no-orders", "--json")
    processes = [
        subprocess.Popen(
            command, cwd=lab.folder, env={**lab.environment, "LAB_RUN_STATE_DIR": str(lab.folder / str(n))},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for n in range(2)
    ]  # fmt: skip
    outcomes = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert [(err, code) for _, err, code in outcomes] == [("", 0)] * 2
    (kept,) = cache.iterdir()
    before = kept.stat().st_ino
    assert lab(*COMMAND, "--json").err == ""
    assert kept.stat().st_ino == before, "it was whole"


BOLD = '''
"""A provider that keeps a diary, and one that can't be told."""
from pathlib import Path
from attrs import define, field
from lab import hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True)
class Diary(MockProvider):
    told: bool = field(init=False, default=False)
    def leave_no_file(self):
        self.told = True
    def origin(self):
        if not self.told:
            Path("diary.txt").write_text("dear diary")
        return "a diary"

@define(kw_only=True)
class Deaf(MockProvider):
    def leave_no_file(self):
        raise OSError("what?")

@hookimpl
def lab_providers():
    return {"diary": Diary, "deaf": Deaf}
'''


def test_a_provider_is_told_before_anything_else_that_nothing_may_be_left_behind(
    lab: Any, site: Any, one_line: Any
) -> None:
    site.install("their_bold", BOLD)
    run = ("backtest", "--provider", "diary", "--set", "diary.minutes=3", "--reporter", "none")
    assert lab(*run, "--no-write").code == 0
    assert lab.files() == []
    assert lab(*run).code == 0
    assert "diary.txt" in lab.files()
    one_line(lab("backtest", "--provider", "deaf", "--no-write"), 69, "deaf: its leave_no_file fails: OSError: what?")


def test_a_folder_that_was_named_and_cannot_be_used_is_said_once(lab: Any) -> None:
    path = lab.folder / "long.csv"
    lines = (f"{1_704_067_200 + 60 * n},100.00000000,101.00000000,99.00000000,100.50000000,5" for n in range(50_000))
    path.write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n", encoding="utf-8")
    (lab.folder / "a_file").write_text("not a folder")
    arguments = ("backtest", "long.csv", "--reporter", "none", "--no-orders", "--set", "replay.tick=0.01")
    result = lab.process(*arguments, env={"LAB_CACHE_DIR": str(lab.folder / "a_file")})
    assert result.code == 0, result
    [line] = result.err.splitlines()
    assert line == (f"lab: LAB_CACHE_DIR: {lab.folder / 'a_file'}: File exists; the columns of the file are not kept")


def test_settings_that_leave_nothing_to_play_are_refused_by_name(lab: Any, one_line: Any) -> None:
    path = lab.folder / "short.csv"
    lines = (f"{1_704_067_200 + 60 * n},100,101,99,100.5,5" for n in range(200))
    path.write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n", encoding="utf-8")
    backtest = ("backtest", "short.csv", "--reporter", "none")
    one_line(lab(*backtest, "--set", "replay.warmup=500"), 78, "200 candles; with warmup=500 none is left to play")
    one_line(lab(*backtest, "--set", "replay.interval=5m"), 78, "not on the 5m grid", "leave replay.interval out")
    ticks = lab.folder / "ticks.csv"
    ticks.write_text(
        "time,bid,bid_size,ask,ask_size,price,size,side\n1704067200000,1,1,2,1,,,\n1704067201000,,,,,1,1,buy\n"
    )
    one_line(lab("backtest", "ticks.csv"), 78, "ticks.csv:3", "bid '' is not a number", "needs the column kind")


def test_prices_below_the_finest_tick_are_refused_with_the_file(lab: Any, one_line: Any) -> None:
    (lab.folder / "tiny.csv").write_text("time,open,high,low,close\n1704067200,1.5e-18,1.5e-18,1.5e-18,1.5e-18\n")
    one_line(
        lab("backtest", "tiny.csv", "--interval", "1m", "--set", "replay.interval=1m"),
        78,
        "tiny.csv",
        "finest there is",
    )
