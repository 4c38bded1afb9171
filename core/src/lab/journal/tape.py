"""The tape: every input in the order the engine took it, JSON lines in independent zstd frames, beside the journal."""

import errno
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from lab.domain.inputs import Input
from lab.errors import JournalError
from lab.journal.codec import read_tape_line, tape_line
from lab.journal.files import private
from lab.journal.schema import LONGEST
from lab.lines import LineTooLong

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_FRAME_BYTES: Final = 64 * 1024
_HELD_MOST: Final = 32 * 1024 * 1024
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a disk without space."""
_SEGMENT_BYTES: Final = 64 * 1024 * 1024
_OPTIONS: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.checksum_flag: 1,
}
_READING: Final[dict[int, int]] = {
    zstd.DecompressionParameter.window_log_max: 23
}  # 8 MiB: more than a frame of the longest line asks
_UNPACKED_MOST: Final = _FRAME_BYTES + LONGEST
_PART: Final = 2 * LONGEST  # bytes; a frame is shorter
_PACKED: Final = 16 * 1024
"""Bytes read at once. What is left of them behind each frame is copied, and most frames are of a second."""
_PIECE: Final = 2 * _FRAME_BYTES
"""Bytes unpacked at once: nearly always a whole frame, whose checksum is then known."""


class TapeWriter:
    """Appends inputs. What was given before `flush` is in the file after it: a killed process loses only later ones."""

    def __init__(self, directory: Path | None, recorded: "RecordedTape | None" = None) -> None:
        """Begin the tape of a run's directory; with ``recorded`` go on behind what is there, in a file of its own.

        Without a directory inputs are only counted.
        """
        self._directory = directory
        self._lines: list[bytes] = []
        self._size = 0
        self._segment = 1 if recorded is None else len(segments_of(recorded.directory)) + 1
        self._digest = hashlib.sha256() if recorded is None else recorded.digest
        self._synced = True
        self._failure: OSError | None = None
        self._file = None if directory is None else _new_segment(directory, self._segment)
        self.inputs = 0 if recorded is None else recorded.inputs

    def add(self, event: Input) -> int:
        """Take an input and return its number, counted from 1. Raises `JournalError` for one that no reader takes."""
        if self._file is not None:
            line = tape_line(event)
            if len(line) > LONGEST:
                text = (
                    f"an input of {len(line):,} bytes ({type(event).__name__}); the longest that is read is {LONGEST:,}"
                )
                raise JournalError(f"{self._directory}: the tape cannot take {text}")
            self._lines.append(line)
            self._size += len(line)
            if self._size >= _FRAME_BYTES:
                self.flush_if_possible()
        self.inputs += 1
        return self.inputs

    def flush(self, *, sync: bool = False) -> None:
        """Write what is gathered as one frame and hand it to the operating system; with ``sync`` also to the disk.

        Synced before a commit, the tape has every input that a committed row came from, also after a power cut. Raises
        ``OSError`` naming the file; what is gathered then stays so, and a part of a frame is taken back. After another
        error than a full disk nobody knows what is on the disk: it is raised again each time, and no row may be
        committed any more.
        """
        if self._failure is not None:
            raise self._failure
        if self._file is None or self._file.closed:
            return
        try:
            self._flush(self._file, sync)
        except OSError as error:
            error.filename = error.filename or self._file.name
            if error.errno not in FULL:
                self._failure = error
            raise

    def _flush(self, file: BinaryIO, sync: bool) -> None:
        if self._lines:
            lines = b"".join(self._lines)
            self._put(file, zstd.compress(lines, options=_OPTIONS))
            self._digest.update(lines)
            self._synced = False
            self._lines.clear()
            self._size = 0
        if sync and not self._synced:
            os.fsync(file.fileno())
            self._synced = True
        if file.tell() >= _SEGMENT_BYTES and self._directory is not None:
            os.fsync(file.fileno())
            file.close()
            self._segment += 1
            self._file = _new_segment(self._directory, self._segment)

    def flush_if_possible(self) -> None:
        """Flush; on a full disk keep what is gathered, up to a limit, until there is space. Raises ``OSError``."""
        try:
            self.flush()
        except OSError as error:
            if error.errno not in FULL or self._size >= _HELD_MOST:
                raise

    @staticmethod
    def _put(file: BinaryIO, frame: bytes) -> None:
        begin, left = file.tell(), memoryview(frame)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(begin)
            file.seek(begin)
            raise

    def digest(self) -> str:
        """Flush, and return the SHA-256 of every line so far: the journal keeps it, so that a changed tape is found."""
        self.flush()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if self._file is None or self._file.closed:
            return
        try:
            self.flush()
        finally:
            if self._failure is not None or not self._lines:
                self._file.close()


class RecordedTape:
    """The tape of a run that was cut off: yields its inputs once, after which a `TapeWriter` may go on behind them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.inputs = 0
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[Input]:
        """Cut off the frame that was being written when the run ended, then yield every input.

        Raises `JournalError` as `read_tape` does.
        """
        _cut_torn_frame(segments_of(self.directory)[-1:])
        for event in read_tape(self.directory, digest=self.digest):
            self.inputs += 1
            yield event


