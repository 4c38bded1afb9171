"""What a run takes over from those before it: the loss of the day, and what the gates of one it restarts remember."""

import contextlib
import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from lab.composition.assembly import Part
from lab.domain.ledger import ZERO
from lab.errors import JournalError, describe_error
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader
from lab.journal.schema import FIRST_SEGMENT
from lab.journal.state import seal_of
from lab.ports import Realm, RiskGate
from lab.records.base import exact
from lab.records.run import CarriedLoss, GateMemory, RunStarted, RunState
from lab.runs.directory import run_label
from lab.runs.previous import is_running, newest_first

CRASHES: Final = frozenset(
    reason.code for reason in (EndReason.UNKNOWN, EndReason.PLUGIN, EndReason.INTERNAL, EndReason.STORAGE)
)
"""Ends that nobody asked for: the next run of the same kind is a restart, as after a kill."""
_NAMED: Final = 3


@frozen(kw_only=True)
class TakenOver:
    """What a new run takes over from earlier ones: the loss of the day, and what the gates of one remember."""

    run: str = ""
    """the run that it restarts; empty: none"""
    runs: int = 0
    """how many runs the loss is of"""
    loss: CarriedLoss = CarriedLoss()
    memory: Mapping[str, GateMemory] = field(factory=dict)
    left_out: tuple[str, ...] = ()
    """entries of the report: an earlier run, or a gate's memory, that would have counted and does not"""
    damaged: bool = False
    """whether an earlier run cannot be read, so that its loss is not known"""


@frozen
class _Earlier:
    """An earlier run, and its own loss of the day on which it ended (below 0: a profit)."""

    name: str
    started: RunStarted
    state: RunState | None
    crashed: bool

    @property
    def loss(self) -> CarriedLoss:
        carried, state = self.started.carried_loss, self.state
        if state is None or not state.day_ns:
            return CarriedLoss()
        of_others = carried.lost if carried.day_ns == state.day_ns else ZERO
        return CarriedLoss(day_ns=state.day_ns, lost=exact(state.day_starting_equity - state.equity - of_others))


def taken_over(state_dir: Path, new: RunStarted, run_id: str) -> TakenOver:
    """Return what a run takes over. ``new`` is how it is started, ``run_id`` the name of its folder.

    Its day's loss is that of all earlier sessions of the state directory with the same realm and venue on the newest
    UTC day that any of them came to, however they ended and whatever their settings. Sessions on synthetic or recorded
    data live the same days again: of them only those count that were started on the same date, and none in virtual
    time. The memory of gates is that of the run that is restarted: the newest before it with the same components,
    settings and source of data, where it was cut off or ended by a failure that nobody asked for (`CRASHES`).
    """
    earlier: list[_Earlier] = []
    restarted: _Earlier | None = None
    looked_for, first, left_out, damaged = True, True, list[str](), 0
    for directory in _candidates(state_dir, new, run_id):
        try:
            found = _read(directory)
        except Exception as error:  # a damaged run tells nothing that is true
            damaged += 1
            if damaged <= _NAMED:
                left_out.append(f"not_restarted {directory.name}: {_cause(error, directory)}")
            first = False
            continue
        if found is None:  # this run itself, or one that never began
            continue
        if _identity(found.started) == _identity(new):
            if looked_for and found.crashed:
                restarted = found
            looked_for = False
        elif first and found.crashed:
            left_out.append(f"not_restarted {found.name}: it was cut off with other settings")
        first = False
        if found is restarted or _counts(found, new, run_id):
            earlier.append(found)
    if damaged > _NAMED:
        left_out.append(f"not_restarted: {damaged - _NAMED} more runs cannot be read")
    taken = _with_loss(TakenOver(left_out=tuple(left_out), damaged=damaged > 0), earlier)
    return taken if restarted is None else evolve(taken, run=restarted.name, memory=_memory(restarted))


def _read(directory: Path) -> _Earlier | None:
    """Return an earlier run, ``None`` for one without rows. Raises what its reader does where it is damaged."""
    with contextlib.closing(JournalReader.open(directory)) as reader:
        if wrong := reader.damage():
            raise JournalError(f"{reader.name}: {wrong}")
        if not reader.count():
            return None
        reader.check_ends()
        started, ended = reader.run_started(), reader.run_ended()
        crashed = (ended is None or ended.reason in CRASHES) and not is_running(directory)
        return _Earlier(directory.name, started, ended or reader.run_state(), crashed)


def _counts(found: _Earlier, new: RunStarted, run_id: str) -> bool:
    """Return whether an earlier run's loss counts in a new one."""
    started = found.started
    if (started.realm, started.venue) != (new.realm, new.venue):
        return False
    return new.realm == Realm.REAL or (started.speed != "max" and _date(found.name) == _date(run_id))


def _with_loss(taken: TakenOver, earlier: Sequence[_Earlier]) -> TakenOver:
    """Return what is taken over with the loss of the newest day of some runs."""
    handed_on = [one.started.carried_loss for one in earlier if one.state is None]  # nothing happened in them
    losses = [one.loss for one in earlier]
    day_ns = max((one.day_ns for one in losses), default=0)
    of_day = [one.lost for one in losses if one.day_ns == day_ns and one.lost]
    if day_ns:
        lost = exact(sum(of_day, ZERO))
        return evolve(taken, loss=CarriedLoss(day_ns=day_ns, lost=lost), runs=len(of_day)) if lost else taken
    return evolve(taken, loss=handed_on[0], runs=1) if handed_on else taken


def _memory(restarted: _Earlier) -> Mapping[str, GateMemory]:
    """Return what gates remember of a run; where nothing happened in it, what they were told then."""
    started = restarted.started
    if restarted.state is not None:
        return restarted.state.gate_memory
    return {
        gate: GateMemory(values=values, seal=seal_of(started.config_hash, gate, values))
        for gate, values in started.gate_memory.items()
    }


def _cause(error: Exception, directory: Path) -> str:
    why = str(error) if isinstance(error, JournalError) else describe_error(error)
    return why.replace(str(directory), directory.name)


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


def _date(name: str) -> str:
    """Return the date in a run's name."""
    return name.partition("T")[0]


def _candidates(state_dir: Path, new: RunStarted, run_id: str) -> Iterator[Path]:
    """Yield the earlier sessions that may count or be restarted, by what their folders are named, newest first."""
    label = run_label(0, new.provider.name, "+".join(entry.name for entry in new.strategies))
    fitting = re.compile(re.escape(label.partition("-")[2]) + r"(-\d+)?")
    for path in newest_first(state_dir):
        may_count = new.realm == Realm.REAL or _date(path.name) == _date(run_id)
        if (may_count or fitting.fullmatch(path.name.partition("-")[2])) and (path / FIRST_SEGMENT).is_file():
            yield path
