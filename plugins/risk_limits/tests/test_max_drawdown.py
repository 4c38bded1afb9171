"""``max_drawdown`` trips at a fall below the session's highest equity, and stays tripped."""

from decimal import Decimal
from typing import Any

import pytest
from lab import PASS, OrderRequest, Refuse
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.testing import candles
from lab.testing.builders import START_NS
from lab_risk_limits.drawdown import MaxDrawdown

D = Decimal
X = "BTCUSDT"
BUY_5, BUY, EXIT = (
    OrderRequest.buy(X, D(5)),
    OrderRequest.buy(X, D(1)),
    OrderRequest.sell(X, D(5), reduce_only=True),
)
# 5 coins bought at 100 on 1000 of equity: at 140 the equity is 1200, and 10 % of that are 120, reached at 116.
UP = [100.0, 100.0, 140.0]
FREE: dict[str, Any] = {"fee": "0", "deposit": D(1000)}


def percent(most: str = "10") -> dict[str, MaxDrawdown]:
    return {"max_drawdown": MaxDrawdown(percent=D(most))}


def usd(most: str) -> dict[str, MaxDrawdown]:
    return {"max_drawdown": MaxDrawdown(percent=None, usd=D(most))}


@pytest.mark.behaviour("R3", "R4")
@pytest.mark.parametrize("gates", [percent, lambda: usd("120")])
def test_it_trips_at_the_limit_below_the_highest_equity_and_not_a_tick_before(play: Any, gates: Any) -> None:
    assert not play([*UP, 116.1], {0: [BUY_5], 3: [BUY]}, gates=gates(), **FREE).refused()
    refused = play([*UP, 116.0], {0: [BUY_5], 3: [BUY]}, gates=gates(), **FREE).refused()[3]
    assert (refused.by, refused.reason) == (
        "max_drawdown",
        "the session's equity fell by 120 from 1200, the limit is 120: no entries in this session any more",
    )
    assert refused.numbers == {
        "fall": "120", "limit": "120", "highest_equity": "1200", "lowest_equity": "1080", "equity": "1080",
    }  # fmt: skip


@pytest.mark.behaviour("R3", "R4")
@pytest.mark.parametrize("gates", [percent, lambda: usd("120")])
def test_a_fall_trips_it_though_nobody_asked_at_its_bottom_and_the_equity_recovered(play: Any, gates: Any) -> None:
    played = play([*UP, 116.0, 150.0, 150.0], {0: [BUY_5], 4: [BUY], 5: [BUY]}, gates=gates(), **FREE)
    assert list(played.refused()) == [4, 5]
    assert played.refused()[4].numbers["equity"] == "1250"
    assert played.refused()[4].numbers["lowest_equity"] == "1080"


@pytest.mark.behaviour("R3")
def test_a_peak_counts_though_nobody_asked_at_it(play: Any) -> None:
    played = play([*UP, 100.0], {0: [BUY_5], 3: [BUY]}, gates=usd("200"), **FREE)
    assert played.refused()[3].numbers["highest_equity"] == "1200"


@pytest.mark.behaviour("R3")
def test_in_percent_the_steepest_fall_counts_though_a_later_one_was_deeper_in_money(play: Any) -> None:
    # 1000 to 880 is 12 %. Then 880 to 3000 and down to 2700: 300, and 10 %.
    closes = [100.0, 100.0, 76.0, 500.0, 440.0]
    assert play(closes, {0: [BUY_5], 4: [BUY]}, gates=percent("12"), **FREE).refused()[4].numbers == {
        "fall": "120", "limit": "120", "highest_equity": "1000", "lowest_equity": "880", "equity": "2700",
    }  # fmt: skip
    assert not play(closes, {0: [BUY_5], 4: [BUY]}, gates=percent("12.01"), **FREE).refused()


def test_the_tighter_limit_applies(play: Any) -> None:
    for gate, limit in [
        (MaxDrawdown(percent=D(10), usd=D(100)), "100"),
        (MaxDrawdown(percent=D(5), usd=D(1000)), "60"),
    ]:
        played = play([*UP, 116.0], {0: [BUY_5], 3: [BUY]}, gates=[gate], **FREE)
        assert played.refused()[3].numbers["limit"] == limit


