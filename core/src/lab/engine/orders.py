"""Order entry: validates a request, runs the risk gates and submits it. Every request ends in exactly one event.

Everything here runs in the exact decimal context; the caller sets it.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from lab.domain.events import OrderAccepted, OrderEnded, OrderRefused, Signal
from lab.domain.ids import order_id
from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.orders import Accepted, CancelRequest, Order, OrderRequest, OrderType, Rejected, Side
from lab.domain.position import FLAT
from lab.engine.bound_broker import BoundBroker
from lab.engine.gates import Approval, Gates
from lab.engine.margin_rules import margin_problem
from lab.engine.state import Book, EngineState, Market, OpenOrder, Outputs
from lab.engine.view import View
from lab.errors import ComponentError

Archive = Callable[[str], str | None]
Numbers = Mapping[str, str]

# Python 3.11 looks an enum's member up in 90 ns: too long for every order.
_LIMIT = OrderType.LIMIT
_MARKET = OrderType.MARKET
_BUY = Side.BUY


class OrderEntry:
    """Takes the requests of one run through rules and gates to the broker."""

    __slots__ = ("_archive", "_gates", "_state", "_takes_market", "_working", "broker")

    def __init__(self, state: EngineState, broker: BoundBroker, gates: Gates, *, archive: Archive | None) -> None:
        self._state = state
        self.broker = broker
        self._gates = gates
        self._archive = archive
        self._takes_market = _MARKET in broker.types
        self._working = state.working

    def request(
        self, view: View, book: Book, request: OrderRequest, place: int, decision: str, live: bool, out: Outputs
    ) -> None:
        """Answer one request with exactly one of `Signal`, `OrderRefused`, `OrderAccepted` or `OrderEnded`.

        ``decision`` says on what it was decided, ``place`` where the request stands in the decision, ``live`` whether
        the decision was made on fresh data.
        """
        state = self._state
        symbol, wanted = request.symbol, request.quantity
        market = state.markets.get(symbol)
        if request.decided_ns is not None:
            decision = f"c{request.decided_ns}{market.suffix if market is not None else ''}"
        oid = order_id(state.config_hash, book.name, symbol, decision, request.leg or str(place + 1))
        held = book.ledger.positions.get(symbol, FLAT).quantity
        reducible = self._reducible(book, request, held) if held else ZERO
        closes = bool(reducible) and (request.reduce_only or wanted <= reducible)
        halted = state.halt_reasons if not closes else ()
        if not live or state.no_orders or (halted and not reducible):
            state.counters.signals += 1
            out.append(Signal(book.name, request, self._why_not(live)))
            return
        perhaps_known = oid in book.orders or oid in book.outcomes or request.decided_ns is not None
        if perhaps_known and self._refuse_duplicate(book, oid, request, out):
            return
        if market is None:
            known = ", ".join(state.markets)
            self._refuse(book, oid, request, "engine", f"unknown symbol {symbol!r}; this run has {known}", {}, out)
            return
        instrument = market.instrument
        quantity = instrument.floor_quantity(wanted) if wanted > ZERO else ZERO
        if request.reduce_only and quantity > reducible:
            quantity = reducible
        unusual = (
            request.type is not _MARKET
            or not self._takes_market
            or not instrument.quantity_min <= quantity
            or not quantity
            or instrument.quantity_max is not None
        )
        problem = self._problem(instrument, request, quantity, held) if unusual else None
        if problem is None and (symbol in book.closing or market.notional_most is not None):
            problem = margin_problem(book, market, request.side, quantity, closes=closes)
        if problem is not None:
            self._refuse(book, oid, request, "engine", problem[0], problem[1], out)
            return
        remarks: tuple[str, ...] = ()
        if halted:  # only the part that closes the position is placed
            quantity, closes = reducible, True
            remarks = (f"only what closes: trading is halted: {'; '.join(halted)}",)
        elif not closes and self._gates.bound:
            answer = self._gates.review(view, request, quantity, reducible, market)
            if not isinstance(answer, Approval):
                self._refuse(book, oid, request, answer[0], answer[1].reason, answer[1].numbers, out)
                return
            quantity, remarks, closes = answer.quantity, answer.remarks, answer.closes
        if remarks and closes and quantity < instrument.quantity_min and quantity != held.copy_abs():
            numbers = {"closes": str(quantity), "quantity_min": str(instrument.quantity_min)}
            reason = f"below the minimum quantity: {'; '.join(remarks)}"
            self._refuse(book, oid, request, "engine", reason, numbers, out)
            return
        self._submit(book, market, oid, request, quantity, request.reduce_only or closes, remarks, out)

    def close_position(self, book: Book, symbol: str, quantity: Decimal, reason: str, out: Outputs) -> None:
        """Place the engine's own orders that close a position at the market: one, or as many as its maximum makes."""
        side = Side.SELL if quantity > 0 else Side.BUY
        state, decision, number = self._state, f"x{self._state.now_ns}", 1
        market = state.markets[symbol]
        left, most = quantity.copy_abs(), market.instrument.quantity_max
        while left > ZERO:
            size = left if most is None else min(left, most)
            left -= size
            request = OrderRequest(symbol, side, size, reduce_only=True, reason=reason, leg="close")
            oid = order_id(state.config_hash, book.name, symbol, decision, "close")
            while oid in book.orders or oid in book.outcomes:  # an earlier one at the same time has it
                number += 1
                oid = order_id(state.config_hash, book.name, symbol, f"{decision}.{number}", "close")
            self._submit(book, market, oid, request, size, True, (), out)

    def cancel(self, book: Book, request: CancelRequest, out: Outputs) -> None:
        """Cancel a working order of this book; an unknown id is ignored."""
        open_ = book.orders.get(request.order_id)
        if open_ is not None and open_.order.symbol not in book.closing:  # nobody takes a liquidation back
            self.cancel_open(open_, request.reason or "asked for by the strategy", out)

    def cancel_open(self, open_: OpenOrder, reason: str, out: Outputs) -> None:
        """Cancel a working order, unless the broker answers that it is too late."""
        order_id = open_.order.id
        if self.broker.cancel(order_id):
            # A report of the same moment may still come: the order had ended before anybody looked.
            self._state.ended.add(order_id)
            self.end(open_, "cancelled", reason, out)

    def withdraw(self, open_: OpenOrder, reason: str, out: Outputs) -> None:
        """End a working order whatever the broker says."""
        self.broker.cancel(open_.order.id)
        self._state.ended.add(open_.order.id)
        self.end(open_, "cancelled", reason, out)

    def end(self, open_: OpenOrder, outcome: str, reason: str, out: Outputs) -> None:
        """Book the end of a working order that was not filled whole."""
        book, order = open_.book, open_.order
        del book.orders[order.id]
        del self._working[order.id]
        book.remember(order.id, outcome)
        counters = self._state.counters
        setattr(counters, outcome, getattr(counters, outcome) + 1)
        out.append(OrderEnded(order.id, book.name, order.symbol, outcome, reason, open_.remaining))

    def _why_not(self, live: bool) -> str:
        if not live:
            return "backfilled"
        return "no_orders" if self._state.no_orders else "halted: " + "; ".join(self._state.halt_reasons)

    def _refuse_duplicate(self, book: Book, oid: str, request: OrderRequest, out: Outputs) -> bool:
        """Refuse an order whose id has an outcome, with it; only a time the strategy names can be a forgotten one."""
        first = "accepted" if oid in book.orders else book.outcomes.get(oid)
        if first is None and self._archive is not None:
            first = self._archive(oid)
        if first is None:
            return False
        reason = f"the same order was sent before: {first}"
        self._refuse(book, oid, request, "duplicate", reason, {"first_outcome": first}, out)
        return True

    @staticmethod
    def _reducible(book: Book, request: OrderRequest, held: Decimal) -> Decimal:
        """Return how much of the position the request can close.

        The quantity that working orders of its side will close is not available: a plain order opens with the rest, and
        passes the gates. For a reduce-only request only market orders count, not limit orders: a stop must not wait for
        a distant target, and the one that fills second is cut to the position.
        """
        if (held > ZERO) is (request.side is _BUY):
            return ZERO
        left = held.copy_abs()
        if not book.orders:
            return left
        for open_ in book.orders.values():
            order = open_.order
            if order.symbol == request.symbol and order.side is request.side:
                if request.reduce_only and order.type is _LIMIT:
                    continue
                left -= open_.remaining
        return max(left, ZERO)

    def _problem(
        self, instrument: Instrument, request: OrderRequest, quantity: Decimal, held: Decimal
    ) -> tuple[str, Numbers] | None:
        """Return why the engine's rules or the broker's capabilities forbid the order, or ``None``."""
        if request.type not in self.broker.types:
            can = ", ".join(sorted(self.broker.types)) or "none"
            return f"broker {self.broker.name} takes no {request.type} orders; it takes {can}", {
                "type": request.type.value
            }
        if quantity < instrument.quantity_min or not quantity:
            if request.quantity <= ZERO:
                return "the quantity must be above 0", {"quantity": str(request.quantity)}
            if request.reduce_only and quantity <= ZERO:
                return "nothing left to reduce", {"position": str(held), "quantity": str(request.quantity)}
            if quantity <= ZERO or quantity != held.copy_abs():
                return "below the minimum quantity", {
                    "quantity": str(request.quantity),
                    "floored_to_lot": str(quantity),
                    "quantity_min": str(instrument.quantity_min),
                    "lot": str(instrument.lot),
                }
        most = instrument.quantity_max
        if most is not None and quantity > most:
            return "above the maximum quantity", {"quantity": str(quantity), "quantity_max": str(most)}
        if request.type is _LIMIT:
            limit = None if request.limit is None else instrument.passive_price(request.limit, request.side)
            if limit is None or limit <= ZERO:
                return "a limit order needs a limit above 0", {
                    "limit": str(request.limit),
                    "tick": str(instrument.tick),
                }
        return None

    def _refuse(
        self, book: Book, oid: str, request: OrderRequest, by: str, reason: str, numbers: Numbers, out: Outputs
    ) -> None:
        self._state.counters.refusals += 1
        if by != "duplicate":
            book.remember(oid, f"refused by {by}")
        out.append(OrderRefused(oid, book.name, request, by, reason, numbers))

    def _submit(
        self,
        book: Book,
        market: Market,
        oid: str,
        request: OrderRequest,
        quantity: Decimal,
        reduce_only: bool,
        remarks: tuple[str, ...],
        out: Outputs,
    ) -> None:
        now_ns = self._state.now_ns
        limit = request.limit
        if limit is not None:
            limit = market.instrument.passive_price(limit, request.side)
        order = Order(
            oid, book.name, market.symbol, request.side, quantity, request.type, limit, reduce_only, now_ns, quantity
        )
        try:
            answer = self.broker.submit(order, now_ns)
        except ComponentError as failure:
            self._refuse(book, oid, request, "engine", str(failure), {}, out)
            raise
        self._state.counters.orders += 1
        eligible_ns = answer.eligible_ns if type(answer) is Accepted else now_ns
        open_ = self._working[oid] = book.orders[oid] = OpenOrder(book, order, eligible_ns)
        out.append(
            OrderAccepted(
                oid, book.name, market.symbol, request.side, request.type, quantity, limit, reduce_only,
                request.reason, request.quantity, now_ns, eligible_ns, remarks,
            )
        )  # fmt: skip
        if type(answer) is Rejected:
            self.end(open_, "rejected", answer.reason, out)
