"""CSV tables, plain or gzip: a header, then rows in batches, each error with its line."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Final

from lab.domain.time import parse_time

from lab_recordings.errors import RecordingError

BATCH: Final = 4096
Row = list[str]

TIME_NAMES: Final = ("time", "timestamp", "datetime", "date", "open_time")
_CACHE_SIZE: Final = 200_000


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open("r", encoding="utf-8-sig", newline="")


def read_table(path: Path) -> Iterator[tuple[int, list[Row]]]:
    """Yield the header as ``(1, [names])``, then batches of rows, each with the line number of its first row.

    Names are lower-case and stripped. Every row has as many fields as the header. Raises `RecordingError` for a
    missing, empty or unreadable file, and for a row of another width, when it is reached.
    """
    line = 1
    try:
        with _open(path) as file:
            reader = csv.reader(file)
            header = next(reader, None)
            if header is None or not any(name.strip() for name in header):
                raise RecordingError(path, 1, "empty; expected a header line")
            yield 1, [[name.strip().lower() for name in header]]
            line, width = 2, len(header)
            while rows := list(islice(reader, BATCH)):
                if not set(map(len, rows)) <= {width}:
                    _refuse_width(path, line, rows, width)
                yield line, rows
                line += len(rows)
            if line == 2:
                raise RecordingError(path, 2, "empty; expected rows below the header")
    except FileNotFoundError:
        raise RecordingError(path, None, "no such file") from None
    except UnicodeDecodeError as error:
        raise RecordingError(path, line, f"at or after this line: not UTF-8 text ({error.reason})") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise RecordingError(path, line, f"at or after this line: can't be read ({error})") from None


def _refuse_width(path: Path, line: int, rows: Sequence[Row], width: int) -> None:
    for place, row in enumerate(rows):
        if len(row) != width:
            what = f"{len(row)} fields" if row else "blank line"
            raise RecordingError(path, line + place, f"{what}; expected {width} fields as in the header")


def column_of(path: Path, header: Sequence[str], wanted: Sequence[str]) -> int:
    """Return the place of the first of the wanted names in the header. Raises `RecordingError` when none is there."""
    for name in wanted:
        if name in header:
            return header.index(name)
    raise RecordingError(path, 1, f"no column {' or '.join(wanted)}; the header has {', '.join(header)}")


class TimeColumn:
    """Turns a column of times into nanoseconds. Reads what `parse_time` reads, several times as fast.

    ISO text is split after the hour. Both halves repeat, so each is parsed once: the time is their sum, because the
    zone and everything below the hour only add.
    """

    def __init__(self) -> None:
        self._hours = _Hours()
        self._rests = _Rests()

    def parse(self, column: Sequence[str]) -> list[int]:
        """Return the nanoseconds of each text. Raises ``ValueError`` if one is no time, without saying which."""
        if "-" in column[0]:
            hours, rests = self._hours, self._rests
            return [hours[text[:13]] + rests[text[13:]] for text in column]
        try:
            numbers = list(map(int, column))
        except ValueError:
            return list(map(parse_time, column))
        low, high = min(numbers), max(numbers)
        unit = parse_time(low) // low  # the same for all, unless the largest is read in another unit
        if parse_time(high) != high * unit:
            return list(map(parse_time, column))
        return [number * unit for number in numbers]

    def blame(self, path: Path, line: int, column: Sequence[str], error: ValueError) -> RecordingError:
        """Return the error for the first text of a column that is no time; ``line`` is the column's first."""
        for number, text in enumerate(column, line):
            try:
                parse_time(text)
            except ValueError as reason:
                return RecordingError(path, number, str(reason))
        return RecordingError(path, line, str(error))


class _Hours(dict[str, int]):
    def __missing__(self, text: str) -> int:
        if len(self) > _CACHE_SIZE:
            self.clear()
        value = self[text] = parse_time(f"{text}:00" if len(text) == 13 else text)
        return value


class _Rests(dict[str, int]):
    def __missing__(self, text: str) -> int:
        if len(self) > _CACHE_SIZE:
            self.clear()
        value = self[text] = parse_time(f"2000-01-01T00{text}") - parse_time("2000-01-01") if text else 0
        return value


def places(path: Path, header: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the place of each wanted column, by our name for it. Raises `RecordingError` for the first not there."""
    return {ours: column_of(path, header, theirs) for ours, theirs in wanted.items()}
