"""The tape: every input in the order the engine took it, JSON lines in independent zstd frames, beside the journal."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.domain.inputs import Input
from lab.errors import JournalError
from lab.journal.codec import read_tape_line, tape_line
from lab.journal.schema import FIRST_SEGMENT

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_FRAME_BYTES: Final = 64 * 1024
_SEGMENT_BYTES: Final = 64 * 1024 * 1024
_OPTIONS: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.checksum_flag: 1,
}


class TapeWriter:
    """Appends inputs. What was given before `flush` is in the file after it: a killed process loses only later ones."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._lines: list[bytes] = []
        self._size = 0
        self._segment = 1
        self._digest = hashlib.sha256()
        self._file = None if directory is None else (directory / FIRST_SEGMENT).open("xb")
        self.inputs = 0

    def add(self, event: Input) -> int:
        """Take an input and return its number, counted from 1."""
        self.inputs += 1
        if self._file is not None:
            line = tape_line(event)
            self._lines.append(line)
            self._size += len(line)
            if self._size >= _FRAME_BYTES:
                self.flush()
        return self.inputs

    def flush(self) -> None:
        """Write what is gathered as one frame and hand it to the operating system."""
        if self._file is None or not self._lines:
            return
        lines = b"".join(self._lines)
        self._digest.update(lines)
        self._file.write(zstd.compress(lines, options=_OPTIONS))
        self._file.flush()
        self._lines.clear()
        self._size = 0
        if self._file.tell() >= _SEGMENT_BYTES and self._directory is not None:
            self._file.close()
            self._segment += 1
            self._file = (self._directory / f"tape-{self._segment:04d}.jsonl.zst").open("xb")

    def digest(self) -> str:
        """Flush, and return the SHA-256 of every line so far: the journal keeps it, so that a changed tape is found."""
        self.flush()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if self._file is not None and not self._file.closed:
            self.flush()
            self._file.close()


def read_tape(directory: Path, *, torn_ok: bool = False, digest: "hashlib._Hash | None" = None) -> Iterator[Input]:
    """Yield every input of a run's tape, in order; ``digest`` is fed every line.

    Raises `JournalError` where there is no tape, a line of it is not an input, or it is torn or damaged; with
    ``torn_ok``, for a run that was killed, it ends there instead.
    """
    segments = sorted(directory.glob("tape-*.jsonl.zst"))
    if not segments:
        text = "no tape there (tape-0001.jsonl.zst); a backtest has none, because its source can be read again"
        raise JournalError(f"{directory}: {text}")
    for segment in segments:
        with zstd.open(segment, "rb") as lines:
            number = 0
            try:
                for line in lines:
                    number += 1
                    if digest is not None:
                        digest.update(line)
                    yield read_tape_line(line)
            except (EOFError, zstd.ZstdError) as error:
                if torn_ok:
                    return
                raise JournalError(f"{segment}: torn or damaged after line {number}: {error}") from None
            except ValueError as error:
                raise JournalError(f"{segment}: line {number}: not an input: {error}") from None
