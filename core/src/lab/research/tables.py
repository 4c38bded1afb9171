"""Tables of a result: rows as they are, and columns that become a frame in one line."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar, overload

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
R = TypeVar("R", bound=tuple[Any, ...])


class Table(Sequence[R], Generic[R]):
    """Rows of one kind, in the order of their times, as named tuples: money in ``Decimal``, times in UTC nanoseconds.

    ``columns()`` has them as columns for a frame: ``pandas.DataFrame(table.columns())`` or
    ``polars.DataFrame(table.columns())``.
    """

    __slots__ = ("_rows", "names")

    def __init__(self, names: Sequence[str], rows: Sequence[R]) -> None:
        self.names = tuple(names)
        """The names of the fields, in their order."""
        self._rows = rows

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> "Table[R]": ...
    def __getitem__(self, index: int | slice) -> "R | Table[R]":
        """Return a row, or a table of some rows."""
        return Table(self.names, self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.names == other.names and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {', '.join(self.names)}>"

    def columns(self, *, exact: bool = False) -> dict[str, list[Any]]:
        """Return lists by name, each as long as the table: money as float, times as datetimes in UTC.

        A field ``…_ns`` becomes a column without that ending, to the microsecond; lengths of time become
        ``timedelta``. With ``exact`` all is as it is in the rows: money in ``Decimal``, times in nanoseconds.
        """
        found: dict[str, list[Any]] = {}
        by_column = zip(*self._rows, strict=True) if self._rows else [()] * len(self.names)
        for name, values in zip(self.names, by_column, strict=True):
            if exact:
                found[name] = list(values)
            elif name.endswith("_ns"):
                convert = _length if name == "held_ns" else _moment
                found[name.removesuffix("_ns")] = [None if value is None else convert(value) for value in values]
            else:
                found[name] = [float(value) if type(value) is Decimal else value for value in values]
        return found


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def _length(length_ns: int) -> timedelta:
    return timedelta(microseconds=length_ns // 1000)
