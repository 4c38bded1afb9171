"""Steps the engine in a live session: takes what waits, commits, publishes, opens and shuts the trading gate."""

from collections.abc import Callable, Sequence
from enum import Enum
from itertools import count
from typing import Final

import anyio
from attrs import define, field

from lab.composition.declared import Declared
from lab.domain.control import Command, CommandAction, Timer, TradingState
from lab.domain.events import GapFound
from lab.domain.inputs import Input
from lab.domain.market import Quote
from lab.domain.time import SECOND_NS
from lab.engine.engine import Engine
from lab.engine.history import History
from lab.errors import JournalWaits
from lab.journal.reserve import Reserve
from lab.journal.state import end_state
from lab.journal.store import Journal
from lab.journal.tape import FULL, TapeWriter
from lab.live.backfill import HistoryLoader
from lab.live.clock_watch import ClockWatch
from lab.live.inbox import Inbox
from lab.ports import Clock, FeedState, PriceSource, Record
from lab.records.run import SessionState

_TICK_S: Final = 0.5
_FLUSH_TICKS: Final = 10
_STOP_S: Final = 4.0
_KILL_S: Final = 10.0
_CANDLE_S: Final = 60.0
_AGAIN_S: Final = 1.0
_SLOW_S: Final = 1.0


class Price(Enum):
    """Whether there is a price to trade at."""

    FRESH = ""
    FEED_NOT_LIVE = "feed {state}"
    NO_QUOTE = "no quote yet"
    STALE_QUOTE = "quote stale"
    CLOCK = "clock"


@define
class Runner:
    """Steps one engine with what the inbox holds.

    ``pace`` is how many seconds of the clock a real one has. ``session_counters`` returns the session's part of the
    state. ``publish`` is given the rows of each commit, and none twice a second, and must not wait.
    """

    engine: Engine
    symbol: str
    declared: Declared
    lookback: int
    clock: Clock
    inbox: Inbox
    loader: HistoryLoader
    journal: Journal
    tape: TapeWriter
    publish: Callable[[Sequence[Record]], None]
    session_counters: Callable[[], SessionState]
    clocks: ClockWatch
    pace: float = 1.0
    reserve: Reserve | None = None
    held: str = ""
    """Why rows wait that can't be committed now; empty while none has to."""
    holds: int = 0
    """How often that happened."""
    slow_steps: int = 0
    """How many steps took more than a real second: none in virtual time, which stands still meanwhile."""
    slowest: tuple[float, Input | None] = (0.0, None)
    """Real seconds of the longest of those, and its input."""
    shut_seconds: float = 0.0
    first_ns: int = 0
    _look: bool = False
    _opened: bool = False
    _shut_at: float | None = None
    _gaps: list[tuple[int, int]] = field(factory=list)
    _slow_s: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._slow_s = _SLOW_S * self.pace

    @property
    def _history(self) -> History:
        return self.engine.state.markets[self.symbol].history

    @property
    def candles(self) -> int:
        """How many candles of history there are."""
        return self._history.count

    def process(self) -> list[tuple[int, int]]:
        """Step all waiting inputs, commit once, then publish: nothing is published before it is durable.

        Return the gaps found in the candles, as first and last opening time.
        """
        if (self.inbox.late or self._look) and not self.engine.state.halted_by and self.price() is not Price.FRESH:
            self.update_trading_state()  # first: what waits may be old, and the process may have stood still
        look, self._look = self._look or bool(self.engine.state.halted_by), False
        began = self.clock.monotonic()
        for event in self.inbox.take():
            if event.__class__ is not Quote:
                look = True
            self._step(event)
            ended = self.clock.monotonic()
            if ended - began > self._slow_s:
                self._note_slow(event, ended - began)
            began = ended
        if self.journal.waiting and not self.held:
            self.commit()
        if look:
            self.update_trading_state()
        gaps, self._gaps = self._gaps, []
        return gaps

    def commit(self) -> None:
        """Commit the rows of the steps so far, and publish them.

        Where the disk is full, or another program holds the journal, nothing is published, entries are refused, and
        `monitor` tries again.
        """
        try:
            self.tape.flush(sync=True)
            records = self.journal.commit(end_state(self.engine, self.session_counters()))
        except JournalWaits as error:
            self._hold(error.why)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._hold("the disk is full")
        else:
            self.publish(records)
            if self.held and (self.reserve is None or self.reserve.restore()):
                self.held, self._look = "", True
                self.inbox.wake()

    def _hold(self, why: str) -> None:
        if not self.held:
            self.holds += 1
            self._look = True
            self.inbox.wake()
        self.held = why
        if self.reserve is not None and why == "the disk is full":
            self.reserve.spend()

    def _step(self, event: Input) -> None:
        number = self.tape.add(event)
        if number == 1:
            self.first_ns = event.time_ns
        out = self.engine.step(event)
        if out:
            self.journal.append(out, self.engine.state.now_ns, number)
            self._gaps += [(output.first_ns, output.last_ns) for output in out if isinstance(output, GapFound)]

    def _note_slow(self, event: Input, seconds: float) -> None:
        self.slow_steps += 1
        if seconds / self.pace > self.slowest[0]:
            self.slowest = seconds / self.pace, event

    # -- the trading gate --------------------------------------------------------------------------------------------

    @property
    def _quoted(self) -> bool:
        return self.declared.price_source is PriceSource.QUOTE

    def price(self) -> Price:
        """Return whether there is a price to trade at, with the reason where there is none."""
        if self.inbox.state is not FeedState.LIVE:
            return Price.FEED_NOT_LIVE
        if self.inbox.is_unsure():
            return Price.CLOCK
        if not self._quoted:
            return Price.FRESH
        age = self.clock.monotonic() - self.inbox.quote_at
        if age == float("inf"):
            return Price.NO_QUOTE
        return Price.STALE_QUOTE if age > self.declared.quote_silence_s else Price.FRESH

    def halt_reasons(self) -> tuple[str, ...]:
        """Return why no entry may be placed now; empty when trading is allowed."""
        reasons = [self.held] if self.held else []
        price = self.price()
        if price is not Price.FRESH:
            reasons.append(price.value.format(state=self.inbox.state.value))
        warm_up = self.loader.warm_up
        if not warm_up.done:
            reasons.append("warm-up")
        if warm_up.candles < self.lookback:
            reasons.append(f"warming {warm_up.candles}/{self.lookback}")
        elif self.loader.waits:
            reasons.append("backfill")
        return tuple(reasons)

    def update_trading_state(self) -> None:
        """Open or shut the trading gate where its reasons have changed."""
        reasons = self.halt_reasons()
        if reasons != self.engine.state.halted_by and not self.engine.state.stopping:
            self._note_shut(bool(reasons))
            self._step(TradingState(self.inbox.now_ns(), reasons))
            if not self.held:
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

    async def monitor(self) -> None:
        """Look twice a second for what no event shows: a stale quote, or an order that waits without market data."""
        for tick in count(1):
            await anyio.sleep(_TICK_S)
            if self.held:
                self.commit()
            elif tick % _FLUSH_TICKS == 0:
                self.tape.flush_if_possible()
            self.publish(())
            self.inbox.tell_left_out()
            self.clocks.look()
            if self.engine.state.stopping:
                continue
            # Without quotes an order waits for the next candle, however long a candle is.
            if self._quoted and self.engine.state.working and self.clock.monotonic() - self.inbox.quote_at > 1.0:
                self.inbox.give(Timer(self.inbox.now_ns()))
            if self.engine.next_timer_ns <= self.inbox.now_ns():
                self.inbox.give(Timer(self.inbox.now_ns()))
            if self.halt_reasons() != self.engine.state.halted_by:
                self._look = True
                self.inbox.wake()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def wind_down(self, reason: str, *, close: bool, killed: Callable[[], tuple[str, str] | None]) -> None:
        """Cancel working orders and close positions, on a fresh price, within four seconds; the rest stays open.

        Without quotes the next price is a candle away; closing waits for it, but no longer. Once ``killed`` says who
        threw the kill switch and why, positions are closed whatever ``close`` says, as `_kill` does.
        """
        if killed() is None:
            await self._stop_in_order(reason, close, killed)
        thrown = killed()
        if thrown is not None:
            self._count_shut()
            await self._kill(*thrown)
        self.cancel_all(reason)

    async def _stop_in_order(self, reason: str, close: bool, killed: Callable[[], object]) -> None:
        priced = self.price() in {Price.FRESH, Price.NO_QUOTE}
        self._count_shut()
        soon = self._quoted or self._history.interval_ns <= _STOP_S * SECOND_NS
        # Where the equity is exhausted the engine has wound down already, and its closing orders are on their way.
        if not (self.engine.state.exhausted and self.engine.state.working):
            self._stop(reason, close and priced and soon)
        with anyio.move_on_after(_STOP_S):
            while self.engine.state.working and killed() is None:
                await self.inbox.wait()
                self.process()

    async def _kill(self, who: str, why: str) -> None:
        """Cancel what works, call no strategy again, and close every position at the first fresh price from now on.

        It waits ten seconds for that, without quotes a candle (a minute at most) longer; what is left stays open. An
        order that expired meanwhile is placed again once the price is fresh.
        """
        candle_s = 0.0 if self._quoted else min(self._history.interval_ns / SECOND_NS, _CANDLE_S)
        self._command(CommandAction.KILL, who, why)
        tried = self.clock.monotonic()
        with anyio.move_on_after(_KILL_S + candle_s):
            while True:
                self.process()  # first of all what waited when the switch was thrown
                if not self.engine.state.working:
                    if not self._holds or self.engine.state.failure is not None:
                        break
                    now = self.clock.monotonic()
                    if now - tried >= _AGAIN_S and self.price() is Price.FRESH:
                        tried = now
                        self._command(CommandAction.KILL, who, why)
                await self.inbox.wait()

    @property
    def _holds(self) -> bool:
        books = self.engine.state.books
        return any(held.quantity for book in books for held in book.ledger.positions.values())

    def cancel_all(self, reason: str) -> None:
        """Cancel every working order, so that each order has an end, and each liquidation, too."""
        if self.engine.state.working or self.engine.state.liquidating:
            self._stop(reason, close=False)

    def give_up(self, reason: str) -> None:
        """End every working order without another step, after a defect of the engine. No input may follow."""
        self.journal.append(self.engine.abandon(reason), self.engine.state.now_ns, self.tape.inputs)

    def _stop(self, reason: str, close: bool) -> None:
        self.journal.check()  # a stop on the tape without its rows would end the run that is resumed
        self._step(Command(self.inbox.now_ns(), CommandAction.STOP, "session", reason))
        if close:
            self._step(Command(self.inbox.now_ns(), CommandAction.FLATTEN, "session", reason))
        self.commit()

    def _command(self, action: CommandAction, who: str, why: str) -> None:
        self.journal.check()
        self._step(Command(self.inbox.now_ns(), action, who, why))
        self.commit()
