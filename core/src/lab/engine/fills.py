"""Books the broker's reports as fills and ends of orders."""

from collections.abc import Callable
from decimal import Decimal, Inexact, getcontext, setcontext
from typing import Any, Final

from msgspec.structs import astuple, replace

from lab.domain.control import ClockStepped, SymbolState, Timer, TradingState
from lab.domain.events import Fill, OrderFilled
from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.life_cycle import OrderState
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import Ended, Side, Triggered
from lab.domain.position import FLAT
from lab.engine.checks import check_report
from lab.engine.counters import FillTally
from lab.engine.order_rules import TRIGGERED_TYPES
from lab.engine.orders import OrderEntry
from lab.engine.protocols import describe_value
from lab.engine.state import EngineState, Market, OpenOrder, Outputs
from lab.engine.valuation import Valuation

_REPORTS_MOST: Final = 10_000
_RULES_MOST: Final = 100
_OTHERS: Final = "others"
_WORKING: Final = OrderState.WORKING
_PARTIALLY_FILLED: Final = OrderState.PARTIALLY_FILLED
_FILLED: Final = OrderState.FILLED
_BUY: Final = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every order
# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_FILL: Final = Fill
_FLAT: Final = FLAT
_astuple: Final = astuple
_filled: Final = OrderFilled
_getcontext: Final = getcontext
_setcontext: Final = setcontext


