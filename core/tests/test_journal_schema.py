"""A journal of an older version is brought up to date after a copy of it was made; a newer one is refused."""

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from lab.errors import JournalError, SchemaVersionError
from lab.journal import reader as reading
from lab.journal.reader import JournalReader
from lab.journal.schema import bring_up_to_date
from lab.journal.store import Journal
from lab.records.run import RunState, SessionState, Totals

STEPS: dict[int, Sequence[str]] = {
    1: ["ALTER TABLE state ADD COLUMN note TEXT", "UPDATE state SET note = 'from version 1'"],
    2: ["CREATE TABLE extra (name TEXT PRIMARY KEY) STRICT"],
}
STATE = RunState(totals=Totals(), equity=Decimal(1), day_starting_equity=Decimal(1), books={}, session=SessionState())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a journal of version 1, closed, with a state and a row."""
    journal = Journal(tmp_path, durable=True, labels={"run_id": "r"})
    journal.append_raw("run_started", "run_started", b"{}", 0, 0)
    journal.commit(STATE)
    journal.close()
    return tmp_path


def version(path: Path) -> int:
    with sqlite3.connect(path) as db:
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
    db.close()
    return found


@pytest.mark.behaviour("J5")
def test_an_older_journal_is_read_after_a_copy_was_made_and_every_step_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(reading, "bring_up_to_date", partial(bring_up_to_date, wanted=3, steps=STEPS))
    for _ in range(2):
        reader = JournalReader.open(folder)
        assert [row[3] for row in reader.rows()] == ["run_started"]
        assert reader.run_state() == STATE
        reader.close()
    assert (version(folder / "journal.db"), version(folder / "journal.db.v1")) == (3, 1)
    with sqlite3.connect(folder / "journal.db") as db:
        assert db.execute("SELECT note FROM state").fetchall() == [("from version 1",)]
    db.close()
    assert {path.name for path in folder.iterdir()} == {"journal.db", "journal.db.v1"}


@pytest.mark.behaviour("J5")
def test_a_step_that_fails_leaves_the_journal_as_it_was(folder: Path) -> None:
    broken = {**STEPS, 2: ["CREATE TABLE other (name TEXT)", "INSERT INTO nowhere VALUES (1)"]}
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        bring_up_to_date(folder / "journal.db", 1, wanted=3, steps=broken)
    assert version(folder / "journal.db") == 1
    JournalReader.open(folder).close()
    with sqlite3.connect(folder / "journal.db") as db:
        assert "note" not in [column[1] for column in db.execute("PRAGMA table_info(state)")]
    db.close()


@pytest.mark.behaviour("J5")
@pytest.mark.parametrize(
    ("found", "said"),
    [(2, "schema version 2 is newer than this lab reads .1.; install"), (0, "schema version 0; this")],
)
def test_a_journal_with_no_way_to_this_version_is_refused_and_left_alone(folder: Path, found: int, said: str) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute(f"PRAGMA user_version={found}")
    db.close()
    before = (folder / "journal.db").read_bytes()
    with pytest.raises(JournalError, match=f"journal.db: {said}"):
        JournalReader.open(folder)
    assert (folder / "journal.db").read_bytes() == before
    assert not list(folder.glob("*.v*"))


def test_one_that_another_process_brought_up_to_date_meanwhile_is_not_changed_again(folder: Path) -> None:
    bring_up_to_date(folder / "journal.db", 1, wanted=3, steps=STEPS)
    bring_up_to_date(folder / "journal.db", 1, wanted=3, steps=STEPS)
    assert version(folder / "journal.db") == 3
    with pytest.raises(SchemaVersionError):
        bring_up_to_date(folder / "journal.db", 3, wanted=2, steps=STEPS)
