"""A bracket guards what its entry filled, no more and no less, and ends with it: whatever happens on the way."""

from collections.abc import Sequence
from decimal import Decimal, getcontext, localcontext
from typing import Any

import pytest
from lab.domain.control import Command, CommandAction, TradingState
from lab.domain.events import (
    BrokerFailed,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    OrderTriggered,
    Signal,
)
from lab.domain.market import BACKFILLED
from lab.domain.orders import (
    PASS,
    Accepted,
    Amended,
    AmendRequest,
    CancelRequest,
    Ended,
    Order,
    OrderRequest,
    OrderType,
    Refuse,
    Rejected,
    Shrink,
    Side,
    Triggered,
    Verdict,
)
from lab.domain.time import MINUTE_NS
from lab.engine.view import View
from lab.ports import RiskGate, Strategy
from lab.testing.builders import START_NS, candles
from lab.testing.engines import only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from msgspec.structs import replace
from venue import BRACKET, ENTRY, STOP, TARGET, TEN, D, X, engine, filled, oid, play, said, venue

SELL = OrderRequest.sell(X, TEN)
MARKET = OrderRequest.buy(X, TEN, stop_loss=D(90), take_profit=D(120))
STOPPED = said(Triggered(STOP, D(90), D(90)))


def ends(outputs: Sequence[Any]) -> list[tuple[str, str, str, Decimal]]:
    return [(end.order_id, end.outcome, end.reason, end.remaining) for end in only(OrderEnded, outputs)]


def sizes(outputs: Sequence[Any]) -> list[tuple[str, Decimal, Decimal, str]]:
    return [(one.order_id, one.quantity, one.remaining, one.reason) for one in only(OrderAmended, outputs)]


class Watching(Strategy):
    """Follows a plan, and notes what it is told."""

    def __init__(self, plan: dict[int, Sequence[Any]]) -> None:
        self.plan, self.seen = plan, 0
        self.told: list[Any] = []

    def on_candle(self, candle: Any, view: View) -> Sequence[Any]:
        self.seen += 1
        return self.plan.get(self.seen - 1, ())

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.told.append(fill)

    def on_end(self, ended: OrderEnded, view: View) -> None:
        self.told.append(ended)


class Rejecting(ScriptedBroker):
    """Rejects the orders whose id ends as told, or raises."""

    def __init__(self, which: str, error: Exception | None = None) -> None:
        super().__init__()
        self.which, self.error = which, error

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        if not order.id.endswith(self.which):
            return super().submit(order, now_ns)
        if self.error is not None:
            raise self.error
        return Rejected("too many stops")


# -- how it is placed -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("request_", "side", "stop", "target"),
    [
        (BRACKET, Side.SELL, "90", "120"),
        (replace(BRACKET, stop_loss=D("89.96"), take_profit=D("120.04")), Side.SELL, "90.0", "120.1"),
        (
            replace(BRACKET, side=Side.SELL, stop_loss=D("110.06"), take_profit=D("80.04")), Side.BUY, "110.0", "80.0",
        ),
    ],
    ids=["long", "off the tick", "short"],
)  # fmt: skip
def test_stop_loss_and_target_follow_their_entry_as_orders_that_only_reduce(
    request_: OrderRequest, side: Side, stop: str, target: str
) -> None:
    broker = venue()
    entry, first, second = only(OrderAccepted, play(engine({0: [request_]}, broker), 2))
    assert (entry.order_id, entry.parent, entry.group, entry.reduce_only) == (ENTRY, "", "", False)
    assert [(one.order_id, one.type, one.stop, one.limit) for one in (first, second)] == [
        (STOP, OrderType.STOP, D(stop), None), (TARGET, OrderType.LIMIT, None, D(target)),
    ]  # fmt: skip
    for child in (first, second):
        assert (child.parent, child.group, child.side, child.reduce_only) == (ENTRY, ENTRY, side, True)
        assert (child.quantity, child.requested) == (TEN, TEN)
    assert list(broker.orders) == [ENTRY, STOP, TARGET]


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(("name", "child"), [("stop_loss", STOP), ("take_profit", TARGET)])
def test_a_bracket_may_have_one_side_only(name: str, child: str) -> None:
    request = replace(replace(BRACKET, stop_loss=None, take_profit=None), **{name: getattr(BRACKET, name)})
    assert [one.order_id for one in only(OrderAccepted, play(engine({0: [request]}), 1))] == [ENTRY, child]


