"""Kernel locks: released however a process ends, so that nothing has to be cleaned up after a crash."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.journal.files import make_folder, private, try_lock

NAME: Final = ".lock"


@contextmanager
def exclusive(state_dir: Path) -> Iterator[None]:
    """Keep other live sessions away from a state directory. Raises `RunError` where one is there already."""
    with _locked(state_dir / "runs" / NAME, make=True):
        yield


def check_free(state_dir: Path) -> None:
    """Raise as `exclusive` does where another live session is there already; make nothing, and keep no lock."""
    path = state_dir / "runs" / NAME
    if os.path.lexists(path):
        with _locked(path, make=False):
            pass


@contextmanager
def _locked(path: Path, *, make: bool) -> Iterator[None]:
    try:
        if make:
            with contextlib.suppress(FileExistsError):
                make_folder(path.parent, parents=True)
        file = open(path, "ab", opener=private)  # noqa: SIM115 - closed below
    except OSError as error:
        if path.is_symlink():
            text = f"{path}: a link, where lab keeps the lock of a state directory; remove it"
            raise RunError(EndReason.STORAGE, text) from None
        text = f"{path.parent}: cannot be written: {error.strerror or error}; choose another with --state-dir"
        raise RunError(EndReason.STORAGE, text) from None
    with file:
        if not try_lock(file):
            text = f"{path.parent}: another session is running there; wait for its end, or choose another --state-dir"
            raise RunError(EndReason.IN_USE, text)
        yield
