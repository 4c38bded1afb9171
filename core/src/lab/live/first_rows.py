"""The rows of a new run that come before its first input: how it was started, and its first deposits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import anyio
from msgspec.structs import replace

from lab.composition.assembly import Assembly
from lab.domain.instrument import Instrument
from lab.engine.engine import Engine
from lab.errors import StateRefused
from lab.journal.store import Journal
from lab.live.outcome import EndCause
from lab.live.runner import Runner
from lab.records.run import RunStarted
from lab.runs.failures import FailureLog
from lab.runs.restart import accepted_memory, taken_over

_AGAIN_S: Final = 1.0


def first_row(
    assembly: Assembly, instruments: Mapping[str, Instrument], journal: Journal, run_id: str, directory: Path | None
) -> tuple[RunStarted, tuple[str, ...]]:
    """Return how the run was started, with what it takes over from the run that it restarts, if it restarts one.

    The second part are the degradations for what could not be taken over. Raises `StateRefused` for damaged state
    under ``strict_state``.
    """
    started = assembly.describe("run", instruments, {})
    if directory is None:
        return started, ()
    taken = taken_over(assembly.settings.state_dir, started, run_id)
    if taken.damaged and assembly.settings.strict_state:
        raise StateRefused(taken.left_out[0])
    memory, taken = accepted_memory(taken, assembly.gates, started.config_hash)
    if taken.run:
        journal.label("restarts", taken.run)
    if taken.runs:
        journal.label("day_runs", str(taken.runs))
    return replace(started, carried_loss=taken.loss, gate_memory=memory), taken.left_out


def new_engine(assembly: Assembly, started: RunStarted, journal: Journal, failures: FailureLog) -> Engine:
    """Return the engine of a run, and give its first rows to the journal."""
    engine = assembly.engine(started, archive=journal.outcome, on_failure=failures.note)
    journal.append_record(started, 0, 0)
    journal.append(engine.begin(), 0, 0)
    return engine


async def committed(runner: Runner, end: EndCause, say: Callable[[str], object]) -> bool:
    """Commit what comes before the first input, waiting while the disk is full; return whether it is committed.

    No input is taken before: after a crash its tape would have no journal.
    """
    runner.commit()
    if runner.journal.waiting:
        say(f"{runner.held}: the run waits to write its first row")
    while runner.journal.waiting and end.reason is None:
        with anyio.move_on_after(_AGAIN_S):
            await end.asked.wait()
        runner.commit()
    return not runner.journal.waiting
