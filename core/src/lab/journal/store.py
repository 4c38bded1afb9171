"""The journal's writer: one SQLite file, one writer, hash-chained rows, one transaction a step.

What labels a run (its id, the wall clock, the machine) is in ``meta``, outside the chain: two runs of the same inputs
have the same rows. ``chain`` says how a row is hashed; ``reader`` reads what is written here.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from lab.errors import JournalError, JournalWaits
from lab.journal.chain import GENESIS, Gathered, Row, WrittenRow, chain_rows, row_hash, state_seal
from lab.journal.codec import ROW_KINDS, encode
from lab.journal.mark import Mark, MarkWriter, read_mark
from lab.journal.reader import JournalReader, records_after
from lab.journal.schema import FILE_NAME, INDEX, LONGEST, REPORTERS, RUN_STATE, make_file, make_tables
from lab.ports import Record
from lab.records.run import ReportersState, RunEnded, RunStarted, RunState
from lab.secret import bytes_without_secrets

_BUSY_S: Final = 0.1
"""How long a commit waits for another program that holds the file: the event loop stands still meanwhile."""
_WAITS: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "another program holds the journal",
    sqlite3.SQLITE_LOCKED: "another program holds the journal",
}
_WAITING_MOST: Final = 100_000
_CACHE_KIB: Final = 512
_ONE_ROW: Final = "(?, ?, ?, ?, ?, ?, ?)"
_INSERT: Final = f"INSERT INTO event VALUES {_ONE_ROW}"
_MANY: Final = 64  # 448 values: SQLite takes at least 999 in a statement
_INSERT_MANY: Final = f"INSERT INTO event VALUES {', '.join([_ONE_ROW] * _MANY)}"


class Journal:
    """The writer. ``append`` gathers rows, ``commit`` makes them durable; nobody may see a row before.

    With ``durable`` every commit is synced to disk (``synchronous=FULL``). Without it (backtests, which publish
    nothing before their end and can be run again) rows are written in batches, and the unique index comes late.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        durable: bool,
        labels: Mapping[str, str] | None,
        watch: Callable[[Iterable[object]], object] | None = None,
    ) -> None:
        """Create the journal of a new run in an existing directory, or in memory. Raises `JournalError`.

        ``watch`` is given the events that become rows, many at once and each once, in their order.

        Without ``labels`` open that of a run that was cut off, to go on with it: the run is stepped again from its
        first input, and the rows that are there are compared with those given, byte for byte, instead of written.
        """
        self.path = None if directory is None else directory / FILE_NAME
        self._durable = durable
        self._watch = watch
        self._gathered: list[Gathered] = []
        self._waiting = 0
        self._rows: list[WrittenRow] = []
        self._hash = GENESIS
        self._seq = 0
        self._failure = ""
        self._indexed = durable
        self._stored: Iterator[Row] | None = None
        self._marks: MarkWriter | None = None
        self._marked: Mark | None = None
        try:
            if directory is not None and durable:
                self._marked = read_mark(directory) if labels is None else None
                self._marks = MarkWriter(directory)
                if labels is not None:
                    self._marks.begin()
            if self.path is not None and labels is not None:
                make_file(self.path, labels, durable=durable)
            # One thread trades; a journal in memory is read by others once that one has nothing more to write.
            self._db = sqlite3.connect(
                self.path or ":memory:", isolation_level=None, check_same_thread=bool(self.path), timeout=_BUSY_S
            )
            self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)  # nothing is written that no reader takes
            if self.path is None:
                self._db.execute("PRAGMA page_size=32768")  # rows of half a kilobyte go in a sixth faster
            self._db.execute("PRAGMA journal_mode=WAL" if durable else "PRAGMA journal_mode=OFF")
            self._db.execute("PRAGMA synchronous=FULL" if durable else "PRAGMA synchronous=OFF")
            if durable:  # rows are appended one by one; 2 MB of pages, the default, would fill up in a day
                self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            if labels is None:
                self._stored = self.reader().rows()
            elif self.path is None:
                make_tables(self._db, labels, indexed=durable)
        except (sqlite3.Error, OSError) as error:
            done = "opened" if labels is None else "created"
            raise JournalError(f"{self.path}: the journal cannot be {done}: {error}") from error

    def is_there(self) -> bool:
        """Return whether the file is where it was made: one that was removed still takes rows, and loses them."""
        try:
            return self.path is None or bool(self.path.lstat())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # nobody knows

    def label(self, key: str, value: str) -> None:
        """Add a label that is known only once the journal is there. Raises `JournalError`."""
        try:
            self._db.execute("INSERT INTO meta VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot label the run: {error}") from error

    @property
    def head(self) -> bytes:
        """The hash of the newest row."""
        self._chain()
        return self._hash

    @property
    def waiting(self) -> int:
        """How many rows are gathered and not yet committed."""
        return self._waiting

    def check(self) -> None:
        """Raise `JournalError` where a commit has failed: nothing that comes now can ever be committed."""
        if self._failure:
            raise JournalError(self._failure)

    def append(self, events: Sequence[object], time_ns: int, input_n: int) -> None:
        """Gather the rows of one step; ``input_n`` numbers the input that caused them, counted from 1."""
        if events:
            self._waiting += len(events)
            self._gathered.append((events, time_ns, input_n))

    def append_record(self, record: RunStarted | RunEnded, time_ns: int, input_n: int) -> None:
        """Gather the row of how a run was started, or how it ended: each happens once."""
        kind = ROW_KINDS[record.__class__]
        self.append_raw(kind, kind, bytes_without_secrets(encode(record)), time_ns, input_n)

    def append_raw(self, kind: str, key: str | None, body: bytes, time_ns: int, input_n: int) -> None:
        """Gather one row of any kind."""
        self._chain()
        self._waiting += 1
        seq = self._seq + 1
        digest = row_hash(self._hash, seq, time_ns, input_n, kind, key, body)
        self._add([(seq, time_ns, input_n, kind, key, body.decode(), digest)])

    def _chain(self) -> None:
        """Turn what was gathered into rows: many at once, because a loop this small runs twice as fast on its own."""
        gathered, self._gathered = self._gathered, []
        if gathered:
            if self._watch is not None:
                self._watch(chain.from_iterable(events for events, _, _ in gathered))
            self._add(chain_rows(gathered, self._seq, self._hash))

    def _add(self, rows: Sequence[WrittenRow]) -> None:
        before, self._seq, self._hash = self._seq, rows[-1][0], bytes(rows[-1][6])
        marked = self._marked
        if marked is not None and before < marked.seq <= self._seq and rows[marked.seq - before - 1][6] != marked.hash:
            raise self._refused(f"row {marked.seq} is not the one that was there")
        self._rows += rows if self._stored is None else self._unknown(self._stored, rows)

    def _unknown(self, stored: Iterator[Row], rows: Sequence[WrittenRow]) -> Sequence[WrittenRow]:
        """Return the rows that are not stored yet. Raises `JournalError` for one that differs from the stored one."""
        for place, row in enumerate(rows):
            known = next(stored, None)
            if known is None:
                self._stored = None
                return rows[place:]
            if known != (*row[:5], row[5].encode(), row[6]):
                raise self._refused(f"row {known[0]} is not what its inputs give again")
        return ()

    def _refused(self, why: str) -> JournalError:
        """Return why a run cannot be resumed; nothing can be committed after it."""
        self._failure = f"{self.path}: {why}: it cannot be resumed"
        return JournalError(self._failure)

    def compare(self, *, all_of_it: bool = False) -> None:
        """Compare what was gathered with the rows that are stored, in a journal that was opened again.

        Raises `JournalError` for one that differs and, with ``all_of_it``, where rows are stored that were not given,
        or the journal had a newer row than the newest given, by its side mark.
        """
        self._chain()
        if all_of_it and self._stored is not None:
            left = next(self._stored, None)
            self._stored = None
            if left is not None:
                raise self._refused(f"row {left[0]} has no input on the tape")
        if all_of_it and self._marked is not None and self._marked.seq > self._seq:
            raise self._refused(f"it had {self._marked.seq} rows, and its tape gives {self._seq}")

    def _insert(self, rows: Sequence[WrittenRow]) -> None:
        """Insert rows, most of them many to a statement: they then cost a third less."""
        many = len(rows) - len(rows) % _MANY
        for begin in range(0, many, _MANY):
            self._db.execute(_INSERT_MANY, list(chain.from_iterable(rows[begin : begin + _MANY])))
        self._db.executemany(_INSERT, rows[many:])

    def commit(self, state: RunState | None = None, *, reporters: ReportersState | None = None) -> Sequence[Record]:
        """Write what was gathered, and the state that goes with it, in one transaction; return the rows now durable.

        ``reporters`` are the degradations by reporters, once all have ended.

        Raises `JournalWaits` where a durable journal can't be written now: its rows are gathered still, and a later
        commit writes them. Raises `JournalError` otherwise; whether the rows are on disk is then unknown, the run must
        not go on, and every later commit fails alike: its rows would not follow from those on disk.
        """
        self.check()
        self._chain()
        rows, self._rows, self._waiting = self._rows, [], 0
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._insert(rows)
            for name, value in ((RUN_STATE, state), (REPORTERS, reporters)):
                if value is not None:
                    body = bytes_without_secrets(encode(value))
                    values = (name, self._seq, body.decode(), state_seal(self._hash, body))
                    self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", values)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            text = f"{self.path or 'the journal in memory'}: cannot commit: {error}"
            if self._durable:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have done so itself
                    self._db.execute("ROLLBACK")
                why = _WAITS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
                if why is not None and len(rows) < _WAITING_MOST:
                    self._rows, self._waiting = [*rows, *self._rows], len(rows)
                    raise JournalWaits(why, text) from error
            self._failure = text
            raise JournalError(self._failure) from error
        if self._marks is not None and rows:
            self._marks.write(Mark(self._seq, self._hash))
        return [Record(row[0], row[1], row[3], row[5].encode()) for row in rows] if self._durable else ()

    def since(self, seq: int, limit: int) -> Sequence[Record]:
        """Return up to ``limit`` committed rows after ``seq``, in order."""
        return records_after(self._db, seq, limit)

    def outcome(self, order_id: str) -> str | None:
        """Return the outcome of an order of this run that memory has forgotten, or ``None`` for an unknown id."""
        self._chain()
        self.index()  # without it every answer reads every row
        keys = (f"order:{order_id}", f"end:{order_id}", f"fill:{order_id}.1")
        kinds = {kind for _, _, _, kind, key, *_ in self._rows if key in keys}
        sql = "SELECT kind FROM event WHERE key IN (?, ?, ?) AND seq <= ?"  # later ones are there where it is resumed
        kinds.update(row[0] for row in self._db.execute(sql, (*keys, self._seq)))
        for kind, outcome in (("order_filled", "filled"), ("order_ended", "ended"), ("order_refused", "refused")):
            if kind in kinds:
                return outcome
        return "accepted" if kinds else None

    def reader(self) -> JournalReader:
        """Return a reader of the committed rows, over this connection."""
        return JournalReader(self._db, str(self.path or "the journal in memory"))

    def image(self) -> bytes:
        """Return a journal in memory as bytes, for `JournalReader.loaded`."""
        return self._db.serialize()

    def index(self) -> None:
        """Make the unique index of a backtest, at its end or at the first question for an outcome.

        Raises `JournalError` where a key is there twice.
        """
        if not self._indexed:
            try:
                self._db.execute(INDEX)
            except sqlite3.Error as error:
                raise JournalError(f"{self.path or 'the journal in memory'}: {error}") from error
            self._indexed = True

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with contextlib.suppress(sqlite3.Error):
            if self._durable and self.path is not None:
                # The mode stays: what changes it writes a rollback journal, which a kill leaves behind for good.
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        if self._marks is not None:
            self._marks.close()
