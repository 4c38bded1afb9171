"""The tape: every input in the order the engine took it, JSON lines in independent zstd frames, beside the journal."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.domain.market import Input
from lab.journal.codec import read_tape_line, tape_line
from lab.journal.store import JournalError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_FRAME_BYTES: Final = 64 * 1024
_SEGMENT_BYTES: Final = 64 * 1024 * 1024


class TapeWriter:
    """Appends inputs. What was given before `flush` is in the file after it: a killed process loses only what came later."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._lines: list[bytes] = []
        self._size = 0
        self._segment = 1
        self._file = None if directory is None else (directory / "tape-0001.jsonl.zst").open("xb")
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
        self._file.write(zstd.compress(b"".join(self._lines), level=3))
        self._file.flush()
        self._lines.clear()
        self._size = 0
        if self._file.tell() >= _SEGMENT_BYTES and self._directory is not None:
            self._file.close()
            self._segment += 1
            self._file = (self._directory / f"tape-{self._segment:04d}.jsonl.zst").open("xb")

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if self._file is not None and not self._file.closed:
            self.flush()
            self._file.close()


def read_tape(directory: Path) -> Iterator[Input]:
    """Yield every input of a run's tape, in order. A frame torn by a crash ends the tape.

    Raises `JournalError` where there is no tape, or a line of it is not an input.
    """
    segments = sorted(directory.glob("tape-*.jsonl.zst"))
    if not segments:
        raise JournalError(
            f"{directory}: no tape there (tape-0001.jsonl.zst); a backtest has none, its source is the tape"
        )
    for segment in segments:
        with zstd.open(segment, "rb") as lines:
            number = 0
            try:
                for line in lines:
                    number += 1
                    yield read_tape_line(line)
            except (EOFError, zstd.ZstdError):
                return
            except ValueError as error:
                raise JournalError(f"{segment}: line {number}: not an input: {error}") from None
