"""Wrong journals whose hashes follow one another: whoever edits one may be thorough."""

import json
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from lab.journal.chain import GENESIS, row_hash

Rows = list[dict[str, Any]]
Wrongs = dict[str, tuple[Callable[[Rows], None], str]]
"""What is wrong, the change that makes it so, and what the audit must say."""
_COLUMNS = ("seq", "time_ns", "input_n", "kind", "key", "body", "hash")


def rows_of(path: Path) -> Rows:
    with sqlite3.connect(path) as db:
        rows = [dict(zip(_COLUMNS, row, strict=True)) for row in db.execute("SELECT * FROM event ORDER BY seq")]
    for row in rows:
        row["body"] = json.loads(row["body"])
    return rows


def put(path: Path, rows: Rows) -> None:
    """Write rows instead of those that are there, with a chain that follows."""
    previous, values = GENESIS, []
    for row in rows:
        body = json.dumps(row["body"], separators=(",", ":")).encode()
        columns = [row[name] for name in _COLUMNS[:5]]
        previous = row_hash(previous, *columns, body)
        values.append((*columns, body.decode(), previous))
    with sqlite3.connect(path) as db:
        db.execute("DROP INDEX IF EXISTS event_key")
        db.execute("DELETE FROM event")
        db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def nth(rows: Rows, kind: str, number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = [row for row in rows if row["kind"] == kind][number]
    return found


def body(kind: str, number: int = 0, **changes: Any) -> Callable[[Rows], None]:
    """Return what changes fields of one row's body; a name with ``__`` reaches into it."""

    def change(rows: Rows) -> None:
        for name, value in changes.items():
            place = nth(rows, kind, number)["body"]
            *path, last = name.split("__")
            for step in path:
                place = place[int(step) if step.isdigit() else step]
            place[last] = value(place[last]) if callable(value) else value

    return change


def column(which: str, number: int = 0, **changes: Any) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        row = nth(rows, which, number)
        for name, value in changes.items():
            row[name] = value(row[name]) if callable(value) else value

    return change


def without(kind: str, number: int = 0) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows.remove(nth(rows, kind, number))
        for seq, row in enumerate(rows, 1):
            row["seq"] = seq

    return change


def twice(kind: str, number: int = 0) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        row = nth(rows, kind, number)
        rows.insert(rows.index(row), dict(row))
        for seq, each in enumerate(rows, 1):
            each["seq"] = seq

    return change


def missed(lab: Any, path: Path, wrongs: Wrongs) -> dict[str, str]:
    """Put each wrong journal in the place of the sound one; return those that are not rejected for their reason."""
    rows, passed = rows_of(path), {}
    for what, (change, said) in wrongs.items():
        wrong = json.loads(json.dumps([{**row, "hash": None} for row in rows]))
        change(wrong)
        put(path, wrong)
        result = lab("audit")
        if result.code != 1 or "NOT sound" not in result.out or said not in result.out:
            passed[what] = result.out
    put(path, rows)
    return passed


def more(by: str) -> Callable[[Any], str]:
    return lambda value: format(Decimal(value) + Decimal(by), "f")
