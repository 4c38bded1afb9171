"""Reads a journal, and never writes to one: of a run that goes on, that ended, or that was killed."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from lab.errors import JournalError, SchemaVersionError
from lab.journal.chain import GENESIS, Row, row_hash
from lab.journal.codec import ROW_KINDS, decode_as
from lab.journal.schema import FILE_NAME, REPORTERS, RUN_STATE, SCHEMA_VERSION, bring_up_to_date
from lab.ports import Record
from lab.records.run import ReportersState, RunEnded, RunStarted, RunState

T = TypeVar("T")

_AFTER: Final = "SELECT seq, time_ns, kind, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"


class JournalReader:
    """Reads a journal; never writes. Rows come in order."""

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self.name = name

    @classmethod
    def open(cls, directory: Path) -> "JournalReader":
        """Open the journal of a run directory. Raises `JournalError` naming the file and what is wrong with it.

        One of an older version is brought up to date first, and kept beside it as it was.
        """
        path = directory / FILE_NAME
        if not path.is_file():
            raise JournalError(f"{path}: no journal there; expected a run directory such as runs/latest")
        try:
            db, version = _connect(path)
            if version != SCHEMA_VERSION:
                db.close()
                bring_up_to_date(path, version)
                db, _ = _connect(path)
            db.execute("SELECT count(*) FROM meta").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{path}: cannot be read: {error}") from error
        except SchemaVersionError as error:
            raise JournalError(f"{path}: {error}") from None
        return cls(db, str(path))

    def labels(self) -> dict[str, str]:
        """Return what labels the run: its id, the wall clock at the start, the machine."""
        return dict(self._select("SELECT key, value FROM meta"))

    def rows(self) -> Iterator[Row]:
        """Yield every row."""
        for row in self._select("SELECT seq, time_ns, input_n, kind, key, body, hash FROM event ORDER BY seq"):
            if not (isinstance(row[5], str) and isinstance(row[6], bytes)):
                raise JournalError(f"{self.name}: row {row[0]} cannot be read: its body or its hash is of another type")
            yield (*row[:5], row[5].encode(), row[6])

    def events(self, cls: type[T]) -> Iterator[T]:
        """Yield the body of every row that is of this class, such as `OrderFilled`.

        Raises `JournalError` naming the row whose body does not fit, and what is wrong with it.
        """
        kind = ROW_KINDS[cls]
        for seq, body in self._select("SELECT seq, body FROM event WHERE kind = ? ORDER BY seq", (kind,)):
            yield self.decoded(cls, seq, body)

    def gathered(self, *classes: type) -> dict[type, list[Any]]:
        """Return the bodies of the rows of several classes, by class: each look for one alone reads the whole file.

        Raises `JournalError` naming the row whose body does not fit, and what is wrong with it.
        """
        found: dict[type, list[Any]] = {cls: [] for cls in classes}
        kinds = {ROW_KINDS[cls]: cls for cls in classes}
        sql = f"SELECT seq, kind, body FROM event WHERE kind IN ({', '.join('?' * len(kinds))}) ORDER BY seq"
        for seq, kind, body in self._select(sql, tuple(kinds)):
            found[kinds[kind]].append(self.decoded(kinds[kind], seq, body))
        return found

    def has(self, cls: type) -> bool:
        """Return whether there is a row of this class."""
        return any(self._select("SELECT 1 FROM event WHERE kind = ? LIMIT 1", (ROW_KINDS[cls],)))

    def decoded(self, cls: type[T], seq: int, body: object) -> T:
        """Return a row's body as this class. Raises `JournalError`."""
        if not isinstance(body, str | bytes):
            raise JournalError(f"{self.name}: row {seq} cannot be read: {ROW_KINDS[cls]}: its body is no text")
        try:
            return decode_as(cls, body)
        except ValueError as error:
            raise JournalError(f"{self.name}: row {seq} cannot be read: {ROW_KINDS[cls]}: {error}") from None

    def count(self) -> int:
        """Return how many rows there are."""
        return int(next(iter(self._select("SELECT count(*) FROM event")))[0])

    def times(self, order: Literal["ASC", "DESC"]) -> Iterator[int]:
        """Yield the times of the rows that have one, oldest or newest first."""
        sql = f"SELECT time_ns FROM event WHERE time_ns > 0 ORDER BY seq {order} LIMIT 1"
        for (time_ns,) in self._select(sql):
            if not isinstance(time_ns, int):
                raise JournalError(f"{self.name}: cannot be read: the time {time_ns!r:.40} of a row is no whole number")
            yield time_ns

    def run_state(self) -> RunState | None:
        """Return the state of the run at its last commit, or ``None`` where none was committed."""
        return self._state(RUN_STATE, RunState)

    def reporter_degradations(self) -> Sequence[str]:
        """Return the degradations for reporters that failed or were late; none before the run's end."""
        return found.degradations if (found := self._state(REPORTERS, ReportersState)) is not None else ()

    def _state(self, name: str, kind: type[T]) -> T | None:
        for (body,) in self._select("SELECT body FROM state WHERE name = ?", (name,)):
            try:
                return decode_as(kind, body)
            except (TypeError, ValueError) as error:
                raise JournalError(f"{self.name}: state {name} cannot be read: {error}") from None
        return None

    def run_started(self) -> RunStarted:
        """Return how the run was started. Raises `JournalError` where there is no such row, or it is damaged."""
        for started in self.events(RunStarted):
            return started
        raise JournalError(f"{self.name}: holds no run_started row: the run ended before it began")

    def run_ended(self) -> RunEnded | None:
        """Return how the run ended, or ``None`` for a run without an end. Raises `JournalError` for a damaged row."""
        sql = "SELECT seq, body FROM event WHERE kind = ? ORDER BY seq DESC LIMIT 1"  # the last row, in a whole journal
        for seq, body in self._select(sql, (ROW_KINDS[RunEnded],)):
            return self.decoded(RunEnded, seq, body)
        return None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _select(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        try:
            for row in self._db.execute(sql, values):  # noqa: UP028 - `yield from` closes a cursor its reader has closed
                yield row
        except sqlite3.Error as error:
            raise JournalError(f"{self.name}: cannot be read: {error}") from error


def read_run_started(directory: Path) -> RunStarted:
    """Return how the run in a directory was started. Raises `JournalError`, also where it was changed afterwards."""
    reader = JournalReader.open(directory)
    try:
        first = next(iter(reader.rows()), None)
        if first is not None and row_hash(GENESIS, *first[:6]) != first[6]:
            raise JournalError(f"{reader.name}: row {first[0]} was changed after it was written")
        return reader.run_started()
    finally:
        reader.close()


def records_after(db: sqlite3.Connection, seq: int, limit: int) -> Sequence[Record]:
    """Return up to ``limit`` committed rows after ``seq``, in order."""
    rows = db.execute(_AFTER, (seq, limit)).fetchall()
    return [Record(row[0], row[1], row[2], row[3].encode()) for row in rows]


def rows_after(path: Path, seq: int, limit: int) -> Sequence[Record]:
    """Return up to ``limit`` committed rows of a journal's file after ``seq``, in order, from any thread.

    A separate connection reads them; it cannot write, and the writer never waits for it. Raises `JournalError`.
    """
    try:
        with contextlib.closing(_connect(path)[0]) as db:
            db.execute("PRAGMA query_only=1")
            return records_after(db, seq, limit)
    except sqlite3.Error as error:
        raise JournalError(f"{path}: cannot be read: {error}") from error


def _connect(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open a journal for reading only; return its version too.

    Nobody writes to one without a write-ahead log beside it: read as such, no reader leaves a file there.
    """
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    db = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, isolation_level=None)
    return db, int(db.execute("PRAGMA user_version").fetchone()[0])
