"""A disk that takes no more ends a run with 74 and a word about it, never with a traceback."""

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import lab.runs.previous  # noqa: F401 - what it imports must be the real thing, not this module's stand-ins
import pytest
from lab.domain.control import Timer
from lab.errors import JournalError
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader
from lab.journal.report import build_report
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter, read_tape
from lab.runs.directory import REPORT_NAME, write_report

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
    assert "closed database" not in done.stdout + done.stderr
    assert not list(lab.folder.glob("runs/*/.final_report*"))
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


@pytest.mark.behaviour("J1")
def test_every_commit_of_a_live_journal_is_synced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def note(*args: Any, **options: Any) -> sqlite3.Connection:
        made.append(connect(*args, **options))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", note)
    journal = Journal(tmp_path, durable=True, labels={})
    db = made[-1]
    assert db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL: with NORMAL a power cut takes commits back"
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


@pytest.mark.behaviour("J1")
def test_every_input_of_a_row_is_on_the_tape_before_the_row_is_committed(
    lab: Any, trader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Journal.commit
    missing: list[int] = []

    def look(journal: Journal, *args: Any, **options: Any) -> Any:
        assert journal.path is not None
        taped = sum(1 for _ in read_tape(journal.path.parent, torn_ok=True))
        records = commit(journal, *args, **options)
        newest = max((row[2] for row in journal.reader().rows()), default=0)
        missing.append(newest - taped)
        return records

    monkeypatch.setattr(Journal, "commit", look)
    assert lab.mock("--strategy", "trader", "--reporter", "none", minutes=3).code == 0
    assert len(missing) > 10
    assert max(missing) == 0, "a killed run is proved from its tape: every committed row must follow from it"


@pytest.mark.behaviour("J4")
def test_a_report_is_synced_before_it_takes_its_name(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    reader = JournalReader.open(lab.run().folder)
    report = build_report(reader)
    reader.close()
    sync, synced = os.fsync, list[bool]()

    def note(file: int) -> None:
        synced.append((tmp_path / REPORT_NAME).exists())
        sync(file)

    monkeypatch.setattr(os, "fsync", note)
    write_report(tmp_path, report)
    assert synced == [False, True], "the file before, its folder after"
    assert (tmp_path / REPORT_NAME).exists()


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


@pytest.mark.behaviour("J4")
def test_after_a_sync_of_the_tape_that_failed_nothing_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows whose inputs may not be on the disk would be committed, as if the next sync had saved them."""
    tape = TapeWriter(tmp_path)
    tape.add(Timer(1))
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", _broken)
        with pytest.raises(OSError, match="Input/output error"):
            tape.flush(sync=True)
    tape.add(Timer(2))
    for again in (tape.flush, tape.digest, tape.close):
        with pytest.raises(OSError, match="Input/output error"):
            again()
    assert len(list(read_tape(tmp_path))) == 1


@pytest.mark.behaviour("J4", "S5")
def test_where_not_even_the_first_row_can_be_written_the_cause_is_said(
    lab: Any, one_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "_insert", _no_disk)
    refused = lab.mock("--reporter", "none", minutes=2)
    one_line(refused, 74, "cannot commit: disk I/O error")


def _no_disk(self: Journal, rows: Any) -> None:
    raise sqlite3.OperationalError("disk I/O error")


def _broken(file: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.behaviour("J4", "S5")
def test_a_report_that_cannot_be_written_is_said_with_its_first_cause_and_the_next_start_writes_it(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    commits: list[int] = []
    commit = Journal.commit

    def full(directory: Path, report: Any) -> None:
        calls.append(report.reason)
        raise OSError(28, "No space left on device")

    def refuse(journal: Journal, states: Any = None) -> Any:
        commits.append(1)
        if len(commits) > 3:
            raise JournalError("journal.db: cannot commit: database or disk is full")
        return commit(journal, states)

    with monkeypatch.context() as patch:
        patch.setattr("lab.runs.directory.write_report", full)
        patch.setattr(Journal, "commit", refuse)
        result = lab.mock("--reporter", "none", minutes=1)
    assert result.code == 74
    assert calls == ["storage"], "the report is made once"
    first = result.err.splitlines()[0]
    assert "database or disk is full" in first
    assert "final_report.json: cannot be written: No space left on device" in first
    with monkeypatch.context() as patch:
        patch.setattr("lab.live.finishing.directories.write_report", full)
        result = lab.mock("--reporter", "none", minutes=1)
    assert result.code == 74
    assert "final_report.json: cannot be written: No space left on device; the next start writes it" in result.err
    ended = lab.run().folder
    assert not (ended / "final_report.json").exists()
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    assert (ended / "final_report.json").exists()


def _damage(folder: Path, *statements: str) -> None:
    """Change a journal as no program should: its checks switched off."""
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("PRAGMA writable_schema = ON")
        loose = "replace(replace(sql, ' NOT NULL', ''), ' STRICT', '')"
        db.execute(f"UPDATE sqlite_master SET sql = {loose} WHERE type = 'table'")
    db.close()
    with sqlite3.connect(folder / "journal.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = NULL WHERE seq = 1",
        "UPDATE event SET body = NULL WHERE seq = 5",
        "UPDATE event SET body = 7 WHERE seq = 5",
        "UPDATE event SET body = x'ff00' WHERE seq = 5",
        "UPDATE event SET hash = NULL WHERE seq = 5",
        "UPDATE event SET kind = NULL WHERE seq = 5",
        "UPDATE event SET time_ns = 'x' WHERE seq = 5",
        "UPDATE event SET body = '[]' WHERE kind = 'run_started'",
        "UPDATE event SET body = '{}' WHERE kind = 'run_started'",
        "UPDATE event SET body = '[]' WHERE kind = 'candle'",
        "UPDATE event SET body = '[]' WHERE kind = 'run_ended'",
        "UPDATE event SET body = NULL",
        "DELETE FROM event",
        "UPDATE state SET body = NULL",
        "DELETE FROM meta",
        "DROP TABLE state",
        "DROP TABLE event",
    ],
)
def test_a_damaged_journal_is_one_line_for_every_command_that_reads_it(lab: Any, one_line: Any, statement: str) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code == 0
    folder = lab.run().folder
    _damage(folder, statement)
    for command in ("verify", "report", "replay", "runs"):
        result = lab(command, *(["latest"] if command != "runs" else []))
        assert "Traceback" not in result.err, (command, result.err)
        assert result.code in {0, 1, 74}, (command, result)
        assert len(result.err.splitlines()) <= 1
        if result.code == 74:
            one_line(result, 74)
    assert lab.mock("--reporter", "none", minutes=1).code == 0, "the next start is not held up"
