"""The file and the tables of a journal, and the upgrade of journals of older versions."""

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.errors import SchemaVersionError

FILE_NAME: Final = "journal.db"
FIRST_SEGMENT: Final = "tape-0001.jsonl.zst"
"""The first file of the tape beside a live run's journal."""
LONGEST: Final = 4 << 20
"""Bytes of the longest line of a tape, and of the longest value in a journal: nothing longer is read."""
SCHEMA_VERSION: Final = 1
RUN_STATE: Final = "run"
"""The name of the state that is written with every commit."""
REPORTERS: Final = "reporters"
"""The name of the state that says what became of reporters."""
TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, input_n INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT,
    body TEXT NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE state (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
"""
INDEX: Final = "CREATE UNIQUE INDEX event_key ON event (key) WHERE key IS NOT NULL"

# version: the statements that make the next one of it. Rows are hashed as they are: a step may change tables, no body.
STEPS: Final[Mapping[int, Sequence[str]]] = {}


def bring_up_to_date(
    path: Path, version: int, *, wanted: int = SCHEMA_VERSION, steps: Mapping[int, Sequence[str]] = STEPS
) -> None:
    """Upgrade a journal of an older version; the original file is kept beside it, as ``.v1``.

    All steps are one transaction: a process killed half-way leaves the journal as it was. Raises
    `SchemaVersionError` where there is no way, ``sqlite3.Error`` or ``OSError`` where the files do not allow it.
    """
    if version > wanted:
        raise SchemaVersionError(
            f"schema version {version} is newer than this lab reads ({wanted}); install a newer lab"
        )
    if any(older not in steps for older in range(version, wanted)):
        raise SchemaVersionError(f"schema version {version}; this lab reads version {wanted}")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")  # from here on no other process upgrades it
        if db.execute("PRAGMA user_version").fetchone()[0] == version:
            _back_up(path, path.with_name(f"{path.name}.v{version}"))
            for older in range(version, wanted):
                for statement in steps[older]:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version={wanted}")
        db.execute("COMMIT")


def _back_up(path: Path, copy: Path) -> None:
    """Copy a database, with what its write-ahead log holds, whole or not at all."""
    if copy.exists():
        return
    temporary = copy.with_name(f".{copy.name}.part")
    temporary.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(temporary)) as target:
        source.backup(target)
    temporary.replace(copy)
