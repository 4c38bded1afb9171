"""``max_position`` keeps a position within its size, with what is working counted as filled."""

from decimal import Decimal
from typing import Any

import pytest
from lab import PASS, OrderRequest, OrderType, Quote, Refuse, Shrink, Verdict
from lab.testing import candles
from lab.testing.builders import START_NS
from lab.testing.contracts.venues import FillsInParts
from lab_risk_limits.position import MaxPosition

D = Decimal
X = "BTCUSDT"
FLAT = [100.0, 100.0]


def buy(quantity: str, limit: str | None = None, **more: Any) -> OrderRequest:
    return OrderRequest.buy(more.pop("symbol", X), D(quantity), **_limit(limit), **more)


def sell(quantity: str, limit: str | None = None, **more: Any) -> OrderRequest:
    return OrderRequest.sell(more.pop("symbol", X), D(quantity), **_limit(limit), **more)


def _limit(limit: str | None) -> dict[str, Any]:
    return {} if limit is None else {"type": OrderType.LIMIT, "limit": D(limit)}


def coins(most: str, **more: Any) -> MaxPosition:
    return MaxPosition(quantity=D(most), notional=None, **more)


def worth(most: str, **more: Any) -> MaxPosition:
    return MaxPosition(notional=D(most), **more)


def passes(verdict: Verdict) -> bool:
    return verdict == PASS


@pytest.mark.behaviour("R3")
def test_a_position_may_reach_the_limit_in_coins_and_not_a_lot_more(play: Any) -> None:
    gate = coins("10")
    view = play(FLAT).view()
    assert passes(gate.review(buy("10"), view))
    assert passes(gate.review(sell("10"), view))
    for request in (buy("10.001"), sell("10.001")):
        assert gate.review(request, view) == Refuse(
            "the position would be 10.001 coins, above 10",
            {"position": "0", "quantity": "10.001", "position_after": "10.001", "limit_quantity": "10"},
        )


@pytest.mark.behaviour("R3")
def test_a_position_may_reach_the_limit_in_money_and_not_a_lot_more(play: Any) -> None:
    gate = worth("1000")
    view = play(FLAT).view()
    assert passes(gate.review(buy("10"), view))  # 10 × 100 = 1000
    assert gate.review(buy("10.001"), view) == Refuse(
        "the position would be worth 1000.1, above 1000",  # 10.001 × 100
        {
            "position": "0", "quantity": "10.001", "position_after": "10.001", "price": "100",
            "notional_after": "1000.1", "limit_notional": "1000",
        },
    )  # fmt: skip


def test_where_both_limits_are_set_both_hold(play: Any) -> None:
    view = play(FLAT).view()
    few = MaxPosition(quantity=D(5), notional=D(1000))
    cheap = MaxPosition(quantity=D(50), notional=D(1000))
    assert passes(few.review(buy("5"), view))
    verdict = few.review(buy("11"), view)
    assert isinstance(verdict, Refuse)
    assert verdict.reason == "the position would be 11 coins, above 5"
    assert verdict.numbers["notional_after"] == "1100"
    verdict = cheap.review(buy("11"), view)
    assert isinstance(verdict, Refuse)
    assert verdict.reason == "the position would be worth 1100, above 1000"
    assert verdict.numbers["limit_quantity"] == "50"


@pytest.mark.behaviour("R3")
def test_what_is_held_counts_long_and_short(play: Any) -> None:
    gate = coins("10")
    long, short = play(FLAT, {0: [buy("4")]}).view(), play(FLAT, {0: [sell("4")]}).view()
    assert passes(gate.review(buy("6"), long))
    assert not passes(gate.review(buy("6.001"), long))
    assert passes(gate.review(sell("6"), short))
    assert not passes(gate.review(sell("6.001"), short))


@pytest.mark.behaviour("R3")
def test_working_orders_of_its_side_count_as_filled_and_those_of_the_other_do_not(play: Any) -> None:
    gate = coins("10")
    view = play(FLAT, {0: [buy("3", "50"), sell("2", "150")]}).view()
    assert passes(gate.review(buy("7"), view))
    assert not passes(gate.review(buy("7.001"), view))
    assert passes(gate.review(sell("8"), view))
    assert not passes(gate.review(sell("8.001"), view))


@pytest.mark.behaviour("R3")
def test_of_an_order_that_turns_a_position_only_what_opens_counts(play: Any) -> None:
    gate = coins("10")
    view = play(FLAT, {0: [buy("4")]}).view()
    assert passes(gate.review(sell("14"), view))  # 4 − 14 = −10
    verdict = gate.review(sell("14.001"), view)
    assert isinstance(verdict, Refuse)
    assert verdict.numbers["position_after"] == "10.001"
    assert passes(gate.review(sell("3"), view))  # only closes


def test_an_exit_that_works_closes_no_more_than_is_held(play: Any) -> None:
    gate = coins("10")
    exits = [sell("4", "150", reduce_only=True), sell("4", "160", reduce_only=True)]
    view = play([100.0] * 3, {0: [buy("4")], 1: exits}).view()
    assert len(view.orders(X)) == 2
    assert passes(gate.review(sell("10"), view))  # flat by the first exit, then −10
    assert not passes(gate.review(sell("10.001"), view))
    assert passes(gate.review(buy("6"), view))  # the exits may never fill: 4 + 6 = 10
    assert not passes(gate.review(buy("6.001"), view))


