"""The folder of kept columns: one file for each source and way of reading it, the oldest-used removed when it is full.

Nothing here fails a run. What can't be found is read from its source; what can't be kept is not.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, Final, TypeVar

from attrs import define, field
from lab.runs.result import to_stderr

from lab_recordings.kept import DamagedError, KeptColumns, KeptWriter, Packable
from lab_recordings.survey import Survey

LEAST_BYTES: Final = 2 << 20
"""The size of a source from which on its columns are worth keeping."""
MOST_BYTES: Final = 2 << 30
"""The most that the folder holds."""
FOLDER_VARIABLE: Final = "LAB_CACHE_DIR"
"""The environment variable that names another folder."""
_FORMAT: Final = 5  # one more where the same source would give other columns, another survey, or other bytes of them
_SUFFIX: Final = ".columns"
_UNFINISHED: Final = ".columns.part"
_ABANDONED_S: Final = 600.0  # a file that is being written to is younger
_READ_AHEAD: Final = 1 << 18
_Columns = TypeVar("_Columns")


def user_folder() -> Path:
    """Return the folder that ``LAB_CACHE_DIR`` names, else ``lab`` in the platform's folder for caches."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        with suppress(RuntimeError):  # of a home folder that nobody knows
            return Path(named).expanduser()
        return Path(named)
    from platformdirs import user_cache_path  # takes 14 ms, which small files would not make up for

    return user_cache_path("lab", appauthor=False)


def name_of(sha256: str, how: str) -> str:
    """Return the name of the kept columns of a source. ``how`` says as what it is read."""
    return f"{sha256}-{how}-{sys.byteorder}-{version('lab-recordings')}-{_FORMAT}{_SUFFIX}"


class Draft:
    """Columns on their way into the folder. They are dropped where that fails, with one line on standard error."""

    def __init__(self, file: BinaryIO, name: str, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._writer: KeptWriter | None = KeptWriter(file, name)
        self.complete = False

    def add(self, columns: Packable) -> None:
        """Add a block."""
        if self._writer is not None:
            try:
                self._writer.add(columns)
            except OSError as error:
                self._writer = None
                _say_not_kept(error)
            else:
                if self._writer.size > self._most_bytes:
                    self._writer = None

    def end(self, survey: Survey) -> None:
        """Finish them."""
        if self._writer is not None:
            try:
                self._writer.end(survey)
            except OSError as error:
                _say_not_kept(error)
            else:
                self.complete = True


@define
class ColumnCache:
    """A folder of kept columns, for several processes at once."""

    folder: Path = field(factory=user_folder)
    writes: bool = True
    """Whether anything is written, removed, or marked as used."""
    most_bytes: int = MOST_BYTES

    def find(self, name: str, load: Callable[[bytes], _Columns]) -> KeptColumns[_Columns] | None:
        """Return the columns of a name, checked; ``None`` where there are none, or damaged ones, which is said."""
        path = self.folder / name
        try:
            file = path.open("rb", _READ_AHEAD)
        except OSError:
            return None
        try:
            found = KeptColumns(file, name, load)
        except (DamagedError, OSError) as error:
            file.close()
            to_stderr(f"kept columns {path}: {error}; {'made anew' if self.writes else 'not used'}")
            return None
        if self.writes:
            with suppress(OSError):
                os.utime(path)
        return found

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft | None]:
        """Give a draft that is in the folder at the end, whole, if it is complete; ``None`` where none can be begun."""
        if not self.writes:
            yield None
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, made = mkstemp(dir=self.folder, suffix=_UNFINISHED)
        except OSError as error:
            # Not worth a line at every run, unless somebody named the folder.
            if os.environ.get(FOLDER_VARIABLE):
                to_stderr(f"{FOLDER_VARIABLE}: {self.folder}: {error.strerror}; the columns of the file are not kept")
            yield None
            return
        try:
            file = os.fdopen(handle, "wb", _READ_AHEAD)
            draft = Draft(file, name, self.most_bytes)
            try:
                yield draft
            finally:
                with suppress(OSError):  # was said, or is found by the checksums
                    file.close()
            if draft.complete:
                self._take_in(Path(made), self.folder / name)
        finally:
            Path(made).unlink(missing_ok=True)

    def _take_in(self, made: Path, path: Path) -> None:
        try:
            made.replace(path)
            self._trim(path)
        except OSError as error:
            _say_not_kept(error)

    def _trim(self, newest: Path) -> None:
        """Remove the oldest-used files while there is too much, and what was begun long ago and never finished."""
        found = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # another process may have removed it
                status = path.stat()
                if path.name.endswith(_UNFINISHED) and time.time() - status.st_mtime > _ABANDONED_S:
                    path.unlink()
                elif path.name.endswith(_SUFFIX):
                    found.append((status.st_mtime, path, status.st_size))
        total = sum(size for _, _, size in found)
        for _, path, size in sorted(found):
            if total > self.most_bytes and path != newest:
                with suppress(OSError):  # as above
                    path.unlink(missing_ok=True)
                    total -= size


def _say_not_kept(error: OSError) -> None:
    to_stderr(f"the columns of the file are not kept: {error}")
