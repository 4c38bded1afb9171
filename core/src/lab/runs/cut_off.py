"""What the next start does about runs that were cut off: their reports, leftovers, and what is damaged."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import define, field

from lab.errors import JournalError, NotBegunError, RunError, StateRefused, describe_error
from lab.exit_codes import EndReason
from lab.journal.files import private
from lab.journal.mark import NAME as MARK_NAME
from lab.journal.reader import JournalReader, check_chain
from lab.journal.report import build_report
from lab.journal.reserve import NAME as RESERVE_NAME
from lab.journal.schema import FILE_NAME, FIRST_SEGMENT, RUNNING, part_of
from lab.journal.tape import segments_of
from lab.runs.directory import QUARANTINE, REPORT_NAME, age, is_run_name, remove_leftovers, write_report
from lab.runs.previous import is_running
from lab.runs.quarantine import put_aside

_LINK_S: Final = 60.0
_YOUNG_S: Final = 1.0
_PROBE_BYTES: Final = 256 * 1024
"""More than a report, and what SQLite makes to read a journal."""
_EMPTY: Final = (
    FILE_NAME,
    f"{FILE_NAME}-wal",
    f"{FILE_NAME}-shm",
    f"{FILE_NAME}-journal",
    MARK_NAME,
    RESERVE_NAME,
    RUNNING,
)
"""The files that a run makes before it begins, beside its tape."""


@define
class Aftermath:
    """What was done about earlier runs, by their folders' names, oldest first."""

    finished: list[str] = field(factory=list)
    """got the report that they could not write"""
    removed: list[str] = field(factory=list)
    """were cut off before they began, and are gone"""
    damaged: dict[str, str] = field(factory=dict)
    """sessions that were damaged, each with what is wrong; they were put aside"""

    @property
    def degradations(self) -> tuple[str, ...]:
        """The entries of the report of the session that starts now."""
        return tuple(f"quarantined {name}: {why}" for name, why in self.damaged.items())


def finalize_interrupted(state_dir: Path, *, strict: bool = False) -> Aftermath:
    """Write the report of every run that was cut off before it could, and put damaged sessions aside.

    All runs are looked at, whatever their number: one that needs nothing costs two looks at its folder. A report that
    was written while the run was alive is written again. The folder of a run that never began is removed. A damaged
    backtest stays where it is, because it can be run again.

    With ``strict`` raises `StateRefused` for the first damaged session and leaves it where it is; else a damaged run
    blocks no start. Raises `RunError` where the disk takes nothing: then nothing is judged.
    """
    runs = state_dir / "runs"
    done = Aftermath()
    for directory in _folders(runs):
        ended = (directory / REPORT_NAME).exists() and not (directory / RUNNING).exists()
        if ended or is_running(directory) or _is_new(directory):
            continue
        try:
            _finish(directory, strict)
            done.finished.append(directory.name)
        except NotBegunError:
            if _remove(directory):
                done.removed.append(directory.name)
        except Exception as error:  # whatever a damaged run does to its reader
            _check_writable(runs, error)
            path = directory / FILE_NAME
            if (directory / FIRST_SEGMENT).is_file() and (not path.exists() or os.access(path, os.R_OK)):
                done.damaged[directory.name] = _put_aside(directory, error, strict)
    _sweep(runs)
    return done


def _folders(runs: Path) -> Iterator[Path]:
    """Yield the folders that may be those of runs, the oldest first."""
    try:
        paths = [path for path in runs.iterdir() if path.name != QUARANTINE and not path.is_symlink()]
    except OSError:
        return
    ordered = sorted(paths, key=lambda path: age(path.name))
    yield from (path for path in ordered if (path / FILE_NAME).is_file() or (is_run_name(path.name) and path.is_dir()))


def _is_new(directory: Path) -> bool:
    """Return whether a folder without a journal may be that of a backtest that starts now, and has no lock yet."""
    if (directory / FILE_NAME).exists() or (directory / FIRST_SEGMENT).exists():
        return False
    with contextlib.suppress(OSError):
        since = time.time() - directory.stat().st_mtime
        return since < (_YOUNG_S if (directory / RUNNING).exists() else _LINK_S)
    return True


def _finish(directory: Path, strict: bool) -> None:
    """Write a run's report. Raises `NotBegunError` where it never began, and `JournalError` where it is damaged.

    One whose newest rows are missing gets its report too, which says so, and keeps the mark of a run that was cut off.
    """
    path = directory / FILE_NAME
    if any(part.stat().st_size for part in segments_of(directory)):
        if not path.exists() or not path.stat().st_size:
            raise JournalError(f"{path}: is not there or empty, and the tape holds inputs")
    elif not path.exists():
        raise NotBegunError(f"{path}: was not made")
    with contextlib.closing(JournalReader.open(directory)) as reader:
        wrong = reader.damage()
        if not reader.count():
            raise JournalError(f"{reader.name}: {wrong}") if wrong else NotBegunError(f"{reader.name}: holds nothing")
        broken = check_chain(reader)
        if broken is not None:
            raise JournalError(f"{reader.name}: row {broken} was changed after it was written")
        report = build_report(reader)
        if not (wrong and strict):
            write_report(directory, report)
            remove_leftovers(directory)
            (directory / RESERVE_NAME).unlink(missing_ok=True)
        if wrong:
            raise JournalError(f"{reader.name}: {wrong}")
        (directory / RUNNING).unlink(missing_ok=True)


def _check_writable(runs: Path, error: Exception) -> None:
    """Raise `RunError` where nothing can be written or opened just now: what a reader meets then is no damage."""
    probe = runs / f".probe-{os.getpid()}"
    try:
        if isinstance(error, MemoryError):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        with open(probe, "wb", opener=private) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        text = f"{runs}: earlier runs cannot be looked after: {problem.strerror or problem}; nothing was changed"
        raise RunError(EndReason.STORAGE, text) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _put_aside(directory: Path, error: Exception, strict: bool) -> str:
    """Move a damaged run away and return what is wrong with it. Raises `StateRefused` with ``strict``."""
    why = str(error) if isinstance(error, JournalError) else describe_error(error)
    why = why.replace(f"{directory}{os.sep}", "")
    if strict:
        raise StateRefused(f"{directory.name} is damaged: {why}")
    try:
        put_aside(directory, why)
    except OSError as problem:
        return f"{why}; it cannot be moved to {QUARANTINE}: {problem.strerror or problem}"
    return why


def _remove(directory: Path) -> bool:
    """Remove the folder of a run that never began, unless it holds something that lab did not put there."""
    with contextlib.suppress(OSError):
        for left in list(directory.iterdir()):
            ours = left.name in _EMPTY or left.name.startswith(part_of(left.with_name(FILE_NAME)).name)
            if ours or not left.stat().st_size:
                left.unlink()
        directory.rmdir()
        return True
    return False


def _sweep(runs: Path) -> None:
    """Remove the links that a process left that was killed while it pointed ``latest`` elsewhere."""
    for path in runs.glob(".latest-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > _LINK_S:
                path.unlink()
