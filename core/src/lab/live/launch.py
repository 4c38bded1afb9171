"""Runs an assembly live: the event loop, the signals, the provider's start and stop, the files."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Literal

import anyio
from attrs import define, evolve, field

from lab.composition.assembly import Assembly, check_leverage
from lab.composition.subscription import settle_interval
from lab.domain.instrument import Instrument
from lab.domain.ledger import own_context
from lab.domain.time import SECOND_NS
from lab.errors import JournalError, RunError, StateRefused, message_of
from lab.exit_codes import EndReason
from lab.health.board import Board
from lab.health.server import serving
from lab.journal.storage import Storage
from lab.live.first_contact import FirstContact, Guarded, Waiting, no_waiting
from lab.live.health import as_beat, first_health
from lab.live.last_words import LastWords
from lab.live.loops import loop_options
from lab.live.outcome import unwritten
from lab.live.provider_calls import hold_tasks, is_cancellation, provider_failure
from lab.live.recovery import Interrupted, recover
from lab.live.session import Session
from lab.live.signals import Interrupts
from lab.ports import Clock, Runtime
from lab.records.report import Report
from lab.runs import directory as directories
from lab.runs.cut_off import finalize_interrupted
from lab.runs.directory import QUARANTINE
from lab.runs.failures import FailureLog
from lab.runs.lock import check_free, exclusive
from lab.runs.previous import running
from lab.runs.result import Echo, RunResult, labels_of, to_stderr
from lab.runs.switch import check_not_killed
from lab.simulation.clocks import LoopClock
from lab.supervision.beats import Beats

_NOT_BEGUN: Final = "stopped before the run began; nothing was written"
_KILLED: Final = "killed before the run began; nothing was written"
_STORAGE: Final = Storage()
VIRTUAL_START_NS: Final = 1_704_067_200 * SECOND_NS
"""Where the wall clock of virtual time begins: 2024-01-01T00:00:00Z."""


@define
class _Outcome:
    """The result of a task group's body: its exception is raised bare, not as a group."""

    last_words: LastWords
    beats: Beats
    finished: RunResult | None = None
    problem: BaseException | None = None
    session: Session | None = None
    interrupted: bool = False
    killed: bool = False
    directory: Path | None = None
    """The run's folder, as a user calls it."""
    health_port: int | None = None
    board: Board | None = None
    """Where the session says how it is, if somebody may ask."""
    held: contextlib.ExitStack = field(factory=contextlib.ExitStack)
    """What keeps other sessions away, until the last file is written."""

    @property
    def final(self) -> bool:
        """Whether to start again would change nothing."""
        return isinstance(self.problem, StateRefused) or (self.session is not None and self.session.end.final)

    def beat(self) -> dict[str, object]:
        """Return what a supervisor is told: where the run is, once it is there, and how long it goes on."""
        left = self.session.seconds_left if self.session is not None else None
        told: dict[str, object] = {
            "directory": str(self.directory.absolute()) if self.directory else None, "seconds_left": left,
        }  # fmt: skip
        if self.board is not None:
            told |= {"health_port": self.health_port, "health": as_beat(self.board.read())}
        return told


@own_context()
def run_live(
    assembly: Assembly,
    *,
    wall_ns: Callable[[], int],
    interrupts: Interrupts,
    quiet: bool = False,
    say: Echo = to_stderr,
    waiting: Waiting = no_waiting,
    resumed: Interrupted | None = None,
) -> RunResult:
    """Run a live session to its end, on the loop its speed asks for.

    With ``resumed`` it goes on with that run, in its folder; the assembly is then the run's own.
    ``waiting`` is called about once a second while the provider can't be reached, with its error and the seconds left.
    Raises `LabError` for what stops it before it begins; then nothing was written. After that every end is a report.
    """
    settle_interval(assembly)
    run = assembly.settings
    speed: float | Literal["max"] = "max" if run.speed == "max" else float(run.speed)
    main = partial(_main, assembly, speed, wall_ns, interrupts, quiet, say, waiting, resumed)
    interrupts.install()
    return anyio.run(main, backend="asyncio", backend_options=dict(loop_options(speed, run.seed)))


