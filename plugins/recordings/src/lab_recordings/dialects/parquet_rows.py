"""Candles in Parquet, read by pyarrow where the extra ``parquet`` is installed."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lab.domain.time import DAY_NS, format_time

from lab_recordings.errors import RecordingError

_ROWS: Final = 4096
_NS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

Row = tuple[int, list[str]]


def parquet_rows(path: Path, data: bytes) -> tuple[Sequence[str], Iterator[Row]]:
    """Return names and rows; times as ISO 8601. Raises `RecordingError`, also where pyarrow is missing."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        cure = "pip install 'lab-recordings[parquet]', or save it as CSV: read_parquet(...).to_csv(...)"
        raise RecordingError(path, None, f"a Parquet file, which needs pyarrow; {cure}") from None
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data))
        names = [_name(field.name) for field in file.schema_arrow]
    except (arrow.ArrowException, OSError) as error:
        raise RecordingError(path, None, f"a Parquet file that can't be read ({str(error)[:80]})") from None
    return names, _rows(path, arrow, file)


def _name(name: str) -> str:
    return "" if name.startswith("__index_level_") else name


def _rows(path: Path, arrow: Any, file: Any) -> Iterator[Row]:
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_ROWS):
            for row in zip(*[_texts(arrow, column) for column in batch.columns], strict=True):
                number += 1
                yield number, list(row)
    except (arrow.ArrowException, OSError) as error:
        raise RecordingError(path, number + 1, f"the Parquet file can't be read here ({str(error)[:80]})") from None


def _texts(arrow: Any, column: Any) -> list[str]:
    kind = column.type
    if arrow.types.is_timestamp(kind):
        unit = _NS[kind.unit]
        return ["" if one is None else _time(one * unit) for one in column.cast(arrow.int64()).to_pylist()]
    if arrow.types.is_date(kind):
        days = column.cast(arrow.date32()).cast(arrow.int32()).to_pylist()
        return ["" if one is None else _time(one * DAY_NS) for one in days]
    return ["" if one is None else str(one) for one in column.to_pylist()]


def _time(time_ns: int) -> str:
    try:
        return format_time(time_ns)
    except OverflowError:  # outside of the years 1 to 9999
        return f"{time_ns} ns since 1970"
