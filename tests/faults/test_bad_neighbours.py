"""Strategies that are slow, or eat memory, beside one that is sound; sessions and programs that want the same files."""

import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from steady import RUN, causes, fills, proved, rows, wait_for

STRATEGIES: Final = '''
import time
from attrs import define, field
from lab import OrderRequest, Strategy, hookimpl
from their_steady import Counter

class Idle(Strategy):
    lookback = 0

    def on_candle(self, candle, view):
        return []

@define(kw_only=True)
class Slow(Idle):
    """Takes a fifth of a second for each quote, fifty times as long as they take to come."""

    def on_quote(self, quote, view):
        time.sleep(0.2)
        return []

@define(kw_only=True)
class Greedy(Idle):
    """Keeps ten megabytes for each quote, and never lets go of one."""
    kept: list = field(init=False, factory=list)

    def on_quote(self, quote, view):
        self.kept.append(bytearray(10 << 20))
        return []

@define(kw_only=True)
class Flood(Idle):
    """Wants a thousand orders at each quote."""

    def on_quote(self, quote, view):
        return [OrderRequest.buy(quote.symbol, 1 / 1000) for _ in range(1000)]

@hookimpl
def lab_strategies():
    return {"slow": Slow, "greedy": Greedy, "flood": Flood}
'''


@pytest.fixture
def neighbours(lab: Any, steady: Any) -> None:
    steady.install("their_neighbours", STRATEGIES)


@pytest.fixture
def session(lab: Any, steady: Any) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, provider: str = "steady", memory: int | None = None) -> "subprocess.Popen[str]":
        limit = (lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))) if memory else None
        command = lab.command(*[provider if one == "steady" else one for one in RUN], *args)
        process = subprocess.Popen(
            command, cwd=lab.folder, env=lab.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=limit,  # noqa: PLW1509 - no thread is there
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]", code: int) -> str:
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, (out, err)
    return err


def resident_mb(process: "subprocess.Popen[str]") -> float:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.behaviour("F4", "S2", "S3")
def test_a_strategy_that_is_slower_than_the_market_sees_the_newest_quotes_and_memory_stays(
    lab: Any, session: Any, neighbours: None, piped: None
) -> None:
    process = session("--strategy", "slow", "--minutes", "5", provider="piped")
    wait_for(lambda: fills(lab) > 0)
    before = resident_mb(process)
    time.sleep(2.0)  # what is to be borne takes time
    assert resident_mb(process) < before + 8
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    ended(process, 0)
    assert time.monotonic() - began < 5
    report = lab.run().report()
    assert report["counters"]["conflated_quotes"] > 5 * report["quotes"]
    assert causes(lab.run())
    proved(lab)


@pytest.mark.behaviour("F4", "S5")
def test_a_strategy_that_eats_the_memory_is_stopped_and_the_other_trades_on(
    lab: Any, session: Any, neighbours: None
) -> None:
    process = session("--strategy", "greedy", "--minutes", "5", memory=1 << 30)
    wait_for(lambda: rows(lab, "strategy_stopped"))
    known = fills(lab)
    wait_for(lambda: fills(lab) > known + 3)
    process.send_signal(signal.SIGTERM)
    err = ended(process, 0)
    assert "MemoryError" in err
    assert lab("audit").code == 0
    assert "a component is not deterministic" in lab("verify").out, "memory is no input"


@pytest.mark.behaviour("S8")
def test_of_many_sessions_that_start_at_once_in_a_state_directory_one_runs(lab: Any, session: Any) -> None:
    processes = [session("--minutes", "5") for _ in range(4)]
    wait_for(lambda: sum(one.poll() is not None for one in processes) == 3)
    wait_for(lambda: fills(lab) > 1)
    [alive] = [one for one in processes if one.poll() is None]
    for process in processes:
        if process is not alive:
            assert "another session is running there" in ended(process, 75)
    alive.send_signal(signal.SIGTERM)
    ended(alive, 0)
    assert len(list(lab.folder.glob("runs/2*"))) == 1
    proved(lab)


@pytest.mark.behaviour("J3")
@pytest.mark.parametrize("seconds", [3.0, pytest.param(30.0, marks=pytest.mark.night)])
def test_readers_that_keep_a_journal_open_and_hammer_it_stop_nothing_and_its_log_stays_small(
    lab: Any, session: Any, seconds: float
) -> None:
    process = session("--speed", "2", "--minutes", "60")
    wait_for(lambda: fills(lab) > 3)
    journal = lab.run().folder / "journal.db"
    held = sqlite3.connect(f"file:{journal}?mode=ro", uri=True, isolation_level=None)
    held.execute("BEGIN")
    held.execute("SELECT count(*) FROM event").fetchone()  # a snapshot that is kept
    known, until = fills(lab), time.monotonic() + seconds
    while time.monotonic() < until:
        assert lab("report", "--json").code == 0
    assert fills(lab) > known
    assert journal.with_name("journal.db-wal").stat().st_size < 16 << 20
    held.close()
    process.send_signal(signal.SIGTERM)
    ended(process, 0)
    assert not any("journal_waited" in one for one in lab.run().report()["degradations"])
    proved(lab)


@pytest.mark.night
@pytest.mark.behaviour("J3")
def test_a_program_that_holds_the_journal_for_half_a_minute_is_waited_for(lab: Any, session: Any) -> None:
    process = session("--minutes", "5")
    wait_for(lambda: fills(lab) > 3)
    other = sqlite3.connect(lab.run().folder / "journal.db", isolation_level=None, timeout=10)
    other.execute("BEGIN EXCLUSIVE")
    time.sleep(30.0)  # what is to be survived takes time
    other.execute("ROLLBACK")
    other.close()
    known = fills(lab)
    wait_for(lambda: fills(lab) > known)
    process.send_signal(signal.SIGTERM)
    ended(process, 0)
    proved(lab)
