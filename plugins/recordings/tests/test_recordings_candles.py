"""Reading candles: what is accepted, what is refused, and where the error points."""

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.market import check_candle
from lab.domain.time import DAY_NS, MINUTE_NS, format_time, parse_time
from lab_recordings import (
    RecordingError,
    check_candles,
    infer_interval,
    locate,
    names,
    read_candles,
    recording,
    sha256_of,
)
from lab_recordings.table import TimeColumn

HEADER = "time,open,high,low,close,volume\n"
GOOD = "2024-01-01T00:00:00Z,10,12,9,11,5\n2024-01-01T00:01:00Z,11,13,10,12,6\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str, name: str = "prices.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return make


def test_the_shipped_candles_are_a_whole_sound_day() -> None:
    shipped = recording("btcusd-1m")
    candles = [candle for batch in read_candles(shipped.path, shipped.symbol, MINUTE_NS) for candle in batch]
    assert len(candles) == 1440
    times = parse_time("2020-01-01"), parse_time("2020-01-01T00:01")
    assert candles[0] == ("BTCUSD", *times, 7160.69, 7160.69, 7159.64, 7159.64, 5.50169101, "final")
    assert all(later.open_ns - earlier.open_ns == MINUTE_NS for earlier, later in pairwise(candles))
    assert [check_candle(candle) for candle in candles] == [None] * 1440
    assert infer_interval(shipped.path) == MINUTE_NS


def test_shipped_files_are_the_ones_the_notice_speaks_of() -> None:
    notice = (recording("btcusd-1m").path.parent / "NOTICE").read_text()
    for name in names():
        assert recording(name).path.name in notice
        assert locate(name) == recording(name).path
    assert sha256_of(recording("btcusd-1m").path)[:8] == "79efd000"


@pytest.mark.parametrize("column", ["time", "timestamp", "datetime", "date", "open_time", " Open_Time "])
def test_columns_are_found_by_name_in_any_case_and_order(write: Write, column: str) -> None:
    path = write(f"Close,extra,LOW,High,Open,{column}\n11,x,9,12,10,1704067200000\n")
    ((candle,),) = read_candles(path, "X", MINUTE_NS)
    assert candle == ("X", 1704067200 * 10**9, 1704067260 * 10**9, 10.0, 12.0, 9.0, 11.0, 0.0, "final")


def test_gzip_is_told_by_content(write: Write) -> None:
    assert check_candles(write(HEADER + GOOD, "prices.csv.gz"), "X", MINUTE_NS) == 2


def test_batches_hold_4096_and_order_is_checked_across_them(write: Write) -> None:
    def row(minute: int) -> str:
        return f"{1704067200 + 60 * minute},10,12,9,11,5\n"

    rows = [row(minute) for minute in range(5000)]
    assert [len(batch) for batch in read_candles(write(HEADER + "".join(rows)), "X", MINUTE_NS)] == [4096, 904]
    rows[4096] = row(4095)
    with pytest.raises(RecordingError, match=r"prices.csv:4098: .*must ascend"):
        check_candles(write(HEADER + "".join(rows)), "X", MINUTE_NS)


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "empty; expected a header line"),
        ("\n", 1, "empty; expected a header line"),
        (HEADER, 2, "empty; expected rows below the header"),
        ("time,open,high,low\n1,2,3,4\n", 1, "no column close; the header has time, open, high, low"),
        ("when,open,high,low,close\n1,2,3,4,5\n", 1, "no column time or timestamp or datetime"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,10,12,9\n", 4, "4 fields; expected 6"),
        (HEADER + GOOD + "\n" + GOOD, 4, "blank line; expected 6"),
        (HEADER + GOOD + "soon,10,12,9,11,5\n", 4, "not a time: 'soon'"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,10,12,x,11,5\n", 4, "low 'x' is not a number"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,10,12,9,11,?\n", 4, r"volume '\?' is not a number"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,nan,12,9,11,5\n", 4, "open nan is not a price"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,10,inf,9,11,5\n", 4, "high inf is not a price"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,10,12,nan,11,5\n", 4, "low nan is not a price"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,0,12,9,11,5\n", 4, "open 0.0 is not a price"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,10,12,9,13,5\n", 4, r"close 13.0 outside \[9.0, 12.0\]"),
        (HEADER + GOOD + "2024-01-01T00:02:00Z,10,12,9,11,-5\n", 4, "volume -5.0 is not a volume"),
        (HEADER + GOOD + "2024-01-01T00:01:00Z,10,12,9,11,5\n", 4, "must ascend"),
        (HEADER + GOOD + "2024-01-01T00:02:30Z,10,12,9,11,5\n", 4, "00:02:30Z is not on the 1m grid"),
    ],
)
def test_a_bad_file_is_refused_with_file_line_and_reason(write: Write, text: str, line: int, reason: str) -> None:
    path = write(text)
    with pytest.raises(RecordingError, match=reason) as caught:
        check_candles(path, "X", MINUTE_NS)
    assert (caught.value.file, caught.value.line) == (str(path), line)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_an_open_outside_low_and_high_is_accepted(write: Write) -> None:
    assert check_candles(write(HEADER + "2024-01-01,20,12,9,11,5\n"), "X", MINUTE_NS) == 1


