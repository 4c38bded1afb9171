"""Kernel locks: released however a process ends, so that nothing has to be cleaned up after a crash."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from lab.errors import RunError
from lab.exit_codes import EndReason

NAME: Final = ".lock"


@contextmanager
def exclusive(state_dir: Path) -> Iterator[None]:
    """Keep other live sessions away from a state directory. Raises `RunError` where one is there already."""
    with _locked(state_dir / "runs" / NAME, make=True):
        yield


def check_free(state_dir: Path) -> None:
    """Raise as `exclusive` does where another live session is there already; make nothing, and keep no lock."""
    path = state_dir / "runs" / NAME
    if path.exists():
        with _locked(path, make=False):
            pass


@contextmanager
def _locked(path: Path, *, make: bool) -> Iterator[None]:
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        text = f"{path.parent}: cannot be written: {error.strerror or error}; choose another with --state-dir"
        raise RunError(EndReason.STORAGE, text) from None
    with file:
        if not try_lock(file):
            text = f"{path.parent}: another session is running there; wait for its end, or choose another --state-dir"
            raise RunError(EndReason.IN_USE, text)
        yield


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
