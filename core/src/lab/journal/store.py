"""The journal: one SQLite file, one writer, hash-chained rows, one transaction a step.

A row's hash is SHA-256 of the previous row's hash and every column of the row, each ended by a newline, so that no text
can be moved from one column to the next unseen. What labels a run (its id, the wall clock, the machine) is in ``meta``,
outside the chain: two runs of the same inputs have the same rows.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from lab.domain.events import key_of
from lab.errors import JournalError, SchemaVersionError
from lab.journal.codec import KINDS, ROW_KINDS, decode_as, encode
from lab.journal.schema import INDEX, SCHEMA_VERSION, TABLES, bring_up_to_date
from lab.ports import Record
from lab.records.run import ReportersState, RunEnded, RunStarted, RunState

T = TypeVar("T")

FILE_NAME: Final = "journal.db"
RUN_STATE: Final = "run"
"""The name of the state that is written with every commit."""
REPORTERS: Final = "reporters"
"""The name of the state that says what became of reporters."""
GENESIS: Final = b"\0" * 32

_INSERT: Final = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)"
_AFTER: Final = "SELECT seq, time_ns, kind, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"

Row = tuple[int, int, int, str, str | None, bytes, bytes]
"""seq, time_ns, input_n, kind, key, body and hash."""


def row_hash(previous: bytes, seq: int, time_ns: int, input_n: int, kind: str, key: str | None, body: bytes) -> bytes:
    """Return a row's hash in the chain."""
    head = f"{seq}\n{time_ns}\n{input_n}\n{kind}\n{key or ''}\n"
    return hashlib.sha256(previous + head.encode() + body).digest()


