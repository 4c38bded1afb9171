"""The orders of an audit: each from its acceptance to its one end, with all that may happen to it on the way."""

from collections import Counter
from decimal import Decimal
from typing import Final

from attrs import Factory, define, evolve, frozen

from lab.domain.events import (
    AmendSent,
    CancelSent,
    Fill,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderTriggered,
)
from lab.domain.ledger import ZERO
from lab.domain.life_cycle import OrderState, check_step
from lab.domain.orders import AmendRequest, OrderType, Side, TimeInForce
from lab.journal.audit_fills import IMMEDIATE, Fills
from lab.journal.audit_findings import Checks, Findings
from lab.journal.audit_money import Money
from lab.records.base import exact

_TRIGGERED: Final = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP)
_OfAnOrder = OrderAccepted | OrderFilled | OrderEnded | OrderTriggered | OrderAmended | CancelSent | AmendSent


@frozen
class _Figures:
    """What of an order an amendment changes."""

    quantity: Decimal
    limit: Decimal | None
    stop: Decimal | None

    def __str__(self) -> str:
        named = {"quantity": self.quantity, "limit": self.limit, "stop": self.stop}
        return ", ".join(f"{name} {exact(figure):f}" for name, figure in named.items() if figure is not None)


@define
class _Working:
    """An order between its acceptance and its end."""

    accepted: OrderAccepted
    input_n: int
    figures: _Figures
    remaining: Decimal
    asked: list[_Figures] = Factory(list)
    """What the amendments on their way ask for, in the order in which they were sent."""
    resized: tuple[int, Decimal] = (0, ZERO)
    """By how much its quantity changed last, and on which input: what guards it changes with it."""
    gone_ns: int = 2**63
    """When a cancel took effect."""
    guarded: Decimal = ZERO
    """How much of what it filled its guards took."""
    fills: int = 0
    filled_on: int = 0
    """The input of its newest fill."""
    owed: Decimal = ZERO
    """What others of its group filled, and it has not become smaller by."""
    by_timer: bool = False
    """Whether it was decided before the end of the input it came with, which may fill it then: by a timer."""
    state: OrderState = OrderState.WORKING


