"""Kept columns are what was read, or nothing: damage anywhere is found before the first block is used."""

import errno
import io
import os
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from lab.domain.batches import CandleColumns, TickColumns
from lab.domain.time import MINUTE_NS
from lab_recordings import Survey, cache, read_columns, read_tick_columns, recording
from lab_recordings import table as tables
from lab_recordings.cache import ColumnCache, name_of
from lab_recordings.kept import DamagedError, KeptColumns, KeptWriter


def written(blocks: list[CandleColumns] | list[TickColumns], survey: Survey, name: str = "n") -> bytes:
    file = BytesIO()
    writer = KeptWriter(file, name)
    for block in blocks:
        writer.add(block)
    writer.end(survey)
    return file.getvalue()


def same(columns: CandleColumns) -> tuple[Any, ...]:
    return (columns.lowest, columns.highest, list(columns.opens_ns), *map(list, columns.figures))


def same_ticks(columns: TickColumns) -> tuple[Any, ...]:
    return (columns.lowest, columns.highest, *map(list, columns.quotes), *map(list, columns.trades))


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[CandleColumns]:
    """Blocks of 500 candles of the shipped file, some of them with a gap, so that their times are no range."""
    monkeypatch.setattr(tables, "BATCH", 500)
    return list(read_columns(recording("btcusd-1m").path, MINUTE_NS))


def test_candles_and_their_survey_come_back_as_they_were_read(blocks: list[CandleColumns]) -> None:
    survey = Survey()
    list(read_columns(recording("btcusd-1m").path, MINUTE_NS, survey))
    uneven = CandleColumns([0, MINUTE_NS, 5 * MINUTE_NS], [[5.0, 1e-18, 0.1]] * 4 + [[0.0, 1e17, 3.0]])
    kept = KeptColumns(BytesIO(written([*blocks, uneven], survey)), "n", CandleColumns.loaded)
    assert kept.rows == sum(map(len, blocks)) + 3
    assert kept.survey == survey
    assert list(map(same, kept.columns())) == list(map(same, [*blocks, uneven]))


def test_no_block_is_read_that_is_longer_than_any_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long:
        def __len__(self) -> int:
            return 1

        def dumped(self) -> bytes:
            return bytes((4 << 20) + 1)

    data: Any = [Long()]
    with pytest.raises(DamagedError, match="block 1 of 1 is damaged"):
        KeptColumns(BytesIO(written(data, Survey())), "n", CandleColumns.loaded)
    monkeypatch.setattr(Survey, "dumped", Long.dumped)
    with pytest.raises(DamagedError, match="its end is damaged"):
        KeptColumns(BytesIO(written([], Survey())), "n", CandleColumns.loaded)


def test_ticks_and_their_survey_come_back_as_they_were_read() -> None:
    survey = Survey()
    ticks = list(read_tick_columns(recording("btcusdt-ticks").path, survey))[:20]
    none: list[Any] = [[], [], []]
    ticks += [
        TickColumns([*none, [], []], [[1], [5.0], [0.0], [1]]),
        TickColumns([[1], [5.0], [0.0], [6.0], [1.0]], [*none, []]),
    ]
    kept = KeptColumns(BytesIO(written(ticks, survey)), "n", TickColumns.loaded)
    assert kept.survey == survey
    assert list(map(same_ticks, kept.columns())) == list(map(same_ticks, ticks))
    assert survey.lowest < survey.highest


def test_a_survey_without_a_price_comes_back_too() -> None:
    survey = Survey(has_volume=False, gaps=3, longest_gap_ns=2**62)
    assert Survey.loaded(survey.dumped()) == survey


def test_whatever_byte_is_changed_missing_or_too_many_the_file_is_refused(blocks: list[CandleColumns]) -> None:
    sound = written([CandleColumns(list(one.opens_ns)[:3], [f[:3] for f in one.figures]) for one in blocks], Survey())
    KeptColumns(BytesIO(sound), "n", CandleColumns.loaded)
    for place in range(len(sound)):
        for change in (1, 0x80):
            damaged = bytearray(sound)
            damaged[place] ^= change
            with pytest.raises(DamagedError, match=r"damaged|not the file of its name"):
                KeptColumns(BytesIO(damaged), "n", CandleColumns.loaded)
        with pytest.raises(DamagedError, match="damaged"):
            KeptColumns(BytesIO(sound[:place]), "n", CandleColumns.loaded)
    with pytest.raises(DamagedError, match="its end is damaged"):
        KeptColumns(BytesIO(sound + b"x"), "n", CandleColumns.loaded)
    with pytest.raises(DamagedError, match="not the file of its name"):
        KeptColumns(BytesIO(sound), "other", CandleColumns.loaded)


