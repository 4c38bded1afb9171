"""What is said on standard error, beside: library logs and warnings as lines of lab, and all of it in a file."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.cli.output import clean
from lab.cli.streams import Stream
from lab.domain.time import SECOND_NS, format_time
from lab.errors import RunError, text_of
from lab.exit_codes import EndReason
from lab.runs.failures import traceback_of
from lab.secret import without_secrets

FILE_BYTES: Final = 10_000_000
KEEP: Final = 5
_LINE_MOST: Final = 4000
_A_SECOND_MOST: Final = 100


class LogFile:
    """A file of lines with time stamps: 10 MB at most, and the five files before it as ``NAME.1`` to ``NAME.5``.

    Control characters are written out. `write` may be called by any thread and never raises: what the disk does not
    take is left out, and the file says so once it does again.
    """

    def __init__(self, path: Path) -> None:
        """Open it, or go on with it. Raises ``OSError``."""
        self.path = path
        self._lock = threading.RLock()  # a destructor that warns while a line is written writes another
        self._parts = threading.local()
        self._lost = 0
        self._size = 0
        self._file: int | None = None
        self._open()

    def write(self, text: str) -> None:
        """Write the lines that are whole with this text; the rest waits for its end, each thread's apart."""
        *lines, part = (getattr(self._parts, "begun", "") + text).split("\n")
        self._parts.begun = part[:_LINE_MOST]
        for line in lines:
            self._line(line)

    def close(self) -> None:
        """Close it; the end of a line that has begun is written first."""
        if begun := getattr(self._parts, "begun", ""):
            self._line(begun)
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _line(self, line: str) -> None:
        line = without_secrets(line)
        short = line if len(line) <= _LINE_MOST else f"{line[:_LINE_MOST]}..."
        now_ns = time.time_ns()
        data = f"{format_time(now_ns - now_ns % SECOND_NS)} {clean(short.rstrip())}\n".encode()
        with self._lock:
            if self._file is None:
                return  # it is closed
            try:
                if self._lost:
                    self._put(f"{self._lost} lines are missing here: the disk did not take them\n".encode())
                    self._lost = 0
                self._put(data)
            except OSError:
                self._lost += 1

    def _put(self, data: bytes) -> None:
        if self._size + len(data) > FILE_BYTES and self._size:
            self._rotate()
        assert self._file is not None
        self._size += os.write(self._file, data)

    def _rotate(self) -> None:
        for number in range(KEEP - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))
        old = self._file
        self._open()
        assert old is not None
        os.close(old)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._file).st_size


class Lines(logging.Handler):
    """Says what libraries log, and Python's warnings, as lines of lab: a hundred a second at most."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._second = 0.0
        self._said = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record; what can't be put into words is named, and raises nothing."""
        now = time.monotonic()
        if now - self._second >= 1.0:
            left_out, self._second, self._said = self._said - _A_SECOND_MOST, now, 0
            if left_out > 0:
                self._say(f"{left_out} further lines of the log were left out")
        self._said += 1
        if self._said > _A_SECOND_MOST:
            return
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        name = "" if record.name.partition(".")[0] == "lab" else f"{record.name}: "
        self._say(f"{level}{name}{text_of(lambda one: one.getMessage(), record)}")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            sys.stderr.write(traceback_of(error))


def begin_log_file(path: Path) -> None:
    """Copy all that is written on standard error from now on to a file. Raises `RunError` where it can't be had."""
    path = path.expanduser().resolve()
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "it is no file")
        log = LogFile(path)
    except OSError as error:
        text = f"--log-file {path}: {error.strerror or error}; name a file in a folder that exists and can be written"
        raise RunError(EndReason.STORAGE, text) from None
    if isinstance(sys.stderr, Stream):
        sys.stderr.log = log


def also_in(path: Path, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what says a line and writes it to a log file that is another process's, too.

    The file is opened for each line, because the other one puts full ones aside. It also says what is wrong with it.
    """
    path = path.expanduser().resolve()

    def both(text: str) -> None:
        say(text)
        with contextlib.suppress(OSError):
            log = LogFile(path)
            log.write(f"lab: {text}\n")
            log.close()

    return both


@contextmanager
def library_logs(say: Callable[[str], None], *, verbose: bool) -> Iterator[None]:
    """Say what libraries log while the block runs: warnings and errors; with ``verbose`` what lab does, too.

    Loggers of lab itself count from ``DEBUG`` on then, all others from ``INFO`` on.
    """
    root, own, handler = logging.getLogger(), logging.getLogger("lab"), Lines(say)
    before = root.level, own.level
    root.addHandler(handler)
    logging.captureWarnings(True)
    if verbose:
        root.setLevel(logging.INFO)
        own.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])
