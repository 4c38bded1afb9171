"""What orders share of a candle's volume, and the slippage that grows with it."""

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from lab import Candle, Ended, Fill, MarketView, Side
from lab.engine.state import EngineState
from lab.testing import instrument
from lab_paper_broker.broker import PaperBroker
from paper import (
    BTC,
    BUY,
    MINUTE,
    MS,
    SELL,
    START,
    D,
    at,
    broker,
    candle,
    only_end,
    only_fill,
    order,
    seen,
    send,
    timer,
    works,
)


@pytest.mark.behaviour("O5")
def test_all_orders_share_a_candles_volume_and_the_rest_meets_the_next_open() -> None:
    paper = broker()
    send(paper, order(quantity="3"), order(SELL, "4", oid="o-2"), order(quantity="1", oid="o-3"))
    assert seen(paper, candle(0, volume=5.0)) == ["o-1 fill 3 @ 100", "o-2 fill 2 @ 100"]
    second = paper.observe(candle(60_000, opened=103.0, volume=5.0))
    assert [(one.order_id, one.quantity, one.reference) for one in second if isinstance(one, Fill)] == [
        ("o-2", 2, D("103.0")), ("o-3", 1, D("103.0")),
    ]  # fmt: skip


def test_the_rest_of_a_market_order_meets_the_close_of_a_candle_that_does_not_count_whole() -> None:
    paper = broker(fills="pessimistic")
    send(paper, order(quantity="8"))
    first, second = candle(-1, volume=5.0), candle(100, 101.0, volume=5.0)
    assert only_fill(paper, first).rule == "candle_close"
    fill = only_fill(paper, second._replace(open_ns=START - 5 * MS))
    assert (fill.rule, fill.quantity, fill.reference) == ("candle_close", 3, D("105.0"))


def test_a_share_of_the_volume_is_all_that_the_orders_of_a_run_get_together() -> None:
    paper = broker(candle_share=D("0.1"))
    send(paper, order(quantity="3"), order(quantity="3", oid="o-2"))
    assert seen(paper, candle(0, volume=40.0)) == ["o-1 fill 3 @ 100", "o-2 fill 1 @ 100"]


def test_a_candle_without_volume_fills_nothing_where_others_have_one_and_all_where_none_has() -> None:
    paper = broker()
    send(paper, order(oid="o-0"))
    only_fill(paper, candle(-60_000 + 200))
    send(paper, order(), order(limit="50", oid="o-2"), order(SELL, stop="95", oid="o-3"), at_ms=1)
    assert seen(paper, candle(60_000, low=40.0, volume=0.0)) == ["o-3 triggered"]
    assert seen(paper, candle(120_000, low=40.0, volume=1.5)) == ["o-1 fill 1 @ 100", "o-3 fill 0.5 @ 100"]
    without = broker()
    send(without, order(quantity="1000"))
    assert seen(without, candle(0, volume=0.0)) == ["o-1 fill 1000 @ 100"]


@pytest.mark.behaviour("O5")
@pytest.mark.parametrize("volume", [5.0, 0.00001])
def test_the_rest_of_a_marketable_limit_is_a_maker_once_a_candle_opened_beyond_it_whatever_its_volume(
    volume: float,
) -> None:
    paper = broker()
    send(paper, order(quantity="8", limit="101"))
    assert seen(paper, candle(0, volume=5.0)) == ["o-1 fill 5 @ 100"]
    assert paper.observe(candle(60_000, 103.0, low=102.0, volume=volume)) == []
    fill = only_fill(paper, candle(120_000, volume=5.0))
    assert (fill.price, fill.liquidity) == (101, "maker")


def test_a_volume_below_the_lot_fills_nothing() -> None:
    paper = broker()
    send(paper, order(limit="109"))
    assert paper.observe(candle(0, volume=0.00009, high=105.0)) == []
    assert works(paper)


def test_with_unlimited_liquidity_the_volume_does_not_matter() -> None:
    paper = broker(liquidity="unlimited")
    send(paper, order(quantity="1000"), order(quantity="1000", oid="o-2"))
    assert seen(paper, candle(0, volume=1.0)) == ["o-1 fill 1000 @ 100", "o-2 fill 1000 @ 100"]


