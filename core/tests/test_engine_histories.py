"""Whatever two strategies ask for and a broker that keeps its promise makes of it, orders and money agree to the digit.

One history is fifty market events; before each a strategy may have asked for an order and a change, and at each the
broker fills what may fill in any parts, triggers, ends, and lets cancels and amendments arrive when it likes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal, getcontext
from typing import Any, Literal

import pytest
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from lab.domain.control import Command, CommandAction, TradingState
from lab.domain.events import (
    AmendRefused,
    Fill,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    OrderTriggered,
    Signal,
)
from lab.domain.ledger import EXACT, ZERO
from lab.domain.market import Candle
from lab.domain.orders import (
    Accepted,
    Amended,
    AmendRequest,
    CancelRequest,
    Ended,
    Feature,
    Order,
    OrderRequest,
    OrderType,
    Rejected,
    Report,
    Side,
    Triggered,
)
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, instrument
from msgspec.structs import replace

D = Decimal
X = "BTCUSDT"
DEPOSIT = D(1_000_000)
LOT = D("0.0001")
RATE = D("0.0006")
WAITS = {OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP}
Mood = tuple[Literal["fill", "trigger", "end", "arrive"], int, int]


@define(eq=False)
class Held:
    """An order as the broker sees it: ``open`` may fill now."""

    order: Order
    total: Decimal
    open: Decimal
    waits: bool
    done: Decimal = ZERO
    resized: Decimal = ZERO

    def resize(self, more: Decimal) -> None:
        self.total += more
        self.resized += more


@define(kw_only=True, eq=False)
class Legal(Broker):
    """Keeps the port's promises, and does within them what its moods say."""

    takes: bool = True
    later: bool = False
    moods: Sequence[Mood] = ()
    held: dict[str, Held] = field(init=False, factory=dict)
    sent: list[tuple[str, Order | None, Decimal]] = field(init=False, factory=list)

    def order_types(self) -> frozenset[OrderType]:
        return frozenset(OrderType)

    def features(self) -> frozenset[Feature]:
        return frozenset(Feature)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        if not self.takes:
            return Rejected("not in the mood")
        self.held[order.id] = Held(order, order.quantity, ZERO if order.parent else order.quantity, order.type in WAITS)
        return Accepted(now_ns)

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        if order_id not in self.held:
            return Rejected("none")
        if self.later:
            self.sent.append((order_id, None, ZERO))
            return Accepted(now_ns + 1)
        self._drop(order_id)
        return Accepted(now_ns)

    def forget(self, order_id: str) -> None:
        self._drop(order_id)

    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        one = self.held.get(order.id)
        if one is None or not self.takes:
            return Rejected("none")
        if self.later:
            self.sent.append((order.id, order, order.quantity - one.resized))
            return Accepted(now_ns + 1)
        self._change(one, order, order.quantity)
        return Accepted(now_ns)

    def observe(self, event: Any) -> Sequence[Fill | Report]:
        reports: list[Fill | Report] = []
        for what, pick, lots in self.moods:
            if what == "arrive":
                self._arrive(reports)
            elif self.held:
                one = list(self.held.values())[pick % len(self.held)]
                if what == "trigger":
                    self._trigger(one, reports)
                elif what == "end":
                    self._drop(one.order.id)
                    outcome: Any = ("expired", "cancelled", "expired" if one.done else "rejected")[lots % 3]
                    reports.append(Ended(one.order.id, outcome, "its mood"))
                elif one.open and not one.waits:
                    self._fill(one, min(one.open, lots * LOT), event, reports)
        return reports

    def _trigger(self, one: Held, reports: list[Fill | Report]) -> None:
        if one.waits and one.open:
            one.waits = False
            reports.append(Triggered(one.order.id, D(100), D(100)))

    def _fill(self, one: Held, quantity: Decimal, event: Any, reports: list[Fill | Report]) -> None:
        order, price = one.order, 100 + quantity
        one.open -= quantity
        one.done += quantity
        fee = price * quantity * RATE
        reports.append(Fill(order.id, quantity, price, fee, RATE, "taker", "legal", price, None, ZERO, event.time_ns))
        for child in self._children(order.id):
            child.open += quantity
        for other in list(self.held.values()):
            if order.group and other.order.group == order.group and other is not one:
                if not other.order.reduce_only or other.total - other.done <= quantity:
                    self._drop(other.order.id)
                    reports.append(Ended(other.order.id, "cancelled", "of its group"))
                else:
                    other.resize(-quantity)
                    other.open = max(other.open - quantity, ZERO)
                    reports.append(
                        Amended(other.order.id, other.total, other.order.limit, other.order.stop, "of its group")
                    )
        if one.done == one.total:
            self._drop(order.id)

    def _arrive(self, reports: list[Fill | Report]) -> None:
        """Let what was sent first arrive."""
        while self.sent:
            order_id, order, quantity = self.sent.pop(0)
            one = self.held.get(order_id)
            if one is None:
                continue
            if order is not None and quantity + one.resized > one.done:
                self._change(one, order, quantity + one.resized)
                reports.append(Amended(order_id, one.total, order.limit, one.order.stop, "it arrived"))
            else:
                self._drop(order_id)
                reports.append(Ended(order_id, "cancelled", "it arrived"))
            return

    def _change(self, one: Held, order: Order, quantity: Decimal) -> None:
        more = quantity - one.total
        one.order, one.total, one.open = order, quantity, one.open + more
        for child in self._children(order.id):
            child.resize(more)

    def _children(self, order_id: str) -> list[Held]:
        return [one for one in self.held.values() if one.order.parent == order_id]

    def _drop(self, order_id: str) -> None:
        if self.held.pop(order_id, None) is not None:
            for child in self._children(order_id):
                child.resize(child.open - (child.total - child.done))