@pytest.mark.behaviour("R4")
def test_once_tripped_it_stays_so_over_midnight_and_in_profit(play: Any) -> None:
    # Candles 0 to 4 are the last of their day, 5 and 6 the first of the next, in which nothing was lost.
    start_ns = START_NS + DAY_NS - 5 * MINUTE_NS
    closes = [*UP, 116.0, 150.0, 150.0, 150.0]
    plan = {0: [BUY_5], 3: [BUY], 4: [OrderRequest.sell(X, D(4), reduce_only=True)], 6: [BUY]}
    played = play(candles(closes, start_ns=start_ns), plan, gates=percent(), **FREE)
    assert list(played.refused()) == [3, 6]
    assert list(played.halted()) == [3]
    assert played.view().day_starting_equity == played.view().session_equity == 1250
    assert played.view().position(X).quantity == 1


@pytest.mark.behaviour("R4")
def test_tripped_and_flat_a_strategy_is_asked_nothing_more(play: Any) -> None:
    played = play(
        [*UP, 116.0, 116.0, 116.0, 116.0], {0: [BUY_5], 3: [BUY], 4: [EXIT], 6: [BUY]}, gates=percent(), **FREE
    )
    assert list(played.refused()) == [3]
    assert list(played.accepted()) == [0, 4]
    assert played.view().halt_reasons == (f"max_drawdown: {played.refused()[3].reason}",)
    assert played.engine.counters.decisions == 5, "it is flat at the sixth candle"
    assert played.engine.counters.candles == 7


@pytest.mark.behaviour("R4", "R6")
def test_tripped_it_blocks_entries_and_never_exits(play: Any) -> None:
    part, turn = OrderRequest.sell(X, D(2)), OrderRequest.sell(X, D(9))
    plan = {0: [BUY_5], 3: [BUY], 4: [part], 5: [turn], 7: [turn]}
    played = play([*UP, 100.0, 100.0, 100.0, 100.0, 100.0], plan, gates=percent(), **FREE)
    assert list(played.refused()) == [3]
    assert played.accepted()[4].quantity == 2
    # Of the order that would turn the position only the part that closes it went on.
    assert (played.accepted()[5].quantity, played.accepted()[5].reduce_only) == (3, True)
    assert played.view().position(X).quantity == 0


@pytest.mark.behaviour("R3")
def test_the_equity_is_that_of_all_books_and_symbols_and_stops_all_strategies(play: Any) -> None:
    # 2000 in all; 5 × (100 − 80) = 100 are 5 % of it.
    other = OrderRequest.buy("ETHUSDT", D(1))
    bitcoin, ether = candles([100.0, 100.0, 80.0]), candles([10.0] * 3, symbol="ETHUSDT")
    events = [candle for pair in zip(bitcoin, ether, strict=True) for candle in pair]
    symbols = (X, "ETHUSDT")
    played = play(events, {0: [BUY_5]}, {5: [other]}, symbols=symbols, gates=percent("5"), **FREE)
    assert played.refused("s1")[5].numbers["fall"] == "100"
    assert not play(events, {0: [BUY_5]}, {5: [other]}, symbols=symbols, gates=percent("5.01"), **FREE).refused("s1")


def test_fees_are_part_of_the_fall(play: Any) -> None:
    # 5 × 100 × 0.001 = 0.5 of fee.
    closes, plan = [100.0, 100.0], {0: [BUY_5], 1: [BUY]}
    assert play(closes, plan, gates=usd("0.5"), deposit=D(1000)).refused()[1].numbers["fall"] == "0.5"
    assert not play(closes, plan, gates=usd("0.51"), deposit=D(1000)).refused()


def test_at_the_start_nothing_has_fallen_and_without_any_equity_a_limit_in_percent_passes_nothing(play: Any) -> None:
    assert MaxDrawdown().review(BUY, play([]).view()) == PASS
    nothing = play([], deposit=D(0)).view()
    assert MaxDrawdown(percent=None, usd=D(1)).review(BUY, nothing) == PASS
    assert isinstance(MaxDrawdown().review(BUY, nothing), Refuse)


def test_the_limits_are_described(play: Any) -> None:
    view = play([]).view()
    assert MaxDrawdown().describe(view) == {"percent": "10 % below the session's highest equity"}
    assert MaxDrawdown(percent=None, usd=D(300)).describe(view) == {"usd": "300 below the session's highest equity"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"percent": None}, "max_drawdown limits nothing: set percent, usd or both"),
        ({"percent": D(0)}, "percent must be above 0, not 0"),
        ({"usd": D(-1)}, "usd must be above 0, not -1"),
    ],
)
def test_a_senseless_setting_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaxDrawdown(**settings)
