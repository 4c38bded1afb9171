"""The file and the tables of a journal, how it is made, and the upgrade of journals of older versions."""

import contextlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.errors import SchemaVersionError
from lab.journal.chain import GENESIS, state_seal
from lab.journal.files import private, sync, sync_folder, try_lock

FILE_NAME: Final = "journal.db"
FIRST_SEGMENT: Final = "tape-0001.jsonl.zst"
"""The first file of the tape beside a live run's journal."""
LONGEST: Final = 4 << 20
"""Bytes of the longest line of a tape, and of the longest value in a journal: nothing longer is read."""
SCHEMA_VERSION: Final = 3
RUNNING: Final = "running"
"""The file that a run keeps locked while it runs."""
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
CREATE TABLE state (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, body TEXT NOT NULL, seal BLOB NOT NULL) STRICT;
"""
INDEX: Final = "CREATE UNIQUE INDEX event_key ON event (key) WHERE key IS NOT NULL"

# version: the statements that make the next one of it. Rows are hashed as they are: a step may change tables, no body.
STEPS: Final[Mapping[int, Sequence[str]]] = {
    1: (
        "ALTER TABLE state RENAME TO unsealed",
        TABLES.splitlines()[-1],
        """INSERT INTO state SELECT name, unsealed.seq, unsealed.body, state_seal(hash, unsealed.body)
        FROM unsealed LEFT JOIN event USING (seq)""",
        "DROP TABLE unsealed",
    ),
    2: (),  # rows of a kind that older versions do not know, and fields of the end
}


def make_file(path: Path, labels: Mapping[str, str], *, durable: bool) -> None:
    """Make the file of a new journal, whole or not at all: until it is, it has another name.

    Raises ``sqlite3.Error`` or ``OSError``, also where there is a journal already.
    """
    if path.exists():
        raise FileExistsError(f"{path.name} is there already")
    part = part_of(path)
    remove_parts(path)
    os.close(private(str(part), os.O_CREAT | os.O_EXCL | os.O_RDWR))
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=OFF")  # a half-made file is never read
        db.execute("PRAGMA synchronous=OFF")
        if not durable:
            db.execute("PRAGMA page_size=32768")  # rows of half a kilobyte go in a sixth faster
        make_tables(db, labels, indexed=durable)
        if durable:
            db.execute("PRAGMA journal_mode=WAL")
    if durable:
        sync(part)
    part.replace(path)
    if durable:
        sync_folder(path.parent)


def make_tables(db: sqlite3.Connection, labels: Mapping[str, str], *, indexed: bool) -> None:
    """Make the tables of a new journal. Raises ``sqlite3.Error``."""
    db.executescript(TABLES)
    if indexed:
        db.execute(INDEX)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.executemany("INSERT INTO meta VALUES (?, ?)", labels.items())


def part_of(path: Path) -> Path:
    """Return the name that a journal's file has while it is made."""
    return path.with_name(f".{path.name}.part")


def remove_parts(path: Path) -> None:
    """Remove what a process left that was killed while it made a journal's file."""
    for left in path.parent.glob(f"{part_of(path).name}*"):
        left.unlink(missing_ok=True)


def bring_up_to_date(
    path: Path, version: int, *, wanted: int = SCHEMA_VERSION, steps: Mapping[int, Sequence[str]] = STEPS
) -> None:
    """Upgrade a journal of an older version; the original file is kept beside it, as ``.v1``.

    All steps are one transaction: a process killed half-way leaves the journal as it was. Raises
    `SchemaVersionError` where there is no way, or an older lab still writes to it, ``sqlite3.Error`` or ``OSError``
    where the files do not allow it.
    """
    if version > wanted:
        raise SchemaVersionError(
            f"schema version {version} is newer than this lab reads ({wanted}); install a newer lab"
        )
    if any(older not in steps for older in range(version, wanted)):
        raise SchemaVersionError(f"schema version {version}; this lab reads version {wanted}")
    with contextlib.ExitStack() as held:
        _lock_out(path, version, held)
        db = held.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
        db.create_function("state_seal", 2, _seal_of_row, deterministic=True)
        db.execute("BEGIN IMMEDIATE")  # from here on no other process upgrades it
        if db.execute("PRAGMA user_version").fetchone()[0] == version:
            _back_up(path, path.with_name(f"{path.name}.v{version}"))
            for older in range(version, wanted):
                for statement in steps[older]:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version={wanted}")
        db.execute("COMMIT")


def _lock_out(path: Path, version: int, held: contextlib.ExitStack) -> None:
    """Keep the lock of a run while its journal is changed. Raises `SchemaVersionError` where the run has it."""
    with contextlib.suppress(FileNotFoundError):
        file = held.enter_context((path.parent / RUNNING).open("r+b"))
        if not try_lock(file):
            raise SchemaVersionError(f"schema version {version}, of a run that another lab is writing now; wait for it")


def _seal_of_row(head: bytes | None, body: str) -> bytes:
    return state_seal(head or GENESIS, body.encode())


def _back_up(path: Path, copy: Path) -> None:
    """Copy a database, with what its write-ahead log holds, whole or not at all."""
    if copy.exists():
        return
    temporary = copy.with_name(f".{copy.name}.part")
    temporary.unlink(missing_ok=True)
    os.close(private(str(temporary), os.O_CREAT | os.O_EXCL | os.O_RDWR))
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(temporary)) as target:
        source.backup(target)
    temporary.replace(copy)