class FillBooking:
    """Books what a broker reports. A report that breaks the order's life cycle raises `ComponentError`."""

    __slots__ = ("_before_fill", "_entry", "_state", "_valuation")

    def __init__(self, state: EngineState, valuation: Valuation, entry: OrderEntry) -> None:
        self._state = state
        self._valuation = valuation
        self._entry = entry
        self._before_fill: Callable[[int], object] | None = None

    def observe(
        self,
        event: Candle | Quote | Trade | Depth | Timer | TradingState | SymbolState | ClockStepped,
        out: Outputs,
        before_fill: Callable[[int], object] | None = None,
    ) -> None:
        """Show the event to the broker, unless it is nothing to it; book its reports, and value the books filled.

        ``before_fill`` is called with the time of each fill before it is booked. Equity is looked at once an event,
        after all its fills.
        """
        if self._entry.broker.is_idle(event):
            return
        before = _getcontext()
        filled: list[str] = []
        try:
            self._state.ended.clear()
            reports = self._entry.broker.observe(event)  # the exact context is in force from here on
            self._before_fill = before_fill
            self._book(event.time_ns, reports, filled, out)
        finally:  # fills before a report that breaks the contract count
            for symbol in filled:
                self._valuation.revalue(self._state.markets[symbol])
            _setcontext(before)

    def _book(self, time_ns: int, reports: object, filled: list[str], out: Outputs) -> None:
        """Book reports in their order; ``filled`` takes the symbols that were filled."""
        entry, state = self._entry, self._state
        if type(reports) is not list and type(reports) is not tuple:
            raise entry.broker.broke(
                f"gave {describe_value(reports)} from observe(); expected a list or tuple of Fill and other reports"
            )
        if len(reports) > _REPORTS_MOST:
            raise entry.broker.broke(f"reported {len(reports)} times on one event; expected at most {_REPORTS_MOST}")
        for report in reports:
            try:
                fields = check_report(report, time_ns)
            except (TypeError, ValueError) as error:
                raise entry.broker.broke(f"gave a bad report: {error}") from None
            order_id = fields[0] if fields else report.order_id
            open_ = state.working.get(order_id)
            if open_ is None:
                if order_id in state.ended:
                    continue
                raise entry.broker.broke(f"reported on {order_id}, which is not working: {report!r:.300}")
            if type(report) is _FILL:
                symbol = self._fill(open_, report, fields, time_ns, out)
                if symbol not in filled:
                    filled.append(symbol)
                continue
            try:
                if type(report) is Ended:
                    asked = report.outcome == "cancelled" and open_.leaving
                    entry.changes.end(open_, report.outcome, asked or report.reason, out)
                elif type(report) is Triggered:
                    entry.changes.triggered(open_, report, out)
                else:
                    entry.changes.amended(open_, report, out)
            except ValueError as error:
                raise entry.broker.broke(f"reported what cannot be: {error}") from None

    def _fill(  # noqa: C901 - a call costs more than a branch
        self, open_: OpenOrder, fill: Fill, fields: tuple[Any, ...], time_ns: int, out: Outputs
    ) -> str:
        """Book a fill, whose ``fields`` are given too; return its symbol."""
        if self._before_fill is not None:
            self._before_fill(fill.time_ns)
        book, order = open_.book, open_.order
        _, quantity, price, fee, _, _, _, _, _, _, _, _, _, _, _, _ = fields
        # All fields in one call: a look-up of each costs more.
        oid, _, symbol, side, _, kind, _, reduce_only, _, _, _, _, _, _, _, _, parent, _ = _astuple(order)
        early = time_ns < open_.eligible_ns or (open_.state is _WORKING and kind in TRIGGERED_TYPES)
        entry = self._state.working.get(parent) if parent else None
        if entry is not None:  # a child fills no more than its entry did
            entry.guarded += quantity
            early = early or entry.guarded > entry.order.quantity - entry.remaining
        if early or quantity > open_.remaining or not open_.awake:
            raise self._entry.broker.broke(
                f"filled what it may not: {fill!r:.300} of {order!r:.300}, {open_.remaining} left, at {time_ns}"
            )
        buys = side is _BUY
        positions = book.ledger.positions
        held = positions.get(symbol, _FLAT).quantity
        over = ZERO
        if reduce_only:
            over = quantity + held if buys else quantity - held
            if over > ZERO:
                fill, quantity = self._clip(self._state.markets[symbol].instrument, fill, over)
                if quantity <= ZERO:
                    self._entry.changes.end_idle(open_, out)
                    return str(symbol)
                fields = _astuple(fill)
                fee = fields[3]
        open_.fills += 1
        try:
            market = self._state.markets[symbol]
            worth = market.instrument.worth(price) if market.contract_value else price
            postings = book.ledger.fill(symbol, quantity if buys else -quantity, worth, fee)
        except Inexact:
            raise self._entry.broker.broke(f"filled with more digits than money is kept with: {fill!r:.300}") from None
        after = positions[symbol].quantity
        closed = bool(held) and (not after or (after > ZERO) is not (held > ZERO))
        counters = self._state.counters
        counters.fills += 1
        book.fills += 1
        self._tally(fields, market)
        if closed:
            counters.trades += 1
            book.trades += 1
        open_.remaining = remaining = open_.remaining - quantity
        if remaining:
            open_.state = _PARTIALLY_FILLED
        else:
            open_.state = _FILLED
            del book.orders[oid]
            del self._state.working[oid]
            book.remember(oid, "filled")
        out.append(_filled(f"{oid}.{open_.fills}", book.name, symbol, side, remaining, after, fill, postings))
        if over > ZERO:
            self._entry.changes.end_idle(open_, out)
        if open_.children:
            self._entry.changes.wake(open_)
        if closed and book.orders:
            self._entry.changes.position_closed(open_, out)
        return str(symbol)

    def _tally(self, fields: tuple[Any, ...], market: Market) -> None:
        """Count a fill under its rule, and what it would have cost at the best and at the worst of its references."""
        counters = self._state.counters
        rules = counters.fill_rules
        _, quantity, price, fee, _, _, rule, reference, _, slippage, _, age_ns, _, _, best, worst = fields
        tally = rules.get(rule)
        if tally is None:
            tally = rules.setdefault(rule if len(rules) < _RULES_MOST else _OTHERS, FillTally())
        tally.fills += 1
        tally.fees += fee
        if age_ns < 0:
            tally.late += 1
        if market.contract_value:  # prices of inverse contracts are worth less the higher they are
            worth = market.instrument.notional
            tally.slippage += abs(worth(quantity, price) - worth(quantity, reference))
            better = worth(quantity, reference) - worth(quantity, best or reference)
            worse = worth(quantity, reference) - worth(quantity, worst or reference)
            counters.gain_at_best += abs(better)
            counters.loss_at_worst += abs(worse)
            return
        if slippage:
            tally.slippage += slippage * quantity
        if best is not None:
            counters.gain_at_best += abs(reference - best) * quantity
        if worst is not None:
            counters.loss_at_worst += abs(worst - reference) * quantity

    @staticmethod
    def _clip(instrument: Instrument, fill: Fill, over: Decimal) -> tuple[Fill, Decimal]:
        """Cut a reduce-only fill to what is held: it may not turn the position. The order, with the rest, then ends."""
        quantity = fill.quantity - over
        if quantity <= ZERO:
            return fill, ZERO
        fee = instrument.notional(quantity, fill.price) * fill.fee_rate
        return replace(fill, quantity=quantity, fee=fee), quantity
