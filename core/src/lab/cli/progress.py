"""A progress line on a terminal's standard error: redrawn while something takes time, then removed.

Where standard error is no terminal nothing of it is written.
"""

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final

from lab.cli import output
from lab.cli.streams import Stream

_EVERY_S: Final = 0.1
_SAME_S: Final = 600.0
_OTHER_S: Final = 30.0


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Line:
    """The line. Use it as a context manager: whatever happens, it is gone at the end."""

    def __init__(self) -> None:
        self.terminal = _is_terminal()
        self._shown = False
        self._next = 0.0

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def paint(self, text: str) -> None:
        """Show a text in place of the one before, cut to the width of the terminal."""
        if self.terminal:
            width = max(shutil.get_terminal_size().columns - 1, 10)
            self._write("\r" + output.clean(text)[:width] + "\x1b[K")
            self._shown = True
            if isinstance(sys.stdout, Stream):
                sys.stdout.before_write = self.clear

    def clear(self) -> None:
        """Remove it."""
        if self._shown:
            self._shown = False
            self._write("\r\x1b[K")
            if isinstance(sys.stdout, Stream):
                sys.stdout.before_write = None

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        output.say(text)

    def step(self, what: str, done: int, total: int | None = None) -> None:
        """Show the progress, ten times a second at most: cheap enough to be called for every batch."""
        if not self.terminal or ((now := time.monotonic()) < self._next and done):
            return
        self._next = now + _EVERY_S
        part = f" of {total:,} ({100 * done // total} %)" if total else ""
        self.paint(f"{what}: {done:,}{part}" if done else what)

    @staticmethod
    def _write(text: str) -> None:
        if isinstance(sys.stderr, Stream):
            sys.stderr.paint(text)
        else:
            sys.stderr.write(text)
        sys.stderr.flush()


class WaitingLine:
    """Shows that a run waits for its provider: one line that counts down, or a few plain lines without a terminal."""

    def __init__(self, line: Line, provider: str) -> None:
        self._line = line
        self._provider = provider
        self._cause = ""
        self._told_at = float("-inf")

    def __call__(self, cause: str, left: float | None) -> None:
        """Take what the provider said and the seconds left; an empty cause ends the wait."""
        if not cause:
            self._line.clear()
            return
        time_left = "no limit" if left is None else f"{left:.0f} s left"
        if self._line.terminal:
            self._line.paint(f"waiting for {self._provider}, {time_left}, Ctrl-C ends: {cause}")
            return
        age = time.monotonic() - self._told_at
        if age >= (_SAME_S if cause == self._cause else _OTHER_S):
            self._cause, self._told_at = cause, time.monotonic()
            output.say(f"waiting for {self._provider}, {time_left}: {cause}")


def offline_command(arguments: list[str], provider: str, settings: dict[str, str], environment: Any) -> str:
    """Return the user's own command line with the settings under which the provider needs no network."""
    kept: list[str] = []
    wanted = {f"{provider}.{key}" for key in settings}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if argument == "--set":
            value = next(rest, "")
        if flag == "--set" and value.partition("=")[0].strip().replace("-", "_") in wanted:
            continue
        kept += [argument] if equals or argument != "--set" else [argument, value]
    for key, value in settings.items():
        kept += ["--set", f"{provider}.{key}={value}"]
    return f"{_started_by(environment)} {shlex.join(kept)}"


def _started_by(environment: Any) -> str:
    """Return what started lab, as one would type it again: behind ``uv run`` the command alone is not on the path."""
    path, uv = environment.get("PATH"), environment.get("UV", "")
    if environment.get("UV_RUN_RECURSION_DEPTH"):
        if shutil.which("uv", path=path) or not uv:
            return "uv run lab"
        return "pipx run uv run lab" if "pipx" in uv else f"{shlex.quote(uv)} run lab"
    called = sys.argv[0]
    return shlex.quote(called) if Path(called).name == "lab" and not shutil.which("lab", path=path) else "lab"
