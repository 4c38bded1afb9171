"""Sees which files are opened, by the interpreter's own audit events: for processes that end soon, as they stay on."""

import os
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

_STARTS: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"})
_File = tuple[int, int] | None
"""Device and number of a file."""
_CODE: Final = (".py", ".pyc", ".so", ".pyd", ".pth", ".zip")


def on_open(note: Callable[[str, FrameType], object], *, of: Collection[str] | None = None) -> None:
    """Call ``note`` with the real path and the frame of every file that is opened from now on, code aside.

    With ``of`` only these files, under whatever name they are opened, and those that a command which is started names.
    What opens a file without Python's own functions is not seen.
    """
    files: dict[_File, str] = {} if of is None else {found: path for path in of if (found := _file_of(path))}

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event in _STARTS and of is not None:
            command = repr(args)
            for path in of:
                if Path(path).name in command:
                    note(path, sys._getframe(1))  # noqa: SLF001 - as below
            return
        if event != "open" or not isinstance(args[0], str | bytes):
            return
        path = os.fsdecode(args[0])
        if path.endswith(_CODE):
            return
        real = os.path.realpath(path) if of is None else _one_of(path, files, by_os=args[1] is None)
        if real is not None:
            note(real, sys._getframe(1))  # noqa: SLF001 - the caller's own frame has no public way

    sys.addaudithook(hook)


def _one_of(path: str, files: Mapping[_File, str], *, by_os: bool) -> str | None:
    """Return which of some files a path leads to; ``None`` where it is none of them.

    ``by_os`` says that it is opened by ``os.open``, which may take it from a folder that is open: the event does not
    say which.
    """
    found = files.get(_file_of(path))
    if found is not None or not by_os or Path(path).is_absolute() or os.stat not in os.supports_dir_fd:
        return found
    folders = Path("/dev/fd").iterdir()
    return next((name for one in folders if (name := files.get(_file_of(path, int(one.name))))), None)


def _file_of(path: str, folder: int | None = None) -> _File:
    """Return what names a file under all its paths, links included; ``None`` where there is none."""
    try:
        status = os.stat(path, dir_fd=folder)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def packages_of(frame: FrameType | None) -> set[str]:
    """Return the top-level packages whose code called what runs in a frame."""
    found: set[str] = set()
    while frame is not None:
        found.add(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        frame = frame.f_back
    return found
