"""Reads a journal, and never writes to one: of a run that goes on, that ended, or that was killed."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from lab.errors import JournalError, NotBegunError, SchemaVersionError
from lab.journal.chain import GENESIS, Row, row_hash, state_seal
from lab.journal.codec import ROW_KINDS, RUN_ENDED, decode_as
from lab.journal.mark import NAME as MARK_NAME
from lab.journal.mark import Mark, read_mark
from lab.journal.schema import (
    FILE_NAME,
    LONGEST,
    REPORTERS,
    RUN_STATE,
    SCHEMA_VERSION,
    bring_up_to_date,
    part_of,
)
from lab.ports import Record
from lab.records.run import ReportersState, RunEnded, RunStarted, RunState

T = TypeVar("T")

_WATCHED: Final = 4096
_STATE: Final = """
SELECT state.seq, body, seal, (SELECT hash FROM event WHERE event.seq = state.seq),
    (SELECT max(seq) FROM event), EXISTS (SELECT 1 FROM event WHERE kind = ?)
FROM state WHERE name = ?
"""
_ROWS: Final = "SELECT seq, time_ns, input_n, kind, key, body, hash FROM event"
_AFTER: Final = "SELECT seq, time_ns, kind, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
_LABELS_MOST: Final = 1_000


class JournalReader:
    """Reads a journal; never writes. Rows come in order."""

    def __init__(
        self, db: sqlite3.Connection, name: str, mark: Mark | None = None, *, taped: int | None = None
    ) -> None:
        """Read over a connection; ``mark`` is what the side mark said before it was made.

        ``taped`` are the bytes of the tape of a session that must have a mark, ``None`` for any other run.
        """
        self._db = db
        self.name = name
        self._mark = mark
        self._taped = taped

    @classmethod
    def open(cls, directory: Path) -> "JournalReader":
        """Open the journal of a run directory. Raises `JournalError` naming the file and what is wrong with it.

        One of an older version is brought up to date first, and kept beside it as it was. Raises `NotBegunError` for
        a journal that was being made when its process was killed.
        """
        path = directory / FILE_NAME
        mark = read_mark(directory)  # first: rows that are committed meanwhile are no loss
        if not path.is_file():
            if part_of(path).exists():
                raise NotBegunError(f"{path}: not made yet, or the run was cut off before it began")
            raise JournalError(f"{path}: no journal there; expected a run directory such as runs/latest")
        try:
            _roll_back(path)
            db, version = _connect(path)
            if version == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                db.close()
                raise NotBegunError(f"{path}: holds nothing: the run was cut off before it began")
            if version != SCHEMA_VERSION:
                db.close()
                bring_up_to_date(path, version)
                db, _ = _connect(path)
            db.execute("SELECT count(*) FROM meta").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{path}: cannot be read: {error}") from error
        except SchemaVersionError as error:
            raise JournalError(f"{path}: {error}") from None
        return cls(db, str(path), mark, taped=_taped(directory))

    @classmethod
    def loaded(cls, image: bytes) -> "JournalReader":
        """Read a journal that was in memory, from the bytes that `Journal.image` gave. Any thread may use it."""
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        db.deserialize(image)
        return cls(db, "the journal in memory")

    def after(self, seq: int, limit: int) -> Sequence[Record]:
        """Return up to ``limit`` rows after ``seq``, in order."""
        return records_after(self._db, seq, limit)

    def labels(self) -> dict[str, str]:
        """Return what labels the run: its id, the wall clock at the start, the machine."""
        return dict(self._select("SELECT key, value FROM meta LIMIT ?", (_LABELS_MOST,)))

    def rows(self) -> Iterator[Row]:
        """Yield every row. Raises `JournalError` for one that cannot be read."""
        return self._rows(f"{_ROWS} ORDER BY seq")

    def _rows(self, sql: str) -> Iterator[Row]:
        for row in self._select(sql):
            if not (isinstance(row[5], str) and isinstance(row[6], bytes)):
                raise JournalError(f"{self.name}: row {row[0]} cannot be read: its body or its hash is of another type")
            yield (*row[:5], row[5].encode(), row[6])

    def events(self, *classes: type[T]) -> Iterator[T]:
        """Yield the body of every row that is of one of these classes, such as `OrderFilled`, in their order.

        Raises `JournalError` naming the row whose body does not fit, and what is wrong with it.
        """
        kinds = {ROW_KINDS[cls]: cls for cls in classes}
        sql = f"SELECT seq, kind, body FROM event WHERE kind IN ({', '.join('?' * len(kinds))}) ORDER BY seq"
        for seq, kind, body in self._select(sql, tuple(kinds)):
            yield self.decoded(kinds[kind], seq, body)

    def gathered(self, *classes: type) -> dict[type, list[Any]]:
        """Return the bodies of the rows of several classes, by class: each look for one alone reads the whole file.

        Raises `JournalError` naming the row whose body does not fit, and what is wrong with it.
        """
        found: dict[type, list[Any]] = {cls: [] for cls in classes}
        event: Any
        for event in self.events(*classes):
            found[event.__class__].append(event)
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

    def lost(self) -> str:
        """Return which rows are missing at the end, by the side mark; empty where none is."""
        marked = self._mark.seq if self._mark is not None else 0
        newest = next(iter(self._select("SELECT max(seq) FROM event")))[0] or 0 if marked else 0
        if newest >= marked:
            return ""
        which = f"row {marked} is" if newest + 1 == marked else f"rows {newest + 1} to {marked} are"
        return f"{which} missing in the journal: committed, and not there any more"

    def damage(self) -> str:
        """Return what is wrong with the newest rows, by the side mark: missing, or others than were written."""
        mark = self._mark
        if mark is None:
            return self._unmarked()
        if not mark.seq:
            return ""
        found = [digest for (digest,) in self._select("SELECT hash FROM event WHERE seq = ?", (mark.seq,))]
        if found and found[0] != mark.hash:
            return f"row {mark.seq} is not the one that was committed: another journal is in the place of this run's"
        return self.lost()

    def _unmarked(self) -> str:
        """Return what is wrong with a session that has no mark; nothing is where its last row is there."""
        if self._taped is None or any(self._select("SELECT 1 FROM event WHERE kind = ? LIMIT 1", (RUN_ENDED,))):
            return ""
        if self.count():
            return f"{MARK_NAME} is missing or damaged, so that nobody can tell whether rows are missing at the end"
        return "it holds no row, and the tape holds inputs" if self._taped else ""

    def check_ends(self) -> None:
        """Raise `JournalError` where the first or the newest row does not follow from the one before it."""
        before, newest = GENESIS, self.count()
        for row in self._rows(f"{_ROWS} WHERE seq = 1 OR seq >= (SELECT max(seq) - 1 FROM event) ORDER BY seq"):
            if row[0] in (1, newest) and row_hash(before, *row[:6]) != row[6]:
                raise JournalError(f"{self.name}: row {row[0]} was changed after it was written")
            before = row[6]

    def state_damage(self) -> str:
        """Return what is wrong with a state beside the rows, empty where nothing is."""
        try:
            self._state(RUN_STATE, RunState)
            self._state(REPORTERS, ReportersState)
        except JournalError as error:
            return str(error)
        return ""

    def run_state(self) -> RunState | None:
        """Return the state of the run at its last commit, or ``None`` where none was committed.

        Raises `JournalError` where it is not that of the last commit, or was changed.
        """
        return self._state(RUN_STATE, RunState)

    def reporter_degradations(self) -> Sequence[str]:
        """Return the degradations for reporters that failed or were late; none before the run's end."""
        return found.degradations if (found := self._state(REPORTERS, ReportersState)) is not None else ()

    def _state(self, name: str, kind: type[T]) -> T | None:
        for seq, body, seal, head, newest, ended in self._select(_STATE, (RUN_ENDED, name)):
            if not isinstance(body, str) or state_seal(head or GENESIS, body.encode()) != seal:
                raise JournalError(f"{self.name}: state {name} was changed after it was written, or is of other rows")
            if not ended and seq != (newest or 0):
                raise JournalError(f"{self.name}: state {name} is of row {seq}, and the newest is {newest}")
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
        except sqlite3.DataError as error:
            text = f"a value in it is longer than {LONGEST:,} bytes, and lab writes none ({error})"
            raise JournalError(f"{self.name}: cannot be read: {text}") from error
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


