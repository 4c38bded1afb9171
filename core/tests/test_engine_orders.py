"""The life of an order: it never sees the past, has one id and one outcome, and lies on the instrument's steps."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Timer
from lab.domain.events import Fill, OrderAccepted, OrderEnded, OrderFilled, OrderRefused, StrategyStopped
from lab.domain.inputs import Input
from lab.domain.market import Candle, Quote
from lab.domain.orders import CancelRequest, Ended, OrderRequest, OrderType, Rejected
from lab.domain.time import DAY_NS, MILLISECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.chain import key_of
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import Action, ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker, fill_all
from lab.testing.simple_broker import SimpleBroker
from msgspec.structs import replace

D = Decimal
ONE = D(1)
MOST = D(100)
X = "BTCUSDT"
BUY, SELL = OrderRequest.buy(X, ONE), OrderRequest.sell(X, ONE)


@define(kw_only=True, eq=False)
class OnQuote(Strategy):
    """Asks for what its plan says, by the number of the quote."""

    plan: dict[int, Sequence[Action]]
    seen: int = field(init=False, default=0)

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        return ()

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        self.seen += 1
        return self.plan.get(self.seen - 1, ())


def engine(strategy: Strategy, broker: Broker | None = None, most: Decimal | None = MOST, **more: Any) -> Engine:
    known = instrument(X, quantity_min=D("0.001"), quantity_max=most)
    return engine_with({"s": strategy}, broker=broker, instruments=[known], **more)


# -- O1: no look-ahead ------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O1")
def test_an_order_never_fills_on_the_candle_that_caused_it() -> None:
    made = engine(ScriptedStrategy(plan={1: [BUY]}), SimpleBroker(latency_ms=0))
    steps = [list(made.step(candle)) for candle in candles([100.0, 200.0, 300.0])]
    assert [type(output) for output in steps[1]] == [Candle, OrderAccepted]
    [filled] = only(OrderFilled, steps[2])
    assert filled.fill.price == 300


@pytest.mark.behaviour("O1")
def test_an_order_never_fills_on_the_quote_that_caused_it() -> None:
    made = engine(OnQuote(plan={0: [BUY]}), SimpleBroker(latency_ms=0))
    first, second = quotes([100.0, 200.0])
    assert not only(OrderFilled, made.step(first))
    assert only(OrderFilled, made.step(second))[0].fill.price == D("200.1")


@pytest.mark.behaviour("O1")
def test_the_broker_meets_an_event_before_anyone_decides_on_it() -> None:
    broker = ScriptedBroker()
    made = engine(ScriptedStrategy(plan={0: [BUY], 1: [SELL]}), broker)
    tape = candles([100.0, 101.0, 102.0])
    run(made, tape)
    first, second = [f"l-s-{X}-c{candle.open_ns}-1" for candle in tape[:2]]
    assert broker.seen == [(tape[0], ()), (tape[1], (first,)), (tape[2], (first, second))]


@pytest.mark.behaviour("O1")
def test_the_first_quote_at_the_arrival_may_fill() -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(script=fill_all, latency_ns=200 * MILLISECOND_NS))
    [candle] = candles([50_000.0])
    [quote] = quotes([50_000.0], start_ns=candle.time_ns + 200 * MILLISECOND_NS)
    assert only(OrderFilled, run(made, [candle, quote]))


@pytest.mark.behaviour("O1")
def test_a_quote_older_than_the_newest_moves_nothing() -> None:
    broker = ScriptedBroker()
    made = engine(OnQuote(plan={1: [BUY]}), broker)
    newer, older = quotes([100.0]), quotes([90.0], start_ns=START_NS - 1)
    assert not run(made, [*newer, *older])
    assert made.strategies[0].view.quote(X) == newer[0]
    assert len(broker.seen) == 1
    assert (made.counters.quotes, made.counters.late_quotes) == (2, 1)


# -- O8: lot and minimum ----------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O8")
@pytest.mark.parametrize(("asked", "placed"), [("1.00019", "1.0001"), ("0.3", "0.3"), ("0.00109999", "0.0010")])
def test_a_quantity_is_floored_to_the_lot_and_both_figures_are_kept(asked: str, placed: str) -> None:
    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, D(asked))]}))
    [accepted] = only(OrderAccepted, run(made, candles([100.0])))
    assert (accepted.quantity, accepted.requested) == (D(placed), D(asked))


@pytest.mark.behaviour("O8")
@pytest.mark.parametrize(("asked", "floored"), [("0.00099999", "0.0009"), ("0.00001", "0.0000")])
def test_under_the_minimum_is_a_refusal_with_the_figures(asked: str, floored: str) -> None:
    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, D(asked))]}))
    [refused] = only(OrderRefused, run(made, candles([100.0])))
    assert (refused.by, refused.reason) == ("engine", "below the minimum quantity")
    assert refused.numbers == {"quantity": asked, "floored_to_lot": floored, "quantity_min": "0.001", "lot": "0.0001"}


@pytest.mark.behaviour("O8")
@pytest.mark.parametrize("asked", ["0", "-1"])
@pytest.mark.parametrize("reduce_only", [False, True])
def test_a_quantity_that_is_not_above_0_is_refused_as_that(asked: str, reduce_only: bool) -> None:
    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, D(asked), reduce_only=reduce_only)]}))
    [refused] = only(OrderRefused, run(made, candles([100.0])))
    assert (refused.by, refused.reason) == ("engine", "the quantity must be above 0")
    assert refused.numbers == {"quantity": asked}


@pytest.mark.behaviour("O8")
def test_a_whole_position_under_the_minimum_can_still_be_closed() -> None:
    def act(broker: ScriptedBroker, event: Input) -> Sequence[Fill | Ended]:
        return [
            broker.fill(order, event, min(broker.left[order.id], D("0.0005"))) for order in list(broker.orders.values())
        ]

    close = OrderRequest.sell(X, ONE, reduce_only=True)
    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, D("0.001"))], 1: [close]}), ScriptedBroker(script=act))
    [opening, closing] = only(OrderAccepted, run(made, candles([100.0, 100.0])))
    assert (opening.quantity, closing.quantity) == (D("0.001"), D("0.0005"))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (OrderRequest.buy(X, D("100.0001")), "above the maximum quantity"),
        (OrderRequest.buy(X, ONE, type=OrderType.LIMIT), "a limit order needs a limit above 0"),
        (OrderRequest.buy(X, ONE, type=OrderType.LIMIT, limit=D(0)), "a limit order needs a limit above 0"),
        (OrderRequest.buy("ETHUSDT", ONE), "unknown symbol 'ETHUSDT'; this run has BTCUSDT"),
        (OrderRequest.sell(X, ONE, reduce_only=True), "below the minimum quantity"),
    ],
)
def test_what_cannot_be_an_order_is_refused_with_the_reason(request_: OrderRequest, reason: str) -> None:
    made = engine(ScriptedStrategy(plan={0: [request_]}))
    [refused] = only(OrderRefused, run(made, candles([100.0])))
    assert refused.by == "engine"
    if request_.reduce_only:
        reason = "nothing left to reduce"
        assert refused.numbers == {"position": "0", "quantity": "1"}
    assert refused.reason == reason


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "1e25"])
def test_a_quantity_that_is_no_amount_is_refused_or_stops_its_strategy_but_never_the_run(quantity: str) -> None:
    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, D(quantity))]}), most=None)
    outputs = run(made, candles([100.0, 100.0]))
    assert only(OrderRefused, outputs) or only(StrategyStopped, outputs)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"quantity": None}, "OrderRequest.quantity is None; expected a finite Decimal"),
        ({"quantity": 0.5}, "OrderRequest.quantity is 0.5; expected a finite Decimal"),
        ({"limit": 99.5}, "OrderRequest.limit is 99.5; expected a finite Decimal"),
        ({"limit": D("NaN")}, "OrderRequest.limit is Decimal('NaN'); expected a finite Decimal"),
        ({"stop_loss": 90}, "OrderRequest.stop_loss is 90; expected a finite Decimal"),
    ],
)
def test_a_figure_that_is_not_exact_money_stops_its_strategy_by_name(change: dict[str, Any], complaint: str) -> None:
    outputs = run(engine(ScriptedStrategy(plan={0: [replace(BUY, **change)]})), candles([100.0]))
    assert complaint in only(StrategyStopped, outputs)[0].error
    assert not only(OrderAccepted, outputs)


def test_a_limit_is_placed_on_the_tick_that_is_no_worse_for_its_owner() -> None:
    plan = [
        OrderRequest.buy(X, ONE, type=OrderType.LIMIT, limit=D("99.96")),
        OrderRequest.sell(X, ONE, type=OrderType.LIMIT, limit=D("100.04")),
    ]
    accepted = only(OrderAccepted, run(engine(ScriptedStrategy(plan={0: plan})), candles([100.0])))
    assert [order.limit for order in accepted] == [D("99.9"), D("100.1")]


# -- O12: one id, one outcome -----------------------------------------------------------------------------------------

NAMED = OrderRequest.buy(X, ONE, leg="entry", decided_ns=START_NS)


@pytest.mark.behaviour("O12")
def test_the_same_order_sent_twice_at_once_is_refused_with_the_first_ones_outcome() -> None:
    outputs = run(engine(ScriptedStrategy(plan={0: [NAMED, NAMED]})), candles([100.0]))
    [accepted], [refused] = only(OrderAccepted, outputs), only(OrderRefused, outputs)
    assert refused.order_id == accepted.order_id
    assert (refused.by, refused.numbers) == ("duplicate", {"first_outcome": "accepted"})


@pytest.mark.behaviour("O12")
def test_a_leg_that_is_the_number_of_another_request_is_said() -> None:
    plan = {0: [BUY, OrderRequest.buy(X, ONE, leg="1")]}
    [refused] = only(OrderRefused, run(engine(ScriptedStrategy(plan=plan)), candles([100.0])))
    assert refused.reason.endswith("leg '1' is also what request number 1 of a decision has without one")


@pytest.mark.behaviour("O12")
def test_the_same_order_sent_later_is_refused_with_the_first_ones_outcome() -> None:
    small = OrderRequest.buy(X, D("0.0001"), leg="small", decided_ns=START_NS)
    late = OrderRequest.buy(X, ONE, leg="late", type=OrderType.LIMIT, limit=ONE, decided_ns=START_NS)
    oid = f"l-s-{X}-c{START_NS}-late"
    plan: dict[int, Sequence[Action]] = {0: [NAMED, small, late], 1: [CancelRequest(oid)], 3: [NAMED, small, late]}
    outputs = run(engine(ScriptedStrategy(plan=plan)), candles([100.0] * 4))
    outcomes = [refused.numbers for refused in only(OrderRefused, outputs) if refused.by == "duplicate"]
    assert [numbers["first_outcome"] for numbers in outcomes] == ["filled", "refused by engine", "cancelled"]


@pytest.mark.behaviour("O12")
def test_thirty_days_and_a_restart_later_the_archive_knows_the_first_ones_outcome() -> None:
    asked: list[str] = []

    def archive(order_id: str) -> str | None:
        asked.append(order_id)
        return "filled" if order_id.endswith("-entry") else None

    other = OrderRequest.buy(X, ONE, leg="other", decided_ns=START_NS)
    made = engine(ScriptedStrategy(plan={0: [NAMED, other, BUY]}), archive=archive)
    outputs = run(made, candles([100.0], start_ns=START_NS + 30 * DAY_NS))
    [refused] = only(OrderRefused, outputs)
    assert refused.order_id == f"l-s-{X}-c{START_NS}-entry"
    assert refused.numbers == {"first_outcome": "filled"}
    assert len(only(OrderAccepted, outputs)) == 2
    assert [oid.rpartition("-")[2] for oid in asked] == ["entry", "other"]


@pytest.mark.behaviour("O12")
def test_an_outcome_that_memory_let_go_is_found_in_the_archive() -> None:
    journal: dict[str, str] = {}
    plan: dict[int, Sequence[Action]] = {number: [BUY] for number in range(1, 2_100)}
    plan[0] = plan[2_100] = [NAMED]
    made = engine(ScriptedStrategy(plan=plan), archive=journal.get)
    refusals = []
    for candle in candles([100.0] * 2_101):
        outputs = made.step(candle)
        journal.update({filled.fill.order_id: "filled" for filled in only(OrderFilled, outputs)})
        refusals += only(OrderRefused, outputs)
    assert [refused.numbers["first_outcome"] for refused in refusals] == ["filled"]
    assert 1_000 <= len(made.strategies[0].book.outcomes) < 2_000


@pytest.mark.behaviour("O12")
def test_orders_of_one_decision_get_different_ids() -> None:
    accepted = only(OrderAccepted, run(engine(ScriptedStrategy(plan={0: [BUY, BUY], 1: [BUY]})), candles([100.0] * 2)))
    assert len({order.order_id for order in accepted}) == 3


def test_an_order_for_an_unknown_symbol_sent_twice_has_one_outcome_too() -> None:
    """The journal's keys are unique: a second row for the same id would end the run."""
    lost = OrderRequest.buy("ETHUSDT", ONE, leg="entry", decided_ns=START_NS)
    outputs = run(engine(ScriptedStrategy(plan={0: [lost], 1: [lost]})), candles([100.0] * 2))
    keys = [key for key in map(key_of, outputs) if key is not None]
    assert len(keys) == len(set(keys))