@define(kw_only=True, eq=False)
class Obedient(Strategy):
    """Asks for what it was told to ask for."""

    asks: list[Any] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Iterable[Any]:
        asked, self.asks = self.asks, []
        return asked


def request(kind: str, side: Side, lots: int) -> OrderRequest:
    """Return a request of one of the kinds that there are."""
    buys = side is Side.BUY
    near, far = (D(99), D(101)) if buys else (D(101), D(99))
    one = OrderRequest(X, side, lots * LOT)
    loss, gain = (D(80), D(130)) if buys else (D(130), D(80))
    match kind:
        case "limit" | "group" | "bracket":
            one = replace(one, type=OrderType.LIMIT, limit=near, group="g" if kind == "group" else "")
        case "stop" | "take_profit":
            one = replace(one, type=OrderType(kind), stop=far if kind == "stop" else near)
        case "stop_limit":
            one = replace(one, type=OrderType.STOP_LIMIT, stop=far, limit=far)
        case "trailing_stop":
            one = replace(one, type=OrderType.TRAILING_STOP, trail=D(1))
        case "exit":
            one = replace(one, reduce_only=True)
        case "exits":
            one = replace(one, reduce_only=True, type=OrderType.LIMIT, limit=far, group="e")
    if kind in {"bracket", "market bracket"}:
        one = replace(one, stop_loss=loss, take_profit=gain)
    return one


KINDS = [
    "nothing", "market", "limit", "group", "stop", "take_profit", "stop_limit", "trailing_stop", "exit", "exits",
    "bracket", "bracket", "market bracket", "market bracket",
]  # fmt: skip
CHANGES = ["nothing", "nothing", "cancel", "smaller", "larger", "price", "stop"]


@define
class Life:
    """What became known of one order."""

    accepted: OrderAccepted
    event_n: int
    quantity: Decimal
    done: Decimal = ZERO
    triggered: bool = False
    ended: str = ""


