"""Rows that were committed and are gone are told: the mark beside a journal says how far it was."""

import gc
import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from lab.errors import JournalError, LabError
from lab.journal.audit import audit
from lab.journal.mark import NAME, Mark, MarkWriter, read_mark
from lab.journal.reader import JournalReader, check_chain
from lab.journal.report import build_report
from lab.journal.store import Journal
from lab.runs.previous import check_begun
from lab.testing import candles


@frozen
class CutOff:
    """A session as kill -9 leaves it: its folder, and a copy after each of its commits."""

    folder: Path
    copies: list[Path]


@pytest.fixture
def cut_off(lab: Any, trader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CutOff:
    """Copy a session's folder after every commit, while its journal is open: what is in the log is in no other file."""
    copies: list[Path] = []
    whole = Journal.commit

    def commit(journal: Journal, *args: Any, **options: Any) -> Any:
        done = whole(journal, *args, **options)
        assert journal.path is not None
        copies.append(tmp_path / "copies" / str(len(copies)))
        shutil.copytree(journal.path.parent, copies[-1])
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit", commit)
        assert lab.mock("--strategy", "trader", "--set", "trader.need=1", "--reporter", "none", minutes=6).code == 0
    runs = lab.folder / "runs"
    name = lab.run().folder.name
    shutil.rmtree(runs)
    runs.mkdir()
    del copies[-1]  # with the end of the run
    shutil.copytree(copies[-1], runs / name)
    (runs / "latest").symlink_to(name)
    return CutOff(runs / name, copies)


def put(copy: Path, folder: Path, *names: str) -> None:
    """Put files of an older copy in the place of the newer ones."""
    for path in folder.glob("journal.db*"):
        path.unlink()
    for name in names:
        shutil.copy(copy / name, folder / name)


WITH_LOG = ("journal.db", "journal.db-wal")


@pytest.mark.behaviour("J2")
def test_the_mark_names_the_newest_row_after_every_commit(cut_off: CutOff) -> None:
    for copy in cut_off.copies:
        with closing(JournalReader.open(copy)) as reader:
            *_, newest = reader.rows()
            assert read_mark(copy) == Mark(newest[0], newest[6])
            assert not reader.damage()


@pytest.mark.behaviour("J2", "J6", "J7")
@pytest.mark.parametrize("back", [1, 3])
def test_an_older_copy_of_the_journal_is_told_by_every_command(lab: Any, cut_off: CutOff, back: int) -> None:
    put(cut_off.copies[-1 - back], cut_off.folder, *WITH_LOG)
    for command in ("report", "verify", "audit"):
        result = lab(command)
        assert result.code == 1, (command, result)
        assert "missing in the journal: committed, and not there any more" in result.out + result.err, command
    assert "damaged: row" in str(lab("report", "--json").json()["degradations"])
    name = cut_off.folder.name
    result = lab.mock("--reporter", "none", minutes=1)
    assert result.code == 0
    assert f"{name} is damaged and is put aside in runs/quarantine: journal.db: row" in result.err
    assert f"quarantined {name}: journal.db: row" in str(lab.run().report()["degradations"])
    assert "damaged: row" in lab("report", f"quarantine/{name}").out


@pytest.mark.behaviour("J2")
def test_a_journal_whose_every_row_is_gone_was_not_cut_off_before_it_began(lab: Any, cut_off: CutOff) -> None:
    put(cut_off.copies[0], cut_off.folder, "journal.db")
    for command in ("report", "verify", "audit"):
        result = lab(command)
        assert (result.code, "Traceback" in result.err) == (74, False)
        assert "rows 1 to" in result.err
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    assert (cut_off.folder.parent / "quarantine" / cut_off.folder.name / "damage.txt").exists()


@pytest.mark.behaviour("J2", "J6", "J7")
def test_another_journal_of_the_same_length_is_told(lab: Any, trader: Any) -> None:
    folders = []
    for equity in ("10000", "10001"):
        lab.mock("--strategy", "trader", "--set", "trader.need=1", "--reporter", "none", "--equity", equity)
        folders.append(lab.run().folder)
    shutil.copy(folders[0] / "journal.db", folders[1] / "journal.db")
    shutil.copy(folders[0] / "tape-0001.jsonl.zst", folders[1] / "tape-0001.jsonl.zst")
    for command in ("report", "verify", "audit"):
        result = lab(command, folders[1].name)
        assert result.code == 1, (command, result)
        assert "is not the one that was committed" in result.out + result.err


DAMAGES = [None, b"", b"0\n", b"x" * 103, b"00000000000000000009" + b" " + b"0" * 64 + b" 0\n"]


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_session_that_was_cut_off_and_has_no_whole_mark_is_told(
    lab: Any, cut_off: CutOff, damage: bytes | None
) -> None:
    """Its end may be lost too: nobody could tell."""
    put(cut_off.copies[-3], cut_off.folder, *WITH_LOG)
    (cut_off.folder / NAME).unlink() if damage is None else (cut_off.folder / NAME).write_bytes(damage)
    assert read_mark(cut_off.folder) is None
    for command in ("report", "verify", "audit"):
        result = lab(command)
        assert result.code == 1, (command, result)
        assert "journal.mark is missing or damaged" in result.out + result.err, command
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    assert f"quarantined {cut_off.folder.name}: journal.db: journal.mark" in str(lab.run().report()["degradations"])


@pytest.mark.behaviour("J2")
def test_a_session_whose_rows_and_mark_are_gone_was_not_cut_off_before_it_began(lab: Any, cut_off: CutOff) -> None:
    put(cut_off.copies[0], cut_off.folder, "journal.db")
    (cut_off.folder / NAME).unlink()
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    text = (cut_off.folder.parent / "quarantine" / cut_off.folder.name / "damage.txt").read_text(encoding="utf-8")
    assert text == "journal.db: it holds no row, and the tape holds inputs\n"


@pytest.mark.behaviour("J2")
def test_a_session_with_its_last_row_needs_no_mark(lab: Any, trader: Any) -> None:
    assert lab.mock("--strategy", "trader", "--reporter", "none").code == 0
    (lab.run().folder / NAME).unlink()
    assert [lab(command).code for command in ("report", "verify", "audit")] == [0, 0, 0]


def test_a_disk_that_takes_no_mark_leaves_it_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = MarkWriter(tmp_path)
    marks.write(Mark(1, b"1" * 32))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        marks.write(Mark(2, b"2" * 32))
    assert read_mark(tmp_path) == Mark(1, b"1" * 32)
    marks.close()
    marks.close()


def test_a_mark_that_cannot_be_opened_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError, match="directory"):
        MarkWriter(tmp_path)
    gc.collect()  # what its end would raise is no test's to catch: pytest reports it


