"""A harness for one broker: shows it orders and the market as the engine does, and keeps count of what it reports."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Final

from attrs import frozen
from msgspec.structs import replace

from lab.domain.control import Timer
from lab.domain.events import Fill
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, Amended, Ended, Order, OrderType, Rejected, Report, Side
from lab.domain.time import MILLISECOND_NS, MINUTE_NS, SECOND_NS
from lab.engine.state import EngineState
from lab.engine.view import MarketView
from lab.ports import Broker
from lab.testing.builders import START_NS

MarketEvent = Quote | Candle | Timer

_SIDES: Final = (Side.BUY, Side.SELL)
_ENDS: Final = ("expired", "rejected", "cancelled")


@frozen
class Exposure:
    """The event an order met, the time from which it could meet any, and the quote in force at that time."""

    event: MarketEvent
    eligible_ns: int
    in_force: Quote | None


@frozen
class SubmitOrder:
    """One move of a plan: submit an order."""

    side: Side
    quantity: Decimal
    limit: Decimal | None
    reduce_only: bool


@frozen
class CancelOrder:
    """One move of a plan: cancel the order that is so many places behind the newest."""

    back: int


Move = SubmitOrder | CancelOrder | MarketEvent


class BrokerHarness:
    """One broker, opened, and what became of every order given to it.

    ``log`` has every answer and report in order, ``fills`` each fill with the event it met, ``breaches`` what was
    reported against an order's life.
    """

    def __init__(self, broker: Broker, instruments: Sequence[Instrument], seed: int) -> None:
        self.broker = broker
        self.now_ns = START_NS
        self.orders: dict[str, Order] = {}
        self.working: dict[str, Decimal] = {}
        self.log: list[object] = []
        self.fills: list[tuple[Exposure, Fill]] = []
        self.breaches: list[str] = []
        self._quotes: list[Quote] = []
        known = {one.symbol: one for one in instruments}
        broker.open(known, seed)
        self._state = EngineState(
            known,
            MINUTE_NS,
            64,
            (),
            config_hash="",
            leverage=Decimal(1),
            margin_mode="cross",
            account_mode="separate",
            no_orders=False,
        )
        broker.attach(MarketView(self._state))

    # -- orders ------------------------------------------------------------------------------------------------------

    def order(
        self,
        side: Side,
        *,
        quantity: Decimal = Decimal("0.01"),
        limit: Decimal | None = None,
        reduce_only: bool = False,
        symbol: str = "BTCUSDT",
        kind: OrderType | None = None,
        **terms: Any,
    ) -> Order:
        """Return the next order, at the market or with a limit unless ``kind`` says another type.

        ``terms`` are other fields of `Order`.
        """
        oid = f"order-{symbol}-{len(self.orders) + 1}"
        if kind is None:
            kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        return Order(oid, "tester", symbol, side, quantity, kind, limit, reduce_only, self.now_ns, quantity, **terms)

    def submit(
        self,
        side: Side,
        *,
        quantity: Decimal = Decimal("0.01"),
        limit: Decimal | None = None,
        reduce_only: bool = False,
        **terms: Any,
    ) -> Order:
        """Submit an order at the time of now, as the engine does. Asserts that it is accepted."""
        order = self.order(side, quantity=quantity, limit=limit, reduce_only=reduce_only, **terms)
        answer = self.broker.submit(order, self.now_ns)
        assert isinstance(answer, Accepted), f"submit() answered {answer!r} to a plain order: {order}"
        order = replace(order, eligible_ns=answer.eligible_ns)
        self.orders[order.id] = order
        self.working[order.id] = order.quantity
        self.log.append((order.id, answer))
        return order

    def submit_marketable(self, side: Side) -> Order:
        """Submit an order that the next quote fills: at the market, where the broker takes such, else with a limit."""
        if OrderType.MARKET in self.broker.order_types():
            return self.submit(side)
        return self.submit(side, limit=Decimal(60_000) if side is Side.BUY else Decimal(40_000))

    def cancel(self, order_id: str) -> Accepted | Rejected:
        """Cancel a working order and return the broker's answer: up to now, it is gone; later, a report will follow."""
        answer = self.broker.cancel(order_id, self.now_ns)
        if isinstance(answer, Accepted) and answer.eligible_ns <= self.now_ns:
            self.working.pop(order_id, None)
        self.log.append((order_id, answer))
        return answer

    def amend(self, order: Order) -> Accepted | Rejected:
        """Amend a working order and return the broker's answer: up to now, it is changed; later, a report follows."""
        answer = self.broker.amend(order, self.now_ns)
        if isinstance(answer, Accepted) and answer.eligible_ns <= self.now_ns:
            self._change(order.id, order.quantity)
        self.log.append((order.id, answer))
        return answer

    # -- the market --------------------------------------------------------------------------------------------------

    def quote(self, time_ns: int, *, symbol: str = "BTCUSDT", mid: float = 50_000.0, size: float = 1.0) -> Quote:
        """Return a quote 0.2 wide."""
        return Quote(symbol, time_ns, round(mid - 0.1, 1), size, round(mid + 0.1, 1), size)

    def candle(self, time_ns: int, *, symbol: str = "BTCUSDT", mid: float = 50_000.0) -> Candle:
        """Return a minute's candle that is known at ``time_ns``."""
        return Candle(symbol, time_ns - MINUTE_NS, time_ns, mid, mid + 5.0, mid - 5.0, mid, 50.0)

    def observe(self, event: MarketEvent) -> Sequence[Fill | Report]:
        """Show the broker an event, book what it reports and return it.

        Nothing is shown while no order works, unless the broker watches the market.
        """
        self.now_ns = self._state.now_ns = max(self.now_ns, event.time_ns)
        if isinstance(event, Quote):
            self._quotes.append(event)
            if event.symbol in self._state.markets:
                self._state.markets[event.symbol].quote = event
        if not self.working and not self.broker.watches_market():
            return ()
        answer = self.broker.observe(event)
        assert isinstance(answer, Iterable), f"observe() gave {answer!r}, not a sequence of Fill and other reports"
        reports = list(answer)
        for report in reports:
            self.log.append(report)
            self._book(report, event)
        return reports

    def _book(self, report: object, event: MarketEvent) -> None:
        if not isinstance(report, Fill | Report):
            self.breaches.append(f"observe() gave {report!r}, neither Fill nor Ended, Triggered or Amended")
            return
        order, left = self.orders.get(report.order_id), self.working.get(report.order_id)
        if order is None or left is None:
            what = "was never given to it" if order is None else "had ended"
            self.breaches.append(f"it reported on {report.order_id!r}, which {what}: {report}")
            return
        if isinstance(report, Ended):
            del self.working[order.id]
            if report.outcome not in _ENDS or not report.reason.strip():
                self.breaches.append(f"an end needs the outcome {' or '.join(_ENDS)}, and a reason: {report}")
            return
        if isinstance(report, Amended):
            self._change(order.id, report.quantity)
        if not isinstance(report, Fill):
            return
        self.fills.append((Exposure(event, order.eligible_ns, self._in_force(order)), report))
        left -= report.quantity
        if left < 0:
            self.breaches.append(f"filled {-left} beyond the quantity {order.quantity} of {order.id}: {report}")
        if left > 0:
            self.working[order.id] = left
        else:
            del self.working[order.id]

    def _change(self, order_id: str, quantity: Decimal) -> None:
        """Count with another whole quantity of an order that works."""
        if order_id in self.working:
            order = self.orders[order_id]
            self.working[order_id] += quantity - order.quantity
            self.orders[order_id] = replace(order, quantity=quantity)

    def filled(self, order_id: str) -> Decimal:
        """Return how much of an order was filled."""
        return sum((fill.quantity for _, fill in self.fills if fill.order_id == order_id), Decimal(0))

    def _in_force(self, order: Order) -> Quote | None:
        """Return the newest quote up to an order's arrival."""
        found = None
        for quote in self._quotes:
            if quote.symbol == order.symbol and quote.time_ns <= order.eligible_ns:
                found = quote
        return found