@pytest.mark.behaviour("R3")
def test_of_an_order_filled_in_part_both_parts_count_once(play: Any) -> None:
    view = play(FLAT, {0: [buy("8")]}, broker=FillsInParts()).view()
    assert (view.position(X).quantity, view.orders(X)[0].remaining) == (4, 4)
    assert passes(coins("10").review(buy("2"), view))
    assert not passes(coins("10").review(buy("2.001"), view))


@pytest.mark.behaviour("R3")
def test_each_symbol_and_each_strategy_has_the_limit_to_itself(play: Any) -> None:
    gate = coins("10")
    events = [*candles([100.0]), *candles([100.0], symbol="ETHUSDT"), *candles([100.0], start_ns=START_NS + 60 * 10**9)]
    played = play(events, {0: [buy("10")]}, {}, symbols=(X, "ETHUSDT"), gates=[gate])
    first, second = played.view(0), played.view(1)
    assert first.position(X).quantity == 10
    assert not passes(gate.review(buy("0.01"), first))
    assert passes(gate.review(buy("10", symbol="ETHUSDT"), first))
    assert passes(gate.review(buy("10"), second))


def test_a_position_is_valued_at_the_touch_and_a_limit_far_below_does_not_make_it_small(play: Any) -> None:
    gate = worth("1000")
    view = play([*candles(FLAT), Quote(X, START_NS + 121 * 10**9, 99.0, 1.0, 101.0, 1.0)]).view()
    # 9.9 × 101 = 999.9; 9.901 × 101 = 1000.001.
    for limit in (None, "1", "120"):
        assert passes(gate.review(buy("9.9", limit), view))
        assert not passes(gate.review(buy("9.901", limit), view))
    # 10.101 × 99 = 999.999; 10.102 × 99 = 1000.098. To sell at 125, 8 × 125 = 1000.
    for low in (None, "1"):
        assert passes(gate.review(sell("10.101", low), view))
        assert not passes(gate.review(sell("10.102", low), view))
    assert passes(gate.review(sell("8", "125"), view))
    assert not passes(gate.review(sell("8.001", "125"), view))


def test_before_the_first_price_a_limit_in_money_refuses_and_one_in_coins_does_not(play: Any) -> None:
    view = play([]).view()
    assert worth("1000").review(buy("1"), view) == Refuse(
        "no price of BTCUSDT yet: the worth of the position cannot be computed", {"limit_notional": "1000"}
    )
    assert passes(coins("10").review(buy("1"), view))


@pytest.mark.behaviour("R3", "R6")
def test_an_order_too_large_is_shrunk_to_whole_lots_that_fit(play: Any) -> None:
    played = play([30.1, 30.1], {0: [buy("50")]}, gates={"max_position": worth("1000", on_excess="shrink")})
    # 1000 / 30.1 = 33.2225…: 33.222 on the lot of 0.001.
    assert played.accepted()[0].quantity == D("33.222")
    assert played.accepted()[0].remarks[0].startswith("max_position shrank 50.000 to 33.222: the position would be")
    assert played.view().position(X).quantity == D("33.222")
    verdict = MaxPosition(quantity=D("40.0005"), notional=D("9999"), on_excess="shrink").review(
        buy("10"), played.view()
    )
    assert isinstance(verdict, Shrink)
    assert verdict.quantity == D("6.778")  # 40.0005 − 33.222 = 6.7785


@pytest.mark.behaviour("R6")
def test_where_less_than_the_minimum_fits_or_nothing_would_open_it_refuses(play: Any) -> None:
    long = play(FLAT, {0: [buy("4")]}).view()
    exact, nearly = coins("4", on_excess="shrink"), coins("4.009", on_excess="shrink")
    assert isinstance(exact.review(buy("1"), long), Refuse)
    assert isinstance(nearly.review(buy("1"), long), Refuse)  # 0.009 is below the minimum of 0.01
    below = coins("3", on_excess="shrink").review(buy("1"), long)
    assert isinstance(below, Refuse)
    assert isinstance(worth("0.05", on_excess="shrink").review(sell("5"), long), Refuse)  # only the closing 4 would fit
    turned = coins("4", on_excess="shrink").review(sell("9"), long)
    assert isinstance(turned, Shrink)
    assert turned.quantity == 8  # 4 close, 4 open


@pytest.mark.behaviour("R6")
def test_an_exit_runs_however_large_the_position_became(play: Any) -> None:
    gate = worth("1000")
    plan = {0: [buy("10")], 2: [buy("0.01")], 3: [sell("4")], 5: [sell("8")], 7: [buy("1", reduce_only=True)]}
    played = play([100.0, 100.0, 300.0, 300.0, 300.0, 300.0, 300.0, 300.0], plan, gates={"max_position": gate})
    assert list(played.refused()) == [2]  # 10.01 × 300 is above 1000, and so is what is held already
    assert played.accepted()[3].quantity == 4
    # 6 are held: of the 8 sold 6 close; −2 × 300 = −600 is within the limit.
    assert played.accepted()[5].quantity == 8
    assert played.accepted()[7].reduce_only
    assert set(played.accepted()) == {0, 3, 5, 7}


def test_the_limits_are_described(play: Any) -> None:
    view = play([]).view()
    assert coins("10").describe(view) == {"quantity": "10 coins a symbol", "on_excess": "refuse"}
    assert MaxPosition(on_excess="shrink").describe(view) == {"notional": "50000 a symbol", "on_excess": "shrink"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"notional": None}, "max_position limits nothing: set quantity, notional or both"),
        ({"quantity": D(0)}, "quantity must be above 0, not 0"),
        ({"notional": D(-1)}, "notional must be above 0, not -1"),
        ({"on_excess": "ignore"}, "on_excess.*ignore"),
    ],
)
def test_a_senseless_setting_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaxPosition(**settings)
