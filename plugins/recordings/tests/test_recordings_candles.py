"""Reading candles: what is accepted, what is refused, and where the error points."""

import gzip
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.market import check_candle
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS, format_time, parse_time
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
from lab_recordings.times import TimeColumn

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
    assert check_candles(write(HEADER + GOOD, "prices.csv.gz"), MINUTE_NS) == 2


def test_batches_hold_512_and_order_is_checked_across_them(write: Write) -> None:
    def row(minute: int) -> str:
        return f"{1704067200 + 60 * minute},10,12,9,11,5\n"

    rows = [row(minute) for minute in range(600)]
    assert [len(batch) for batch in read_candles(write(HEADER + "".join(rows)), "X", MINUTE_NS)] == [512, 88]
    rows[512] = row(511)
    with pytest.raises(RecordingError, match=r"prices.csv:514: .*must ascend"):
        check_candles(write(HEADER + "".join(rows)), MINUTE_NS)


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "empty; expected a header line"),
        ("\n", 1, "empty; expected a header line"),
        (HEADER, 2, "empty; expected rows below the header"),
        ("time,open,high,low\n1,2,3,4\n", 1, "no column close; the header has time, open, high, low"),
        ("when,open,high,low,close\n1,2,3,4,5\n", 1, "no column time or timestamp or datetime"),
        ("time,open,high,low,close,Close\n1,2,3,4,5,6\n", 1, r"column close more than once \(fields 5 and 6\); rename"),
        ("volume,volume,time,open,high,low,close\n", 1, r"column volume more than once \(fields 1 and 2\)"),
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
        check_candles(path, MINUTE_NS)
    assert (caught.value.file, caught.value.line) == (str(path), line)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_an_open_outside_low_and_high_is_accepted(write: Write) -> None:
    assert check_candles(write(HEADER + "2024-01-01,20,12,9,11,5\n"), MINUTE_NS) == 1


@pytest.mark.behaviour("M2")
def test_files_that_cannot_be_read_are_named_with_line_and_cure(tmp_path: Path) -> None:
    volume = random.Random(1)
    rows = "".join(f"{1704067200 + 60 * minute},10,12,9,11,{volume.random()}\n" for minute in range(3000))
    packed = gzip.compress((HEADER + rows).encode())
    files = {
        "torn.csv.gz": (packed[: len(packed) // 2], r":\d{3,4}: the gzip data breaks off .* download the file again"),
        "hurt.csv.gz": (packed[:-8] + bytes(8), r":\d{4}: the gzip data is damaged .* download the file again"),
        "named.csv.gz": (b"time,open", r":1: named .gz but not gzip data; rename it"),
        "latin.csv": ((HEADER + GOOD).encode() + b"\xff\xfe\n", ":4: not UTF-8 text .* save the file as UTF-8"),
        "open.csv": ((HEADER + GOOD + '"').encode() + bytes(200_000), ":4: not CSV .* is a quote left open"),
    }
    endless = (HEADER + GOOD).encode() + b"7" * 3_000_000
    files |= {
        "endless.csv": (
            endless,
            ": a line of more than 1,048,576 bytes from byte 1,048,576 on; expected rows, each on",
        ),
        "endless.csv.gz": (gzip.compress(endless), ":4: a line of more than 1,048,576 bytes at or after this one; "),
    }
    for name, (data, message) in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(RecordingError, match=name + message):
            check_candles(tmp_path / name, MINUTE_NS)
    with pytest.raises(RecordingError, match=r"nowhere.csv: no such file"):
        check_candles(tmp_path / "nowhere.csv", MINUTE_NS)
    with pytest.raises(RecordingError, match=r"can't be opened \(Is a directory\)"):
        check_candles(tmp_path, MINUTE_NS)


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n\r\n", "\r\r\r"])
def test_blank_lines_at_the_end_are_no_rows(write: Write, end: str) -> None:
    assert check_candles(write(HEADER + GOOD.rstrip() + end), MINUTE_NS) == 2


def test_blank_lines_are_refused_where_rows_follow_in_a_later_batch(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab_recordings.table.BATCH", 3)
    for blanks in (1, 2, 7):
        path = write(HEADER + GOOD + "\n" * blanks + "2024-01-01T00:02:00Z,10,12,9,11,5\n")
        with pytest.raises(RecordingError, match=r"prices.csv:4: blank line; expected 6 fields as in the header"):
            check_candles(path, MINUTE_NS)
    assert check_candles(write(HEADER + GOOD + "\n" * 7), MINUTE_NS) == 2
    with pytest.raises(RecordingError, match=r"prices.csv:2: empty; expected rows"):
        check_candles(write(HEADER + "\n" * 7), MINUTE_NS)


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            ["1704067200", "1704067260", "1704067320000"],
            ":4: time '1704067320000' is a number of ms, not of s as above",
        ),
        (["1704067200000000", "1704067260000000000"], ":3: time '1704067260000000000' is a number of ns, not of µs as"),
        (["2024-01-01T00:00Z", "1704067260"], ":3: time '1704067260' is a number of s, not a date as above"),
        (["1704067200", "2024-01-01T00:01Z"], ":3: time '2024-01-01T00:01Z' is a date, not a number of s as above"),
        (["1704067200.0", "1704067260000"], ":3: time '1704067260000' is a number of ms, not of s as above"),
    ],
)
@pytest.mark.parametrize("batch", [1, 512])
def test_times_of_several_units_are_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch, times: list[str], message: str, batch: int
) -> None:
    monkeypatch.setattr("lab_recordings.table.BATCH", batch)
    path = write(HEADER + "".join(f"{time},10,12,9,11,5\n" for time in times))
    with pytest.raises(RecordingError, match=message + ".*; write all times of a file alike"):
        check_candles(path, MINUTE_NS)


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
    assert check_candles(write(monday), 7 * DAY_NS) == 2
    with pytest.raises(RecordingError, match=r":4: 2024-01-16T00:00:00Z is not on the 1w grid"):
        check_candles(write(monday + "2024-01-16,10,12,9,11,5\n"), 7 * DAY_NS)


