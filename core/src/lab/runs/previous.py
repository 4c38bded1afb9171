"""Runs before this one in the same state directory: which still run, which were cut off, and what the day has lost."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from lab.domain.time import DAY_NS
from lab.journal.report import build_report
from lab.journal.store import FILE_NAME, JournalReader
from lab.errors import JournalError
from lab.runs.directory import REPORT_NAME, write_report
from lab.runs.lock import try_lock

LOCK_NAME: Final = "running"
_LOOKED_AT: Final = 50  # the newest run directories: what lies further back has been seen by a start before


@contextmanager
def running(directory: Path | None) -> Iterator[None]:
    """Hold a lock in a run's directory while it runs; the kernel lets go of it however the process ends."""
    if directory is None:
        yield
        return
    path = directory / LOCK_NAME
    with path.open("wb") as file:
        try_lock(file)
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


def seal(state_dir: Path) -> list[Path]:
    """Write the report of every run that was cut off before it could; return their directories, oldest first."""
    sealed = []
    for directory in reversed(list(_newest(state_dir))):
        if (directory / REPORT_NAME).exists() or is_running(directory):
            continue
        try:
            reader = JournalReader.open(directory)
            try:
                write_report(directory, build_report(reader))
            finally:
                reader.close()
        except (JournalError, OSError):
            continue  # damaged, or not ours to write: `lab runs` names it
        sealed.append(directory)
    return sealed


def carried_loss(state_dir: Path, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run that this one restarts had lost on the UTC day of its last event (below 0: won).

    ``body`` is the new run's ``run_started``. A restart is a run with the same components, settings and source of
    data as the newest such one before it, where that one was cut off. A run that ended by itself has no restart.
    """
    for directory in _newest(state_dir):
        try:
            reader = JournalReader.open(directory)
        except JournalError:
            continue
        try:
            started = reader.run_started()
            if any(started.get(key) != body[key] for key in ("kind", "config_hash", "provider", "venue")):
                continue
            if is_running(directory) or next(reader.bodies("run_ended"), None) is not None:
                break
            last_ns = next(reader.times("DESC"), 0)
            if not last_ns:  # cut off before its first event: what it took over itself still counts
                return {"day_ns": int(started["carried_loss"]["day_ns"]), "lost": str(started["carried_loss"]["lost"])}
            state = reader.state("run")
            lost = Decimal(state["day_starting_equity"]) - Decimal(state["equity"])
            return {"day_ns": last_ns - last_ns % DAY_NS, "lost": format(lost, "f")}
        except (JournalError, KeyError, TypeError, ValueError, ArithmeticError):
            continue  # damaged: it can tell nothing that is true
        finally:
            reader.close()
    return dict(body["carried_loss"])


def _newest(state_dir: Path) -> Iterator[Path]:
    """Yield run directories, the newest first."""
    runs = state_dir / "runs"
    try:
        names = sorted((path for path in runs.iterdir() if not path.is_symlink()), reverse=True)
    except OSError:
        return
    found = 0
    for path in names:
        if (path / FILE_NAME).is_file():
            yield path
            found += 1
            if found >= _LOOKED_AT:
                return