def test_a_file_that_was_never_finished_is_refused(blocks: list[CandleColumns]) -> None:
    file = BytesIO()
    KeptWriter(file, "n").add(blocks[0])
    with pytest.raises(DamagedError, match="its head is damaged"):
        KeptColumns(BytesIO(file.getvalue()), "n", CandleColumns.loaded)


def test_a_file_whose_survey_is_of_another_kind_is_refused(blocks: list[CandleColumns]) -> None:
    class Other(Survey):
        def dumped(self) -> bytes:
            return b"[1]"

    with pytest.raises(DamagedError, match="its end is of another kind"):
        KeptColumns(BytesIO(written(blocks, Other())), "n", CandleColumns.loaded)


def test_a_block_that_is_damaged_after_the_check_is_not_given(blocks: list[CandleColumns]) -> None:
    file = BytesIO(written(blocks, Survey()))
    columns = KeptColumns(file, "n", CandleColumns.loaded).columns()
    assert same(next(columns)) == same(blocks[0])
    file.getbuffer()[-2000] ^= 1
    with pytest.raises(DamagedError, match="block 3 of 3 is damaged"):
        list(columns)


def test_bytes_that_are_no_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="more or less"):
        TickColumns.loaded(TickColumns([[1], [5.0], [0.0], [6.0], [1.0]]).dumped() + bytes(8))


# -- the folder -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> ColumnCache:
    return ColumnCache(tmp_path / "deep" / "cache")


def keep(folder: ColumnCache, name: str, blocks: list[CandleColumns]) -> bool:
    with folder.draft(name) as draft:
        if draft is None:
            return False
        for block in blocks:
            draft.add(block)
        draft.end(Survey())
    return draft.complete


def kept(folder: ColumnCache) -> list[str]:
    return sorted(path.name for path in folder.folder.iterdir())


def test_columns_are_found_by_name_and_by_nothing_else(folder: ColumnCache, blocks: list[CandleColumns]) -> None:
    assert folder.find("a.columns", CandleColumns.loaded) is None
    assert keep(folder, "a.columns", blocks)
    found = folder.find("a.columns", CandleColumns.loaded)
    assert found is not None
    assert list(map(same, found.columns())) == list(map(same, blocks))
    assert folder.find("b.columns", CandleColumns.loaded) is None
    assert kept(folder) == ["a.columns"]


def test_the_name_says_all_that_decides_what_the_columns_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name_of(sha, how) for sha in ("0" * 64, "1" * 64) for how in ("ticks", "candles-60", "candles-300")}
    assert len(names) == 6
    for attribute, value in (("_FORMAT", 99), ("version", lambda _: "9.9.9")):
        monkeypatch.setattr(cache, attribute, value)
        names.add(name_of("0" * 64, "ticks"))
    assert len(names) == 8


def test_what_is_not_finished_or_fails_leaves_nothing_behind(
    folder: ColumnCache, blocks: list[CandleColumns], capsys: pytest.CaptureFixture[str]
) -> None:
    with folder.draft("a.columns") as draft:
        assert draft is not None
        draft.add(blocks[0])
    for reason in (KeyError, OSError):  # of whoever makes the columns: nothing here swallows it
        with pytest.raises(reason), folder.draft("a.columns"):
            raise reason
    assert kept(folder) == []
    assert capsys.readouterr().err == ""


def test_columns_that_are_read_while_they_are_removed_or_replaced_are_read_to_their_end(
    folder: ColumnCache, blocks: list[CandleColumns]
) -> None:
    keep(folder, "a.columns", blocks)
    first, second = (folder.find("a.columns", CandleColumns.loaded) for _ in range(2))
    assert first is not None
    assert second is not None
    reading = first.columns()
    next(reading)
    keep(folder, "a.columns", blocks[:1])
    (folder.folder / "a.columns").unlink()
    assert list(map(same, reading)) == list(map(same, blocks[1:]))
    assert list(map(same, second.columns())) == list(map(same, blocks))