def test_files_that_cannot_be_read_are_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nowhere.csv: no such file"):
        check_candles(tmp_path / "nowhere.csv", "X", MINUTE_NS)
    torn = write(HEADER + GOOD, "torn.csv.gz")
    torn.write_bytes(torn.read_bytes()[:-12])
    with pytest.raises(RecordingError, match=r"torn.csv.gz:\d+: at or after this line: can't be read"):
        check_candles(torn, "X", MINUTE_NS)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(HEADER.encode() + b"\xff\xfe\n")
    with pytest.raises(RecordingError, match="not UTF-8"):
        check_candles(latin, "X", MINUTE_NS)


def test_near_names_are_suggested() -> None:
    with pytest.raises(RecordingError, match="did you mean 'btcusd-1m'"):
        recording("btcusd1m")
    with pytest.raises(RecordingError, match="did you mean the recording 'btcusdt-ticks'"):
        locate("btcusdt-tick")
    with pytest.raises(RecordingError, match="is a directory"):
        locate(recording("btcusd-1m").path.parent)


def test_the_interval_is_the_most_common_distance(write: Write) -> None:
    minutes = [0, 5, 10, 20, 25, 40]
    path = write(HEADER + "".join(f"{1704067200 + 60 * minute},10,12,9,11,5\n" for minute in minutes))
    assert infer_interval(path) == 5 * MINUTE_NS
    with pytest.raises(RecordingError, match="one candle only"):
        infer_interval(write(HEADER + "2024-01-01,10,12,9,11,5\n"))


def test_weekly_candles_may_begin_on_any_day(write: Write) -> None:
    monday = HEADER + "2024-01-01,10,12,9,11,5\n2024-01-08,10,12,9,11,5\n"
    assert check_candles(write(monday), "X", 7 * DAY_NS) == 2
    with pytest.raises(RecordingError, match=r":4: 2024-01-16T00:00:00Z is not on the 1w grid"):
        check_candles(write(monday + "2024-01-16,10,12,9,11,5\n"), "X", 7 * DAY_NS)


_ZONES = st.sampled_from(["", "Z", "+02:00", "-0530"])


@given(st.lists(st.tuples(st.integers(10**17, 4 * 10**18), _ZONES), min_size=1))
def test_a_column_of_iso_times_reads_as_each_time_alone(moments: list[tuple[int, str]]) -> None:
    texts = [format_time(moment)[:-1] + zone for moment, zone in moments]
    assert TimeColumn().parse(texts) == [parse_time(text) for text in texts]


@given(st.lists(st.integers(10**8, 9 * 10**18), min_size=1).map(lambda numbers: [str(number) for number in numbers]))
def test_a_column_of_numbers_reads_as_each_number_alone(texts: list[str]) -> None:
    assert TimeColumn().parse(texts) == [parse_time(text) for text in texts]
