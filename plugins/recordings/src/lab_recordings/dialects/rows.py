"""Opens a file of any of the kinds that are read, and gives its rows as texts."""

import codecs
import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final

from attrs import frozen
from lab.lines import LineTooLong, bounded_lines

from lab_recordings.dialects.json_rows import is_json_lines, json_line_rows, json_rows
from lab_recordings.dialects.parquet_rows import parquet_rows
from lab_recordings.errors import RecordingError
from lab_recordings.kinds import is_zip, other_kind
from lab_recordings.opening import NO_GZIP, Digest, opened_bytes, sole_member

ROWS_MOST: Final = 10_000_000
"""More rows than this are held in memory at once by no reader: 19 years of minutes are fewer."""
_WHOLE_MOST: Final = 256 << 20  # bytes of what can only be read whole
_TEXT_MOST: Final = 4 << 30  # bytes of text, unpacked
_LINE_MOST: Final = 1 << 16
_PEEK: Final = 512
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD: Final = 60  # rows that show the separator and the header
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars", ",": ""}
_COMMENTS: Final = ("#", "//", "%")
_NARROWEST: Final = 4

Row = tuple[int, list[str]]


@frozen
class Rows:
    """The rows of a file, each with the number of its line, and what is to be said of the file's kind."""

    rows: Iterator[Row]
    separator: str = ","
    said: tuple[str, ...] = ()
    header: Sequence[str] = ()
    """The names of the cells where the kind itself has them, else they are looked for in the rows."""
    first: Sequence[Row] = ()
    """The first rows, which `rows` gives too."""


@contextmanager
def open_rows(path: Path, digest: Digest | None) -> Iterator[Rows]:
    """Give the rows of a file; a digest has taken in all of its bytes once they were read to their end.

    Raises `RecordingError` for a file that is of none of the kinds.
    """
    with opened_bytes(path, digest) as file:
        begin = file.peek(_PEEK)[:_PEEK]
        if begin.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield _of_text(path, io.BufferedReader(unpacked), ("gzip",) if path.suffix != ".gz" else ())
        elif begin.startswith(_PARQUET):
            names, rows = parquet_rows(path, _whole(path, file))
            yield _with_first(Rows(rows, said=("Parquet",), header=names))
        elif is_zip(begin):
            while digest is not None and file.read(1 << 20):  # the digest takes it in, in its order
                pass
            with sole_member(path) as member:
                yield _of_text(path, io.BufferedReader(member), ("zip",))
        elif begin.startswith(_UTF16):
            text = io.BytesIO(_whole(path, file).decode("utf-16", errors="replace").encode())
            yield _of_text(path, io.BufferedReader(text), ("UTF-16",))
        elif (kind := other_kind(begin)) is not None and not _is_json(begin):
            raise RecordingError(path, None, kind)
        elif begin and path.suffix == ".gz":
            raise RecordingError(path, 1, NO_GZIP)
        else:
            yield _of_text(path, file, ())
        while digest is not None and file.read(1 << 20):  # it takes in what lies behind the last row
            pass


def _whole(path: Path, file: IO[bytes]) -> bytes:
    data = file.read(_WHOLE_MOST + 1)
    if len(data) > _WHOLE_MOST:
        raise RecordingError(path, None, f"longer than {_WHOLE_MOST >> 20} MiB, which is read whole; save it as CSV")
    return data


def _is_json(begin: bytes) -> bool:
    return begin.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in {b"[", b"{"}


def _of_text(path: Path, file: Any, said: tuple[str, ...]) -> Rows:
    begin = file.peek(_LINE_MOST).removeprefix(codecs.BOM_UTF8).lstrip()
    if _is_json(begin):
        if is_json_lines(begin):
            names, rows = json_line_rows(path, _lines(path, file))
            return _with_first(Rows(_bounded(path, rows), said=(*said, "JSON lines"), header=names))
        names, rows = json_rows(path, _whole(path, file))
        return _with_first(Rows(_bounded(path, rows), said=(*said, "JSON"), header=names))
    lines = _lines(path, file)
    head = list(islice(lines, _HEAD))
    separator = _separator([text for _, text in head])
    words = (*said, _SEPARATORS[separator]) if _SEPARATORS[separator] else said
    return _with_first(Rows(_bounded(path, _parted(path, chain(head, lines), separator)), separator, words))


def _with_first(rows: Rows) -> Rows:
    first = list(islice(rows.rows, _HEAD))
    return Rows(chain(first, rows.rows), rows.separator, rows.said, rows.header, first)


def _lines(path: Path, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers, without comments; a comment that names columns is a header."""
    number, size = 0, 0
    try:
        for number, line in enumerate(bounded_lines(file.readline, _LINE_MOST), 1):
            size += len(line)
            if size > _TEXT_MOST:
                raise RecordingError(path, number, f"more than {_TEXT_MOST >> 30} GiB of text; split the file")
            text = line.removeprefix(codecs.BOM_UTF8).decode()
            if text.startswith(_COMMENTS):
                bare = text.lstrip("#/% ").lower()
                if not ("open" in bare and "close" in bare):
                    continue
                text = text.lstrip("#/% ")
            if "\r" not in text:
                yield number, text
                continue
            # A line of another program may end with CR alone.
            yield from ((number, part) for part in text.replace("\r\n", "\n").replace("\r", "\n").splitlines())
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text ({error.reason}); save the file as UTF-8"
        raise RecordingError(path, number + 1, reason) from None
    except LineTooLong:
        reason = f"a line of more than {_LINE_MOST:,} bytes; expected rows, each on its own line"
        raise RecordingError(path, number + 1, reason) from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        reason = (
            f"the packed data breaks off or is damaged at or after this line ({str(error)[:80]}); download it again"
        )
        raise RecordingError(path, number + 1, reason) from None


def _separator(lines: Sequence[str]) -> str:
    """Return the sign that parts the last lines of the head into most cells, all into as many."""
    last = [line for line in lines if line.strip()][-10:]
    for sign in _SEPARATORS:
        widths = [len(row) for row in csv.reader(last, delimiter=sign)]
        if widths and min(widths) >= _NARROWEST and max(widths) - min(widths) <= 1:
            return sign
    return ","


def _parted(path: Path, lines: Iterable[tuple[int, str]], separator: str) -> Iterator[Row]:
    numbers: list[int] = [0]

    def texts() -> Iterator[str]:
        for number, text in lines:
            numbers[0] = number
            yield text

    try:
        for cells in csv.reader(texts(), delimiter=separator, skipinitialspace=True):
            if cells and any(cell and not cell.isspace() for cell in reversed(cells)):
                yield numbers[0], cells
    except csv.Error as error:
        raise RecordingError(path, numbers[0], f"not CSV ({error}); is a quote left open?") from None


def _bounded(path: Path, rows: Iterable[Row]) -> Iterator[Row]:
    for count, row in enumerate(rows):
        if count == ROWS_MOST:
            raise RecordingError(path, row[0], f"more than {ROWS_MOST:,} rows; split the file")
        yield row
