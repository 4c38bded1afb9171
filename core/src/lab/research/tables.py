"""Tables of a result: rows as they are, and columns that become a frame in one line."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar, overload

from lab.research.table_frames import kinds_of, to_arrow, to_pandas, to_polars

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
R = TypeVar("R", bound=tuple[Any, ...])


class Table(Sequence[R], Generic[R]):
    """Rows of one kind, in the order of their times, as named tuples: money in ``Decimal``, times in UTC nanoseconds.

    ``to_pandas()``, ``to_polars()`` and ``to_arrow()`` have them as a frame, each column of its type, also where there
    is no row; ``columns()`` as lists by name.
    """

    __slots__ = ("_rows", "kinds", "names")

    def __init__(self, names: Sequence[str], rows: Sequence[R], kinds: Mapping[str, str] | None = None) -> None:
        self.names = tuple(names)
        """The names of the fields, in their order."""
        self.kinds = {name: "any" if kinds is None else kinds.get(name, "any") for name in self.names}
        """What each field holds: ``time``, ``length``, ``figure``, ``count``, ``text``, or ``any``."""
        self._rows = rows

    @classmethod
    def of(cls, row: type[R], rows: Sequence[R]) -> "Table[R]":
        """Return a table of named tuples, whose fields hold what their class says."""
        kinds = kinds_of(row)
        return cls(tuple(kinds), rows, kinds)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> "Table[R]": ...
    def __getitem__(self, index: int | slice) -> "R | Table[R]":
        """Return a row, or a table of some rows."""
        return Table(self.names, self._rows[index], self.kinds) if isinstance(index, slice) else self._rows[index]

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

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` of what `columns` returns. Raises `ConfigError` where pandas is missing."""
        return to_pandas(self.columns(), tuple(self.kinds.values()))

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame`` of what `columns` returns. Raises `ConfigError` where polars is missing."""
        return to_polars(self.columns(), tuple(self.kinds.values()))

    def to_arrow(self) -> Any:
        """Return a ``pyarrow.Table`` of what `columns` returns. Raises `ConfigError` where pyarrow is missing."""
        return to_arrow(self.columns(), tuple(self.kinds.values()))


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def _length(length_ns: int) -> timedelta:
    return timedelta(microseconds=length_ns // 1000)
