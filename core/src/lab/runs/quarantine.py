"""Puts damaged sessions aside: ``runs/quarantine/`` keeps the last five, each with a text that says what is wrong."""

import contextlib
import shutil
from itertools import chain, count
from pathlib import Path
from typing import Final

from lab.journal.files import make_folder, write_new
from lab.runs.directory import QUARANTINE

WHY: Final = "damage.txt"
_KEPT: Final = 5


def put_aside(directory: Path, why: str) -> Path:
    """Move a run's folder into the quarantine beside it and return where it is; the oldest there make way.

    Raises ``OSError`` where it cannot be moved; it is then where it was.
    """
    folder = directory.parent / QUARANTINE
    with contextlib.suppress(FileExistsError):
        make_folder(folder)
    names = chain([directory.name], (f"{directory.name}-{number}" for number in count(2)))
    target = next(folder / name for name in names if not (folder / name).exists())
    directory.rename(target)
    with contextlib.suppress(OSError):  # the text is for who looks into the folder: the next report says it too
        write_new(target / WHY, f"{why}\n")
    for old in held(folder.parent)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def held(runs: Path) -> list[Path]:
    """Return the damaged runs that were put aside, in the order in which they were."""
    folder = runs / QUARANTINE
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: (_put_ns(path), path.name))


def _put_ns(directory: Path) -> int:
    try:
        return (directory / WHY).stat().st_mtime_ns
    except OSError:
        return 0
