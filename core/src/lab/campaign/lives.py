"""Runs one simulated session: with its own faults, killed and resumed as often as they say."""

import asyncio
import contextlib
import io
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
from attrs import define, field, frozen

from lab.campaign.faults import KILL, STALL, OwnFault, split
from lab.composition.assembly import Assembly, assemble, layers_for
from lab.domain.control import TradingState
from lab.domain.events import OrderAccepted, OrderEnded, OrderFilled
from lab.domain.ledger import own_context
from lab.domain.time import SECOND_NS
from lab.errors import JournalError, LabError, describe_error
from lab.journal.codec import decode_as
from lab.journal.reader import JournalReader
from lab.plugins.discovery import Registry
from lab.ports import Provider
from lab.runs.cut_off import finalize_interrupted
from lab.runs.previous import newest_session
from lab.runs.result import RunResult
from lab.session.launch import VIRTUAL_START_NS, run_session
from lab.session.recovery import Interrupted, interrupted
from lab.session.signals import Interrupts
from lab.simulation.loop import SimLoop
from lab.simulation.network import SimNetwork

HEALING_S: Final = 90.0
"""The last seconds of a session, in which no fault is in force."""
LIVE_WITHIN_S: Final = 60.0
"""How soon after the last fault, or the last start, trading must be open."""
_DOWN_S: Final = (0.5, 25.0)
_GRACE_S: Final = 1.0
_LIMIT_S: Final = 1200.0


class Killed(BaseException):
    """The session was killed: its loop is dropped, and only what it had written counts."""


@frozen
class Plan:
    """One session: its seed, its length, and the faults in force."""

    seed: int
    minutes: float
    faults: tuple[str, ...]

    @property
    def healed_s(self) -> float:
        """When the last fault is over, in virtual seconds since the start."""
        return healed_s(self.minutes)


def healed_s(minutes: float) -> float:
    """Return when the last fault of a session is over, in virtual seconds since the start."""
    return max(1.0, minutes * 60 - HEALING_S)


@frozen
class Recipe:
    """What all sessions of a campaign have in common: what was typed for it."""

    options: Mapping[str, Any]
    sets: Sequence[str] = ()
    config: Path | None = None

    def assembly(self, registry: Registry, seed: int, minutes: float, more: Mapping[str, str], where: Path) -> Assembly:
        """Put a session together; ``more`` are settings of the provider. Raises as `assemble` does."""
        layers = layers_for(self.config, list(self.sets), self.options, {})
        for key, value in more.items():
            layers.put(self.options["run.provider"], key, value, "default")
        own = {
            "seed": str(seed), "minutes": str(minutes), "speed": "max", "start_timeout": "0", "no_write": "false",
            "state_dir": str(where), "reporters": [],
        }  # fmt: skip
        layers.add_command({f"run.{key}": (raw, "lab simulate") for key, raw in own.items()})
        return assemble(registry, layers, {}, reporters=False)


@frozen
class Cut:
    """A moment at which the session was killed: how many rows were committed, the last one's hash, what was held."""

    at_s: float
    rows: int
    head: bytes
    held: bool
    working: bool


@define
class Lived:
    """A session that came to its end, or could not."""

    plan: Plan
    directory: Path | None = None
    providers: list[Provider] = field(factory=list)
    """The provider of each life."""
    cuts: list[Cut] = field(factory=list)
    result: RunResult | None = None
    problem: str = ""
    """What kept the session from its end, or escaped it."""
    halted_by: tuple[str, ...] | None = None
    """Why trading was halted when it should have been open again; ``None`` where nobody could look."""
    left_over: str = ""
    """Tasks and connections that outlived the session."""
    overrun_s: float = 0.0
    """How much longer the last life took than its time."""


class StepClock:
    """A session's clock: durations from the loop, and a wall clock that steps when it is told to."""

    def __init__(self, start_ns: int) -> None:
        loop = asyncio.get_running_loop()
        self.monotonic = loop.time
        self._start_ns = start_ns

    def step(self, seconds: float) -> None:
        """Step the wall clock."""
        self._start_ns += round(seconds * SECOND_NS)

    def wall_ns(self) -> int:
        """Return UTC nanoseconds, as far as this clock knows."""
        return self._start_ns + round(self.monotonic() * SECOND_NS)


@own_context()
def live(recipe: Recipe, registry: Registry, plan: Plan, settings: Mapping[str, str], folder: Path) -> Lived:
    """Run a session to its end, in a folder; ``settings`` are the provider's. Raises what `assemble` raises."""
    lived = Lived(plan)
    own, _ = split(plan.faults)
    state_dir, began_s = folder / "now", 0.0
    kills = [fault for fault in own if fault.kind == KILL]
    others = [fault for fault in own if fault.kind != KILL]
    for number in range(len(kills) + 1):
        kill = kills[number] if number < len(kills) else None
        resumed, ended = _cut_off(state_dir)
        if ended is not None:  # it was killed behind its end
            finalize_interrupted(state_dir)
            break
        left = plan.minutes if resumed is not None else max(0.5, plan.minutes - began_s / 60)
        assembly = recipe.assembly(registry, plan.seed, left, settings, state_dir)
        lived.providers.append(assembly.provider.component)
        life = _Life(lived, assembly, state_dir, folder / "saved", began_s, kill, others)
        killed_s = life.run(resumed)
        if killed_s is None:
            break
        began_s = round(killed_s + Random(f"{plan.seed}/{number}/down").uniform(*_DOWN_S), 3)
    lived.directory = newest_session(state_dir)
    return lived