def check_chain(reader: JournalReader, watch: Callable[[str, int], object] | None = None) -> int | None:
    """Return the number of the first row whose hash or number does not follow from those before, or ``None``.

    ``watch`` is called now and then with how far it came.
    """
    previous = GENESIS
    for expected, (seq, time_ns, input_n, kind, key, body, digest) in enumerate(reader.rows(), 1):
        if seq != expected or row_hash(previous, seq, time_ns, input_n, kind, key, body) != digest:
            return expected
        previous = digest
        if watch is not None and seq % _WATCHED == 0:
            watch("checking the hash chain, rows", seq)
    return None


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


def _taped(directory: Path) -> int | None:
    """Return the bytes of a session's tape; ``None`` for a backtest, and for one of a version that kept no mark."""
    segments = list(directory.glob("tape-*"))
    if not segments or (directory / f"{FILE_NAME}.v1").exists():
        return None
    return sum(segment.stat().st_size for segment in segments)


def _roll_back(path: Path) -> None:
    """Undo the transaction of a process that was killed in it, where SQLite left a rollback journal.

    Only older versions of lab, and upgrades, write one. Who may do this, and when, SQLite's own locks decide.
    """
    if path.with_name(f"{path.name}-journal").exists():
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _connect(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open a journal for reading only; return its version too.

    Nobody writes to one without a write-ahead log beside it: read as such, no reader leaves a file there.
    """
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    db = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, isolation_level=None)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    return db, int(db.execute("PRAGMA user_version").fetchone()[0])
