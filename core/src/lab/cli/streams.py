"""Standard output and error that survive a closed pipe and a full disk."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from lab.secret import without_secrets

_STORAGE = 74


class Log(Protocol):
    """What is given a copy of all that is written. Never raises."""

    def write(self, text: str) -> None:
        """Take text."""

    def close(self) -> None:
        """End."""


class Stream:
    """A text stream that drops its output after the first failed write, so that the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self.error: OSError | None = None
        self.log: Log | None = None
        self.before_write: Callable[[], None] | None = None
        """Called before anything is written; a progress line on the other stream is removed that way."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, as long as it can be. Raises ``TypeError`` for bytes: that is how click tells streams apart."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        if self.before_write is not None:
            self.before_write()
        if self.log is not None:
            self.log.write(text)
        self.paint(text)
        return len(text)

    def paint(self, text: str) -> None:
        """Write text that is replaced in a moment, such as a progress line: no copy of it is kept."""
        if self.error is None:
            self._try(lambda: self._stream.write(without_secrets(text)))

    @property
    def lost(self) -> str:
        """Why output is missing somewhere; empty where it is all there, or nobody reads it any more.

        That is so where a reader closed the pipe (``lab runs | head``), and where the terminal is gone.
        """
        gone = self.error is not None and self._terminal and self.error.errno == errno.EIO
        if self.error is None or gone or isinstance(self.error, BrokenPipeError):
            return ""
        return self.error.strerror or str(self.error)

    def close(self) -> None:
        """Flush only: what a component closes goes on being the others' output."""
        self.flush()

    def flush(self) -> None:
        """Flush what was written."""
        if self.error is None:
            self._try(self._stream.flush)

    def close_down(self) -> None:
        """Flush, and discard what cannot be written, so that the interpreter's own flush at its end does not fail."""
        self.flush()
        if self.error is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BlockingIOError:
            raise  # a full pipe is no error
        except OSError as error:
            self.error = error


def _nowhere() -> TextIO:
    """Open a null stream in place of one that was closed at the start; else the next file would take its descriptor."""
    return Path(os.devnull).open("w", encoding="utf-8")


def with_streams(act: Callable[[], int]) -> int:
    """Return what ``act`` returns, with both streams guarded; 74 where its output was lost though it went well."""
    before = sys.stdout, sys.stderr
    out, err = Stream(sys.stdout or _nowhere()), Stream(sys.stderr or _nowhere())
    sys.stdout, sys.stderr = out, err
    try:
        code = act()
        out.close_down()
        if out.lost:
            print(f"lab: standard output cannot be written: {out.lost}", file=err)
            code = code or _STORAGE
        err.close_down()
    finally:
        sys.stdout, sys.stderr = before
        if err.log is not None:
            err.log.close()
    return code