# -- slippage --------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O4")
@pytest.mark.parametrize(
    ("quantity", "volume", "factor"),
    [("1", 50.0, "1.01"), ("25", 50.0, "1.25"), ("200", 50.0, "3"), ("201", 50.0, "3"), ("1", 0.0, "1")],
)
def test_slippage_grows_with_the_share_of_a_candles_volume_and_three_times_at_most(
    quantity: str, volume: float, factor: str
) -> None:
    # × (1 + 0.5 × quantity / volume): 200 of 50 is × 3, and no more
    paper = PaperBroker(latency_ms=0, slippage_bps=D(10), liquidity="unlimited")
    paper.open({"BTCUSDT": evolve(BTC, tick=D("0.00001"))}, seed=7)
    send(paper, order(quantity=quantity))
    fill = only_fill(paper, candle(0, volume=volume))
    assert fill.slippage == 100 * D("0.001") * D(factor)


def market_of(*volumes: float) -> MarketView:
    """Return a market whose candles, the newest of which ends at `START`, had these volumes."""
    state = EngineState(
        {"BTCUSDT": instrument()}, MINUTE, 64, (), config_hash="", leverage=D(1), margin_mode="cross",
        account_mode="separate", no_orders=False,
    )  # fmt: skip
    for number, volume in enumerate(volumes):
        state.markets["BTCUSDT"].history.candles.append(candle((number - len(volumes)) * 60_000, volume=volume))
    return MarketView(state)


def test_what_is_typical_is_the_mean_volume_of_the_newest_candles() -> None:
    paper = PaperBroker(latency_ms=0, slippage_bps=D(10))
    paper.open({"BTCUSDT": evolve(BTC, tick=D("0.00001"))}, seed=7)
    paper.attach(market_of(*[1_000.0] * 10, *[60.0, 40.0] * 10))
    send(paper, order(quantity="5"))
    assert only_fill(paper, candle(0, volume=7.0)).slippage == 100 * D("0.001") * D("1.05")  # 5 of 50


@pytest.mark.behaviour("O4")
def test_a_part_too_small_to_be_felt_slips_no_more_though_the_whole_order_would() -> None:
    paper = PaperBroker(latency_ms=0, slippage_bps=D(10))
    paper.open({"BTCUSDT": evolve(BTC, tick=D("0.00001"))}, seed=7)
    paper.attach(market_of(*[50.0] * 10))
    send(paper, order(quantity="5"))
    part = only_fill(paper, candle(0, volume=0.001))  # 0.001 of 50 is × 1.00001, which is 1 to four decimals
    assert (part.quantity, part.slippage) == (D("0.001"), 100 * D("0.001"))
    rest = only_fill(paper, candle(60_000, volume=50.0))
    assert (rest.quantity, rest.slippage) == (D("4.999"), 100 * D("0.001") * D("1.05"))


def test_a_market_order_on_known_candles_does_not_expire_by_time() -> None:
    paper = broker(expire_ms=100)
    paper.attach(market_of(50.0))
    send(paper, order())
    assert paper.observe(timer(50_000)) == []
    assert only_fill(paper, candle(0)).rule == "candle_open"


def test_even_the_worst_sale_gets_a_tick() -> None:
    paper = broker(slippage_bps=D(999))
    send(paper, order(SELL))
    assert only_fill(paper, candle(300, 0.1, 0.1, 0.1, 0.1)).price == D("0.1")


@given(
    prices=st.lists(st.integers(100, 10**6), min_size=4, max_size=4),
    bps=st.decimals(0, 50, places=2),
    side=st.sampled_from(Side),
    open_after_ms=st.integers(-50_000, 60_000),
)
def test_a_market_order_pays_the_open_or_the_close_and_the_slippage_to_the_tick(
    prices: Sequence[int], bps: D, side: Side, open_after_ms: int
) -> None:
    low, first, last, high = (float(price * BTC.tick) for price in sorted(prices))
    paper = broker(slippage_bps=bps)
    send(paper, order(side))
    fill = only_fill(paper, candle(open_after_ms, first, high, low, last))
    reference = D(repr(first if open_after_ms >= 0 else last))
    assert fill.reference == reference
    exact = reference * (1 + bps / 10_000 * D("1.01") * (1 if side is BUY else -1))
    assert abs(fill.price - exact) < BTC.tick
    assert fill.price >= exact if side is BUY else fill.price <= exact


def test_a_market_order_on_a_late_first_candle_ends_and_another_goes_on() -> None:
    paper = broker()
    send(paper, order(), order(limit="109", oid="o-2"))
    ended, fill = paper.observe(candle(200_000))
    assert isinstance(ended, Ended)
    assert (ended.outcome, fill.order_id) == ("expired", "o-2")
    again = broker()
    send(again, order())
    assert only_end(again, Candle("BTCUSDT", at(200_000), at(260_000), 1.0, 1.0, 1.0, 1.0, 1.0)).order_id == "o-1"
