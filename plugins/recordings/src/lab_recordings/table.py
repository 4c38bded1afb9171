"""CSV tables, plain or gzip: a header, then blocks of rows, each error with its line.

`csv` defines what a table means. Blocks of plain lines are also read by columns, many times as fast, with the same
outcome (`lab_recordings.columns`).
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeVar

from lab_recordings.columns import Columns, ExactColumns, quick_columns
from lab_recordings.errors import RecordingError, listed
from lab_recordings.kinds import LONGEST, other_kind

BATCH: Final = 512  # rows that are still in the processor's cache when they are used
Row = list[str]
_Item = TypeVar("_Item", bytes, Row)
_Read = TypeVar("_Read")

_READ_AHEAD: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"
_LONGEST_HEADER: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20
_NEARLY_ALWAYS: Final = 1 << 12  # bytes in which a row ends
_TOO_LONG: Final = f"a line of more than {_LONGEST_LINE:,} bytes"
_ROWS: Final = "expected rows, each on its own line"
_OTHER_SIGNS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_BLANK: Final[tuple[object, ...]] = ([], b"\n", b"\r\n")


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: Any, /) -> None:
        """Take in bytes."""


class Block:
    """Up to `BATCH` rows of a table, one after the other; as plain lines, or as rows that `csv` found."""

    def __init__(self, path: Path, line: int, width: int, *, lines: list[bytes], rows: list[Row]) -> None:
        self.path = path
        self.line = line
        """The line number of the first row."""
        self._width = width
        self._lines = lines
        self._rows = rows

    def read(self, convert: Callable[[Columns], _Read], refuse: Callable[[int, ExactColumns], None]) -> _Read:
        """Return what ``convert`` makes of the columns.

        It raises ``ValueError`` for what it can't take, and may then be called again with columns that were read more
        carefully; if it still does, ``refuse`` gets the line of the first row and says what is wrong, by raising
        `RecordingError`.
        """
        for quick in quick_columns(self._lines, self._width):
            try:
                return convert(quick)
            except ValueError:
                continue
        exact = ExactColumns(self._exact_rows())
        try:
            return convert(exact)
        except ValueError:
            refuse(self.line, exact)
            raise

    def _exact_rows(self) -> list[Row]:
        rows = self._rows or _take(self.path, self.line, map(_parted, self._lines), BATCH)
        for number, row in enumerate(rows, self.line):
            if len(row) != self._width:
                what = f"{len(row)} fields" if row else "blank line"
                raise RecordingError(self.path, number, f"{what}; expected {self._width} fields as in the header")
        return rows


class Table:
    """A CSV file: its header, and its rows in blocks."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises `RecordingError` for a file that is missing, empty or unreadable."""
        self.path = path
        with _opened(path) as file:
            self.header, _ = _begin(path, file)
        """The columns' names, lower-case and stripped."""

    def place(self, *names: str) -> int:
        """Return the place of the first of the names that is a column. Raises `RecordingError` for none, or for two."""
        for name in names:
            if name in self.header:
                if self.header.count(name) > 1:
                    fields = " and ".join(str(field) for field, each in enumerate(self.header, 1) if each == name)
                    raise RecordingError(self.path, 1, f"column {name} more than once (fields {fields}); rename one")
                return self.header.index(name)
        raise RecordingError(self.path, 1, f"no column {' or '.join(names)}; {self.described()}")

    def described(self) -> str:
        """Return the header's columns as text for an error."""
        have = listed(self.header)
        if len(self.header) == 1:
            for sign, signs in _OTHER_SIGNS.items():
                if sign in self.header[0]:
                    return f"its columns are separated by {signs}; expected commas"
        if any(map(_numeric, self.header)):
            return f"the first line is no header but has numbers ({have}); put a line of column names above it"
        return f"the header has {have}"

    def places(self, names: Iterable[str]) -> tuple[int, ...]:
        """Return the place of each column. Raises `RecordingError` as `place` does."""
        return tuple(map(self.place, names))

    def blocks(self, digest: Digest | None = None) -> Iterator[Block]:
        """Yield the rows; blank lines at the end are no rows. Raises `RecordingError` for a file that can't be read.

        A ``digest`` takes in the bytes as they lie on disk; after the last block, all of them.
        """
        path, width = self.path, len(self.header)
        line, blank = 2, 0
        with _opened(path, digest) as file:
            _, reader = _begin(path, file)
            for lines, rows in _batches(path, file, reader):
                batch: list[bytes] | list[Row] = lines or rows
                length = len(batch)
                while length and batch[length - 1] in _BLANK:
                    length -= 1
                if blank and length:
                    raise RecordingError(path, blank, f"blank line; expected {width} fields as in the header")
                if length:
                    yield Block(path, line, width, lines=lines[:length], rows=rows[:length])
                if length < len(batch):
                    blank = blank or line + length
                line += len(batch)
        if line == 2 or blank == 2:
            raise RecordingError(path, 2, "empty; expected rows below the header")


