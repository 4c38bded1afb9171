"""A journal of an older version is brought up to date after a copy of it was made; a newer one is refused."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from lab.errors import JournalError, SchemaVersionError
from lab.journal import reader as reading
from lab.journal.files import try_lock
from lab.journal.reader import JournalReader
from lab.journal.schema import TABLES, bring_up_to_date
from lab.journal.store import Journal
from lab.records.run import RunState, SessionState, Totals

STEPS: dict[int, Sequence[str]] = {
    3: ["ALTER TABLE state ADD COLUMN note TEXT", "UPDATE state SET note = 'from version 3'"],
    4: ["CREATE TABLE extra (name TEXT PRIMARY KEY) STRICT"],
}
STATE = RunState(totals=Totals(), equity=Decimal(1), day_starting_equity=Decimal(1), books={}, session=SessionState())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a journal of this version, closed, with a state and a row."""
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
    monkeypatch.setattr(reading, "SCHEMA_VERSION", 5)
    monkeypatch.setattr(reading, "bring_up_to_date", partial(bring_up_to_date, wanted=5, steps=STEPS))
    for _ in range(2):
        reader = JournalReader.open(folder)
        assert [row[3] for row in reader.rows()] == ["run_started"]
        assert reader.run_state() == STATE
        reader.close()
    assert (version(folder / "journal.db"), version(folder / "journal.db.v3")) == (5, 3)
    with sqlite3.connect(folder / "journal.db") as db:
        assert db.execute("SELECT note FROM state").fetchall() == [("from version 3",)]
    db.close()
    assert {path.name for path in folder.iterdir()} == {"journal.db", "journal.db.v3", "journal.mark"}


@pytest.mark.behaviour("J5")
def test_a_step_that_fails_leaves_the_journal_as_it_was(folder: Path) -> None:
    broken = {**STEPS, 4: ["CREATE TABLE other (name TEXT)", "INSERT INTO nowhere VALUES (1)"]}
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        bring_up_to_date(folder / "journal.db", 3, wanted=5, steps=broken)
    assert version(folder / "journal.db") == 3
    JournalReader.open(folder).close()
    with sqlite3.connect(folder / "journal.db") as db:
        assert "note" not in [column[1] for column in db.execute("PRAGMA table_info(state)")]
    db.close()


@pytest.mark.behaviour("J5")
@pytest.mark.parametrize(
    ("found", "said"),
    [(4, "schema version 4 is newer than this lab reads .3.; install"), (0, "schema version 0; this")],
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
    bring_up_to_date(folder / "journal.db", 3, wanted=5, steps=STEPS)
    bring_up_to_date(folder / "journal.db", 3, wanted=5, steps=STEPS)
    assert version(folder / "journal.db") == 5
    with pytest.raises(SchemaVersionError):
        bring_up_to_date(folder / "journal.db", 5, wanted=4, steps=STEPS)


# -- the first real upgrade: states are sealed since version 2 ---------------------------------------------------------


@pytest.fixture
def first_version(folder: Path) -> Path:
    """Return the folder with the journal as version 1 wrote it."""
    with sqlite3.connect(folder / "journal.db") as db:
        rows = db.execute("SELECT name, seq, body FROM state").fetchall()
        db.execute("DROP TABLE state")
        db.execute("CREATE TABLE state (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, body TEXT NOT NULL) STRICT")
        db.executemany("INSERT INTO state VALUES (?, ?, ?)", rows)
        db.execute("PRAGMA user_version=1")
    db.close()
    return folder


@pytest.mark.behaviour("J5")
def test_a_journal_of_version_1_is_sealed_when_it_is_read_and_kept_as_it_was(first_version: Path) -> None:
    before = (first_version / "journal.db").read_bytes()
    with closing(JournalReader.open(first_version)) as reader:
        assert reader.run_state() == STATE
        assert not reader.state_damage()
    assert (version(first_version / "journal.db"), version(first_version / "journal.db.v1")) == (3, 1)
    assert (first_version / "journal.db.v1").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(first_version / "journal.db.v1") as db:
        assert len(db.execute("SELECT * FROM state").fetchall()[0]) == 3
    db.close()
    assert len(before) == (first_version / "journal.db.v1").stat().st_size
    with sqlite3.connect(first_version / "journal.db") as db:
        assert [row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE name = 'state'")] == [
            TABLES.splitlines()[-1].rstrip(";")
        ]
        db.execute("UPDATE state SET body = replace(body, '1', '2')")
    db.close()
    with closing(JournalReader.open(first_version)) as reader, pytest.raises(JournalError, match="was changed after"):
        reader.run_state()


@pytest.mark.behaviour("J5")
def test_a_journal_that_an_older_lab_writes_now_is_not_changed_under_it(first_version: Path) -> None:
    with (first_version / "running").open("wb") as file:
        assert try_lock(file)
        with pytest.raises(JournalError, match="schema version 1, of a run that another lab is writing now; wait"):
            JournalReader.open(first_version)
    assert version(first_version / "journal.db") == 1
    JournalReader.open(first_version).close()
    assert version(first_version / "journal.db") == 3


@pytest.mark.behaviour("J5")
def test_a_journal_of_version_2_differs_in_no_table_and_is_read_as_it_was(folder: Path) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        before = db.execute("SELECT sql FROM sqlite_master").fetchall(), db.execute("SELECT * FROM event").fetchall()
        db.execute("PRAGMA user_version=2")
    db.close()
    with closing(JournalReader.open(folder)) as reader:
        assert reader.run_state() == STATE
    with sqlite3.connect(folder / "journal.db") as db:
        after = db.execute("SELECT sql FROM sqlite_master").fetchall(), db.execute("SELECT * FROM event").fetchall()
    db.close()
    assert after == before
    assert (version(folder / "journal.db"), version(folder / "journal.db.v2")) == (3, 2)
