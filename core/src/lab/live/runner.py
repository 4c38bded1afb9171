"""Steps the engine in a live session: takes what waits, commits, publishes, opens and shuts the trading gate."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import count
from typing import Final

import anyio
from attrs import define, field

from lab.composition.declared import Declared
from lab.domain.control import Command, CommandAction, SymbolState, Timer, TradingState
from lab.domain.events import GapFound
from lab.domain.inputs import Input
from lab.domain.market import Quote
from lab.domain.time import SECOND_NS
from lab.engine.engine import Engine
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

    Of several symbols each has a trading gate of its own, beside that of the session; with one, they are one gate.
    ``pace`` is how many seconds of the clock a real one has. ``session_counters`` returns the session's part of the
    state. ``publish`` is given the rows of each commit, and none twice a second, and must not wait.
    """

    engine: Engine
    declared: Declared
    lookback: int
    clock: Clock
    inbox: Inbox
    loaders: Mapping[str, HistoryLoader]
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
    _gaps: list[GapFound] = field(factory=list)
    _any_halted: bool = True
    """Whether entries of one symbol of several are halted."""
    _slow_s: float = field(init=False)
    _several: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._slow_s = _SLOW_S * self.pace
        self._several = len(self.loaders) > 1

    @property
    def candles(self) -> int:
        """How many candles of history there are, of several symbols of the one that has most."""
        return max(market.history.count for market in self.engine.state.markets.values())

    def process(self) -> list[GapFound]:
        """Step all waiting inputs, commit once, then publish: nothing is published before it is durable.

        Return the gaps found in the candles.
        """
        if (self.inbox.late or self._look) and self._is_open_without_price():
            self.update_trading_state()  # first: what waits may be old, and the process may have stood still
        halted = bool(self.engine.state.halted_by) or (self._several and self._any_halted)
        look, self._look = self._look or halted, False
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
            self._gaps += [output for output in out if isinstance(output, GapFound)]

    def _note_slow(self, event: Input, seconds: float) -> None:
        self.slow_steps += 1
        if seconds / self.pace > self.slowest[0]:
            self.slowest = seconds / self.pace, event

    # -- the trading gate --------------------------------------------------------------------------------------------

    @property
    def _quoted(self) -> bool:
        return self.declared.price_source is PriceSource.QUOTE

    def price(self, symbol: str) -> Price:
        """Return whether there is a price of a symbol to trade at, with the reason where there is none."""
        feed = self._feed()
        return self._quote(symbol) if feed is Price.FRESH else feed

    def _feed(self) -> Price:
        if self.inbox.state is not FeedState.LIVE:
            return Price.FEED_NOT_LIVE
        return Price.CLOCK if self.inbox.is_unsure() else Price.FRESH

    def _quote(self, symbol: str) -> Price:
        if not self._quoted:
            return Price.FRESH
        age = self.clock.monotonic() - self.inbox.quote_at[symbol]
        if age == float("inf"):
            return Price.NO_QUOTE
        return Price.STALE_QUOTE if age > self.declared.quote_silence_s else Price.FRESH

    def _is_open_without_price(self) -> bool:
        """Return whether entries of a symbol may be placed though there is no price to trade at."""
        state = self.engine.state
        if state.halted_by:
            return False
        return any(
            not market.halted_by and self.price(symbol) is not Price.FRESH for symbol, market in state.markets.items()
        )

    def halt_reasons(self, symbol: str = "") -> tuple[str, ...]:
        """Return why no entry may be placed now; empty when trading is allowed.

        Of several symbols, what is true of the session, or with a ``symbol`` what is true of that one alone.
        """
        reasons = []
        if not symbol:
            reasons += [self.held] if self.held else []
            feed = self._feed()
            if feed is not Price.FRESH:
                reasons.append(feed.value.format(state=self.inbox.state.value))
            if self._several:
                return tuple(reasons)
            (symbol,) = self.loaders
            quote = self._quote(symbol) if feed is Price.FRESH else Price.FRESH
        else:
            quote = self._quote(symbol)
        if quote is not Price.FRESH:
            reasons.append(quote.value)
        loader = self.loaders[symbol]
        if not loader.warm_up.done:
            reasons.append("warm-up")
        if loader.warm_up.candles < self.lookback:
            reasons.append(f"warming {loader.warm_up.candles}/{self.lookback}")
        elif loader.waits:
            reasons.append("backfill")
        return tuple(reasons)

    def _changes(self) -> list[TradingState | SymbolState]:
        """Return the trading states that are others now, those of symbols before that of the session."""
        state, found = self.engine.state, list[TradingState | SymbolState]()
        if self._several:
            for symbol, market in state.markets.items():
                own = self.halt_reasons(symbol)
                if own != market.halted_by:
                    found.append(SymbolState(self.inbox.now_ns(), symbol, own))
        reasons = self.halt_reasons()
        if reasons != state.halted_by:
            found.append(TradingState(self.inbox.now_ns(), reasons))
        return found

    def update_trading_state(self) -> None:
        """Open or shut the trading gates where their reasons have changed."""
        state = self.engine.state
        if state.stopping or not (changes := self._changes()):
            return
        if self._several:
            own = {symbol: market.halted_by for symbol, market in state.markets.items()}
            own |= {one.symbol: one.halted_by for one in changes if isinstance(one, SymbolState)}
            self._any_halted = any(own.values())
            self._note_shut(bool(self.halt_reasons()) or all(own.values()))
        else:
            self._note_shut(bool(changes[0].halted_by))
        for change in changes:
            self._step(change)
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
            if self._quoted and self.engine.state.working and self._waits_for_quotes():
                self.inbox.give(Timer(self.inbox.now_ns()))
            if self.engine.next_timer_ns <= self.inbox.now_ns():
                self.inbox.give(Timer(self.inbox.now_ns()))
            if self._changes():
                self._look = True
                self.inbox.wake()

    def _waits_for_quotes(self) -> bool:
        """Return whether an order works whose symbol has had no quote for a second."""
        then, quote_at = self.clock.monotonic() - 1.0, self.inbox.quote_at
        return any(quote_at[open_.order.symbol] < then for open_ in self.engine.state.working.values())

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
        priced = any(self.price(symbol) in {Price.FRESH, Price.NO_QUOTE} for symbol in self._held or self.loaders)
        self._count_shut()
        soon = self._quoted or self._interval_ns <= _STOP_S * SECOND_NS
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
        candle_s = 0.0 if self._quoted else min(self._interval_ns / SECOND_NS, _CANDLE_S)
        self._command(CommandAction.KILL, who, why)
        tried = self.clock.monotonic()
        with anyio.move_on_after(_KILL_S + candle_s):
            while True:
                self.process()  # first of all what waited when the switch was thrown
                if not self.engine.state.working:
                    if not self._held or self.engine.state.failure is not None:
                        break
                    now = self.clock.monotonic()
                    if now - tried >= _AGAIN_S and any(self.price(symbol) is Price.FRESH for symbol in self._held):
                        tried = now
                        self._command(CommandAction.KILL, who, why)
                await self.inbox.wait()

    @property
    def _held(self) -> list[str]:
        """The symbols of which something is held."""
        books = self.engine.state.books
        return [symbol for book in books for symbol, held in book.ledger.positions.items() if held.quantity]

    @property
    def _interval_ns(self) -> int:
        return next(iter(self.engine.state.markets.values())).history.interval_ns

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