# -- endings ----------------------------------------------------------------------------------------------------------


def test_an_order_the_broker_rejects_was_accepted_and_ended_with_its_reason() -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(answer=Rejected("the venue is closed")))
    accepted, ended = run(made, candles([100.0]))[1:]
    assert isinstance(accepted, OrderAccepted)
    assert ended == OrderEnded(accepted.order_id, "s", X, "rejected", "the venue is closed", ONE)
    assert (made.counters.orders, made.counters.rejected) == (1, 1)
    assert not made.state.working


def test_a_partial_fill_keeps_the_order_open_under_its_own_fill_ids() -> None:
    def act(broker: ScriptedBroker, event: Input) -> Sequence[Fill | Ended]:
        return [broker.fill(order, event, D("0.5")) for order in list(broker.orders.values())]

    outputs = run(engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(script=act)), candles([50_000.0] * 3))
    [accepted], fills = only(OrderAccepted, outputs), only(OrderFilled, outputs)
    assert [fill.fill_id for fill in fills] == [f"{accepted.order_id}.1", f"{accepted.order_id}.2"]
    assert [fill.remaining for fill in fills] == [D("0.5"), 0]
    assert [fill.position for fill in fills] == [D("0.5"), 1]


@pytest.mark.parametrize("record", [True, False])
def test_an_order_can_expire_on_a_timer_while_quotes_are_silent(record: bool) -> None:
    def act(broker: ScriptedBroker, event: Input) -> Sequence[Fill | Ended]:
        return [Ended(broker.orders.popitem()[0], "expired", "no quote came")] if isinstance(event, Timer) else ()

    broker = ScriptedBroker(script=act, watches=False)
    made = engine(ScriptedStrategy(plan={0: [BUY]}), broker, record_inputs=record)
    [candle] = candles([100.0])
    timer = Timer(candle.time_ns + 6_000 * MILLISECOND_NS)
    made.step(candle)
    outputs = made.step(timer)
    assert [output.outcome for output in only(OrderEnded, outputs)] == ["expired"]
    assert (timer in outputs) is record
    assert made.state.now_ns == timer.time_ns
    assert not made.step(Timer(timer.time_ns + 1))