async def _main(
    assembly: Assembly,
    speed: float | Literal["max"],
    wall_ns: Callable[[], int],
    interrupts: Interrupts,
    quiet: bool,
    say: Echo,
    waiting: Waiting,
    resumed: Interrupted | None,
) -> RunResult:
    return await run_session(
        assembly, clock_for(speed, wall_ns), wall_ns=wall_ns, speed=speed, interrupts=interrupts, quiet=quiet, say=say,
        waiting=waiting, resumed=resumed,
    )  # fmt: skip


def clock_for(speed: float | Literal["max"], wall_ns: Callable[[], int]) -> LoopClock:
    """Return the clock of a session. Virtual time begins at a fixed moment, so that a seed gives the same bytes."""
    if speed == "max":
        return LoopClock(VIRTUAL_START_NS)
    return LoopClock(None if speed == 1 else wall_ns())


async def run_session(
    assembly: Assembly,
    clock: Clock,
    *,
    wall_ns: Callable[[], int],
    speed: float | Literal["max"] = 1.0,
    interrupts: Interrupts,
    quiet: bool = False,
    say: Echo = to_stderr,
    waiting: Waiting = no_waiting,
    resumed: Interrupted | None = None,
    storage: Storage = _STORAGE,
    beats: Beats | None = None,
) -> RunResult:
    """Run a live session inside a running loop; as `run_live` otherwise. ``wall_ns`` only labels the run.

    ``beats`` takes what a supervisor is told; without, the pipe does that the environment names, if one does.
    """
    check_not_killed(assembly.settings.state_dir)
    if not assembly.settings.no_write:
        check_free(assembly.settings.state_dir)  # before the provider is asked, which may take half a minute
    outcome = _Outcome(LastWords(say, own_process=interrupts.own_process), beats or Beats(os.environ))
    loop = asyncio.get_running_loop()
    scope = anyio.CancelScope()

    def heard(name: str) -> None:
        loop.call_soon_threadsafe(_interrupt, outcome, scope, interrupts.count, name)

    def heard_kill(name: str) -> None:
        loop.call_soon_threadsafe(_kill, outcome, scope, name)

    failures = FailureLog(say=say)
    with outcome.held:
        _serve_health(assembly, outcome, failures, say)
        with scope, interrupts.handled_by(heard, heard_kill):
            if interrupts.killed:
                _kill(outcome, scope, "a signal")
            if interrupts.count:  # one that came before anybody could listen counts
                _interrupt(outcome, scope, interrupts.count, "a signal")
            provider = Guarded(assembly.provider, failures)
            start = FirstContact(provider, assembly.settings, clock, waiting)

            def task_failed(error: BaseException) -> None:
                if outcome.session is not None:
                    outcome.session.feed.failed("one of its tasks", error)
                else:
                    text = provider_failure(failures, provider.name, "one of its tasks", error)
                    outcome.problem = RunError(EndReason.PLUGIN, text)
                    scope.cancel()

            async with anyio.create_task_group() as group:
                tasks = await group.start(hold_tasks, task_failed)
                if outcome.beats.supervised:
                    group.start_soon(outcome.beats.send, outcome.beat, partial(_sleep, speed))
                runtime = Runtime(clock=clock, seed=assembly.settings.seed, tasks=tasks, speed=speed)
                try:
                    await provider.start(runtime)
                    parts = assembly, clock, outcome, runtime, start, failures, quiet, say, storage
                    await (_run(*parts, wall_ns()) if resumed is None else _resume(*parts, resumed))
                    if outcome.session is not None:
                        outcome.finished = _finish(outcome.session, interrupts, say)
                        outcome.held.close()
                except BaseException as problem:
                    if is_cancellation(problem):
                        raise
                    outcome.problem = problem
                finally:
                    start.end()
                    await provider.stop()
                    group.cancel_scope.cancel()
        return _result(outcome, interrupts, say)


