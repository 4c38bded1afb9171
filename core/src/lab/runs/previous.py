"""Earlier runs in the same state directory: whether they still run, were cut off, and how much the day has lost."""

import contextlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from lab.errors import JournalError, RunError
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader, read_run_started
from lab.journal.report import build_report
from lab.journal.schema import FILE_NAME, FIRST_SEGMENT
from lab.records.base import exact
from lab.records.report import Report
from lab.records.run import CarriedLoss, RunStarted
from lab.runs.directory import REPORT_NAME, age, remove_leftovers, run_label, write_report
from lab.runs.lock import try_lock

LOCK_NAME: Final = "running"
_TRIES: Final = 50
_MOMENT_S: Final = 0.001
NOT_ENDED: Final = "not ended yet"
CRASHES: Final = frozenset(
    reason.code for reason in (EndReason.UNKNOWN, EndReason.PLUGIN, EndReason.INTERNAL, EndReason.STORAGE)
)
"""Ends that nobody asked for: the next run of the same kind is a restart, as after a kill."""


@contextmanager
def running(directory: Path | None) -> Iterator[None]:
    """Hold a lock in a run's directory while it runs; the kernel releases it however the process ends.

    The file of the lock is removed at the end: one that is there and not locked marks a run that was cut off.
    """
    if directory is None:
        yield
        return
    path = directory / LOCK_NAME
    with path.open("wb") as file:
        for _ in range(_TRIES):
            if try_lock(file):
                break
            time.sleep(_MOMENT_S)  # whoever asks whether this run is alive has the lock for a moment
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_running(directory: Path) -> bool:
    """Return whether the process of a run is alive."""
    try:
        with (directory / LOCK_NAME).open("r+b") as file:
            return not try_lock(file)
    except OSError:
        return False


def check_begun(directory: Path, reader: JournalReader) -> None:
    """Raise `RunError` for a run whose journal holds nothing yet, saying whether it waits for its provider."""
    if reader.count():
        return
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


def finalize_interrupted(state_dir: Path) -> list[Path]:
    """Write the report of every run that was cut off before it could; return their directories, oldest first.

    All runs are looked at, whatever their number: one that needs nothing costs two looks at its folder. A report that
    was written while the run was alive is written again. A damaged run is skipped; `lab runs` names it.
    """
    finalized = []
    for directory in reversed(list(_newest(state_dir))):
        marker = directory / LOCK_NAME
        if ((directory / REPORT_NAME).exists() and not marker.exists()) or is_running(directory):
            continue
        with contextlib.suppress(Exception):  # whatever a damaged run does to its reader, it blocks no later start
            reader = JournalReader.open(directory)
            try:
                write_report(directory, build_report(reader))
            finally:
                reader.close()
            remove_leftovers(directory)
            marker.unlink(missing_ok=True)
            finalized.append(directory)
    return finalized


def carried_loss(state_dir: Path, new: RunStarted) -> tuple[str, CarriedLoss]:
    """Return the run that this one restarts, and its loss on the UTC day of its last price (below 0: a profit).

    ``new`` is how the new run is started. It restarts the newest live run before it with the same components, settings
    and source of data, where that run was cut off or ended by a failure that nobody asked for (`CRASHES`). After an end
    that was asked for, or one by the clock, nothing is carried over, and the run's name is empty.
    """
    for directory in _candidates(state_dir, new):
        try:
            reader = JournalReader.open(directory)
        except JournalError:
            continue
        with contextlib.suppress(Exception), contextlib.closing(reader):  # a damaged run tells nothing that is true
            started = reader.run_started()
            if _identity(started) != _identity(new):
                continue
            ended = reader.run_ended()
            if is_running(directory) or (ended is not None and ended.reason not in CRASHES):
                break
            state = ended or reader.run_state()
            if state is None or not state.day_ns:  # nothing happened in it: the loss that it took over still counts
                return directory.name, started.carried_loss
            lost = exact(state.day_starting_equity - state.equity)
            return directory.name, CarriedLoss(day_ns=state.day_ns, lost=lost)
    return "", CarriedLoss()


def _identity(started: RunStarted) -> tuple[object, ...]:
    return started.kind, started.config_hash, started.provider, started.venue


def newest_session(state_dir: Path) -> Path | None:
    """Return the newest live run of a state directory, ``None`` where there is none: backtests have no tape."""
    return next((path for path in _newest(state_dir) if (path / FIRST_SEGMENT).is_file()), None)


def _candidates(state_dir: Path, new: RunStarted) -> Iterator[Path]:
    """Yield the live runs that may have the components of this one, by what their folders are named."""
    label = run_label(0, new.provider.name, "+".join(entry.name for entry in new.strategies))
    fitting = re.compile(re.escape(label.partition("-")[2]) + r"(-\d+)?")
    for path in _newest(state_dir):
        if fitting.fullmatch(path.name.partition("-")[2]) and (path / FIRST_SEGMENT).is_file():
            yield path


def _newest(state_dir: Path) -> Iterator[Path]:
    """Yield run directories, the newest first."""
    runs = state_dir / "runs"
    try:
        paths = [path for path in runs.iterdir() if not path.is_symlink()]
    except OSError:
        return
    newest_first = sorted(paths, key=lambda path: age(path.name), reverse=True)
    yield from (path for path in newest_first if (path / FILE_NAME).is_file())
