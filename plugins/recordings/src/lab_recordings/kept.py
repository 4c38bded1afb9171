"""Files of packed columns: made of a source that was read to its end and found sound, read back block by block.

A file begins with a head of fixed size, then come the blocks, each with its length and its checksum, then what the
survey found. The head is written last. It names the file, so a file under another's name is not taken for it, and holds
a checksum of itself and of the survey.
"""

from collections import deque
from collections.abc import Callable, Iterator
from struct import Struct
from typing import BinaryIO, Final, Generic, Protocol, TypeVar
from zlib import crc32

from lab_recordings.survey import Survey

_MAGIC: Final = b"lab cols"
_HEAD: Final = Struct("<8sIQQQII")  # magic, checksum of the name, rows, blocks, survey's place, its length and checksum
_CHECKED: Final = Struct("<I")  # the head's own checksum
_BLOCK: Final = Struct("<II")  # length and checksum
_BEGIN: Final = _HEAD.size + _CHECKED.size
_BLOCK_MOST: Final = 4 << 20  # bytes, of a block's columns or of the survey; one of 512 rows has some 50 KB


class DamagedError(ValueError):
    """A kept file is not what was written. The text says what is wrong with it."""


class Packable(Protocol):
    """Columns that become bytes."""

    def __len__(self) -> int: ...

    def dumped(self) -> bytes:
        """Return them as bytes."""


_Columns = TypeVar("_Columns")


class KeptWriter:
    """Writes a kept file. Any method may raise ``OSError``."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._rows = self._blocks = 0
        self.size = _BEGIN
        file.seek(_BEGIN)

    def add(self, columns: Packable) -> None:
        """Write a block."""
        data = columns.dumped()
        self._file.write(_BLOCK.pack(len(data), crc32(data)))
        self._file.write(data)
        self._rows += len(columns)
        self._blocks += 1
        self.size += _BLOCK.size + len(data)

    def end(self, survey: Survey) -> None:
        """Write the survey and the head: from now on the file counts."""
        found = survey.dumped()
        self._file.write(found)
        head = _HEAD.pack(
            _MAGIC, crc32(self._name.encode()), self._rows, self._blocks, self.size, len(found), crc32(found)
        )
        self._file.seek(0)
        self._file.write(head + _CHECKED.pack(crc32(head)))
        self._file.flush()


class KeptColumns(Generic[_Columns]):
    """The columns of a kept file, which was checked from its first byte to its last.

    The file stays open, so it may be removed or replaced meanwhile. It is read once.
    """

    def __init__(self, file: BinaryIO, name: str, load: Callable[[bytes], _Columns]) -> None:
        """Check all of the file. Raises `DamagedError`, or ``OSError`` where it can't be read."""
        self._file = file
        self._load = load
        self.rows, self._blocks, self._place, self.survey = self._survey(name)
        deque(self._datas(), maxlen=0)

    def __del__(self) -> None:
        self._file.close()  # columns that nobody read are closed as quietly as those that were

    def columns(self) -> Iterator[_Columns]:
        """Yield the blocks; each is checked once more, as it is read now. Raises `DamagedError`, or ``OSError``."""
        for data in self._datas():
            yield self._load(data)
        self._file.close()

    def _survey(self, name: str) -> tuple[int, int, int, Survey]:
        head = self._file.read(_BEGIN)
        if len(head) < _BEGIN or _CHECKED.pack(crc32(head[: _HEAD.size])) != head[_HEAD.size :]:
            raise DamagedError("its head is damaged")
        magic, named, rows, blocks, place, length, checksum = _HEAD.unpack_from(head)
        if magic != _MAGIC or named != crc32(name.encode()):
            raise DamagedError("it is not the file of its name")
        self._file.seek(place)
        found = self._file.read(length + 1) if length <= _BLOCK_MOST else b""
        if len(found) != length or crc32(found) != checksum:
            raise DamagedError("its end is damaged")
        try:
            return rows, blocks, place, Survey.loaded(found)
        except ValueError:
            raise DamagedError("its end is of another kind") from None

    def _datas(self) -> Iterator[bytes]:
        left = self._place - self._file.seek(_BEGIN)
        for number in range(1, self._blocks + 1):
            head = self._file.read(_BLOCK.size)
            length, checksum = _BLOCK.unpack(head) if len(head) == _BLOCK.size else (left, 0)
            left -= _BLOCK.size + length
            data = self._file.read(length) if left >= 0 and length <= _BLOCK_MOST else b""
            if len(data) != length or crc32(data) != checksum:
                raise DamagedError(f"block {number} of {self._blocks} is damaged")
            yield data
        if left:
            raise DamagedError("its blocks do not end where they should")
