"""The files of runs: nobody but their owner reads them, no link leads to another file, and none keeps lab waiting."""

import os
import sys
from pathlib import Path
from typing import IO, Final

_FILE: Final = 0o600
_FOLDER: Final = 0o700
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)  # a named pipe would be waited for; files are never


def private(path: str, flags: int) -> int:
    """Open a file as ``opener`` of `open`: mode 0600 whatever the umask. Raises ``OSError``, also for a link."""
    descriptor = os.open(path, flags | _NO_LINK | _NO_WAIT, _FILE)
    if sys.platform != "win32" and flags & os.O_CREAT:
        os.fchmod(descriptor, _FILE)
    return descriptor


def at_once(path: str, flags: int) -> int:
    """Open a file as ``opener`` of `open`, to read it. Raises ``OSError``; never waits for a pipe's other end."""
    return os.open(path, flags | _NO_WAIT)


def make_folder(path: Path, *, parents: bool = False) -> None:
    """Make a folder of mode 0700 whatever the umask, ``parents`` as the umask has it. Raises ``OSError``."""
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(_FOLDER)
    path.chmod(_FOLDER)


def write_new(path: Path, text: str) -> None:
    """Write a private file, in the place of one that is there. Raises ``OSError``."""
    with open(path, "w", encoding="utf-8", opener=private) as file:
        file.write(text)


def sync(path: Path) -> None:
    """Make what a file holds durable. Raises ``OSError``."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make what was renamed in a folder durable, where the platform can. Raises ``OSError``."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def try_lock(file: IO[bytes]) -> bool:
        """Lock an open file; ``False`` where another process, or another opening of the file, holds it."""
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool:
        """Lock an open file; ``False`` where another process, or another opening of the file, holds it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