class Journal:
    """The writer. ``append`` gathers rows, ``commit`` makes them durable; nobody may see a row before.

    With ``durable`` every commit is synced to disk (``synchronous=FULL``). Without it (backtests, which publish
    nothing before their end and can be run again) rows are written in batches, and the unique index comes at the end.
    """

    def __init__(self, directory: Path | None, *, durable: bool, labels: Mapping[str, str]) -> None:
        """Create the journal of a new run in an existing directory, or in memory. Raises `JournalError`."""
        self.path = None if directory is None else directory / FILE_NAME
        self._durable = durable
        self._gathered: list[tuple[object, int, int]] = []
        self._rows: list[tuple[int, int, int, str, str | None, str, bytes]] = []
        self._hash = GENESIS
        self._seq = 0
        self._failure = ""
        try:
            # One thread trades; a journal in memory is read by others once that one has nothing more to write.
            self._db = sqlite3.connect(self.path or ":memory:", isolation_level=None, check_same_thread=bool(self.path))
            if not durable:
                self._db.execute("PRAGMA page_size=32768")  # rows of half a kilobyte go in a sixth faster
            self._db.execute("PRAGMA journal_mode=WAL" if durable else "PRAGMA journal_mode=OFF")
            self._db.execute("PRAGMA synchronous=FULL" if durable else "PRAGMA synchronous=OFF")
            self._db.executescript(TABLES)
            if durable:
                self._db.execute(INDEX)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", labels.items())
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot create the journal: {error}") from error

    @property
    def head(self) -> bytes:
        """The hash of the newest row."""
        self._chain()
        return self._hash

    @property
    def waiting(self) -> int:
        """How many rows are gathered and not yet committed."""
        return len(self._gathered) + len(self._rows)

    def append(self, events: Iterable[object], time_ns: int, input_n: int) -> None:
        """Gather the rows of one step; ``input_n`` numbers the input that caused them, counted from 1."""
        for event in events:
            self._gathered.append((event, time_ns, input_n))

    def append_record(self, record: RunStarted | RunEnded, time_ns: int, input_n: int) -> None:
        """Gather the row of how a run was started, or how it ended: each happens once."""
        kind = ROW_KINDS[record.__class__]
        self.append_raw(kind, kind, encode(record), time_ns, input_n)

    def append_raw(self, kind: str, key: str | None, body: bytes, time_ns: int, input_n: int) -> None:
        """Gather one row of any kind."""
        self._chain()
        self._add(kind, key, body, time_ns, input_n)

    def _chain(self) -> None:
        """Turn what was gathered into rows: many at once, because a loop this small runs twice as fast on its own."""
        gathered, self._gathered = self._gathered, []
        for event, time_ns, input_n in gathered:
            self._add(KINDS[event.__class__], key_of(event), encode(event), time_ns, input_n)

    def _add(self, kind: str, key: str | None, body: bytes, time_ns: int, input_n: int) -> None:
        self._seq = seq = self._seq + 1
        self._hash = digest = row_hash(self._hash, seq, time_ns, input_n, kind, key, body)
        self._rows.append((seq, time_ns, input_n, kind, key, body.decode(), digest))

    def commit(self, state: RunState | None = None, *, reporters: ReportersState | None = None) -> Sequence[Record]:
        """Write what was gathered, and the state that goes with it, in one transaction; return the rows now durable.

        ``reporters`` are the degradations by reporters, once all have ended.

        Raises `JournalError`; whether the rows are on disk is then unknown, the run must not go on, and every later
        commit fails alike: its rows would not follow from those on disk.
        """
        if self._failure:
            raise JournalError(self._failure)
        self._chain()
        rows, self._rows = self._rows, []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_INSERT, rows)
            for name, value in ((RUN_STATE, state), (REPORTERS, reporters)):
                if value is not None:
                    values = (name, self._seq, encode(value).decode())
                    self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", values)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._failure = f"{self.path or 'the journal in memory'}: cannot commit: {error}"
            if self._durable:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have done so itself
                    self._db.execute("ROLLBACK")
            raise JournalError(self._failure) from error
        return [Record(row[0], row[1], row[3], row[5].encode()) for row in rows] if self._durable else ()

    def since(self, seq: int, limit: int) -> Sequence[Record]:
        """Return up to ``limit`` committed rows after ``seq``, in order."""
        return _records(self._db, seq, limit)

    def outcome(self, order_id: str) -> str | None:
        """Return the outcome of an order of this run that memory has forgotten, or ``None`` for an unknown id."""
        self._chain()
        keys = (f"order:{order_id}", f"end:{order_id}", f"fill:{order_id}.1")
        kinds = {kind for _, _, _, kind, key, *_ in self._rows if key in keys}
        kinds.update(row[0] for row in self._db.execute("SELECT kind FROM event WHERE key IN (?, ?, ?)", keys))
        for kind, outcome in (("order_filled", "filled"), ("order_ended", "ended"), ("order_refused", "refused")):
            if kind in kinds:
                return outcome
        return "accepted" if kinds else None

    def reader(self) -> "JournalReader":
        """Return a reader of the committed rows, over this connection."""
        return JournalReader(self._db, str(self.path or "the journal in memory"))

    def index(self) -> None:
        """Make the unique index, which a backtest does at its end. Raises `JournalError` where a key is there twice."""
        if not self._durable:
            try:
                self._db.execute(INDEX)
            except sqlite3.Error as error:
                raise JournalError(f"{self.path or 'the journal in memory'}: {error}") from error

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with contextlib.suppress(sqlite3.Error):
            if self._durable and self.path is not None:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._db.execute("PRAGMA journal_mode=DELETE")  # one file from now on; readers leave none beside it
        self._db.close()


def _records(db: sqlite3.Connection, seq: int, limit: int) -> list[Record]:
    rows = db.execute(_AFTER, (seq, limit)).fetchall()
    return [Record(row[0], row[1], row[2], row[3].encode()) for row in rows]


def rows_after(path: Path, seq: int, limit: int) -> Sequence[Record]:
    """Return up to ``limit`` committed rows of a journal's file after ``seq``, in order, from any thread.

    A separate connection reads them; it cannot write, and the writer never waits for it. Raises `JournalError`.
    """
    try:
        with contextlib.closing(_connect(path)[0]) as db:
            db.execute("PRAGMA query_only=1")
            return _records(db, seq, limit)
    except sqlite3.Error as error:
        raise JournalError(f"{path}: cannot be read: {error}") from error


def _connect(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open a journal for reading only; return its version too."""
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    return db, int(db.execute("PRAGMA user_version").fetchone()[0])


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
