"""JSON nested beyond reason, in a journal or on a tape, is the file's problem and never a traceback."""

import sqlite3
from typing import Any

import pytest
from lab import Record
from lab.journal.chain import GENESIS, row_hash
from lab.journal.codec import read_tape_line

DEEP = "[" * 100_000


def test_a_row_nested_too_deep_is_said_to_be_no_row_of_ours() -> None:
    with pytest.raises(ValueError, match="row 7: nested too deep"):
        Record(7, 0, "notice", DEEP.encode()).data()


@pytest.mark.parametrize("line", ['["candle",' + DEEP, DEEP], ids=["body", "line"])
def test_a_tape_line_nested_too_deep_is_no_input(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_tape_line(line.encode())


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize("kind", ["run_started", "run_ended"])
def test_a_journal_with_such_a_row_is_named_by_every_command(lab: Any, one_line: Any, kind: str) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code == 0
    name = lab.run().folder.name
    rows = [list(row) for row in lab.run().raw()]
    number = next(row[0] for row in rows if row[3] == kind)
    previous = GENESIS
    for row in rows:  # the chain is made anew: whoever edits a journal may be thorough
        if row[3] == kind:
            row[5] = DEEP.encode()
        row[6] = previous = row_hash(previous, *row[:6])
    db = sqlite3.connect(lab.run().folder / "journal.db")
    with db:
        db.executemany("UPDATE event SET body = ?, hash = ? WHERE seq = ?", [(r[5].decode(), r[6], r[0]) for r in rows])
    db.close()
    for command in ("report", "verify", *(["replay"] if kind == "run_started" else [])):
        one_line(lab(command, "latest"), 74, "journal.db", f"row {number} cannot be read: {kind}")
    listed = lab("runs", "--json").json()["runs"]
    assert [(run["directory"], run["status"]) for run in listed] == [(name, "unreadable")]


def test_replay_of_a_run_whose_first_row_was_changed_is_refused(lab: Any, one_line: Any) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code == 0
    db = sqlite3.connect(lab.run().folder / "journal.db")
    with db:
        db.execute("UPDATE event SET body = replace(body, '\"kind\"', '\"kinc\"') WHERE seq = 1")
    db.close()
    one_line(lab("replay", "latest"), 74, "journal.db", "row 1 was changed")
