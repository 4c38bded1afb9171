"""The engine: one `step`, fed by a live session, a file, a tape or a simulation alike.

Order of a step: timers that fell due; resting orders meet the event; history, quote and marks follow; then strategies
decide, gates review and the broker accepts. So no order can fill on the event that caused it. Bound methods are
collected once, to keep the way from an event to a decision short.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal, localcontext
from functools import partial
from typing import Any, Final

from lab.domain.control import ClockStepped, Command, CommandAction, Notice, SymbolState, Timer, TradingState
from lab.domain.events import Deposited
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.ledger import EXACT, ZERO
from lab.domain.margin import AccountMode, MarginMode
from lab.domain.market import (
    BACKFILLED,
    FINAL,
    Backfill,
    Candle,
    Depth,
    Funding,
    Quote,
    Trade,
)
from lab.engine.bound_broker import BoundBroker
from lab.engine.candle_order import CandleOrder
from lab.engine.checks import validated_actions
from lab.engine.clock_steps import ClockSteps
from lab.engine.commands import Commands
from lab.engine.counters import RunCounters
from lab.engine.fills import FillBooking
from lab.engine.funding import FundingWindows
from lab.engine.gates import Gates, Memory
from lab.engine.liquidation import Liquidation
from lab.engine.orders import Archive, OrderEntry
from lab.engine.protocols import BrokerProtocol, OnFailure, RiskGateProtocol, StrategyProtocol, declared
from lab.engine.state import Book, EngineState, Market, Outputs
from lab.engine.strategies import BoundStrategy, CandleCalls, QuoteCalls, Strategies
from lab.engine.timers import Timers
from lab.engine.valuation import CarriedLoss, Valuation
from lab.engine.view import MarketView
from lab.errors import ComponentError

# Compiled code reads a name that is Final at once, where it looks any other up in its module: a thirtieth of a candle.
_CANDLE: Final = Candle
_FINAL: Final = FINAL
_QUOTE: Final = Quote


def ignore_failure(role: str, name: str, call: str, error: BaseException) -> None:
    """Keep no traceback: the outputs say which component failed."""


class Engine:
    """One run. Build it, `begin`, then `step` every input in order."""

    __slots__ = (
        "_candle_order", "_clock_steps", "_commands", "_due_ns", "_fills", "_funding", "_gates", "_handlers",
        "_liquidation", "_meeting", "_record", "_restored", "_strategies", "_timers", "state", "stepped", "valuation",
    )  # fmt: skip

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        interval_ns: int,
        broker: BrokerProtocol,
        gates: Sequence[tuple[str, RiskGateProtocol]],
        strategies: Sequence[tuple[str, StrategyProtocol, Decimal]],
        *,
        config_hash: str,
        leverage: Decimal = Decimal(1),
        margin_mode: MarginMode = "cross",
        account_mode: AccountMode = "separate",
        no_orders: bool = False,
        carried_loss: CarriedLoss = (0, ZERO),
        gate_memory: Memory | None = None,
        record_inputs: bool = True,
        broker_name: str = "broker",
        archive: Archive | None = None,
        on_failure: OnFailure = ignore_failure,
    ) -> None:
        """Put the parts together. ``strategies`` are (name, component, deposit); names are unique.

        With the ``account_mode`` ``shared`` all deposits are one account's, which is paid in to the first book.
        With ``record_inputs`` a step that is worth a journal row begins with its input (live sessions); without it only
        outputs are returned (backtests, whose inputs stay in their source). ``archive`` returns the outcome of an order
        id that memory has forgotten. ``carried_loss`` is what the run that this one restarts lost on the day it ended,
        ``gate_memory`` what its gates knew then, by name.
        ``on_failure`` is called with role, name, call and error of a component that raised.
        """
        books = [Book(name, deposit) for name, _, deposit in strategies]
        if account_mode == "shared":
            for book in books[1:]:
                books[0].deposit = EXACT.add(books[0].deposit, book.deposit)
                book.deposit = ZERO
        lookbacks = [
            declared("strategy", name, "lookback", partial(getattr, one, "lookback"), on_failure)
            for name, one, _ in strategies
        ]
        keep = max([64, *(-(-3 * lookback // 2) for lookback in lookbacks)])
        self.state = state = EngineState(
            instruments, interval_ns, keep, books,
            config_hash=config_hash, leverage=leverage, margin_mode=margin_mode, account_mode=account_mode,
            no_orders=no_orders,
        )  # fmt: skip
        self.valuation = Valuation(state, carried_loss)
        bound = self._gates = Gates(gates, on_failure, gate_memory)
        self._restored = bool(gate_memory)
        bound_broker = BoundBroker(broker_name, broker, on_failure, MarketView(state))
        entry = OrderEntry(state, bound_broker, bound, archive=archive)
        self._fills = FillBooking(state, self.valuation, entry)
        self._strategies = Strategies(state, self.valuation, strategies, bound, entry, on_failure)
        self._timers = Timers(state, bound, self._strategies)
        self._commands = Commands(state, entry, self._strategies)
        self._funding = FundingWindows(state, bound_broker, self.valuation)
        self._liquidation = Liquidation(state, self.valuation, entry, self._strategies)
        self._clock_steps = ClockSteps(state, entry, self._strategies, self._timers)
        self._candle_order = CandleOrder(state, self._strategies, record=record_inputs)
        self._record = record_inputs
        # Not empty while the broker is to see market events.
        self._meeting: Collection[object] = (broker,) if bound_broker.watches else state.working
        self._due_ns = 0
        self.stepped = 0
        """How many inputs `step_all` has taken."""
        self._handlers: dict[type, Callable[[Any], Sequence[object]]] = {
            # candles and quotes are handled before anybody looks here
            Trade: self._trade,
            Depth: self._depth,
            Funding: self._rate,
            Backfill: self._backfill,
            Timer: self._timer,
            TradingState: self._trading_state,
            SymbolState: self._symbol_state,
            Notice: self._notice,
            Command: self._command,
            ClockStepped: self._clock_stepped,
        }

    # -- what others may know ----------------------------------------------------------------------------------------

    @property
    def strategies(self) -> Sequence[BoundStrategy]:
        """The strategies in their order, stopped ones included."""
        return self._strategies.bound

    @property
    def next_timer_ns(self) -> int:
        """The venue time at which a component's timer falls due; a `Timer` input should come then."""
        return self._timers.next_ns

    @property
    def counters(self) -> RunCounters:
        """What the run counted so far, complete at the moment of the call."""
        counters = self.state.counters
        markets = self.state.markets.values()
        counters.quotes = sum(market.quotes for market in markets)
        counters.backfilled = sum(market.history.backfilled for market in markets)
        counters.candles = self._strategies.live_candles()
        counters.fees_paid = self.state.fees_paid
        counters.funding_paid = self.state.paid("funding")
        counters.liquidation_fees = self.state.paid("liquidation_fees")
        counters.insurance_paid = -self.state.paid("insurance")
        self.valuation.count_extremes(counters)
        counters.decisions = sum([self._strategies.decisions(one) for one in self.strategies])
        return counters

    def begin(self) -> Sequence[object]:
        """Pay each account's deposit in, and halt whom gates remember to have halted. Called once, before any step."""
        with localcontext(EXACT):
            out: Outputs = [
                Deposited(book.name, book.deposit, book.ledger.deposit(book.deposit))
                for book in [account.books[0] for account in self.state.accounts]
            ]
        if self._restored:
            self._strategies.look_for_trips(out)
        return out

    def gate_memory(self) -> dict[str, tuple[dict[str, str], str]]:
        """Return what gates would have to know in a restart, by name, each with why there is no saying, if so."""
        return self._gates.memory()

    def abandon(self, reason: str) -> Sequence[object]:
        """End every working order without asking the broker: for a run that a defect ends. No step may follow."""
        out: Outputs = []
        self._strategies.abandon(reason, out)
        self._liquidation.end(out)
        return out

    def step_all(self, events: Iterable[Input], append: Callable[[Sequence[object], int, int], object]) -> None:
        """Step inputs in their order; ``append`` takes what a step returned, its venue time, and the input's number.

        Inputs are numbered from 1 through all calls. Raises what a step and the iterable raise; ``stepped`` then counts
        the input that failed.
        """
        for event in events:
            self.stepped += 1
            out = self.step(event)
            if out:
                append(out, self.state.now_ns, self.stepped)

    # -- market data -------------------------------------------------------------------------------------------------

    def step(self, event: Input) -> Sequence[object]:  # noqa: C901 - a call costs more than a branch
        """Take one input and return what is worth a journal row, in order.

        A broker that fails leaves its error in ``state.failure``; raises `lab.errors.EngineError` for a defect of lab.
        Candles are handled here, without further calls, because a backtest consists of them.
        """
        if type(event) is not _CANDLE:
            return self._quote(event) if type(event) is _QUOTE else self._handlers[type(event)](event)
        symbol, open_ns, time_ns, _, _, _, close, _, status = event
        state = self.state
        market = state.markets[symbol]
        history = market.history
        out: Outputs = []
        over_windows = False
        if self._record and (open_ns > history.dropped_ns or not history.was_dropped(open_ns)):
            out.append(event)
        if open_ns != history.next_ns and not self._candle_order.in_line(market, event, out):
            return out
        if time_ns > state.now_ns:
            if time_ns >= self._due_ns:
                # A candle's close belongs to the day it ended in, though it became known on the next.
                live = status != BACKFILLED
                over_windows = live and market.quote is None and bool(self._meeting)
                self._fall_due(time_ns, open_ns + history.interval_ns - 1, out, live=live, pays=not over_windows)
            state.now_ns = time_ns
        market.last = close
        live = True
        if status != _FINAL:
            if status == BACKFILLED:
                live = False
                history.backfilled += 1
            else:
                state.counters.unconfirmed += 1
        if over_windows:
            self._meet_over_windows(event, market, out)
        elif live and self._meeting and market.quote is None:
            self._meet(event, out)  # where there are quotes, only they fill
        if not market.quiet_low < close < market.quiet_high and market.quote is None:
            self._mark(market, out, live=live)
        candles = history.candles
        candles.append(event)
        history.count = count = history.count + 1
        history.next_ns = open_ns + history.interval_ns
        if count >= history.trim_at:
            history.trim()
        strategies = self._strategies
        calls: CandleCalls = market.on_candle
        for lookback, on_candle, view, strategy in calls:
            if count < lookback:
                if live:
                    strategy.skips += 1
            elif strategies.several:
                strategies.ask(strategy, "on_candle", on_candle, event, f"c{open_ns}{market.suffix}", live, out)
            else:
                try:
                    actions = on_candle(event, view)
                    if actions:
                        actions = validated_actions(actions)
                except BaseException as error:
                    strategies.stop(strategy, "on_candle", error, out)
                    continue
                if actions:
                    strategies.act(strategy, actions, f"c{open_ns}{market.suffix}", live, out)
        return out

    def _backfill(self, backfill: Backfill) -> Sequence[object]:
        """Take history: what is older than the newest candle is placed at once, the rest as it would have come."""
        out: Outputs = []
        market = self.state.markets[backfill.symbol]
        for candle in self._candle_order.place_older(market, backfill.candles, out):
            out += self.step(candle)
        return out

    def _quote(self, quote: Quote) -> Sequence[object]:
        symbol, time_ns, bid, _, ask, _ = quote
        state = self.state
        market = state.markets[symbol]
        market.quotes += 1
        if time_ns < market.quote_ns:
            state.counters.late_quotes += 1
            return ()
        out: Outputs = []
        if time_ns > state.now_ns:
            if time_ns >= self._due_ns:
                self._fall_due(time_ns, time_ns, out)
            state.now_ns = time_ns
        market.quote = quote
        market.quote_number = market.quote_number + 1 if time_ns == market.quote_ns else 1
        market.quote_ns = time_ns
        if self._meeting:
            self._meet(quote, out)
        if not market.quiet_low < (bid if market.long else ask) < market.quiet_high:
            self._mark(market, out)
        strategies = self._strategies
        calls: QuoteCalls = market.on_quote
        for on_quote, view, strategy in calls:
            if strategies.several:
                decision = _decision("q", time_ns, market.quote_number, market)
                strategies.ask(strategy, "on_quote", on_quote, quote, decision, True, out)
                continue
            try:
                actions = on_quote(quote, view)
                if actions:
                    actions = validated_actions(actions)
            except BaseException as error:
                strategies.stop(strategy, "on_quote", error, out)
                continue
            if actions:
                strategies.act(strategy, actions, _decision("q", time_ns, market.quote_number, market), True, out)
        if out and self._record:
            out.insert(0, quote)
        return out

    def _trade(self, trade: Trade) -> Sequence[object]:
        market = self.state.markets[trade.symbol]
        market.trade = trade
        market.trade_number = 1 if trade.time_ns > market.trade_ns else market.trade_number + 1
        market.trade_ns = max(market.trade_ns, trade.time_ns)
        return self._observe("on_trade", trade, market, market.trade_ns, market.trade_number)

    def _depth(self, depth: Depth) -> Sequence[object]:
        time_ns = depth.time_ns
        market = self.state.markets[depth.symbol]
        if time_ns < market.depth_ns:
            self.state.counters.late_quotes += 1
            return ()
        market.depth = depth
        market.depth_number = market.depth_number + 1 if time_ns == market.depth_ns else 1
        market.depth_ns = time_ns
        return self._observe("on_depth", depth, market, time_ns, market.depth_number)

    def _observe(self, name: str, event: Trade | Depth, market: Market, time_ns: int, number: int) -> Sequence[object]:
        """Show orders, then strategies, market data that changes no mark: the ``number``-th of that time."""
        out: Outputs = []
        self._advance(event.time_ns, out)
        if self._meeting:
            self._meet(event, out)
        for strategy in self._strategies.active:
            method = getattr(strategy, name)
            if method is not None and event.symbol in strategy.symbols:
                decision = _decision("t" if name == "on_trade" else "d", time_ns, number, market)
                self._strategies.ask(strategy, name, method, event, decision, True, out)
        if out and self._record:
            out.insert(0, event)
        return out

    def _rate(self, funding: Funding) -> Sequence[object]:
        self._funding.learn(funding)
        self._due_ns = min(self._due_ns, self._funding.next_ns)
        return (funding,) if self._record else ()

    def _timer(self, timer: Timer) -> Sequence[object]:
        out: Outputs = []
        self._advance(timer.time_ns, out)
        if self._meeting:
            self._meet(timer, out)
        if out and self._record:
            out.insert(0, timer)
        return out

    # -- what the session says ---------------------------------------------------------------------------------------

    def _trading_state(self, event: TradingState) -> Sequence[object]:
        out: Outputs = [event] if self._record else []
        self.state.halt(tuple(event.halted_by), self.state.paused_by)
        self._meet_control(event, out)
        return out

    def _symbol_state(self, event: SymbolState) -> Sequence[object]:
        out: Outputs = [event] if self._record else []
        self.state.markets[event.symbol].halted_by = tuple(event.halted_by)
        self.state.halt(self.state.halted_by, self.state.paused_by)
        self._meet_control(event, out)
        return out

    def _meet_control(self, event: TradingState | SymbolState, out: Outputs) -> None:
        if self._meeting:
            self._advance(event.time_ns, out)  # an order may have arrived by then
            self._meet(event, out)

    def _notice(self, notice: Notice) -> Sequence[object]:
        return (notice,) if self._record else ()

    def _command(self, command: Command) -> Sequence[object]:
        out: Outputs = [command] if self._record else []
        self._advance(command.time_ns, out)
        self._commands.obey(command, out)
        if command.action is CommandAction.STOP:
            self._liquidation.end(out)
        return out

    def _clock_stepped(self, step: ClockStepped) -> Sequence[object]:
        """Follow a step of the venue's clock; without a row of it, later ones would go back in time."""
        out: Outputs = [step]
        if step.clock == "venue":
            self._clock_steps.expire_orders(out)
            self._meet(step, out)
            self._clock_steps.set_time(step, out)
            self._strategies.tell(out, 0)
            self._due_ns = min(self._due_ns, self._timers.next_ns)
            self._advance(step.time_ns, out)
        return out

    # -- money and time ----------------------------------------------------------------------------------------------

    def _meet(
        self,
        event: Candle | Quote | Trade | Depth | Timer | TradingState | SymbolState | ClockStepped,
        out: Outputs,
        before_fill: Callable[[int], object] | None = None,
    ) -> None:
        """Show the event to the broker; then call the gates and strategies that listen to fills and ends."""
        if self.state.failure is not None:
            return
        known = len(out)
        try:
            self._fills.observe(event, out, before_fill)
        except ComponentError as error:
            self._strategies.fail(error, out)
        if len(out) > known:
            if self._strategies.listening:
                self._strategies.tell(out, known)
            self._liquidation.after_fills(known, out)

    def _meet_over_windows(self, candle: Candle, market: Market, out: Outputs) -> None:
        """Show a candle to the broker, and pay the funding that fell due inside it between its fills, in order."""
        self._meet(candle, out, lambda time_ns: self._funding.fall_due(time_ns, out, market))
        self._pay_funding(candle.time_ns, out, market)
        self._due_ns = min(self.valuation.day_end_ns, self._funding.next_ns, self._timers.next_ns)

    def _pay_funding(self, time_ns: int, out: Outputs, inside: Market | None = None) -> None:
        try:
            self._funding.fall_due(time_ns, out, inside)
        except ComponentError as error:
            self._strategies.fail(error, out)

    def _mark(self, market: Market, out: Outputs, *, live: bool = True) -> None:
        self.valuation.mark_to_market(market)
        if not market.first:
            if live:
                market.first = self.valuation.margin_mark(market.symbol)
                self.state.live_since_ns = self.state.live_since_ns or self.state.now_ns
            else:
                market.quiet_low = market.quiet_high = 0.0  # the first live price is to come here too
        if self.valuation.is_near(market):
            self._liquidation.check(out)

    def _advance(self, time_ns: int, out: Outputs) -> None:
        if time_ns > self.state.now_ns:
            if time_ns >= self._due_ns:
                self._fall_due(time_ns, time_ns, out)
            self.state.now_ns = time_ns

    def _fall_due(self, time_ns: int, market_ns: int, out: Outputs, *, live: bool = True, pays: bool = True) -> None:
        """Begin a UTC day, pay the funding that fell due, and call the timers that did.

        ``market_ns`` is the time the event's price is of, ``live`` whether the event is no history. Without ``pays``
        the funding is left to be paid.
        """
        if market_ns >= self.valuation.day_end_ns:
            ended = self.valuation.new_day(market_ns)
            if ended is not None:
                out.append(ended)
        if pays:
            self._pay_funding(time_ns, out)
        self._timers.fire(time_ns, out, live=live, record=self._record)
        self._due_ns = min(self.valuation.day_end_ns, self._funding.next_ns, self._timers.next_ns)


def _decision(kind: str, time_ns: int, number: int, market: Market) -> str:
    """Return what names a decision in an order's id."""
    return f"{kind}{time_ns}{market.suffix}" if number == 1 else f"{kind}{time_ns}.{number}{market.suffix}"
