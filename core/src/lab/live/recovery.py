"""Goes on with a run that was cut off: the inputs on its tape make the engine what it was."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio.lowlevel
from attrs import evolve, frozen
from msgspec.structs import replace

from lab.composition.assembly import Assembly
from lab.domain.control import Command, CommandAction
from lab.domain.time import SECOND_NS
from lab.engine.engine import Engine
from lab.errors import JournalError, RunError
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader, read_run_started
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.store import Journal
from lab.journal.tape import RecordedTape, TapeWriter
from lab.live.first_rows import new_engine
from lab.records.run import RunStarted, SessionState
from lab.runs.failures import FailureLog
from lab.runs.previous import check_begun, is_running, newest_session

_PAUSE_INPUTS: Final = 4096
LEAST_S: Final = 10.0
"""How long a run that is resumed goes on at least, by its clock, so that it can close what it holds."""
_ENDING: Final = (CommandAction.STOP, CommandAction.KILL)


@frozen
class Interrupted:
    """A run that was cut off: its folder, how it was started, and what its host had counted at the last commit."""

    directory: Path
    started: RunStarted
    state: SessionState
    committed_ns: int
    """Venue time of the newest row; 0 where none came before the first price."""


@frozen
class Recovered:
    """A run that goes on: its engine and tape as they were, and the end it was about to come to, if it was."""

    run: Interrupted
    engine: Engine
    tape: TapeWriter
    ending: EndReason | None

    @property
    def seconds_left(self) -> float:
        """How long the run goes on, in seconds of its clock: `LEAST_S` at least."""
        minutes = float(self.run.started.minutes or 0)
        return LEAST_S if self.ending is not None else max(LEAST_S, 60 * minutes - self.run.state.duration_seconds)


def interrupted(state_dir: Path, directory: Path, *, same_time: bool = False) -> Interrupted:
    """Return the run in a folder, where it can be resumed. Raises `RunError` saying why it cannot.

    With ``same_time`` virtual time goes on where it was, instead of beginning anew.
    """
    name = directory.name

    def refused(why: str) -> RunError:
        return RunError(EndReason.CONFIG, f"{name} {why}; start a new run without --resume")

    if is_running(directory):
        raise RunError(EndReason.IN_USE, f"{name} is still running")
    if not (directory / FIRST_SEGMENT).is_file():
        raise refused("is no session that lab run started")
    try:
        with contextlib.closing(JournalReader.open(directory)) as reader:
            check_begun(directory, reader)
            ended, state = reader.run_ended(), reader.run_state()
            committed_ns = next(reader.times("DESC"), 0)
        started = read_run_started(directory)
    except JournalError as error:
        raise RunError(EndReason.STORAGE, f"{error}; start a new run without --resume") from None
    if ended is not None:
        raise refused(f"was not cut off: it ended, {ended.reason}")
    if started.speed == "max" and not same_time:
        raise refused("ran in virtual time, which begins anew each time")
    if not started.instruments:
        raise refused("was cut off before its provider described the instrument")
    newest = newest_session(state_dir)
    if newest is not None and newest.resolve() != directory.resolve():
        raise refused(f"is not the newest session: {newest.name} came after it")
    return Interrupted(directory, started, state.session if state is not None else SessionState(), committed_ns)


async def recover(
    run: Interrupted,
    assembly: Assembly,
    journal: Journal,
    failures: FailureLog,
    make_tape: Callable[..., TapeWriter] = TapeWriter,
) -> Recovered:
    """Step the inputs on the tape again; rows that the run had not committed are committed now.

    It may be killed and begun again. Raises `JournalError` where the journal is not what the inputs give, and what
    `lab.engine.engine.Engine.step` raises.
    """
    engine = new_engine(assembly, run.started, journal, failures)
    tape = RecordedTape(run.directory)
    ending: EndReason | None = None
    for event in tape:
        out = engine.step(event)
        if out:
            journal.append(out, engine.state.now_ns, tape.inputs)
        if isinstance(event, Command) and event.action in _ENDING:
            ending = _ending(event)
        if tape.inputs % _PAUSE_INPUTS == 0:
            journal.compare()
            await anyio.lowlevel.checkpoint()  # a signal is heard
    journal.compare(all_of_it=True)
    # A row that was committed in the warm-up has the time of its history, which is no time that the run lasted.
    live_ns = engine.state.live_since_ns or engine.state.now_ns
    run = evolve(run, state=_lasted(run.state, engine.state.now_ns - max(run.committed_ns, live_ns)))
    return Recovered(run, engine, make_tape(run.directory, tape), ending)


def _lasted(state: SessionState, since_ns: int) -> SessionState:
    """Return a state as old as the newest input: it was written with the newest row, which may be an hour older."""
    return replace(state, duration_seconds=round(state.duration_seconds + max(0, since_ns) / SECOND_NS, 3))


def _ending(command: Command) -> EndReason:
    if command.action is CommandAction.KILL:
        return EndReason.KILLED
    return next((reason for reason in EndReason if reason.code == command.why), EndReason.COMPLETED)
