"""CSV tables, plain or gzip: a header, then blocks of rows, each error with its line.

`csv` defines what a table means. Blocks of plain lines are also read by columns, many times as fast, with the same
outcome (`lab_recordings.columns`).
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeVar

from lab_recordings.columns import Columns, ExactColumns, quick_columns
from lab_recordings.errors import RecordingError, listed
from lab_recordings.opening import ROWS, TOO_LONG, Digest, LineTooLong, opened

_LONG_BLOCK: Final = 4 << 20  # bytes of lines, or cells of rows
_STEP: Final = 64
BATCH: Final = 512  # rows that are still in the processor's cache when they are used
Row = list[str]
_Item = TypeVar("_Item", bytes, Row)
_Read = TypeVar("_Read")

_LONGEST_HEADER: Final = 1 << 16
_OTHER_SIGNS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_BLANK_ALONE: Final = (b"\n", b"\r\n")
_BLANK: Final = (b"\n\n", b"\n\r\n")


class Content(NamedTuple):
    """So many rows: the text of plain lines, or what `csv` made of others."""

    length: int
    text: bytes = b""
    rows: Sequence[Row] = ()

    def without_blank_end(self) -> "Content":
        """Return it without the blank lines at its end."""
        count, text, rows = self
        while rows and not rows[-1]:
            count, rows = count - 1, rows[:-1]
        while text.endswith(_BLANK) or text in _BLANK_ALONE:
            count, text = count - 1, text[: -2 if text.endswith(b"\r\n") else -1]
        return Content(count, text, rows)


class Block:
    """Up to `BATCH` rows of a table, one after the other; as plain lines, or as rows that `csv` found."""

    def __init__(self, path: Path, line: int, width: int, content: "Content") -> None:
        self.path = path
        self.line = line
        """The line number of the first row."""
        self._width = width
        self._content = content

    def read(self, convert: Callable[[Columns], _Read], refuse: Callable[[int, ExactColumns], None]) -> _Read:
        """Return what ``convert`` makes of the columns.

        It raises ``ValueError`` for what it can't take, and may then be called again with columns that were read more
        carefully; if it still does, ``refuse`` gets the line of the first row and says what is wrong, by raising
        `RecordingError`.
        """
        for quick in quick_columns(self._content.text, self._content.length, self._width):
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

    def _exact_rows(self) -> Sequence[Row]:
        content = self._content
        rows = content.rows or _take(self.path, self.line, map(_parted, _lines(content.text)), content.length)
        for number, row in enumerate(rows, self.line):
            if len(row) != self._width:
                what = f"{len(row)} fields" if row else "blank line"
                raise RecordingError(self.path, number, f"{what}; expected {self._width} fields as in the header")
        return rows


class Named(NamedTuple):
    """The names of a file's columns, where the file itself has none or others, and the lines above its first row."""

    header: Sequence[str]
    above: int


class Table:
    """A CSV file: its header, and its rows in blocks."""

    def __init__(self, path: Path, named: Named | None = None) -> None:
        """Read the header, unless it is given. Raises `RecordingError` for a file that is missing or unreadable."""
        self.path = path
        self._named = named
        with opened(path) as file:
            self.header, _ = _begin(path, file, named)
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
        first = 2 if self._named is None else self._named.above + 1
        line, blank = first, 0
        with opened(path, digest) as file:
            _, reader = _begin(path, file, self._named)
            for content in _contents(path, file, reader, first):
                filled = content.without_blank_end()
                if blank and filled.length:
                    raise RecordingError(path, blank, f"blank line; expected {width} fields as in the header")
                if filled.length:
                    yield Block(path, line, width, filled)
                if filled.length < content.length:
                    blank = blank or line + filled.length
                line += content.length
        if first in (line, blank):
            raise RecordingError(path, first, "empty; expected rows below the header")


def _begin(path: Path, file: IO[bytes], named: Named | None) -> tuple[list[str], Iterator[Row] | None]:
    """Take the header; return its names and, where rows do not simply follow line by line, the reader of them."""
    if named is not None:
        for line in range(named.above):
            _take(path, line + 1, _header_line(path, file), 1)
        return list(named.header), None
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


def _contents(path: Path, file: IO[bytes], reader: Iterator[Row] | None, line: int) -> Iterator[Content]:
    """Yield lines while they are plain, then rows; ``line`` is the number of the first."""
    lines = _LinesAtOnce(path, file)
    while reader is None and (content := lines.take(line)).length:
        if _plain(content.text):
            yield content
            line += content.length
        else:
            reader = csv.reader(_texts(chain(_lines(content.text), lines.left())))
    while reader is not None and (rows := _take(path, line, reader, BATCH)):
        yield Content(len(rows), rows=rows)
        line += len(rows)


class _LinesAtOnce:
    """Takes lines as one text of them all; of a plain file most of it is read without looking for the lines' ends."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._plain = isinstance(getattr(file, "raw", None), io.FileIO)  # of gzip, an error's line would be lost
        self._begun = b""  # lines that were read too many, and the beginning of one
        self._likely = 0  # bytes of nearly all lines

    def take(self, line: int) -> Content:
        """Return the next `BATCH` lines, of which the first has the number ``line``. Raises `RecordingError`."""
        text = self._begun
        if len(text) < self._likely:
            text += b"".join(_take(self._path, line, map(self._file.read, (self._likely - len(text),)), 1))
        count, self._begun = text.count(b"\n"), b""
        if count > BATCH or (count == BATCH and not text.endswith(b"\n")):  # these lines are shorter than those before
            end = len(text)
            for _ in range(count - BATCH + 1):
                end = text.rfind(b"\n", 0, end)
            count, text, self._begun = BATCH, text[: end + 1], text[end + 1 :]
        elif count < BATCH:
            rest = _take(self._path, line + count, self._file, BATCH - count)
            cut_off = not rest and text and not text.endswith(b"\n")  # where the file ends
            count, text = count + (len(rest) or int(bool(cut_off))), b"".join((text, *rest))
        self._likely = len(text) * 63 // 64 if self._plain else 0
        return Content(count, text)

    def left(self) -> Iterator[bytes]:
        """Yield the lines that were not taken."""
        if self._begun:
            yield from _lines(self._begun + self._file.readline())
        yield from self._file


def _lines(text: bytes) -> list[bytes]:
    """Return the lines of a text, each with its end."""
    lines = [line + b"\n" for line in text.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


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
    """Return the next items of a source, whose first has the line number ``line``. Raises `RecordingError`.

    They are fewer than ``count`` where it ends, and where they are long: a block of them is to fit into memory.
    """
    taken: list[_Item] = []
    try:
        size, begun = 0, -1
        while size < _LONG_BLOCK and begun < len(taken) < count:
            begun = len(taken)
            taken.extend(islice(source, min(_STEP, count - begun)))  # what came before an error gives its line
            size += sum(map(len, taken[begun:]))
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text ({error.reason}); save the file as UTF-8"
    except EOFError:
        reason = "the gzip data breaks off at or after this line; copy or download the file again"
    except (zlib.error, gzip.BadGzipFile) as error:
        reason = f"the gzip data is damaged at or after this line ({error}); copy or download the file again"
    except csv.Error as error:
        reason = f"not CSV ({error}); is a quote left open?"
    except LineTooLong:
        reason = f"{TOO_LONG} at or after this one; {ROWS}"
    except OSError as error:
        reason = f"can't be read at or after this line ({error})"
    else:
        return taken
    raise RecordingError(path, line + len(taken), reason)