def test_a_strategy_takes_its_own_order_back_and_unknown_ids_are_ignored() -> None:
    resting = OrderRequest.buy(X, ONE, type=OrderType.LIMIT, limit=ONE)
    oid = f"l-s-{X}-c{START_NS}-1"
    cancels = [CancelRequest("x"), CancelRequest(oid, "changed my mind"), CancelRequest(oid)]
    made = engine(ScriptedStrategy(plan={0: [resting], 1: cancels}))
    [ended] = only(OrderEnded, run(made, candles([100.0] * 2)))
    assert (ended.order_id, ended.outcome, ended.reason) == (oid, "cancelled", "changed my mind")
    assert made.counters.cancelled == 1


# -- reduce-only ------------------------------------------------------------------------------------------------------

EXIT = OrderRequest.sell(X, D(5), reduce_only=True)
RESTING_EXIT = OrderRequest.sell(X, ONE, reduce_only=True, type=OrderType.LIMIT, limit=D(120))


def test_a_reduce_only_order_is_cut_to_the_position() -> None:
    outputs = run(engine(ScriptedStrategy(plan={0: [BUY], 2: [EXIT]})), candles([100.0] * 4))
    assert [fill.position for fill in only(OrderFilled, outputs)] == [1, 0]


@pytest.mark.behaviour("R6")
def test_a_target_that_rests_never_stands_before_a_stop_and_is_cut_when_the_stop_filled_first() -> None:
    target = OrderRequest.sell(X, ONE, type=OrderType.LIMIT, limit=D(200), reduce_only=True)
    outputs = run(engine(ScriptedStrategy(plan={0: [BUY], 2: [target], 4: [EXIT]})), candles([100.0] * 6 + [210.0] * 2))
    assert [fill.position for fill in only(OrderFilled, outputs)] == [1, 0]
    assert [ended.reason for ended in only(OrderEnded, outputs)] == ["nothing left to reduce"]


