"""Where orders meet the market: the broker's answers become booked fills and ended orders."""

from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lab.domain.control import Timer
from lab.domain.events import Fill, OrderFilled
from lab.domain.ledger import ZERO
from lab.domain.market import Candle, Quote
from lab.domain.orders import Side
from lab.engine.state import BrokerProtocol, OpenOrder
from lab.errors import EngineError

if TYPE_CHECKING:
    from lab.engine.engine import Engine
    from lab.engine.orders import OrderEntry, Outputs


_BUY = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every order


class FillBooking:
    """Books what a broker reports. A report that breaks the order's life cycle raises `EngineError`."""

    __slots__ = ("_broker", "_door", "_engine", "_working")

    def __init__(self, engine: "Engine", door: "OrderEntry", broker: BrokerProtocol) -> None:
        self._engine = engine
        self._door = door
        self._broker = broker
        self._working = engine.working

    def observe(self, event: Candle | Quote | Timer, out: "Outputs") -> None:
        """Let working orders meet the event, then value what was filled; pass over what the engine ended.

        Equity is looked at once an event, after all its fills.
        """
        engine = self._engine
        engine.ended.clear()
        try:
            reports = self._broker.observe(event)
        except (Exception, SystemExit) as error:
            raise EngineError(f"the broker failed: {type(error).__name__}: {error}") from error
        filled: list[str] = []
        for report in reports:
            working = self._working.get(report.order_id)
            if working is None:
                if report.order_id in engine.ended:
                    continue
                raise EngineError(f"the broker reported on {report.order_id}, which is not working: {report!r}")
            if report.__class__ is Fill:
                self._fill(working, report, event.time_ns, out)
                if working.order.symbol not in filled:
                    filled.append(working.order.symbol)
            else:
                self._door.end(working, report.outcome, report.reason, out)  # type: ignore[union-attr]
        for symbol in filled:
            engine.worth.reckon(engine.markets[symbol])

    def _fill(self, working: OpenOrder, fill: Fill, time_ns: int, out: "Outputs") -> None:
        seat, order, quantity = working.seat, working.order, fill.quantity
        if time_ns < order.eligible_ns or not ZERO < quantity <= working.left or not fill.price > ZERO:
            raise EngineError(
                f"the broker filled what it may not: {fill!r} of {order!r}, {working.left} left, at {time_ns}"
            )
        engine = self._engine
        symbol = order.symbol
        buys = order.side is _BUY
        ledger = seat.ledger
        position = ledger.position(symbol)
        held = position.quantity
        over = ZERO
        if order.reduce_only:
            over = quantity + held if buys else quantity - held
            if over > ZERO:
                fill, quantity = self._clip(fill, over)
                if quantity <= ZERO:
                    self._end_idle(working, out)
                    return
        order.fills += 1
        postings = ledger.fill(symbol, quantity if buys else -quantity, fill.price, fill.fee)
        after = position.quantity
        tally = engine.tally
        tally.trades += 1
        if held and (not after or (after > ZERO) is not (held > ZERO)):
            tally.round_trips += 1
        working.left = remaining = working.left - quantity
        oid = order.id
        if not remaining:
            del seat.orders[oid]
            del self._working[oid]
            seat.remember(oid, "filled")
        filled = OrderFilled(f"{oid}.{order.fills}", seat.name, symbol, order.side, remaining, after, fill, postings)
        out.append(filled)
        if seat.on_fill is not None and not seat.stopped:
            engine.guard(seat, seat.on_fill, filled, out)
        if over > ZERO:
            self._end_idle(working, out)

    @staticmethod
    def _clip(fill: Fill, over: Decimal) -> tuple[Fill, Decimal]:
        """Cut a reduce-only fill to what is held: it may not turn the position. The order, with the rest, then ends."""
        quantity = fill.quantity - over
        if quantity <= ZERO:
            return fill, ZERO
        return replace(fill, quantity=quantity, fee=fill.price * quantity * fill.fee_rate), quantity

    def _end_idle(self, working: OpenOrder, out: "Outputs") -> None:
        """End a reduce-only order that has nothing left to reduce."""
        self._broker.cancel(working.order.id)
        self._door.end(working, "cancelled", "nothing left to reduce", out)