def _serve_health(assembly: Assembly, outcome: _Outcome, failures: FailureLog, say: Echo) -> None:
    """Serve how the session is, where a port is given for that, from now on until its last file is written."""
    port = assembly.settings.health_port
    if port is None:
        return
    board = outcome.board = Board(first_health(assembly), outcome.beats.now_s)
    if outcome.beats.supervised:  # the supervisor serves it, over all lives of the run
        outcome.health_port = port
        return
    failed = partial(failures.note, "the", "health server", "its thread")
    outcome.held.enter_context(serving(port, board.read, say=say, failed=failed))


def _result(outcome: _Outcome, interrupts: Interrupts, say: Echo) -> RunResult:
    """Return the result of the run. Raises the error that stopped it before it began."""
    session = outcome.session
    if outcome.final:
        outcome.beats.tell({**outcome.beat(), "final": True})
    if session is not None and outcome.finished is None and outcome.problem is None:
        session.stop(EndReason.INTERRUPTED, "a second signal cut the orderly end short")
        outcome.finished = _finish(session, interrupts, say)
    if outcome.finished is not None:
        return evolve(outcome.finished, directory=outcome.directory)
    if outcome.killed and session is None:
        raise RunError(EndReason.KILLED, _KILLED)
    raise outcome.problem or RunError(EndReason.STOPPED, _NOT_BEGUN)


async def _run(
    assembly: Assembly,
    clock: Clock,
    outcome: _Outcome,
    runtime: Runtime,
    start: FirstContact,
    failures: FailureLog,
    quiet: bool,
    say: Echo,
    storage: Storage,
    started_ns: int,
) -> None:
    """Learn the instruments, make the directory and the journal, and run the session."""
    run = assembly.settings
    instruments = await _ask(assembly, start, outcome)
    label = directories.run_label(started_ns, assembly.provider.name, "+".join(p.name for p in assembly.strategies))
    directory, left_out = None, tuple[str, ...]()
    if not run.no_write:
        outcome.held.enter_context(exclusive(run.state_dir))
        left_out = _seal(assembly, say)
        outcome.directory = directories.create(run.state_dir, label)
        directory = failures.directory = outcome.directory.absolute()  # a component may change the working folder
        outcome.beats.keep_stacks(directory)
    run_id = directory.name if directory is not None else label
    labels = labels_of(run_id, started_ns, run.state_dir)
    try:
        outcome.held.enter_context(running(directory))
        journal = storage.journal(directory, durable=True, labels=labels)
        tape = storage.tape(directory)
    except (JournalError, OSError) as error:
        raise RunError(EndReason.STORAGE, f"{directory}: {error}") from None
    session = outcome.session = Session(
        assembly,
        clock,
        journal,
        tape,
        run_id=run_id,
        directory=directory,
        hosts=runtime.hosts,
        quiet=quiet,
        start=start,
        failures=failures,
        board=outcome.board,
        left_out=left_out,
        last_words=outcome.last_words,
        make_reserve=storage.reserve,
    )
    outcome.held.callback(session.close)  # also where the run is cancelled from outside
    await session.run(instruments)


async def _resume(
    assembly: Assembly,
    clock: Clock,
    outcome: _Outcome,
    runtime: Runtime,
    start: FirstContact,
    failures: FailureLog,
    quiet: bool,
    say: Echo,
    storage: Storage,
    run: Interrupted,
) -> None:
    """Make the engine what it was when the run was cut off, and run the session on from there."""
    directory = run.directory.absolute()
    await _ask(assembly, start, outcome)  # the run has the instruments; a provider learns what it needs
    outcome.held.enter_context(exclusive(assembly.settings.state_dir))
    outcome.directory, failures.directory = run.directory, directory
    try:
        outcome.held.enter_context(running(directory))
        directories.remove_leftovers(directory)
        directories.point_latest(directory)  # one that never began may have come after it
        outcome.beats.keep_stacks(directory)
        left_out = _seal(assembly, say)
        journal = storage.journal(directory, durable=True, labels=None)
        recovered = await recover(run, assembly, journal, failures, storage.tape)
    except (JournalError, OSError) as error:
        raise RunError(EndReason.STORAGE, f"{message_of(error)}; start a new run without --resume") from None
    say(f"{directory.name} goes on: {recovered.tape.inputs} inputs taken again, {recovered.seconds_left:.0f} s left")
    session = outcome.session = Session(
        assembly,
        clock,
        journal,
        recovered.tape,
        run_id=directory.name,
        directory=directory,
        hosts=runtime.hosts,
        quiet=quiet,
        start=start,
        failures=failures,
        recovered=recovered,
        board=outcome.board,
        left_out=left_out,
        last_words=outcome.last_words,
        make_reserve=storage.reserve,
    )
    outcome.held.callback(session.close)
    await session.run(run.started.instruments)