# -- resuming ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shortened(tmp_path: Path) -> Path:
    """Return the folder of a cut-off run whose journal had six rows and has two."""
    journal = Journal(tmp_path, durable=True, labels={})
    for number in range(3):
        journal.append(candles([100.0] * 6)[2 * number : 2 * number + 2], number, number)
        journal.commit()
        if not number:
            (tmp_path / "older").mkdir()
            for name in WITH_LOG:
                shutil.copy(tmp_path / name, tmp_path / "older")
    journal.close()
    put(tmp_path / "older", tmp_path, *WITH_LOG)
    with closing(JournalReader.open(tmp_path)) as reader:
        assert reader.damage().startswith("rows 3 to 6 are missing in the journal")
    return tmp_path


def stepped_again(folder: Path, prices: list[float]) -> None:
    """Give a journal that was opened again the rows that its tape gives, all at once, and commit them."""
    with closing(Journal(folder, durable=True, labels=None)) as journal:
        for number in range(0, len(prices), 2):
            journal.append(candles(prices)[number : number + 2], number // 2, number // 2)
        journal.compare(all_of_it=True)
        journal.commit()


@pytest.mark.behaviour("J1", "J2")
def test_rows_that_were_lost_are_there_again_after_a_resume_and_are_the_same(shortened: Path) -> None:
    stepped_again(shortened, [100.0] * 8)
    with closing(JournalReader.open(shortened)) as reader:
        assert (reader.count(), reader.damage()) == (8, "")


@pytest.mark.behaviour("J1", "J2")
@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ([100.0] * 4, "it had 6 rows, and its tape gives 4: it cannot be resumed"),
        ([*[100.0] * 5, 101.0, 101.0, 101.0], "row 6 is not the one that was there: it cannot be resumed"),
    ],
    ids=["a shorter tape", "another tape"],
)
def test_a_tape_that_does_not_give_the_lost_rows_again_resumes_nothing(
    shortened: Path, prices: list[float], said: str
) -> None:
    with pytest.raises(JournalError, match=said):
        stepped_again(shortened, prices)
    with closing(JournalReader.open(shortened)) as reader:
        assert reader.count() == 2
    assert read_mark(shortened).seq == 6  # type: ignore[union-attr]


# -- bit flips ---------------------------------------------------------------------------------------------------------


def figures(folder: Path) -> Any:
    """Return what a damaged copy shows, and whether anything tells that it is damaged."""
    try:
        with closing(JournalReader.open(folder)) as reader:
            check_begun(folder, reader)
            report = build_report(reader)
            told = check_chain(reader) is not None or reader.damage() or audit(reader).found
            return (report.ending_equity, report.fills, report.books, report.counters), bool(told)
    except LabError:
        return None, True


def damaged(cut_off: CutOff, number: int) -> Iterator[tuple[str, Path]]:
    """Yield so many copies of a session's folder with a few flipped bits, or cut short, in one of its files."""
    draw = random.Random(5)
    target = cut_off.folder.parent.parent / "damaged"
    for turn in range(number):
        shutil.copytree(cut_off.folder, target, ignore=shutil.ignore_patterns("tape*"))
        path = target / draw.choice([*WITH_LOG, "journal.db-wal"])
        data = bytearray(path.read_bytes())
        if turn % 10 == 9:
            del data[draw.randrange(len(data)) :]
        for _ in range(draw.randint(1, 4) if data else 0):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        yield f"{turn}: {path.name}", target
        shutil.rmtree(target)


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.night)])
def test_no_flipped_bit_changes_a_figure_unseen(cut_off: CutOff, number: int) -> None:
    true, _ = figures(cut_off.folder)
    found = {name: figures(folder) for name, folder in damaged(cut_off, number)}
    assert {name: shown for name, (shown, told) in found.items() if shown != true and not told} == {}
    assert sum(told for _, told in found.values()) > number / 4, "flips in the log are told"
