"""The quick ways to read a file give what the exact one gives: the same objects, or the same error."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.market import Candle, Quote, check_candle, check_quote
from lab.domain.time import MINUTE_NS, format_time
from lab_recordings import RecordingError, Tick, read_candles, read_ticks
from lab_recordings import columns as quick
from lab_recordings import table as tables

Read = Callable[[Path], Iterator[Sequence[Candle | Tick]]]

_BEGIN_S = 1704067200
_FORMS: list[Callable[[int], str]] = [
    lambda second: f"{second}",
    lambda second: f"{second * 1000}",
    lambda second: f"{second * 10**6}",
    lambda second: f"{second * 10**9}",
    lambda second: f"{second}.0",
    lambda second: format_time(second * 10**9),
    lambda second: format_time(second * 10**9).replace("T", " ").removesuffix("Z"),
]
_GOOD = ["1", "1.0", "2.50", "0.5", "60000.12", "3e0", "1.5e-05"]
_ODD = [
    "", " 1", "1 ", "1_0", "+1", ".5", "1.", "01", "-0", "-1", "0", "nan", "inf", "1e400", "1e15", "1e18", "9" * 40,
    "null", "true", "x", '"1"', '"1,2"', '"1\n2"', "1]", "[1", "1,1", "1\r", "\r1", "\x0b1", "70001", "trade",
    "\N{ARABIC-INDIC DIGIT ONE}",
]  # fmt: skip
_ODD_TIMES = [
    "", "soon", "-5", "1.7e9", "1e9", "2024-01-01", "2024-01-01T00", "1_704_067_200", "9" * 25, "null",
    f"{(_BEGIN_S + 60) / 10**9}e9",
    *(form(_BEGIN_S + 60) for form in _FORMS), *(form(_BEGIN_S + 90) for form in _FORMS), f"{_BEGIN_S + 60}.5",
    f"{_BEGIN_S + 150}",
]  # fmt: skip


@st.composite
def _files(draw: st.DrawFn, columns: list[str]) -> bytes:
    """A sound file, its columns in some order; then up to two of its cells and one of its line ends become odd."""
    columns = [*columns, "note"] if draw(st.booleans()) else columns
    form, figures = draw(st.sampled_from(_FORMS)), st.sampled_from(_GOOD[: draw(st.sampled_from([5, 7]))])
    rows = []
    for minute in range(draw(st.integers(0, 8))):
        fixed = {"time": form(_BEGIN_S + 60 * minute), "note": "5", "high": "70000", "ask": "70000"}
        row = {name: fixed.get(name) or draw(figures) for name in columns} | {"low": "0.00001", "bid": "0.00001"}
        if "kind" in columns:
            row |= {"kind": "trade", "bid": "", "bid_size": "", "ask": "", "ask_size": "", "side": "buy"}
            if draw(st.booleans()):
                row |= {"kind": "quote", "bid": "5", "bid_size": "1", "ask": "5", "ask_size": "0", "price": ""}
                row |= {"size": "", "side": ""}
        rows.append(row)
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2])) if rows else 0):
        name = draw(st.sampled_from(columns))
        draw(st.sampled_from(rows))[name] = draw(st.sampled_from(_ODD_TIMES if name == "time" else _ODD))
    order = draw(st.permutations(columns)) if draw(st.booleans()) else columns
    lines = [",".join(order), *(",".join(row[name] for name in order) for row in rows)]
    ends = [draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))] * len(lines)
    if draw(st.booleans()):
        ends[draw(st.integers(0, len(ends) - 1))] = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n", "", ",\n"]))
    return "".join(line + end for line, end in zip(lines, ends, strict=True)).encode()


def _outcome(read: Read, path: Path) -> list[str]:
    """What a reader gives, or gives up with; all of it is sound."""
    seen, newest_ns = [], 0
    try:
        for batch in read(path):
            seen.append(repr(batch))
            for one in batch:
                assert one.time_ns >= newest_ns
                newest_ns = one.time_ns
                if isinstance(one, Candle):
                    assert check_candle(one) is None
                elif isinstance(one, Quote):
                    assert check_quote(one) is None
                else:
                    assert 0 < one.price < 1e15
                    assert 0 <= one.size < 1e18
    except RecordingError as error:
        seen.append(str(error))
    return seen


def _both_ways(read: Read, path: Path, data: bytes, batch: int = 2) -> None:
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BATCH", batch)
        quickly = _outcome(read, path)
        patch.setattr(tables, "quick_columns", lambda *_: iter(()))
        patch.setattr(tables, "_plain", lambda text: False)  # then `csv` alone parts the rows
        assert quickly == _outcome(read, path)


_CANDLES = ["time", "open", "high", "low", "close", "volume"]
_QUOTES = ["time", "bid", "bid_size", "ask", "ask_size"]
_MIXED = ["time", "kind", "bid", "bid_size", "ask", "ask_size", "price", "size", "side"]
_ROWS = {
    tuple(_CANDLES): ["{},5,6,4,5,1", "{},5,6,4,5,0", "{},1e0,6,1,5,0.5"],
    tuple(_QUOTES): ["{},5,1,6,0", "{},5,0,5,1", "{},5.5,1e-1,6,1"],
    tuple(_MIXED): ["{},quote,5,1,6,1,,,", "{},trade,,,,,5,1,buy", "{},trade,,,,,5,0,sell"],
}


def _read(columns: Sequence[str]) -> Read:
    if "open" in columns:
        return lambda path: read_candles(path, "X", MINUTE_NS)
    return lambda path: read_ticks(path, "X")


@pytest.mark.parametrize("columns", _ROWS)
def test_one_odd_cell_anywhere_is_read_as_csv_and_float_read_it(columns: tuple[str, ...], tmp_path: Path) -> None:
    for form, end in ((_FORMS[0], "\n"), (_FORMS[3], "\r\n"), (_FORMS[5], "\n")):
        rows = [row.format(form(_BEGIN_S + 60 * minute)).split(",") for minute, row in enumerate(_ROWS[columns])]
        for (count, place), name in product([(1, 0), (3, 0), (3, 1)], columns):
            for odd in _ODD_TIMES if name == "time" else _ODD:
                changed = [list(row) for row in rows[:count]]
                changed[place][columns.index(name)] = odd
                text = end.join(map(",".join, [columns, *changed])) + end
                _both_ways(_read(columns), tmp_path / "odd.csv", text.encode())


@pytest.mark.parametrize("columns", _ROWS)
@pytest.mark.parametrize("note", ["1", "x"])
def test_rows_of_other_widths_are_refused_where_they_make_up_for_each_other(
    columns: tuple[str, ...], note: str, tmp_path: Path
) -> None:
    first, second, third = (row.format(_BEGIN_S + 60 * minute) for minute, row in enumerate(_ROWS[columns]))
    for lines in ([first, f"{note},{second},{note}"], [f"{first},{note},{note}", second], [first, second, third]):
        text = "\n".join([",".join([*columns, "note"]), *lines])
        (path := tmp_path / "ragged.csv").write_text(text)
        with pytest.raises(RecordingError, match="fields; expected"):
            list(_read(columns)(path))


@settings(max_examples=200)
@given(st.sampled_from([_CANDLES, _QUOTES, _MIXED]), st.data(), st.sampled_from([1, 3, 4096]))
def test_files_read_quickly_are_what_csv_and_float_give(columns: list[str], data: st.DataObject, batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _both_ways(_read(columns), Path(folder, "any.csv"), data.draw(_files(columns)), batch)


@given(st.lists(st.floats(1e-300, 9e14) | st.decimals(0, 10**9, places=18), min_size=1, max_size=20))
def test_every_number_is_read_to_the_last_bit(numbers: list[object]) -> None:
    texts = [str(number) for number in numbers]
    (columns,) = [*quick.quick_columns("".join(f"{text},{text},a\n" for text in texts).encode(), len(texts), 3)]
    assert columns.floats(0) == columns.floats(1) == list(map(float, texts))
    for columns in quick.quick_columns("".join(f"x,{text},{text}\n" for text in texts).encode(), len(texts), 3):
        assert columns.floats(1) == columns.floats(2) == list(map(float, texts))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("1704067200,1,2.5", "_Numbers"),
        ("2024-01-01T00:00Z,1e-05,2", "_FirstAndNumbers"),
        ("1704067200,x,2", "_Cells"),
    ],
)
def test_the_quickest_way_that_understands_a_block_comes_first(line: str, kind: str) -> None:
    first = next(quick.quick_columns(f"{line}\r\n".encode() * 3, 3, 3))
    assert type(first).__name__ == kind
    assert first.floats(2) == [float(line.split(",")[2])] * 3


def test_the_end_of_a_line_is_no_part_of_its_last_text() -> None:
    (columns,) = quick.quick_columns(b"1,2,buy\r\n1,2,sell\r\n", 2, 3)
    assert columns.texts(2) == ["buy", "sell"]


LENGTHS = [1, 1, 40, 1, 2, 300, 300, 1, 1, 1, 1, 1, 1, 90, 1, 7, 7, 8, 6, 1] * 10


def _first_cells(path: Path, into: list[list[str]]) -> None:
    for block in tables.Table(path).blocks():
        assert block.line == 2 + sum(map(len, into))
        block.read(lambda columns: into.append(list(columns.texts(0))), lambda *_: None)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64, 1000])
def test_rows_are_taken_by_the_batch_however_their_lengths_change(
    batch: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BATCH", batch)
    rows = [f"{number},{'7' * length}" for number, length in enumerate(LENGTHS)]
    for tail in ("", end, end * 4):
        (path := tmp_path / "long.csv").write_bytes(end.join(["a,b", *rows]).encode() + tail.encode())
        taken: list[list[str]] = []
        _first_cells(path, taken)
        assert [cell for column in taken for cell in column] == [str(number) for number in range(len(rows))]
        assert [len(column) for column in taken[:-1]] == [batch] * (len(taken) - 1)


@pytest.mark.parametrize("place", [0, 1, 30, 190])
@pytest.mark.parametrize("odd", ['{},"7"', "{},7\r", "{},7,7", "", "{},\x80"])
def test_the_line_of_an_odd_row_is_right_wherever_it_is(
    odd: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BATCH", 16)
    rows = [f"{number},{'7' * length}" for number, length in enumerate(LENGTHS)]
    rows[place] = odd.format(place)
    rows[-1] = "x"
    (path := tmp_path / "odd.csv").write_bytes("\n".join(["a,b", *rows]).encode("latin-1"))
    taken: list[list[str]] = []
    with pytest.raises(RecordingError) as raised:
        _first_cells(path, taken)
    sound = odd.startswith("{}") and not odd.endswith((",7", "\x80"))
    assert raised.value.line == (201 if sound else place + 2)
    assert [cell for column in taken for cell in column] == [str(number) for number in range(sum(map(len, taken)))]
