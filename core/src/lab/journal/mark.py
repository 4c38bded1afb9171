"""The side mark: number and hash of a journal's newest row, in a small file of its own beside it.

SQLite takes a damaged end of its write-ahead log for the end of the log, and rows that were committed are gone without
a word. The mark is written after each commit, so it may be behind, and is never ahead: a journal that ends before its
mark has lost rows, and one that has another row there is not the one that was written. It is synced once, before there
is a journal, and overwritten in place from then on: a session without a whole one was damaged.
"""

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from lab.journal.chain import GENESIS
from lab.journal.files import at_once, private

NAME: Final = "journal.mark"
_LENGTH: Final = 103
_TRIES: Final = 5


class Mark(NamedTuple):
    """The newest row whose commit returned."""

    seq: int
    hash: bytes


class MarkWriter:
    """Keeps the mark of a journal. The file never changes its size: a full disk takes it, and a kill tears nothing."""

    def __init__(self, directory: Path) -> None:
        """Open the mark of a run's directory, or make it. Raises ``OSError``."""
        self._file = -1
        self._file = private(str(directory / NAME), os.O_RDWR | os.O_CREAT)

    def begin(self) -> None:
        """Write the first mark, of no row, and make it durable. Raises ``OSError``."""
        os.write(self._file, _line(Mark(0, GENESIS)))
        os.fsync(self._file)

    def write(self, mark: Mark) -> None:
        """Write the mark, without syncing. Where the disk refuses, the mark stays behind."""
        with contextlib.suppress(OSError):
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, _line(mark))

    def close(self) -> None:
        """Close the file; safe to call twice."""
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close


def read_mark(directory: Path) -> Mark | None:
    """Return the mark of a run's directory, ``None`` where there is none or its own checksum is wrong."""
    for _ in range(_TRIES):  # the run may be writing it at this very moment
        mark = _read(directory)
        if mark is not None or not (directory / NAME).exists():
            return mark
    return None


def _read(directory: Path) -> Mark | None:
    try:
        with open(directory / NAME, "rb", opener=at_once) as file:
            line = file.read(_LENGTH + 1)
        seq, digest, _ = line.split(b" ")
        mark = Mark(int(seq), bytes.fromhex(digest.decode()))
    except (OSError, ValueError):
        return None
    return mark if _line(mark) == line else None


def _line(mark: Mark) -> bytes:
    text = f"{mark.seq:020d} {mark.hash.hex()} "
    return f"{text}{sha256(text.encode()).hexdigest()[:16]}\n".encode()
