"""Writes the tables of a run as files: CSV that is exact, or Parquet."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from lab.domain.time import format_time
from lab.errors import ConfigError, RunError
from lab.exit_codes import EndReason
from lab.journal.files import make_folder, private
from lab.records.base import exact
from lab.research.result import Result
from lab.research.tables import Table

TABLES: Final[Mapping[str, Callable[[Result], Table[Any]]]] = {
    "trades": lambda result: result.trades,
    "fills": lambda result: result.fills,
    "orders": lambda result: result.orders,
    "equity": lambda result: result.equity,
    "candles": lambda result: result.prices,
}
"""What can be exported, by the name of its file."""
FORMATS: Final = ("csv", "parquet")


def export(result: Result, folder: Path, form: str, names: Sequence[str] = tuple(TABLES)) -> list[Path]:
    """Write some tables of a result into a folder, which is made; return the files.

    Each is written whole or not at all. In CSV money is exact, times are ISO 8601 in UTC, and lengths of time are
    seconds. In Parquet money is ``double`` and times are timestamps in ns, UTC: it needs the extra ``parquet``. Raises
    `ConfigError` where that is missing, `RunError` where a file cannot be written.
    """
    write = _parquet_writer() if form == "parquet" else _write_csv
    try:
        if not folder.is_dir():
            make_folder(folder, parents=True)
        written = []
        for name in names:
            path = folder / f"{name}.{form}"
            temporary = folder / f".{path.name}.{os.getpid()}"
            try:
                write(TABLES[name](result), temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            written.append(path)
        return written
    except OSError as error:
        raise RunError(EndReason.STORAGE, f"{folder}: cannot be written: {error.strerror or error}") from None


def _write_csv(table: Table[Any], path: Path) -> None:
    kinds = [_text_of(name) for name in table.names]
    with open(path, "w", encoding="utf-8", newline="", opener=private) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_column(name) for name in table.names])
        writer.writerows([kind(value) for kind, value in zip(kinds, row, strict=True)] for row in table)


def _column(name: str) -> str:
    return "held_seconds" if name == "held_ns" else name.removesuffix("_ns")


def _text_of(name: str) -> Callable[[Any], str]:
    if name == "held_ns":
        return lambda value: f"{Decimal(value) / 10**9:f}"
    if name.endswith("_ns"):
        return format_time
    return _plain


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return format(exact(value), "f") if type(value) is Decimal else str(value)


def _parquet_writer() -> Callable[[Table[Any], Path], None]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("parquet needs pyarrow: pip install 'lab-trading[parquet]', or give --format csv") from None

    def write(table: Table[Any], path: Path) -> None:
        columns = table.columns(exact=True)
        arrays = {}
        for name, values in columns.items():
            if name == "held_ns":
                arrays["held_seconds"] = pyarrow.array([value / 1e9 for value in values], pyarrow.float64())
            elif name.endswith("_ns"):
                arrays[_column(name)] = pyarrow.array(values, pyarrow.timestamp("ns", tz="UTC"))
            elif table.kinds[name] == "figure":
                floats = [None if value is None else float(value) for value in values]
                arrays[name] = pyarrow.array(floats, pyarrow.float64())
            else:
                arrays[name] = pyarrow.array(values, pyarrow.string())
        parquet.write_table(pyarrow.table(arrays), path)
        path.chmod(0o600)

    return write
