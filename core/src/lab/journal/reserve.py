"""Room for the last words: a file that is removed when the disk is full, for a halt and the report."""

import contextlib
import os
from pathlib import Path
from typing import Final

from lab.journal.files import private

NAME: Final = ".reserve"
SIZE: Final = 1 << 20
_FREE: Final = 8 << 20
"""Bytes that have to be free before a disk that was full counts as one with space."""


class Reserve:
    """One megabyte in a run's folder."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self.spent = False
        self._take()

    def spend(self) -> None:
        """Give the room back to the disk. Never raises."""
        self.spent = True
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def restore(self) -> bool:
        """Take it again, where there is space by now; return whether it is there."""
        with contextlib.suppress(OSError):
            if self.spent and _free(self._path.parent) >= _FREE:
                self._take()
                self.spent = False
        return not self.spent

    def close(self) -> None:
        """Remove the file. Never raises."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _take(self) -> None:
        """Write zeros: a file with a hole in it holds no room."""
        try:
            with open(self._path, "wb", opener=private) as file:
                file.write(bytes(SIZE))
        except OSError:
            self.spend()


def _free(folder: Path) -> int:
    if hasattr(os, "statvfs"):
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize
    import shutil

    return shutil.disk_usage(folder).free