_ZONES = st.sampled_from(["", "Z", "+02:00", "-0530"])


@given(st.lists(st.tuples(st.integers(10**17, 4 * 10**18), _ZONES), min_size=1))
def test_a_column_of_iso_times_reads_as_each_time_alone(moments: list[tuple[int, str]]) -> None:
    texts = [format_time(moment)[:-1] + zone for moment, zone in moments]
    assert TimeColumn().parse(texts) == [parse_time(text) for text in texts]


_STEPS = st.sampled_from([1, 60, 420, 600, 3600, 4 * 3600, 86_400, 7 * 86_400])
_CLOCKS = st.sampled_from([(16, ""), (16, "+02:00"), (19, "Z"), (19, ".250Z"), (19, "-0530"), (19, " +01:00")])


@given(st.integers(10**8, 4 * 10**9), _STEPS, _CLOCKS, st.sampled_from("T "), st.integers(1, 200), st.data())
def test_evenly_spaced_dates_read_as_each_alone(
    begin_s: int, step_s: int, clock: tuple[int, str], sign: str, rows: int, data: st.DataObject
) -> None:
    length, rest = clock
    begin_s -= begin_s % 60
    moments = [(begin_s + step_s * row) * SECOND_NS for row in range(rows)]
    moments[data.draw(st.integers(0, rows - 1))] += data.draw(st.sampled_from([0, 0, SECOND_NS, 60 * SECOND_NS]))
    texts = [format_time(moment)[:length].replace("T", sign) + rest for moment in moments]
    assert list(TimeColumn().parse(texts, step_s * SECOND_NS)) == [parse_time(text) for text in texts]


@pytest.mark.parametrize(
    ("length", "step_s", "even"), [(16, 10, False), (16, 60, True), (19, 60, True), (19, 90, True)]
)
def test_days_of_dates_read_as_each_alone(length: int, step_s: int, even: bool) -> None:
    texts = [format_time((1704070800 + step_s * row) * SECOND_NS)[:length] for row in range(2500)]
    parsed = TimeColumn().parse(texts, step_s * SECOND_NS)
    assert list(parsed) == [parse_time(text) for text in texts]
    assert isinstance(parsed, range) is even  # read as one, not one by one


def test_dates_whose_last_is_beyond_what_nanoseconds_hold_are_refused() -> None:
    texts = [f"2116-02-20T{hour:02}:59:59Z" for hour in range(24)]
    with pytest.raises(ValueError, match="2116-02-20T23:59:59Z is outside of the years 1970 to 2116"):
        TimeColumn().parse(texts, 60 * MINUTE_NS)


_UNITS = st.sampled_from([1, 10**3, 10**6, 10**9])


@given(_UNITS, st.lists(st.integers(10**9, 4 * 10**9), min_size=1), st.sampled_from(["", ".0", ".25"]))
def test_a_column_of_numbers_reads_as_each_number_alone(unit: int, seconds: list[int], fraction: str) -> None:
    texts = [f"{second * unit}{fraction}" for second in seconds]
    parsed = [parse_time(text) for text in texts]
    assert TimeColumn().parse(texts) == parsed
    if fraction != ".25" and unit < 10**9:
        assert list(TimeColumn().numbers([float(text) for text in texts], SECOND_NS)) == parsed


def test_numbers_that_a_float_can_not_hold_are_not_read_as_floats() -> None:
    for numbers in ([1704067200000000001.0], [1704067200.5], [1704067200.0, 1704067201.5]):
        with pytest.raises(ValueError, match="not surely whole"):
            TimeColumn().numbers(numbers, SECOND_NS)


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        ("1969-12-31T23:59:00Z", "1969-12-31T23:59:00Z"),
        ("1970-01-01T00:00:00+02:00", "1969-12-31T22:00:00Z"),
        ("1969-12-31 23:59", "1969-12-31T23:59:00Z"),
        ("2116-02-21T00:00:00Z", "2116-02-21T00:00:00Z"),
        ("4613000000", "2116-03-07T04:53:20Z"),
    ],
)
def test_times_that_a_session_cannot_have_are_refused_with_their_line(tmp_path: Path, first: str, shown: str) -> None:
    path = tmp_path / "old.csv"
    path.write_text(f"time,open,high,low,close\n{first},1,1,1,1\n", encoding="utf-8")
    with pytest.raises(RecordingError, match=r"old.csv:2: .* is outside of the years 1970 to 2116") as refused:
        list(read_candles(path, "BTCUSDT", 60_000_000_000))
    assert shown in str(refused.value)


def test_digits_that_are_no_plain_number_are_refused_as_a_time(tmp_path: Path) -> None:
    for text in ("1_577_836_800", "+1577836800", "١٥٧٧٨٣٦٨٠٠"):
        path = tmp_path / "odd.csv"
        path.write_text(f"time,open,high,low,close\n{text},1,1,1,1\n", encoding="utf-8")
        with pytest.raises(RecordingError, match=r"odd.csv:2: "):
            list(read_candles(path, "BTCUSDT", 60_000_000_000))
