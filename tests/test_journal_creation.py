"""A journal is made whole or not at all, and what a kill leaves in its making or closing costs no run."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lab.errors import JournalError, NotBegunError
from lab.journal import schema
from lab.journal.reader import JournalReader
from lab.journal.schema import FILE_NAME, part_of
from lab.journal.store import Journal
from lab.runs.cut_off import finalize_interrupted
from lab.runs.directory import create
from lab.runs.previous import running

LABEL = "20240101T000000Z-mock-sma"
OLD_S = 3600.0


class Killed(BaseException):
    """Stands for SIGKILL."""


def grow_old(path: Path) -> None:
    """Let a file or folder look as if nobody had touched it for an hour."""
    then = time.time() - OLD_S
    os.utime(path, (then, then), follow_symlinks=False)


def killed_in_creation(state_dir: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> Path:
    """Kill a run while it makes its journal, before a call of that name."""
    folder = create(state_dir, LABEL)

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(schema, place, kill)
        with pytest.raises(Killed):
            Journal(folder, durable=True, labels={"run_id": folder.name})
    (folder / "running").touch()
    return folder


@pytest.mark.behaviour("V1")
@pytest.mark.parametrize("place", ["make_tables", "sync", "sync_folder"])
def test_a_run_killed_while_its_journal_was_made_was_cut_off_before_it_began_and_leaves_nothing(
    lab: Any, monkeypatch: pytest.MonkeyPatch, place: str, one_line: Any
) -> None:
    folder = killed_in_creation(lab.folder, monkeypatch, place)
    for command in ("report", "verify", "audit"):
        one_line(lab(command, folder.name), 74, "cut off before it began")
        one_line(lab(command, "latest"), 74, "cut off before it began")
    assert "unreadable" not in lab("runs").out
    grow_old(folder)
    result = lab.mock("--reporter", "none", minutes=1)
    assert result.code == 0
    assert f"{folder.name} was cut off before it began; its folder is removed" in result.err
    assert not folder.exists()


@pytest.mark.behaviour("V1")
@pytest.mark.parametrize("size", ["nothing", "a header"])
def test_a_half_made_journal_of_an_older_lab_was_cut_off_before_it_began(lab: Any, one_line: Any, size: str) -> None:
    folder = create(lab.folder, LABEL)
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        if size == "a header":
            db.execute("PRAGMA journal_mode=WAL")
    (folder / "running").touch()
    one_line(lab("report"), 74, "cut off before it began")
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    assert not folder.exists()


@pytest.mark.behaviour("V1")
def test_a_folder_that_may_be_of_a_run_that_begins_now_is_left_alone(tmp_path: Path) -> None:
    folder = create(tmp_path, LABEL)
    with running(folder):
        grow_old(folder)
        assert finalize_interrupted(tmp_path).removed == []
    folder.touch()
    assert finalize_interrupted(tmp_path).removed == [], "its lock may come next"
    grow_old(folder)
    assert finalize_interrupted(tmp_path).removed == [LABEL]
    (tmp_path / "runs" / "notes").mkdir()
    grow_old(tmp_path / "runs" / "notes")
    finalize_interrupted(tmp_path)
    assert (tmp_path / "runs" / "notes").is_dir(), "no run's name"


@pytest.mark.behaviour("V1")
def test_a_run_that_never_began_keeps_what_lab_did_not_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = killed_in_creation(tmp_path, monkeypatch, "sync")
    (folder / "stacks.log").touch()
    (folder / "errors.log").write_text("the provider failed\n", encoding="utf-8")
    grow_old(folder)
    assert finalize_interrupted(tmp_path).removed == []
    assert [path.name for path in folder.iterdir()] == ["errors.log"]


@pytest.mark.behaviour("V1")
def test_links_that_a_kill_left_are_swept(tmp_path: Path) -> None:
    create(tmp_path, LABEL)
    left, new = tmp_path / "runs" / ".latest-123", tmp_path / "runs" / ".latest-124"
    left.symlink_to(LABEL)
    new.symlink_to(LABEL)
    grow_old(left)
    finalize_interrupted(tmp_path)
    assert not os.path.lexists(left)
    assert os.path.lexists(new), "another process may be about to rename it"


def test_a_journal_is_never_made_over_another(tmp_path: Path) -> None:
    Journal(tmp_path, durable=True, labels={}).close()
    with pytest.raises(JournalError, match=r"cannot be created: journal\.db is there already"):
        Journal(tmp_path, durable=True, labels={})


def test_what_is_left_of_a_half_made_journal_is_in_no_new_ones_way(tmp_path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        (tmp_path / f"{part_of(tmp_path / FILE_NAME).name}{name}").write_bytes(b"rubbish")
    with pytest.raises(NotBegunError):
        JournalReader.open(tmp_path)
    Journal(tmp_path, durable=True, labels={"run_id": "r"}).close()
    with closing(JournalReader.open(tmp_path)) as reader:
        assert reader.labels() == {"run_id": "r"}
    assert {path.name for path in tmp_path.iterdir()} == {FILE_NAME, "journal.mark"}


@pytest.mark.behaviour("V1", "J6")
def test_a_rollback_journal_that_an_older_labs_kill_left_is_rolled_back_by_whoever_reads(
    lab: Any, tmp_path: Path
) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code == 0
    folder = lab.run().folder
    rows, path = lab.run().raw(), folder / FILE_NAME
    hot = tmp_path / "hot"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA cache_size=1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE event SET body = '{}', kind = 'x'")
        shutil.copytree(folder, hot)
        db.execute("ROLLBACK")
    assert (hot / f"{FILE_NAME}-journal").stat().st_size
    shutil.rmtree(folder)
    hot.rename(folder)
    assert lab("report").code == 0
    assert lab("verify").code == 0
    assert not (folder / f"{FILE_NAME}-journal").exists()
    assert lab.run().raw() == rows
