"""A run that was killed gets its report at the next start; what it lost that day counts in the run that restarts it."""

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest
from attrs import frozen
from lab.domain.orders import OrderRequest
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.errors import JournalError
from lab.journal.reader import JournalReader
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.state import end_state
from lab.journal.store import Journal
from lab.records.run import RunState, SessionState
from lab.runs.cut_off import finalize_interrupted
from lab.runs.directory import create, run_label
from lab.runs.lock import try_lock
from lab.runs.previous import is_running, running
from lab.runs.restart import taken_over
from lab.testing import START_NS, ScriptedStrategy, candles, engine_with
from lab.testing.sample_runs import run_started

LIMIT = Decimal("0.5")  # a trade costs 0.3
SESSION = (
    "run", "--provider", "mock", "--strategy", "trader", "--set", "trader.need=1",
    "--set", f"max_daily_loss.usd={LIMIT}", "--set", "max_daily_loss.lasts=day",
)  # fmt: skip


@frozen
class Killed:
    """A run that got SIGKILL after its first trades."""

    folder: Path
    lost: Decimal


@pytest.fixture
def process(lab: Any, trader: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a session that trades on every candle, five a second."""
    command = lab.command(*SESSION, "--speed", "300", "--minutes", "3000")
    environment = {**lab.environment, **lab.see(trader)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=lab.folder, env=environment, stdout=quiet, stderr=quiet)
    yield process
    process.kill()
    process.wait()


def state_of(folder: Path) -> RunState | None:
    """Return what a running session has committed, nothing before it began."""
    try:
        reader = JournalReader.open(folder)
    except JournalError:
        return None
    try:
        return reader.run_state()
    finally:
        reader.close()


def folder_with(lab: Any, count: str) -> Path:
    """Wait until the running session has counted one of these, and return its folder; in vain is a failure."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for folder in lab.folder.glob("runs/2*"):
            state = state_of(folder)
            if state is not None and getattr(state.totals, count):
                return Path(folder)
        time.sleep(0.05)
    raise AssertionError(f"the session never had any {count}")


@pytest.fixture
def killed(lab: Any, process: subprocess.Popen[bytes]) -> Killed:
    folder = folder_with(lab, "refusals")
    process.kill()
    process.wait()
    state = state_of(folder)
    assert state is not None
    lost = state.day_starting_equity - state.equity
    assert lost >= LIMIT
    return Killed(folder, lost)


def restart_in(report: dict[str, Any]) -> str:
    """Return what a report says of the run that it restarts, an empty text where it restarts none."""
    return next((text for text in report["degradations"] if text.startswith("restarted")), "")


def again(lab: Any, *args: str) -> Any:
    result = lab(*SESSION, "--speed", "max", "--minutes", "5", *args)
    assert "Traceback" not in result.err
    return result


@pytest.mark.behaviour("V1")
def test_the_next_start_writes_the_report_of_a_run_that_was_killed(lab: Any, killed: Killed) -> None:
    assert not (killed.folder / "final_report.json").exists()
    result = again(lab)
    assert f"{killed.folder.name} was cut off" in result.err
    report = json.loads((killed.folder / "final_report.json").read_text(encoding="utf-8"))
    assert (report["status"], report["reason"], report["schema_version"]) == ("failed", "unfinished", 2)
    assert report["fills"] >= 2
    assert Decimal(report["pnl_absolute"]) == -killed.lost
    assert not again(lab).err


@pytest.mark.behaviour("V1", "S7")
def test_a_run_that_is_alive_is_left_alone(lab: Any, process: subprocess.Popen[bytes]) -> None:
    folder = folder_with(lab, "fills")
    assert "running" in lab("runs").out
    assert again(lab).code == 75
    assert not (folder / "final_report.json").exists()


@pytest.mark.behaviour("S8")
def test_a_run_that_somebody_looks_at_while_it_begins_is_still_known_to_be_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking: list[IO[bytes]] = []

    def looked_at(file: IO[bytes]) -> bool:
        if not looking:
            looking.append((tmp_path / "running").open("r+b"))
            assert try_lock(looking[0])
        return try_lock(file)

    monkeypatch.setattr("lab.runs.previous.try_lock", looked_at)
    monkeypatch.setattr("lab.runs.previous.time.sleep", lambda _: looking[0].close())
    with running(tmp_path):
        assert is_running(tmp_path)
    assert not is_running(tmp_path)


@pytest.mark.behaviour("V1")
def test_a_backtest_that_still_runs_is_not_taken_for_one_that_was_cut_off(lab: Any) -> None:
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=30", "--reporter", "none").code == 0
    folder = lab.run().folder
    report = folder / "final_report.json"
    report.unlink()
    with running(folder):
        assert finalize_interrupted(lab.folder).finished == []
        assert not report.exists()
    assert finalize_interrupted(lab.folder).finished == [folder.name]
    assert report.exists()


@pytest.mark.behaviour("R1", "J6")
def test_what_a_killed_run_lost_today_counts_in_its_restart_and_in_every_later_run_of_that_day(
    lab: Any, killed: Killed
) -> None:
    """The killed run had reached the limit: no run places anything more on that day, and each is proved."""
    again(lab)
    report = lab.run().report()
    assert restart_in(report).startswith(f"restarted {killed.folder.name}: a loss of {killed.lost:.2f} on 20")
    assert restart_in(report).endswith(" is carried over")
    assert report["fills"] == 0
    assert report["refusals"] > 0
    assert "the day's loss" in report["no_trade_reason"]
    assert lab("verify", "latest").code == 0
    again(lab)
    report = lab.run().report()
    assert (report["fills"], restart_in(report)) == (0, "")
    assert f"earlier_runs: a loss of {killed.lost:.2f} on 20" in str(report["degradations"])
    assert lab("verify", "latest").code == 0


@pytest.mark.behaviour("R1")
def test_a_run_with_other_settings_restarts_nothing_and_yet_the_days_loss_counts(lab: Any, killed: Killed) -> None:
    assert again(lab, "--set", "trader.quantity=0.02").code == 0
    report = lab.run().report()
    assert (report["fills"], restart_in(report)) == (0, "")
    assert "the day's loss" in report["no_trade_reason"]
    assert again(lab, "--set", "mock.begin=2024-03-01T00:00:00Z").code == 0
    assert lab.run().report()["fills"] > 0, "another day"


def _many_other_runs(lab: Any, number: int) -> None:
    """Run once and copy that run's folder: later runs of another kind, as a sweep leaves them."""
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=40").code == 0
    made = lab.run().folder
    for copy in range(number):
        shutil.copytree(made, made.with_name(f"{made.name}-{copy + 2}"))


@pytest.mark.behaviour("R1", "V1")
def test_a_killed_run_is_found_behind_any_number_of_later_runs(lab: Any, killed: Killed) -> None:
    _many_other_runs(lab, 60)
    assert f"{killed.folder.name} was cut off" in again(lab).err
    assert (killed.folder / "final_report.json").exists()
    assert restart_in(lab.run().report())


@pytest.mark.behaviour("V1")
def test_a_report_written_while_the_run_was_alive_is_written_again_after_it_was_killed(
    lab: Any, one_line: Any, process: subprocess.Popen[bytes]
) -> None:
    folder = folder_with(lab, "fills")
    one_line(lab("report", "--write"), 75, folder.name, "still running", "--write")
    assert not (folder / "final_report.json").exists()
    (folder / "final_report.json").write_text('{"fills": -1}', encoding="utf-8")  # as older versions allowed
    (folder / ".final_report.json.123").write_text("half", encoding="utf-8")
    process.kill()
    process.wait()
    assert "was cut off" in again(lab).err
    report = json.loads((folder / "final_report.json").read_text(encoding="utf-8"))
    assert (report["reason"], report["fills"] >= 1) == ("unfinished", True)
    assert {path.name for path in folder.iterdir()} >= {"journal.db", "final_report.json"}
    assert not list(folder.glob(".final_report*"))
    assert not again(lab).err, "once is enough"


@pytest.mark.behaviour("S8", "J2")
def test_a_damaged_run_that_was_killed_blocks_no_later_start(lab: Any, killed: Killed) -> None:
    with sqlite3.connect(killed.folder / "journal.db") as db:
        db.execute("UPDATE event SET body = '[]' WHERE kind = 'candle'")
        db.execute("UPDATE state SET body = '[]'")
    db.close()
    for command in (("runs",), ("report", killed.folder.name), ("verify", killed.folder.name)):
        result = lab(*command)
        assert "Traceback" not in result.err
        assert result.code in {0, 1, 74}, result
    assert again(lab).code == 0
    assert not killed.folder.exists()
    aside = killed.folder.parent / "quarantine" / killed.folder.name
    assert "was changed after it was written" in (aside / "damage.txt").read_text(encoding="utf-8")
    assert f"quarantined {killed.folder.name}: " in str(lab.run().report()["degradations"])


BROKEN = """
    from attrs import define
    from decimal import Decimal
    from lab import Candle, hookimpl
    from lab_mock.provider import MockProvider

    @define(kw_only=True)
    class Ending(MockProvider):
        async def stream(self, wanted, sink):
            class Counting:
                seen = 0
                def __getattr__(self, name):
                    return getattr(sink, name)
                def put(self, event):
                    sink.put(event)
                    Counting.seen += isinstance(event, Candle)
                    if Counting.seen > 12:
                        raise KeyError("the provider's own defect")
            await super().stream(wanted, Counting())

    @hookimpl
    def lab_providers():
        return {"ending": Ending}
"""


@pytest.mark.behaviour("R1")
def test_a_run_that_ended_by_a_defect_is_restarted_with_what_it_lost_and_replayed_with_it(
    lab: Any, trader: Any, site: Any
) -> None:
    site.install("their_ending", BROKEN)
    args = ("run", "--provider", "ending", *SESSION[3:], "--speed", "max", "--minutes", "30")
    assert lab(*args).code == 69
    first = lab.run().report()
    lost = -Decimal(first["pnl_absolute"])
    assert lost > 0
    assert lab(*args).code == 69
    second = lab.run().report()
    assert restart_in(second)
    carried = lab.run().rows("run_started")[0][2]["carried_loss"]
    assert Decimal(carried["lost"]) == lost
    assert lab("replay", "latest").code == 0
    assert lab.run().rows("run_started")[0][2]["carried_loss"] == carried
    replayed = lab.run().report()
    assert (replayed["fills"], replayed["refusals"]) == (second["fills"], second["refusals"])
    assert lab("verify", "latest").code == 0


@pytest.mark.behaviour("R1")
@pytest.mark.parametrize("interval_ns", [MINUTE_NS, DAY_NS], ids=["1m", "1d"])
def test_what_a_days_last_candle_lost_is_carried_over_to_that_day_though_it_became_known_on_the_next(
    tmp_path: Path, interval_ns: int
) -> None:
    started = run_started(interval_ns=interval_ns)
    folder = create(tmp_path, run_label(0, started.provider.name, "tested"))
    (folder / FIRST_SEGMENT).touch()
    buyer = ScriptedStrategy(plan={0: [OrderRequest.buy("BTCUSDT", Decimal(1))]})
    engine = engine_with({"tested": buyer}, interval_ns=interval_ns, config_hash=started.config_hash)
    journal = Journal(folder, durable=True, labels={})
    journal.append_record(started, 0, 0)
    first_ns = START_NS + DAY_NS - 3 * interval_ns
    prices = [50_000.0, 50_000.0, 49_000.0]
    for number, candle in enumerate(candles(prices, start_ns=first_ns, interval_ns=interval_ns), 1):
        journal.append(engine.step(candle), engine.state.now_ns, number)
    assert engine.state.now_ns == START_NS + DAY_NS
    journal.commit(end_state(engine, SessionState()))
    journal.close()
    taken = taken_over(tmp_path, started, "20240101T")
    assert taken.run == folder.name
    assert taken.loss.lost >= 1_000
    assert taken.loss.day_ns == START_NS
