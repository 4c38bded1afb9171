"""Where a request becomes an order, or does not: id, lot, minimum, gates, broker. Every request ends in one event."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lab.domain.events import OrderAccepted, OrderEnded, OrderRefused, Signal
from lab.domain.ids import order_id
from lab.domain.ledger import ZERO
from lab.domain.orders import PASS, Accepted, CancelRequest, Order, OrderRequest, OrderType, Pass, Refuse, Shrink, Side
from lab.engine.state import Book, BrokerProtocol, Market, OpenOrder, RiskGateProtocol
from lab.errors import EngineError

if TYPE_CHECKING:
    from lab.engine.engine import Engine

Outputs = list[object]

_LIMIT = OrderType.LIMIT  # Python 3.11 looks an enum's member up in 90 ns: too long for every order
_BUY = Side.BUY


class OrderEntry:
    """Takes the requests of one engine through rules and gates to the broker."""

    __slots__ = ("_archive", "_broker", "_engine", "_gates", "_lineage", "_no_orders", "_working")

    def __init__(
        self,
        engine: "Engine",
        broker: BrokerProtocol,
        gates: Sequence[tuple[str, RiskGateProtocol]],
        *,
        config_hash: str,
        no_orders: bool,
        archive: Callable[[str], str | None] | None,
    ) -> None:
        self._engine = engine
        self._broker = broker
        self._gates = tuple((name, gate.review) for name, gate in gates)
        self._lineage = config_hash
        self._no_orders = no_orders
        self._archive = archive
        self._working = engine.working

    def request(self, seat: Book, request: OrderRequest, place: int, decided_ns: int, live: bool, out: Outputs) -> None:
        """Answer one request with exactly one of `Signal`, `OrderRefused`, `OrderAccepted` or `OrderEnded`."""
        engine = self._engine
        symbol, wanted = request.symbol, request.quantity
        named_ns = request.decided_ns
        if named_ns is not None:
            decided_ns = named_ns
        oid = order_id(self._lineage, seat.name, symbol, decided_ns, request.leg or str(place + 1))
        position = seat.ledger.positions.get(symbol)
        held = ZERO if position is None else position.quantity
        reducible = self._reducible(seat, request, held) if held else ZERO
        closes = bool(reducible) and (request.reduce_only or wanted <= reducible)
        shut = bool(engine.shut) and not closes
        if not live or self._no_orders or (shut and not reducible):
            engine.tally.signals += 1
            out.append(Signal(seat.name, request, self._why_not(live)))
            return
        if oid in seat.orders or oid in seat.outcomes or named_ns is not None:
            first = self._outcome(seat, oid)
            if first is not None:
                reason = f"the same order was sent before: {first}"
                self._refuse(seat, oid, request, "duplicate", reason, {"first_outcome": first}, out)
                return
        market = engine.markets.get(symbol)
        if market is None:
            known = ", ".join(engine.markets)
            self._refuse(seat, oid, request, "engine", f"unknown symbol {symbol!r}; this run has {known}", {}, out)
            return
        instrument = market.instrument
        quantity = instrument.floor_quantity(wanted) if wanted > ZERO else ZERO
        if request.reduce_only and quantity > reducible:
            quantity = reducible
        most = instrument.quantity_max
        if (
            quantity < instrument.quantity_min
            or not quantity
            or (most is not None and quantity > most)
            or request.type is _LIMIT
        ):
            problem = self._problem(market, request, quantity, held)
            if problem is not None:
                self._refuse(seat, oid, request, "engine", problem[0], problem[1], out)
                return
        remarks: tuple[str, ...] = ()
        if shut:  # what would turn the position is not placed, what closes it is
            quantity, closes = reducible, True
            remarks = (f"only what closes: gate: {'; '.join(engine.shut)}",)
        elif not closes and self._gates:
            reviewed = self._review(seat, oid, request, quantity, reducible, market, out)
            if reviewed is None:
                return
            quantity, remarks, closes = reviewed
        self._submit(seat, market, oid, request, quantity, request.reduce_only or closes, remarks, out)

    def close(self, seat: Book, symbol: str, quantity: Decimal, now_ns: int, reason: str, out: Outputs) -> None:
        """Place the engine's own order that closes a position at the end of a run."""
        side = Side.SELL if quantity > 0 else Side.BUY
        request = OrderRequest(symbol, side, abs(quantity), reduce_only=True, reason=reason, leg="close")
        oid = order_id(self._lineage, seat.name, symbol, now_ns, "close")
        self._submit(seat, self._engine.markets[symbol], oid, request, abs(quantity), True, (), out)

    def cancel(self, seat: Book, request: CancelRequest, out: Outputs) -> None:
        """Take a working order of this seat back."""
        if request.order_id in seat.orders and self._broker.cancel(request.order_id):
            working = self._working[request.order_id]
            self.end(working, "cancelled", request.reason or "asked for by the strategy", out)

    def end(self, working: OpenOrder, outcome: str, reason: str, out: Outputs) -> None:
        """Book the end of a working order."""
        seat, order = working.seat, working.order
        if outcome == "cancelled":  # by the engine itself, so a report of the same moment may still come
            self._engine.ended.add(order.id)
        del seat.orders[order.id]
        del self._working[order.id]
        seat.remember(order.id, outcome)
        totals = self._engine.tally
        setattr(totals, outcome, getattr(totals, outcome) + 1)
        ended = OrderEnded(order.id, seat.name, order.symbol, outcome, reason, working.left)
        out.append(ended)
        if seat.on_end is not None and not seat.stopped:
            self._engine.guard(seat, seat.on_end, ended, out)

    def _why_not(self, live: bool) -> str:
        if not live:
            return "backfilled"
        return "no_orders" if self._no_orders else "gate: " + "; ".join(self._engine.shut)

    def _outcome(self, seat: Book, oid: str) -> str | None:
        """Return the outcome of the first order with this id; only a time the strategy names can be a forgotten one."""
        if oid in seat.orders:
            return "accepted"
        first = seat.outcomes.get(oid)
        return first if first is not None or self._archive is None else self._archive(oid)

    @staticmethod
    def _reducible(seat: Book, request: OrderRequest, held: Decimal) -> Decimal:
        """Return how much of the position the request can close.

        What working orders of its side will close is not there any more: a plain order opens with the rest, and meets
        the gates. A reduce-only one leaves it to market orders only: a stop must not wait for a target far away, and
        whichever fills second is cut to what is held.
        """
        if (held > ZERO) is (request.side is _BUY):
            return ZERO
        left = abs(held)
        if not seat.orders:
            return left
        for order in seat.orders.values():
            if order.symbol == request.symbol and order.side is request.side:
                if request.reduce_only and order.type is _LIMIT:
                    continue
                left -= order.remaining
        return max(left, ZERO)

    @staticmethod
    def _problem(
        market: Market, request: OrderRequest, quantity: Decimal, held: Decimal
    ) -> tuple[str, Mapping[str, str]] | None:
        """Return what the engine's own rules have against the order, with the figures."""
        instrument = market.instrument
        small = quantity < instrument.quantity_min and quantity != abs(held)
        if quantity <= ZERO or small:
            if request.reduce_only and quantity <= 0 < request.quantity:
                return "nothing left to reduce", {"position": str(held), "quantity": str(request.quantity)}
            return "below the minimum quantity", {
                "quantity": str(request.quantity),
                "floored_to_lot": str(quantity),
                "quantity_min": str(instrument.quantity_min),
                "lot": str(instrument.lot),
            }
        if instrument.quantity_max is not None and quantity > instrument.quantity_max:
            return "above the maximum quantity", {
                "quantity": str(quantity),
                "quantity_max": str(instrument.quantity_max),
            }
        if request.type is _LIMIT:
            limit = None if request.limit is None else instrument.passive_price(request.limit, request.side)
            if limit is None or limit <= ZERO:
                return "a limit order needs a limit above 0", {
                    "limit": str(request.limit),
                    "tick": str(instrument.tick),
                }
        return None

    def _review(
        self,
        seat: Book,
        oid: str,
        request: OrderRequest,
        quantity: Decimal,
        reducible: Decimal,
        market: Market,
        out: Outputs,
    ) -> tuple[Decimal, tuple[str, ...], bool] | None:
        """Ask the gates. Where they refuse an order that would turn a position, the part that closes it goes on."""
        remarks: tuple[str, ...] = ()
        for name, review in self._gates:
            shown = request if quantity == request.quantity else replace(request, quantity=quantity)
            try:
                verdict = review(shown, seat.view)
            except (Exception, SystemExit) as error:
                verdict = Refuse(f"the gate failed: {type(error).__name__}: {error}")
            if verdict is PASS or isinstance(verdict, Pass):
                continue
            if isinstance(verdict, Shrink) and isinstance(verdict.quantity, Decimal) and verdict.quantity.is_finite():
                smaller = market.instrument.floor_quantity(verdict.quantity)
                if market.instrument.quantity_min <= smaller <= quantity:
                    remarks += (f"{name} shrank {quantity} to {smaller}: {verdict.reason} {dict(verdict.numbers)}",)
                    quantity = smaller
                    continue
                verdict = Refuse(
                    f"the gate asked for {verdict.quantity} of {quantity}: {verdict.reason}", verdict.numbers
                )
            elif not isinstance(verdict, Refuse):
                verdict = Refuse(
                    f"the gate answered {verdict!r:.100}, not Pass, Refuse or a Shrink to a finite Decimal"
                )
            if reducible:
                return reducible, (*remarks, f"{name} refused what would open: {verdict.reason}"), True
            self._refuse(seat, oid, request, name, verdict.reason, verdict.numbers, out)
            return None
        return quantity, remarks, False

    def _refuse(
        self,
        seat: Book,
        oid: str,
        request: OrderRequest,
        by: str,
        reason: str,
        numbers: Mapping[str, str],
        out: Outputs,
    ) -> None:
        self._engine.tally.refusals += 1
        if by != "duplicate":
            seat.remember(oid, f"refused by {by}")
        out.append(OrderRefused(oid, seat.name, request, by, reason, dict(numbers)))

    def _submit(
        self,
        seat: Book,
        market: Market,
        oid: str,
        request: OrderRequest,
        quantity: Decimal,
        reduce_only: bool,
        remarks: tuple[str, ...],
        out: Outputs,
    ) -> None:
        engine = self._engine
        now_ns = engine.now_ns
        limit = request.limit
        if limit is not None:
            limit = market.instrument.passive_price(limit, request.side)
        order = Order(
            oid, seat.name, market.symbol, request.side, quantity, request.type, limit, reduce_only, now_ns, quantity
        )
        try:
            answer = self._broker.submit(order, now_ns)
        except (Exception, SystemExit) as error:
            raise EngineError(f"the broker failed: {type(error).__name__}: {error}") from error
        engine.tally.orders += 1
        accepted = isinstance(answer, Accepted)
        order.eligible_ns = answer.eligible_ns if isinstance(answer, Accepted) else now_ns
        seat.orders[oid] = order
        working = self._working[oid] = OpenOrder(seat, order, quantity)
        out.append(
            OrderAccepted(
                oid, seat.name, market.symbol, request.side, request.type, quantity, limit, reduce_only,
                request.reason, request.quantity, now_ns, order.eligible_ns, remarks,
            )
        )  # fmt: skip
        if not accepted:
            self.end(working, "rejected", getattr(answer, "reason", repr(answer)), out)
