"""The result of a run, and its labels."""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from lab.domain.time import format_time
from lab.records.report import Report

Echo = Callable[[str], None]


def to_stderr(text: str) -> None:
    """Print one line on standard error, beside the result."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


@frozen
class RunResult:
    """A run that has ended: its report, where its files are, and how to leave.

    ``reached`` is false for a live run that ended before its provider described the instrument.
    """

    report: Report
    directory: Path | None
    exit_code: int
    reached: bool = True


def labels_of(run_id: str, started_ns: int, state_dir: Path) -> dict[str, str]:
    """Return a run's labels: its id, the wall clock, the machine. They are no part of what happened in it."""
    return {
        "run_id": run_id,
        "started": format_time(started_ns),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "host": platform.node(),
        "pid": str(os.getpid()),
        "state_dir": str(state_dir.absolute()),
    }
