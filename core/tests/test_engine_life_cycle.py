"""Whatever strategies ask and brokers do, each order ends exactly once and the books agree with the fills."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lab.domain.control import Command, CommandAction, Timer, TradingState
from lab.domain.events import Fill, OrderAccepted, OrderEnded, OrderFilled, OrderRefused, Signal
from lab.domain.inputs import Input
from lab.domain.ledger import ZERO
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, CancelRequest, Ended, Order, OrderRequest, OrderType, Rejected, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.chain import key_of
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, instrument
from lab.testing.harness import Action

D = Decimal
X = "BTCUSDT"
DEPOSIT = D(10_000)
RATE = D("0.0006")
LOT = D("0.0001")


@define(kw_only=True, eq=False)
class Fickle(Broker):
    """Accepts or rejects, and does with its working orders, in their order, what its moods say."""

    takes: bool = True
    moods: Sequence[str] = ()
    orders: dict[str, Order] = field(init=False, factory=dict)
    left: dict[str, Decimal] = field(init=False, factory=dict)

    def order_types(self) -> frozenset[OrderType]:
        return frozenset(OrderType)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        if not self.takes:
            return Rejected("not in the mood")
        self.orders[order.id] = order
        self.left[order.id] = order.quantity
        return Accepted(now_ns)

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        return Rejected("none") if self.orders.pop(order_id, None) is None else Accepted(now_ns)

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        reports: list[Fill | Ended] = []
        for order, mood in zip(list(self.orders.values()), self.moods, strict=False):
            if mood in {"expired", "rejected"}:
                del self.orders[order.id]
                reports.append(Ended(order.id, "expired" if mood == "expired" else "rejected", f"it {mood}"))
            elif mood != "wait" and isinstance(event, Quote | Candle):
                left = self.left[order.id]
                half = (left / 2 // LOT * LOT) or left
                reports.append(self._fill(order, event, half if mood == "part" else left))
        return reports

    def _fill(self, order: Order, event: Quote | Candle, quantity: Decimal) -> Fill:
        self.left[order.id] -= quantity
        if not self.left[order.id]:
            del self.orders[order.id]
        value = event.close if isinstance(event, Candle) else event.ask if order.side is Side.BUY else event.bid
        price = D(repr(value))
        fee = price * quantity * RATE
        return Fill(order.id, quantity, price, fee, RATE, "taker", "fickle", price, None, ZERO, event.time_ns)


@define(kw_only=True, eq=False)
class Obedient(Strategy):
    """Asks for what it was told to ask for."""

    orders: list[Action] = field(init=False, factory=list)

    @property
    def timer_ns(self) -> int:
        return 5 * MINUTE_NS

    def on_timer(self, now_ns: int, view: View) -> Iterable[Action]:
        asked, self.orders = self.orders, []
        return asked

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        asked, self.orders = self.orders, []
        return asked

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        asked, self.orders = self.orders, []
        return asked


class Lives(RuleBasedStateMachine):
    """Random requests, market data, timers, commands and broker moods, in any order, then a stop."""

    def __init__(self) -> None:
        super().__init__()
        self.broker, self.strategy = Fickle(), Obedient()
        broker: Broker = self.broker
        self.engine = Engine(
            {X: instrument(X)}, MINUTE_NS, broker, (), [("s", self.strategy, DEPOSIT)], config_hash="l"
        )
        self.engine.begin()
        self.outputs: list[object] = []
        self.asked = 0
        self.now_ns = START_NS
        self.price = 100.0
        self.stopped = self.paused = self.halted = False

    def step(self, event: Input) -> None:
        pending = sum(isinstance(action, OrderRequest) for action in self.strategy.orders)
        outputs = self.engine.step(event)
        if not self.strategy.orders:  # a timer asks the strategy only where it falls due
            self.asked += pending
        if self.halted or self.paused:
            assert all(o.reduce_only for o in outputs if isinstance(o, OrderAccepted))
        self.outputs += outputs

    @rule(reasons=st.lists(st.sampled_from(["stale", "clock"]), max_size=2, unique=True))
    def halt_or_open(self, reasons: list[str]) -> None:
        self.halted = bool(reasons)
        self.step_control(TradingState(self.now_ns, tuple(reasons)))

    @rule(action=st.sampled_from([CommandAction.PAUSE, CommandAction.RESUME]))
    def pause_or_resume(self, action: CommandAction) -> None:
        self.paused = action is CommandAction.PAUSE
        self.step_control(Command(self.now_ns, action, "test", "now and then"))

    @rule(action=st.sampled_from([CommandAction.CANCEL, CommandAction.FLATTEN]), takes=st.booleans())
    def cancel_or_flatten(self, action: CommandAction, takes: bool) -> None:
        self.broker.takes = takes
        self.step_control(Command(self.now_ns, action, "test", "now and then"))
        assert all(oid.endswith("-close") for oid in self.engine.state.working)

    def step_control(self, event: Input) -> None:
        """Step what reaches no strategy, and look that it placed no entry."""
        outputs = self.engine.step(event)
        assert all(o.reduce_only for o in outputs if isinstance(o, OrderAccepted))
        self.outputs += outputs

    @precondition(lambda self: not self.stopped)
    @rule(
        side=st.sampled_from(Side),
        lots=st.integers(0, 30),
        reduce_only=st.booleans(),
        limit=st.booleans(),
        leg=st.sampled_from(["", "", "", "again"]),
    )
    def ask(self, side: Side, lots: int, reduce_only: bool, limit: bool, leg: str) -> None:
        kind = OrderType.LIMIT if limit else OrderType.MARKET
        decided_ns = START_NS if leg else None
        price = D(100) if limit else None
        request = OrderRequest(X, side, lots * LOT, kind, price, reduce_only, leg=leg, decided_ns=decided_ns)
        self.strategy.orders.append(request)

    @precondition(lambda self: bool(self.broker.orders) and not self.stopped)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        self.strategy.orders.append(CancelRequest(data.draw(st.sampled_from(list(self.broker.orders)))))

    @rule(
        kind=st.sampled_from(["candle", "quote", "quote", "timer"]),
        ticks=st.integers(-50, 50),
        takes=st.booleans() | st.just(True),
        moods=st.lists(st.sampled_from(["fill", "part", "wait", "expired", "rejected"]), max_size=4),
    )
    def happen(self, kind: str, ticks: int, takes: bool, moods: list[str]) -> None:
        self.broker.takes, self.broker.moods = takes, moods
        self.price = max(1.0, round(self.price + ticks / 10, 1))
        self.now_ns += MINUTE_NS
        open_ns, price = self.now_ns - MINUTE_NS, self.price
        if kind == "candle":
            self.step(Candle(X, open_ns, self.now_ns, price, price, price, price, 1.0))
        elif kind == "quote":
            self.step(Quote(X, self.now_ns, price, 1.0, round(price + 0.1, 1), 1.0))
        else:
            self.step(Timer(self.now_ns))

    @precondition(lambda self: not self.stopped)
    @rule(close=st.booleans(), takes=st.booleans())
    def stop(self, close: bool, takes: bool) -> None:
        self.stopped, self.broker.takes = True, takes
        self.strategy.orders.clear()
        self.outputs += self.engine.step(
            Command(self.now_ns, CommandAction.KILL if close else CommandAction.STOP, "test", "enough")
        )

    @invariant()
    def every_request_has_one_answer(self) -> None:
        answers = [o for o in self.outputs if isinstance(o, OrderAccepted | OrderRefused | Signal)]
        own = [o for o in answers if not (isinstance(o, OrderAccepted) and o.order_id.endswith("-close"))]
        assert len(own) == self.asked

    @invariant()
    def trading_is_halted_while_the_session_or_a_pause_says_so(self) -> None:
        assert bool(self.engine.state.halt_reasons) is (self.halted or self.paused)
        assert self.engine.state.stopping is self.stopped
        assert self.engine.state.failure is None

    @invariant()
    def every_order_is_working_or_ended_exactly_once_with_a_reason(self) -> None:
        ended = [o for o in self.outputs if isinstance(o, OrderEnded)]
        assert all(end.reason and end.outcome in {"cancelled", "expired", "rejected"} for end in ended)
        filled = [o.fill.order_id for o in self.outputs if isinstance(o, OrderFilled) and not o.remaining]
        accepted = [o.order_id for o in self.outputs if isinstance(o, OrderAccepted)]
        finished = Counter([*(end.order_id for end in ended), *filled])
        assert set(finished.values()) <= {1}
        assert Counter(accepted) == finished + Counter(list(self.engine.state.working))
        assert set(self.engine.state.working) == set(self.broker.orders)

    @invariant()
    def fills_and_what_is_left_make_up_the_order(self) -> None:
        left = {oid: working.remaining for oid, working in self.engine.state.working.items()}
        left.update({o.order_id: o.remaining for o in self.outputs if isinstance(o, OrderEnded)})
        done: Counter[str] = Counter()
        for output in self.outputs:
            if isinstance(output, OrderFilled):
                done[output.fill.order_id] += output.fill.quantity  # type: ignore[assignment]
        for output in self.outputs:
            if isinstance(output, OrderAccepted):
                assert done[output.order_id] + left.get(output.order_id, ZERO) == output.quantity

    @invariant()
    def what_happens_once_has_a_key_of_its_own(self) -> None:
        keys = [key for key in map(key_of, self.outputs) if key is not None]
        assert len(keys) == len(set(keys))

    @invariant()
    def the_books_agree_with_the_fills(self) -> None:
        fills = [o for o in self.outputs if isinstance(o, OrderFilled)]
        signed = [(o.fill.quantity if o.side is Side.BUY else -o.fill.quantity, o.fill) for o in fills]
        held = sum((quantity for quantity, _ in signed), ZERO)
        paid = sum((quantity * fill.price + fill.fee for quantity, fill in signed), ZERO)
        view = self.engine.strategies[0].view
        assert view.position(X).quantity == held
        assert view.equity == self.engine.valuation.equity() == DEPOSIT - paid + (held * view.mark(X) if held else ZERO)
        assert all(sum(amount for _, amount in o.postings) == 0 for o in fills)
        assert self.engine.counters.fees_paid == sum((o.fill.fee for o in fills), ZERO)

    @invariant()
    def the_totals_count_what_was_said(self) -> None:
        totals = self.engine.counters
        ends = Counter(o.outcome for o in self.outputs if isinstance(o, OrderEnded))
        for outcome in ("cancelled", "expired", "rejected"):
            assert getattr(totals, outcome) == ends[outcome]
        counts = Counter(type(o) for o in self.outputs)
        assert (totals.orders, totals.fills) == (counts[OrderAccepted], counts[OrderFilled])
        assert (totals.refusals, totals.signals) == (counts[OrderRefused], counts[Signal])

    def teardown(self) -> None:
        if not self.stopped:
            self.stop(close=False, takes=True)
        self.broker.moods = ["fill"] * 50
        self.outputs += self.engine.step(Quote(X, self.now_ns + SECOND_NS, 100.0, 1.0, 100.1, 1.0))
        self.every_order_is_working_or_ended_exactly_once_with_a_reason()
        self.the_books_agree_with_the_fills()
        assert not self.engine.state.working


TestEachOrderEndsExactlyOnce = pytest.mark.behaviour("O13", "O14")(Lives.TestCase)
TestEachOrderEndsExactlyOnce.settings = settings(max_examples=100, stateful_step_count=30)
