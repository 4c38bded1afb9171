"""Rows in words: of two that should be alike, what differs."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from lab.domain.time import format_time
from lab.journal.chain import Row

_FIELDS_MOST: Final = 12
_VALUE_MOST: Final = 100
_BODY_MOST: Final = 300


def row_text(row: Row, other: Row | None = None) -> str:
    """Return a row's kind, time and input, and its content: of two rows of one kind the fields that differ."""
    place = f"{row[3]} at {format_time(row[1])} on input {row[2]}"
    if other is None or other[3] != row[3]:
        return f"{place}: {short(row[5].decode(), _BODY_MOST)}"
    fields, others = (dict(_flat("", msgspec.json.decode(one[5]))) for one in (row, other))
    differing = [name for name in (fields | others) if fields.get(name, _flat) != others.get(name, _flat)]
    parts = [f"{name} {short(_value(fields[name]))}" if name in fields else f"no {name}" for name in differing]
    if len(parts) > _FIELDS_MOST:
        parts[_FIELDS_MOST:] = [f"{len(parts) - _FIELDS_MOST} more that differ"]
    if not parts and row[4] != other[4]:
        parts = [f"key {row[4]}"]
    return f"{place}: {', '.join(parts)}" if parts else place


def short(text: str, most: int = _VALUE_MOST) -> str:
    """Return a text, or its beginning and three dots."""
    return text if len(text) <= most else f"{text[:most]}..."


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a row's content, those of an object inside it by a dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
    else:
        yield name or "it", value


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
