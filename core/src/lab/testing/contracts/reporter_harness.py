"""A reporter at work as in a run: in a separate thread, in a run's directory, what it prints caught."""

import contextlib
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lab.ports import Record, Reporter, RunInfo
from lab.reporting.host import ReporterThread
from lab.reporting.rows import RowFeed

CANCELLED_S: Final = 1.0
"""How long a reporter may take to end once it is cancelled."""


class ReporterAtWork(ReporterThread):
    """A reporter at work as in a run; what it raised is kept."""

    error: BaseException | None = None


def started(reporter: Reporter, info: RunInfo, records: Sequence[Record], *, endless: bool = False) -> ReporterAtWork:
    """Return a reporter at work on these rows, which are all there before it starts; an endless run has no end."""

    def keep(_: ReporterThread, error: BaseException) -> None:
        thread.error = error

    feed = RowFeed(None)
    feed.add(records)
    if not endless:
        feed.end()
    thread = ReporterAtWork(type(reporter).__name__, reporter, info, feed, keep)
    thread.start()
    return thread


def seconds_to_end(thread: ReporterAtWork, most_s: float) -> float | None:
    """Return how long a reporter took to end, ``None`` for one that goes on. Raises what it raised."""
    began = time.monotonic()
    if not thread.done.wait(most_s):
        return None
    took = time.monotonic() - began
    thread.join(CANCELLED_S)
    if isinstance(thread.error, Exception):
        raise thread.error
    if thread.error is not None:
        raise AssertionError(f"it raised {thread.error!r}") from thread.error
    return took


@contextlib.contextmanager
def run_directory() -> Iterator[Path]:
    """Make a run's directory with the files in it that others write."""
    with tempfile.TemporaryDirectory() as above:
        directory = Path(above).resolve() / "run"
        directory.mkdir()
        (directory / "journal.db").write_bytes(b"the journal")
        (directory / "tape-0001.jsonl.zst").write_bytes(b"the tape")
        (directory / "final_report.json").write_bytes(b"{}")
        (directory / "errors.log").write_bytes(b"what failed")
        yield directory


@contextlib.contextmanager
def output_caught() -> Iterator[io.StringIO]:
    """Catch what is printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        yield said


@contextlib.contextmanager
def noted(note: str) -> Iterator[None]:
    """Add a note to the exception that leaves the block."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise
