"""The engine at work in a live session: what waits is stepped, committed, then told; the gate opens and shuts."""

from collections.abc import Callable
from itertools import count
from typing import Final

import anyio
from attrs import define, field

from lab.domain.control import Command, CommandAction, Timer, TradingState
from lab.domain.events import GapFound
from lab.domain.inputs import Input
from lab.domain.market import Quote
from lab.domain.time import SECOND_NS
from lab.engine.engine import Engine
from lab.engine.history import History
from lab.journal.state import end_state
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter
from lab.ports import Clock, FeedState, Provider
from lab.records.run import SessionState
from lab.reporting.publisher import Publisher
from lab.session.backfill import HistoryLoader
from lab.session.inbox import Inbox

_TICK_S: Final = 0.5
_FLUSH_TICKS: Final = 10
_STOP_S: Final = 4.0


@define
class Runner:
    """Steps one engine with what the intake holds. ``tell`` returns the session's own part of the committed state."""

    engine: Engine
    symbol: str
    provider: Provider
    lookback: int
    clock: Clock
    intake: Inbox
    seeder: HistoryLoader
    journal: Journal
    tape: TapeWriter
    publisher: Publisher
    tell: Callable[[], SessionState]
    shut_seconds: float = 0.0
    first_ns: int = 0
    _look: bool = False
    _opened: bool = False
    _shut_at: float | None = None
    _holes: list[tuple[int, int]] = field(factory=list)

    @property
    def _history(self) -> History:
        return self.engine.state.markets[self.symbol].history

    def process(self) -> list[tuple[int, int]]:
        """Step everything that waits, commit once, then tell; nothing was told before, so one commit serves all.

        Return the holes found in the candles, as first and last opening time.
        """
        look, self._look = self._look or bool(self.engine.state.halted_by), False
        for event in self.intake.take():
            if event.__class__ is not Quote:
                look = True
            self._step(event)
        if self.journal.waiting:
            self.commit()
        if look:
            self.consider()
        holes, self._holes = self._holes, []
        return holes

    def commit(self) -> None:
        """Make durable what was stepped, and publish it."""
        self.tape.flush()
        self.publisher.publish(self.journal.commit(end_state(self.engine, self.tell())))

    def _step(self, event: Input) -> None:
        number = self.tape.add(event)
        if number == 1:
            self.first_ns = event.time_ns
        out = self.engine.step(event)
        if out:
            self.journal.append(out, self.engine.state.now_ns, number)
            self._holes += [(output.first_ns, output.last_ns) for output in out if isinstance(output, GapFound)]

    # -- the trading gate --------------------------------------------------------------------------------------------

    def reasons(self) -> tuple[str, ...]:
        """Return why no entry may be placed now; empty when trading is allowed."""
        reasons = []
        if self.intake.state is not FeedState.LIVE:
            reasons.append(f"feed {self.intake.state.value}")
        elif self.provider.price_source == "quote":
            age = self.clock.monotonic() - self.intake.quote_at
            if age == float("inf"):
                reasons.append("no quote yet")
            elif age > self.provider.quote_silence_s:
                reasons.append("quote stale")
        if not self.seeder.done:
            reasons.append("seeding")
        candles = self._history.count
        if candles < self.lookback:
            reasons.append(f"warming {candles}/{self.lookback}")
        return tuple(reasons)

    def consider(self) -> None:
        """Open or shut the trading gate where its reasons have changed."""
        reasons = self.reasons()
        if reasons != self.engine.state.halted_by and not self.engine.state.stopping:
            self._note_shut(bool(reasons))
            self._step(TradingState(self.intake.now_ns(), reasons))
            self.commit()

    def _note_shut(self, shut: bool) -> None:
        """Add up how long trading was not allowed after it first was."""
        if not shut:
            self._opened = True
            self._count_shut()
        elif self._opened and self._shut_at is None:
            self._shut_at = self.clock.monotonic()

    def _count_shut(self) -> None:
        if self._shut_at is not None:
            self.shut_seconds += self.clock.monotonic() - self._shut_at
            self._shut_at = None

    async def watch(self) -> None:
        """Notice what no event tells, twice a second: a quote growing stale, an order waiting in silence."""
        for tick in count(1):
            await anyio.sleep(_TICK_S)
            if tick % _FLUSH_TICKS == 0:
                self.tape.flush()
            if self.engine.state.stopping:
                continue
            # Where candles are all there is, an order waits for the next one, however long a candle is.
            quoted = self.provider.price_source == "quote"
            if quoted and self.engine.state.working and self.clock.monotonic() - self.intake.quote_at > 1.0:
                self.intake.put(Timer(self.intake.now_ns()))
            if self.reasons() != self.engine.state.halted_by:
                self._look = True
                self.intake.wake()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def settle(self, reason: str, *, close: bool) -> None:
        """Cancel what works and close what is held, on a fresh price, within four seconds; what stays open is said.

        Where candles are all there is, the next price is a candle away: closing waits for none longer than that.
        """
        live = self.intake.state is FeedState.LIVE and self.reasons()[:1] != ("quote stale",)
        self._count_shut()
        soon = self.provider.price_source == "quote" or self._history.interval_ns <= _STOP_S * SECOND_NS
        self._stop(reason, close and live and soon)
        with anyio.move_on_after(_STOP_S):
            while self.engine.state.working:
                await self.intake.wait()
                self.process()
        self.abandon(reason)

    def abandon(self, reason: str) -> None:
        """Cancel what still works, so that no order is left without an end."""
        if self.engine.state.working:
            self._stop(reason, close=False)

    def _stop(self, reason: str, close: bool) -> None:
        self._step(Command(self.intake.now_ns(), CommandAction.STOP, "session", reason))
        if close:
            self._step(Command(self.intake.now_ns(), CommandAction.FLATTEN, "session", reason))
        self.commit()
