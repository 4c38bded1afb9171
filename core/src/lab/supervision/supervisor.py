"""Runs a session again after it was killed, froze or failed: for the time it had left, and not without end.

Imports no plugin, so that what breaks a session does not break what restarts it.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from lab.exit_codes import CRASHES, EndReason
from lab.journal.files import write_new
from lab.runs.previous import held
from lab.supervision.health import HealthOfAllLives
from lab.supervision.life import PASSED_ON, SILENCE_S, Life, live
from lab.supervision.notify import ServiceManager

_CANNOT_RESUME: Final = frozenset((EndReason.STORAGE.exit_code, EndReason.CONFIG.exit_code))
ENDS_MOST: Final = 5
WINDOW_S: Final = 600.0
REPORT_NAME: Final = "supervision.json"
WAIT_S: Final = 5.0
_WAIT_MOST_S: Final = 30.0
_SUMS: Final = ("fills", "trades", "error_count", "duration_seconds")
_EXACT: Final = ("pnl_absolute", "fees_paid", "funding_paid")
_LAB: Final = (sys.executable, "-m", "lab", "run")


class Supervisor:
    """Supervises one session over all its lives. `run` returns the exit code of the last, or 10 for a crash loop."""

    def __init__(
        self,
        arguments: Sequence[str],
        say: Callable[[str], None],
        *,
        silence_s: float = SILENCE_S,
        wait_s: float = WAIT_S,
        early: Callable[[], EndReason | None] = lambda: None,
    ) -> None:
        """``arguments`` are those of ``lab run``, as they were typed, without ``--supervise``.

        ``early`` returns what was asked for by signals that came before the supervisor took them.
        """
        self._arguments = list(arguments)
        self._say = say
        self._silence_s = silence_s
        self._wait_s = wait_s
        self._signals: list[int] = []
        self._lives: list[Life] = []
        self._manager = ServiceManager(os.environ)
        self._stopping = False
        self._killed = False
        self._early = early
        self._typed_settings = not resumes(arguments)
        """Whether a new run would have the settings of the first."""
        self._cut = Life()
        """The newest life of a run that has no end yet."""
        self._health = HealthOfAllLives(say)

    def run(self) -> int:
        """Run the session until it ends by itself, by a signal, or by too many crashes."""
        self._manager.forget()
        for number in (*PASSED_ON, signal.SIGWINCH):
            if signal.getsignal(number) != signal.SIG_IGN:  # SIGHUP is ignored under nohup, and stays so
                signal.signal(number, self._note)
        early = self._early()
        if early is not None:
            self._say(f"{_word(early)} before the run began; nothing was written")
            return early.exit_code
        arguments, resumed = self._arguments, False
        while True:
            life = self._live([*_LAB, *arguments])
            if resumed and not life.run and life.code in _CANNOT_RESUME and self._typed_settings:
                arguments, resumed = self._anew(), False  # it has said why
                continue
            unended = life.code < 0
            if not life.run and self._cut.run and (unended or life.code == EndReason.STORAGE.exit_code):
                life.beat, unended = self._cut.beat, True  # it did not come as far as the run that it was to go on with
            self._lives.append(life)
            self._cut = life if unended else Life()
            self._arguments = without(self._arguments, "--resume")
            if self._health.refused:
                return self._end(EndReason.CONFIG.exit_code)
            if not self._crashed(life):
                return self._ended(life)
            if self._is_loop():
                why = f"{ENDS_MOST} abnormal ends within {WINDOW_S / 60:.0f} minutes"
                self._say(f"crash loop: {why}; the last: {_how(life)}")
                return self._end(EndReason.CRASH_LOOP.exit_code)
            if not unended and not self._typed_settings:
                self._say(f"the session ended: {_how(life)}; it was resumed, and a new run needs its settings typed")
                return self._end(life.code)
            self._wait(life)
            if self._stopping:
                return self._stopped_between(life)
            resumed = unended
            arguments = ["--resume", life.run, *self._arguments] if resumed else self._anew()

    def _ended(self, life: Life) -> int:
        if life.code < 0:
            self._say(f"the session ended: {_how(life)}")
        return self._end(life.code)

    def _stopped_between(self, life: Life) -> int:
        """End without another life, because a signal came while there was none."""
        reason = EndReason.KILLED if self._killed else EndReason.STOPPED
        name = Path(life.run).name
        self._say(f"{_word(reason)} between two lives: what {name} held stays open; lab run --resume {name} goes on")
        return self._end(reason.exit_code)

    def _live(self, command: Sequence[str]) -> Life:
        return live(command, self._take_signals, self._show, silence_s=self._silence_s)

    # -- what comes next ---------------------------------------------------------------------------------------------

    def _crashed(self, life: Life) -> bool:
        """Return whether a life is followed by another: it had begun, and nobody asked for its end."""
        if self._stopping or not life.run or life.final:
            return False
        return life.frozen or life.code < 0 or life.code in CRASHES

    def _is_loop(self) -> bool:
        recent = [life for life in self._lives if time.monotonic() - life.ended_at <= WINDOW_S]
        return len(recent) >= ENDS_MOST

    def _wait(self, life: Life) -> None:
        """Wait before the next start: not at all after a freeze, else 5 s, and twice as long each time up to 30."""
        wait = 0.0 if life.frozen else min(_WAIT_MOST_S, self._wait_s * 2.0 ** (len(self._lives) - 1))
        self._say(f"the session ended: {_how(life)}; it starts again{f' in {wait:.0f} s' if wait else ''}")
        self._health.between(_how(life))
        until = time.monotonic() + wait
        with held(Path(life.run)):  # lab stop finds it, and the next life what lab stop asks for
            while not self._stopping and time.monotonic() < until:
                time.sleep(0.1)
                self._take_signals()
                self._manager.tell("WATCHDOG=1")

    def _anew(self) -> list[str]:
        """Return the arguments of a new run for the time that is left; they are those of its later lives, too."""
        life = next((one for one in reversed(self._lives) if one.run), Life())
        minutes = max(1.0, life.seconds_left) / 60
        self._arguments = [*without(self._arguments, "--minutes"), "--minutes", f"{minutes:.4f}"]
        return self._arguments

    # -- signals and the service manager -----------------------------------------------------------------------------

    def _note(self, number: int, _frame: object) -> None:
        self._signals.append(number)

    def _take_signals(self) -> Sequence[int]:
        taken, self._signals = self._signals, []
        if self._health.refused and not self._stopping:
            taken.append(signal.SIGTERM)  # as without a supervisor: a session whose health nobody sees does not begin
        self._killed = self._killed or signal.SIGUSR1 in taken
        if any(number != signal.SIGWINCH for number in taken):
            self._stopping = True
            self._manager.tell("STOPPING=1")
        return taken

    def _show(self, life: Life) -> None:
        if life.beat:
            self._health.show(life, len(self._lives) + 1)
            again = f", life {len(self._lives) + 1}" if self._lives else ""
            self._manager.tell("READY=1", "WATCHDOG=1", f"STATUS={Path(life.run).name}{again}")

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self, code: int) -> int:
        """Write the report over all lives, where there was more than one; return the exit code, as a shell has it."""
        code = code if code >= 0 else 128 - code
        self._health.close()
        runs = list(dict.fromkeys(life.run for life in self._lives if life.run))
        if runs and self._lives[-1].code < 0:
            _seal(Path(runs[-1]))
        if len(self._lives) > 1 and runs:
            path = Path(runs[-1]) / REPORT_NAME
            try:
                write_new(path, json.dumps(self._report(runs, code), indent=2) + "\n")
                self._say(f"report over {len(self._lives)} lives: {path}")
            except OSError as error:
                self._say(f"{path}: cannot be written: {error.strerror or error}")
        return code

    def _report(self, runs: Sequence[str], code: int) -> dict[str, Any]:
        reports = [_read(Path(run) / "final_report.json") for run in runs]
        return {
            "schema_version": 1,
            "exit_code": code,
            "reason": next((one.code for one in EndReason if one.exit_code == code), EndReason.UNKNOWN.code),
            "lives": [
                {"run": Path(life.run).name, "exit_code": life.code, "frozen": life.frozen} for life in self._lives
            ],
            "runs": [Path(run).name for run in runs],
            **{name: sum(report.get(name) or 0 for report in reports) for name in _SUMS},
            **{name: _exact_sum(report.get(name) for report in reports) for name in _EXACT},
        }


def resumes(arguments: Sequence[str]) -> bool:
    """Return whether a session is resumed by what was typed, whose settings then need not be typed."""
    auto = ("--resume", "auto") in pairwise(arguments) or "--resume=auto" in arguments
    return not auto and any(one.partition("=")[0] == "--resume" for one in arguments)


def without(arguments: Sequence[str], option: str) -> list[str]:
    """Return what was typed without an option and its value, if it has one."""
    kept, skip = list[str](), False
    for argument in arguments:
        skip = skip and not argument.startswith("-")
        if argument == option:
            skip = True
        elif not skip and not argument.startswith(f"{option}="):
            kept.append(argument)
        else:
            skip = False
    return kept


def _word(reason: EndReason) -> str:
    return "killed" if reason is EndReason.KILLED else "stopped"


def _how(life: Life) -> str:
    """Return how a life ended, in words."""
    if life.frozen:
        return "it was frozen"
    if life.code < 0:
        known = {one.value: one.name for one in signal.Signals}
        return f"killed by {known.get(-life.code, f'signal {-life.code}')}"
    return f"exit code {life.code}"


def _seal(run: Path) -> None:
    """Write the report of a run that was killed and is not started again."""
    from lab.errors import LabError
    from lab.runs.cut_off import finalize_interrupted
    from lab.runs.lock import exclusive

    state_dir = run.parent.parent
    try:
        with exclusive(state_dir):
            finalize_interrupted(state_dir, strict=True)  # what is damaged is the next start's
    except (LabError, OSError):
        return  # the next start writes it


def _read(path: Path) -> dict[str, Any]:
    """Return a run's final report; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _exact_sum(values: Iterable[Any]) -> str:
    return f"{sum((Decimal(str(value)) for value in values if value is not None), Decimal(0)):f}"
