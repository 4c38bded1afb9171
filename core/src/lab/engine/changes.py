"""What becomes of a working order before it is filled whole: cancels, amendments, triggers and ends.

Everything here runs in the exact decimal context; the caller sets it.
"""

from collections.abc import Mapping
from decimal import Decimal

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
    Rejected,
    Triggered,
)
from lab.engine.bound_broker import BoundBroker
from lab.engine.gates import Approval, Gates
from lab.engine.order_rules import on_tick
from lab.engine.state import Book, EngineState, OpenOrder, Outputs
from lab.engine.view import View

_TRIGGERED = OrderState.TRIGGERED


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
        # A report of the same moment may still come: the order had ended before anybody looked.
        self._state.ended.add(order_id)
        self.end(open_, "cancelled", reason, out)

    def withdraw(self, open_: OpenOrder, reason: str, out: Outputs) -> None:
        """End a working order now: it has nothing left to do, or the run is over."""
        order_id = open_.order.id
        if order_id in self._working:
            self._broker.forget(order_id)
            self._state.ended.add(order_id)
            self.end(open_, "cancelled", reason, out)

    # -- ends --------------------------------------------------------------------------------------------------------

    def end(self, open_: OpenOrder, outcome: str, reason: str, out: Outputs) -> None:
        """Book the end of a working order that was not filled whole, and what it means for its children."""
        book, order = open_.book, open_.order
        if order.id not in self._working:
            return  # it ended with its parent
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
        """An entry ended: its children end with it, or guard what it filled."""
        filled = parent.order.quantity - parent.remaining
        for order_id in parent.children:
            child = self._working.get(order_id)
            if child is None:
                continue
            if not filled or self._state.failure is not None:
                self.withdraw(child, "its entry ended", out)
                continue
            left = filled - (child.order.quantity - child.remaining)
            if left > ZERO:
                self._set_figures(child, filled, child.order.limit, child.order.stop, "its entry filled in part", out)

    def wake(self, parent: OpenOrder) -> None:
        """An entry filled: its children work from now on."""
        for order_id in parent.children:
            child = self._working.get(order_id)
            if child is not None:
                child.awake = True

    def position_closed(self, closing: OpenOrder, out: Outputs) -> None:
        """A position was closed: what guarded it ends. The broker ends the orders of the closing order's group."""
        order = closing.order
        for open_ in list(closing.book.orders.values()):
            other = open_.order
            guards = other.parent and open_.awake and other.symbol == order.symbol
            if guards and other.group != order.group and other.parent != order.id:
                self.withdraw(open_, "the position is closed", out)

    # -- what the broker says ----------------------------------------------------------------------------------------

    def triggered(self, open_: OpenOrder, report: Triggered, out: Outputs) -> None:
        """Book that the price reached an order's level. Raises ``ValueError`` where it was reached before."""
        check_step(open_.order.id, open_.state, _TRIGGERED)
        open_.state = _TRIGGERED
        out.append(OrderTriggered(open_.order.id, open_.book.name, open_.order.symbol, report.level, report.reference))

    def amended(self, open_: OpenOrder, report: Amended, out: Outputs) -> None:
        """Book an order's new figures. Raises ``ValueError`` where nobody asked for them."""
        filled = open_.order.quantity - open_.remaining
        if not filled < report.quantity <= open_.most:
            raise ValueError(
                f"amended {report.order_id} to {report.quantity}; {filled} are filled and {open_.most} were asked for"
            )
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
        open_.remaining = remaining = quantity - (order.quantity - open_.remaining)
        open_.order = replace(order, quantity=quantity, limit=limit, stop=stop)
        out.append(OrderAmended(order.id, open_.book.name, order.symbol, quantity, remaining, limit, stop, reason))

    # -- amendments --------------------------------------------------------------------------------------------------

    def amend(self, view: View, book: Book, request: AmendRequest, out: Outputs) -> None:
        """Change a working order of this book, or refuse it; an unknown id is ignored."""
        open_ = book.orders.get(request.order_id)
        if open_ is None:
            return
        refusal: tuple[str, str, Mapping[str, str]] | None
        changed, problem = self._changed(open_, request)
        refusal = ("engine", *problem) if problem is not None else self._reviewed(view, book, open_, changed)
        if refusal is None:
            refusal = self._send(open_, changed, request, out)
        if refusal is not None:
            self._state.counters.refusals += 1
            out.append(AmendRefused(book.name, open_.order.symbol, request, *refusal))

    def _changed(self, open_: OpenOrder, request: AmendRequest) -> tuple[Order, tuple[str, Mapping[str, str]] | None]:
        """Return the order as it would be, and why it cannot be so."""
        order = open_.order
        instrument = self._state.markets[order.symbol].instrument
        quantity, limit, stop = order.quantity, order.limit, order.stop
        filled = quantity - open_.remaining
        why_not = self._why_fixed(open_)
        if why_not is not None:
            return order, why_not
        if request.quantity is not None:
            quantity = instrument.floor_quantity(request.quantity) if request.quantity > ZERO else ZERO
            if quantity <= filled or quantity - filled < instrument.quantity_min:
                figures = {"quantity": str(request.quantity), "filled": str(filled)}
                return order, ("what remains would be below the minimum quantity", figures)
            if instrument.quantity_max is not None and quantity > instrument.quantity_max:
                return order, ("above the maximum quantity", {"quantity": str(quantity)})
        for name, now, wanted in (("limit", limit, request.limit), ("stop", stop, request.stop)):
            if wanted is None:
                continue
            if now is None:
                return order, (f"a {order.type} order takes no {name}", {name: str(wanted)})
            price = on_tick(name, wanted, order.side, instrument)
            if price <= ZERO:
                return order, (f"a {order.type} order needs a {name} above 0", {name: str(wanted)})
            limit, stop = (price, stop) if name == "limit" else (limit, price)
        if stop != order.stop and open_.state is _TRIGGERED:
            return order, ("its stop was reached already", {"stop": str(order.stop)})
        if (quantity, limit, stop) == (order.quantity, order.limit, order.stop):
            return order, ("nothing would change", {})
        return replace(order, quantity=quantity, remaining=quantity - filled, limit=limit, stop=stop), None

    def _why_fixed(self, open_: OpenOrder) -> tuple[str, Mapping[str, str]] | None:
        """Return why nothing of an order can be changed."""
        if Feature.AMEND not in self._broker.features:
            return f"broker {self._broker.name} cannot amend orders", {}
        if open_.leaving:
            return "a cancel is on its way", {"reason": open_.leaving}
        if open_.order.symbol in open_.book.closing:
            return "the position is being liquidated", {}
        return None

    def _reviewed(
        self, view: View, book: Book, open_: OpenOrder, changed: Order
    ) -> tuple[str, str, Mapping[str, str]] | None:
        """Show the gates an entry that grows or gets other prices, as if it were sent afresh."""
        smaller = changed.quantity <= open_.order.quantity
        same = changed.limit == open_.order.limit and changed.stop == open_.order.stop
        if changed.reduce_only or (smaller and same):
            return None
        if self._state.halt_reasons:
            return "engine", "trading is halted", {"reasons": "; ".join(self._state.halt_reasons)}
        request = OrderRequest(
            changed.symbol, changed.side, changed.remaining, changed.type, changed.limit, stop=changed.stop,
            trail=changed.trail, post_only=changed.post_only,
        )  # fmt: skip
        kept = book.orders
        book.orders = {one: order for one, order in kept.items() if order is not open_}
        try:
            answer = self._gates.review(view, request, changed.remaining, ZERO, self._state.markets[changed.symbol])
        finally:
            book.orders = kept
        if not isinstance(answer, Approval):
            return answer[0], answer[1].reason, answer[1].numbers
        if answer.quantity < changed.remaining:
            return "engine", "the gates allow less", {"quantity": str(answer.quantity)}
        return None

    def _send(
        self, open_: OpenOrder, changed: Order, request: AmendRequest, out: Outputs
    ) -> tuple[str, str, Mapping[str, str]] | None:
        """Give the change to the broker; return why it does not take it."""
        now_ns = self._state.now_ns
        answer = self._broker.amend(changed, now_ns)
        if type(answer) is not Accepted:
            return self._broker.name, answer.reason, {}  # type: ignore[union-attr]
        open_.most = max(open_.most, changed.quantity)
        if answer.eligible_ns > now_ns:
            out.append(AmendSent(open_.book.name, changed.symbol, request, answer.eligible_ns))
        else:
            reason = request.reason or "asked for by the strategy"
            self._set_figures(open_, changed.quantity, changed.limit, changed.stop, reason, out)
        return None
