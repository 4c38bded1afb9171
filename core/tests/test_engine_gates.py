"""Gates pass, shrink or refuse what opens a position and never stand before an exit; halted trading leaves signals."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import TradingState
from lab.domain.events import OrderAccepted, OrderFilled, OrderRefused, Signal
from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED
from lab.domain.orders import PASS, CancelRequest, OrderRequest, OrderType, Pass, Refuse, Shrink, Side, Verdict
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import RiskGate
from lab.testing.builders import START_NS, candles, instrument
from lab.testing.engines import engine_with, only
from lab.testing.harness import Action, ScriptedStrategy
from msgspec.structs import replace

D = Decimal
ONE = D(1)
X = "BTCUSDT"
BUY, SELL = OrderRequest.buy(X, ONE), OrderRequest.sell(X, ONE)
FLIP = OrderRequest.sell(X, D(3))
EXIT = OrderRequest.sell(X, ONE, reduce_only=True)


@define(kw_only=True, eq=False)
class Asked(RiskGate):
    """Answers what it was told to and notes what it was shown."""

    answer: Callable[[OrderRequest], Any] = lambda _: PASS
    shown: list[OrderRequest] = field(init=False, factory=list)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        self.shown.append(request)
        verdict: Verdict = self.answer(request)
        return verdict


def always(answer: object) -> Asked:
    return Asked(answer=lambda _: answer)


def run(
    plan: dict[int, Sequence[Action]], *gates: Asked, inputs: Iterable[Input] | None = None, **more: Any
) -> tuple[Engine, list[Any]]:
    known, named = (
        instrument(X, quantity_min=D("0.01")),
        {f"gate{number}": gate for number, gate in enumerate(gates, 1)},
    )
    made = engine_with({"s": ScriptedStrategy(plan=plan)}, gates=named, instruments=[known], **more)
    inputs = candles([100.0] * (max(plan) + 3)) if inputs is None else inputs
    return made, [output for event in inputs for output in made.step(event)]


# -- R6 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("verdict", [PASS, Pass()])
def test_what_passes_goes_on_as_it_is(verdict: Pass) -> None:
    gate = always(verdict)
    _, outputs = run({0: [BUY]}, gate)
    [accepted] = only(OrderAccepted, outputs)
    assert (accepted.side, accepted.quantity, accepted.remarks) == (Side.BUY, 1, ())
    assert gate.shown == [BUY]


@pytest.mark.behaviour("R6")
def test_gates_are_asked_in_their_order_each_with_what_the_one_before_left() -> None:
    first, second = (
        always(Shrink(D("0.70009"), "too bold", {"limit": "70"})),
        always(Shrink(D("0.5"), "still too bold")),
    )
    third = Asked()
    _, outputs = run({0: [OrderRequest.buy(X, D("1.00009"))]}, first, second, third)
    assert [gate.shown[0].quantity for gate in (first, second, third)] == [1, D("0.7"), D("0.5")]
    [accepted] = only(OrderAccepted, outputs)
    assert (accepted.quantity, accepted.requested) == (D("0.5"), D("1.00009"))
    assert accepted.remarks == (
        "gate1 shrank 1.0000 to 0.7000: too bold {'limit': '70'}",
        "gate2 shrank 0.7000 to 0.5000: still too bold {}",
    )


@pytest.mark.behaviour("R6")
def test_a_refusal_names_the_gate_and_carries_the_numbers_and_ends_the_review() -> None:
    later = Asked()
    made, outputs = run({0: [BUY]}, Asked(), always(Refuse("daily loss", {"lost": "510", "limit": "500"})), later)
    [refused] = only(OrderRefused, outputs)
    assert (refused.by, refused.reason, refused.numbers) == ("gate2", "daily loss", {"lost": "510", "limit": "500"})
    assert refused.request == BUY
    assert not later.shown
    assert not made.state.working


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Shrink(D(2), "have more"), "the gate asked for 2 of 1.0000: have more"),
        (Shrink(D("1.0001"), "a little more"), "the gate asked for 1.0001 of 1.0000: a little more"),
        (Shrink(D("0.0099"), "next to nothing"), "the gate asked for 0.0099 of 1.0000: next to nothing"),
        (Shrink(D(0), "nothing"), "the gate asked for 0 of 1.0000: nothing"),
        (Shrink(D(-1), "the other way"), "the gate asked for -1 of 1.0000: the other way"),
        (SELL, "the gate answered OrderRequest("),
        (replace(BUY, quantity=D(2)), "the gate answered OrderRequest("),
        (None, "the gate answered None, not Pass"),
        (True, "the gate answered True, not Pass"),
    ],
)
def test_a_gate_can_neither_enlarge_nor_turn_an_order_nor_answer_anything_else(answer: object, reason: str) -> None:
    _, outputs = run({0: [BUY]}, always(answer))
    [refused] = only(OrderRefused, outputs)
    assert refused.by == "gate1"
    assert refused.reason.startswith(reason)
    assert not only(OrderAccepted, outputs)


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("quantity", [D("NaN"), 0.5, None])
def test_a_shrink_that_is_no_amount_refuses_and_ends_nothing(quantity: Any) -> None:
    _, outputs = run({0: [BUY]}, always(Shrink(quantity, "confused")))
    assert [refused.by for refused in only(OrderRefused, outputs)] == ["gate1"]


@pytest.mark.behaviour("R6")
def test_a_gate_that_raises_refuses() -> None:
    def fail(request: OrderRequest) -> Verdict:
        raise KeyError("limit")

    line = fail.__code__.co_firstlineno + 1
    _, outputs = run({0: [BUY], 1: [BUY]}, Asked(answer=fail))
    assert [(refused.by, refused.reason) for refused in only(OrderRefused, outputs)] == [
        ("gate1", f"the gate failed: KeyError: 'limit' ({__name__}, line {line})")
    ] * 2


@pytest.mark.behaviour("R6")
def test_a_hundred_refusals_are_counted_as_a_hundred() -> None:
    made, outputs = run({number: [BUY] for number in range(100)}, always(Refuse("no")))
    assert len(only(OrderRefused, outputs)) == made.counters.refusals == 100


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize(
    "exit_", [EXIT, SELL, OrderRequest.sell(X, D("0.5")), OrderRequest.sell(X, D(9), reduce_only=True)]
)
def test_an_exit_is_never_put_before_a_gate(exit_: OrderRequest) -> None:
    gate = Asked(answer=lambda request: PASS if request.side is Side.BUY else Refuse("no"))
    _, outputs = run({0: [BUY], 2: [exit_]}, gate)
    assert gate.shown == [BUY]
    left = 1 - min(exit_.quantity, ONE)
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, left]
    assert only(OrderAccepted, outputs)[-1].reduce_only


@pytest.mark.behaviour("R6")
def test_a_short_is_covered_without_a_gate_too() -> None:
    gate = Asked(answer=lambda request: PASS if request.side is Side.SELL else Refuse("no"))
    _, outputs = run({0: [SELL], 2: [BUY]}, gate)
    assert [filled.position for filled in only(OrderFilled, outputs)] == [-1, 0]


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("answer", [Refuse("too much"), Shrink(D(4), "too much"), "nonsense"])
def test_a_refused_turn_keeps_the_part_that_closes(answer: object) -> None:
    gate = Asked(answer=lambda request: PASS if request.side is Side.BUY else answer)
    made, outputs = run({0: [BUY], 2: [FLIP]}, gate)
    assert gate.shown == [BUY, FLIP]
    accepted = only(OrderAccepted, outputs)[-1]
    assert (accepted.quantity, accepted.requested, accepted.reduce_only) == (1, 3, True)
    assert accepted.remarks[0].startswith("gate1 refused what would open: ")
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0]
    assert made.counters.refusals == 0


@pytest.mark.behaviour("R6")
def test_a_turn_that_passes_turns_the_position() -> None:
    _, outputs = run({0: [BUY], 2: [FLIP]}, Asked())
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, -2]


@pytest.mark.behaviour("R6")
def test_an_exit_beside_a_working_one_is_a_new_position_and_is_reviewed() -> None:
    gate = Asked()
    run({0: [BUY], 2: [SELL, SELL]}, gate)
    assert gate.shown == [BUY, SELL]


@pytest.mark.behaviour("R4", "R6")
def test_an_exit_beside_a_resting_one_only_closes_and_passes() -> None:
    resting = OrderRequest.sell(X, ONE, type=OrderType.LIMIT, limit=D(120))
    gate = Asked()
    _, outputs = run({0: [BUY], 2: [resting], 3: [SELL]}, gate)
    assert gate.shown == [BUY]
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0]


# -- halted trading, --no-orders, back-filled candles ---------------------------------------------------------------


def halted(*reasons: str, at: int) -> TradingState:
    return TradingState(START_NS + at * MINUTE_NS, reasons)


def test_while_trading_is_halted_an_entry_is_a_signal_with_the_reasons() -> None:
    first, second, third = candles([100.0] * 3)
    inputs: list[Input] = [halted("feed degraded", "no quote", at=0), first, halted(at=1), second, third]
    made, outputs = run({0: [BUY], 1: [BUY]}, inputs=inputs)
    assert only(Signal, outputs) == [Signal("s", BUY, "halted: feed degraded; no quote")]
    assert [accepted.order_id for accepted in only(OrderAccepted, outputs)] == [f"l-s-{X}-c{second.open_ns}-1"]
    assert only(TradingState, outputs) == [inputs[0], inputs[2]]
    assert made.counters.signals == 1


@pytest.mark.behaviour("R6")
def test_of_an_order_that_would_turn_a_position_halted_trading_lets_the_closing_part_pass() -> None:
    made, outputs = run(
        {0: [BUY], 2: [FLIP]},
        inputs=[*candles([100.0] * 2), halted("stale", at=2), *candles([100.0] * 2, start_ns=START_NS + 2 * MINUTE_NS)],
    )
    flipped = only(OrderAccepted, outputs)[1]
    assert (flipped.quantity, flipped.requested, flipped.reduce_only) == (ONE, D(3), True)
    assert flipped.remarks == ("only what closes: trading is halted: stale",)
    assert made.strategies[0].view.position(X).quantity == 0


def test_exits_and_cancels_pass_while_trading_is_halted() -> None:
    resting = OrderRequest.buy(X, ONE, type=OrderType.LIMIT, limit=ONE)
    made, outputs = run(
        {0: [BUY, resting], 2: [EXIT, CancelRequest(f"l-s-{X}-c{START_NS}-2")]},
        inputs=[*candles([100.0] * 2), halted("stale", at=2), *candles([100.0] * 2, start_ns=START_NS + 2 * MINUTE_NS)],
    )
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0]
    assert made.counters.cancelled == 1
    assert not only(Signal, outputs)


def test_a_trading_state_is_no_row_of_a_backtest() -> None:
    _, outputs = run({0: [BUY]}, inputs=[halted("closed", at=0), *candles([100.0])], record_inputs=False)
    assert [type(output) for output in outputs] == [Signal]


@pytest.mark.behaviour("S7")
def test_without_orders_every_request_is_a_signal() -> None:
    made, outputs = run({0: [BUY, SELL], 1: [EXIT]}, no_orders=True)
    assert [(signal.request, signal.why) for signal in only(Signal, outputs)] == [
        (request, "no_orders") for request in (BUY, SELL, EXIT)
    ]
    assert (made.counters.signals, made.counters.orders) == (3, 0)


@pytest.mark.behaviour("F8")
def test_a_request_on_a_back_filled_candle_is_a_signal_and_mints_no_id() -> None:
    named = OrderRequest.buy(X, ONE, leg="entry", decided_ns=START_NS)
    past, present = candles([100.0] * 2)
    inputs: list[Input] = [past._replace(status=BACKFILLED), present]
    _, outputs = run({0: [named], 1: [named]}, inputs=inputs)
    assert only(Signal, outputs) == [Signal("s", named, "backfilled")]
    assert len(only(OrderAccepted, outputs)) == 1


@pytest.mark.behaviour("F8")
def test_a_back_filled_candle_neither_fills_nor_cancels_an_order() -> None:
    oid = f"l-s-{X}-c{START_NS}-1"
    live, filled_in, again = candles([100.0] * 3)
    inputs: list[Input] = [live, filled_in._replace(status=BACKFILLED)]
    made, outputs = run({0: [BUY], 1: [CancelRequest(oid)]}, inputs=inputs)
    assert list(made.state.working) == [oid]
    assert [filled.fill.order_id for filled in only(OrderFilled, made.step(again))] == [oid]
    assert not only(OrderFilled, outputs)


@pytest.mark.behaviour("O8", "R6")
@pytest.mark.parametrize(("working", "closes"), [(ONE, None), (None, D("1.5"))])
def test_what_is_left_of_a_refused_turn_must_reach_the_minimum_or_close_the_whole_position(
    working: Decimal | None, closes: Decimal | None
) -> None:
    """1.5 are held and the minimum is 1; beside a working exit of 1 only 0.5 can be closed, without it all."""
    exits = [] if working is None else [OrderRequest.sell(X, working)]
    plan: dict[int, Sequence[Action]] = {0: [OrderRequest.buy(X, D("1.5"))], 2: [*exits, FLIP]}
    gate = Asked(answer=lambda request: Refuse("too much") if request == FLIP else PASS)
    made = engine_with({"s": ScriptedStrategy(plan=plan)}, gates=[gate], instruments=[instrument(X, quantity_min=ONE)])
    outputs = [output for event in candles([100.0] * 6) for output in made.step(event)]
    if closes is not None:
        assert only(OrderAccepted, outputs)[-1].quantity == closes
        assert not only(OrderRefused, outputs)
        return
    [refused] = only(OrderRefused, outputs)
    assert (refused.by, refused.numbers) == ("engine", {"closes": "0.5000", "quantity_min": "1"})
    assert refused.reason == "below the minimum quantity: g0 refused what would open: too much"
