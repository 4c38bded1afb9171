"""Earlier runs in the same state directory: whether they still run, or were cut off."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from lab.errors import JournalError, RunError
from lab.exit_codes import EndReason
from lab.journal.files import private, try_lock
from lab.journal.mark import NAME as MARK
from lab.journal.reader import JournalReader, read_run_started
from lab.journal.schema import FILE_NAME, FIRST_SEGMENT, RUNNING
from lab.records.report import Report
from lab.records.run import RunStarted
from lab.runs.directory import age

_TRIES: Final = 50
_MOMENT_S: Final = 0.001
NOT_ENDED: Final = "not ended yet"


@contextmanager
def running(directory: Path | None) -> Iterator[None]:
    """Hold a lock in a run's directory while it runs; the kernel releases it however the process ends.

    The file of the lock is removed at the end: one that is there and not locked marks a run that was cut off.
    """
    if directory is None:
        yield
        return
    path = directory / RUNNING
    with open(path, "wb", opener=private) as file:
        for _ in range(_TRIES):
            if try_lock(file):
                break
            time.sleep(_MOMENT_S)  # whoever asks whether this run is alive has the lock for a moment
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # where the disk fails, the cause of the end is told, not this
                path.unlink(missing_ok=True)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Let a run count as running, whose process is gone and comes again; the mark of one that was cut off stays."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            try_lock(stack.enter_context((directory / RUNNING).open("r+b")))
        yield


def is_running(directory: Path) -> bool:
    """Return whether the process of a run is alive."""
    try:
        with (directory / RUNNING).open("r+b") as file:
            return not try_lock(file)
    except OSError:
        return False


def unfinished(directory: Path) -> str:
    """Return in a sentence that a run has no end, because it goes on or was cut off; an empty text where it has one.

    To be asked before the run is read: one that ends meanwhile was not cut off.
    """
    if is_running(directory):
        return f"{directory.name} is still running; this is about what it had recorded when it was read"
    try:
        with contextlib.closing(JournalReader.open(directory)) as reader:
            cut_off = reader.count() and reader.run_ended() is None
    except JournalError:
        return ""  # whoever reads it next says what is wrong with it
    return f"{directory.name} was cut off before its end; this is about what it had recorded by then" if cut_off else ""


def check_begun(directory: Path, reader: JournalReader) -> None:
    """Raise `RunError` for a run whose journal holds nothing yet, saying whether it waits for its provider."""
    if reader.count():
        return
    if wrong := reader.damage():
        raise RunError(EndReason.STORAGE, f"{directory.name}: {wrong}")
    if is_running(directory):
        text = "is still starting: it waits for its provider, and its journal holds nothing yet"
        raise RunError(EndReason.IN_USE, f"{directory.name} {text}")
    raise RunError(EndReason.STORAGE, f"{directory.name} was cut off before it began: its journal holds nothing")


def started_of(directory: Path) -> RunStarted:
    """Return how a run was started. Raises `RunError` where it has not begun, `JournalError` where it was changed."""
    with contextlib.closing(JournalReader.open(directory)) as reader:
        check_begun(directory, reader)
    return read_run_started(directory)


def so_far(report: Report) -> Report:
    """Return the report of a run that is still running: it has not failed, and may trade yet."""
    return replace(
        report,
        status="running",
        reason=NOT_ENDED,
        exit_code=0,
        error="",
        error_count=report.error_count - 1,
        degradations=tuple(text for text in report.degradations if not text.startswith("unfinished:")),
        no_trade_reason=None,
    )


def newest_session(state_dir: Path) -> Path | None:
    """Return the newest live run of a state directory, ``None`` where there is none: backtests have no tape."""
    return next((path for path in newest_first(state_dir) if (path / FIRST_SEGMENT).is_file()), None)


def incomplete_session(state_dir: Path) -> str:
    """Return which of its files the newest session lacks, as ``NAME: journal.db``; empty where it lacks none."""
    try:
        paths = [path for path in (state_dir / "runs").iterdir() if not path.is_symlink()]
    except OSError:
        return ""
    for path in sorted(paths, key=lambda path: age(path.name), reverse=True):
        if (path / MARK).is_file() or (path / FIRST_SEGMENT).is_file():  # a backtest has neither
            lacks = [name for name in (FILE_NAME, FIRST_SEGMENT) if not (path / name).is_file()]
            return f"{path.name}: {' and '.join(lacks)}" if lacks else ""
    return ""


def newest_first(state_dir: Path) -> Iterator[Path]:
    """Yield run directories, the newest first."""
    runs = state_dir / "runs"
    try:
        paths = [path for path in runs.iterdir() if not path.is_symlink()]
    except OSError:
        return
    ordered = sorted(paths, key=lambda path: age(path.name), reverse=True)
    yield from (path for path in ordered if (path / FILE_NAME).is_file())
