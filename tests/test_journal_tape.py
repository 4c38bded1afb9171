"""The tape beside a journal, and the keys and the file of a journal: what holds after a kill, and what after an end."""

import contextlib
import hashlib
import random
import sqlite3
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from lab.domain.control import Notice
from lab.domain.market import Backfill
from lab.errors import JournalError
from lab.journal.codec import tape_line
from lab.journal.schema import FIRST_SEGMENT, LONGEST
from lab.journal.store import Journal
from lab.journal.tape import RecordedTape, TapeWriter, read_tape
from lab.testing import candles

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

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


def packed(content: bytes, *cuts: int) -> bytes:
    """Return frames of what lies between the cuts."""
    ends = [*cuts, len(content)]
    return b"".join(zstd.compress(content[begin:end]) for begin, end in zip([0, *ends], ends, strict=False))


@pytest.mark.behaviour("J1")
def test_a_tape_is_read_alike_wherever_its_frames_end(tmp_path: Path) -> None:
    notices = [Notice(1, "test", {"x": "x" * length}) for length in (10, 200_000, 3_000_000, 0, 7)]
    content = b"".join(map(tape_line, notices))
    random.seed(8)
    places = ([], [5], [100_000, 100_001], sorted(random.sample(range(len(content)), 300)), [len(content)])
    for cuts in places:
        for text in (content, content[:-1]):  # the end of the last line may be missing
            (tmp_path / FIRST_SEGMENT).write_bytes(packed(text, *cuts))
            digest = hashlib.sha256()
            assert list(read_tape(tmp_path, digest=digest)) == notices, cuts
            assert digest.digest() == hashlib.sha256(text).digest()


@pytest.mark.behaviour("J1", "J4")
def test_nothing_of_a_frame_whose_bytes_changed_is_taken(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path)
    file = tmp_path / FIRST_SEGMENT
    for candle in candles([float(price) for price in range(100, 500)]):
        tape.add(candle)
    tape.close()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # of the frame's checksum
    file.write_bytes(content)
    assert list(read_tape(tmp_path, torn_ok=True)) == []
    with pytest.raises(JournalError, match="torn or damaged after line 0"):
        list(read_tape(tmp_path))


@pytest.mark.behaviour("J1")
@pytest.mark.parametrize("cuts", [[], [10], [2_000_000, 4_000_000]], ids=["one frame", "late", "in parts"])
def test_a_line_that_no_tape_of_labs_has_is_refused_wherever_its_frames_end(tmp_path: Path, cuts: list[int]) -> None:
    line = tape_line(Notice(1, "test", {"a": "x"}))
    text = line + line.replace(b"x", b"x" * LONGEST) + line
    (tmp_path / FIRST_SEGMENT).write_bytes(packed(text, *cuts))
    with pytest.raises(JournalError, match=r"line 2: not an input: longer than 4,194,304 bytes"):
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


def _long(count: int) -> Backfill:
    return Backfill("BTCUSDT", 1, tuple(candles([100.0] * count)))


def test_an_input_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path)
    tape.add(_long(20_000))
    with pytest.raises(
        JournalError, match=r"cannot take an input of \d,\d+,\d+ bytes \(Backfill\); the longest .* 4,194"
    ):
        tape.add(_long(70_000))
    tape.close()
    assert list(read_tape(tmp_path)) == [_long(20_000)]


def test_a_tape_of_a_run_that_was_cut_off_is_cut_to_its_last_whole_frame_wherever_that_lies(tmp_path: Path) -> None:
    """The file is looked at in parts, which end within a frame."""
    tape, noise = TapeWriter(tmp_path), random.Random(1)
    for number in range(130):
        tape.add(Notice(number, "noise", {"text": noise.randbytes(65_536).hex()}))
        tape.flush()
    tape.close()
    file = tmp_path / FIRST_SEGMENT
    whole = file.read_bytes()
    assert len(whole) > 8 << 20
    for end, inputs in ((len(whole), 130), (len(whole) - 1, 129), (len(whole) - 100_000, 128)):
        file.write_bytes(whole[:end])
        recorded = RecordedTape(tmp_path)
        assert sum(1 for _ in recorded) == recorded.inputs == inputs
    file.write_bytes(whole[:-4] + bytes(4))  # the length was written, the checksum not
    assert sum(1 for _ in RecordedTape(tmp_path)) == 129


def test_a_frame_that_lab_did_not_write_is_neither_unpacked_as_a_whole_nor_cut_off(tmp_path: Path) -> None:
    file = tmp_path / FIRST_SEGMENT
    file.write_bytes(zstd.compress(bytes(50 << 20)))
    tracemalloc.start()
    with pytest.raises(JournalError, match=r"jsonl\.zst: line 1: not an input: longer than 4,194,304 bytes"):
        list(RecordedTape(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
    file.write_bytes(zstd.compress(random.Random(1).randbytes(9 << 20)))
    kept = file.stat().st_size
    with pytest.raises(JournalError, match=r"a frame of more than 8,388,608 bytes at byte 0: no tape of lab's"):
        list(RecordedTape(tmp_path))
    assert file.stat().st_size == kept


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'["%s",{}]\n', "unknown input kind 'kkk"),
        (b'["command",[1,"%s","session","SIGINT"]]\n', "command: Invalid enum"),
    ],
)
def test_what_is_wrong_with_a_line_is_told_in_a_few_words(tmp_path: Path, line: bytes, said: str) -> None:
    (tmp_path / FIRST_SEGMENT).write_bytes(zstd.compress(line % (b"k" * 100_000)))
    with pytest.raises(JournalError, match=f"line 1: not an input: {said}") as raised:
        list(read_tape(tmp_path))
    assert len(str(raised.value)) < 500


def test_nothing_is_journalled_that_no_reader_would_take(tmp_path: Path) -> None:
    journal = Journal(tmp_path, durable=True, labels={})
    journal.append_raw("notice", None, b'"' + b"x" * (4 << 20) + b'"', 1, 1)
    with pytest.raises(JournalError, match=r"cannot commit: string or blob too big"):
        journal.commit()
    journal.close()