@pytest.mark.behaviour("O6", "R6")
def test_what_a_gate_left_of_the_entry_is_what_is_guarded() -> None:
    class Half(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            assert (request.stop_loss, request.take_profit) == (D(90), D(120))
            return Shrink(D(5), "half")

    accepted = only(OrderAccepted, play(engine({0: [BRACKET]}, gates=[Half()]), 1))
    assert [one.quantity for one in accepted] == [5, 5, 5]


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize("which", ["stop", "target"])
def test_where_the_broker_rejects_a_guard_the_entry_ends_before_it_fills_and_its_strategy_is_told(which: str) -> None:
    strategy = Watching({0: [BRACKET]})
    made = engine({"s": strategy}, Rejecting(which))
    outputs = play(made, 3)
    rejected = (f"{ENTRY}/{which}", "rejected", "too many stops", TEN)
    entry = (ENTRY, "cancelled", f"its {which} was rejected", TEN)
    other = [(STOP, "cancelled", "its entry ended", TEN)] if which == "target" else []
    assert ends(outputs) == [rejected, entry, *other]
    assert strategy.told == only(OrderEnded, outputs)
    assert (made.counters.rejected, made.counters.cancelled) == (1, 1 + len(other))
    assert not made.state.working
    made = engine({0: [BRACKET]}, Rejecting(which))
    play(made, 1)
    assert not made.state.ended, "nothing is kept of what ended"


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize("which", ["stop", "target"])
def test_a_broker_that_raises_when_it_is_given_a_guard_ends_the_run_and_every_order(which: str) -> None:
    made = engine({0: [BRACKET]}, Rejecting(which, ValueError("full")))
    outputs = play(made, 3)
    [failed] = only(BrokerFailed, outputs)
    [refused] = only(OrderRefused, outputs)
    assert refused.order_id == f"{ENTRY}/{which}"
    assert {end[:3] for end in ends(outputs)} == {
        (one.order_id, "cancelled", failed.error) for one in only(OrderAccepted, outputs)
    }
    assert not made.state.working


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize("filled_", [0, 4], ids=["unfilled", "filled in part"])
def test_a_broker_that_failed_is_not_asked_to_forget_the_guards(filled_: int) -> None:
    class Failing(ScriptedBroker):
        calls = 0

        def observe(self, event: Any) -> Any:
            self.calls += 1
            if self.calls == 3:
                raise ValueError("on purpose")
            return [filled(ENTRY, 4)(event)] if self.calls == 2 and filled_ else ()

        def forget(self, order_id: str) -> None:
            raise AssertionError("it had failed")

    made = engine({0: [BRACKET]}, Failing())
    outputs = play(made, 4)
    [failed] = only(BrokerFailed, outputs)
    assert "failed in observe" in failed.error
    assert [end[:3] for end in ends(outputs)] == [(one, "cancelled", failed.error) for one in (ENTRY, STOP, TARGET)]
    assert not sizes(outputs)


@pytest.mark.behaviour("O13")
def test_a_broker_that_fails_when_it_is_to_forget_a_guard_ends_the_run_once() -> None:
    class Unforgetting(ScriptedBroker):
        def forget(self, order_id: str) -> None:
            raise ValueError("never")

    made = engine({0: [BRACKET], 1: [CancelRequest(ENTRY)]}, Unforgetting())
    outputs = play(made, 4)
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith("broker scripted failed in forget: ValueError: never")
    assert [end[:2] for end in ends(outputs)] == [(one, "cancelled") for one in (ENTRY, STOP, TARGET)]
    assert not made.state.working


# -- the entry ends ---------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6", "O13")
@pytest.mark.parametrize("outcome", ["expired", "rejected", "cancelled"])
def test_guards_of_an_entry_that_never_filled_end_with_it(outcome: Any) -> None:
    broker = venue({1: [said(Ended(ENTRY, outcome, "over"))]})
    made = engine({0: [BRACKET]}, broker)
    assert ends(play(made, 3)) == [
        (ENTRY, outcome, "over", TEN), (STOP, "cancelled", "its entry ended", TEN),
        (TARGET, "cancelled", "its entry ended", TEN),
    ]  # fmt: skip
    assert not {STOP, TARGET} & set(broker.orders), "the broker was told"


@pytest.mark.behaviour("O6")
def test_guards_of_an_entry_that_filled_in_part_guard_that_part_when_it_ends() -> None:
    broker = venue({1: [filled(ENTRY, 4)], 2: [said(Ended(ENTRY, "expired", "over"))], 3: [STOPPED, filled(STOP, 4)]})
    outputs = play(engine({0: [BRACKET]}, broker), 4)
    assert sizes(outputs) == [(one, D(4), D(4), "its entry filled in part") for one in (STOP, TARGET)]
    assert [(one.remaining, one.position) for one in only(OrderFilled, outputs)] == [(6, 4), (0, 0)]


@pytest.mark.behaviour("O6")
def test_what_guards_sold_already_is_not_guarded_again_when_the_entry_ends() -> None:
    cut = said(Amended(STOP, D(7), None, D(90), "of its group"))
    broker = venue(
        {1: [filled(ENTRY, 4)], 2: [filled(TARGET, 3, 120), cut], 3: [said(Ended(ENTRY, "expired", "over"))]}
    )
    made = engine({0: [BRACKET]}, broker)
    outputs = play(made, 4)
    assert sizes(outputs)[1:] == [
        (STOP, D(1), D(1), "its entry filled in part"), (TARGET, D(4), D(1), "its entry filled in part"),
    ]  # fmt: skip
    assert {name: one.remaining for name, one in made.state.working.items()} == {STOP: 1, TARGET: 1}


@pytest.mark.behaviour("O6", "O13")
def test_guards_that_sold_all_that_the_entry_filled_end_with_it() -> None:
    cut = said(Amended(STOP, D(6), None, D(90), "of its group"))
    broker = venue(
        {1: [filled(ENTRY, 4)], 2: [filled(TARGET, 4, 120), cut], 3: [said(Ended(ENTRY, "expired", "over"))]}
    )
    made = engine({0: [BRACKET]}, broker)
    outputs = play(made, 4)
    assert not made.state.working
    assert ends(outputs)[1:] == [(one, "cancelled", "its entry ended", D(6)) for one in (STOP, TARGET)]


@pytest.mark.behaviour("O6")
def test_guards_of_an_entry_that_filled_whole_work_on_for_all_of_it() -> None:
    made = engine({0: [BRACKET]}, venue({1: [filled(ENTRY, 4)], 2: [filled(ENTRY, 6)]}))
    outputs = play(made, 4)
    assert not sizes(outputs)
    assert not ends(outputs)
    assert {name: (one.remaining, one.awake) for name, one in made.state.working.items()} == {
        STOP: (10, True), TARGET: (10, True),
    }  # fmt: skip


@pytest.mark.behaviour("O6", "O13")
def test_a_guard_that_the_broker_made_smaller_is_not_enlarged_when_the_entry_ends_and_ends_where_nothing_is_left() -> (
    None
):
    smaller = said(Amended(STOP, D(2), None, D(90), "no more"))
    says = {1: [filled(ENTRY, 4)], 2: [smaller], 3: [said(Ended(ENTRY, "expired", "over"))]}
    made = engine({0: [BRACKET]}, venue(says))
    assert sizes(play(made, 4))[1:] == [(TARGET, D(4), D(4), "its entry filled in part")]
    assert made.state.working[STOP].remaining == 2
    outputs = play(engine({0: [BRACKET], 2: [AmendRequest(ENTRY, D(5))]}, venue({1: says[1], 2: says[2]})), 3)
    assert [end[:3] for end in ends(outputs)] == [(STOP, "cancelled", "its entry was amended")]
    assert [one[:2] for one in sizes(outputs)[1:]] == [(ENTRY, D(5)), (TARGET, D(5))]


# -- a guard's own promise --------------------------------------------------------------------------------------------


BROKEN = [
    pytest.param({1: [filled(TARGET)]}, "filled what it may not", id="a target before its entry"),
    pytest.param({1: [filled(TARGET), filled(ENTRY)]}, "filled what it may not", id="just before its entry"),
    pytest.param({1: [filled(ENTRY, 4), filled(TARGET, 5)]}, "filled what it may not", id="more than its entry"),
    pytest.param(
        {1: [filled(ENTRY, 4), filled(TARGET, 4)], 2: [STOPPED, filled(STOP, 1)]}, "filled what it may not",
        id="the two together more than their entry",
    ),
    pytest.param({1: [filled(ENTRY), filled(STOP)]}, "filled what it may not", id="a stop that was not reached"),
    pytest.param({1: [STOPPED]}, "was triggered before it works", id="a stop that sleeps is reached"),
    pytest.param({1: [filled(ENTRY), STOPPED, STOPPED]}, "cannot become triggered", id="reached twice"),
    pytest.param(
        {1: [filled(ENTRY), said(Triggered(TARGET, D(120), D(120)))]}, "it is a limit order", id="a limit is reached"
    ),
]  # fmt: skip


@pytest.mark.behaviour("O6", "O13")
@pytest.mark.parametrize(("says", "error"), BROKEN)
def test_a_broker_that_lets_a_guard_do_what_it_may_not_ends_the_run(says: Any, error: str) -> None:
    made = engine({0: [BRACKET]}, venue(says))
    outputs = play(made, 4)
    [failed] = only(BrokerFailed, outputs)
    assert error in failed.error
    assert not made.state.working
    assert made.strategies[0].view.position(X).quantity >= 0, "what guards a long never made a short"


@pytest.mark.behaviour("O6", "O1")
def test_a_guard_may_fill_at_the_moment_of_its_entry_after_it() -> None:
    broker = venue(
        {1: [filled(ENTRY), STOPPED, filled(STOP, 10, 90), said(Ended(TARGET, "cancelled", "of its group"))]}
    )
    outputs = play(engine({0: [BRACKET]}, broker), 2)
    assert [one.position for one in only(OrderFilled, outputs)] == [10, 0]
    [triggered] = only(OrderTriggered, outputs)
    assert (triggered.order_id, triggered.level, triggered.reference) == (STOP, 90, 90)
    assert ends(outputs) == [(TARGET, "cancelled", "of its group", TEN)]


# -- the position is closed by somebody else --------------------------------------------------------------------------


@pytest.mark.behaviour("O6", "O13")
def test_when_the_strategy_closes_the_position_itself_its_guards_end() -> None:
    broker = venue({1: [filled(ENTRY)], 2: [filled(oid(1))]})
    made = engine({0: [BRACKET], 1: [SELL]}, broker)
    outputs = play(made, 3)
    assert ends(outputs) == [(one, "cancelled", "the position is closed", TEN) for one in (STOP, TARGET)]
    assert not made.state.working
    assert set(broker.orders) == {ENTRY, oid(1)}, "the guards were forgotten; fills are no part of this stand-in"


@pytest.mark.behaviour("O6", "O13")
def test_reports_of_the_same_moment_on_guards_that_have_just_ended_are_passed_over() -> None:
    late = [STOPPED, said(Ended(TARGET, "cancelled", "of its group")), said(Amended(STOP, D(1), None, D(90), "late"))]
    made = engine({0: [BRACKET], 1: [SELL]}, venue({1: [filled(ENTRY)], 2: [filled(oid(1)), *late, filled(STOP)]}))
    outputs = play(made, 4)
    assert not only(BrokerFailed, outputs)
    assert len(ends(outputs)) == 2
    assert not only(OrderTriggered, outputs)
    assert not sizes(outputs)
    assert made.strategies[0].view.position(X).quantity == 0


@pytest.mark.behaviour("O13")
def test_a_report_of_a_later_moment_on_a_guard_that_has_ended_ends_the_run() -> None:
    made = engine({0: [BRACKET], 1: [SELL]}, venue({1: [filled(ENTRY)], 2: [filled(oid(1))], 3: [filled(STOP)]}))
    assert "which is not working" in only(BrokerFailed, play(made, 4))[0].error


@pytest.mark.behaviour("O6")
def test_guards_of_an_entry_that_goes_on_filling_outlive_a_position_that_was_closed() -> None:
    says = {1: [filled(ENTRY, 4)], 2: [filled(oid(1), 4)], 3: [filled(ENTRY, 6)], 4: [STOPPED, filled(STOP, 6, 90)]}
    made = engine({0: [BRACKET], 1: [replace(SELL, quantity=D(4))]}, venue(says))
    outputs = play(made, 5)
    assert [one.position for one in only(OrderFilled, outputs)] == [4, 0, 6, 0]


@pytest.mark.behaviour("O6", "O13")
@pytest.mark.parametrize("part", [1, 4])
def test_an_entry_ends_with_a_guard_that_finds_nothing_to_reduce(part: int) -> None:
    says = {1: [filled(ENTRY, 4)], 2: [filled(oid(1), 4)], 3: [STOPPED, filled(STOP, part, 90)]}
    made = engine({0: [BRACKET], 1: [replace(SELL, quantity=D(4))]}, venue(says))
    outputs = play(made, 5)
    assert [end[:3] for end in ends(outputs)] == [
        (STOP, "cancelled", "nothing left to reduce"), (ENTRY, "cancelled", "nothing left to reduce"),
        (TARGET, "cancelled", "its entry ended"),
    ]  # fmt: skip
    assert not made.state.working
    assert made.strategies[0].view.position(X).quantity == 0


@pytest.mark.behaviour("O6")
def test_a_guard_never_turns_the_position_and_its_fee_is_of_what_it_sold() -> None:
    says = {1: [filled(ENTRY)], 2: [filled(oid(1), 7)], 3: [STOPPED, filled(STOP, 10, 90)]}
    made = engine({0: [BRACKET], 1: [replace(SELL, quantity=D(7))]}, venue(says))
    outputs = play(made, 4)
    last = only(OrderFilled, outputs)[-1]
    assert (last.fill.quantity, last.position, last.remaining) == (3, 0, 7)
    assert ends(outputs)[0] == (STOP, "cancelled", "nothing left to reduce", D(7))
    assert list(made.state.working) == [TARGET], "the broker ends the rest of the group"


# -- turns, and several brackets --------------------------------------------------------------------------------------


TURN = OrderRequest.sell(X, D(15), stop_loss=D(110), take_profit=D(80))


@pytest.mark.behaviour("O6")
def test_an_order_that_turns_the_position_ends_the_old_guards_and_keeps_its_own() -> None:
    turn = oid(1)
    says = {1: [filled(ENTRY)], 2: [filled(turn, 15)], 3: [said(Triggered(f"{turn}/stop", D(110), D(110)))],
            4: [filled(f"{turn}/stop", 15, 110), said(Ended(f"{turn}/target", "cancelled", "its group"))]}  # fmt: skip
    made = engine({0: [MARKET], 1: [TURN]}, venue(says))
    outputs = play(made, 5)
    assert [end[0] for end in ends(outputs)][:2] == [STOP, TARGET]
    assert [(one.fill.quantity, one.position) for one in only(OrderFilled, outputs)] == [(10, 10), (15, -5), (5, 0)]
    assert not made.state.working
    assert made.counters.trades == 2


@pytest.mark.behaviour("O6")
def test_guards_of_a_turn_that_filled_in_part_wait_for_the_rest_of_it() -> None:
    turn = oid(1)
    made = engine({0: [MARKET], 1: [TURN]}, venue({1: [filled(ENTRY)], 2: [filled(turn, 10)], 3: [filled(turn, 5)]}))
    outputs = play(made, 4)
    assert [one.position for one in only(OrderFilled, outputs)] == [10, 0, -5]
    assert set(made.state.working) == {f"{turn}/stop", f"{turn}/target"}


@pytest.mark.behaviour("R4", "O6")
@pytest.mark.parametrize("how", ["halted", "gate"])
def test_a_turn_of_which_only_the_closing_part_is_placed_has_no_bracket(how: str) -> None:
    class No(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            return Refuse("no shorts") if request.side is Side.SELL else PASS

    made = engine({0: [MARKET], 1: [TURN]}, venue({1: [filled(ENTRY)]}), gates=[No()] if how == "gate" else [])
    first, second = candles([100.0] * 2)
    run(made, [first])
    if how == "halted":
        made.step(TradingState(second.time_ns, ("stale",)))
    [accepted] = only(OrderAccepted, made.step(second))
    assert (accepted.quantity, accepted.reduce_only, accepted.order_id) == (10, True, oid(1))


@pytest.mark.behaviour("O6")
def test_two_brackets_in_one_symbol_guard_each_its_own_entry() -> None:
    other = oid(0, 2)
    says = {1: [filled(ENTRY), filled(other)], 2: [STOPPED, filled(STOP), said(Ended(TARGET, "cancelled", "group"))]}
    made = engine({0: [BRACKET, replace(BRACKET, stop_loss=D(80))]}, venue(says))
    outputs = play(made, 3)
    assert [one.position for one in only(OrderFilled, outputs)] == [10, 20, 10]
    assert set(made.state.working) == {f"{other}/stop", f"{other}/target"}


@pytest.mark.behaviour("P6", "O6")
def test_a_position_closed_by_one_strategy_leaves_the_guards_of_another() -> None:
    theirs = oid(strategy="t")
    says = {1: [filled(ENTRY), filled(theirs)], 2: [filled(oid(1))]}
    plans = {"s": ScriptedStrategy(plan={0: [BRACKET], 1: [SELL]}), "t": ScriptedStrategy(plan={0: [BRACKET]})}
    made = engine(plans, venue(says))
    play(made, 3)
    assert set(made.state.working) == {f"{theirs}/stop", f"{theirs}/target"}
    assert made.strategies[1].view.position(X).quantity == 10


# -- stops, halts, commands, restarts ---------------------------------------------------------------------------------


@pytest.mark.behaviour("P6")
def test_a_strategy_that_fails_loses_its_entry_and_keeps_the_guards_of_what_had_filled() -> None:
    class Failing(Strategy):
        seen = 0

        def on_candle(self, candle: Any, view: View) -> Any:
            self.seen += 1
            return [BRACKET] if self.seen == 1 else 1 / 0

    made = engine({"s": Failing()}, venue({1: [filled(ENTRY, 4)], 2: [STOPPED, filled(STOP, 4, 90)]}))
    outputs = play(made, 3)
    assert ends(outputs)[0] == (ENTRY, "cancelled", "its strategy was stopped", D(6))
    assert sizes(outputs) == [(one, D(4), D(4), "its entry filled in part") for one in (STOP, TARGET)]
    assert [one.position for one in only(OrderFilled, outputs)] == [4, 0]


@pytest.mark.behaviour("O14", "P6")
def test_the_decimal_context_that_a_failed_strategy_left_rounds_no_guard() -> None:
    class Failing(Strategy):
        seen = 0

        def on_candle(self, candle: Any, view: View) -> Any:
            self.seen += 1
            if self.seen == 1:
                return [replace(BRACKET, quantity=D("12.3456"))]
            getcontext().prec = 2
            raise ValueError("on purpose")

    with localcontext():
        made = engine({"s": Failing()}, venue({1: [filled(ENTRY, "4.5678")]}))
        outputs = play(made, 2)
    assert ends(outputs) == [(ENTRY, "cancelled", "its strategy was stopped", D("7.7778"))]
    assert sizes(outputs) == [
        (one, D("4.5678"), D("4.5678"), "its entry filled in part") for one in (STOP, TARGET)
    ]  # fmt: skip


@pytest.mark.behaviour("R4")
def test_while_trading_is_halted_a_bracket_is_a_signal_and_what_guards_works_on() -> None:
    made = engine({0: [BRACKET], 1: [BRACKET]}, venue({2: [filled(ENTRY)], 3: [STOPPED, filled(STOP, 10, 90)]}))
    first, second, third = candles([100.0] * 3)
    made.step(first)
    made.step(TradingState(second.time_ns, ("stale",)))
    outputs = run(made, [second, third])
    assert [signal.request for signal in only(Signal, outputs)] == [BRACKET]
    assert [one.position for one in only(OrderFilled, outputs)] == [10, 0]


@pytest.mark.behaviour("O6", "O13")
@pytest.mark.parametrize("action", [CommandAction.STOP, CommandAction.KILL])
@pytest.mark.parametrize("part", [0, 4], ids=["unfilled", "filled in part"])
def test_a_stop_ends_entry_and_guards_at_once_even_where_cancels_take_time(action: CommandAction, part: int) -> None:
    broker = venue({1: [filled(ENTRY, part)] if part else []}, answer_to_cancel=Accepted(2**62))
    made = engine({0: [BRACKET]}, broker)
    play(made, 2)
    outputs = made.step(Command(START_NS + 2 * MINUTE_NS, action, "test", "enough"))
    assert {end[0] for end in ends(outputs)} == {ENTRY, STOP, TARGET}
    closing = [one for one in only(OrderAccepted, outputs) if one.reduce_only]
    assert [one.quantity for one in closing] == ([part] if action is CommandAction.KILL and part else [])


@pytest.mark.behaviour("O12")
@pytest.mark.parametrize("where", ["memory", "archive"])
def test_a_bracket_sent_again_is_refused_and_places_no_second_guard(where: str) -> None:
    request = replace(BRACKET, decided_ns=START_NS, leg="entry")
    known = f"l-s-{X}-c{START_NS}-entry"
    plan = {0: [request], 1: [request]} if where == "memory" else {1: [request]}
    made = engine(plan, archive=lambda one: "filled" if where == "archive" and one == known else None)
    outputs = play(made, 3)
    [refused] = only(OrderRefused, outputs)
    assert (refused.by, refused.order_id) == ("duplicate", known)
    assert len(only(OrderAccepted, outputs)) == (3 if where == "memory" else 0)


@pytest.mark.behaviour("R4")
def test_a_bracket_on_a_backfilled_candle_is_a_signal() -> None:
    made = engine({0: [BRACKET]})
    [candle] = candles([100.0], status=BACKFILLED)
    assert [(one.request, one.why) for one in only(Signal, made.step(candle))] == [(BRACKET, "backfilled")]


@pytest.mark.behaviour("O6")
def test_a_guard_can_be_taken_back_and_moved_by_its_strategy() -> None:
    plan = {0: [BRACKET], 2: [CancelRequest(TARGET), AmendRequest(STOP, stop=D(95))]}
    outputs = play(engine(plan, venue({1: [filled(ENTRY)]})), 3)
    assert ends(outputs) == [(TARGET, "cancelled", "asked for by the strategy", TEN)]
    [moved] = only(OrderAmended, outputs)
    assert (moved.order_id, moved.stop, moved.remaining) == (STOP, 95, 10)


@pytest.mark.behaviour("O6")
def test_an_entry_that_only_closed_a_position_leaves_no_guards_behind() -> None:
    """It was sent while nothing was held, and found a short of its size: nothing is left to guard, then or later."""
    says = {1: [filled(oid(0, 2))], 2: [filled(ENTRY)]}
    made = engine({0: [BRACKET, OrderRequest.sell(X, D(10))]}, venue(says))
    outputs = play(made, 3)
    assert [one.position for one in only(OrderFilled, outputs)] == [-10, 0]
    assert ends(outputs) == [(one, "cancelled", "the position is closed", TEN) for one in (STOP, TARGET)]
    assert not made.state.working


@pytest.mark.behaviour("O6", "R4")
def test_an_order_with_a_bracket_opens_and_keeps_it_though_it_could_close() -> None:
    """It is no larger than the position when it is sent, and finds nothing to close when it fills."""
    sell = OrderRequest.sell(X, TEN, stop_loss=D(110), take_profit=D(80))
    first, second = oid(1), oid(1, 2)
    says = {1: [filled(ENTRY)], 2: [filled(first), filled(second)]}
    made = engine({0: [MARKET], 1: [OrderRequest.sell(X, TEN), sell]}, venue(says))
    outputs = play(made, 3)
    accepted = {one.order_id: one.reduce_only for one in only(OrderAccepted, outputs)}
    assert (accepted[first], accepted[second]) == (True, False)
    assert [one.position for one in only(OrderFilled, outputs)] == [10, 0, -10]
    assert set(made.state.working) == {f"{second}/stop", f"{second}/target"}


@pytest.mark.behaviour("R4", "O6")
def test_of_an_order_with_a_bracket_that_gates_refuse_what_closes_is_placed_and_no_more_than_was_asked_for() -> None:
    class No(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            return Refuse("no shorts") if request.side is Side.SELL else PASS

    sell = OrderRequest.sell(X, D(4), stop_loss=D(110))
    made = engine({0: [MARKET], 1: [sell]}, venue({1: [filled(ENTRY)]}), gates=[No()])
    [accepted] = [one for one in only(OrderAccepted, play(made, 2)) if one.order_id == oid(1)]
    assert (accepted.quantity, accepted.reduce_only) == (4, True)