def plan(seed: int, moves: int = 240) -> list[Move]:
    """Return a seeded session: orders of all kinds in a moving market of quotes (odd seeds) or candles (even ones).

    Some quotes rest exactly at the newest limit, on its own side or on the other one.
    """
    random = Random(seed)
    made: list[Move] = []
    now_ns, mid = START_NS, 50_000.0
    newest: SubmitOrder | None = None
    for number in range(moves):
        now_ns += random.choice((50, 120, 400, 900)) * MILLISECOND_NS
        mid = round(mid + random.choice((-1, 1)) * random.choice((0.0, 0.3, 1.7, 9.0)), 1)
        turn = random.random()
        if turn < 0.25:
            order = _order(random, mid)
            newest = newest if order.limit is None else order
            made.append(order)
        elif turn < 0.30:
            made.append(CancelOrder(random.randrange(4)))
        elif turn < 0.33:
            now_ns += 30 * SECOND_NS
            made.append(Timer(now_ns))
        elif seed % 2:
            at_limit = newest is not None and random.random() < 0.25
            made.append(_at_limit(random, now_ns, newest) if at_limit and newest else _quote(random, now_ns, mid))
        elif number % 3 == 0:
            now_ns = (now_ns // MINUTE_NS + 1) * MINUTE_NS
            size = round(random.choice((0.02, 3.0, 80.0)), 2)
            high, low = round(mid + random.randrange(90) / 10, 1), round(mid - random.randrange(90) / 10, 1)
            made.append(Candle("BTCUSDT", now_ns - MINUTE_NS, now_ns, mid, high, low, mid, size))
    return made


def trade(harness: BrokerHarness, moves: Sequence[Move]) -> BrokerHarness:
    """Take a plan's moves, orders of types that the broker does not take left out, and return the harness."""
    types = harness.broker.order_types()
    for move in moves:
        if isinstance(move, SubmitOrder):
            if (OrderType.MARKET if move.limit is None else OrderType.LIMIT) in types:
                harness.submit(move.side, quantity=move.quantity, limit=move.limit, reduce_only=move.reduce_only)
        elif isinstance(move, CancelOrder):
            working = list(harness.working)
            if move.back < len(working):
                harness.cancel(working[-1 - move.back])
        else:
            harness.observe(move)
    return harness


def _order(random: Random, mid: float) -> SubmitOrder:
    side = random.choice(_SIDES)
    quantity = Decimal(random.choice(("0.0001", "0.01", "0.4", "2.5")))
    limit = None
    if random.random() < 0.5:
        away = random.randrange(-40, 160) / 10
        limit = Decimal(repr(round(mid - away if side is Side.BUY else mid + away, 1)))
    return SubmitOrder(side, quantity, limit, random.random() < 0.1)


def _quote(random: Random, now_ns: int, mid: float) -> Quote:
    half = random.choice((0.1, 0.5, 2.0))
    sizes = [random.choice((0.0123, 0.5, 40.0)) for _ in _SIDES]
    return Quote("BTCUSDT", now_ns, round(mid - half, 1), sizes[0], round(mid + half, 1), sizes[1])


def _at_limit(random: Random, now_ns: int, order: SubmitOrder) -> Quote:
    """Return a quote whose bid or ask is exactly an order's limit."""
    price = float(order.limit or 0)
    bid = price if random.random() < 0.7 else round(price - 0.2, 1)
    if order.side is Side.SELL:
        bid = round(price - 0.2, 1) if random.random() < 0.7 else price
    sizes = [random.choice((0.0123, 0.5, 40.0)) for _ in _SIDES]
    return Quote("BTCUSDT", now_ns, bid, sizes[0], round(bid + 0.2, 1), sizes[1])
