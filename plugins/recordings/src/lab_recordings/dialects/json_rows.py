"""Candles in JSON: an array of arrays or of objects, columns by name, or one of those a line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from lab_recordings.errors import RecordingError, excerpt

_DEEPEST: Final = 4
_CELLS_MOST: Final = 200
_SHORTEST: Final = {"t", "o", "h", "l", "c"}
_DECODER: Final = msgspec.json.Decoder()

Row = tuple[int, list[str]]


def is_json_lines(begin: bytes) -> bool:
    """Return whether a text's first line is a value of its own, and another one follows."""
    first, end, rest = begin.partition(b"\n")
    if not end or rest.lstrip()[:1] not in {b"[", b"{"} or first.strip() in {b"[", b"{"}:
        return False
    try:
        _DECODER.decode(first)
    except msgspec.DecodeError:
        return False
    return True


def json_line_rows(path: Path, lines: Iterable[tuple[int, str]]) -> tuple[Sequence[str], Iterator[Row]]:
    """Return names and rows of values, one a line."""

    def values() -> Iterator[tuple[int, Any]]:
        for number, text in lines:
            if text.strip():
                yield number, _decoded(path, number, text.encode())

    rows = values()
    number, first = next(rows)

    def all_of() -> Iterator[tuple[int, Any]]:
        yield number, first
        yield from rows

    return _rows(path, first, all_of())


def json_rows(path: Path, data: bytes) -> tuple[Sequence[str], Iterator[Row]]:
    """Return names and rows of one JSON value; an error names the row's number in place of a line."""
    found = _candles_in(_decoded(path, None, data), _DEEPEST)
    if isinstance(found, Mapping):
        names = list(found)
        columns = list(found.values())
        if isinstance(columns[0], Mapping):  # pandas: a column's values by their index
            names, columns = ["", *names], _by_index(path, found)
        return names, ((number, list(map(_text, row))) for number, row in enumerate(zip(*columns, strict=True), 1))
    if not found:
        raise RecordingError(path, None, "JSON without candles; expected an array of arrays or objects, or one a line")
    return _rows(path, found[0], iter(enumerate(found, 1)))


def _by_index(path: Path, found: Mapping[str, Mapping[str, Any]]) -> list[list[Any]]:
    """Return the index of columns, and their values in its order. Raises `RecordingError` where they have several."""
    name, first = next(iter(found.items()))
    for other, column in found.items():
        if column.keys() != first.keys():
            key = next(iter(first.keys() - column.keys()))
            raise RecordingError(path, None, f"column {excerpt(other)} has no {excerpt(key)}, as {excerpt(name)} has")
    return [list(first), *([column[key] for key in first] for column in found.values())]


def _rows(path: Path, first: Any, values: Iterator[tuple[int, Any]]) -> tuple[Sequence[str], Iterator[Row]]:
    if isinstance(first, Mapping):
        names = list(first)[:_CELLS_MOST]
        return names, ((number, _of_object(path, number, value, names)) for number, value in values)
    return (), ((number, _of_array(path, number, value)) for number, value in values)


def _of_object(path: Path, number: int, value: Any, names: Sequence[str]) -> list[str]:
    if not isinstance(value, Mapping):
        raise RecordingError(path, number, f"{excerpt(_text(value))} is no object as those above")
    return [_text(value.get(name)) for name in names]


def _of_array(path: Path, number: int, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > _CELLS_MOST:
        raise RecordingError(path, number, f"{excerpt(_text(value))} is no array as those above")
    return list(map(_text, value))


def _candles_in(value: Any, deepest: int) -> Any:
    """Return the one array of arrays or objects in a value, or its columns by name; empty where there is none."""
    if isinstance(value, list):
        return value if value and isinstance(value[0], list | dict) else []
    if not isinstance(value, dict) or not deepest:
        return []
    columns = {name: column for name, column in value.items() if isinstance(column, list | dict) and column}
    if {name[:1].lower() for name in columns if name[:1]} >= _SHORTEST - {"t"} and _equal(list(columns.values())):
        return columns
    inside = [found for one in columns.values() if (found := _candles_in(one, deepest - 1))]
    return inside[0] if len(inside) == 1 else []


def _equal(columns: Sequence[Any]) -> bool:
    def plain(one: Any) -> bool:
        return not isinstance(next(iter(one.values() if isinstance(one, dict) else one)), list | dict)

    kinds = {isinstance(one, dict) for one in columns}
    return len(kinds) == 1 and len(set(map(len, columns))) == 1 and all(map(plain, columns))


def _decoded(path: Path, number: int | None, data: bytes) -> Any:
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(path, number, f"not JSON ({str(error)[:80]})") from None


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)
