"""Where orders meet the market: the broker's answers become booked fills and ended orders."""

from typing import TYPE_CHECKING

import attrs

from lab.domain.events import Fill, OrderFilled
from lab.domain.ids import fill_id
from lab.domain.ledger import ZERO
from lab.domain.market import Candle, Quote, Timer
from lab.domain.orders import Ended, Order, Side
from lab.engine.parts import BrokerPart, EngineFault, Seat

if TYPE_CHECKING:
    from lab.engine.door import Door, Outputs
    from lab.engine.engine import Engine


_BUY = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every order


class Settlement:
    """Books what a broker reports. A report that breaks the order's life cycle raises `EngineFault`."""

    __slots__ = ("_broker", "_door", "_engine", "_working")

    def __init__(self, engine: "Engine", door: "Door", broker: BrokerPart) -> None:
        self._engine = engine
        self._door = door
        self._broker = broker
        self._working = engine.working

    def observe(self, event: Candle | Quote | Timer, out: "Outputs") -> None:
        """Let working orders meet the event."""
        for report in self._broker.observe(event):
            owner = self._working.get(report.order_id)
            if owner is None:
                raise EngineFault(f"the broker reported on {report.order_id}, which is not working: {report!r}")
            seat, order = owner
            if isinstance(report, Ended):
                self._door.end(seat, order, report.outcome, report.reason, out)
            else:
                self._fill(seat, order, report, event.time_ns, out)

    def _fill(self, seat: Seat, order: Order, fill: Fill, time_ns: int, out: "Outputs") -> None:
        if time_ns < order.eligible_ns or not fill.quantity > 0 or order.remaining < 0 or fill.price <= 0:
            raise EngineFault(f"the broker filled what it may not: {fill!r} of {order!r} at {time_ns}")
        held = seat.ledger.position(order.symbol).quantity
        if order.reduce_only:
            room = -held if order.side is _BUY else held
            if room <= 0:
                self._broker.cancel(order.id)
                order.remaining += fill.quantity
                self._door.end(seat, order, "cancelled", "nothing left to reduce", out)
                return
            if fill.quantity > room:
                over = fill.quantity - room
                fill = attrs.evolve(fill, quantity=room, fee=fill.price * room * fill.fee_rate)
                order.remaining += over
        order.fills += 1
        signed = fill.quantity if order.side is _BUY else -fill.quantity
        postings = seat.ledger.fill(order.symbol, signed, fill.price, fill.fee)
        engine = self._engine
        totals = engine.tally
        totals.trades += 1
        totals.fees_paid += fill.fee
        after = held + signed
        if held and (not after or (after > 0) is not (held > 0)):
            totals.round_trips += 1
        done = order.remaining == ZERO
        if done:
            del seat.orders[order.id]
            del self._working[order.id]
            seat.remember(order.id, "filled")
        filled = OrderFilled(
            fill_id(order.id, order.fills), seat.name, order.symbol, order.side, order.remaining, after, fill, postings
        )
        out.append(filled)
        engine.reckon(seat, order.symbol)
        if seat.on_fill is not None and not seat.stopped:
            engine.guard(seat, seat.on_fill, filled, out)
