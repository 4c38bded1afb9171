"""Cancels take time: they win or lose the race against a fill, an end, a stop of the run; one thing happens once."""

from collections.abc import Sequence
from decimal import Inexact, getcontext, localcontext
from typing import Any

import pytest
from lab.domain.control import Command, CommandAction
from lab.domain.events import BrokerFailed, CancelSent, OrderEnded, OrderFilled, OrderTriggered
from lab.domain.orders import (
    Accepted,
    Amended,
    AmendRequest,
    CancelRequest,
    Ended,
    OrderRequest,
    OrderType,
    Rejected,
    Triggered,
)
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.testing.builders import START_NS, candles
from lab.testing.engines import only, run
from lab.testing.scripted_broker import ScriptedBroker
from msgspec.structs import replace
from venue import BRACKET, ENTRY, STOP, TARGET, TEN, D, X, engine, filled, oid, play, said, venue

LIMIT = OrderRequest.buy(X, TEN, type=OrderType.LIMIT, limit=D(90))
STOP_ORDER = OrderRequest.buy(X, TEN, type=OrderType.STOP, stop=D(110))
LATER = Accepted(2**62)
CANCEL = CancelRequest(ENTRY, "enough")
GONE = said(Ended(ENTRY, "cancelled", "the cancel arrived"))


def ends(outputs: Sequence[Any]) -> list[tuple[str, str, str]]:
    return [(end.order_id, end.outcome, end.reason) for end in only(OrderEnded, outputs)]


@pytest.mark.behaviour("O16")
def test_a_cancel_on_its_way_says_so_once_and_the_order_works_on_until_it_arrives() -> None:
    made = engine({0: [LIMIT], 1: [CANCEL, CANCEL], 2: [CANCEL]}, venue({3: [GONE]}, answer_to_cancel=LATER))
    outputs = play(made, 4)
    assert only(CancelSent, outputs) == [CancelSent(ENTRY, "s", X, "enough", 2**62)]
    assert ends(outputs) == [(ENTRY, "cancelled", "enough")], "with the reason it was asked for"
    assert made.counters.cancelled == 1


@pytest.mark.behaviour("O16")
@pytest.mark.parametrize("last", [filled(ENTRY, 6, 90), GONE], ids=["filled whole", "filled in part"])
def test_an_order_may_fill_while_its_cancel_is_on_its_way(last: Any) -> None:
    made = engine({0: [LIMIT], 1: [CANCEL]}, venue({2: [filled(ENTRY, 4, 90)], 3: [last]}, answer_to_cancel=LATER))
    outputs = play(made, 5)
    assert not made.state.working
    assert not only(BrokerFailed, outputs)
    assert len(only(OrderFilled, outputs)) + len(only(OrderEnded, outputs)) == 2


@pytest.mark.behaviour("O16")
@pytest.mark.parametrize("outcome", ["expired", "rejected"])
def test_an_order_may_end_otherwise_while_its_cancel_is_on_its_way(outcome: Any) -> None:
    broker = venue({2: [said(Ended(ENTRY, outcome, "over"))]}, answer_to_cancel=LATER)
    assert ends(play(engine({0: [LIMIT], 1: [CANCEL]}, broker), 3)) == [(ENTRY, outcome, "over")]


@pytest.mark.behaviour("O16")
def test_a_broker_may_cancel_what_nobody_asked_for_with_its_own_reason() -> None:
    assert ends(play(engine({0: [LIMIT]}, venue({1: [GONE]})), 2)) == [(ENTRY, "cancelled", "the cancel arrived")]


@pytest.mark.behaviour("O16")
def test_a_cancel_that_comes_too_late_changes_nothing() -> None:
    broker = venue({2: [filled(ENTRY, 10, 90)]}, answer_to_cancel=Rejected("it has filled"))
    outputs = play(engine({0: [LIMIT], 1: [CANCEL], 2: [CANCEL]}, broker), 4)
    assert not only(CancelSent, outputs)
    assert not ends(outputs)
    assert [one.position for one in only(OrderFilled, outputs)] == [10]


