"""Order entry: validates a request, runs the risk gates and submits it. Every request ends in exactly one event.

Everything here runs in the exact decimal context; the caller sets it.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from msgspec.structs import astuple

from lab.domain.events import OrderAccepted, OrderRefused, Signal
from lab.domain.ids import order_id
from lab.domain.ledger import ZERO
from lab.domain.money import step_down
from lab.domain.orders import Order, OrderRequest, OrderType, Rejected, Side
from lab.domain.position import FLAT
from lab.engine.bound_broker import BoundBroker
from lab.engine.changes import OrderChanges
from lab.engine.gates import Approval, Gates
from lab.engine.margin_rules import margin_problem
from lab.engine.order_rules import Fields, Numbers, Problem, is_plain, on_tick, quantity_problem, terms_problem
from lab.engine.state import Book, EngineState, Market, OpenOrder, Outputs
from lab.engine.view import View
from lab.errors import ComponentError

Archive = Callable[[str], str | None]

# Python 3.11 looks an enum's member up in 90 ns: too long for every order. And compiled code reads a name that is
# Final at once, where it looks any other up in its module.
_MARKET: Final = OrderType.MARKET
_BUY: Final = Side.BUY
_FLAT: Final = FLAT
_REJECTED: Final = Rejected
_astuple: Final = astuple
_order: Final = Order
_accepted: Final = OrderAccepted
_WORKING_MOST: Final = 1_000
"""How many orders of one book may work when a strategy asks for another; one that only closes is always taken."""


class OrderEntry:
    """Takes the requests of one run through rules and gates to the broker."""

    __slots__ = ("_archive", "_gates", "_state", "_takes_market", "_working", "broker", "changes")

    def __init__(self, state: EngineState, broker: BoundBroker, gates: Gates, *, archive: Archive | None) -> None:
        self._state = state
        self.broker = broker
        self._gates = gates
        self._archive = archive
        self._takes_market = _MARKET in broker.types
        self._working = state.working
        self.changes = OrderChanges(state, broker, gates)

    def request(
        self, view: View, book: Book, request: OrderRequest, place: int, decision: str, live: bool, out: Outputs
    ) -> None:
        """Answer one request with exactly one of `Signal`, `OrderRefused`, `OrderAccepted` or `OrderEnded`.

        ``decision`` says on what it was decided, ``place`` where the request stands in the decision, ``live`` whether
        the decision was made on fresh data.
        """
        state = self._state
        # All fields in one call: a look-up of each costs more.
        fields: Fields = _astuple(request)
        symbol, side, wanted, _, _, reduce_only, _, leg, decided_ns, _, _, stop_loss, take_profit, _, _, _, _ = fields
        market = state.markets.get(symbol)
        if decided_ns is not None:
            decision = f"c{decided_ns}{market.suffix if market is not None else ''}"
        oid = order_id(state.config_hash, book.name, symbol, decision, leg or str(place + 1))
        held = book.ledger.positions.get(symbol, _FLAT).quantity
        reducible = self._reducible(book, symbol, side, held) if held else ZERO
        bracket = stop_loss is not None or take_profit is not None
        # An order with a bracket is meant to open: it may find the position closed when it fills.
        closes = bool(reducible) and (reduce_only or (wanted <= reducible and not bracket))
        why = state.halt_reasons if market is None else market.halt_reasons
        halted = why if not closes else ()
        if not live or state.no_orders or (halted and not reducible):
            state.counters.signals += 1
            out.append(Signal(book.name, request, self._why_not(live, why)))
            return
        perhaps_known = oid in book.orders or oid in book.outcomes or decided_ns is not None
        if perhaps_known and self._refuse_duplicate(book, oid, request, out):
            return
        if market is None:
            known = ", ".join(state.markets)
            self._refuse(book, oid, request, "engine", f"unknown symbol {symbol!r}; this run has {known}", {}, out)
            return
        instrument = market.instrument
        quantity = step_down(wanted, instrument.lot) if wanted > ZERO else ZERO
        if reduce_only and quantity > reducible:
            quantity = reducible
        problem = self._problem(market, request, is_plain(fields), quantity, held, 0 if closes else len(book.orders))
        if problem is None and (symbol in book.closing or market.notional_most is not None):
            problem = margin_problem(book, market, side, quantity, closes=closes, netted=state.margin_mode == "cross")
        if problem is not None:
            self._refuse(book, oid, request, "engine", problem[0], problem[1], out)
            return
        remarks: tuple[str, ...] = ()
        if halted:  # only the part that closes the position is placed
            quantity, closes = min(quantity, reducible), True
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
        self._submit(book, market, oid, request, fields, quantity, reduce_only or closes, remarks, out)

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
            self._submit(book, market, oid, request, _astuple(request), size, True, (), out)

    def _why_not(self, live: bool, halted: tuple[str, ...]) -> str:
        if not live:
            return "backfilled"
        return "no_orders" if self._state.no_orders else "halted: " + "; ".join(halted)

    def _refuse_duplicate(self, book: Book, oid: str, request: OrderRequest, out: Outputs) -> bool:
        """Refuse an order whose id has an outcome, with it; only a time the strategy names can be a forgotten one."""
        first = "accepted" if oid in book.orders else book.outcomes.get(oid)
        if first is None and self._archive is not None:
            first = self._archive(oid)
        if first is None:
            return False
        reason = f"the same order was sent before: {first}"
        if request.leg.isdecimal():
            reason += f"; leg {request.leg!r} is also what request number {request.leg} of a decision has without one"
        self._refuse(book, oid, request, "duplicate", reason, {"first_outcome": first}, out)
        return True

    @staticmethod
    def _reducible(book: Book, symbol: str, side: Side, held: Decimal) -> Decimal:
        """Return how much of the position the request can close.

        What market orders of its side will close is not available: a plain order opens with the rest, and passes the
        gates. Resting orders do not count: a stop must not wait for a distant target, and the order that fills second
        is cut to the position.
        """
        if (held > ZERO) is (side is _BUY):
            return ZERO
        left = held.copy_abs()
        if not book.orders:
            return left
        for open_ in book.orders.values():
            order = open_.order
            if order.type is _MARKET and order.symbol == symbol and order.side is side:
                left -= open_.remaining
        return max(left, ZERO)

    def _problem(
        self, market: Market, request: OrderRequest, plain: bool, quantity: Decimal, held: Decimal, working: int
    ) -> Problem | None:
        """Return why the engine's rules or the broker's capabilities forbid the order, or ``None``.

        ``working`` is how many orders work already, 0 for one that only closes.
        """
        if not (self._takes_market and plain):
            problem = terms_problem(market, request, self.broker, self._state.now_ns)
            if problem is not None:
                return problem
        if working >= _WORKING_MOST:
            return "too many orders work already", {"working": str(working), "most": str(_WORKING_MOST)}
        instrument = market.instrument
        if instrument.quantity_max is None and quantity and instrument.quantity_min <= quantity:
            return None
        return quantity_problem(instrument, request, quantity, held)

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
        fields: Fields,
        quantity: Decimal,
        reduce_only: bool,
        remarks: tuple[str, ...],
        out: Outputs,
    ) -> None:
        now_ns, instrument = self._state.now_ns, market.instrument
        (
            _, side, requested, kind, limit, _, _, _, _, stop, trail, stop_loss, take_profit, post_only, time_in_force,
            expires_ns, group,
        ) = fields  # fmt: skip
        if limit is not None:
            limit = instrument.passive_price(limit, side)
        if stop is not None:
            stop = on_tick("stop", stop, side, instrument)
        if trail is not None:
            trail = on_tick("trail", trail, side, instrument)
        order = _order(
            oid, book.name, market.symbol, side, quantity, kind, limit, reduce_only, now_ns, quantity,
            0, stop, trail, post_only, time_in_force, expires_ns, "", f"{book.name}/{group}" if group else "",
        )  # fmt: skip
        entry = self._give(book, order, request, requested, remarks, out)
        if entry is not None and not reduce_only and (stop_loss is not None or take_profit is not None):
            self._guard(book, market, entry, request, out)

    def _give(
        self,
        book: Book,
        order: Order,
        request: OrderRequest,
        requested: Decimal,
        remarks: tuple[str, ...],
        out: Outputs,
    ) -> OpenOrder | None:
        """Give an order to the broker, and return it where it works."""
        # All fields in one call: a look-up of each costs more.
        (
            oid, _, symbol, side, quantity, kind, limit, reduce_only, now_ns, _, _, stop, trail, post_only,
            time_in_force, expires_ns, parent, group,
        ) = _astuple(order)  # fmt: skip
        try:
            answer = self.broker.submit(order, now_ns)
        except ComponentError as failure:
            self._refuse(book, oid, request, "engine", str(failure), {}, out)
            raise
        self._state.counters.orders += 1
        rejection = answer if type(answer) is _REJECTED else None
        eligible_ns = now_ns if rejection is not None else answer.eligible_ns  # type: ignore[union-attr]
        open_ = self._working[oid] = book.orders[oid] = OpenOrder(book, order, eligible_ns)
        out.append(
            _accepted(
                oid, book.name, symbol, side, kind, quantity, limit, reduce_only, request.reason, requested, now_ns,
                eligible_ns, remarks, stop, trail, post_only, time_in_force, expires_ns, parent, group,
            )
        )  # fmt: skip
        if rejection is not None:
            self.changes.end(open_, "rejected", rejection.reason, out)
            return None
        return open_

    def _guard(self, book: Book, market: Market, entry: OpenOrder, request: OrderRequest, out: Outputs) -> None:
        """Place stop loss and target of an entry: they sleep until it fills, and one cancels the other.

        Where the broker rejects one, the entry ends: it would fill without a guard.
        """
        order = entry.order
        side = Side.SELL if order.side is _BUY else _BUY
        children: list[str] = []
        for name, kind, price in (
            ("stop", OrderType.STOP, request.stop_loss), ("target", OrderType.LIMIT, request.take_profit),
        ):  # fmt: skip
            if price is None:
                continue
            level = on_tick("stop", price, side, market.instrument)
            limit, stop = (level, None) if kind is OrderType.LIMIT else (None, level)
            child = Order(
                f"{order.id}/{name}", book.name, order.symbol, side, order.quantity, kind, limit, True,
                order.placed_ns, order.quantity, 0, stop, parent=order.id, group=order.id,
            )  # fmt: skip
            if self._give(book, child, request, order.quantity, (), out) is None:
                entry.children = tuple(children)
                self.changes.withdraw(entry, f"its {name} was rejected", out)
                self._state.ended.clear()  # no reports are booked now
                return
            children.append(child.id)
        entry.children = tuple(children)
