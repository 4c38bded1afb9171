"""What a run takes over from the one that it restarts: the loss of the day, and what its risk gates remember."""

import contextlib
import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from lab.composition.assembly import Part
from lab.errors import JournalError, describe_error
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.state import seal_of
from lab.ports import RiskGate
from lab.records.base import exact
from lab.records.run import CarriedLoss, GateMemory, RunEnded, RunStarted
from lab.runs.directory import run_label
from lab.runs.previous import is_running, newest_first

CRASHES: Final = frozenset(
    reason.code for reason in (EndReason.UNKNOWN, EndReason.PLUGIN, EndReason.INTERNAL, EndReason.STORAGE)
)
"""Ends that nobody asked for: the next run of the same kind is a restart, as after a kill."""


@frozen(kw_only=True)
class TakenOver:
    """The run that a new one restarts (empty: none), its loss of the day, its gates' memory, and what was left out."""

    run: str = ""
    loss: CarriedLoss = CarriedLoss()
    memory: Mapping[str, GateMemory] = field(factory=dict)
    left_out: tuple[str, ...] = ()
    """entries of the report: an earlier run, or a gate's memory, that would have counted and does not"""


def taken_over(state_dir: Path, new: RunStarted) -> TakenOver:
    """Return what a run takes over. ``new`` is how it is started.

    It restarts the newest live run before it with the same components, settings and source of data, where that run was
    cut off or ended by a failure that nobody asked for (`CRASHES`). After an end that was asked for, or one by the
    clock, nothing is taken over. The loss is that of the UTC day of the run's last price (below 0: a profit).
    """
    left_out: tuple[str, ...] = ()
    newest = True
    for directory in _candidates(state_dir, new):
        found: TakenOver | None = None
        try:
            with contextlib.closing(JournalReader.open(directory)) as reader:
                if not reader.count():  # this run itself, or one that never began
                    continue
                started, ended = reader.run_started(), reader.run_ended()
                alive = is_running(directory)
                if _identity(started) != _identity(new):
                    if newest and _crashed(ended) and not alive:
                        left_out = (f"not_restarted {directory.name}: it was cut off with other settings",)
                    newest = False
                    continue
                if _crashed(ended) and not alive:
                    found = _of(directory.name, started, reader)
        except Exception as error:  # a damaged run tells nothing that is true
            if newest:
                why = str(error) if isinstance(error, JournalError) else describe_error(error)
                left_out = (f"not_restarted {directory.name}: {why.replace(str(directory), directory.name)}",)
            newest = False
            continue
        return evolve(found, left_out=left_out) if found is not None else TakenOver(left_out=left_out)
    return TakenOver(left_out=left_out)


def _crashed(ended: RunEnded | None) -> bool:
    return ended is None or ended.reason in CRASHES


def _of(name: str, started: RunStarted, reader: JournalReader) -> TakenOver:
    state = reader.run_ended() or reader.run_state()
    if state is None:  # nothing happened in it: what it took over itself still counts
        kept = {
            gate: GateMemory(values=values, seal=seal_of(started.config_hash, gate, values))
            for gate, values in started.gate_memory.items()
        }
        return TakenOver(run=name, loss=started.carried_loss, memory=kept)
    loss = started.carried_loss
    if state.day_ns:
        loss = CarriedLoss(day_ns=state.day_ns, lost=exact(state.day_starting_equity - state.equity))
    return TakenOver(run=name, loss=loss, memory=state.gate_memory)


def accepted_memory(
    taken: TakenOver, gates: Sequence[Part[RiskGate]], config_hash: str
) -> tuple[dict[str, dict[str, str]], TakenOver]:
    """Return what each gate is told of the run before, and with what was left out: a memory that does not fit.

    A copy of the gate tries it first, so that one that is refused leaves the gate as it is.
    """
    accepted: dict[str, dict[str, str]] = {}
    left_out = list(taken.left_out)
    for part in gates:
        memory = taken.memory.get(part.name)
        if memory is None:
            continue
        why = memory.error
        if not why and memory.seal != seal_of(config_hash, part.name, memory.values):
            why = "it was changed after it was written, or is of other settings"
        if not why and memory.values:
            try:
                copy.deepcopy(part.component).restore(dict(memory.values))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                why = describe_error(error)
        if why:
            left_out.append(f"gate_memory_lost {part.name}: what it knew in {taken.run} does not count: {why}")
        elif memory.values:
            accepted[part.name] = dict(memory.values)
    return accepted, evolve(taken, left_out=tuple(left_out))


def _identity(started: RunStarted) -> tuple[object, ...]:
    return started.kind, started.config_hash, started.provider, started.venue


def _candidates(state_dir: Path, new: RunStarted) -> Iterator[Path]:
    """Yield the live runs that may have the components of this one, by what their folders are named, newest first."""
    label = run_label(0, new.provider.name, "+".join(entry.name for entry in new.strategies))
    fitting = re.compile(re.escape(label.partition("-")[2]) + r"(-\d+)?")
    for path in newest_first(state_dir):
        if fitting.fullmatch(path.name.partition("-")[2]) and (path / FIRST_SEGMENT).is_file():
            yield path
