"""Engine and paper broker together: both count the same of a bracket, whatever fills, ends or is amended."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from lab import Candle, OrderRequest, OrderType, Quote, Strategy, TimeInForce, View
from lab.domain.events import AmendSent, BrokerFailed, OrderAmended, OrderEnded, OrderFilled
from lab.domain.orders import AmendRequest, CancelRequest
from lab.domain.time import SECOND_NS
from lab.engine.engine import Engine
from lab.testing import START_NS, engine_with, only, run
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace

D = Decimal
X = "BTCUSDT"
TEN = D(10)
LIMIT = OrderRequest.buy(X, TEN, type=OrderType.LIMIT, limit=D(100))
BRACKET = replace(LIMIT, stop_loss=D(90), take_profit=D(120))
FIRST = f"l-s-{X}-q{START_NS + SECOND_NS}-1"
STOP, TARGET = f"{FIRST}/stop", f"{FIRST}/target"


class OnQuote(Strategy):
    """Asks for what its plan says, by the number of the quote, from 1."""

    def __init__(self, plan: dict[int, Sequence[Any]]) -> None:
        self.plan, self.seen = plan, 0

    def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
        return ()

    def on_quote(self, quote: Quote, view: View) -> Sequence[Any]:
        self.seen += 1
        return self.plan.get(self.seen, ())


def market(*steps: tuple[float, float]) -> list[Quote]:
    """Return quotes a second apart: the ask or bid (they are 0.1 apart) and what is displayed on both sides."""
    return [
        Quote(X, START_NS + n * SECOND_NS, round(ask - 0.1, 1), size, ask, size)
        for n, (ask, size) in enumerate(steps, 1)
    ]


def engine(plan: dict[int, Sequence[Any]], *, cancel_latency_ms: int = 0) -> Engine:
    broker = PaperBroker(latency_ms=0, jitter_ms=0, cancel_latency_ms=cancel_latency_ms)
    return engine_with({"s": OnQuote(plan)}, broker=broker, deposit=D(1_000_000))


def positions(outputs: Sequence[Any]) -> list[Decimal]:
    return [one.position for one in only(OrderFilled, outputs)]


HIGH, ENTRY, LOW, GAIN = 110.0, 100.0, 89.0, 121.0


@pytest.mark.behaviour("O6", "O16")
@pytest.mark.parametrize("size", [15, 6])
@pytest.mark.parametrize("exit_", [LOW, GAIN], ids=["stop", "target"])
def test_the_guards_of_an_entry_that_was_amended_sell_all_that_it_bought_and_end(size: int, exit_: float) -> None:
    made = engine({1: [BRACKET], 2: [AmendRequest(FIRST, D(size))]})
    outputs = run(made, market((HIGH, 50), (ENTRY, 4), (ENTRY, 50), (exit_, 50), (exit_, 50)))
    assert not only(BrokerFailed, outputs)
    assert positions(outputs) == [4, size, 0]
    assert not made.state.working


@pytest.mark.behaviour("O6", "O16")
def test_a_stop_outlives_the_targets_fill_while_the_entry_that_was_enlarged_works_on() -> None:
    made = engine({1: [BRACKET], 2: [AmendRequest(FIRST, D(20))]})
    outputs = run(made, market((HIGH, 50), (ENTRY, 4), (ENTRY, 12), (GAIN, 50), (ENTRY, 50), (LOW, 50)))
    assert not only(BrokerFailed, outputs)
    assert positions(outputs) == [4, 12, 0, 8, 0]
    assert not made.state.working


@pytest.mark.behaviour("O6", "O13")
@pytest.mark.parametrize("way", ["cancelled", "expired"])
@pytest.mark.parametrize("exit_", [LOW, GAIN], ids=["stop", "target"])
def test_the_guards_of_an_entry_that_filled_in_part_sell_that_part_and_end(way: str, exit_: float) -> None:
    expires_ns = START_NS + 3 * SECOND_NS
    expiring = replace(BRACKET, time_in_force=TimeInForce.GTD, expires_ns=expires_ns)
    plan: dict[int, Sequence[Any]] = (
        {1: [BRACKET], 2: [CancelRequest(FIRST)]} if way == "cancelled" else {1: [expiring]}
    )
    made = engine(plan)
    outputs = run(made, market((HIGH, 50), (ENTRY, 4), (HIGH, 50), (exit_, 3), (exit_, 3), (exit_, 50)))
    assert not only(BrokerFailed, outputs)
    assert [end.outcome for end in only(OrderEnded, outputs)] == [way, "cancelled"]
    assert positions(outputs) == [4, 1, 0]
    assert not made.state.working


@pytest.mark.behaviour("O6", "O13")
def test_guards_that_sold_all_that_an_entry_bought_end_with_it() -> None:
    made = engine({1: [BRACKET], 4: [CancelRequest(FIRST)]})
    outputs = run(made, market((HIGH, 50), (ENTRY, 4), (GAIN, 50), (HIGH, 50), (LOW + 5, 50)))
    assert not only(BrokerFailed, outputs)
    assert positions(outputs) == [4, 0]
    assert {end.order_id for end in only(OrderEnded, outputs)} == {FIRST, STOP, TARGET}
    assert not made.state.working


@pytest.mark.behaviour("O6", "O16")
def test_a_price_on_its_way_to_a_stop_keeps_what_its_target_has_sold_meanwhile() -> None:
    made = engine({1: [BRACKET], 3: [AmendRequest(STOP, stop=D(95))]}, cancel_latency_ms=1500)
    outputs = run(made, market((HIGH, 50), (ENTRY, 50), (HIGH, 50), (GAIN, 4), (HIGH, 50), (HIGH, 50), (94.0, 50)))
    assert not only(BrokerFailed, outputs)
    assert len(only(AmendSent, outputs)) == 1
    assert [(one.order_id, one.quantity, one.stop) for one in only(OrderAmended, outputs)] == [
        (STOP, 6, 90), (STOP, 6, 95),
    ]  # fmt: skip
    assert positions(outputs) == [10, 6, 0]
    assert not made.state.working


@pytest.mark.behaviour("O6", "O16")
@pytest.mark.parametrize("size", [15, 6])
def test_a_price_on_its_way_to_a_stop_keeps_the_quantity_that_its_entry_was_amended_to_meanwhile(size: int) -> None:
    plan = {1: [BRACKET], 2: [AmendRequest(FIRST, D(size))], 3: [AmendRequest(STOP, stop=D(95))]}
    made = engine(plan, cancel_latency_ms=1500)
    outputs = run(made, market(*[(HIGH, 50.0)] * 5, (ENTRY, 50), (94.0, 50)))
    assert not only(BrokerFailed, outputs)
    assert [(one.quantity, one.stop) for one in only(OrderAmended, outputs) if one.order_id == STOP] == [
        (size, 90), (size, 95),
    ]  # fmt: skip
    assert positions(outputs) == [size, 0]
    assert not made.state.working


@pytest.mark.behaviour("O6", "O13", "O16")
def test_a_price_on_its_way_to_a_stop_keeps_the_quantity_that_its_entry_had_filled_when_it_ended() -> None:
    plan: dict[int, Sequence[Any]] = {1: [BRACKET], 3: [CancelRequest(FIRST), AmendRequest(STOP, stop=D(95))]}
    made = engine(plan, cancel_latency_ms=1500)
    outputs = run(made, market((HIGH, 50), (ENTRY, 4), *[(HIGH, 50.0)] * 3, (94.0, 50)))
    assert not only(BrokerFailed, outputs)
    assert [(one.quantity, one.stop) for one in only(OrderAmended, outputs) if one.order_id == STOP] == [
        (4, 90), (4, 95),
    ]  # fmt: skip
    assert positions(outputs) == [4, 0]
    assert not made.state.working


@pytest.mark.behaviour("O16")
def test_amendments_on_their_way_arrive_in_their_order_and_build_on_each_other() -> None:
    plan = {1: [LIMIT], 2: [AmendRequest(FIRST, D(5))], 3: [AmendRequest(FIRST, limit=D(99))]}
    made = engine(plan, cancel_latency_ms=1500)
    outputs = run(made, market(*[(HIGH, 50.0)] * 6, (99.0, 50)))
    assert not only(BrokerFailed, outputs)
    assert [(one.quantity, one.limit) for one in only(OrderAmended, outputs)] == [(5, 100), (5, 99)]
    assert positions(outputs) == [5]