def _begin(path: Path, file: IO[bytes]) -> tuple[list[str], Iterator[Row] | None]:
    """Take the header; return its names and, where rows do not simply follow line by line, the reader of them."""
    first = [line.removeprefix(codecs.BOM_UTF8) for line in _take(path, 1, _header_line(path, file), 1)]
    reader = csv.reader(_texts(chain(first, file)))
    header = [name.strip().lower() for row in _take(path, 1, reader, 1) for name in row]
    if not any(header):
        raise RecordingError(path, 1, "empty; expected a header line")
    quotes = first[0].count(b'"')
    plain = quotes % 2 == 0 and _plain(first[0].replace(b'"', b""))
    return header, None if plain else reader


def _header_line(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """Yield the first line, never more of it than a header has: a file may be one line of any length."""
    line = file.readline(_LONGEST_HEADER + 1)
    if len(line) > _LONGEST_HEADER:
        raise RecordingError(path, 1, f"no header: the first line is longer than {_LONGEST_HEADER:,} characters")
    if line:
        yield line


def _numeric(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _batches(path: Path, file: IO[bytes], reader: Iterator[Row] | None) -> Iterator[tuple[list[bytes], list[Row]]]:
    """Yield lines while they are plain, then rows."""
    line = 2
    while reader is None and (lines := _take(path, line, file, BATCH)):
        if _plain(b"".join(lines)):
            yield lines, []
            line += len(lines)
        else:
            reader = csv.reader(_texts(chain(lines, file)))
    while reader is not None and (rows := _take(path, line, reader, BATCH)):
        yield [], rows
        line += len(rows)


def _plain(text: bytes) -> bool:
    """Return whether each line of the text is a row: no quotes, and a line ends with LF or CR LF."""
    return b'"' not in text and (b"\r" not in text or text.count(b"\r") == text.count(b"\r\n"))


def _parted(line: bytes) -> Row:
    """Return the fields of a plain line, as `csv` would."""
    text = line.decode().rstrip("\r\n")
    return text.split(",") if text else []


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        yield from io.StringIO(line.decode(), newline="")


def _take(path: Path, line: int, source: Iterator[_Item], count: int) -> list[_Item]:
    """Return the next items of a source, whose first has the line number ``line``. Raises `RecordingError`."""
    taken: list[_Item] = []
    try:
        taken.extend(islice(source, count))  # lines before an error stay in the list: their number gives its line
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text ({error.reason}); save the file as UTF-8"
    except EOFError:
        reason = "the gzip data breaks off at or after this line; copy or download the file again"
    except (zlib.error, gzip.BadGzipFile) as error:
        reason = f"the gzip data is damaged at or after this line ({error}); copy or download the file again"
    except csv.Error as error:
        reason = f"not CSV ({error}); is a quote left open?"
    except _LineTooLong:
        reason = f"{_TOO_LONG} at or after this one; {_ROWS}"
    except OSError as error:
        reason = f"can't be read at or after this line ({error})"
    else:
        return taken
    raise RecordingError(path, line + len(taken), reason)


class _LineTooLong(OSError):
    """A line is longer than any row."""


def _look_for_lines(path: Path) -> None:
    """Look once in each MiB for a line's end: a line is read whole, so one without an end would fill the memory."""
    with path.open("rb", buffering=0) as file:
        for begin in range(0, path.stat().st_size - _LONGEST_LINE, _LONGEST_LINE):
            for length in (_NEARLY_ALWAYS, _LONGEST_LINE):
                file.seek(begin)
                if b"\n" in (file.read(length) or b""):
                    break
            else:
                raise RecordingError(path, None, f"{_TOO_LONG} from byte {begin:,} on; {_ROWS}")


class _Lines(io.RawIOBase):
    """Unpacked bytes in which a line ends now and then, as `_look_for_lines` sees to it in a plain file."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._since = 0  # bytes since the last line's end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read as the source does. Raises `_LineTooLong`."""
        count: int = self._source.readinto(buffer)
        self._since = 0 if b"\n" in bytes(buffer[:count]) else self._since + count
        if self._since > _LONGEST_LINE:
            raise _LineTooLong
        return count


class _Digested(io.FileIO):
    """A file whose bytes a digest takes in as they are read."""

    def __init__(self, path: Path, digest: Digest) -> None:
        super().__init__(path)
        self._digest = digest

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        return count


def _file(path: Path, digest: Digest | None) -> io.BufferedReader:
    raw = io.FileIO(path) if digest is None else _Digested(path, digest)
    return io.BufferedReader(raw, _READ_AHEAD)


@contextmanager
def _opened(path: Path, digest: Digest | None = None) -> Iterator[IO[bytes]]:
    try:
        file = _file(path, digest)
    except FileNotFoundError:
        raise RecordingError(path, None, "no such file") from None
    except OSError as error:
        raise RecordingError(path, None, f"can't be opened ({error.strerror})") from None
    with file:
        begin = file.peek(LONGEST)[:LONGEST]
        if begin.startswith(_GZIP):
            unpacked = gzip.GzipFile(fileobj=file)
            # GzipFile's own lines are slow. What was read ahead is lost where the data breaks off: so, little.
            yield io.BufferedReader(_Lines(unpacked))
        elif (kind := other_kind(begin)) is not None:
            raise RecordingError(path, None, kind)
        elif begin and path.suffix == ".gz":
            raise RecordingError(path, 1, "named .gz but not gzip data; rename it to .csv if it is plain text")
        else:
            _look_for_lines(path)
            yield file
