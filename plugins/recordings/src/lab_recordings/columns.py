"""Blocks of CSV lines as columns: exactly, by `csv` and ``float``, and as quickly as plain lines allow.

Both give the same or, where the quick way does not understand something, ``ValueError``. Numbers are read as JSON,
which takes an eighth of the time of ``float``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import compress, repeat
from operator import itemgetter, le
from typing import Final, Protocol, TypeVar, cast

import msgspec

from lab_recordings.times import TimeColumn

_Cell = TypeVar("_Cell")
_NUMBERS: Final = msgspec.json.Decoder(list[float])
_NUMBERS_AND_ENDS: Final = msgspec.json.Decoder(list[float | None])


class Columns(Protocol):
    """The cells of a block, by the place of their column."""

    def texts(self, place: int) -> Sequence[str]:
        """Return a column as it is written. Raises ``ValueError`` where that is not known."""

    def floats(self, place: int, rows: Sequence[bool] | None = None) -> list[float]:
        """Return a column of numbers, or those of some rows.

        Raises ``ValueError`` if one is none, is negative, or NaN.
        """

    def times(self, place: int, times: TimeColumn, step_ns: int = 0) -> Sequence[int]:
        """Return a column of times in ns, perhaps as a range where they are ``step_ns`` apart.

        Raises ``ValueError`` if one is none.
        """


class ExactColumns:
    """Columns of the rows that `csv` found; all of the same width."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        self._columns = list(zip(*rows, strict=True))

    def texts(self, place: int) -> Sequence[str]:
        return self._columns[place]

    def floats(self, place: int, rows: Sequence[bool] | None = None) -> list[float]:
        return _exact_floats(_chosen(self.texts(place), rows))

    def times(self, place: int, times: TimeColumn, step_ns: int = 0) -> Sequence[int]:
        return times.parse(self.texts(place))


class _Numbers:
    """Columns of lines in which each cell is a number of 0 or more."""

    def __init__(self, text: bytes, rows: int, width: int) -> None:
        if _has_exponent(text):
            raise ValueError("perhaps a time with an exponent")
        self._cells = _flat(text, rows, width)
        self._stride = width + 1

    def texts(self, place: int) -> Sequence[str]:
        raise ValueError("numbers are not kept as they were written")

    def floats(self, place: int, rows: Sequence[bool] | None = None) -> list[float]:
        return cast("list[float]", _chosen(self._cells[place : -1 : self._stride], rows))

    def times(self, place: int, times: TimeColumn, step_ns: int = 0) -> Sequence[int]:
        return times.numbers(self.floats(place), step_ns)


class _FirstAndNumbers:
    """Columns of lines that begin with texts of one length, likely dates; the other cells are numbers of 0 or more."""

    def __init__(self, text: bytes, rows: int, width: int) -> None:
        lines = text.splitlines(keepends=True)
        length = lines[0].index(b",") + 1
        _flat(lines[0][length:], 1, width - 1)  # most other kinds of cells fail here
        first = b"".join(map(itemgetter(slice(length)), lines))
        commas = b"," * len(lines)
        if first[length - 1 :: length] != commas or first.count(b",") != len(lines):
            raise ValueError("first cells of several lengths")
        self._first = first.decode().split(",")[:-1]
        self._cells = _flat(b"".join(map(itemgetter(slice(length, None)), lines)), len(lines), width - 1)
        self._stride = width

    def texts(self, place: int) -> Sequence[str]:
        if place > 0:
            raise ValueError("numbers are not kept as they were written")
        return self._first

    def floats(self, place: int, rows: Sequence[bool] | None = None) -> list[float]:
        if place == 0:
            raise ValueError("the first cells are kept as texts")
        return cast("list[float]", _chosen(self._cells[place - 1 : -1 : self._stride], rows))

    def times(self, place: int, times: TimeColumn, step_ns: int = 0) -> Sequence[int]:
        return times.parse(self.texts(place), step_ns)


class _Cells:
    """Columns of lines without quotes: what lies between the commas."""

    def __init__(self, data: bytes, rows: int, width: int) -> None:
        text = data.decode().replace("\r\n", "\n")
        if not text.endswith("\n"):
            text += "\n"
        # A separate cell stands for each line's end, so that one split separates the cells of all rows.
        self._cells = text.replace("\n", ",\n,").split(",")
        self._stride = width + 1
        _refuse_ragged(self._cells, rows, width, "\n")

    def texts(self, place: int) -> Sequence[str]:
        return self._cells[place : -1 : self._stride]

    def floats(self, place: int, rows: Sequence[bool] | None = None) -> list[float]:
        column = _chosen(self.texts(place), rows)
        joined = ",".join(column)
        if "-" not in joined:  # JSON's -0 is 0
            with suppress(msgspec.DecodeError):
                numbers = _NUMBERS.decode(f"[{joined}]")
                if len(numbers) == len(column):
                    return numbers
        return _exact_floats(column)

    def times(self, place: int, times: TimeColumn, step_ns: int = 0) -> Sequence[int]:
        return times.parse(self.texts(place), step_ns)


def quick_columns(text: bytes, rows: int, width: int) -> Iterator[Columns]:
    """Yield the columns of a text whose lines are rows, the quickest first, in as many ways as they are understood.

    All give what `ExactColumns` would, or ``ValueError``.
    """
    if not text:
        return
    kinds: tuple[Callable[[bytes, int, int], Columns], ...] = (_Numbers, _FirstAndNumbers, _Cells)
    for kind in kinds:
        try:
            columns = kind(text, rows, width)
        except ValueError:
            continue
        yield columns


def _flat(text: bytes, rows: int, width: int) -> list[float | None]:
    """Return the numbers of all rows one after the other, and ``None`` at each row's end and after the last.

    Raises ``ValueError`` where a cell is no plain number of 0 or more, or a row has not ``width``.
    """
    if b"n" in text:  # null is the rows' end
        raise ValueError("not only plain numbers")
    if b"-" in text and not (_has_exponent(text) and text.count(b"-") == text.count(b"e-") + text.count(b"E-")):
        raise ValueError("not all are 0 or more")  # JSON's -0 is 0
    if not text.endswith(b"\n"):
        text += b"\n"
    try:
        cells = _NUMBERS_AND_ENDS.decode(b"[%bnull]" % text.replace(b"\n", b",null,"))
    except msgspec.DecodeError as error:
        raise ValueError("not only plain numbers") from error
    _refuse_ragged(cells, rows, width, None)
    return cells


def _has_exponent(text: bytes) -> bool:
    return b"e" in text or b"E" in text


def _refuse_ragged(cells: Sequence[object], rows: int, width: int, end: object) -> None:
    stride = width + 1
    if len(cells) != rows * stride + 1 or cells[width::stride] != [end] * rows:
        raise ValueError("not all rows are as wide as the header")


def _exact_floats(column: Sequence[str]) -> list[float]:
    numbers = list(map(float, column))
    if not all(map(le, repeat(0.0), numbers)):
        raise ValueError("not all are 0 or more")
    return numbers


def _chosen(column: Sequence[_Cell], rows: Sequence[bool] | None) -> Sequence[_Cell]:
    return column if rows is None else list(compress(column, rows))
