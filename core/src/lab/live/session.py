"""Runs a live session from its first row to its last: starts its parts, ends it, and makes its report."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from lab.composition.assembly import Assembly
from lab.composition.header import make_header, status_of
from lab.domain.instrument import Instrument
from lab.domain.time import format_time
from lab.engine.engine import Engine
from lab.errors import EngineError, JournalError, JournalWaits, RunError
from lab.exit_codes import EndReason
from lab.health.board import Board
from lab.journal.report import build_report, empty_state
from lab.journal.reserve import Reserve
from lab.journal.state import end_state, ended
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter
from lab.live.backfill import make_loaders
from lab.live.clock_watch import ClockWatch
from lab.live.first_contact import FirstContact
from lab.live.first_rows import committed, first_row, new_engine
from lab.live.health import HealthTeller
from lab.live.inbox import Inbox
from lab.live.lag import LagMonitor
from lab.live.last_words import LastWords
from lab.live.notices import tell
from lab.live.outcome import EndCause, shortfall, unwritten
from lab.live.provider_feed import ProviderFeed
from lab.live.recovery import LEAST_S, Recovered
from lab.live.reporters import LiveReporters
from lab.live.runner import Runner
from lab.live.status import added, halted_symbols, session_state, tripped
from lab.ports import Clock, Record, Status
from lab.records.report import Header, Report
from lab.records.run import RunStarted, SessionState
from lab.runs.failures import FailureLog
from lab.runs.switch import look

_LOOK_S: Final = 1.0


class Session:
    """One live run, from an assembly to its report. `run` runs it; `stop` may be called at any moment."""

    def __init__(
        self,
        assembly: Assembly,
        clock: Clock,
        journal: Journal,
        tape: TapeWriter,
        *,
        run_id: str,
        directory: Path | None,
        hosts: Collection[str] = (),
        quiet: bool = False,
        start: FirstContact,
        failures: FailureLog,
        recovered: Recovered | None = None,
        board: Board | None = None,
        left_out: tuple[str, ...] = (),
        last_words: LastWords,
        make_reserve: Callable[[Path], Reserve] = Reserve,
    ) -> None:
        self.assembly = assembly
        self.clock = clock
        self.journal = journal
        self.tape = tape
        self.reserve = None if directory is None else make_reserve(directory)
        self.run_id = run_id
        self.directory = directory
        self.hosts = hosts
        self.quiet = quiet
        self._start = start
        self.failures = failures
        self._recovered = recovered
        self.settings = assembly.settings
        pace = 1.0 if self.settings.speed == "max" else float(self.settings.speed)
        self.inbox = Inbox(
            assembly.settings.symbols,
            assembly.settings.interval_ns,
            clock,
            realm=assembly.declared.realm,
            pace=pace,
        )
        self.end = EndCause(failures, self.inbox.wake)
        self.feed = ProviderFeed(assembly, self.inbox, failures, stop=self.end.stop, failed=self.end.fail)
        self.lag = LagMonitor(self._note_lag, pace=pace)
        self.runner: Runner | None = None
        self.reporters: LiveReporters | None = None
        self._ends_s = start.began + self._seconds
        self._finished = anyio.Event()
        self.header: Header | None = None
        self._state_dir = assembly.settings.state_dir.absolute()  # a component may change the working folder
        self._left_out = left_out
        self.last_words = last_words
        self._health = HealthTeller(board, run_id) if board is not None else None

    # -- from outside ------------------------------------------------------------------------------------------------

    def stop(self, reason: EndReason, detail: str = "") -> None:
        """Ask for the orderly end; a more serious reason replaces a milder one."""
        self.end.stop(reason, detail)

    def kill(self, who: str, why: str) -> None:
        """Throw the kill switch: no strategy is called again, and positions are closed at the next fresh price."""
        self.end.kill(who, why)

    async def run(self, instruments: Mapping[str, Instrument] | None) -> None:
        """Run to the end.

        ``instruments`` are by symbol, in the run's order; ``None`` where the provider had no answer yet: it is then
        asked again until it has.
        """
        if self._recovered is not None:  # it closes what it holds, however long it took to begin
            self._ends_s = max(self._ends_s, self.clock.monotonic() + LEAST_S)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._deadline)
                group.start_soon(self._watch_files)
                if instruments is None:
                    instruments = await self._await_instruments()
                if instruments is not None:
                    await self._trade(instruments, group)
                group.cancel_scope.cancel()
        except BaseException as error:
            self.end.failed(error)
        self._conclude()

    # -- the run -----------------------------------------------------------------------------------------------------

    async def _await_instruments(self) -> Mapping[str, Instrument] | None:
        """Ask for the instruments until the provider answers, the time is over, or the run is stopped."""
        while self.end.reason is None:
            self.end.detail = self._start.cause
            self.inbox.notice("instrument", state="unavailable", error=self._start.cause)
            if self._start.given_up:
                self.stop(EndReason.NEVER_WARMED, self._start.given_up)  # its failed calls are counted already
                break
            await self._start.pause(self.end.asked)
            if self.end.reason is not None or self._start.given_up:
                continue
            try:
                instruments = await self._start.ask()
            except RunError as error:
                self.end.fail(error.reason, str(error))
                break
            if instruments is not None:
                self.end.detail = ""
                return instruments
        return None

    async def _trade(self, instruments: Mapping[str, Instrument], group: TaskGroup) -> None:
        """Start the engine and everything around it; return when the run has come to its end."""
        assembly = self.assembly
        engine = self._begin(instruments) if self._recovered is None else self._recovered.engine
        runner = self.runner = self._make_runner(engine)
        self.header = make_header(assembly, "run", engine, run_id=self.run_id, directory=self.directory)
        reporters = self.reporters = self._make_reporters(engine, self.header)
        if not await committed(runner, self.end, self.failures.say):
            self.end.fail(EndReason.STORAGE, f"{runner.held}: the run's first row was not written")
            self._write_end(engine)
            return
        if self._recovered is not None:
            self.inbox.resume_at(engine.state.now_ns)
            self.inbox.notice("session", state="resumed", cut_off=format_time(engine.state.now_ns))
            runner.first_ns = self._recovered.run.state.first_ns
            runner.process()
        runner.update_trading_state()
        reporters.start(real_time=self.settings.speed != "max")
        if self.settings.speed != "max":
            group.start_soon(self.lag.watch)
        group.start_soon(self.feed.stream)
        for loader in runner.loaders.values():
            group.start_soon(loader.run)
        group.start_soon(runner.monitor)
        try:
            await self._take_until_stopped(runner, group)
            code = self.end.reason.code if self.end.reason else EndReason.STOPPED.code
            await runner.wind_down(
                code, close=self.settings.close_on_stop or runner.engine.state.exhausted, killed=lambda: self.end.killed
            )
            self._check_components(runner)
        except BaseException as error:
            self.end.failed(error)
            if isinstance(error, EngineError):
                runner.give_up(str(error))
            elif not isinstance(error, JournalError):  # a journal that failed takes no row any more
                runner.cancel_all((self.end.reason or EndReason.UNKNOWN).code)
        self._write_end(engine)

    def _begin(self, instruments: Mapping[str, Instrument]) -> Engine:
        started, left_out = first_row(self.assembly, instruments, self.journal, self.run_id, self.directory)
        self._left_out += left_out
        return new_engine(self.assembly, started, self.journal, self.failures)

    def _make_runner(self, engine: Engine) -> Runner:
        loaders = make_loaders(
            self.assembly,
            self.inbox,
            {symbol: market.history for symbol, market in engine.state.markets.items()},
            failed=self.feed.history_failed,
            wall_ns=self.clock.wall_ns,
            state_dir=self._state_dir if self.directory is not None else None,
            pace=self.lag.pace,
        )
        return Runner(
            engine=engine,
            declared=self.assembly.declared,
            lookback=self.assembly.lookback,
            clock=self.clock,
            inbox=self.inbox,
            loaders=loaders,
            journal=self.journal,
            tape=self.tape,
            publish=self._publish,
            reserve=self.reserve,
            session_counters=self._state,
            clocks=ClockWatch(self.clock, self.inbox, self.lag.pace),
            pace=self.lag.pace,
        )

    def _make_reporters(self, engine: Engine, header: Header) -> LiveReporters:
        histories = [market.history for market in engine.state.markets.values()]
        return LiveReporters(
            self.assembly.reporters,
            self.journal,
            self.failures,
            run_id=self.run_id,
            header=header,
            directory=self.directory,
            quiet=self.quiet,
            status=partial(self._status, engine),
            candles=lambda: tuple([candle for history in histories for candle in history.candles]),
        )

    def _publish(self, records: Sequence[Record]) -> None:
        tell(records)
        if self.reporters is not None:
            self.reporters.publish(records)
        try:
            self._post_health()
        except Exception as error:  # a defect there is no reason to trade no more
            self.failures.note("the", "health server", "its figures", error)

    def _post_health(self) -> None:
        """Say how the session is, for whoever asks over HTTP; twice a second of real time at most."""
        ending = self.end.reason.code if self.end.reason is not None else ""
        if self._health is None or not (self._finished.is_set() or self._health.due(self.runner is not None)):
            return
        if self.runner is None:
            self._health.waiting(self._start.cause, self._state(), ending)
        else:
            status = self._status(self.runner.engine)
            self._health.running(self.runner, status, self._state(), self.elapsed(), ending)

    async def _take_until_stopped(self, runner: Runner, group: TaskGroup) -> None:
        while self.end.reason is None:
            await self.inbox.wait()
            if self.end.killed is not None:
                break  # what waits may be an order's cause
            for gap in runner.process():
                runner.loaders[gap.symbol].miss(gap.first_ns, gap.last_ns)
            self._check_components(runner)

    def _check_components(self, runner: Runner) -> None:
        """End the run where nobody can trade any more: broker or strategies have failed, or the equity is exhausted."""
        state, strategies = runner.engine.state, runner.engine.strategies
        if state.failure is None and not state.exhausted and not strategies[0].failed:
            return  # nearly always
        failure = state.failure
        if failure is not None and self.end.reason is not failure.reason:
            self.end.fail(failure.reason, str(failure))
        if state.exhausted:
            self.end.stop(EndReason.RISK_HALT, "every book was liquidated")
        if all(strategy.failed for strategy in strategies):
            self.end.stop(EndReason.PLUGIN, "every strategy has failed")

    def _note_lag(self, seconds: float, where: str) -> None:
        self.inbox.notice("lag", seconds=f"{seconds:.3f}", where=where)

    # -- tasks -------------------------------------------------------------------------------------------------------

    async def _deadline(self) -> None:
        await anyio.sleep(max(0.0, self._ends_s - self.clock.monotonic()))
        ending = self._recovered.ending if self._recovered is not None else None
        self.end.stop(ending or EndReason.COMPLETED)

    async def _watch_files(self) -> None:
        """Look for the files that end a session, each second of its clock, or of the real one where that is faster."""
        pause = _LOOK_S if self.settings.speed == "max" else _LOOK_S * min(1.0, float(self.settings.speed))
        while self.end.killed is None:
            self._publish(())
            if not self.journal.is_there() and self.end.reason is None:
                self.end.fail(EndReason.STORAGE, f"{self.journal.path}: was removed while the run went on")
            thrown = look(self._state_dir, self.directory)
            if thrown is not None and thrown.kills:
                self.kill(thrown.who, thrown.why)
            elif thrown is not None:
                self.stop(EndReason.STOPPED, thrown.why)
            await anyio.sleep(pause)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _write_end(self, engine: Engine | None) -> None:
        """Journal the end. A storage failure here is the reason of the end."""
        self._finished.set()
        reason = self.end.reason or EndReason.UNKNOWN
        if reason is EndReason.COMPLETED:
            missed = shortfall(self.runner, f"the provider never described {self._start.unknown}: {self.end.detail}")
            if missed is not None:
                reason, self.end.detail = missed
                self.end.reason = reason
        error = self.end.detail if reason.exit_code else ""
        if engine is not None:
            state = end_state(engine, self._state())
        else:
            state = replace(empty_state(self._undecided()), session=self._state())
        with self.last_words.in_time():
            record = ended(state, reason, error, tape_sha256=self.tape.digest())
            self.journal.append_record(record, engine.state.now_ns if engine else 0, self.tape.inputs)
            records = self._commit_end()
        self._publish(records)

    def _commit_end(self) -> Sequence[Record]:
        """Commit the last rows, in the reserve's room where the disk is full. Raises `JournalError`, ``OSError``."""
        try:
            self.tape.close()
            return self.journal.commit()
        except (JournalWaits, OSError):
            if self.reserve is None or self.reserve.spent:
                raise
            self.reserve.spend()
        self.tape.close()
        return self.journal.commit()

    def _state(self) -> SessionState:
        state = session_state(
            self.runner,
            self.inbox,
            self.header,
            hosts=self.hosts,
            reporters=self.reporters.degradations if self.reporters and not self._finished.is_set() else (),
            left_out=self._left_out,
            errors=self.errors,
            waits=self._start.failures,
            lagged=self.lag.times,
            seconds=self.elapsed(),
            ended=self._finished.is_set(),
        )
        return state if self._recovered is None else added(self._recovered.run.state, state)

    def conclude(self) -> Report:
        """Write the end after a failure of the ordinary way, and return the report. Safe to call twice.

        Raises `JournalError` where the journal holds no run.
        """
        self._conclude()
        return self.report()

    def _conclude(self) -> None:
        if not self._finished.is_set():
            try:
                if self.runner is None:
                    self.journal.append_record(self._undecided(), 0, 0)
                else:
                    self.runner.cancel_all((self.end.reason or EndReason.UNKNOWN).code)
                self._write_end(self.engine)
            except BaseException as error:
                self.end.failed(error)

    def wait_for_reporters(self, report: Report, hurried: Callable[[], bool]) -> bool:
        """Wait for the reporters as `LiveReporters.finish` does; return whether one of them did not end."""
        reporters, self.reporters = self.reporters, None
        return reporters is not None and reporters.finish(report, hurried)

    def close(self) -> None:
        """Close tape and journal. Reporters that nobody waited for, because the report failed, are left behind."""
        if self.reporters is not None:
            self.reporters.leave()
        with contextlib.suppress(OSError):
            self.tape.close()
        self.journal.close()
        if self.reserve is not None:
            self.reserve.close()

    def _undecided(self) -> RunStarted:
        """Return the start record of a run whose provider never described the instrument."""
        return self.assembly.describe("run", {}, {})

    # -- what others may know ----------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine | None:
        """The engine, once the instrument is known."""
        return self.runner.engine if self.runner is not None else None

    @property
    def errors(self) -> int:
        """How much went wrong so far; a strategy that was stopped counts once."""
        stopped = sum(strategy.failed for strategy in self.engine.strategies) if self.engine is not None else 0
        return self.end.errors + self._start.failures + self.feed.history_failures + stopped

    def elapsed(self) -> float:
        """Return the seconds since the provider was first called, by the session's clock."""
        return self.clock.monotonic() - self._start.began

    def report(self) -> Report:
        """Return the final report of the committed rows, or of the end itself where the journal could not take it."""
        report = build_report(self.journal.reader())
        if report.reason == "unfinished" and self.end.reason is not None:
            return unwritten(report, self.end.reason, self.end.detail, self.errors)
        return report

    @property
    def _seconds(self) -> float:
        """How long this session lasts, by its clock."""
        return self.settings.minutes * 60 if self._recovered is None else self._recovered.seconds_left

    @property
    def seconds_left(self) -> float:
        """How long it goes on, by its clock."""
        return max(0.0, self._ends_s - self.clock.monotonic())

    def _status(self, engine: Engine) -> Status:
        why = (*engine.state.halt_reasons, *halted_symbols(engine), *tripped(engine))
        return status_of(engine, seconds_left=self.seconds_left, feed=self.inbox.state, why_not_trading=why)