def _seal(assembly: Assembly, say: Echo) -> tuple[str, ...]:
    """Do what runs that were cut off need; one that is held is none of them. Return the entries of the report."""
    run = assembly.settings
    done = finalize_interrupted(run.state_dir, strict=run.strict_state)
    for name in done.finished:
        say(f"{name} was cut off before its end; its report is written now")
    for name in done.removed:
        say(f"{name} was cut off before it began; its folder is removed")
    for name, why in done.damaged.items():
        say(f"{name} is damaged and is put aside in {run.state_dir / 'runs' / QUARANTINE}: {why}")
    return done.degradations


async def _ask(assembly: Assembly, start: FirstContact, outcome: _Outcome) -> Mapping[str, Instrument] | None:
    """Learn the instruments; ``None`` where the provider can't be reached now."""
    run = assembly.settings
    start.provider.subscriptions(run.symbols, run.interval_ns)
    instruments = await start.ask()
    for instrument in (instruments or {}).values():
        check_leverage(instrument, run.leverage)
    assembly.declared  # noqa: B018 - read before anything is written, because it may be refused
    if outcome.interrupted:
        raise RunError(EndReason.STOPPED, _NOT_BEGUN)
    return instruments


async def _sleep(speed: float | Literal["max"], seconds: float) -> None:
    """Wait real seconds, as far as there are any."""
    await anyio.sleep(seconds if speed == "max" else seconds * speed)


def _finish(session: Session, interrupts: Interrupts, say: Echo) -> RunResult:
    """Write the report, wait for reporters, write it again where one of them failed, and close the files."""
    try:
        report = _write_report(session, session.conclude(), say)
        if session.wait_for_reporters(report, hurried=lambda: interrupts.count > 1):
            report = _write_report(session, session.report(), say)
    except JournalError as error:
        detail = session.end.detail
        raise RunError(EndReason.STORAGE, f"{detail}; {error}" if detail else str(error)) from None
    finally:
        code = session.end.reason.exit_code if session.end.reason is not None else EndReason.UNKNOWN.exit_code
        with session.last_words.in_time(code):
            session.close()
    return RunResult(report, session.directory, report.exit_code, reached=session.engine is not None)


def _write_report(session: Session, report: Report, say: Echo) -> Report:
    """Write a report and return it. Where it can't be written that is said, with the first cause before it."""
    if session.directory is None:
        return report
    try:
        with session.last_words.in_time():
            directories.write_report(session.directory, report)
    except OSError as error:
        text = f"{session.directory / directories.REPORT_NAME}: cannot be written: {error.strerror or error}"
        first = report.error if report.exit_code else ""
        say("; ".join(filter(None, (first, text, "the next start writes it"))))
        return unwritten(report, EndReason.STORAGE, first or text)
    return report


def _kill(outcome: _Outcome, scope: anyio.CancelScope, name: str) -> None:
    """Throw the kill switch; where nothing has begun, nothing does."""
    outcome.killed = True
    if outcome.session is not None:
        outcome.session.kill(name, "a signal")
    else:
        scope.cancel()


def _interrupt(outcome: _Outcome, scope: anyio.CancelScope, count: int, name: str) -> None:
    """The first signal asks for the orderly end, the second cuts it short."""
    outcome.interrupted = True
    if count == 1 and outcome.session is not None:
        outcome.session.stop(EndReason.STOPPED, name)
    else:
        scope.cancel()
