"""A run that was cut off has inputs on its tape whose rows were never committed: what was committed is proved."""

import sqlite3
from typing import Any

import pytest
from lab.errors import JournalError
from lab.journal.store import Journal


@pytest.mark.behaviour("J6", "J1")
@pytest.mark.parametrize("commits", [1, 2, 8])
def test_a_run_cut_off_between_tape_and_journal_is_proved_up_to_its_last_commit(
    lab: Any, trader: Any, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    whole = Journal.commit
    made: list[int] = []

    def commit(journal: Journal, *args: Any, **options: Any) -> Any:
        made.append(1)
        if len(made) > commits:
            raise JournalError("the disk is gone")
        return whole(journal, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit", commit)
        result = lab.mock("--strategy", "trader", "--set", "trader.need=1", "--reporter", "none")
    assert result.code == 74, result.err
    rows = len(lab.run().raw())
    result = lab("verify")
    assert result.code == 0, result.out
    assert f"identical: {rows} rows" in result.out


@pytest.mark.behaviour("J6")
def test_a_row_missing_at_the_end_of_a_run_that_was_not_cut_off_there_is_found(lab: Any, trader: Any) -> None:
    lab.mock("--strategy", "trader", "--set", "trader.need=1", "--reporter", "none")
    with sqlite3.connect(lab.run().folder / "journal.db") as db:
        db.execute("DELETE FROM event WHERE seq > (SELECT max(seq) - 4 FROM event)")
    result = lab("verify")
    assert result.code == 1
    assert "missing in the journal" in result.out
