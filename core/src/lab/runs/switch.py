"""The files that end a running session: ``kill`` and ``stop`` in its folder, ``runs/kill`` for all sessions.

A file reaches every session that can see the folder, on every platform, and nobody else: no process can be mistaken for
another, as one can by a process id.
"""

import contextlib
import os
import platform
from pathlib import Path
from typing import Final

from attrs import frozen

from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.journal.files import at_once, write_new
from lab.journal.reader import JournalReader
from lab.journal.schema import FIRST_SEGMENT
from lab.runs.directory import KILL
from lab.runs.previous import is_running

STOP: Final = "stop"
_SAID_MOST: Final = 200


@frozen
class Thrown:
    """A file that asks for the end: whether it kills, who that is, and the first line of the file."""

    kills: bool
    who: str
    why: str


def look(state_dir: Path, directory: Path | None) -> Thrown | None:
    """Return what asks for a session's end now, a kill before a stop; ``None`` where nothing does. Never raises."""
    places = [(True, state_dir / "runs" / KILL, "the kill file of all runs")]
    if directory is not None:
        places += [
            (True, directory / KILL, "the kill file of this run"),
            (False, directory / STOP, "the stop file of this run"),
        ]
    for kills, path, who in places:
        if os.path.lexists(path):
            return Thrown(kills, who, _first_line(path) or f"a file {path.name}")
    return None


def check_not_killed(state_dir: Path) -> None:
    """Raise `RunError` while the kill switch of a state directory is on: no session begins then."""
    path = state_dir / "runs" / KILL
    if os.path.lexists(path):
        why = _first_line(path)
        text = f"{path}: the kill switch is on{why and f' ({why})'}; remove the file to run sessions here again"
        raise RunError(EndReason.KILLED, text)


def throw(directory: Path, *, kill: bool, why: str) -> None:
    """Ask a running session for its end.

    Raises `RunError`, naming the cure, for a run that is no session, has ended, was cut off or is another machine's.
    """
    check_stoppable(directory)
    path = directory / (KILL if kill else STOP)
    temporary = directory / f".{path.name}.{os.getpid()}"
    try:
        write_new(temporary, f"{why}\n")
        temporary.replace(path)  # whole or not at all
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        text = f"{path}: cannot be written: {error.strerror or error}; give the command as the user who runs it"
        raise RunError(EndReason.STORAGE, text) from None


def check_stoppable(directory: Path) -> None:
    """Raise `RunError` where a folder is not that of a session that runs on this machine."""
    name = directory.name
    if not (directory / FIRST_SEGMENT).is_file():
        text = f"{name} is a backtest or a replay, which nothing here can stop; press Ctrl-C where it runs"
        raise RunError(EndReason.CONFIG, text)
    alive = is_running(directory)  # asked before: a run that ends meanwhile was alive
    with contextlib.closing(JournalReader.open(directory)) as reader:
        labels, ended = reader.labels(), reader.run_ended()
    if ended is not None and not alive:
        raise RunError(EndReason.CONFIG, f"{name} has ended already ({ended.reason}); `lab report {name}` shows it")
    host, process = labels.get("host", ""), labels.get("pid", "?")
    if host and host != platform.node():
        text = f"{name} runs on {host} (process {process}), and this is {platform.node()}; give the command there"
        raise RunError(EndReason.CONFIG, text)
    if not alive:
        text = f"{name} was cut off: its process {process} is gone; `lab report {name} --write` writes its report"
        raise RunError(EndReason.CONFIG, text)


def _first_line(path: Path) -> str:
    """Return the first line of a file as text that can be shown and journalled, empty where it can't be read."""
    try:
        with open(path, "rb", opener=at_once) as file:
            line = file.readline(4 * _SAID_MOST)
    except OSError:
        return ""
    text = line.decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() else "?" for c in text)[:_SAID_MOST]