def segments_of(directory: Path) -> list[Path]:
    """Return the files of a run's tape, in order."""
    return sorted(directory.glob("tape-*.jsonl.zst"))


def _new_segment(directory: Path, number: int) -> BinaryIO:
    return open(directory / f"tape-{number:04d}.jsonl.zst", "xb", buffering=0, opener=private)


def _cut_torn_frame(newest: Sequence[Path]) -> None:
    """Shorten the newest file of a tape to its last whole frame. Whole frames are never changed."""
    for path in newest:
        with path.open("r+b") as file:
            length = file.seek(0, os.SEEK_END)
            whole, more = 0, True
            while more:
                file.seek(whole)
                part = memoryview(file.read(_PART))
                frames = _whole_frames(part, last=whole + len(part) == length)
                if not frames and len(part) == _PART:
                    raise JournalError(
                        f"{path}: a frame of more than {_PART:,} bytes at byte {whole:,}: no tape of lab's"
                    )
                whole, more = whole + frames, frames > 0
            if whole < length:
                file.truncate(whole)
                os.fsync(file.fileno())


def _whole_frames(part: memoryview, *, last: bool) -> int:
    """Return how many bytes the whole frames at the beginning of a part take, which may be the file's last one."""
    whole = 0
    while whole < len(part):
        try:
            end = whole + zstd.get_frame_size(part[whole:])
            if last and end == len(part) and not _is_intact(part[whole:]):
                break  # the length may have been written and the bytes not
        except zstd.ZstdError:
            break
        whole = end
    return whole


def _is_intact(frame: memoryview) -> bool:
    """Return whether a frame can be unpacked to its end, or is longer than what lab writes. Raises ``ZstdError``."""
    unpacker = zstd.ZstdDecompressor(options=_READING)
    length, left = 0, frame
    while length <= _UNPACKED_MOST and not unpacker.eof:
        unpacked = unpacker.decompress(left, _FRAME_BYTES)
        if not unpacked and unpacker.needs_input:
            return False
        length, left = length + len(unpacked), frame[:0]
    return True


def read_tape(directory: Path, *, torn_ok: bool = False, digest: "hashlib._Hash | None" = None) -> Iterator[Input]:
    """Yield every input of a run's tape, in order; ``digest`` is fed every line.

    Raises `JournalError` where there is no tape, a line of it is not an input, or it is torn or damaged; with
    ``torn_ok``, for a run that was killed, it ends there instead.
    """
    segments = segments_of(directory)
    if not segments:
        raise JournalError(f"{directory}: no tape there (tape-0001.jsonl.zst); only live sessions have one")
    for segment in segments:
        if not segment.stat().st_size:
            continue  # a process that was killed before its first input
        with segment.open("rb") as file:
            number = 0
            try:
                for line in _lines(_unpacked(file, digest)):
                    number += 1
                    yield read_tape_line(line)
            except (EOFError, zstd.ZstdError) as error:
                if torn_ok:
                    return
                raise JournalError(f"{segment}: torn or damaged after line {number}: {error}") from None
            except LineTooLong as error:
                raise JournalError(f"{segment}: line {number + 1}: not an input: {error}") from None
            except ValueError as error:
                raise JournalError(f"{segment}: line {number}: not an input: {error}") from None


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines in pieces of a tape, without their ends. Raises `LineTooLong`."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(lines[0] if lines else rest) >= LONGEST:  # the others are of one piece
            raise LineTooLong(f"longer than {LONGEST:,} bytes")
        yield from lines
    if rest:
        yield rest


def _unpacked(file: BinaryIO, digest: "hashlib._Hash | None") -> Iterator[bytes]:
    """Yield what the frames of a file hold, in pieces of a bounded length; ``digest`` is fed them.

    Raises ``EOFError`` where the file ends within a frame, ``ZstdError`` for a frame that is damaged.
    """
    unpacker: zstd.ZstdDecompressor | None = None
    packed = b""
    while True:
        if not packed and (unpacker is None or unpacker.needs_input):
            packed = file.read(_PACKED)
            if not packed and unpacker is not None:
                raise EOFError("the file ends within a frame")
            if not packed:
                return
        unpacker = unpacker or zstd.ZstdDecompressor(options=_READING)
        piece = unpacker.decompress(packed, _PIECE)
        packed = b""
        if unpacker.eof:
            packed, unpacker = unpacker.unused_data, None
        if piece:
            if digest is not None:
                digest.update(piece)
            yield piece
