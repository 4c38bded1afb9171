"""``order_rate`` lets only so many entry orders pass in any span of venue time."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import PASS, SECOND_NS, OrderRequest, OrderType, View
from lab_risk_limits.order_rate import OrderRate

D = Decimal
X = "BTCUSDT"
BUY = OrderRequest.buy(X, D(1))
EXIT = OrderRequest.sell(X, D(1), reduce_only=True)


def rate(orders: int, seconds: int) -> dict[str, OrderRate]:
    return {"order_rate": OrderRate(orders=orders, seconds=seconds)}


@pytest.mark.behaviour("R3")
def test_two_orders_in_any_three_minutes_pass_and_a_third_waits_until_the_first_is_that_old(play: Any) -> None:
    # At minutes 0 and 1 they pass; minute 2 has two before it; at minute 3 the first is exactly 180 s old, and so on.
    played = play([100.0] * 7, {number: [BUY] for number in range(7)}, gates=rate(2, 180))
    assert list(played.accepted()) == [0, 1, 3, 4, 6]
    assert list(played.refused()) == [2, 5]
    assert played.refused()[2].reason == "2 entry orders in the last 180 s, the limit is 2"
    assert played.refused()[2].numbers == {"passed": "2", "limit": "2", "seconds": "180", "seconds_left": "60"}


@pytest.mark.behaviour("R3")
def test_several_orders_of_one_decision_count_each(play: Any) -> None:
    played = play([100.0], {0: [BUY, BUY, BUY]}, gates=rate(2, 1))
    assert len([output for output in played.steps[0] if type(output).__name__ == "OrderAccepted"]) == 2
    assert played.refused()[0].numbers["seconds_left"] == "1"


@pytest.mark.behaviour("R4", "R6")
def test_exits_are_neither_counted_nor_refused(play: Any) -> None:
    plan = {0: [BUY], 1: [EXIT], 2: [BUY], 3: [EXIT, BUY]}
    played = play([100.0] * 4, plan, gates=rate(2, 600))
    assert list(played.refused()) == [3]
    assert played.accepted()[3].reduce_only


@pytest.mark.behaviour("R3")
def test_each_strategy_has_the_limit_to_itself(play: Any) -> None:
    played = play([100.0] * 2, {0: [BUY], 1: [BUY]}, {1: [BUY]}, gates=rate(1, 600))
    assert list(played.refused("s0")) == [1]
    assert list(played.accepted("s1")) == [1]


def test_an_order_that_a_later_gate_refuses_counts_and_one_that_this_gate_refuses_does_not(play: Any) -> None:
    from lab_risk_limits.price_band import PriceBand

    far = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))
    gates = {**rate(1, 120), "price_band": PriceBand()}
    played = play([100.0] * 4, {0: [far], 1: [BUY], 2: [BUY], 3: [BUY]}, gates=gates)
    assert {number: one.by for number, one in played.refused().items()} == {
        0: "price_band", 1: "order_rate", 3: "order_rate",
    }  # fmt: skip


@given(waits=st.lists(st.integers(0, 3 * SECOND_NS), max_size=40), orders=st.integers(1, 4), seconds=st.integers(1, 3))
def test_no_span_has_more_than_the_limit_and_nothing_is_refused_without_need(
    waits: list[int], orders: int, seconds: int
) -> None:
    gate, now_ns, passed = OrderRate(orders=orders, seconds=seconds), 1, list[int]()
    for wait in waits:
        now_ns += wait
        recent = [one for one in passed if now_ns - one < seconds * SECOND_NS]
        view = cast("View", SimpleNamespace(now_ns=now_ns, strategy="s"))
        verdict = gate.review(BUY, view)
        assert (verdict == PASS) is (len(recent) < orders)
        if verdict == PASS:
            passed.append(now_ns)


def test_the_limit_is_described(play: Any) -> None:
    assert OrderRate().describe(play([]).view()) == {"limit": "10 entry orders in any 60 s"}


@pytest.mark.parametrize("name", ["orders", "seconds"])
def test_a_senseless_setting_is_refused_by_name(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be above 0, not 0$"):
        OrderRate(**settings)
