"""A disk that takes no more ends a run with 74 and a word about it, never with a traceback."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab.errors import JournalError
from lab.exit_codes import EndReason
from lab.journal.store import Journal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX affair")


@pytest.mark.behaviour("S5", "J4")
@pytest.mark.parametrize("limit", [20_000, 60_000, 120_000], ids=["at once", "early", "midway"])
def test_a_full_disk_ends_the_run_with_74_and_what_was_committed_can_be_read(lab: Any, limit: int) -> None:
    args = ("run", "--provider", "mock", "--speed", "max", "--minutes", "300", "--reporter", "none")
    done = subprocess.run(
        lab.command(*args), cwd=lab.folder, env=lab.environment, capture_output=True, text=True, timeout=60,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr[-1500:]
    assert done.returncode == 74, done
    assert "journal.db" in done.stdout + done.stderr
    report = lab("report", "--json")
    if report.code == 0:
        assert report.json()["status"] == "failed"
        assert report.json()["exit_code"] != 0
    else:
        assert report.code == 74
        assert len(report.err.splitlines()) == 1


@pytest.mark.behaviour("S5")
def test_every_reason_has_the_exit_code_that_is_promised() -> None:
    promised = {
        "completed": 0, "stopped": 0, "unknown": 1, "risk_halt": 2, "never_warmed": 3, "feed_stale": 4,
        "crash_loop": 10, "usage": 64, "plugin_refused": 69, "internal_error": 70, "storage": 74,
        "state_directory_in_use": 75, "configuration": 78, "kill_switch": 99, "interrupted": 130,
    }  # fmt: skip
    assert {reason.code: reason.exit_code for reason in EndReason} == promised
    assert {reason.code for reason in EndReason if reason.status == "failed"} == set(promised) - {
        "completed",
        "stopped",
    }


@pytest.mark.behaviour("J4")
def test_after_a_commit_that_failed_no_row_is_ever_written_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, durable=True, labels={})
    journal.append_raw("notice", None, b"{}", 1, 1)
    journal.commit()
    journal.append_raw("notice", None, b"{}", 2, 2)
    journal.append_raw("deposit", "twice", b"{}", 3, 3)
    journal.append_raw("deposit", "twice", b"{}", 3, 3)
    with pytest.raises(JournalError, match=r"journal\.db: cannot commit"):
        journal.commit()
    journal.append_raw("run_ended", "run_ended", b"{}", 4, 4)
    with pytest.raises(JournalError, match=r"journal\.db: cannot commit"):
        journal.commit()
    assert [row[0] for row in journal.reader().rows()] == [1], "a hole in the chain would look like tampering"
    journal.close()
