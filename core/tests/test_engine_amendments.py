"""Amendments: what may change of a working order, who looks at it, and what a broker may make of it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from lab.domain.control import TradingState
from lab.domain.events import (
    AmendRefused,
    AmendSent,
    BrokerFailed,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    StrategyStopped,
)
from lab.domain.market import BACKFILLED
from lab.domain.orders import (
    PASS,
    Accepted,
    Amended,
    AmendRequest,
    CancelRequest,
    Ended,
    Feature,
    OrderRequest,
    OrderType,
    Pass,
    Refuse,
    Rejected,
    Shrink,
    TimeInForce,
    Triggered,
    Verdict,
)
from lab.domain.time import MINUTE_NS
from lab.engine.view import View
from lab.ports import RiskGate
from lab.testing.builders import START_NS, candles
from lab.testing.engines import only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from msgspec.structs import replace
from venue import BRACKET, ENTRY, STOP, TARGET, TEN, D, X, engine, filled, oid, play, said, venue

LIMIT = OrderRequest.buy(X, TEN, type=OrderType.LIMIT, limit=D(90))
LATER = Accepted(2**62)
WRONG: list[Any] = [1, 1.5, "1", D("NaN"), D("sNaN"), D("Infinity"), D("1e15"), D("-1e15"), b"1", True]


class Asked(RiskGate):
    """Notes what it is shown with the orders that work then, and answers as told."""

    def __init__(self, answer: Verdict = PASS, from_: int = 1) -> None:
        self.answer, self.left = answer, from_
        self.shown: list[OrderRequest] = []
        self.beside: list[list[tuple[str, Decimal, Decimal]]] = []

    def review(self, request: OrderRequest, view: View) -> Verdict:
        self.shown.append(request)
        self.beside.append([(one.id, one.quantity, one.remaining) for one in view.orders()])
        self.left -= 1
        return self.answer if self.left < 0 else PASS


def refusals(outputs: Sequence[Any]) -> list[tuple[str, str]]:
    return [(one.by, one.reason) for one in only(AmendRefused, outputs)]


# -- what may be asked for --------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O16")
def test_an_amendment_takes_effect_at_once_where_the_broker_says_so() -> None:
    made = engine({0: [LIMIT], 2: [AmendRequest(ENTRY, D(12), limit=D("91.07"))]}, venue({1: [filled(ENTRY, 4, 90)]}))
    outputs = play(made, 3)
    assert only(OrderAmended, outputs) == [
        OrderAmended(ENTRY, "s", X, D(12), D(8), D("91.0"), None, "asked for by the strategy")
    ]
    [order] = made.strategies[0].view.orders()
    assert (order.quantity, order.remaining, order.limit) == (12, 8, 91)


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("name", ["quantity", "limit", "stop"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_figure_that_is_no_exact_money_stops_its_strategy_alone(name: str, value: Any) -> None:
    made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, **{name: value})]})
    [stopped] = only(StrategyStopped, play(made, 3))
    assert f"AmendRequest.{name} is" in stopped.error


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (AmendRequest(1), "AmendRequest.order_id is 1; expected text"),  # type: ignore[arg-type]
        (AmendRequest(None), "AmendRequest.order_id is None; expected text"),  # type: ignore[arg-type]
        (AmendRequest("o" * 501), "AmendRequest.order_id has 501 characters"),
        (AmendRequest(ENTRY, reason=1), "AmendRequest.reason is 1; expected text"),  # type: ignore[arg-type]
        (AmendRequest(ENTRY, reason="\ud800"), "expected text that can be written as UTF-8"),
        (CancelRequest(1), "CancelRequest.order_id is 1; expected text"),  # type: ignore[arg-type]
        (CancelRequest(ENTRY, reason="x" * 501), "CancelRequest.reason has 501 characters"),
    ],
)
def test_a_text_that_is_none_stops_its_strategy_alone(request_: Any, complaint: str) -> None:
    made = engine({0: [LIMIT], 1: [request_]})
    [stopped] = only(StrategyStopped, play(made, 3))
    assert complaint in stopped.error


@pytest.mark.behaviour("O16", "R6")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "nothing would change"),
        ({"quantity": TEN}, "nothing would change"),
        ({"quantity": D("10.00009")}, "nothing would change"),
        ({"limit": D("90.09")}, "nothing would change"),
        ({"quantity": D(0)}, "what remains would be below the minimum quantity"),
        ({"quantity": D(-3)}, "what remains would be below the minimum quantity"),
        ({"quantity": D(4)}, "what remains would be below the minimum quantity"),
        ({"quantity": D("4.0009")}, "what remains would be below the minimum quantity"),
        ({"quantity": D("1000.0001")}, "above the maximum quantity"),
        ({"limit": D(0)}, "a limit order needs a limit above 0"),
        ({"limit": D(-1)}, "a limit order needs a limit above 0"),
        ({"limit": D("0.09")}, "a limit order needs a limit above 0"),
        ({"stop": D(80)}, "a limit order takes no stop"),
    ],
    ids=str,
)
def test_what_the_rules_forbid_is_refused_with_a_reason_and_counted_and_the_order_works_on(
    change: dict[str, Any], reason: str
) -> None:
    made = engine({0: [LIMIT], 2: [AmendRequest(ENTRY, **change)]}, venue({1: [filled(ENTRY, 4, 90)]}))
    outputs = play(made, 4)
    assert refusals(outputs) == [("engine", reason)]
    assert (made.counters.refusals, made.counters.amendments_refused) == (1, 1)
    [order] = made.strategies[0].view.orders()
    assert (order.quantity, order.remaining, order.limit) == (10, 6, 90)


@pytest.mark.behaviour("O16")
@pytest.mark.parametrize(
    ("request_", "change"),
    [
        (OrderRequest.buy(X, TEN), {"limit": D(90)}),
        (OrderRequest.buy(X, TEN, type=OrderType.STOP, stop=D(110)), {"limit": D(90)}),
        (OrderRequest.buy(X, TEN, type=OrderType.TRAILING_STOP, trail=D(5)), {"stop": D(90)}),
    ],
)
def test_a_price_that_the_type_does_not_have_is_refused(request_: OrderRequest, change: dict[str, Decimal]) -> None:
    [(by, reason)] = refusals(play(engine({0: [request_], 1: [AmendRequest(ENTRY, **change)]}), 2))
    assert (by, reason) == ("engine", f"a {request_.type} order takes no {next(iter(change))}")


@pytest.mark.behaviour("O16")
def test_both_prices_of_a_stop_limit_can_be_moved_until_its_stop_is_reached_then_its_limit_only() -> None:
    request = OrderRequest.buy(X, TEN, type=OrderType.STOP_LIMIT, stop=D(110), limit=D(111))
    plan = {
        0: [request, AmendRequest(ENTRY, stop=D(109), limit=D(112))],
        1: [AmendRequest(ENTRY, stop=D(108)), AmendRequest(ENTRY, limit=D(113), reason="chase")],
        2: [AmendRequest(ENTRY, stop=D(107))],
    }
    says = {1: [said(Triggered(ENTRY, D(109), D(109)))], 2: [filled(ENTRY, 1)]}
    outputs = play(engine(plan, venue(says)), 3)
    assert [(one.stop, one.limit, one.reason) for one in only(OrderAmended, outputs)] == [
        (109, 112, "asked for by the strategy"), (109, 113, "chase"),
    ]  # fmt: skip
    assert refusals(outputs) == [("engine", "its stop was reached already")] * 2


@pytest.mark.behaviour("O16")
def test_an_amendment_of_an_order_that_is_unknown_or_has_ended_is_passed_over() -> None:
    plan = {0: [LIMIT, CancelRequest(ENTRY)], 1: [AmendRequest(ENTRY, D(5)), AmendRequest("nothing", D(5))]}
    made = engine(plan)
    outputs = play(made, 3)
    assert [type(one) for one in outputs if type(one) in {AmendRefused, AmendSent, OrderAmended}] == []
    assert made.counters.refusals == 0


@pytest.mark.behaviour("R4")
def test_an_amendment_on_a_backfilled_candle_is_passed_over() -> None:
    made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(5)), CancelRequest(ENTRY)]})
    first, second = candles([100.0] * 2)
    run(made, [first, second._replace(status=BACKFILLED)])
    assert made.state.working[ENTRY].order.quantity == 10


@pytest.mark.behaviour("P6")
def test_one_strategy_can_neither_amend_nor_cancel_the_order_of_another() -> None:
    plans = {
        "s": ScriptedStrategy(plan={0: [LIMIT]}),
        "t": ScriptedStrategy(plan={0: [LIMIT], 1: [AmendRequest(ENTRY, D(5)), CancelRequest(ENTRY)]}),
    }
    made = engine(plans)
    outputs = play(made, 3)
    assert [made.state.working[one].order.quantity for one in (ENTRY, oid(strategy="t"))] == [10, 10]
    assert len([one for one in outputs if type(one) in {AmendRefused, OrderAmended, OrderEnded}]) == 0


@pytest.mark.behaviour("O16")
def test_a_broker_that_cannot_amend_is_not_asked() -> None:
    broker = venue(can=set(Feature) - {Feature.AMEND}, answer_to_amend="asked")
    outputs = play(engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(5))]}, broker), 2)
    assert refusals(outputs) == [("engine", "broker scripted cannot amend orders")]


@pytest.mark.behaviour("O16")
def test_a_broker_may_refuse_an_amendment_and_the_order_works_on() -> None:
    broker = venue(answer_to_amend=Rejected("too late"))
    made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(5))]}, broker)
    assert refusals(play(made, 2)) == [("scripted", "too late")]
    assert made.state.working[ENTRY].remaining == 10


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize("answer", [None, True, "yes", Accepted(None), Accepted(-1), Rejected(1)], ids=repr)  # type: ignore[arg-type]
def test_a_broker_that_answers_an_amendment_with_nonsense_ends_the_run(answer: Any) -> None:
    class Odd(ScriptedBroker):
        def amend(self, order: Any, now_ns: int) -> Any:
            return answer

    outputs = play(engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(5))]}, Odd()), 3)
    assert only(BrokerFailed, outputs)[0].error.startswith("broker scripted failed in amend: ")
    assert [end.order_id for end in only(OrderEnded, outputs)] == [ENTRY]


# -- who looks at it --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R6", "O16")
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"quantity": D(8)}, None),
        ({"quantity": D(12)}, (D(8), D(90))),
        ({"limit": D(95)}, (D(6), D(95))),
        ({"limit": D(80)}, (D(6), D(80))),
        ({"quantity": D(8), "limit": D(95)}, (D(4), D(95))),
    ],
    ids=str,
)
def test_what_grows_or_gets_another_price_is_reviewed_as_if_it_were_sent_afresh_and_counted_once(
    change: dict[str, Decimal], seen: tuple[Decimal, Decimal] | None
) -> None:
    gate = Asked()
    plan = {0: [LIMIT, replace(LIMIT, quantity=D(3))], 2: [AmendRequest(ENTRY, **change)]}
    outputs = play(engine(plan, venue({1: [filled(ENTRY, 4, 90)]}), [gate]), 3)
    assert len(only(OrderAmended, outputs)) == 1
    assert [(one.quantity, one.limit) for one in gate.shown[2:]] == ([] if seen is None else [seen])
    assert gate.beside[2:] == ([] if seen is None else [[(oid(0, 2), 3, 3)]])


@pytest.mark.behaviour("R6")
def test_a_gate_is_shown_all_that_it_was_shown_of_the_order_itself() -> None:
    gate = Asked()
    expires_ns = START_NS + 99 * MINUTE_NS
    request = replace(
        BRACKET, reason="", post_only=True, time_in_force=TimeInForce.GTD, expires_ns=expires_ns, group="g"
    )
    play(engine({0: [request], 1: [AmendRequest(ENTRY, limit=D(99))]}, gates=[gate]), 2)
    assert gate.shown == [request, replace(request, limit=D(99))]
    assert gate.beside[1] == [(STOP, 10, 10), (TARGET, 10, 10)]


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize(
    ("verdict", "refused"),
    [
        (Refuse("too much", {"most": "10"}), ("g0", "too much")),
        (Shrink(D(5), "half"), ("engine", "the gates allow less")),
        (Shrink(D(12), "all of it"), None),
        (Pass(), None),
        ("yes", ("g0", "the gate answered 'yes', not Pass, Refuse or a Shrink to a finite Decimal")),
    ],
    ids=repr,
)
def test_a_gate_that_allows_no_more_leaves_the_order_as_it_was(verdict: Any, refused: tuple[str, str] | None) -> None:
    made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(12))]}, gates=[Asked(verdict)])
    outputs = play(made, 2)
    assert refusals(outputs) == ([] if refused is None else [refused])
    assert made.state.working[ENTRY].remaining == (12 if refused is None else 10)
    assert made.counters.refusals == (0 if refused is None else 1)


@pytest.mark.behaviour("R6")
def test_an_increase_that_is_on_its_way_counts_for_the_next_review_and_in_the_view() -> None:
    gate = Asked()
    plan = {0: [LIMIT], 1: [AmendRequest(ENTRY, D(50)), AmendRequest(ENTRY, D(20))], 2: [LIMIT]}
    made = engine(plan, venue(answer_to_amend=LATER), [gate])
    play(made, 3)
    assert gate.beside[3] == [(ENTRY, 50, 50)]
    assert [(one.id, one.remaining) for one in made.strategies[0].view.orders()] == [(ENTRY, 50), (oid(2), 10)]
    assert made.state.working[ENTRY].remaining == 10, "nothing more may fill before it has arrived"


@pytest.mark.behaviour("R4")
@pytest.mark.parametrize(
    ("change", "refused"), [({"quantity": D(12)}, True), ({"limit": D(95)}, True), ({"quantity": D(5)}, False)], ids=str
)
def test_while_trading_is_halted_an_entry_may_only_become_smaller(change: dict[str, Decimal], refused: bool) -> None:
    made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, **change)]})
    first, second = candles([100.0] * 2)
    made.step(first)
    made.step(TradingState(second.time_ns, ("stale", "clock")))
    found = only(AmendRefused, made.step(second))
    assert [(one.reason, one.numbers) for one in found] == (
        [("trading is halted", {"reasons": "stale; clock"})] if refused else []
    )


@pytest.mark.behaviour("R4")
def test_an_exit_is_moved_while_trading_is_halted_and_asks_no_gate() -> None:
    gate = Asked(Refuse("never"))
    made = engine({0: [BRACKET], 2: [AmendRequest(STOP, stop=D(95))]}, venue({1: [filled(ENTRY)]}), [gate])
    first, second, third = candles([100.0] * 3)
    run(made, [first, second])
    made.step(TradingState(third.time_ns, ("stale",)))
    assert [one.stop for one in only(OrderAmended, made.step(third))] == [95]
    assert len(gate.shown) == 1


# -- entries and their guards -----------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6", "O16")
@pytest.mark.parametrize("quantity", [D(15), D(6)])
def test_guards_grow_and_shrink_with_their_entry(quantity: Decimal) -> None:
    says = {1: [filled(ENTRY, 4)], 3: [filled(ENTRY, quantity - 4)], 4: [filled(TARGET, quantity, 120)]}
    made = engine({0: [BRACKET], 2: [AmendRequest(ENTRY, quantity)]}, venue(says))
    outputs = play(made, 5)
    assert [(one.order_id, one.quantity, one.reason) for one in only(OrderAmended, outputs)][1:] == [
        (one, quantity, "its entry was amended") for one in (STOP, TARGET)
    ]
    assert [one.position for one in only(OrderFilled, outputs)] == [4, quantity, 0]


@pytest.mark.behaviour("O6")
def test_the_quantity_of_a_guard_is_its_entrys_business_until_that_has_filled() -> None:
    plan = {0: [BRACKET], 1: [AmendRequest(STOP, D(5))], 2: [AmendRequest(STOP, D(5))]}
    outputs = play(engine(plan, venue({1: [filled(ENTRY, 4)], 2: [filled(ENTRY, 6)]})), 3)
    assert refusals(outputs) == [("engine", "its quantity follows its entry")]
    assert [(one.order_id, one.remaining) for one in only(OrderAmended, outputs)] == [(STOP, 5)]


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(("limit", "name"), [(D(90), "stop_loss"), (D(85), "stop_loss"), (D(120), "take_profit")])
def test_an_entry_is_not_moved_beyond_its_guards(limit: Decimal, name: str) -> None:
    [(by, reason)] = refusals(play(engine({0: [BRACKET], 1: [AmendRequest(ENTRY, limit=limit)]}), 2))
    assert by == "engine"
    assert reason.startswith(f"the {name} of a buy lies ")


# -- amendments on their way ------------------------------------------------------------------------------------------


def landed(quantity: int, limit: int | None = 90, stop: int | None = None, order: str = ENTRY) -> Any:
    price = None if limit is None else D(limit)
    return said(Amended(order, D(quantity), price, None if stop is None else D(stop), "the amendment arrived"))


@pytest.mark.behaviour("O16")
def test_an_amendment_on_its_way_says_so_and_changes_nothing_before_it_arrives() -> None:
    broker = venue({3: [landed(12, 95)]}, answer_to_amend=LATER)
    made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(12), limit=D(95), reason="chase")]}, broker)
    tape = candles([100.0] * 4)
    [sent] = only(AmendSent, run(made, tape[:3]))
    assert (sent.request.reason, sent.eligible_ns) == ("chase", 2**62)
    assert made.state.working[ENTRY].order.limit == 90
    assert only(OrderAmended, made.step(tape[3])) == [
        OrderAmended(ENTRY, "s", X, D(12), D(12), D(95), None, "the amendment arrived")
    ]
    assert not made.state.working[ENTRY].asked


@pytest.mark.behaviour("O16")
def test_a_later_amendment_builds_on_what_is_on_its_way() -> None:
    plan = {
        0: [LIMIT],
        1: [AmendRequest(ENTRY, D(6))],
        2: [AmendRequest(ENTRY, limit=D(95)), AmendRequest(ENTRY, D(6))],
    }
    broker = venue({3: [landed(6)], 4: [landed(6, 95)]}, answer_to_amend=LATER)
    made = engine(plan, broker)
    outputs = play(made, 5)
    assert [(one.quantity, one.limit) for one in only(OrderAmended, outputs)] == [(6, 90), (6, 95)]
    assert made.counters.amended == 2
    assert refusals(outputs) == [("engine", "nothing would change")]
    assert not made.state.working[ENTRY].asked


@pytest.mark.behaviour("O16")
def test_a_price_on_its_way_to_a_guard_keeps_what_its_group_and_its_entry_made_of_it() -> None:
    cut = said(Amended(STOP, D(7), None, D(90), "of its group"))
    says = {
        1: [filled(ENTRY, 4)], 3: [filled(TARGET, 3, 120), cut], 4: [landed(7, None, 95, STOP)],
        5: [said(Ended(ENTRY, "expired", "over"))],
    }  # fmt: skip
    made = engine({0: [BRACKET], 2: [AmendRequest(STOP, stop=D(95))]}, venue(says, answer_to_amend=LATER))
    tape = candles([100.0] * 5)
    run(made, tape[:4])
    assert [(one.id, one.quantity) for one in made.strategies[0].view.orders()][1] == (STOP, 7)
    run(made, tape[4:])
    assert (made.state.working[STOP].order.quantity, made.state.working[STOP].order.stop) == (7, 95)
    assert not made.state.working[STOP].asked
    outputs = run(made, candles([100.0] * 6)[5:])
    assert [(one.order_id, one.remaining) for one in only(OrderAmended, outputs)] == [(STOP, 1), (TARGET, 1)]


@pytest.mark.behaviour("O16", "O6")
def test_a_guard_with_a_price_on_its_way_shrinks_with_its_entry() -> None:
    plan = {0: [BRACKET], 1: [AmendRequest(STOP, stop=D(95)), AmendRequest(ENTRY, D(6))]}
    made = engine(plan, venue({2: [landed(6, 100)], 3: [landed(6, None, 95, STOP)]}, answer_to_amend=LATER))
    tape = candles([100.0] * 4)
    run(made, tape[:3])
    assert [one.quantity for one in made.strategies[0].view.orders()] == [6, 6, 6]
    assert not only(BrokerFailed, run(made, tape[3:]))
    assert (made.state.working[STOP].order.stop, made.state.working[STOP].remaining) == (95, 6)


@pytest.mark.behaviour("O16", "O13")
@pytest.mark.parametrize(
    "report",
    [
        landed(13, 95),
        landed(11, 95),
        landed(10, 96),
        landed(10, None),
        landed(10, 90, 80),
        landed(4, 90),
        landed(0, 90),
    ],
)
def test_a_broker_that_amends_beyond_what_was_asked_for_ends_the_run(report: Any) -> None:
    plan = {0: [LIMIT], 1: [AmendRequest(ENTRY, limit=D(95))]}
    made = engine(plan, venue({1: [filled(ENTRY, 4, 90)], 3: [report]}, answer_to_amend=LATER))
    outputs = play(made, 5)
    assert "broker scripted " in only(BrokerFailed, outputs)[0].error
    assert not only(OrderAmended, outputs)
    assert not made.state.working


@pytest.mark.behaviour("O16")
def test_a_quantity_that_was_taken_back_does_not_come_again() -> None:
    made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(2))]}, venue({3: [landed(10)]}))
    assert "amended" in only(BrokerFailed, play(made, 4))[0].error


@pytest.mark.behaviour("O16")
def test_an_order_may_fill_whole_or_end_before_its_amendment_arrives() -> None:
    for report in (filled(ENTRY, 10, 90), said(Ended(ENTRY, "expired", "over"))):
        broker = venue({2: [report]}, answer_to_amend=LATER)
        made = engine({0: [LIMIT], 1: [AmendRequest(ENTRY, D(12))], 2: [AmendRequest(ENTRY, D(13))]}, broker)
        outputs = play(made, 4)
        assert not only(BrokerFailed, outputs)
        assert not made.state.working
        assert len(only(AmendSent, outputs)) == 1


@pytest.mark.behaviour("O16")
def test_nothing_is_amended_of_what_will_have_filled_whole_when_the_amendment_on_its_way_arrives() -> None:
    plan = {0: [LIMIT], 1: [AmendRequest(ENTRY, D(4))], 2: [AmendRequest(ENTRY, limit=D(95))]}
    outputs = play(engine(plan, venue({2: [filled(ENTRY, 5, 90)]}, answer_to_amend=LATER)), 3)
    [refused] = only(AmendRefused, outputs)
    assert refused.reason == "what remains would be below the minimum quantity"
    assert refused.numbers == {"quantity": "4.0000", "filled": "5.0000"}
    assert len(only(AmendSent, outputs)) == 1


@pytest.mark.behaviour("O16")
def test_no_more_than_sixteen_amendments_are_on_their_way() -> None:
    plan = {0: [LIMIT], 1: [AmendRequest(ENTRY, D(11 + n)) for n in range(18)]}
    outputs = play(engine(plan, venue(answer_to_amend=LATER)), 2)
    assert len(only(AmendSent, outputs)) == 16
    assert refusals(outputs) == [("engine", "too many amendments are on their way")] * 2


@pytest.mark.behaviour("O16")
def test_an_order_that_is_being_cancelled_is_not_amended() -> None:
    plan = {0: [LIMIT], 1: [CancelRequest(ENTRY, "enough"), AmendRequest(ENTRY, D(5))]}
    [refused] = only(AmendRefused, play(engine(plan, venue(answer_to_cancel=LATER)), 2))
    assert (refused.reason, refused.numbers) == ("a cancel is on its way", {"reason": "enough"})
    assert only(OrderAccepted, play(engine(plan), 2))
