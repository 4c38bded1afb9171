"""Sessions by the real clock, over real sockets, as a user starts them: in a process of its own."""

import subprocess
from decimal import Decimal
from typing import Any

import pytest

RUN = ("run", "--provider", "bitunix", "--set", "bitunix.venue=local", "--strategy", "sma")


@pytest.mark.behaviour("S1")
def test_a_session_runs_as_long_as_it_was_told_to_and_ends_by_itself(lab: Any) -> None:
    result = lab.process(*RUN, "--minutes", "0.1")
    assert result.code == 0, result
    report = lab.run().report()
    assert (report["status"], report["reason"], report["exit_code"]) == ("completed", "completed", 0)
    assert report["duration_seconds"] == pytest.approx(6, abs=1)
    assert report["quotes"] >= 5
    assert lab.run().rows("command")[-1][2][3] == "completed"


@pytest.mark.realtime
@pytest.mark.timeout(700)
@pytest.mark.behaviour("S1", "S9", "V1")
def test_ten_minutes_in_real_time_trade_on_the_recording_and_are_proved_afterwards(lab: Any) -> None:
    command = lab.command(*RUN, "--minutes", "10")
    done = subprocess.run(
        command, cwd=lab.folder, env=lab.environment, capture_output=True, text=True, timeout=660, check=False
    )
    assert done.returncode == 0, done
    report = lab.run().report()
    assert (report["provider"], report["reason"], report["error_count"]) == ("bitunix", "completed", 0)
    assert report["duration_seconds"] == pytest.approx(600, abs=1)
    assert report["candles"] >= 9
    assert report["decisions"] >= 1
    assert report["fills"] >= 1
    assert len(lab.run().rows("order_filled")) == report["fills"]
    equity = Decimal(lab.run().rows("run_ended")[-1][2]["equity"])
    assert Decimal(report["ending_equity"]) == equity
    assert lab.process("verify", "latest").code == 0
