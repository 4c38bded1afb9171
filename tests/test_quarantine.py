"""A damaged session blocks no start: it is put aside, the last five are kept, and the next report says so."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from lab.journal.mark import Mark, MarkWriter
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.store import Journal
from lab.runs.cut_off import finalize_interrupted
from lab.runs.directory import create
from lab.runs.quarantine import held, put_aside

DAMAGES = {
    "truncated": lambda folder: _change(folder, lambda data: data[: len(data) // 2]),
    "no database": lambda folder: (folder / "journal.db").write_bytes(b"{broken"),
    "empty": lambda folder: (folder / "journal.db").write_bytes(b""),
    "missing": lambda folder: (folder / "journal.db").unlink(),
    "newer": lambda folder: _sql(folder, "PRAGMA user_version=99"),
    "a changed row": lambda folder: _sql(folder, "UPDATE event SET time_ns = 5 WHERE seq = 3"),
    "a changed state": lambda folder: _sql(folder, "UPDATE state SET body = replace(body, 'equity', 'equitz')"),
    "missing rows": lambda folder: _mark(folder, 999),
    "no rows": lambda folder: _sql(folder, "DELETE FROM event"),
}


def _change(folder: Path, how: Any) -> None:
    path = folder / "journal.db"
    path.write_bytes(how(path.read_bytes()))


def _mark(folder: Path, seq: int) -> None:
    marks = MarkWriter(folder)
    marks.write(Mark(seq, b"0" * 32))
    marks.close()


def _sql(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute(statement)
    db.close()


@pytest.fixture
def cut_off(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a session that left no end, as after a kill."""
    whole = Journal.append_record
    with monkeypatch.context() as patch:
        patch.setattr(
            Journal, "append_record", lambda self, record, *place: record.__class__.__name__ == "RunEnded"
            or whole(self, record, *place),
        )  # fmt: skip
        lab.mock("--reporter", "none", minutes=3)
    folder = lab.run().folder
    folder = folder.rename(folder.with_name("20240101T000000Z-mock-sma"))  # no later run has its name
    (folder / "final_report.json").unlink()
    (folder / "running").touch()
    assert isinstance(folder, Path)
    return folder


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_session_is_put_aside_and_the_next_report_says_so(lab: Any, cut_off: Path, damage: str) -> None:
    DAMAGES[damage](cut_off)
    result = lab.mock("--reporter", "none", minutes=1)
    assert result.code == 0
    assert "Traceback" not in result.err
    assert f"{cut_off.name} is damaged and is put aside in runs/quarantine: " in result.err
    [entry] = [text for text in lab.run().report()["degradations"] if text.startswith("quarantined ")]
    [aside] = held(cut_off.parent)
    why = (aside / "damage.txt").read_text(encoding="utf-8").strip()
    assert entry == f"quarantined {cut_off.name}: {why}"
    assert str(lab.folder) not in entry
    assert not cut_off.exists()
    assert "1 damaged session lies in runs/quarantine" in lab("runs").err
    assert not lab.mock("--reporter", "none", minutes=1).err, "once is enough"
    for command in ("report", "verify", "audit"):
        result = lab(command, f"quarantine/{cut_off.name}")
        assert result.code in {1, 74, 78}, (command, result)
        assert "Traceback" not in result.err


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize("damage", ["truncated", "a changed state", "missing rows"])
def test_with_strict_state_the_start_ends_with_74_and_moves_nothing(
    lab: Any, cut_off: Path, one_line: Any, damage: str
) -> None:
    DAMAGES[damage](cut_off)
    before = lab.files()
    one_line(
        lab.mock("--reporter", "none", "--strict-state", minutes=1), 74, cut_off.name, "is damaged", "--strict-state"
    )
    assert lab.files() == before
    assert lab.mock("--reporter", "none", minutes=1, env={"LAB_RUN_STRICT_STATE": "true"}).code == 74
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    assert not cut_off.exists()


@pytest.mark.behaviour("J2", "R1")
def test_with_strict_state_a_loss_that_cannot_be_read_ends_the_run_with_74_and_a_report(lab: Any) -> None:
    assert lab("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--reporter", "none").code == 0
    ended = lab.run().folder
    _sql(ended, "UPDATE event SET body = replace(body, '10000', '99999') WHERE kind = 'run_ended'")
    result = lab.mock("--reporter", "none", "--strict-state", minutes=1)
    assert (result.code, "Traceback" in result.err) == (74, False)
    assert f"not_restarted {ended.name}: " in lab.run().report()["error"]
    assert lab.mock("--reporter", "none", minutes=1).code == 0


@pytest.mark.behaviour("J2")
def test_the_last_five_are_kept(tmp_path: Path) -> None:
    made = []
    for number in range(8):
        folder = tmp_path / "runs" / ("same" if number > 5 else f"run-{number}")
        folder.mkdir(parents=True)
        made.append(put_aside(folder, f"damage {number}").name)
    assert made[-2:] == ["same", "same-2"]
    assert [path.name for path in held(tmp_path / "runs")] == made[-5:]
    assert (tmp_path / "runs" / "quarantine" / "same-2" / "damage.txt").read_text(encoding="utf-8") == "damage 7\n"


@pytest.mark.behaviour("J2")
def test_a_session_that_cannot_be_moved_blocks_no_start(
    lab: Any, cut_off: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAMAGES["no database"](cut_off)

    def refuse(*_: object) -> None:
        raise OSError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("lab.runs.cut_off.put_aside", refuse)
        assert lab.mock("--reporter", "none", minutes=1).code == 0
    assert "it cannot be moved to quarantine: Permission denied" in str(lab.run().report()["degradations"])
    assert cut_off.exists()


def test_a_damaged_backtest_stays_where_it_is(tmp_path: Path) -> None:
    folder = create(tmp_path, "20240101T000000Z-mock-sma")
    (folder / "journal.db").write_bytes(b"half a page")
    (folder / "running").touch()
    assert not (folder / FIRST_SEGMENT).exists()
    done = finalize_interrupted(tmp_path, strict=True)
    assert (done.damaged, done.finished, done.removed) == ({}, [], [])
    assert folder.exists()
    shutil.rmtree(folder)
