"""The engine: one `step`, fed by a live session, a file, a tape or a simulation alike.

Order of a step: resting orders meet the event; history, quote and marks follow; then strategies decide, gates review
and the broker accepts. So no order can fill on the event that caused it. Bound methods are collected once, because
nothing may stand between an event and a decision.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lab.domain.control import Command, CommandAction, Notice, Timer, TradingState
from lab.domain.events import CandleIgnored, Deposited, GapFound, StrategyStopped
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.market import BACKFILLED, Backfill, Candle, Depth, Funding, Quote, Trade
from lab.domain.orders import OrderRequest
from lab.engine.checks import drawn
from lab.engine.counters import RunCounters
from lab.engine.fills import FillBooking
from lab.engine.orders import OrderEntry, Outputs
from lab.engine.state import Action, Book, BrokerProtocol, Market, OpenOrder, RiskGateProtocol, StrategyProtocol
from lab.engine.valuation import CarriedLoss, Valuation
from lab.engine.view import View


class Engine:
    """One run's state. Build it, `begin`, then `step` every event in order."""

    __slots__ = (
        "_broker", "_deciders", "_door", "_handlers", "_quoted", "_record", "_settlement", "ended", "leverage",
        "markets", "now_ns", "seats", "shut", "stopping", "tally", "working", "worth",
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
        no_orders: bool = False,
        carried_loss: CarriedLoss = (0, ZERO),
        record_inputs: bool = True,
        archive: Callable[[str], str | None] | None = None,
    ) -> None:
        """Put the parts together. ``strategies`` are (name, part, deposit); names are unique.

        With ``record_inputs`` a step that is worth a journal row begins with its input (live sessions); without it only
        outputs are returned (backtests, whose inputs stay in their source). ``archive`` tells the outcome of an order
        id that memory has forgotten. ``carried_loss`` is what the run that this one restarts lost on the day it ended.
        """
        seats = tuple(Book(name, part, deposit) for name, part, deposit in strategies)
        keep = max([64, *(-(-3 * seat.lookback // 2) for seat in seats)])
        self.markets = {name: Market(instrument, interval_ns, keep) for name, instrument in instruments.items()}
        self.seats = seats
        for seat in seats:
            seat.view = View(self, seat)
        self.leverage = leverage
        self.tally = RunCounters()
        self.now_ns = 0
        self.shut: tuple[str, ...] = ()
        self.stopping = False
        self.working: dict[str, OpenOrder] = {}
        self.ended: set[str] = set()
        self._record = record_inputs
        self._broker = broker
        self._ask_those_left()
        self.worth = Valuation(self.markets, seats, carried_loss)
        self._door = OrderEntry(self, broker, gates, config_hash=config_hash, no_orders=no_orders, archive=archive)
        self._settlement = FillBooking(self, self._door, broker)
        self._handlers: dict[type, Callable[[Any], Sequence[object]]] = {
            Quote: self._quote,
            Timer: self._timer,
            TradingState: self._gate,
            Trade: self._note,
            Depth: self._note,
            Backfill: self._backfill,
            Command: self._command,
            Funding: self._note,
            Notice: self._note,
        }

    def begin(self) -> Sequence[object]:
        """Pay each book's deposit in. Called once, before the first step."""
        return [Deposited(seat.name, seat.deposit, seat.ledger.deposit(seat.deposit)) for seat in self.seats]

    @property
    def totals(self) -> RunCounters:
        """What the run counted so far, complete at the moment of the call."""
        tally = self.tally
        histories = [market.history for market in self.markets.values()]
        tally.quotes = sum(market.quotes for market in self.markets.values())
        tally.backfilled = sum(history.backfilled for history in histories)
        tally.candles = sum(history.count for history in histories) - tally.backfilled
        tally.fees_paid = sum((seat.ledger.fees for seat in self.seats), ZERO)
        tally.peak_equity = self.worth.drawdown.peak
        tally.max_drawdown = self.worth.drawdown.deepest
        tally.decisions = sum(
            (tally.candles if seat.retired_at is None else seat.retired_at) - seat.unasked for seat in self.seats
        )
        return tally

    def _ask_those_left(self) -> None:
        """Bind what the hot path calls, once: (look-back, method, view, seat) of every strategy still running."""
        left = [seat for seat in self.seats if not seat.stopped]
        self._deciders = tuple((seat.lookback, seat.on_candle, seat.view, seat) for seat in left)
        self._quoted = tuple((seat.on_quote, seat.view, seat) for seat in left if seat.on_quote is not None)

    def _retire(self, seat: Book) -> None:
        if not seat.stopped:
            seat.retired_at = self.totals.candles
            seat.stopped = True
            self._ask_those_left()

    # -- market data -------------------------------------------------------------------------------------------------

    def step(self, event: Input) -> Sequence[object]:  # noqa: C901 - a call costs more than a branch
        """Take one input and return what is worth a journal row, in order. Raises `EngineError` only for a defect.

        The candle's own way stands here in full and in line: a backtest is made of nothing else.
        """
        if event.__class__ is not Candle:
            return self._handlers[event.__class__](event)
        symbol, open_ns, time_ns, _, _, _, close, _, status = event
        market = self.markets[symbol]
        history = market.history
        out: Outputs = [event] if self._record else []
        if open_ns != history.next_ns and not self._in_line(market, event, out):
            return out
        worth = self.worth
        if time_ns > self.now_ns:
            self.now_ns = time_ns
            if time_ns >= worth.day_end_ns:
                worth.new_day(time_ns)
        market.last = close
        live = status != BACKFILLED
        if not live:
            history.backfilled += 1
        elif self._broker.resting and market.quote is None:
            self._settlement.observe(event, out)  # where there are quotes, only they fill
        candles = history.candles
        candles.append(event)
        history.count = count = history.count + 1
        history.next_ns = open_ns + history.interval_ns
        if count >= history.trim_at:
            history.trim()
        if not market.calm_low < close < market.calm_high and market.quote is None:
            worth.follow(market)
        for lookback, on_candle, view, seat in self._deciders:
            if count >= lookback:
                try:
                    actions = on_candle(event, view)
                    if actions:
                        actions = drawn(actions)
                except (Exception, SystemExit) as error:
                    self.stop_seat(seat, error, out)
                    continue
                if actions:
                    self._act(seat, actions, open_ns, live, out)
            elif live:
                seat.unasked += 1
        return out

    def _in_line(self, market: Market, candle: Candle, out: Outputs) -> bool:
        """Judge a candle that is not the next one: the first, one behind a gap, or one that comes late (``False``)."""
        history = market.history
        if not history.count:
            return True
        open_ns = candle.open_ns
        if (open_ns - history.next_ns) % history.interval_ns:
            out.clear()
            self.tally.ignored_candles += 1
            out.append(CandleIgnored(market.symbol, open_ns, "off the grid of its interval"))
            return False
        if open_ns > history.next_ns:
            self.tally.gaps += 1
            missing = (open_ns - history.next_ns) // history.interval_ns
            out.append(GapFound(market.symbol, history.next_ns, open_ns - history.interval_ns, missing))
            return True
        placed = history.place(candle)
        if placed == "placed":
            history.backfilled += 1
            for seat in self.seats:
                if seat.on_history is not None and not seat.stopped:
                    self.guard(seat, seat.on_history, seat.view, out, bare=True)
            return False
        out.clear()
        self.tally.ignored_candles += 1
        if placed != "same":
            out.append(CandleIgnored(market.symbol, open_ns, placed))
        return False

    def _quote(self, quote: Quote) -> Sequence[object]:
        symbol, time_ns, bid, _, ask, _ = quote
        market = self.markets[symbol]
        market.quotes += 1
        if time_ns < market.quote_ns:
            self.tally.late_quotes += 1
            return ()
        worth = self.worth
        if time_ns > self.now_ns:
            self.now_ns = time_ns
            if time_ns >= worth.day_end_ns:
                worth.new_day(time_ns)
        out: Outputs = []
        market.quote = quote
        market.quote_ns = time_ns
        if self._broker.resting:
            self._settlement.observe(quote, out)
        if not market.calm_low < (bid if market.long else ask) < market.calm_high:
            self.worth.follow(market)
        for on_quote, view, seat in self._quoted:
            try:
                actions = on_quote(quote, view)
                if actions:
                    actions = drawn(actions)
            except (Exception, SystemExit) as error:
                self.stop_seat(seat, error, out)
                continue
            if actions:
                self._act(seat, actions, time_ns, True, out)
        if out and self._record:
            out.insert(0, quote)
        return out

    def _timer(self, timer: Timer) -> Sequence[object]:
        self._advance(timer.time_ns)
        out: Outputs = []
        if self._broker.resting:
            self._settlement.observe(timer, out)
        if out and self._record:
            out.insert(0, timer)
        return out

    # -- the session's own inputs ------------------------------------------------------------------------------------

    def _gate(self, gate: TradingState) -> Sequence[object]:
        self.shut = gate.halted_by
        return (gate,) if self._record else ()

    def _note(self, event: Funding | Notice | Trade | Depth) -> Sequence[object]:
        return (event,) if self._record else ()

    def _backfill(self, backfill: Backfill) -> Sequence[object]:
        return [output for candle in backfill.candles for output in self.step(candle)]

    def _command(self, command: Command) -> Sequence[object]:
        """Cancel what works, close what is held if asked to, and ask no strategy again."""
        self._advance(command.time_ns)
        reason = f"{command.action} by {command.who}: {command.why}"
        out: Outputs = [command] if self._record else []
        if command.action is not CommandAction.FLATTEN:
            self.stopping = True
            for seat in self.seats:
                self._retire(seat)
        for working in list(self.working.values()):
            if self._broker.cancel(working.order.id):
                self._door.end(working, "cancelled", reason, out)
        for seat in self.seats:
            for symbol, held in seat.ledger.positions.items():
                if held.quantity and command.action in {CommandAction.FLATTEN, CommandAction.KILL}:
                    self._door.close(
                        seat,
                        symbol,
                        held.quantity,
                        self.now_ns,
                        f"{command.action} by {command.who}: {command.why}",
                        out,
                    )
        return out

    # -- strategies --------------------------------------------------------------------------------------------------

    def _act(self, seat: Book, actions: Iterable[Action], decided_ns: int, live: bool, out: Outputs) -> None:
        """Take a decision's actions to the door, in their order."""
        place = 0
        for action in actions:
            if seat.stopped:
                return  # by a listener of its own, half-way through
            if isinstance(action, OrderRequest):
                self._door.request(seat, action, place, decided_ns, live, out)
                place += 1
            elif live:
                self._door.cancel(seat, action, out)

    def guard(self, seat: Book, call: Callable[..., None], what: object, out: Outputs, *, bare: bool = False) -> None:
        """Call a strategy's listener; one that raises is stopped alone."""
        try:
            call(what) if bare else call(what, seat.view)
        except (Exception, SystemExit) as error:
            self.stop_seat(seat, error, out)

    def stop_seat(self, seat: Book, error: BaseException, out: Outputs) -> None:
        """Stop one strategy: its working orders are cancelled, its position stays and is reported."""
        self._retire(seat)
        seat.failed = True
        out.append(StrategyStopped(seat.name, f"{type(error).__name__}: {error}{_place(error)}"))
        for order in list(seat.orders.values()):
            if not order.reduce_only and self._broker.cancel(order.id):
                self._door.end(self.working[order.id], "cancelled", "its strategy was stopped", out)

    def _advance(self, time_ns: int) -> None:
        worth = self.worth
        if time_ns > self.now_ns:
            self.now_ns = time_ns
            if time_ns >= worth.day_end_ns:
                worth.new_day(time_ns)


def _place(error: BaseException) -> str:
    """Return where an error was raised, as module and line: the same on every machine, unlike a path."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno})"