def test_two_exits_together_never_close_more_than_is_held() -> None:
    outputs = run(engine(ScriptedStrategy(plan={0: [BUY], 2: [EXIT, EXIT]})), candles([100.0] * 4))
    assert [fill.position for fill in only(OrderFilled, outputs)] == [1, 0]
    assert [refused.reason for refused in only(OrderRefused, outputs)] == ["nothing left to reduce"]


@pytest.mark.parametrize("act", [OrderRequest.buy, OrderRequest.sell], ids=["long", "short"])
def test_a_reduce_only_order_that_would_add_to_the_position_is_refused_for_that(act: Any) -> None:
    more = act(X, D(2), reduce_only=True)
    outputs = run(engine(ScriptedStrategy(plan={0: [act(X, ONE)], 2: [more]})), candles([100.0] * 4))
    [refused] = only(OrderRefused, outputs)
    assert refused.reason == "a reduce-only order may not add to the position"
    assert {name: D(value).copy_abs() for name, value in refused.numbers.items()} == {"position": 1, "quantity": 2}


@pytest.mark.behaviour("O13")
def test_a_reduce_only_order_with_nothing_left_to_reduce_is_cancelled_instead_of_filled() -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY], 2: [RESTING_EXIT], 3: [SELL]}))
    outputs = run(made, candles([100.0] * 5 + [130.0]))
    assert [fill.position for fill in only(OrderFilled, outputs)] == [1, 0]
    [ended] = only(OrderEnded, outputs)
    assert (ended.outcome, ended.reason, ended.remaining) == ("cancelled", "nothing left to reduce", 1)
    assert not made.state.working


@pytest.mark.behaviour("O13")
def test_a_reduce_only_order_that_fills_for_less_than_it_asked_ends_too() -> None:
    part = OrderRequest.sell(X, D("0.4"))
    made = engine(ScriptedStrategy(plan={0: [BUY], 2: [RESTING_EXIT], 3: [part]}))
    outputs = run(made, candles([100.0] * 5 + [130.0] * 2))
    assert [fill.position for fill in only(OrderFilled, outputs)] == [1, D("0.6"), 0]
    assert not made.state.working
