"""Runs an assembly live: the event loop, the signals, the provider's start and stop, the files."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import anyio
from attrs import evolve

from lab.composition.assembly import Assembly
from lab.composition.subscription import settle_interval
from lab.domain.ledger import own_context
from lab.domain.time import SECOND_NS
from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.health.board import Board
from lab.health.server import serving
from lab.journal.storage import Storage
from lab.live.beginning import NOT_BEGUN, Beginning, Outcome
from lab.live.finishing import finish
from lab.live.first_contact import FirstContact, Guarded, Waiting, no_waiting
from lab.live.health import first_health
from lab.live.last_words import LastWords
from lab.live.loops import loop_options
from lab.live.provider_calls import hold_tasks, is_cancellation, provider_failure
from lab.live.recovery import Interrupted
from lab.live.signals import Interrupts
from lab.ports import Clock, Runtime
from lab.runs.failures import FailureLog
from lab.runs.lock import check_free
from lab.runs.result import Echo, RunResult, to_stderr
from lab.runs.switch import check_not_killed
from lab.simulation.clocks import LoopClock
from lab.supervision.beats import Beats

_KILLED: Final = "killed before the run began; nothing was written"
_STORAGE: Final = Storage()
VIRTUAL_START_NS: Final = 1_704_067_200 * SECOND_NS
"""Where the wall clock of virtual time begins: 2024-01-01T00:00:00Z."""


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
    outcome = Outcome(LastWords(say, own_process=interrupts.own_process), beats or Beats(os.environ))
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
                    outcome.beats.end_with_supervisor()
                    group.start_soon(outcome.beats.send, outcome.beat, partial(_sleep, speed))
                runtime = Runtime(clock=clock, seed=assembly.settings.seed, tasks=tasks, speed=speed)
                try:
                    await provider.start(runtime)
                    beginning = Beginning(
                        assembly=assembly, clock=clock, outcome=outcome, runtime=runtime, start=start,
                        failures=failures, quiet=quiet, say=say, storage=storage,
                    )  # fmt: skip
                    await (beginning.run_new(wall_ns()) if resumed is None else beginning.resume(resumed))
                    if outcome.session is not None:
                        outcome.finished = finish(outcome.session, interrupts, say)
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


def _serve_health(assembly: Assembly, outcome: Outcome, failures: FailureLog, say: Echo) -> None:
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


def _result(outcome: Outcome, interrupts: Interrupts, say: Echo) -> RunResult:
    """Return the result of the run. Raises the error that stopped it before it began."""
    session = outcome.session
    if session is not None and outcome.finished is None and outcome.problem is None:
        session.stop(EndReason.INTERRUPTED, "a second signal cut the orderly end short")
        outcome.finished = finish(session, interrupts, say)
    if outcome.final:
        outcome.beats.tell({**outcome.beat(), "final": True})
    if outcome.finished is not None:
        return evolve(outcome.finished, directory=outcome.directory)
    if outcome.killed and session is None:
        raise RunError(EndReason.KILLED, _KILLED)
    raise outcome.problem or RunError(EndReason.STOPPED, NOT_BEGUN)


async def _sleep(speed: float | Literal["max"], seconds: float) -> None:
    """Wait real seconds, as far as there are any."""
    await anyio.sleep(seconds if speed == "max" else seconds * speed)


def _kill(outcome: Outcome, scope: anyio.CancelScope, name: str) -> None:
    """Throw the kill switch; where nothing has begun, nothing does."""
    outcome.killed = True
    if outcome.session is not None:
        outcome.session.kill(name, "a signal")
    else:
        scope.cancel()


def _interrupt(outcome: Outcome, scope: anyio.CancelScope, count: int, name: str) -> None:
    """The first signal asks for the orderly end, the second cuts it short."""
    outcome.interrupted = True
    if count == 1 and outcome.session is not None:
        outcome.session.stop(EndReason.STOPPED, name)
    else:
        scope.cancel()
