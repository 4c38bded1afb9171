"""Round trips are counted to the last digit; ``consecutive_losses`` and ``cool_down`` refuse after those that lost."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from lab import PASS, OrderFilled, OrderRequest, RiskGate, Verdict, View
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.statistics.round_trips import RoundTrips
from lab.testing import ScriptedStrategy, candles, engine_with
from lab.testing.builders import START_NS
from lab.testing.contracts.venues import FillsInParts
from lab_risk_limits.cool_down import CoolDown
from lab_risk_limits.losses import ConsecutiveLosses

D = Decimal
X, ETH = "BTCUSDT", "ETHUSDT"
BUY = OrderRequest.buy(X, D(1))
EXIT = OrderRequest.sell(X, D(1), reduce_only=True)
# Bought at the second close and sold at the third, at once bought again: each round trip costs 0.2 in fees alone.
AGAIN = {0: [BUY], 1: [EXIT], 2: [BUY], 3: [EXIT], 4: [BUY], 5: [EXIT], 6: [BUY]}
STILL = [100.0] * 7


def row_of(losses: int, pause_minutes: int | None = None) -> dict[str, RiskGate]:
    return {"consecutive_losses": ConsecutiveLosses(losses=losses, pause_minutes=pause_minutes)}


# -- round trips -----------------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False)
class Noting(RiskGate):
    """Notes the results of round trips."""

    trips: RoundTrips = field(init=False, factory=RoundTrips)
    results: list[Decimal] = field(init=False, factory=list)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        return PASS

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        trip = self.trips.take(fill, view.instrument(fill.symbol))
        if trip is not None:
            self.results.append(trip.profit)


def results_of(play: Any, closes: Sequence[float], plan: dict[int, list[OrderRequest]], **more: Any) -> list[Decimal]:
    gate = Noting()
    play(closes, plan, gates=[gate], **more)
    return gate.results


def test_a_round_trip_counts_with_the_fees_of_both_sides(play: Any) -> None:
    # −100 + 110 − 0.1 − 0.11 = 9.79
    assert results_of(play, [100.0, 100.0, 110.0], {0: [BUY], 1: [EXIT]}) == [D("9.79")]
    # Sold at 100, bought at 110: −10 − 0.1 − 0.11 = −10.21
    short = {0: [OrderRequest.sell(X, D(1))], 1: [OrderRequest.buy(X, D(1), reduce_only=True)]}
    assert results_of(play, [100.0, 100.0, 110.0], short) == [D("-10.21")]


def test_entries_and_exits_in_several_parts_are_one_round_trip(play: Any) -> None:
    half = OrderRequest.sell(X, D("0.5"), reduce_only=True)
    plan = {0: [BUY], 1: [BUY], 2: [half], 3: [half], 4: [EXIT]}
    # −100 − 104 + 45 + 60 + 110 = 11, less 0.001 × (100 + 104 + 45 + 60 + 110) = 0.419
    assert results_of(play, [100.0, 100.0, 104.0, 90.0, 120.0, 110.0], plan) == [D("10.581")]


def test_a_fill_that_turns_a_position_ends_one_round_trip_and_begins_another(play: Any) -> None:
    plan = {0: [BUY], 1: [OrderRequest.sell(X, D(3))], 2: [OrderRequest.buy(X, D(2))]}
    # Of 3 sold at 90 for a fee of 0.27, 1 closes and 2 open: −10 − 0.1 − 0.09; then −10 − 0.18 − 0.19.
    assert results_of(play, [100.0, 100.0, 90.0, 95.0], plan) == [D("-10.19"), D("-10.37")]


def test_partial_fills_of_one_exit_are_one_round_trip(play: Any) -> None:
    # Entry in 0.5, 0.25, … on each candle until candle 8; what is left of the exit fills the same way.
    plan = {0: [BUY], 9: [EXIT]}
    [result] = results_of(play, [100.0] * 10 + [90.0] * 10, plan, broker=FillsInParts())
    assert result == D("-10.19")  # −10 − 0.1 − 0.09


@given(
    sizes=st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=12),
    closes=st.lists(st.integers(50, 150).map(float), min_size=14, max_size=14),
)
def test_the_results_sum_to_the_cash_that_was_moved_once_all_is_closed(sizes: list[int], closes: list[float]) -> None:
    left = -sum(sizes)
    plan = {
        number: [OrderRequest.buy(X, D(size)) if size > 0 else OrderRequest.sell(X, D(-size))]
        for number, size in enumerate([*sizes, *([left] if left else [])])
    }
    gate = Noting()
    engine = engine_with([ScriptedStrategy(plan=plan)], gates=[gate], deposit=D(100_000))
    for candle in candles(closes):
        engine.step(candle)
    assert not gate.trips.open()
    assert sum(gate.results) == engine.strategies[0].view.cash - 100_000
    assert len(gate.results) == engine.counters.trades


# -- losses in a row -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R3")
def test_after_so_many_losses_in_a_row_and_not_one_fewer_entries_are_refused(play: Any) -> None:
    assert not play(STILL, AGAIN, gates=row_of(4)).halted()
    played = play(STILL, AGAIN, gates=row_of(3))
    assert {number: (one.gate, one.reason) for number, one in played.halted().items()} == {
        6: ("consecutive_losses", "3 round trips in a row lost 0.6: no entries in this session any more"),
    }
    assert not played.refused(), "it holds nothing, and is asked nothing"
    assert max(played.accepted()) == 5
    more = {0: [BUY, OrderRequest.buy(ETH, D(1))], 2: [EXIT], 4: [BUY]}
    events = [candle for pair in zip(candles(STILL), candles(STILL, symbol=ETH), strict=True) for candle in pair]
    refused = play(events, more, gates=row_of(1), symbols=(X, ETH)).refused()[4]
    assert (refused.by, refused.reason, refused.numbers) == (
        "consecutive_losses",
        "1 round trips in a row lost 0.2: no entries in this session any more",
        {"losses": "1", "lost": "0.2"},
    )


@pytest.mark.behaviour("R3")
def test_a_round_trip_that_gains_or_comes_to_nothing_begins_the_row_anew(play: Any) -> None:
    # Lost 1, then gained 5 or came out even, then lost 1.
    for second in (105.0, 100.0):
        closes = [100.0, 100.0, 99.0, 100.0, second, 100.0, 99.0]
        assert not play(closes, AGAIN, gates=row_of(2), fee="0").halted()
    assert list(play([100.0, 100.0, 99.0, 100.0, 99.0], AGAIN, gates=row_of(2), fee="0").halted()) == [4]


@pytest.mark.behaviour("R4")
def test_the_refusal_lasts_for_the_session_midnight_and_a_later_gain_included(play: Any) -> None:
    # ETH is bought first and half of it sold with a gain after BTC lost twice, and a day later.
    start_ns = START_NS + DAY_NS - 3 * MINUTE_NS
    bitcoin = candles([100.0] * 8, start_ns=start_ns)
    ether = candles([10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 20.0], symbol=ETH, start_ns=start_ns)
    events = [candle for pair in zip(bitcoin, ether, strict=True) for candle in pair]
    plan = {0: [BUY, OrderRequest.buy(ETH, D(2))], 2: [EXIT], 4: [BUY], 6: [EXIT]}
    plan |= {8: [BUY], 9: [OrderRequest.sell(ETH, D(1))], 14: [BUY], 15: [OrderRequest.buy(ETH, D(1))]}
    played = play(events, plan, gates=row_of(2), symbols=(X, ETH))
    assert list(played.refused()) == [8, 14, 15]
    assert played.accepted()[9].symbol == ETH
    assert played.view().position(ETH).quantity == 1


@pytest.mark.behaviour("R3")
def test_with_a_pause_entries_pass_again_when_it_is_over_and_the_row_begins_anew(play: Any) -> None:
    # The second loss is booked at candle 4; 3 minutes from it end with candle 7. There a third loss begins.
    plan = {**AGAIN, 5: [BUY], 7: [BUY], 8: [EXIT], 9: [BUY]}
    played = play([100.0] * 10, plan, gates=row_of(2, pause_minutes=3))
    assert {number: one.numbers["seconds_left"] for number, one in played.refused().items()} == {
        4: "180", 5: "120", 6: "60",
    }  # fmt: skip
    assert played.refused()[6].reason == "2 round trips in a row lost 0.4: no entries for 3 min"
    assert played.refused()[6].numbers == {"losses": "2", "lost": "0.4", "pause_minutes": "3", "seconds_left": "60"}
    assert {7, 8, 9} <= set(played.accepted())


@pytest.mark.behaviour("R4", "R6")
def test_exits_run_while_entries_are_refused(play: Any) -> None:
    bitcoin, ether = candles([100.0] * 5), candles([10.0] * 5, symbol=ETH)
    events = [candle for pair in zip(bitcoin, ether, strict=True) for candle in pair]
    turn = OrderRequest.sell(ETH, D(3))
    played = play(
        events,
        {0: [BUY, OrderRequest.buy(ETH, D(2))], 2: [EXIT], 4: [BUY, OrderRequest.sell(ETH, D(1))], 6: [turn], 8: [BUY]},
        gates=row_of(1),
        symbols=(X, ETH),
    )
    assert list(played.refused()) == [4, 8]
    assert played.accepted()[4].symbol == ETH
    assert (played.accepted()[6].quantity, played.accepted()[6].reduce_only) == (1, True)


@pytest.mark.parametrize("gates", [lambda: row_of(1), lambda: {"cool_down": CoolDown(minutes=60)}])
def test_what_one_strategy_lost_does_not_stop_another(play: Any, gates: Any) -> None:
    played = play(STILL, {0: [BUY], 1: [EXIT], 2: [BUY]}, {2: [BUY], 5: [BUY]}, gates=gates())
    assert [*played.refused("s0"), *played.halted("s0")] == [2]
    assert not played.refused("s1")
    assert not played.halted("s1")
    assert list(played.accepted("s1")) == [2, 5]


# -- cool-down -------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R3")
def test_after_a_loss_entries_wait_and_pass_at_the_moment_the_wait_is_over(play: Any) -> None:
    # The loss is booked at candle 2; 2 minutes from it end with candle 4.
    plan = {0: [BUY], 1: [EXIT], 2: [BUY], 3: [BUY], 4: [BUY]}
    played = play([100.0, 100.0, 90.0, 90.0, 90.0], plan, gates={"cool_down": CoolDown(minutes=2)})
    assert list(played.refused()) == [2, 3]
    assert played.refused()[2].reason == "the last losing round trip lost 10.19: no entries for 2 min"
    assert played.refused()[3].numbers == {"lost": "10.19", "minutes": "2", "seconds_left": "60"}
    assert played.accepted()[4].quantity == 1


@pytest.mark.behaviour("R3")
def test_a_gain_makes_nobody_wait_and_does_not_end_a_wait(play: Any) -> None:
    gate = {"cool_down": CoolDown(minutes=60)}
    assert not play([100.0, 100.0, 110.0], {0: [BUY], 1: [EXIT], 2: [BUY]}, gates=gate).refused()
    bitcoin, ether = candles([100.0] * 4), candles([10.0, 10.0, 20.0, 20.0], symbol=ETH)
    events = [candle for pair in zip(bitcoin, ether, strict=True) for candle in pair]
    plan = {0: [BUY, OrderRequest.buy(ETH, D(1))], 2: [EXIT], 4: [OrderRequest.sell(ETH, D(1))], 7: [BUY]}
    played = play(events, plan, gates={"cool_down": CoolDown(minutes=60)}, symbols=(X, ETH))
    assert list(played.refused()) == [7]
    assert played.view().position(ETH).quantity == 0


def test_another_loss_begins_the_wait_anew(play: Any) -> None:
    bitcoin, ether = candles([100.0] * 6), candles([10.0] * 6, symbol=ETH)
    events = [candle for pair in zip(bitcoin, ether, strict=True) for candle in pair]
    # BTC loses at candle 4, in the third minute; ETH at candle 7, in the fourth: 2 minutes from then are candle 11's.
    plan = {0: [BUY, OrderRequest.buy(ETH, D(1))], 2: [EXIT], 5: [OrderRequest.sell(ETH, D(1))]}
    plan |= {8: [BUY], 10: [BUY], 11: [BUY]}
    played = play(events, plan, gates={"cool_down": CoolDown(minutes=2)}, symbols=(X, ETH))
    assert list(played.refused()) == [8]
    assert played.refused()[8].numbers["seconds_left"] == "60"
    assert played.refused()[8].numbers["lost"] == "0.02"


# -- both ------------------------------------------------------------------------------------------------------------


def test_the_limits_are_described(play: Any) -> None:
    view = play([]).view()
    assert ConsecutiveLosses().describe(view) == {"limit": "3 losses in a row", "pause": "the session"}
    assert ConsecutiveLosses(pause_minutes=30).describe(view)["pause"] == "30 min"
    assert CoolDown().describe(view) == {"pause": "15 min after a loss"}


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (ConsecutiveLosses, {"losses": 0}, "losses must be above 0, not 0$"),
        (ConsecutiveLosses, {"pause_minutes": -1}, "pause_minutes must be above 0, not -1; leave it out"),
        (CoolDown, {"minutes": 0}, "minutes must be above 0, not 0$"),
    ],
)
def test_a_senseless_setting_is_refused_by_name(cls: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**settings)
