"""Files of candles in the form people have them: each gives the very same candles, or is refused in one line."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from candle_files import DAYS, HOURS, READ, Row, ohlcv, series, table, unix
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS
from lab_recordings import CandleFileReader, Reading, RecordingError
from refused_files import REFUSED

Candles = list[tuple[float, ...]]


def read(path: Path, **settings: str) -> tuple[Candles, CandleFileReader]:
    """Read a file as a replay does: a plain file that is none after all is read in a dialect."""
    reader = CandleFileReader(path, Reading(**settings))  # type: ignore[arg-type]
    try:
        blocks = list(reader.columns())
    except RecordingError as error:
        if not reader.is_plain:
            raise
        reader.fall_back(error)
        blocks = list(reader.columns())
    rows = [row for block in blocks for row in zip(block.opens_ns, *block.figures, strict=True)]
    return rows, reader


@pytest.mark.behaviour("M2", "D1")
@pytest.mark.parametrize("origin", READ)
def test_files_of_many_origins_give_the_very_same_candles(tmp_path: Path, origin: str) -> None:
    content, candles, said, suffix, settings = READ[origin]
    path = tmp_path / f"prices{suffix}"
    path.write_bytes(content)
    rows, reader = read(path, **settings)
    assert rows == [tuple(row) for row in candles]
    assert reader.said() == said
    assert reader.interval_ns % SECOND_NS == 0


@pytest.mark.behaviour("M2", "D1")
@pytest.mark.parametrize("origin", REFUSED)
def test_files_that_leave_a_doubt_are_refused_in_one_line_with_the_cure(tmp_path: Path, origin: str) -> None:
    content, says, suffix = REFUSED[origin]
    path = tmp_path / f"prices{suffix}"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=f"prices{suffix}{says}") as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < len(str(path)) + 300


COLUMNS = ("open", "high", "low", "close", "volume")


def _moments(rows: list[Row]) -> list[datetime]:
    return [datetime.fromtimestamp(row.open_ns // SECOND_NS, UTC) for row in rows]


@pytest.mark.parametrize("name", ["timestamp", "__index_level_0__"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "days", "numbers"])
def test_parquet_is_read_where_pyarrow_is_there(tmp_path: Path, name: str, unit: str) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = DAYS if unit == "days" else HOURS
    if unit == "days":
        times = arrow.array([date.fromtimestamp(row.open_ns // SECOND_NS) for row in rows])  # noqa: DTZ012
    elif unit == "numbers":
        times = arrow.array([row.open_ns // SECOND_NS for row in rows])
    else:
        times = arrow.array(_moments(rows), arrow.timestamp(unit, "UTC"))
    columns = {each: arrow.array([getattr(row, each) for row in rows]) for each in COLUMNS}
    path = tmp_path / "prices.parquet"
    parquet.write_table(arrow.table({**columns, name: times}), path)
    found, reader = read(path)
    assert found == [tuple(row) for row in rows]
    assert reader.said() == f"Parquet; {'1d' if unit == 'days' else '1h'} candles"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RecordingError, match=r"prices.parquet: a Parquet file that can't be read \("):
        read(path)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "days"])
def test_times_of_parquet_are_read_in_the_unit_they_have_however_early(tmp_path: Path, unit: str) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = series("1970-01-10", DAY_NS, 20)
    kind = arrow.date32() if unit == "days" else arrow.timestamp(unit)
    columns = {each: arrow.array([getattr(row, each) for row in rows]) for each in COLUMNS}
    times = arrow.array([moment.replace(tzinfo=None) for moment in _moments(rows)]).cast(kind)
    path = tmp_path / "prices.parquet"
    parquet.write_table(arrow.table({"time": times, **columns}), path)
    assert read(path)[0] == [tuple(row) for row in rows]


def test_a_time_of_parquet_that_no_calendar_has_is_refused(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {each: arrow.array([1.0, 1.0]) for each in COLUMNS}
    path = tmp_path / "prices.parquet"
    times = arrow.array([10**12, 10**12 + 60]).cast(arrow.timestamp("s"))
    parquet.write_table(arrow.table({"time": times, **columns}), path)
    with pytest.raises(RecordingError, match=r"prices.parquet:1: not a time .*'1000000000000000000000 ns since 1970'"):
        read(path)


def test_parquet_without_pyarrow_is_refused_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prices.parquet"
    path.write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        RecordingError, match=r"a Parquet file, which needs pyarrow; pip install 'lab-recordings\[parquet\]'"
    ):
        read(path)


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("ROWS_MOST", 50, "more than 50 rows; split the file"),
        ("_TEXT_MOST", 500, "more than 0 GiB of text; split the file"),
        ("_LINE_MOST", 20, "a line of more than 20 bytes; expected rows, each on its own line"),
        ("_WHOLE_MOST", 500, "longer than 0 MiB, which is read whole; save it as CSV"),
    ],
)
def test_no_reader_takes_more_than_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, says: str
) -> None:
    monkeypatch.setattr(f"lab_recordings.dialects.rows.{limit}", value)
    origin = READ["Binance API" if limit == "_WHOLE_MOST" else "German Excel"]
    path = tmp_path / f"prices{origin.suffix}"
    path.write_bytes(origin.content)
    with pytest.raises(RecordingError, match=says):
        read(path)


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_packed_data_that_breaks_off_is_refused(tmp_path: Path, keep: float) -> None:
    content = READ["Binance spot, gzip"].content
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(RecordingError, match=r"prices.csv.gz:\d+: the .*data breaks off .* download"):
        read(path)


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_last_row_whose_volume_is_about_its_price_is_no_reason_to_refuse_a_file(
    tmp_path: Path, separator: str
) -> None:
    rows = series("2024-01-01", MINUTE_NS, 2049)
    rows[-1] = rows[-1]._replace(volume=rows[-1].close)
    path = tmp_path / "prices.csv"
    path.write_bytes(table(rows, [unix(SECOND_NS), *ohlcv()], separator=separator))
    assert read(path)[0] == [tuple(row) for row in rows]


def test_a_file_without_a_header_is_refused_wherever_its_columns_show_to_be_others(tmp_path: Path) -> None:
    rows = series("2024-01-01", MINUTE_NS, 3000)
    rows[2500] = rows[2500]._replace(open=rows[2500].high + 1)
    path = tmp_path / "prices.csv"
    path.write_bytes(table(rows, [unix(SECOND_NS), *ohlcv()]))
    with pytest.raises(RecordingError, match=r"prices.csv:2501: open .* outside of low and high; without a header"):
        read(path)
