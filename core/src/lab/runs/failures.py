"""Writes the traceback of a component's failure to standard error, and to ``errors.log`` in the run's folder."""

import errno
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Final

from lab.domain.time import SECOND_NS, format_time
from lab.errors import describe_error
from lab.journal.files import private
from lab.runs.result import Echo, to_stderr
from lab.secret import without_secrets

NAME: Final = "errors.log"
_FAILURES_MOST: Final = 50
_LINES_HEAD: Final = 40
_LINES_TAIL: Final = 120
_LINE_MOST: Final = 400
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class FailureLog:
    """Writes one line and a traceback for each distinct failure, fifty at most. Safe in every thread; never raises.

    Set ``directory`` once the run has a folder; failures before are on standard error alone. ``say`` writes the lines
    there, and the tracebacks follow.
    """

    def __init__(self, directory: Path | None = None, say: Echo = to_stderr) -> None:
        self.directory = directory
        self._say = say
        self._seen: set[tuple[str, ...]] = set()
        self._lock = threading.Lock()

    def note(self, role: str, name: str, call: str, error: BaseException) -> None:
        """Write that a component (``strategy``, ``sma``) raised ``error`` in a call (``on_candle``)."""
        what = describe_error(error)
        with self._lock:
            key = (role, name, call, what)
            if key in self._seen or len(self._seen) > _FAILURES_MOST:
                return
            self._seen.add(key)
            if len(self._seen) > _FAILURES_MOST:
                self._write(f"{_FAILURES_MOST} different failures of components are written; further ones are not", "")
            else:
                of_the_disk = role == "reporter" and self._is_the_disk(error)
                details = "" if of_the_disk else traceback_of(error)
                self._write(f"{role} {name} failed in {call}: {what}", details)

    def say(self, text: str) -> None:
        """Write one line on standard error."""
        with self._lock:
            self._print(text)

    def _is_the_disk(self, error: BaseException) -> bool:
        """Return whether the disk, or who took the run's folder away, kept a reporter from writing: no defect of it."""
        if not isinstance(error, OSError):
            return False
        return error.errno in _DISK or (self.directory is not None and not os.path.isdir(self.directory))  # noqa: PTH112 - never raises

    def _write(self, line: str, details: str) -> None:
        self._print(line, details)
        if self.directory is None:
            return
        now_ns = time.time_ns()
        stamp = format_time(now_ns - now_ns % SECOND_NS)
        try:
            path = self.directory / NAME
            with open(path, "a", encoding="utf-8", errors="backslashreplace", opener=private) as file:
                file.write(without_secrets(f"{stamp} {line}\n{details}\n"))
        except OSError as error:
            self._print(f"{self.directory / NAME}: cannot be written: {error.strerror or error}")

    def _print(self, text: str, details: str = "") -> None:
        try:
            self._say(text)
            sys.stderr.write(details)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return  # nobody reads standard error any more: a component closed it, or put something else in its place


def traceback_of(error: BaseException) -> str:
    """Return a traceback of bounded size; of a long one the beginning and the end."""
    try:
        lines = "".join(traceback.format_exception(error)).splitlines()
    except BaseException as worse:  # the error's own class may be broken too
        lines = [f"the traceback cannot be shown: {describe_error(worse)}"]
    if len(lines) > _LINES_HEAD + _LINES_TAIL:
        left_out = f"... {len(lines) - _LINES_HEAD - _LINES_TAIL} lines left out ..."
        lines = [*lines[:_LINES_HEAD], left_out, *lines[-_LINES_TAIL:]]
    return "".join(f"{_shown(line if len(line) <= _LINE_MOST else line[:_LINE_MOST] + ' ...')}\n" for line in lines)


def _shown(line: str) -> str:
    """Return a line that no terminal acts on: control characters are written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in line)