class Histories(RuleBasedStateMachine):
    """Two strategies, one broker, and what must hold after every event."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = Legal()
        self.strategies = [Obedient(), Obedient()]
        books: Any = [(name, one, DEPOSIT) for name, one in zip("st", self.strategies, strict=True)]
        broker: Any = self.broker
        self.engine = Engine({X: instrument(X)}, MINUTE_NS, broker, (), books, config_hash="l")
        self.engine.begin()
        self.now_ns = START_NS
        self.event_n = 0
        self.halted = False
        self.lives: dict[str, Life] = {}
        self.working: set[str] = set()
        self.positions = {"s": ZERO, "t": ZERO}
        self.cash = {"s": DEPOSIT, "t": DEPOSIT}
        self.counts: Counter[Any] = Counter()

    @rule(
        who=st.integers(0, 1),
        kind=st.sampled_from(KINDS),
        side=st.sampled_from(Side),
        lots=st.integers(1, 20),
        change=st.sampled_from(CHANGES),
        pick=st.integers(0, 9),
        moods=st.lists(
            st.tuples(
                st.sampled_from(["fill", "fill", "fill", "trigger", "end", "arrive"]),
                st.integers(0, 9), st.integers(1, 20),
            ),
            max_size=5,
        ),
        flags=st.integers(0, 15),
    )  # fmt: skip
    def happen(
        self, who: int, kind: str, side: Side, lots: int, change: str, pick: int, moods: list[Mood], flags: int
    ) -> None:
        asks = self.strategies[who].asks
        if kind != "nothing":
            asks.append(request(kind, side, lots))
        if change != "nothing" and self.working:
            asks.append(self._change(change, sorted(self.working)[pick % len(self.working)], lots))
        self.broker.moods, self.broker.takes, self.broker.later = moods, flags % 8 != 0, bool(flags & 8)
        open_ns = self.now_ns
        self.now_ns += MINUTE_NS
        price = 95.0 + pick
        self.step(Candle(X, open_ns, self.now_ns, price, price, price, price, 1.0))

    def _change(self, change: str, order_id: str, lots: int) -> AmendRequest | CancelRequest:
        order = self.engine.state.working[order_id].order
        match change:
            case "cancel":
                return CancelRequest(order_id)
            case "smaller" | "larger":
                more = lots * LOT if change == "larger" else -lots * LOT
                return AmendRequest(order_id, order.quantity + more)
            case "price":
                return AmendRequest(order_id, limit=D(90 + lots))
        return AmendRequest(order_id, stop=D(90 + lots))

    @rule(action=st.sampled_from([CommandAction.CANCEL, CommandAction.FLATTEN, None, None]))
    def interfere(self, action: CommandAction | None) -> None:
        if action is None:
            self.halted = not self.halted
            self.step(TradingState(self.now_ns, ("stale",) if self.halted else ()))
        else:
            self.broker.takes = True
            self.step(Command(self.now_ns, action, "test", "now and then"))

    def step(self, event: Any) -> None:
        before = getcontext()
        digits = before.prec
        self.event_n += 1
        outputs = self.engine.step(event)
        assert getcontext() is before
        assert before.prec == digits
        for output in outputs:
            self.counts[type(output)] += 1
            take = TAKERS.get(type(output))
            if take is not None:
                take(self, output)
        self.agree()

    # -- every output ------------------------------------------------------------------------------------------------

    def accepted(self, output: OrderAccepted) -> None:
        assert output.order_id not in self.lives
        assert not self.halted or output.reduce_only
        self.lives[output.order_id] = Life(output, self.event_n, output.quantity)
        self.working.add(output.order_id)

    def filled(self, output: OrderFilled) -> None:
        fill = output.fill
        life = self.lives[fill.order_id]
        accepted = life.accepted
        assert not life.ended, "one end an order"
        assert life.event_n < self.event_n, "no fill on the causing event"
        assert life.triggered or accepted.type not in WAITS
        life.done += fill.quantity
        assert output.remaining == life.quantity - life.done >= 0, "no more than was ordered"
        assert sum(amount for _, amount in output.postings) == 0
        held = self.positions[output.strategy]
        after = held + (fill.quantity if output.side is Side.BUY else -fill.quantity)
        if accepted.reduce_only:
            assert held
            assert abs(after) <= abs(held)
            assert after * held >= 0
        if accepted.parent and not self.lives[accepted.parent].ended:
            family = [one for one in self.lives.values() if one.accepted.parent == accepted.parent]
            assert sum(one.done for one in family) <= self.lives[accepted.parent].done
        assert output.position == after
        self.positions[output.strategy] = after
        self.cash[output.strategy] = EXACT.add(self.cash[output.strategy], dict(output.postings)["cash"])
        if not output.remaining:
            self.end(life, "filled")

    def amended(self, output: OrderAmended) -> None:
        life = self.lives[output.order_id]
        assert not life.ended
        life.quantity = output.quantity
        assert output.remaining == life.quantity - life.done > 0

    def triggered(self, output: OrderTriggered) -> None:
        life = self.lives[output.order_id]
        assert not life.triggered
        assert not life.done
        life.triggered = True

    def ended(self, output: OrderEnded) -> None:
        life = self.lives[output.order_id]
        assert output.remaining == life.quantity - life.done > 0
        assert output.reason
        assert output.outcome != "rejected" or not life.done
        self.end(life, output.outcome)

    def end(self, life: Life, outcome: str) -> None:
        assert not life.ended, "one end an order"
        life.ended = outcome
        self.counts[outcome] += 1
        self.working.remove(life.accepted.order_id)

    # -- after every event -------------------------------------------------------------------------------------------

    def agree(self) -> None:
        state = self.engine.state
        assert state.failure is None, state.failure
        assert set(state.working) == self.working == set(self.broker.held)
        for order_id, open_ in state.working.items():
            held, life = self.broker.held[order_id], self.lives[order_id]
            assert open_.remaining == held.total - held.done == life.quantity - life.done
            assert open_.book.name == open_.order.strategy == life.accepted.strategy
            assert open_.book.orders[order_id] is open_
            assert not open_.order.parent or open_.awake is bool(self.lives[open_.order.parent].done)
        assert sum(len(book.orders) for book in state.books) == len(self.working)
        for book in state.books:
            book.ledger.check_balance()
            assert book.ledger.cash == self.cash[book.name]
            assert book.ledger.position(X).quantity == self.positions[book.name]
        counters, counts = self.engine.counters, self.counts
        assert counters.orders == counts[OrderAccepted] == len(self.lives)
        assert counters.fills == counts[OrderFilled]
        assert counters.signals == counts[Signal]
        assert counters.refusals == counts[OrderRefused] + counts[AmendRefused]
        assert (counters.amended, counters.amendments_refused) == (counts[OrderAmended], counts[AmendRefused])
        books = state.books
        assert (counters.fills, counters.trades) == (sum(b.fills for b in books), sum(b.trades for b in books))
        ends = [counts[one] for one in ("cancelled", "expired", "rejected")]
        assert [counters.cancelled, counters.expired, counters.rejected] == ends
        assert len(self.lives) == len(self.working) + counts["filled"] + sum(ends)

    def teardown(self) -> None:
        self.step(Command(self.now_ns, CommandAction.STOP, "test", "enough"))
        assert not self.working


TAKERS: dict[type, Any] = {
    OrderAccepted: Histories.accepted,
    OrderFilled: Histories.filled,
    OrderAmended: Histories.amended,
    OrderTriggered: Histories.triggered,
    OrderEnded: Histories.ended,
}

TestHistories = pytest.mark.timeout(600)(
    pytest.mark.behaviour("O1", "O6", "O13", "O14", "O16", "P6")(Histories.TestCase)
)
TestHistories.settings = settings(max_examples=1_000, stateful_step_count=50, suppress_health_check=list(HealthCheck))