def _cut_off(state_dir: Path) -> tuple[Interrupted | None, Path | None]:
    """Return the session that can go on, or the one that has ended; neither where a new one has to begin."""
    newest = newest_session(state_dir)
    if newest is None:
        return None, None
    with contextlib.closing(JournalReader.open(newest)) as reader:
        if reader.count() == 0:
            return None, None  # killed before its first commit
        if reader.run_ended() is not None:
            return None, newest
        if not reader.run_started().instruments:
            return None, None
    return interrupted(state_dir, newest, same_time=True), None


@define
class _Life:
    """A session's life from its start, or resumption, to its end or to a kill."""

    lived: Lived
    assembly: Assembly
    state_dir: Path
    saved: Path
    began_s: float
    kill: OwnFault | None
    others: Sequence[OwnFault]
    _clock: StepClock | None = None
    _killed_s: float | None = None

    def run(self, resumed: Interrupted | None) -> float | None:
        """Live; return when it was killed, ``None`` where it came to its end."""
        seed = self.lived.plan.seed + len(self.lived.cuts)
        main = partial(self._main, resumed)
        options = {"loop_factory": partial(SimLoop, seed, self.began_s, self._strike, limit_s=self._limit_s)}
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # tracebacks, also of what a killed session leaves behind
                self.lived.result = anyio.run(main, backend="asyncio", backend_options=options)
        except Killed:
            shutil.rmtree(self.state_dir)
            self.saved.rename(self.state_dir)
        except LabError as error:
            self.lived.problem = f"it ended before it began: {describe_error(error)}"
        except (Exception, BaseExceptionGroup) as error:
            self.lived.problem = f"this escaped: {describe_error(error)}"
        return self._killed_s

    @property
    def _limit_s(self) -> float:
        return self.lived.plan.minutes * 60 + _LIMIT_S

    async def _main(self, resumed: Interrupted | None) -> RunResult:
        clock = self._clock = StepClock(VIRTUAL_START_NS)
        loop = asyncio.get_running_loop()
        result = await run_session(
            self.assembly, clock, wall_ns=clock.wall_ns, speed="max", interrupts=Interrupts(), quiet=True,
            say=lambda _: None, resumed=resumed,
        )  # fmt: skip
        whole_s = 60 * float(self.assembly.settings.minutes)
        before_s = resumed.state.duration_seconds if resumed is not None else 0.0
        self.lived.overrun_s = loop.time() - self.began_s - max(10.0, whole_s - before_s)
        assert isinstance(loop, SimLoop)
        await asyncio.sleep(_GRACE_S)
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine and task.get_name() != "fault_script"]
        if tasks or loop.net.connections:
            names = ", ".join(sorted(task.get_name().rpartition(".")[2] for task in tasks))
            self.lived.left_over = f"{len(tasks)} tasks ({names:.200}), {loop.net.connections} connections"
        return result

    async def _strike(self, net: SimNetwork) -> None:
        """Do to the session what its faults say, and look whether it trades when it should."""
        loop = net.loop
        look_s = max(self.lived.plan.healed_s, self.began_s) + LIVE_WITHIN_S
        due = [fault for fault in self.others if fault.at_s >= self.began_s]
        kill = self.kill
        if kill is not None:
            due = [*(fault for fault in due if fault.at_s < kill.at_s), kill]
        for fault in due:
            await asyncio.sleep(fault.at_s - loop.time())
            await self._do(fault, loop)
        await asyncio.sleep(look_s - loop.time())
        self.lived.halted_by = self._halted_by()

    async def _do(self, fault: OwnFault, loop: asyncio.AbstractEventLoop) -> None:
        assert isinstance(loop, SimLoop)
        if fault.kind == STALL:
            loop.stall(fault.value)
        elif fault.kind == KILL:
            for _ in range(int(fault.value)):
                await asyncio.sleep(0)
            self._killed_s = loop.time()
            self.lived.cuts.append(self._save(loop.time()))
            raise Killed
        elif self._clock is not None:
            self._clock.step(fault.value)

    def _save(self, at_s: float) -> Cut:
        """Keep what is written at this moment: it is what a kill leaves."""
        shutil.rmtree(self.saved, ignore_errors=True)
        if not self.state_dir.exists():
            self.state_dir.mkdir()
        shutil.copytree(self.state_dir, self.saved, symlinks=True)
        newest = newest_session(self.saved)
        if newest is None:
            return Cut(at_s, 0, b"", held=False, working=False)
        with contextlib.closing(JournalReader.open(newest)) as reader:
            head, count = b"", 0
            begun: dict[str, None] = {}
            for seq, _, _, kind, _, body, row_hash in reader.rows():
                head, count = row_hash, seq
                _follow(begun, kind, body)
            state = reader.run_state()
        held = state is not None and any(book.positions for book in state.books.values())
        return Cut(at_s, count, head, held=held, working=bool(begun))

    def _halted_by(self) -> tuple[str, ...] | None:
        """Return why trading is halted at this moment, as the journal says."""
        newest = newest_session(self.state_dir)
        if newest is None:
            return ("no session has begun",)
        try:
            with contextlib.closing(JournalReader.open(newest)) as reader:
                if reader.run_ended() is not None:
                    return None
                states = list(reader.events(TradingState))
        except JournalError as error:
            return (str(error),)
        return states[-1].halted_by if states else ("trading never opened",)


def _follow(begun: dict[str, None], kind: str, body: bytes) -> None:
    """Keep which orders are working, from row to row."""
    if kind not in {"order_accepted", "order_filled", "order_ended"}:
        return
    if kind == "order_accepted":
        begun[decode_as(OrderAccepted, body).order_id] = None
    elif kind == "order_ended":
        begun.pop(decode_as(OrderEnded, body).order_id, None)
    else:
        filled = decode_as(OrderFilled, body)
        if not filled.remaining:
            begun.pop(filled.fill.order_id, None)
