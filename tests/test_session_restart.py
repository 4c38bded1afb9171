"""A run that was killed gets its report at the next start; what it lost that day counts in the run that restarts it."""

import json
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from lab.errors import JournalError
from lab.journal.store import JournalReader

LIMIT = Decimal("0.5")  # a trade costs 0.3
SESSION = (
    "run", "--provider", "mock", "--strategy", "trader", "--set", "trader.need=1",
    "--set", f"max_daily_loss.usd={LIMIT}",
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


def state_of(folder: Path) -> dict[str, Any] | None:
    """Return what a running session has committed, nothing before it began."""
    try:
        reader = JournalReader.open(folder)
    except JournalError:
        return None
    try:
        found: dict[str, Any] | None = reader.state("run")
        return found
    finally:
        reader.close()


def folder_with(lab: Any, count: str) -> Path:
    """Wait until the running session has counted one of these, and return its folder; in vain is a failure."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for folder in lab.folder.glob("runs/2*"):
            state = state_of(folder)
            if state is not None and state["totals"][count]:
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
    lost = Decimal(state["day_starting_equity"]) - Decimal(state["equity"])
    assert lost >= LIMIT
    return Killed(folder, lost)


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
    assert (report["status"], report["reason"], report["schema_version"]) == ("failed", "unfinished", 1)
    assert report["trades"] >= 2
    assert Decimal(report["pnl_absolute"]) == -killed.lost
    assert not again(lab).err


@pytest.mark.behaviour("V1", "S7")
def test_a_run_that_is_alive_is_left_alone(lab: Any, process: subprocess.Popen[bytes]) -> None:
    folder = folder_with(lab, "trades")
    assert "running" in lab("runs").out
    assert again(lab).code == 75
    assert not (folder / "final_report.json").exists()


@pytest.mark.behaviour("R1", "J6")
def test_what_a_killed_run_lost_today_counts_in_its_restart_and_in_no_later_run(lab: Any, killed: Killed) -> None:
    """The killed run had reached the limit: its restart places nothing more on that day, and is proved like any run."""
    again(lab)
    report = lab.run().report()
    assert f"restarted: the day had lost {killed.lost.normalize():f} before" in report["degradations"]
    assert report["trades"] == 0
    assert report["refusals"] > 0
    assert "the day's loss" in report["no_trade_reason"]
    assert lab("verify", "latest").code == 0
    again(lab)
    report = lab.run().report()
    assert report["trades"] > 0
    assert not any(text.startswith("restarted") for text in report["degradations"])


@pytest.mark.behaviour("R1")
def test_a_run_with_other_settings_restarts_nothing(lab: Any, killed: Killed) -> None:
    assert again(lab, "--set", "trader.quantity=0.02").code == 0
    assert lab.run().report()["trades"] > 0
