"""The tape beside a journal, and the keys and the file of a journal: what holds after a kill, and what after an end."""

import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from lab.errors import JournalError
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter, read_tape
from lab.testing import candles

PRICES = [100.0, 101.0, 102.0, 103.0]


def test_the_digest_of_a_tape_covers_what_was_taken_and_not_written_yet(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path)
    for candle in candles(PRICES):
        tape.add(candle)
    found = tape.digest()
    tape.close()
    digest = hashlib.sha256()
    assert list(read_tape(tmp_path, digest=digest)) == list(candles(PRICES))
    assert found == digest.hexdigest()


@pytest.mark.behaviour("J1")
def test_of_a_torn_tape_a_killed_run_keeps_what_was_whole_and_a_finished_one_says_so(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path)
    file = tmp_path / FIRST_SEGMENT
    sizes = []
    for candle in candles(PRICES):
        tape.add(candle)
        tape.flush()
        sizes.append(file.stat().st_size)
    tape.close()
    file.write_bytes(file.read_bytes()[: sizes[2] + 9])  # a few bytes of the fourth frame
    assert list(read_tape(tmp_path, torn_ok=True)) == list(candles(PRICES))[:3]
    with pytest.raises(JournalError, match=r"tape-0001\.jsonl\.zst: torn or damaged after line 3"):
        list(read_tape(tmp_path))


@pytest.mark.parametrize("directory", [True, False], ids=["file", "memory"])
def test_a_key_that_came_twice_in_a_backtest_is_found_at_its_end(tmp_path: Path, directory: bool) -> None:
    journal = Journal(tmp_path if directory else None, durable=False, labels={})
    for number in (1, 2):
        journal.append_raw("deposit", "twice", b"{}", number, number)
    journal.commit()
    with pytest.raises(JournalError, match="UNIQUE"):
        journal.index()
    journal.close()


def test_an_outcome_is_looked_up_by_the_index_in_a_backtest_too(tmp_path: Path) -> None:
    """Without it each answer read every row, and a backtest took four times as long for twice the orders."""
    journal = Journal(tmp_path, durable=False, labels={})
    journal.append_raw("order_refused", "order:known", b"{}", 1, 1)
    journal.commit()
    assert (journal.outcome("known"), journal.outcome("unknown")) == ("refused", None)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        [(*_, plan)] = db.execute("EXPLAIN QUERY PLAN SELECT kind FROM event WHERE key IN ('order:known')")
    assert "USING INDEX event_key" in plan
    journal.append_raw("order_refused", "order:known", b"{}", 2, 2)
    with pytest.raises(JournalError, match="UNIQUE"):
        journal.commit()
    journal.close()


def test_a_run_that_has_ended_leaves_one_file_that_readers_leave_alone(lab: Any) -> None:
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    folder = lab.run().folder
    assert lab("verify").code == 0
    assert [path.name for path in folder.glob("journal.db*")] == ["journal.db"]
    assert lab("report").code == 0
    assert [path.name for path in folder.glob("journal.db*")] == ["journal.db"]
