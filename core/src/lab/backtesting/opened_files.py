"""Sees which files are opened, by the interpreter's own audit events: for processes that end soon, as they stay on."""

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import Final

_STARTS: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"})
_CODE: Final = (".py", ".pyc", ".so", ".pyd", ".pth", ".zip")


def on_open(note: Callable[[str, FrameType], object], *, of: Collection[str] | None = None) -> None:
    """Call ``note`` with the real path and the frame of every file that is opened from now on, code aside.

    With ``of`` only files with these real paths, and those that a command which is started names. What opens a file
    without Python's own functions is not seen.
    """
    names = None if of is None else {Path(path).name for path in of}

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
        if path.endswith(_CODE) or (names is not None and Path(path).name not in names):
            return
        real = os.path.realpath(path)
        if of is None or real in of:
            note(real, sys._getframe(1))  # noqa: SLF001 - the caller's own frame has no public way

    sys.addaudithook(hook)


def packages_of(frame: FrameType | None) -> set[str]:
    """Return the top-level packages whose code called what runs in a frame."""
    found: set[str] = set()
    while frame is not None:
        found.add(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        frame = frame.f_back
    return found
