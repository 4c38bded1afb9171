"""From an assembly to a finished live run: the loop, the signals, the provider's life, the files."""

import asyncio
import contextlib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import anyio
from attrs import define, frozen

from lab.domain.time import SECOND_NS, format_time
from lab.journal.reasons import Reason, RunProblem
from lab.journal.store import Journal, JournalError
from lab.journal.tape import TapeWriter
from lab.ports import Clock, Provider, ProviderError, ProviderUnavailable, Runtime, Subscription
from lab.session import directory as directories
from lab.session.assembly import Assembly
from lab.session.earlier import running, seal
from lab.session.interrupts import Interrupts
from lab.session.lock import alone
from lab.session.loops import LoopClock, loop_factory
from lab.session.session import Session
from lab.session.telling import describe

_PROVIDER_STOP_S: Final = 2.0
_NOT_BEGUN: Final = "stopped before the run began; nothing was written"
VIRTUAL_START_NS: Final = 1_704_067_200 * SECOND_NS
"""Where the wall clock of virtual time begins: 2024-01-01T00:00:00Z."""


Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


@frozen
class Finished:
    """A run that has ended: its report, where its files are, and how to leave."""

    report: Mapping[str, Any]
    directory: Path | None
    exit_code: int


@define
class _Box:
    """What a task group's body leaves behind: exceptions are carried out bare, not as a group."""

    finished: Finished | None = None
    problem: RunProblem | None = None
    session: Session | None = None
    interrupted: bool = False


def run_live(
    assembly: Assembly, *, wall_ns: Callable[[], int], interrupts: Interrupts, quiet: bool = False, say: Say = silent
) -> Finished:
    """Run a live session to its end, on the loop its speed asks for.

    Raises `RunProblem` for what stops it before it begins; then nothing was written. After that every end is a report.
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
    say: Say,
) -> Finished:
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
    say: Say = silent,
) -> Finished:
    """Run a live session inside a running loop; as `run_live` otherwise. ``wall_ns`` only labels the run."""
    box = _Box()
    loop = asyncio.get_running_loop()
    scope = anyio.CancelScope()

    def heard(name: str) -> None:
        loop.call_soon_threadsafe(_interrupt, box, scope, interrupts.count, name)

    with scope, interrupts.heard_by(heard):
        if interrupts.count:  # one that came before anybody could listen counts
            _interrupt(box, scope, interrupts.count, "a signal")
        async with anyio.create_task_group() as tasks:
            runtime = Runtime(clock=clock, seed=assembly.settings.seed, tasks=tasks, speed=speed)
            provider = assembly.provider.component
            try:
                await provider.start(runtime)
                await _run(assembly, clock, wall_ns(), box, tasks, quiet, say)
            except ProviderError as error:
                box.problem = RunProblem(Reason.CONFIG, str(error))
            except RunProblem as problem:
                box.problem = problem
            except (Exception, SystemExit) as error:
                text = f"provider {assembly.provider.name} failed: {describe(error)}"
                box.problem = RunProblem(Reason.PLUGIN, text)
            finally:
                await _stop(provider)
                tasks.cancel_scope.cancel()
    if box.session is not None and box.finished is None:
        box.session.stop(Reason.INTERRUPTED, "a second signal cut the orderly end short")
        box.finished = _finish(box.session)
    if box.finished is not None:
        return box.finished
    raise box.problem or RunProblem(Reason.STOPPED, _NOT_BEGUN)


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
    tasks: anyio.abc.TaskGroup,
    quiet: bool,
    say: Say,
) -> None:
    """Learn the instrument, make the directory and the journal, and run the session."""
    run = assembly.settings
    assembly.provider.component.check([Subscription(run.symbol, run.interval_ns)])
    try:
        instrument = await assembly.provider.component.instrument(run.symbol)
    except ProviderUnavailable:
        instrument = None
    if instrument is not None and instrument.symbol != run.symbol:
        name = assembly.provider.name
        raise RunProblem(
            Reason.CONFIG, f"{name} names {run.symbol!r} {instrument.symbol!r}; use --symbol {instrument.symbol}"
        )
    if box.interrupted:
        raise RunProblem(Reason.STOPPED, _NOT_BEGUN)
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
            raise RunProblem(Reason.STORAGE, f"{directory}: {error}") from None
        session = box.session = Session(
            assembly, clock, journal, tape, run_id=run_id, directory=directory, quiet=quiet, say=say
        )
        await session.run(instrument, tasks)
        box.finished = _finish(session)


def _finish(session: Session) -> Finished:
    """Write the report and close the files."""
    try:
        report = session.conclude()
        if session.directory is not None:
            directories.write_report(session.directory, report)
    except (JournalError, OSError) as error:
        raise RunProblem(Reason.STORAGE, f"{session.directory}: the report could not be written: {error}") from None
    finally:
        with contextlib.suppress(OSError):
            session.tape.close()
        session.journal.close()
    return Finished(report, session.directory, int(report["exit_code"]))


def _interrupt(box: _Box, scope: anyio.CancelScope, count: int, name: str) -> None:
    """The first signal asks for the orderly end, the second cuts it short."""
    box.interrupted = True
    if count == 1 and box.session is not None:
        box.session.stop(Reason.STOPPED, name)
    else:
        scope.cancel()


def labels_of(run_id: str, started_ns: int) -> dict[str, str]:
    """Return what labels a run without being part of what happened in it."""
    return {
        "run_id": run_id,
        "started": format_time(started_ns),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "pid": str(os.getpid()),
    }
