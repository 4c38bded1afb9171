"""A live session: takes inputs, steps the engine, commits, publishes; opens and shuts the gate; ends in order."""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from lab.domain.events import GapFound, StrategyStopped
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Gate, Input, Quote, Stop, Timer
from lab.engine.engine import Engine
from lab.engine.parts import EngineFault
from lab.journal.codec import RUN_ENDED, RUN_STARTED, encode
from lab.journal.reasons import Reason
from lab.journal.report import build_report, end_state
from lab.journal.store import Journal, JournalError
from lab.journal.tape import TapeWriter
from lab.ports import Clock, FeedState, ProviderError, ProviderUnavailable, RunInfo, Subscription
from lab.session.assembly import Assembly
from lab.session.intake import Intake
from lab.session.publish import Publisher
from lab.session.seeding import Seeder
from lab.session.telling import describe, make_header, session_state, status_of, warmth

_TICK_S: Final = 0.5
_FLUSH_TICKS: Final = 10
_STOP_S: Final = 4.0
_REPORTERS_S: Final = 5.0


class Session:
    """One live run, from an assembly to its report. `run` does it all; `stop` may be called at any moment."""

    def __init__(
        self,
        assembly: Assembly,
        clock: Clock,
        journal: Journal,
        tape: TapeWriter,
        *,
        run_id: str,
        directory: Path | None,
        quiet: bool = False,
        say: Callable[[str], None],
    ) -> None:
        self.assembly = assembly
        self.clock = clock
        self.journal = journal
        self.tape = tape
        self.run_id = run_id
        self.directory = directory
        self.quiet = quiet
        self._say = say
        self.settings = assembly.settings
        self.symbol = assembly.settings.symbol
        self.intake = Intake([self.symbol], clock)
        self.engine: Engine | None = None
        self.seeder: Seeder | None = None
        self.publisher = Publisher(journal.since)
        self.reason: Reason | None = None
        self.detail = ""
        self.errors = 0
        self.waits = 0
        self.opened = False
        self.shut_seconds = 0.0
        self._shut_at: float | None = None
        self._began = clock.monotonic()
        self._stopping = anyio.Event()
        self._finished = anyio.Event()
        self.header: dict[str, Any] = {}
        self._holes: list[tuple[int, int]] = []

    # -- from outside ------------------------------------------------------------------------------------------------

    def stop(self, reason: Reason, detail: str = "") -> None:
        """Ask for the orderly end; a more serious reason replaces a milder one."""
        if self.reason is None or (self.reason.exit_code == 0 and reason.exit_code != 0):
            self.reason, self.detail = reason, detail or self.detail
        self._stopping.set()
        self.intake.wake()

    async def run(self, instrument: Instrument | None, tasks: TaskGroup) -> None:
        """Run to the end. ``tasks`` is where the provider's own tasks live.

        ``instrument`` is ``None`` where the provider could not tell yet: it is then asked again until it can.
        """
        self._began = self.clock.monotonic()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._deadline)
                if instrument is None:
                    instrument = await self._await_instrument()
                if instrument is not None:
                    await self._trade(instrument, group)
                group.cancel_scope.cancel()
        except (Exception, SystemExit) as error:
            self._fail(*_diagnose(error))
        self.conclude()

    # -- the run -----------------------------------------------------------------------------------------------------

    async def _await_instrument(self) -> Instrument | None:
        """Ask for the instrument until the provider tells, or the run is stopped."""
        wait = 1.0
        while self.reason is None:
            try:
                return await self.assembly.provider.component.instrument(self.symbol)
            except ProviderUnavailable as error:
                self.errors += 1
                self.waits += 1
                self.detail = str(error)
                self._say(f"waiting for the provider, asking again in {wait:g} s: {error}")
                self.intake.notice("instrument", state="unavailable", error=str(error))
            except ProviderError as error:
                self._fail(Reason.CONFIG, str(error))
                break
            with anyio.move_on_after(wait):
                await self._stopping.wait()
            wait = min(2 * wait, 30.0)
        return None

    async def _trade(self, instrument: Instrument, group: TaskGroup) -> None:
        """Start the engine and everything around it; return when the run has come to its end."""
        assembly = self.assembly
        body = assembly.describe("run", {self.symbol: instrument}, {})
        engine = self.engine = assembly.engine(body, archive=self.journal.outcome)
        self.journal.append_raw(RUN_STARTED, RUN_STARTED, encode(body), 0, 0)
        self.journal.append(engine.begin(), 0, 0)
        keep = engine.markets[self.symbol].history.keep
        self.seeder = Seeder(
            assembly.provider.component,
            self.intake,
            self.symbol,
            self.settings.interval_ns,
            need=assembly.lookback,
            keep=keep,
        )
        self.header = make_header(assembly, instrument, engine, run_id=self.run_id, directory=self.directory)
        self._commit(engine)
        self._consider(engine)
        async with anyio.create_task_group() as reporters:
            for part in assembly.reporters:
                reporters.start_soon(self._report, part.name, part.component)
            group.start_soon(self._stream)
            group.start_soon(self._seed)
            group.start_soon(self._watch, engine)
            try:
                await self._take_until_stopped(engine, group)
                await self._settle(engine)
            except (Exception, SystemExit) as error:
                self._fail(*_diagnose(error))
            self._write_end(engine)
            self.publisher.end()
            reporters.cancel_scope.deadline = anyio.current_time() + _REPORTERS_S

    async def _take_until_stopped(self, engine: Engine, group: TaskGroup) -> None:
        while self.reason is None:
            await self.intake.wait()
            self._process(engine)
            for first_ns, last_ns in self._holes:
                group.start_soon(self._fill_hole, first_ns, last_ns)
            self._holes.clear()

    def _process(self, engine: Engine) -> None:
        """Step everything that waits, commit once, then tell. Nothing was told before, so one commit serves all."""
        look = bool(engine.shut)
        for event in self.intake.take():
            if event.__class__ is not Quote:
                look = True
            self._step(engine, event)
        if self.journal.waiting:
            self._commit(engine)
        if look:
            self._consider(engine)

    def _step(self, engine: Engine, event: Input) -> None:
        number = self.tape.add(event)
        out = engine.step(event)
        if out:
            self.journal.append(out, engine.now_ns, number)
            for output in out:
                if isinstance(output, StrategyStopped):
                    self.errors += 1
                elif isinstance(output, GapFound):
                    self._holes.append((output.first_ns, output.last_ns))
            if all(seat.failed for seat in engine.seats):
                self.stop(Reason.PLUGIN, "every strategy has failed")

    def _commit(self, engine: Engine) -> None:
        self.tape.flush()
        self.publisher.publish(self.journal.commit({"run": end_state(engine, self._state())}))

    # -- the trading gate --------------------------------------------------------------------------------------------

    def _reasons(self, engine: Engine) -> tuple[str, ...]:
        """Return why no entry may be placed now; empty when trading is allowed."""
        reasons = []
        provider = self.assembly.provider.component
        if self.intake.state is not FeedState.LIVE:
            reasons.append(f"feed {self.intake.state.value}")
        elif provider.price_source == "quote":
            age = self.clock.monotonic() - self.intake.quote_at
            if age == float("inf"):
                reasons.append("no quote yet")
            elif age > provider.quote_silence_s:
                reasons.append("quote stale")
        history = engine.markets[self.symbol].history
        need = self.assembly.lookback
        if self.seeder is not None and not self.seeder.done:
            reasons.append("seeding")
        if history.count < need:
            reasons.append(f"warming {history.count}/{need}")
        return tuple(reasons)

    def _consider(self, engine: Engine) -> None:
        """Open or shut the trading gate where its reasons have changed."""
        reasons = self._reasons(engine)
        if reasons != engine.shut and not engine.stopping:
            self._note_shut(bool(reasons))
            self._step(engine, Gate(self.intake.now_ns(), reasons))
            self._commit(engine)

    def _note_shut(self, shut: bool) -> None:
        """Add up how long trading was not allowed after it first was."""
        now = self.clock.monotonic()
        if not shut:
            self.opened = True
            self.shut_seconds += now - self._shut_at if self._shut_at is not None else 0.0
            self._shut_at = None
        elif self.opened and self._shut_at is None:
            self._shut_at = now

    async def _watch(self, engine: Engine) -> None:
        """Notice what no event tells, twice a second: a quote growing stale, an order waiting in silence."""
        for tick in count(1):
            await anyio.sleep(_TICK_S)
            if tick % _FLUSH_TICKS == 0:
                self.tape.flush()
            if engine.stopping:
                continue
            if engine.working and self.clock.monotonic() - self.intake.quote_at > 1.0:
                self.intake.put(Timer(self.intake.now_ns()))
            if self._reasons(engine) != engine.shut:
                self.intake.put(Gate(self.intake.now_ns(), self._reasons(engine)))

    # -- tasks -------------------------------------------------------------------------------------------------------

    async def _deadline(self) -> None:
        seconds = self.settings.minutes * 60
        await anyio.sleep(max(0.0, self._began + seconds - self.clock.monotonic()))
        self.stop(Reason.COMPLETED)

    async def _stream(self) -> None:
        """Run the provider's stream; its end is the end of the data, its failure the end of the run."""
        wanted = [Subscription(self.symbol, self.settings.interval_ns)]
        try:
            await self.assembly.provider.component.stream(wanted, self.intake)
        except ProviderError as error:
            self._fail(Reason.PLUGIN, f"provider {self.assembly.provider.name}: {error}")
        except (Exception, SystemExit) as error:
            self._fail(Reason.PLUGIN, f"provider {self.assembly.provider.name} failed: {describe(error)}")
        else:
            self.intake.feed(FeedState.DOWN, "the data ended")
            self.stop(Reason.COMPLETED, "the data ended")

    async def _seed(self) -> None:
        if self.seeder is None:
            return
        try:
            await self.seeder.seed()
        except (Exception, SystemExit) as error:
            self.errors += 1
            self.seeder.done = True
            self.intake.notice("seeding", state="refused", error=describe(error))

    async def _fill_hole(self, first_ns: int, last_ns: int) -> None:
        if self.seeder is not None:
            await self.seeder.fill(first_ns, last_ns)

    async def _report(self, name: str, reporter: Any) -> None:
        """Run one reporter; its failure ends nothing but itself."""
        info = RunInfo(
            run_id=self.run_id,
            header=self.header,
            directory=self.directory,
            quiet=self.quiet,
            status=partial(status_of, self),
            report=self.report,
            candles=self._candles,
        )
        records: AsyncIterator[Any] = self.publisher.stream()
        try:
            await reporter.report(info, records)
        except (Exception, SystemExit) as error:
            self.errors += 1
            if not self._finished.is_set():
                self.intake.notice("reporter", name=name, error=describe(error))

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _settle(self, engine: Engine) -> None:
        """Cancel what works and close what is held, on a fresh price, within four seconds; what stays open is said."""
        live = self.intake.state is FeedState.LIVE and self._reasons(engine)[:1] != ("quote stale",)
        code = self.reason.code if self.reason else "stopped"
        stop = Stop(self.intake.now_ns(), code, self.settings.close_on_stop and live)
        self._step(engine, stop)
        self._commit(engine)
        with anyio.move_on_after(_STOP_S):
            while engine.working:
                await self.intake.wait()
                self._process(engine)

    def _write_end(self, engine: Engine | None) -> None:
        """Journal the end. A storage failure here is the reason of the end."""
        self._finished.set()
        reason = self.reason or Reason.UNKNOWN
        if reason.exit_code == 0:
            shortfall = self._shortfall(engine)
            if shortfall is not None and reason is Reason.COMPLETED:
                reason, self.detail = shortfall
                self.reason = reason
        body: dict[str, Any] = {"session": self._state()}
        if engine is not None:
            body = end_state(engine, self._state())
        body.update(reason=reason.code, exit_code=reason.exit_code, error=self.detail if reason.exit_code else "")
        body["tape_sha256"] = self.tape.digest()
        self.journal.append_raw(RUN_ENDED, RUN_ENDED, encode(body), engine.now_ns if engine else 0, self.tape.inputs)
        self.tape.close()
        self.publisher.publish(self.journal.commit())

    def _shortfall(self, engine: Engine | None) -> tuple[Reason, str] | None:
        """Return why a run whose time was up did not do what it was for, where it did not."""
        if engine is None:
            return Reason.NEVER_WARMED, f"the provider never told what {self.symbol} is: {self.detail}"
        if engine.markets[self.symbol].history.count < self.assembly.lookback:
            return Reason.NEVER_WARMED, warmth(self)
        totals = engine.totals
        if not totals.quotes and not totals.candles:
            return Reason.FEED_STALE, f"no market data came: feed {self.intake.state.value}"
        return None

    def elapsed(self) -> float:
        """Return the seconds since the run began, by the session's clock."""
        return self.clock.monotonic() - self._began

    def _state(self) -> dict[str, Any]:
        return session_state(self, ended=self._finished.is_set())

    def conclude(self) -> Mapping[str, Any]:
        """Write what the ordinary way could not, and return the report. Safe to call twice.

        Where the journal takes no more, the report says so in its place: it is then all there is.
        """
        if not self._finished.is_set():
            try:
                if self.engine is None:
                    body = self.assembly.describe("run", {}, {})
                    self.journal.append_raw(RUN_STARTED, RUN_STARTED, encode(body), 0, 0)
                self._write_end(self.engine)
            except (JournalError, OSError) as error:
                self._fail(Reason.STORAGE, str(error))
            self.publisher.end()
        report = dict(self.report())
        if report["reason"] == "unfinished" and self.reason is not None:
            reason = self.reason
            report.update(
                status=reason.status, reason=reason.code, exit_code=reason.exit_code, error=self.detail,
                error_count=max(self.errors, 1),
            )  # fmt: skip
        return report

    def _fail(self, reason: Reason, detail: str) -> None:
        self.errors += 1
        self.stop(reason, detail)

    # -- what others may know ----------------------------------------------------------------------------------------

    def report(self) -> Mapping[str, Any]:
        """Return the final report of what is committed."""
        return build_report(self.journal.reader())

    def _candles(self) -> list[Candle]:
        return list(self.engine.markets[self.symbol].history.candles) if self.engine else []


def _diagnose(error: BaseException) -> tuple[Reason, str]:
    """Return the reason and the text of what ended a run: storage and broker failures have their own."""
    leaves = [error]
    while groups := [leaf for leaf in leaves if isinstance(leaf, BaseExceptionGroup)]:
        leaves = [leaf for leaf in leaves if not isinstance(leaf, BaseExceptionGroup)]
        leaves += [inner for group in groups for inner in group.exceptions]
    for leaf in leaves:
        if isinstance(leaf, JournalError | OSError):
            return Reason.STORAGE, str(leaf)
    for leaf in leaves:
        if isinstance(leaf, EngineFault):
            return Reason.INTERNAL, str(leaf)
    return Reason.INTERNAL, describe(leaves[0])