class Orders(Checks):
    """Follows every order, and checks each row of one against those before."""

    def __init__(self, at: Findings, money: Money, fills: Fills) -> None:
        super().__init__(at)
        self._fills = fills
        self.outcomes: Counter[str] = Counter()
        self._money = money
        self._working: dict[str, _Working] = {}
        self._filled_orders: set[str] = set()

    def accepted(self, event: OrderAccepted) -> None:
        """Take an order that works from now on."""
        if not self._money.has_deposit(event.strategy):
            self._note(f"strategy {event.strategy} has no deposit")
        if not event.quantity > ZERO:
            self._note(f"its quantity {event.quantity} is not above 0")
        if event.eligible_ns < event.placed_ns:
            self._note(f"it may fill from {event.eligible_ns} on, before it was placed at {event.placed_ns}")
        if event.parent:
            self._entry(event)
        self._working[event.order_id] = _Working(
            event,
            self._at.input_n,
            _Figures(event.quantity, event.limit, event.stop),
            event.quantity,
            by_timer=event.placed_ns < self._at.time_ns,
        )

    def _entry(self, event: OrderAccepted) -> None:
        """Check the entry that an order guards: it works, and is of the same strategy and symbol."""
        entry = self._working.get(event.parent)
        if entry is None:
            self._note(f"its entry {event.parent} does not work: it was never accepted, or has ended")
            return
        self._same_order(event, entry.accepted)

    def _find(self, order_id: str) -> _Working | None:
        order = self._working.get(order_id)
        if order is None:
            self._note(f"order {order_id} does not work: it was never accepted, or has ended")
        return order

    def _step(self, order: _Working, following: OrderState) -> None:
        try:
            check_step(order.accepted.order_id, order.state, following)
        except ValueError as error:
            self._note(str(error))
        order.state = following

    def triggered(self, event: OrderTriggered) -> None:
        """Check that a price reached the level of an order that waited for it."""
        order = self._find(event.order_id)
        if order is None:
            return
        self._same_order(event, order.accepted)
        self._step(order, OrderState.TRIGGERED)
        rises = (order.accepted.side is Side.BUY) is not (order.accepted.type is OrderType.TAKE_PROFIT)
        if event.reference < event.level if rises else event.reference > event.level:
            self._note(f"the price {event.reference} had not reached the level {event.level}")
        if order.accepted.type not in _TRIGGERED:
            self._note(f"a {order.accepted.type} order has no level to reach")
        stop = order.figures.stop
        if stop is not None and float(event.level) != float(stop):
            self._note(f"its level is {event.level}, the stop of the order {stop}")

    def amended(self, event: OrderAmended) -> None:
        """Check an order's new figures, and that somebody asked for them."""
        order = self._find(event.order_id)
        if order is None:
            return
        self._same_order(event, order.accepted)
        before, now = order.figures, _Figures(event.quantity, event.limit, event.stop)
        self._expect("what remains", event.remaining, now.quantity - (before.quantity - order.remaining))
        if not event.remaining > ZERO:
            self._note(f"nothing remains of it: {event.remaining}")
        more = now.quantity - before.quantity
        order.owed = max(order.owed + min(more, ZERO), ZERO)
        if now in order.asked:
            del order.asked[: order.asked.index(now) + 1]  # an earlier one did not arrive: this one builds on it
        else:
            if not self._changed_by_itself(order, now):
                asked = "; ".join(map(str, order.asked)) or "nothing"
                self._note(f"it has {now} now and had {before}; asked for was {asked}")
            order.asked = [evolve(one, quantity=one.quantity + more) for one in order.asked]
        order.figures, order.remaining, order.resized = now, event.remaining, (self._at.input_n, more)

    def _changed_by_itself(self, order: _Working, now: _Figures) -> bool:
        """Return whether nobody had to ask: others of its group took a part, or it follows the entry it guards."""
        before, accepted = order.figures, order.accepted
        if (now.limit, now.stop) != (before.limit, before.stop):
            return False
        entry = self._working.get(accepted.parent)
        if now.quantity < before.quantity:
            return bool(accepted.group or accepted.parent)
        return entry is not None and entry.resized == (self._at.input_n, now.quantity - before.quantity)

    def cancel_sent(self, event: CancelSent) -> None:
        """Take a cancel that is on its way."""
        order = self._find(event.order_id)
        if order is None:
            return
        self._same_order(event, order.accepted)
        if event.eligible_ns <= self._at.before_ns:
            self._note(f"it arrives at {event.eligible_ns}, and was sent after {self._at.before_ns}")
        order.gone_ns = event.eligible_ns

    def amend_sent(self, event: AmendSent) -> None:
        """Take an amendment that is on its way, or arrives at once. It builds on those that were sent before."""
        order = self._find(event.request.order_id)
        if order is None:
            return
        self._same_order(event, order.accepted)
        if event.eligible_ns < self._at.before_ns:
            self._note(f"it arrives at {event.eligible_ns}, and was sent after {self._at.before_ns}")
        order.asked.append(self._wanted(order, event.request))

    def _wanted(self, order: _Working, request: AmendRequest) -> _Figures:
        """Return what an order will be, on the lot and on the tick."""
        base, accepted = order.asked[-1] if order.asked else order.figures, order.accepted
        quantity, limit, stop = request.quantity, request.limit, request.stop
        instrument = self._money.instruments.get(accepted.symbol)
        if instrument is not None:
            quantity = quantity and instrument.floor_quantity(quantity)
            limit = limit and instrument.passive_price(limit, accepted.side)
            stop = stop and instrument.passive_price(stop, accepted.side)
        return _Figures(quantity or base.quantity, limit or base.limit, stop or base.stop)

    def filled(self, event: OrderFilled) -> None:
        """Check a fill against its order, and book it."""
        fill = event.fill
        order = self._find(fill.order_id)
        if order is None:
            return
        accepted = order.accepted
        order.fills += 1
        order.remaining -= fill.quantity
        self._expect("its id", event.fill_id, f"{fill.order_id}.{order.fills}")
        self._same_order(event, accepted)
        self._expect("its side", event.side, accepted.side)
        self._expect("what remains", event.remaining, order.remaining)
        if order.remaining < ZERO:
            self._note(f"more is filled than was ordered: {order.figures.quantity}")
        self._in_time(order, fill)
        self._in_family(order, fill)
        if accepted.type in _TRIGGERED and order.state is OrderState.WORKING:
            self._note("it fills before the price reached its level")
        self._step(order, OrderState.FILLED if not order.remaining else OrderState.PARTIALLY_FILLED)
        self._filled_orders.add(fill.order_id)
        buys = accepted.side is Side.BUY
        self._fills.take(event, accepted, order.figures.limit)
        self._money.fill(event, fill.quantity if buys else -fill.quantity, reduce_only=accepted.reduce_only)
        if not order.remaining:
            del self._working[fill.order_id]

    def _in_time(self, order: _Working, fill: Fill) -> None:
        """Check that an order had arrived, after its decision, and had not left."""
        accepted, input_n = order.accepted, self._at.input_n
        if input_n < order.input_n or (input_n == order.input_n and not order.by_timer):
            self._note(f"it fills on input {input_n}, the order was decided on input {order.input_n}")
        if fill.time_ns < accepted.eligible_ns:
            self._note(f"it is stamped {fill.time_ns}, before the order arrived at {accepted.eligible_ns}")
        if accepted.eligible_ns > self._at.time_ns:
            self._note(f"it fills at {self._at.time_ns}, the order arrives at {accepted.eligible_ns}")
        if fill.time_ns > order.gone_ns:
            self._note(f"it fills at {fill.time_ns}, its cancel took effect at {order.gone_ns}")
        if accepted.expires_ns is not None and fill.time_ns >= accepted.expires_ns:
            self._note(f"it fills at {fill.time_ns}, the order was good till {accepted.expires_ns}")
        if accepted.time_in_force in IMMEDIATE and order.filled_on not in (0, input_n):
            self._note(f"an {accepted.time_in_force} order fills again, after input {order.filled_on}")
        order.filled_on = input_n

    def _in_family(self, order: _Working, fill: Fill) -> None:
        """Check that an order fills no more than its entry and its group leave it."""
        parent, group = order.accepted.parent, order.accepted.group
        if parent:
            self._guards(parent, fill.quantity)
        if order.owed > ZERO:
            self._note(f"another of its group filled {order.owed}, and it is no smaller")
        if group:
            for other in self._working.values():
                if other is not order and other.accepted.group == group:
                    other.owed += fill.quantity

    def _guards(self, parent: str, quantity: Decimal) -> None:
        """Check that what guards an entry fills after it, and no more."""
        entry = self._working.get(parent)
        if entry is not None:
            entry.guarded += quantity
            filled = entry.figures.quantity - entry.remaining
            if ZERO < filled < entry.guarded:
                self._note(f"its entry {parent} has filled {filled}, what guards it {entry.guarded}")
        if parent not in self._filled_orders:
            self._note(f"its entry {parent} has not filled")

    def ended(self, event: OrderEnded) -> None:
        """Check the end of an order that was not filled whole."""
        order = self._find(event.order_id)
        self.outcomes[event.outcome] += 1
        if order is None:
            return
        del self._working[event.order_id]
        self._step(order, OrderState(event.outcome))
        self._same_order(event, order.accepted)
        self._expect("what remains", event.remaining, order.remaining)
        accepted = order.accepted
        cut = accepted.reduce_only or order.resized[1]  # what is left of a position may be less than was ordered
        if accepted.time_in_force is TimeInForce.FOK and order.fills and not cut:
            self._note(f"a fok order filled in part: {order.remaining} of {order.figures.quantity} remain")

    def _same_order(self, event: _OfAnOrder, accepted: OrderAccepted) -> None:
        self._expect("its strategy", event.strategy, accepted.strategy)
        self._expect("its symbol", event.symbol, accepted.symbol)

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Note every order that has no end, though the run has one."""
        for order_id in self._working:
            self._note(f"order {order_id} has no end")
