"""A simulated session's life, from its start, or resumption, to its end or to what cuts it off."""

import asyncio
import contextlib
import io
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import msgspec
from attrs import define, field

from lab.campaign.cuts import Cut, halted_by, saved
from lab.campaign.disk import Disk, storage_on
from lab.campaign.faults import CRASH, EIO, FULL, KILL, LAG, STALL, WALL, OwnFault
from lab.campaign.plan import LIVE_WITHIN_S, Lived
from lab.campaign.pulse import Pulse
from lab.campaign.watch import Watch
from lab.composition.assembly import Assembly
from lab.domain.time import SECOND_NS
from lab.errors import LabError, RunError, describe_error
from lab.exit_codes import EndReason
from lab.live.launch import VIRTUAL_START_NS, run_session
from lab.live.recovery import Interrupted
from lab.live.signals import Interrupts
from lab.records.report import Report
from lab.runs.directory import REPORT_NAME
from lab.runs.previous import newest_session
from lab.runs.result import RunResult
from lab.simulation.loop import SimLoop
from lab.simulation.network import SimNetwork

_GRACE_S: Final = 1.0
_LOOKS: Final = 3
_TURNS_S: Final = 5.0
"""The longest that the turns before a kill take, where each turn is slow."""
_LIMIT_S: Final = 1200.0
_STOPS_S: Final = 6.0
"""How long after its disk has failed a session may take to end."""


class Killed(BaseException):
    """The session was killed: its loop is dropped, and only what it had written counts."""


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


