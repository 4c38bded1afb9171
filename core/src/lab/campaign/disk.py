"""The disk of a simulated session: it fills up, fails, and the process is killed between two of its operations.

Journal and tape are the shipped ones over real files. What is simulated is what the operating system answers.
"""

import errno
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from attrs import define, field

from lab.campaign.watch import Watch
from lab.domain.inputs import Input
from lab.journal.chain import WrittenRow
from lab.journal.mark import Mark, MarkWriter
from lab.journal.reserve import SIZE, Reserve
from lab.journal.storage import Storage
from lab.journal.store import Journal
from lab.journal.tape import RecordedTape, TapeWriter
from lab.ports import Record
from lab.records.run import ReportersState, RunState

TAPE_WRITE: Final = 0
TAPE_SYNC: Final = 1
COMMIT_LOST: Final = 2
COMMIT_KEPT: Final = 3
"""A failure of the disk: where it happens, and for a commit whether its rows are there after all."""
FAILURES: Final = (TAPE_WRITE, TAPE_SYNC, COMMIT_LOST, COMMIT_KEPT)
_COMMIT_BYTES: Final = 16 * 1024


@define(eq=False)
class Disk:
    """What is wrong with the disk at this moment. Everything that writes asks before each operation."""

    crash: Callable[[], None]
    """Called at the operation at which the process is killed; raises."""
    stall: Callable[[float], None]
    """Lets time pass."""
    watch: Watch
    full: bool = False
    failure: int | None = None
    failed_s: float | None = None
    """When it failed."""
    refused: int = 0
    """How many commits had no room, behind a life's first, which waits for it before anything is traded."""
    left: int | None = None
    """Operations until the process is killed; ``None``: it is not."""
    lag_s: float = 0.0
    """What each input costs whoever takes it."""
    room: int = 0
    """Bytes that a reserve has given back."""
    opened: list[Callable[[], object]] = field(factory=list)
    """What closes the files that were opened, without writing what they gathered."""

    def close(self) -> None:
        """Close the files of a session that was killed, as the operating system does."""
        for close in self.opened:
            close()

    def operation(self) -> None:
        """Begin an operation, the last one where the process is killed at it."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.crash()

    def takes(self, size: int) -> bool:
        """Return whether there is room, and take it."""
        if not self.full:
            return True
        if self.room < size:
            return False
        self.room -= size
        return True

    def refuse(self) -> None:
        """Note that a commit had no room."""
        self.refused += self.watch.commits > 0

    def fails(self, *failures: int) -> bool:
        """Return whether one of these operations fails now."""
        if self.failure in failures:
            self.failed_s = self.watch.now_s() if self.failed_s is None else self.failed_s
            return True
        return False


def storage_on(disk: Disk) -> Storage:
    """Return what a session writes with on this disk."""

    def journal(*args: Any, **options: Any) -> Journal:
        disk.operation()
        return DiskJournal(disk, *args, **options)

    def tape(directory: Path, recorded: RecordedTape | None = None) -> TapeWriter:
        disk.operation()
        return DiskTape(disk, directory, recorded)

    return Storage(journal, tape, lambda directory: DiskReserve(disk, directory))


class DiskJournal(Journal):
    """A journal on a simulated disk, whose rows and states are checked as they are committed."""

    def __init__(self, disk: Disk, *args: Any, **options: Any) -> None:
        """Open it as a `Journal`."""
        self._disk = disk
        super().__init__(*args, **options)
        disk.opened += [self._db.close, *([self._marks.close] if self._marks is not None else [])]
        disk.operation()
        self._db = cast("sqlite3.Connection", _Connection(self._db, disk))
        self._marks = cast("MarkWriter", _Marks(self._marks, disk)) if self._marks is not None else None

    def _add(self, rows: Sequence[WrittenRow]) -> None:
        super()._add(rows)
        self._disk.watch.take(rows)

    def commit(self, state: RunState | None = None, *, reporters: ReportersState | None = None) -> Sequence[Record]:
        """Commit, then check the state against the rows."""
        records = super().commit(state, reporters=reporters)
        self._disk.watch.committed(self._seq, self._hash, state)
        self._disk.operation()
        return records


class _Connection:
    """A connection whose transactions meet what the disk has."""

    def __init__(self, db: sqlite3.Connection, disk: Disk) -> None:
        self._db = db
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            if not sql.startswith(("INSERT", "SELECT")):
                self._disk.operation()
            return self._db.execute(sql, *values)
        self._disk.operation()
        if not self._disk.takes(_COMMIT_BYTES):
            self._disk.refuse()
            self._db.execute("ROLLBACK")  # as SQLite itself does
            raise _error(sqlite3.SQLITE_FULL, "database or disk is full")
        if self._disk.fails(COMMIT_LOST):
            raise _error(sqlite3.SQLITE_IOERR_WRITE, "disk I/O error")
        cursor = self._db.execute(sql, *values)
        if self._disk.fails(COMMIT_KEPT):
            raise _error(sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error")
        return cursor


def _error(code: int, text: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


class _Marks:
    """A writer of side marks that may be killed before one."""

    def __init__(self, marks: MarkWriter, disk: Disk) -> None:
        self._marks = marks
        self._disk = disk

    def write(self, mark: Mark) -> None:
        self._disk.operation()
        self._marks.write(mark)

    def close(self) -> None:
        self._marks.close()


class DiskTape(TapeWriter):
    """A tape on a simulated disk."""

    def __init__(self, disk: Disk, directory: Path, recorded: RecordedTape | None = None) -> None:
        """Begin it, or go on with it, as a `TapeWriter`."""
        self._disk = disk
        super().__init__(directory, recorded)
        disk.opened += [self._file.close] if self._file is not None else []
        disk.operation()
        if self._file is not None:
            self._file = cast("BinaryIO", _File(self._file, disk))

    def add(self, event: Input) -> int:
        """Take an input; whoever steps the engine with it may be slow."""
        if self._disk.lag_s:
            self._disk.stall(self._disk.lag_s)
        return super().add(event)

    def flush(self, *, sync: bool = False) -> None:
        """Flush, before a commit with ``sync``."""
        try:
            super().flush(sync=sync)
        except OSError as error:
            if sync and error.errno == errno.ENOSPC:
                self._disk.refuse()
            raise


class _File:
    """A file whose writes meet what the disk has: half of a frame may be there when the process is killed."""

    def __init__(self, file: BinaryIO, disk: Disk) -> None:
        self._file = file
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: memoryview) -> int:
        self._disk.operation()
        if self._disk.fails(TAPE_WRITE):
            self._file.write(data[: len(data) // 2])
            raise OSError(errno.EIO, "Input/output error")
        if not self._disk.takes(len(data)):
            self._file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        if self._disk.left is None or len(data) == 1:
            return self._file.write(data)
        return self._file.write(data[: len(data) // 2])  # the rest is an operation of its own

    def fileno(self) -> int:
        """Return the descriptor; whoever asks for it syncs the file."""
        self._disk.operation()
        if self._disk.fails(TAPE_SYNC):
            raise OSError(errno.EIO, "Input/output error")
        return self._file.fileno()


class DiskReserve(Reserve):
    """A reserve on a simulated disk: its file is real, the room that it holds is not."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        """Take the room."""
        self._disk = disk
        super().__init__(directory)

    def spend(self) -> None:
        """Give the room back to the disk."""
        if not self.spent:
            self._disk.room = SIZE
        super().spend()

    def restore(self) -> bool:
        """Take it again, where there is space by now."""
        if self._disk.full:
            return not self.spent
        self._disk.room = 0
        return super().restore()
