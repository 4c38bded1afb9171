"""What becomes of a working order before it is filled whole: cancels, amendments, triggers and ends.

Everything here runs in the exact decimal context; the caller sets it.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from lab.domain.events import AmendRefused, AmendSent, CancelSent, OrderAmended, OrderEnded, OrderTriggered
from lab.domain.ledger import ZERO
from lab.domain.life_cycle import OrderState, check_step
from lab.domain.orders import (
    Accepted,
    Amended,
    AmendRequest,
    CancelRequest,
    Feature,
    Order,
    OrderRequest,
    OrderType,
    Rejected,
    Triggered,
)
from lab.engine.bound_broker import BoundBroker
from lab.engine.gates import Approval, Gates
from lab.engine.order_rules import TRIGGERED_TYPES, Numbers, Problem, bracket_problem, on_tick
from lab.engine.state import Book, EngineState, OpenOrder, Outputs
from lab.engine.view import View

_WORKING: Final = OrderState.WORKING
Refusal = tuple[str, str, Numbers]
"""Who refused an amendment, why, and the figures."""

_TRIGGERED: Final = OrderState.TRIGGERED
_ASKED_MOST: Final = 16
_IDLE: Final = "nothing left to reduce"


class OrderChanges:
    """Changes and ends the working orders of one run."""

    __slots__ = ("_broker", "_gates", "_state", "_working")

    def __init__(self, state: EngineState, broker: BoundBroker, gates: Gates) -> None:
        self._state = state
        self._broker = broker
        self._gates = gates
        self._working = state.working

    # -- cancels -----------------------------------------------------------------------------------------------------

    def cancel(self, book: Book, request: CancelRequest, out: Outputs) -> None:
        """Cancel a working order of this book; an unknown id is ignored."""
        open_ = book.orders.get(request.order_id)
        if open_ is not None and open_.order.symbol not in book.closing:  # nobody takes a liquidation back
            self.cancel_open(open_, request.reason or "asked for by the strategy", out)

    def cancel_open(self, open_: OpenOrder, reason: str, out: Outputs) -> None:
        """Ask the broker for an order back: it ends now, or when the cancel arrives, unless it fills before."""
        order_id = open_.order.id
        if open_.leaving or order_id not in self._working:
            return
        now_ns = self._state.now_ns
        answer = self._broker.cancel(order_id, now_ns)
        if type(answer) is Rejected:
            return  # it has ended, and the report is still to come
        eligible_ns = answer.eligible_ns  # type: ignore[union-attr]
        if eligible_ns > now_ns:
            open_.leaving = reason
            out.append(CancelSent(order_id, open_.book.name, open_.order.symbol, reason, eligible_ns))
            return
        self.end(open_, "cancelled", reason, out)

    def withdraw(self, open_: OpenOrder, reason: str, out: Outputs, outcome: str = "cancelled") -> None:
        """End a working order now: it has nothing left to do, or the run is over.

        Where this happens while reports are booked, a later one of the same moment may still name it.
        """
        order_id = open_.order.id
        if order_id in self._working:
            self._broker.forget(order_id)
            self._state.ended.add(order_id)
            self.end(open_, outcome, reason, out)

    # -- ends --------------------------------------------------------------------------------------------------------

    def end(self, open_: OpenOrder, outcome: str, reason: str, out: Outputs) -> None:
        """Book the end of a working order that was not filled whole, and what it means for its children."""
        book, order = open_.book, open_.order
        check_step(order.id, open_.state, OrderState(outcome))
        del book.orders[order.id]
        del self._working[order.id]
        book.remember(order.id, outcome)
        counters = self._state.counters
        setattr(counters, outcome, getattr(counters, outcome) + 1)
        out.append(OrderEnded(order.id, book.name, order.symbol, outcome, reason, open_.remaining))
        if open_.children:
            self._end_children(open_, out)

    def _end_children(self, parent: OpenOrder, out: Outputs) -> None:
        """An entry ended: its children guard what is left of what it filled, or end with it."""
        left = parent.order.quantity - parent.remaining - parent.guarded
        for child in self._children(parent):
            if left <= ZERO:
                self.withdraw(child, "its entry ended", out)
            elif left < child.remaining:
                self._resize(child, left - child.remaining, "its entry filled in part", out)

    def _children(self, parent: OpenOrder) -> Iterator[OpenOrder]:
        """Yield those that still work."""
        for order_id in parent.children:
            child = self._working.get(order_id)
            if child is not None:
                yield child

    def wake(self, parent: OpenOrder) -> None:
        """An entry filled: its children work from now on."""
        for child in self._children(parent):
            child.awake = True

    def position_closed(self, closing: OpenOrder, out: Outputs) -> None:
        """A position was closed: what reduces or guarded it ends, unless its entry goes on filling.

        What guards an order that turned the position guards the new one. The broker ends the others of the closing
        order's group.
        """
        order = closing.order
        turned = bool(closing.book.ledger.position(order.symbol).quantity)
        for open_ in list(closing.book.orders.values()):
            other = open_.order
            if not other.reduce_only or other.symbol != order.symbol:
                continue
            guards_on = other.parent and (other.parent in self._working or (turned and other.parent == order.id))
            in_group = other.group and other.group == order.group and open_ is not closing
            if not guards_on and not in_group:
                self.withdraw(open_, "the position is closed" if other.parent else _IDLE, out)

    def end_idle(self, open_: OpenOrder, out: Outputs) -> None:
        """End a reduce-only order that has nothing left to reduce.

        An entry that it guards ends too: it would fill on without a guard.
        """
        self.withdraw(open_, _IDLE, out)
        entry = self._working.get(open_.order.parent)
        if entry is not None:
            entry.guarded = entry.order.quantity - entry.remaining
            self.withdraw(entry, _IDLE, out)

    # -- what the broker says ----------------------------------------------------------------------------------------

    def triggered(self, open_: OpenOrder, report: Triggered, out: Outputs) -> None:
        """Book that the price reached an order's level.

        Raises ``ValueError`` where it was reached before, the order has no level, or does not work yet.
        """
        order = open_.order
        check_step(order.id, open_.state, _TRIGGERED)
        if order.type not in TRIGGERED_TYPES:
            raise ValueError(f"{order.id} was triggered; it is a {order.type} order")
        if not open_.awake or self._state.now_ns < open_.eligible_ns:
            raise ValueError(f"{order.id} was triggered before it works")
        open_.state = _TRIGGERED
        out.append(OrderTriggered(order.id, open_.book.name, order.symbol, report.level, report.reference))

    def amended(self, open_: OpenOrder, report: Amended, out: Outputs) -> None:
        """Book an order's new figures. Raises ``ValueError`` where nobody asked for them; less is a group's doing."""
        order, asked = open_.order, open_.asked
        filled, most = order.quantity - open_.remaining, order.quantity + open_.growth
        if not filled < report.quantity <= most:
            raise ValueError(
                f"amended {order.id} to {report.quantity}; {filled} are filled and {most} were asked for at most"
            )
        for name in ("limit", "stop"):
            price = getattr(report, name)
            known = [getattr(one, name) for one in (order, *asked)]
            if price not in known:
                raise ValueError(f"amended {order.id} to the {name} {price}; asked for were {known}")
        for place, one in enumerate(asked):  # they arrive in the order in which they were sent
            moved = (one.limit, one.stop) != (order.limit, order.stop) or one.quantity == report.quantity
            if moved and (one.limit, one.stop) == (report.limit, report.stop):
                open_.asked = asked[place + 1 :]
                break
        else:
            self._shift(open_, report.quantity - order.quantity)
        self._set_figures(open_, report.quantity, report.limit, report.stop, report.reason, out)

    def _set_figures(
        self,
        open_: OpenOrder,
        quantity: Decimal,
        limit: Decimal | None,
        stop: Decimal | None,
        reason: str,
        out: Outputs,
    ) -> None:
        order = open_.order
        more = quantity - order.quantity
        open_.remaining = remaining = open_.remaining + more
        open_.order = replace(order, quantity=quantity, limit=limit, stop=stop)
        self._state.counters.amended += 1
        out.append(OrderAmended(order.id, open_.book.name, order.symbol, quantity, remaining, limit, stop, reason))
        if more:  # what guards an entry grows and shrinks with it
            for child in self._children(open_):
                if child.remaining + more > ZERO:
                    self._resize(child, more, "its entry was amended", out)
                else:  # the broker had made it smaller
                    self.withdraw(child, "its entry was amended", out)

    def _resize(self, child: OpenOrder, more: Decimal, reason: str, out: Outputs) -> None:
        order = child.order
        self._shift(child, more)
        self._set_figures(child, order.quantity + more, order.limit, order.stop, reason, out)

    @staticmethod
    def _shift(open_: OpenOrder, more: Decimal) -> None:
        """An order got larger or smaller by itself: so do those that the amendments on their way will make of it."""
        open_.asked = tuple([replace(one, quantity=one.quantity + more) for one in open_.asked])

    # -- amendments --------------------------------------------------------------------------------------------------

    def amend(self, view: View, book: Book, request: AmendRequest, out: Outputs) -> None:
        """Change a working order of this book, or refuse it; an unknown id is ignored."""
        open_ = book.orders.get(request.order_id)
        if open_ is None:
            return
        refusal: Refusal | None
        changed, problem = self._changed(open_, request)
        refusal = ("engine", *problem) if problem is not None else self._reviewed(view, book, open_, changed)
        if refusal is None:
            refusal = self._send(open_, changed, request, out)
        if refusal is not None:
            self._state.counters.refusals += 1
            self._state.counters.amendments_refused += 1
            out.append(AmendRefused(book.name, open_.order.symbol, request, *refusal))

    def _changed(self, open_: OpenOrder, request: AmendRequest) -> tuple[Order, Problem | None]:
        """Return the order as it would be, and why it cannot be so."""
        # What is asked for builds on what was asked for before, and is on its way.
        order = open_.asked[-1] if open_.asked else open_.order
        instrument = self._state.markets[order.symbol].instrument
        quantity, filled = order.quantity, open_.order.quantity - open_.remaining
        why_not = self._why_fixed(open_)
        if why_not is not None:
            return order, why_not
        if request.quantity is not None:
            if order.parent in self._working:
                return order, ("its quantity follows its entry", {"parent": order.parent})
            quantity = instrument.floor_quantity(request.quantity) if request.quantity > ZERO else ZERO
            if instrument.quantity_max is not None and quantity > instrument.quantity_max:
                return order, ("above the maximum quantity", {"quantity": str(quantity)})
        # What is on its way may leave nothing of it: a group took its part meanwhile, or more was filled.
        if quantity <= filled or (request.quantity is not None and quantity - filled < instrument.quantity_min):
            figures = {"quantity": str(request.quantity or quantity), "filled": str(filled)}
            return order, ("what remains would be below the minimum quantity", figures)
        changed = replace(order, quantity=quantity, remaining=quantity - filled)
        changed, problem = self._repriced(open_, changed, request)
        if problem is None and changed == replace(order, remaining=changed.remaining):
            problem = ("nothing would change", {})
        return changed, problem

    def _repriced(self, open_: OpenOrder, order: Order, request: AmendRequest) -> tuple[Order, Problem | None]:
        """Return the order with the prices that are asked for, and why it cannot have them."""
        instrument = self._state.markets[order.symbol].instrument
        limit, stop = order.limit, order.stop
        for name, now, wanted in (("limit", limit, request.limit), ("stop", stop, request.stop)):
            if wanted is None:
                continue
            if now is None:
                return order, (f"a {order.type} order takes no {name}", {name: str(wanted)})
            price = on_tick(name, wanted, order.side, instrument)
            if price <= ZERO:
                return order, (f"a {order.type} order needs a {name} above 0", {name: str(wanted)})
            limit, stop = (price, stop) if name == "limit" else (limit, price)
        if stop != order.stop and open_.state is not _WORKING:
            return order, ("its stop was reached already", {"stop": str(order.stop)})
        return replace(order, limit=limit, stop=stop), None

    def _why_fixed(self, open_: OpenOrder) -> Problem | None:
        """Return why nothing of an order can be changed."""
        if Feature.AMEND not in self._broker.features:
            return f"broker {self._broker.name} cannot amend orders", {}
        if open_.leaving:
            return "a cancel is on its way", {"reason": open_.leaving}
        if open_.order.symbol in open_.book.closing:
            return "the position is being liquidated", {}
        if len(open_.asked) >= _ASKED_MOST:
            return "too many amendments are on their way", {"on_their_way": str(len(open_.asked))}
        return None

    def _reviewed(self, view: View, book: Book, open_: OpenOrder, changed: Order) -> Refusal | None:
        """Show the gates an entry that grows or gets other prices, as if it were sent afresh."""
        smaller = changed.quantity <= open_.order.quantity
        same = changed.limit == open_.order.limit and changed.stop == open_.order.stop
        if changed.reduce_only or (smaller and same):
            return None
        market = self._state.markets[changed.symbol]
        if market.halt_reasons:
            return "engine", "trading is halted", {"reasons": "; ".join(market.halt_reasons)}
        children = {one.order.type: one.order for one in self._children(open_)}
        guard, target = children.get(OrderType.STOP), children.get(OrderType.LIMIT)
        request = OrderRequest(
            changed.symbol, changed.side, changed.remaining, changed.type, changed.limit, stop=changed.stop,
            trail=changed.trail, stop_loss=None if guard is None else guard.stop,
            take_profit=None if target is None else target.limit, post_only=changed.post_only,
            time_in_force=changed.time_in_force, expires_ns=changed.expires_ns,
            group=changed.group.removeprefix(f"{book.name}/"),
        )  # fmt: skip
        problem = None if same else bracket_problem(market, request)
        if problem is not None:
            return "engine", *problem
        kept = book.orders
        book.orders = {one: order for one, order in kept.items() if order is not open_}
        try:
            answer = self._gates.review(view, request, changed.remaining, ZERO, market)
        finally:
            book.orders = kept
        if not isinstance(answer, Approval):
            return answer[0], answer[1].reason, answer[1].numbers
        if answer.quantity < changed.remaining:
            return "engine", "the gates allow less", {"quantity": str(answer.quantity)}
        return None

    def _send(self, open_: OpenOrder, changed: Order, request: AmendRequest, out: Outputs) -> Refusal | None:
        """Give the change to the broker; return why it does not take it."""
        now_ns = self._state.now_ns
        answer = self._broker.amend(changed, now_ns)
        if type(answer) is not Accepted:
            return self._broker.name, answer.reason, {}  # type: ignore[union-attr]
        out.append(AmendSent(open_.book.name, changed.symbol, request, answer.eligible_ns))
        if answer.eligible_ns > now_ns:
            open_.asked = (*open_.asked, changed)
        else:
            reason = request.reason or "asked for by the strategy"
            self._set_figures(open_, changed.quantity, changed.limit, changed.stop, reason, out)
        return None