@pytest.mark.behaviour("O16", "O6")
def test_an_entry_that_fills_while_its_cancel_is_on_its_way_is_guarded() -> None:
    says = {2: [filled(ENTRY, 4)], 3: [GONE], 4: [said(Triggered(STOP, D(90), D(90))), filled(STOP, 4, 90)]}
    outputs = play(engine({0: [BRACKET], 1: [CANCEL]}, venue(says, answer_to_cancel=LATER)), 5)
    assert [one.position for one in only(OrderFilled, outputs)] == [4, 0]


REPORTS_THAT_CANNOT_BE = [
    pytest.param(LIMIT, [filled(ENTRY, 4), said(Ended(ENTRY, "rejected", "no"))], "cannot become rejected", id="part"),
    pytest.param(LIMIT, [filled(ENTRY), said(Ended(ENTRY, "expired", "x"))], "which is not working", id="filled"),
    pytest.param(LIMIT, [GONE, filled(ENTRY)], "which is not working", id="a fill of what ended"),
    pytest.param(LIMIT, [GONE, GONE], "which is not working", id="two ends"),
    pytest.param(LIMIT, [filled(ENTRY, 11)], "filled what it may not", id="more than was ordered"),
    pytest.param(LIMIT, [filled(ENTRY, 6), filled(ENTRY, 6)], "filled what it may not", id="more in two parts"),
    pytest.param(LIMIT, [said(Triggered(ENTRY, D(1), D(1)))], "it is a limit order", id="a limit triggered"),
    pytest.param(STOP_ORDER, [filled(ENTRY)], "filled what it may not", id="a stop that was not reached"),
    pytest.param(STOP_ORDER, [said(Triggered(ENTRY, D(110), D(110)))] * 2, "cannot become triggered", id="twice"),
    pytest.param(
        STOP_ORDER, [said(Triggered(ENTRY, D(110), D(110))), filled(ENTRY, 4), said(Triggered(ENTRY, D(1), D(1)))],
        "cannot become triggered", id="a trigger after a fill",
    ),
    pytest.param(LIMIT, [said(Amended(ENTRY, D(11), D(90), None, "x"))], "were asked for at most", id="larger"),
    pytest.param(LIMIT, [said(Amended(ENTRY, TEN, D(91), None, "x"))], "to the limit 91", id="another limit"),
    pytest.param(LIMIT, [said(Amended(ENTRY, TEN, D(90), D(80), "x"))], "to the stop 80", id="a stop"),
    pytest.param(STOP_ORDER, [said(Amended(ENTRY, TEN, None, D(100), "x"))], "to the stop 100", id="another stop"),
    pytest.param(LIMIT, [said(Amended(ENTRY, TEN, None, None, "x"))], "to the limit None", id="no limit"),
    pytest.param(LIMIT, [said(Amended("other", TEN, None, None, "x"))], "which is not working", id="an unknown order"),
    pytest.param(LIMIT, [said(Triggered(ENTRY, D(0), D(1)))], "Triggered.level is 0", id="a level of 0"),
    pytest.param(LIMIT, [said(Triggered(ENTRY, D(1), D("NaN")))], "Triggered.reference is", id="no reference"),
    pytest.param(LIMIT, [said(Triggered(1, D(1), D(1)))], "Triggered.order_id is 1", id="no id"),  # type: ignore[arg-type]
    pytest.param(LIMIT, [said(Amended(ENTRY, D(-1), D(90), None, "x"))], "Amended.quantity is -1", id="below 0"),
    pytest.param(LIMIT, [said(Amended(ENTRY, TEN, 90.0, None, "x"))], "Amended.limit is 90.0", id="float"),  # type: ignore[arg-type]
    pytest.param(LIMIT, [said(Amended(ENTRY, TEN, D(90), None, None))], "Amended.reason is None", id="reason"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.behaviour("O13", "O16")
@pytest.mark.parametrize(("request_", "reports", "error"), REPORTS_THAT_CANNOT_BE)
def test_a_broker_that_reports_what_cannot_be_ends_the_run_and_every_order_has_one_end(
    request_: OrderRequest, reports: Any, error: str
) -> None:
    made = engine({0: [request_]}, venue({1: reports}))
    outputs = play(made, 3)
    assert error in only(BrokerFailed, outputs)[0].error
    done = [one.fill.order_id for one in only(OrderFilled, outputs) if not one.remaining]
    assert [*done, *(end[0] for end in ends(outputs))] == [ENTRY]
    assert not made.state.working


@pytest.mark.behaviour("O1")
def test_an_order_is_not_triggered_before_it_arrives() -> None:
    broker = venue({1: [said(Triggered(ENTRY, D(110), D(110)))]}, latency_ns=2 * MINUTE_NS)
    outputs = play(engine({0: [STOP_ORDER]}, broker), 3)
    assert "was triggered before it works" in only(BrokerFailed, outputs)[0].error
    assert not only(OrderTriggered, outputs)


class Faulty(ScriptedBroker):
    """Raises in one call, with a decimal context left as nobody wants it."""

    def __init__(self, where: str, **more: Any) -> None:
        super().__init__(**more)
        self.where = where

    def _maybe(self, where: str) -> None:
        getcontext().prec = 3
        if where == self.where:
            raise ValueError("on purpose")

    def cancel(self, order_id: str, now_ns: int) -> Any:
        self._maybe("cancel")
        return super().cancel(order_id, now_ns)

    def forget(self, order_id: str) -> None:
        self._maybe("forget")
        self.orders.pop(order_id, None)

    def amend(self, order: Any, now_ns: int) -> Any:
        self._maybe("amend")
        return super().amend(order, now_ns)


def trying(where: str) -> Engine:
    plan = {0: [BRACKET], 2: [CancelRequest(TARGET), AmendRequest(STOP, stop=D(95)), OrderRequest.sell(X, TEN)]}
    says = {1: [filled(ENTRY)], 3: [filled(oid(2))]}
    return engine(plan, Faulty(where, script=venue(says).script))


@pytest.mark.behaviour("O13", "P6")
@pytest.mark.parametrize("where", ["cancel", "amend", "forget"])
def test_a_broker_that_raises_in_any_call_ends_the_run_with_one_end_an_order(where: str) -> None:
    made = trying(where)
    outputs = play(made, 5)
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith(f"broker scripted failed in {where}: ValueError: on purpose")
    assert len({end[0] for end in ends(outputs)}) == len(ends(outputs))
    assert not made.state.working


@pytest.mark.behaviour("O14")
def test_whatever_a_broker_makes_of_the_decimal_context_money_stays_exact_and_the_callers_is_as_it_was() -> None:
    made = trying("nowhere")
    with localcontext() as mine:
        mine.prec = 7
        outputs = play(made, 5)
        assert getcontext() is mine
        assert (mine.prec, mine.traps[Inexact]) == (7, False)
    assert not only(BrokerFailed, outputs)
    assert [one.position for one in only(OrderFilled, outputs)] == [10, 0]
    assert [end[:2] for end in ends(outputs)] == [(TARGET, "cancelled"), (STOP, "cancelled")]
    made.strategies[0].book.ledger.check_balance()


@pytest.mark.behaviour("O13")
def test_a_run_that_a_defect_ends_asks_no_broker_about_the_guards() -> None:
    made = trying("forget")
    run(made, candles([100.0] * 2))
    outputs = made.abandon("a defect")
    assert ends(outputs) == [(one, "cancelled", "a defect") for one in (STOP, TARGET)]


@pytest.mark.behaviour("O16")
@pytest.mark.parametrize("action", [CommandAction.CANCEL, CommandAction.FLATTEN])
def test_a_command_waits_for_its_cancels_as_a_strategy_does(action: CommandAction) -> None:
    made = engine({0: [LIMIT]}, venue({1: [filled(ENTRY, 4, 90)]}, answer_to_cancel=LATER))
    play(made, 2)
    outputs = made.step(Command(START_NS + 2 * MINUTE_NS, action, "test", "enough"))
    assert [one.order_id for one in only(CancelSent, outputs)] == [ENTRY]
    assert ENTRY in made.state.working


@pytest.mark.behaviour("O16")
def test_what_the_engine_ended_is_not_kept_for_ever() -> None:
    plan = {n: [replace(LIMIT), CancelRequest(oid(n))] for n in range(50)}
    made = engine(plan, venue(watches=False))
    outputs = play(made, 50)
    assert len(ends(outputs)) == 50
    assert not made.state.ended
