"""From an assembly to a finished live run: the loop, the signals, the provider's life, the files."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import anyio
from attrs import define

from lab.composition.assembly import Assembly
from lab.composition.subscription import run_subscription
from lab.domain.time import SECOND_NS
from lab.errors import JournalError, ProviderError, ProviderUnavailable, RunError, describe_error
from lab.exit_codes import EndReason
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter
from lab.ports import Clock, Provider, Runtime
from lab.runs import directory as directories
from lab.runs.lock import alone
from lab.runs.previous import running, seal
from lab.runs.result import Echo, RunResult, labels_of, no_echo
from lab.session.session import Session
from lab.session.signals import Interrupts
from lab.simulation.clocks import LoopClock, loop_factory

_PROVIDER_STOP_S: Final = 2.0
_NOT_BEGUN: Final = "stopped before the run began; nothing was written"
VIRTUAL_START_NS: Final = 1_704_067_200 * SECOND_NS
"""Where the wall clock of virtual time begins: 2024-01-01T00:00:00Z."""


@define
class _Box:
    """What a task group's body leaves behind: exceptions are carried out bare, not as a group."""

    finished: RunResult | None = None
    problem: RunError | None = None
    session: Session | None = None
    interrupted: bool = False


def run_live(
    assembly: Assembly, *, wall_ns: Callable[[], int], interrupts: Interrupts, quiet: bool = False, say: Echo = no_echo
) -> RunResult:
    """Run a live session to its end, on the loop its speed asks for.

    Raises `RunError` for what stops it before it begins; then nothing was written. After that every end is a report.
    """
    run = assembly.settings
    speed: float | Literal["max"] = "max" if run.speed == "max" else float(run.speed)
    factory = loop_factory(speed, run.seed)
    main = partial(_main, assembly, speed, wall_ns, interrupts, quiet, say)
    options = {"loop_factory": factory} if factory is not None else {}
    interrupts.install()
    return anyio.run(main, backend="asyncio", backend_options=options)


async def _main(
    assembly: Assembly,
    speed: float | Literal["max"],
    wall_ns: Callable[[], int],
    interrupts: Interrupts,
    quiet: bool,
    say: Echo,
) -> RunResult:
    clock = clock_for(speed, wall_ns)
    return await run_session(assembly, clock, wall_ns=wall_ns, speed=speed, interrupts=interrupts, quiet=quiet, say=say)


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
    say: Echo = no_echo,
) -> RunResult:
    """Run a live session inside a running loop; as `run_live` otherwise. ``wall_ns`` only labels the run."""
    box = _Box()
    loop = asyncio.get_running_loop()
    scope = anyio.CancelScope()

    def heard(name: str) -> None:
        loop.call_soon_threadsafe(_interrupt, box, scope, interrupts.count, name)

    with scope, interrupts.handled_by(heard):
        if interrupts.count:  # one that came before anybody could listen counts
            _interrupt(box, scope, interrupts.count, "a signal")
        async with anyio.create_task_group() as tasks:
            runtime = Runtime(clock=clock, seed=assembly.settings.seed, tasks=tasks, speed=speed)
            provider = assembly.provider.component
            try:
                await provider.start(runtime)
                await _run(assembly, clock, wall_ns(), box, runtime, quiet, say)
            except ProviderError as error:
                box.problem = RunError(EndReason.CONFIG, str(error))
            except RunError as problem:
                box.problem = problem
            except (Exception, SystemExit) as error:
                text = f"provider {assembly.provider.name} failed: {describe_error(error)}"
                box.problem = RunError(EndReason.PLUGIN, text)
            finally:
                await _stop(provider)
                tasks.cancel_scope.cancel()
    if box.session is not None and box.finished is None:
        box.session.stop(EndReason.INTERRUPTED, "a second signal cut the orderly end short")
        box.finished = _finish(box.session)
    if box.finished is not None:
        return box.finished
    raise box.problem or RunError(EndReason.STOPPED, _NOT_BEGUN)


async def _stop(provider: Provider) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(_PROVIDER_STOP_S):
        try:
            await provider.stop()
        except (Exception, SystemExit) as error:
            print(f"lab: provider {type(provider).__name__} failed to stop: {error}", file=sys.stderr)


async def _run(
    assembly: Assembly,
    clock: Clock,
    started_ns: int,
    box: _Box,
    runtime: Runtime,
    quiet: bool,
    say: Echo,
) -> None:
    """Learn the instrument, make the directory and the journal, and run the session."""
    run = assembly.settings
    run_subscription(assembly.provider.name, assembly.provider.component, run.symbol, run.interval_ns)
    try:
        instrument = await assembly.provider.component.instrument(run.symbol)
    except ProviderUnavailable:
        instrument = None
    if instrument is not None and instrument.symbol != run.symbol:
        name = assembly.provider.name
        raise RunError(
            EndReason.CONFIG, f"{name} names {run.symbol!r} {instrument.symbol!r}; use --symbol {instrument.symbol}"
        )
    if box.interrupted:
        raise RunError(EndReason.STOPPED, _NOT_BEGUN)
    label = directories.run_label(started_ns, assembly.provider.name, "+".join(p.name for p in assembly.strategies))
    with contextlib.ExitStack() as held:
        directory = None
        if not run.no_write:
            held.enter_context(alone(run.state_dir))
            for earlier in seal(run.state_dir):
                say(f"{earlier.name} was cut off before its end; its report is written now")
            directory = directories.create(run.state_dir, label)
        run_id = directory.name if directory is not None else label
        labels = labels_of(run_id, started_ns)
        try:
            held.enter_context(running(directory))
            journal = Journal(directory, durable=True, labels=labels)
            tape = TapeWriter(directory)
        except (JournalError, OSError) as error:
            raise RunError(EndReason.STORAGE, f"{directory}: {error}") from None
        session = box.session = Session(
            assembly,
            clock,
            journal,
            tape,
            run_id=run_id,
            directory=directory,
            hosts=runtime.hosts,
            quiet=quiet,
            say=say,
        )
        await session.run(instrument, runtime.tasks)
        box.finished = _finish(session)


def _finish(session: Session) -> RunResult:
    """Write the report and close the files."""
    try:
        report = session.conclude()
        if session.directory is not None:
            directories.write_report(session.directory, report)
    except (JournalError, OSError) as error:
        raise RunError(EndReason.STORAGE, f"{session.directory}: the report could not be written: {error}") from None
    finally:
        with contextlib.suppress(OSError):
            session.tape.close()
        session.journal.close()
    return RunResult(report, session.directory, int(report["exit_code"]))


def _interrupt(box: _Box, scope: anyio.CancelScope, count: int, name: str) -> None:
    """The first signal asks for the orderly end, the second cuts it short."""
    box.interrupted = True
    if count == 1 and box.session is not None:
        box.session.stop(EndReason.STOPPED, name)
    else:
        scope.cancel()
