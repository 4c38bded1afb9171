"""The run directory: ``runs/<run id>/`` under the state directory, and ``runs/latest``."""

import contextlib
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from lab.domain.time import SECOND_NS, format_time
from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.journal.files import make_folder, private, sync_folder, write_new
from lab.journal.schema import FILE_NAME, FIRST_SEGMENT, part_of
from lab.records.base import as_data
from lab.records.report import Report
from lab.secret import bytes_without_secrets

REPORT_NAME = "final_report.json"
_NAME_MOST: Final = 1024  # bytes; no run has so long a name
KILL = "kill"
"""The file beside the runs, and in a run's folder, that throws the kill switch."""
QUARANTINE: Final = "quarantine"
"""The folder beside the runs that holds the damaged ones."""
_RUN_NAME: Final = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9_.-]{1,100}")


def run_label(started_ns: int, provider: str, strategies: str) -> str:
    """Return the readable part of a run id: when, with what data, which strategies."""
    stamp = re.sub(r"[-:]", "", format_time(started_ns - started_ns % SECOND_NS))
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{stamp}-{provider}-{strategies}")[:80]


def is_run_name(name: str) -> bool:
    """Return whether a folder's name is one that lab gives to runs."""
    return _RUN_NAME.fullmatch(name) is not None


def age(name: str) -> tuple[str, int, str]:
    """Return the sort key of a run by its start: the second, then the number within that second."""
    stamp, _, rest = name.partition("-")
    number = re.search(r"-(\d+)$", rest)
    return stamp, int(number[1]) if number else 1, rest


def create(state_dir: Path, label: str) -> Path:
    """Make a new run directory and point ``runs/latest`` to it. Raises `RunError` naming folder and reason."""
    runs = state_dir / "runs"
    latest = runs / "latest"
    if latest.is_dir() and not latest.is_symlink():
        raise RunError(EndReason.STORAGE, f"{latest}: a folder, where lab keeps a link to the newest run; move it away")
    try:
        with contextlib.suppress(FileExistsError):
            make_folder(runs, parents=True)
        for number in range(1, 1000):
            directory = runs / (label if number == 1 else f"{label}-{number}")
            try:
                make_folder(directory)
            except FileExistsError:
                continue
            point_latest(directory)
            return directory
    except OSError as error:
        text = f"{runs}: cannot create the run directory: {error.strerror or error}; choose another with --state-dir"
        raise RunError(EndReason.STORAGE, text) from None
    raise RunError(EndReason.STORAGE, f"{runs}: a thousand runs are named {label}; move some away")


def point_latest(directory: Path) -> None:
    """Let ``runs/latest`` lead to a run, in one step; where links are not allowed, it is a text file that names it.

    Raises ``OSError``.
    """
    runs, name = directory.parent, directory.name
    latest = runs / "latest"
    temporary = runs / f".latest-{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.unlink()
    try:
        temporary.symlink_to(name, target_is_directory=True)
    except OSError:
        write_new(temporary, name + "\n")
    temporary.replace(latest)


def find(state_dir: Path, run: str) -> Path:
    """Return the directory of a run given as path, id, part of an id, or ``latest``. Raises `RunError`."""
    runs = state_dir / "runs"
    if len(str(state_dir)) > 4000 or any(len(part) > 255 for part in (*state_dir.parts, *Path(run).parts)):
        raise RunError(EndReason.CONFIG, f"no folder has such a name: {str(state_dir)[:60]}...")
    for candidate in (Path(run), runs / run):
        if candidate.is_dir() and is_run(candidate):
            return candidate.resolve()
        if candidate.name == "latest" and os.path.lexists(candidate):
            return _follow(candidate)
    names = sorted((path.name for path in runs.iterdir()), key=age) if runs.is_dir() else []
    names = [name for name in names if name not in ("latest", KILL, QUARANTINE) and not name.startswith(".")]
    fitting = [name for name in names if run in name]
    if len(fitting) == 1:
        return runs / fitting[0]
    if fitting:
        newest = f"{', the newest of them' if len(fitting) > 3 else ''}: {', '.join(fitting[-3:])}"
        raise RunError(EndReason.CONFIG, f"{run!r} fits {len(fitting)} runs{newest}; give more of the id")
    raise RunError(EndReason.CONFIG, f"no run {run!r}; {runs} holds {len(names)} runs; see `lab runs`")


def is_run(directory: Path) -> bool:
    """Return whether a folder is that of a run, or of one that was cut off before its journal was made."""
    return (directory / FILE_NAME).is_file() or part_of(directory / FILE_NAME).is_file()


def _follow(latest: Path) -> Path:
    """Read the text file that stands for a link to a run. Raises `RunError` where it names none."""
    if latest.is_file():
        with latest.open("rb") as file:
            name = file.read(_NAME_MOST).decode("utf-8", "replace").strip()
        if is_run_name(name) and is_run(latest.parent / name):
            return (latest.parent / name).resolve()
        said = "is a file whose text is no run's name"  # what it holds is not shown: it may be any file
    else:
        said = f"leads to {latest.readlink()}, which is no run" if latest.is_symlink() else "is a folder"
        if (latest / FIRST_SEGMENT).is_file():
            text = f"{latest.resolve()}: {FILE_NAME} is missing; the next `lab run` puts what is left of the run aside"
            raise RunError(EndReason.STORAGE, text)
    raise RunError(EndReason.CONFIG, f"{latest} {said}; remove it, and name one of `lab runs`")


def write_report(directory: Path, report: Report) -> None:
    """Write ``final_report.json`` whole or not at all, and synced. Raises ``OSError``."""
    text = bytes_without_secrets(msgspec.json.format(msgspec.json.encode(as_data(report)), indent=2))
    temporary = directory / f".{REPORT_NAME}.{os.getpid()}"
    try:
        with open(temporary, "wb", opener=private) as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / REPORT_NAME)
        sync_folder(directory)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(directory: Path) -> None:
    """Remove what a process left that was killed while it wrote a report."""
    for path in directory.glob(f".{REPORT_NAME}.*"):
        with contextlib.suppress(OSError):
            path.unlink()
