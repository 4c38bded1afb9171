"""Begins a session, or goes on with one that was cut off: its folder, journal and tape, and what earlier runs left."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from lab.composition.assembly import Assembly, check_leverage
from lab.domain.instrument import Instrument
from lab.errors import JournalError, RunError, StateRefused, message_of
from lab.exit_codes import CRASHES, EndReason
from lab.health.board import Board
from lab.journal.storage import Storage
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter
from lab.live.first_contact import FirstContact
from lab.live.health import as_beat
from lab.live.last_words import LastWords
from lab.live.recovery import Interrupted, Recovered, recover
from lab.live.session import Session
from lab.ports import Clock, Runtime
from lab.runs import directory as directories
from lab.runs.cut_off import finalize_interrupted
from lab.runs.directory import QUARANTINE
from lab.runs.failures import FailureLog
from lab.runs.lock import exclusive
from lab.runs.previous import running
from lab.runs.result import Echo, RunResult, labels_of
from lab.supervision.beats import Beats

NOT_BEGUN: Final = "stopped before the run began; nothing was written"


@define
class Outcome:
    """What a start came to so far, and at last its result, or the problem that ended it."""

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
        """Whether to start again would change nothing: the run has its end, whatever the process ends with."""
        ended = self.finished is not None and self.finished.exit_code not in CRASHES
        refused = self.session is not None and self.session.end.final
        return ended or refused or isinstance(self.problem, StateRefused)

    def beat(self) -> dict[str, object]:
        """Return what a supervisor is told: where the run is, once it is there, and how long it goes on."""
        left = self.session.seconds_left if self.session is not None else None
        told: dict[str, object] = {
            "directory": str(self.directory.absolute()) if self.directory else None, "seconds_left": left,
        }  # fmt: skip
        if self.board is not None:
            told |= {"health_port": self.health_port, "health": as_beat(self.board.read())}
        return told


@frozen(kw_only=True)
class Beginning:
    """What a session is begun with, once its provider has started."""

    assembly: Assembly
    clock: Clock
    outcome: Outcome
    runtime: Runtime
    start: FirstContact
    failures: FailureLog
    quiet: bool
    say: Echo
    storage: Storage

    async def run_new(self, started_ns: int) -> None:
        """Learn the instruments, make the directory and the journal, and run the session."""
        assembly, outcome, run = self.assembly, self.outcome, self.assembly.settings
        instruments = await self._ask()
        label = directories.run_label(started_ns, assembly.provider.name, "+".join(p.name for p in assembly.strategies))
        directory, left_out = None, tuple[str, ...]()
        if not run.no_write:
            outcome.held.enter_context(exclusive(run.state_dir))
            left_out = self._seal()
            outcome.directory = directories.create(run.state_dir, label)
            directory = outcome.directory.absolute()  # a component may change the working folder
            self.failures.directory = directory
            outcome.beats.keep_stacks(directory)
        run_id = directory.name if directory is not None else label
        labels = labels_of(run_id, started_ns, run.state_dir)
        try:
            outcome.held.enter_context(running(directory))
            journal = self.storage.journal(directory, durable=True, labels=labels)
            tape = self.storage.tape(directory)
        except JournalError as error:
            raise RunError(EndReason.STORAGE, message_of(error)) from None
        except OSError as error:
            raise RunError(EndReason.STORAGE, f"{directory}: {error}") from None
        await self._session(journal, tape, run_id, directory, left_out).run(instruments)

    async def resume(self, run: Interrupted) -> None:
        """Make the engine what it was when the run was cut off, and run the session on from there."""
        assembly, outcome, directory = self.assembly, self.outcome, run.directory.absolute()
        await self._ask()  # the run has the instruments; a provider learns what it needs
        outcome.held.enter_context(exclusive(assembly.settings.state_dir))
        outcome.directory, self.failures.directory = run.directory, directory
        try:
            outcome.held.enter_context(running(directory))
            directories.remove_leftovers(directory)
            directories.point_latest(directory)  # one that never began may have come after it
            outcome.beats.keep_stacks(directory)
            left_out = self._seal()
            journal = self.storage.journal(directory, durable=True, labels=None)
            recovered = await recover(run, assembly, journal, self.failures, self.storage.tape)
        except (JournalError, OSError) as error:
            raise RunError(EndReason.STORAGE, f"{message_of(error)}; start a new run without --resume") from None
        self.say(
            f"{directory.name} goes on: {recovered.tape.inputs} inputs taken again, {recovered.seconds_left:.0f} s left"
        )
        session = self._session(journal, recovered.tape, directory.name, directory, left_out, recovered)
        await session.run(run.started.instruments)

    def _session(
        self,
        journal: Journal,
        tape: TapeWriter,
        run_id: str,
        directory: Path | None,
        left_out: tuple[str, ...],
        recovered: Recovered | None = None,
    ) -> Session:
        session = self.outcome.session = Session(
            self.assembly,
            self.clock,
            journal,
            tape,
            run_id=run_id,
            directory=directory,
            hosts=self.runtime.hosts,
            quiet=self.quiet,
            start=self.start,
            failures=self.failures,
            recovered=recovered,
            board=self.outcome.board,
            left_out=left_out,
            last_words=self.outcome.last_words,
            make_reserve=self.storage.reserve,
        )
        self.outcome.held.callback(session.close)  # also where the run is cancelled from outside
        return session

    async def _ask(self) -> Mapping[str, Instrument] | None:
        """Learn the instruments; ``None`` where the provider can't be reached now."""
        run = self.assembly.settings
        self.start.provider.subscriptions(run.symbols, run.interval_ns)
        instruments = await self.start.ask()
        for instrument in (instruments or {}).values():
            check_leverage(instrument, run.leverage)
        self.assembly.declared  # noqa: B018 - read before anything is written, because it may be refused
        if self.outcome.interrupted:
            raise RunError(EndReason.STOPPED, NOT_BEGUN)
        return instruments

    def _seal(self) -> tuple[str, ...]:
        """Do what runs that were cut off need; one that is held is none of them. Return the entries of the report."""
        run = self.assembly.settings
        done = finalize_interrupted(run.state_dir, strict=run.strict_state)
        for name in done.finished:
            self.say(f"{name} was cut off before its end; its report is written now")
        for name in done.removed:
            self.say(f"{name} was cut off before it began; its folder is removed")
        for name, why in done.damaged.items():
            self.say(f"{name} is damaged and is put aside in {run.state_dir / 'runs' / QUARANTINE}: {why}")
        return done.degradations