@define(eq=False)
class Life:
    """One life. ``end`` is the fault that cuts it off; ``others`` are those of all lives."""

    lived: Lived
    assembly: Assembly
    state_dir: Path
    saved: Path
    began_s: float
    end: OwnFault | None
    others: Sequence[OwnFault]
    _resumed: Interrupted | None = None
    _loop: SimLoop | None = None
    _clock: StepClock | None = None
    _disk: Disk | None = None
    _pulse: Pulse | None = None
    _killed_s: float | None = None
    _kept: list[tuple[float, float]] = field(factory=list)
    """When the loop was kept from turning, and how long."""

    def run(self, resumed: Interrupted | None) -> float | None:
        """Live; return when it was cut off, ``None`` where it came to its end."""
        self._resumed = resumed
        seed = self.lived.plan.seed + len(self.lived.cuts)
        limit_s = self.lived.plan.minutes * 60 + _LIMIT_S
        options = {"loop_factory": partial(SimLoop, seed, self.began_s, self._strike, limit_s=limit_s)}
        result, problem = None, ""
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # tracebacks, also of what a killed session leaves behind
                result = anyio.run(self._main, backend="asyncio", backend_options=options)
        except Killed:
            pass
        except LabError as error:
            problem = f"it ended before it began: {describe_error(error)}"
            if isinstance(error, RunError) and error.reason is EndReason.STORAGE and self._failed:
                problem = ""
        except (Exception, BaseExceptionGroup) as error:
            problem = f"this escaped: {describe_error(error)}"
        return self._came_to(result, problem)

    def _came_to(self, result: RunResult | None, problem: str) -> float | None:
        """Note how it ended; return when it was cut off."""
        lived, disk, loop = self.lived, self._disk, self._loop
        if disk is not None:
            lived.wrong += disk.watch.wrong
            lived.wrong += self._pulse.wrong if self._pulse is not None else []
            lived.commits += disk.watch.commits
            lived.no_room = bool(disk.refused)
        if self._killed_s is not None:
            if disk is not None:
                disk.close()
            shutil.rmtree(self.state_dir)
            self.saved.rename(self.state_dir)
            return self._killed_s
        lived.problem = problem
        if disk is None or disk.failed_s is None or problem or loop is None:
            lived.result = result
            return None
        took_s = loop.time() - disk.failed_s - _GRACE_S - self._kept_s(disk.failed_s)
        lived.wrong += self._after_failure(result, took_s)
        lived.cuts.append(Cut(EIO, disk.failed_s, disk.watch.shown, disk.watch.head))
        return loop.time()

    @property
    def _failed(self) -> bool:
        return self._disk is not None and self._disk.failed_s is not None

    def _after_failure(self, result: RunResult | None, took_s: float) -> Sequence[str]:
        """Return what is wrong with how a session ended whose disk had failed."""
        if took_s > _STOPS_S:
            return [f"I11: its disk failed, and it went on for {took_s:.1f} s"]
        if result is None:
            return ()
        code = EndReason.STORAGE.exit_code
        if result.exit_code != code:
            return [f"I11: its disk failed, and it ended {result.report.reason} ({result.exit_code})"]
        newest = newest_session(self.state_dir)
        try:
            path = (newest or self.state_dir) / REPORT_NAME
            written = msgspec.json.decode(path.read_bytes(), type=Report)
        except (OSError, msgspec.DecodeError) as error:
            return [f"I9: its disk failed, and the report: {error}"]
        return [] if written.exit_code == code else [f"I9: its disk failed, and the report says {written.exit_code}"]

    async def _main(self) -> RunResult:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        self._loop, clock = loop, StepClock(VIRTUAL_START_NS)
        self._clock = clock
        pulse = self._pulse = Pulse(loop.time, self._kept_s)
        watch = Watch(loop.time, lambda: len(asyncio.all_tasks(loop)), lambda: loop.net.connections, pulse.gate)
        disk = self._disk = Disk(self._crash, self._stall, watch)
        self._arm(disk)
        resumed = self._resumed
        result = await run_session(
            self.assembly, clock, wall_ns=clock.wall_ns, speed="max", interrupts=Interrupts(), quiet=True,
            say=lambda _: None, resumed=resumed, storage=storage_on(disk), beats=pulse,
        )  # fmt: skip
        pulse.over()
        whole_s = 60 * float(self.assembly.settings.minutes)
        before_s = resumed.state.duration_seconds if resumed is not None else 0.0
        self.lived.overrun_s = loop.time() - self.began_s - max(10.0, whole_s - before_s)
        await asyncio.sleep(_GRACE_S)
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine and task.get_name() != "fault_script"]
        if tasks or loop.net.connections:
            names = ", ".join(sorted(task.get_name().rpartition(".")[2] for task in tasks))
            self.lived.left_over = f"{len(tasks)} tasks ({names:.200}), {loop.net.connections} connections"
        return result

    # -- faults ------------------------------------------------------------------------------------------------------

    def _arm(self, disk: Disk) -> None:
        """Let a fault that was due before this life strike from its first operation on."""
        end = self.end
        if end is not None and end.at_s <= self.began_s:
            self._begin(end, disk)
        for fault in self.others:
            if fault.lasts_s and fault.at_s < self.began_s < fault.at_s + fault.lasts_s:
                self._begin(fault, disk)

    @staticmethod
    def _begin(fault: OwnFault, disk: Disk) -> None:
        if fault.kind == CRASH:
            disk.left = int(fault.value)
        elif fault.kind == EIO:
            disk.failure = int(fault.value)
        elif fault.kind == FULL:
            disk.full = True
        elif fault.kind == LAG:
            disk.lag_s = fault.value

    @staticmethod
    def _end(fault: OwnFault, disk: Disk) -> None:
        if fault.kind == FULL:
            disk.full = False
        elif fault.kind == LAG:
            disk.lag_s = 0.0

    async def _strike(self, net: SimNetwork) -> None:
        """Do to the session what its faults say, and look whether it trades when it should."""
        loop = net.loop
        assert isinstance(loop, SimLoop)
        self._loop = loop
        look_s = max(self.lived.plan.healed_s, self.began_s) + LIVE_WITHIN_S
        for at_s, _, fault, over in self._due():
            await asyncio.sleep(at_s - loop.time())
            await self._do(fault, loop, over=over)
        await asyncio.sleep(look_s - loop.time())
        for _ in range(_LOOKS):  # a candle of before the last fault may be fetched at that very moment
            self.lived.halted_by = halted_by(self.state_dir)
            if not self.lived.halted_by:
                break
            await asyncio.sleep(1)

    def _due(self) -> list[tuple[float, int, OwnFault, bool]]:
        """Return what happens in this life, by time: the beginning of each fault, and the end of those that last."""
        faults = [fault for fault in self.others if fault.at_s >= self.began_s]
        end = self.end
        if end is not None:
            faults.append(end)
        due = [(fault.at_s, number, fault, False) for number, fault in enumerate(faults)]
        due += [
            (fault.at_s + fault.lasts_s, -1, fault, True)
            for fault in self.others
            if fault.lasts_s and fault.at_s + fault.lasts_s > self.began_s
        ]
        if end is not None and end.kind == KILL:
            due = [one for one in due if one[0] < end.at_s or one[2] is end]
        return sorted(due, key=lambda one: one[:2])

    def _stall(self, seconds: float) -> None:
        """Let time pass in which nothing else happens."""
        if self._loop is not None:
            self._kept.append((self._loop.time(), seconds))
            self._loop.stall(seconds)

    def _kept_s(self, since_s: float = 0.0) -> float:
        return sum(seconds for at_s, seconds in self._kept if at_s >= since_s)

    async def _do(self, fault: OwnFault, loop: SimLoop, *, over: bool) -> None:
        if fault.kind == STALL:
            self._stall(fault.value)
        elif fault.kind == WALL and self._clock is not None:
            self._clock.step(fault.value)
        elif fault.kind == KILL:
            until = loop.time() + _TURNS_S
            for _ in range(int(fault.value)):
                if loop.time() < until:
                    await asyncio.sleep(0)
            self._crash()
        elif self._disk is not None and not over:
            if fault is not self.end or fault.at_s > self.began_s:
                self._begin(fault, self._disk)
        elif self._disk is not None:
            self._end(fault, self._disk)

    def _crash(self) -> None:
        """Kill the session: what is written at this moment is all that is left of it."""
        loop, disk, end = self._loop, self._disk, self.end
        if self._killed_s is None and loop is not None and end is not None:
            self._killed_s = loop.time()
            if self._pulse is not None:
                self._pulse.over()
            fresh = disk is None or not disk.watch.commits
            cut = Cut(end.kind, loop.time(), recovering=self._resumed is not None and fresh)
            cut = saved(self.state_dir, self.saved, cut)
            self.lived.cuts.append(cut)
            if disk is not None and disk.watch.shown > cut.rows:
                self.lived.wrong.append(f"I4: {disk.watch.shown} rows were shown, and {cut.rows} are on the disk")
            loop.abandon(Killed())
        raise Killed