def test_damaged_columns_are_said_once_in_one_line_and_not_found(
    folder: ColumnCache, blocks: list[CandleColumns], capsys: pytest.CaptureFixture[str]
) -> None:
    keep(folder, "a.columns", blocks)
    (path := folder.folder / "a.columns").write_bytes(path.read_bytes()[:-1000])
    assert folder.find("a.columns", CandleColumns.loaded) is None
    assert capsys.readouterr().err == f"lab: kept columns {path}: its end is damaged; made anew\n"


class Full(io.BufferedWriter):
    """A file on a disk that is full after some bytes."""

    room = 0

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("room", [0, 100, 30_000])
def test_a_full_disk_keeps_nothing_and_is_said_in_one_line(
    room: int,
    folder: ColumnCache,
    blocks: list[CandleColumns],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Full, "room", room)
        patch.setattr(os, "fdopen", lambda handle, mode, size: Full(io.FileIO(handle, mode), size))
        assert not keep(folder, "a.columns", blocks)
    assert kept(folder) == []
    said = capsys.readouterr().err
    assert said == "lab: the columns of the file are not kept: [Errno 28] No space left on device\n"
    assert keep(folder, "a.columns", blocks)


@pytest.mark.parametrize("named", [False, True])
def test_a_folder_that_cannot_be_made_keeps_nothing_and_says_so_only_where_it_was_named(
    named: bool,
    tmp_path: Path,
    blocks: list[CandleColumns],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    if not named:
        monkeypatch.delenv("LAB_CACHE_DIR")
    folder = ColumnCache(tmp_path / "file" / "cache")
    assert not keep(folder, "a.columns", blocks)
    assert folder.find("a.columns", CandleColumns.loaded) is None
    text = f"lab: LAB_CACHE_DIR: {folder.folder}: Not a directory; the columns of the file are not kept\n"
    assert capsys.readouterr().err == (text if named else "")


def test_without_writing_columns_are_read_and_nothing_else_happens(
    folder: ColumnCache, blocks: list[CandleColumns], capsys: pytest.CaptureFixture[str]
) -> None:
    reader = ColumnCache(folder.folder, writes=False)
    assert not keep(reader, "a.columns", blocks)
    assert not folder.folder.parent.exists()
    keep(folder, "a.columns", blocks)
    os.utime(path := folder.folder / "a.columns", (1, 1))
    assert reader.find("a.columns", CandleColumns.loaded) is not None
    assert path.stat().st_mtime == 1
    path.write_bytes(b"x")
    assert reader.find("a.columns", CandleColumns.loaded) is None
    assert capsys.readouterr().err == f"lab: kept columns {path}: its head is damaged; not used\n"
    assert path.read_bytes() == b"x"


def test_of_a_full_folder_the_oldest_used_columns_go_first(folder: ColumnCache, blocks: list[CandleColumns]) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        keep(folder, f"{name}.columns", blocks)
        os.utime(folder.folder / f"{name}.columns", (age, age))
    (folder.folder / "notes.txt").write_text("another's")
    (folder.folder / "x.columns.part").write_text("in the making")
    (folder.folder / "y.columns.part").write_text("of a process that was killed")
    long_ago = time.time() - 2 * 86_400
    os.utime(folder.folder / "y.columns.part", (long_ago, long_ago))
    folder.most_bytes = 3 * (folder.folder / "a.columns").stat().st_size
    assert folder.find("c.columns", CandleColumns.loaded) is not None
    keep(folder, "d.columns", blocks)
    assert kept(folder) == ["b.columns", "c.columns", "d.columns", "notes.txt", "x.columns.part"]


def test_columns_that_are_more_than_the_folder_holds_are_not_kept(
    folder: ColumnCache, blocks: list[CandleColumns], capsys: pytest.CaptureFixture[str]
) -> None:
    folder.most_bytes = 30_000
    keep(folder, "a.columns", blocks[:1])
    assert not keep(folder, "b.columns", blocks)
    assert kept(folder) == ["a.columns"]
    assert capsys.readouterr().err == ""


def test_the_folder_is_the_users_or_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_CACHE_DIR", str(tmp_path / "named"))
    assert cache.user_folder() == tmp_path / "named"
    monkeypatch.setenv("LAB_CACHE_DIR", "~/named")
    assert cache.user_folder() == Path.home() / "named"
    monkeypatch.setenv("LAB_CACHE_DIR", "~nobody-of-this-name/named")
    assert cache.user_folder() == Path("~nobody-of-this-name/named")
    monkeypatch.delenv("LAB_CACHE_DIR")
    assert cache.user_folder().name in {"lab", "Cache"}
    assert cache.user_folder().is_absolute()
