"""What a broker answers and reports is checked field by field; what is not sound is not booked, and ends the run."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from lab.domain.events import (
    BrokerFailed,
    Fill,
    OrderEnded,
    OrderFilled,
)
from lab.domain.orders import Accepted, CancelRequest, Ended, Order, OrderRequest, OrderType, Rejected
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.journal.codec import encode
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import Script, ScriptedBroker, fill_all
from msgspec.structs import replace

D = Decimal
ONE = D(1)
X = "BTCUSDT"
BUY = OrderRequest.buy(X, ONE)


def engine(strategy: Strategy, broker: Broker) -> Engine:
    return engine_with({"s": strategy}, broker=broker, deposit=D(1_000_000), broker_name="scripted")


def with_changed_fills(broker: ScriptedBroker, event: Any, change: Callable[[Fill], Any]) -> Any:
    return [change(fill) for fill in fill_all(broker, event)]


class Nameless:
    """Has no description."""

    def __repr__(self) -> str:
        raise KeyError("no name")


class Text(str):
    """Text of another class: the journal would not take it."""

    __slots__ = ()


BAD_FILLS: list[dict[str, Any]] = [
    {"order_id": "nobody"}, {"order_id": None}, {"order_id": []},
    {"quantity": D(0)}, {"quantity": D(-1)}, {"quantity": D("NaN")}, {"quantity": D("sNaN")},
    {"quantity": D("Infinity")}, {"quantity": 1}, {"quantity": 1.0}, {"quantity": None}, {"quantity": D(2)},
    {"quantity": D("1e15")},
    {"price": D(0)}, {"price": D(-1)}, {"price": D("NaN")}, {"price": 50_000.0}, {"price": D("1e15")}, {"price": "1"},
    {"fee": D("NaN")}, {"fee": 0}, {"fee": D("1e30")}, {"fee": D("-1e30")}, {"fee": None},
    {"fee_rate": D("NaN")}, {"fee_rate": 0.1}, {"fee_rate": D(1)}, {"fee_rate": D(-1)},
    {"reference": D("NaN")}, {"reference": None}, {"reference": D(-1)}, {"reference": D("1e15")},
    {"spread": D("NaN")}, {"spread": 0.1}, {"spread": D(-1)}, {"spread": D("1e15")},
    {"slippage": D("NaN")}, {"slippage": 0}, {"slippage": D(-1)}, {"slippage": D("1e15")},
    {"fee": D("1E-110")}, {"fee": D("-1E-999999")}, {"price": D(f"50000.{'1' * 300}")},
    {"liquidity": Text("taker")}, {"liquidity": "both"}, {"liquidity": None}, {"liquidity": []},
    {"rule": None}, {"rule": "größe"}, {"rule": "\ud800"}, {"rule": "x" * 501}, {"rule": Nameless()},
    {"time_ns": 0.5}, {"time_ns": -1}, {"time_ns": None}, {"time_ns": True}, {"time_ns": 2**63},
    {"time_ns": START_NS + 2 * MINUTE_NS + 1},
]  # fmt: skip


@pytest.mark.behaviour("O13", "O14")
@pytest.mark.parametrize(
    "change", BAD_FILLS, ids=lambda change: f"{next(iter(change))}-{type(next(iter(change.values()))).__name__}"
)
def test_a_fill_with_one_wrong_field_is_not_booked_and_ends_the_run(change: dict[str, Any]) -> None:
    broker = ScriptedBroker(
        script=lambda broker, event: with_changed_fills(broker, event, lambda fill: replace(fill, **change))
    )
    made = engine(ScriptedStrategy(plan={0: [BUY]}), broker)
    outputs = run(made, candles([50_000.0] * 3))
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith("broker scripted ")
    assert len(failed.error) < 2_000
    assert not only(OrderFilled, outputs)
    assert [end.outcome for end in only(OrderEnded, outputs)] == ["cancelled"]
    assert made.valuation.equity() == 1_000_000
    assert all(encode(output) for output in outputs)


ACCEPTED_AND: list[Any] = [
    lambda oid: [Ended(oid, "cancelled", "x")],  # type: ignore[arg-type]
    lambda oid: [Ended(oid, ["expired"], "x")],  # type: ignore[arg-type]
    lambda oid: [Ended(oid, "expired", None)],  # type: ignore[arg-type]
    lambda oid: [Ended(oid, "expired", "\ud800")],
    lambda oid: [Ended(oid, "expired", "x" * 501)],
    lambda oid: [Ended(None, "expired", "x")],  # type: ignore[arg-type]
    lambda oid: [Ended("nobody", "expired", "x")],
    lambda oid: [Ended(oid, "expired", "x")] * 2,
    lambda oid: [None],
    lambda oid: [Nameless()],
    lambda oid: ["filled"],
    lambda oid: None,
    lambda oid: {oid: "filled"},
    lambda oid: iter(()),
    lambda oid: Ended(oid, "expired", "x"),
    lambda oid: Nameless(),
    lambda oid: [Ended(oid, "expired", "x")] * 10_001,
]


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize("reports", ACCEPTED_AND)
def test_reports_that_are_none_or_too_many_end_the_run(reports: Callable[[str], Any]) -> None:
    def script(broker: ScriptedBroker, event: Any) -> Any:
        return reports(next(iter(broker.orders))) if broker.orders else ()

    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(script=script))
    outputs = run(made, candles([50_000.0] * 3))
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith("broker scripted ")
    assert len(only(OrderEnded, outputs)) == 1
    assert all(encode(output) for output in outputs)


ANSWERS = [
    Accepted(START_NS + MINUTE_NS - 1), Accepted(-1), Accepted(2**63), Accepted(1.8e18), Accepted(None),  # type: ignore[arg-type]
    Accepted(True), Rejected(None), Rejected("\ud800"), Rejected("x" * 501), True, "yes", Accepted, Nameless(),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.behaviour("O1", "O13")
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_none_or_lies_in_the_past_ends_the_run(answer: Any) -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(answer=answer))
    outputs = run(made, candles([50_000.0] * 3))
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith("broker scripted failed in submit: ")
    assert not made.state.working


@pytest.mark.behaviour("O1")
def test_a_broker_that_fills_before_the_orders_arrival_ends_the_run() -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(script=fill_all, latency_ns=SECOND_NS))
    [candle] = candles([50_000.0])
    made.step(candle)
    outputs = made.step(*quotes([50_000.0], start_ns=candle.time_ns + SECOND_NS - 1))
    assert "broker scripted filled what it may not" in only(BrokerFailed, outputs)[0].error
    assert not only(OrderFilled, outputs)


OVERFILLING: dict[str, Script] = {
    "more than was left": lambda broker, event: with_changed_fills(
        broker, event, lambda fill: replace(fill, quantity=D(2))
    ),
    "the same twice": lambda broker, event: [fill for fill in fill_all(broker, event) for _ in range(2)],
    "by a lot": lambda broker, event: with_changed_fills(
        broker, event, lambda fill: replace(fill, quantity=D("1.0001"))
    ),
}


@pytest.mark.parametrize("name", OVERFILLING)
def test_a_fill_of_more_than_was_left_is_found_even_where_the_broker_hides_it(name: str) -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(script=OVERFILLING[name]))
    outputs = run(made, candles([50_000.0] * 3))
    assert only(BrokerFailed, outputs)
    assert sum(filled.fill.quantity for filled in only(OrderFilled, outputs)) <= 1


def test_ten_thousand_reports_on_one_event_are_taken() -> None:
    small = D("0.0001")

    def script(broker: ScriptedBroker, event: Any) -> Any:
        return [broker.fill(order, event, small) for order in list(broker.orders.values()) for _ in range(10_000)]

    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedBroker(script=script))
    run(made, candles([50_000.0] * 2))
    assert made.counters.fills == 10_000
    assert made.strategies[0].view.position(X).quantity == 1
    assert made.state.failure is None


def test_a_report_on_what_the_engine_ended_at_that_moment_is_passed_over() -> None:
    """Two exits fill at once: the first closes the position, and of the second two reports come, of a half each."""
    half = D("0.5")

    def script(broker: ScriptedBroker, event: Any) -> Any:
        if len(broker.orders) < 2:
            return fill_all(broker, event)
        first, second = broker.orders.values()
        return [broker.fill(first, event), broker.fill(second, event, half), broker.fill(second, event, half)]

    exits = [OrderRequest.sell(X, ONE, reduce_only=True, type=OrderType.LIMIT, limit=ONE) for _ in range(2)]
    made = engine(ScriptedStrategy(plan={0: [BUY], 2: exits}), ScriptedBroker(script=script))
    outputs = run(made, candles([50_000.0] * 5))
    assert not only(BrokerFailed, outputs)
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0]
    assert [end.reason for end in only(OrderEnded, outputs)] == ["nothing left to reduce"]


def test_a_report_on_what_the_engine_ended_at_an_earlier_moment_ends_the_run() -> None:
    """The order is cancelled on the second candle; the broker says on the fourth that it had filled."""
    known: list[Order] = []

    def script(broker: ScriptedBroker, event: Any) -> Any:
        known.extend(broker.orders.values())
        return [broker.fill(known[0], event)] if len(broker.seen) == 4 else ()

    class Leaving(Strategy):
        def on_candle(self, candle: Any, view: Any) -> Any:
            return [CancelRequest(order.id) for order in view.orders()] if known else [BUY]

    broker = ScriptedBroker(script=script)
    broker.answer_to_cancel = Accepted(0)
    made = engine(Leaving(), broker)
    outputs = run(made, candles([50_000.0] * 3))
    assert [end.outcome for end in only(OrderEnded, outputs)] == ["cancelled"]
    outputs = run(made, candles([50_000.0] * 4)[3:])
    assert "which is not working" in only(BrokerFailed, outputs)[0].error
    assert not only(OrderFilled, outputs)
