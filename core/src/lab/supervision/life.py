"""One life of a supervised session: a process, its beats, and what ended it."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lab.supervision.beats import VARIABLE

PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that are the session's, whoever they are sent to."""
SILENCE_S: Final = 4.0
START_S: Final = 60.0
"""How long the first beat may take: interpreters start slowly on machines that are busy."""
_ABORT_S: Final = 2.0
_POLL_S: Final = 0.2
_ASLEEP_S: Final = 2.0
_LINE_BYTES: Final = 65_536


@dataclass
class Life:
    """What is known of one process: its exit code (below 0: the signal), its newest beat, and whether it was frozen."""

    code: int = 0
    frozen: bool = False
    beat: dict[str, Any] = field(default_factory=dict)
    ended_at: float = 0.0

    @property
    def run(self) -> str:
        """The run's folder; empty until it has one."""
        return str(self.beat.get("directory") or "")

    @property
    def seconds_left(self) -> float:
        """How long the run was to go on at the newest beat."""
        return float(self.beat.get("seconds_left") or 0.0)

    @property
    def final(self) -> bool:
        """Whether it said that to start again would change nothing."""
        return self.beat.get("final") is True


def live(
    command: Sequence[str],
    signals: Callable[[], Sequence[int]],
    on_beat: Callable[[Life], object],
    *,
    silence_s: float = SILENCE_S,
) -> Life:
    """Run a process to its end, passing signals on; abort it when its loop is silent for so many seconds.

    ``signals`` returns the signals that came since it was asked, ``on_beat`` is called at least five times a second.
    A process that dumps its stacks when it is aborted has two seconds for it.
    """
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    os.set_blocking(writes, False)
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, PASSED_ON
    )  # a new process has no handlers: they wait until it has
    try:
        process = subprocess.Popen(
            command, pass_fds=(writes,), env={**os.environ, VARIABLE: str(writes)}, process_group=0
        )
    except BaseException:
        os.close(reads)
        raise
    finally:
        os.close(writes)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    life = Life()
    try:
        _watch(process, reads, life, signals, on_beat, silence_s)
    finally:
        os.close(reads)
    life.code = process.wait()
    life.ended_at = time.monotonic()
    return life


def _watch(
    process: "subprocess.Popen[bytes]",
    reads: int,
    life: Life,
    signals: Callable[[], Sequence[int]],
    on_beat: Callable[[Life], object],
    silence_s: float,
) -> None:
    looked = heard = time.monotonic()
    allowed, rest, aborted = START_S, b"", False
    while process.poll() is None:
        select.select([reads], [], [], _POLL_S)
        now = time.monotonic()
        if now - looked > _ASLEEP_S:
            heard = now  # this process did not run either: the machine was stopped
        looked = now
        for number in signals():
            process.send_signal(number)
        rest, beat = _newest(reads, rest)
        if beat is not None:
            life.beat, heard, allowed = beat, now, silence_s
        if now - heard > allowed + (_ABORT_S if aborted else 0.0):
            process.send_signal(signal.SIGKILL if aborted else signal.SIGABRT)
            life.frozen = aborted = True
        on_beat(life)
    rest, beat = _newest(reads, rest)  # its last words
    life.beat = beat or life.beat


def _newest(reads: int, rest: bytes) -> tuple[bytes, dict[str, Any] | None]:
    """Return what is left of an unfinished line, and the newest whole beat."""
    try:
        rest += os.read(reads, 4 * _LINE_BYTES)
    except BlockingIOError:
        return rest, None
    *lines, rest = rest.split(b"\n")
    for line in reversed(lines):
        try:
            beat = json.loads(line)
        except ValueError:
            continue
        if isinstance(beat, dict):
            return rest[-_LINE_BYTES:], beat
    return rest[-_LINE_BYTES:], None
