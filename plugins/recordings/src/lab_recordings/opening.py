"""Opens CSV files, plain or gzip, and sees to it that their lines end now and then: a line is read whole."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from lab_recordings.errors import RecordingError, listed
from lab_recordings.kinds import LONGEST, is_zip, other_kind

_READ_AHEAD: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"
_LONGEST_LINE: Final = 1 << 20
_NEARLY_ALWAYS: Final = 1 << 12  # bytes in which a row ends
TOO_LONG: Final = f"a line of more than {_LONGEST_LINE:,} bytes"
NO_GZIP: Final = "named .gz but not gzip data; rename it to .csv if it is plain text"
ROWS: Final = "expected rows, each on its own line"


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: Any, /) -> None:
        """Take in bytes."""


class LineTooLong(OSError):
    """A line is longer than any row."""


def _look_for_lines(path: Path) -> None:
    """Look once in each MiB for a line's end: a line is read whole, so one without an end would fill the memory."""
    with path.open("rb", buffering=0) as file:
        for begin in range(0, path.stat().st_size - _LONGEST_LINE, _LONGEST_LINE):
            for length in (_NEARLY_ALWAYS, _LONGEST_LINE):
                file.seek(begin)
                if b"\n" in (file.read(length) or b""):
                    break
            else:
                raise RecordingError(path, None, f"{TOO_LONG} from byte {begin:,} on; {ROWS}")


class _Lines(io.RawIOBase):
    """Unpacked bytes in which a line ends now and then, as `_look_for_lines` sees to it in a plain file."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._since = 0  # bytes since the last line's end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read as the source does. Raises `LineTooLong`."""
        count: int = self._source.readinto(buffer)
        self._since = 0 if b"\n" in bytes(buffer[:count]) else self._since + count
        if self._since > _LONGEST_LINE:
            raise LineTooLong
        return count


class _Digested(io.FileIO):
    """A file whose bytes a digest takes in as they are read."""

    def __init__(self, path: Path, digest: Digest) -> None:
        super().__init__(path)
        self._digest = digest

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        return count


def _file(path: Path, digest: Digest | None) -> io.BufferedReader:
    raw = io.FileIO(path) if digest is None else _Digested(path, digest)
    return io.BufferedReader(raw, _READ_AHEAD)


def sole_member(path: Path) -> Any:
    """Return the one file in a zip archive, opened. Raises `RecordingError` where there are others, naming them."""
    try:
        archive = zipfile.ZipFile(path)
        members = [one for one in archive.infolist() if not one.is_dir() and not _is_litter(one.filename)]
        if len(members) == 1:
            return archive.open(members[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
        reason = f"the zip archive can't be read ({str(error)[:80]}); download it again, or unpack it"
        raise RecordingError(path, None, reason) from None
    names = listed(one.filename for one in members) or "none"
    raise RecordingError(path, None, f"a zip archive of {len(members)} files ({names}); unpack it and name one of them")


def _is_litter(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.endswith((".DS_Store", ".CHECKSUM"))


@contextmanager
def opened_bytes(path: Path, digest: Digest | None = None) -> Iterator[io.BufferedReader]:
    """Give the file as it lies on disk. Raises `RecordingError` where it can't be opened."""
    try:
        file = _file(path, digest)
    except FileNotFoundError:
        raise RecordingError(path, None, "no such file") from None
    except OSError as error:
        raise RecordingError(path, None, f"can't be opened ({error.strerror})") from None
    with file:
        yield file


@contextmanager
def opened(path: Path, digest: Digest | None = None) -> Iterator[IO[bytes]]:
    """Give the text in a file, plain or gzip. Raises `RecordingError` for another kind of file."""
    with opened_bytes(path, digest) as file:
        begin = file.peek(LONGEST)[:LONGEST]
        if begin.startswith(_GZIP):
            unpacked = gzip.GzipFile(fileobj=file)
            # GzipFile's own lines are slow. What was read ahead is lost where the data breaks off: so, little.
            yield io.BufferedReader(_Lines(unpacked))
        elif is_zip(begin):
            while file.read(_READ_AHEAD):  # the digest takes it in, in its order
                pass
            with sole_member(path) as member:
                yield io.BufferedReader(_Lines(member))
        elif (kind := other_kind(begin)) is not None:
            raise RecordingError(path, None, kind)
        elif begin and path.suffix == ".gz":
            raise RecordingError(path, 1, NO_GZIP)
        else:
            _look_for_lines(path)
            yield file
