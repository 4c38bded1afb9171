"""Slippage beyond the touch, the tick, the limit, and the exact fee."""

from collections.abc import Sequence
from fractions import Fraction

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import Fill, Side
from lab_paper_broker.broker import PaperBroker
from paper import BTC, BUY, SELL, D, broker, only_fill, order, quote, send


@pytest.mark.behaviour("O4")
@pytest.mark.parametrize(
    ("quantity", "displayed", "factor"),
    [("1", 10.0, "1.05"), ("10", 10.0, "1.5"), ("10", 0.0, "1"), ("3", 9.0, "1.1667")],
)
def test_slippage_grows_with_the_share_of_what_is_displayed(quantity: str, displayed: float, factor: str) -> None:
    paper = PaperBroker(latency_ms=0, quote_slippage_bps=D(10))
    paper.open({"BTCUSDT": evolve(BTC, tick=D("0.00001"))}, seed=7)
    send(paper, order(quantity=quantity))
    fill = only_fill(paper, quote(250, 99.0, 100.0, ask_size=displayed))
    assert fill.slippage == 100 * D("0.001") * D(factor)
    assert fill.price == 100 + fill.slippage


@pytest.mark.parametrize(("side", "price", "slippage"), [(BUY, "100.3", "0.2"), (SELL, "99.8", "0.2")])
def test_slippage_is_rounded_to_the_tick_against_the_trader(side: Side, price: str, slippage: str) -> None:
    # 10 bps × (1 + 0.5 × 1/10) of 100.1 is 0.105, of 100.0 0.105
    paper = broker(quote_slippage_bps=D(10))
    send(paper, order(side))
    fill = only_fill(paper, quote(250))
    assert (fill.price, fill.slippage) == (D(price), D(slippage))


@pytest.mark.parametrize(("side", "price"), [(BUY, "60007"), (SELL, "59993")])
def test_slippage_is_rounded_to_ticks_that_are_no_power_of_ten_too(side: Side, price: str) -> None:
    # 60000.25 × 1.000105 = 60006.55; 59999.75 × 0.999895 = 59993.45
    paper = PaperBroker(latency_ms=0, quote_slippage_bps=D(1))
    paper.open({"BTCUSDT": evolve(BTC, tick=D("0.5"))}, seed=7)
    send(paper, order(side))
    assert only_fill(paper, quote(250, 59_999.75, 60_000.25)).price == D(price)


@pytest.mark.parametrize(("side", "limit"), [(BUY, "100.2"), (SELL, "99.9")])
def test_slippage_never_takes_a_limit_order_beyond_its_limit(side: Side, limit: str) -> None:
    paper = broker(quote_slippage_bps=D(100))
    send(paper, order(side, limit=limit))
    assert only_fill(paper, quote(250)).price == D(limit)


@pytest.mark.parametrize("side", list(Side))
def test_a_fill_is_on_the_tick_even_where_prices_are_not_and_slippage_is_0(side: Side) -> None:
    paper = broker()
    send(paper, order(side))
    fill = only_fill(paper, quote(300, 50_000.123456, 50_000.223456))
    assert fill.price == (D("50000.3") if side is BUY else D("50000.1"))
    assert fill.slippage == abs(fill.price - fill.reference)


@pytest.mark.behaviour("O8")
@given(lots=st.integers(1, 10**9))
@settings(max_examples=40)
def test_the_broker_fills_exactly_the_quantity_it_was_given(lots: int) -> None:
    paper, quantity = broker(), lots * BTC.lot
    send(paper, order(quantity=str(quantity)))
    assert only_fill(paper, quote(300, ask_size=0.0)).quantity == quantity


TICKS = st.integers(1, 10**7)
RATES = st.decimals(min_value=0, max_value="0.04999", places=6, allow_nan=False)


@pytest.mark.behaviour("O9")
@given(ticks=TICKS, width=st.integers(0, 50), lots=st.integers(1, 10**8), rate=RATES, side=st.sampled_from(Side))
def test_the_fee_is_exactly_price_times_quantity_times_rate(
    ticks: int, width: int, lots: int, rate: D, side: Side
) -> None:
    paper = broker(taker_fee=rate)
    send(paper, order(side, str(lots * BTC.lot)))
    fill = only_fill(paper, quote(250, float(ticks * BTC.tick), float((ticks + width) * BTC.tick), 0.0, 0.0))
    assert Fraction(fill.fee) == Fraction(fill.price) * Fraction(fill.quantity) * Fraction(rate)
    assert Fraction(fill.price) == Fraction(ticks + (width if side is BUY else 0), 10)
    assert fill.spread == width * BTC.tick


@given(
    ticks=TICKS.filter(lambda number: number > 100),
    width=st.integers(0, 50),
    bps=st.decimals(0, 50, places=2),
    limit_ticks=st.none() | TICKS,
    side=st.sampled_from(Side),
    moved=st.lists(st.integers(-90, 90), min_size=1, max_size=6),
)
def test_no_fill_is_better_than_the_market_nor_worse_than_the_limit(
    ticks: int, width: int, bps: D, limit_ticks: int | None, side: Side, moved: Sequence[int]
) -> None:
    paper = broker(quote_slippage_bps=bps)
    limit = None if limit_ticks is None else limit_ticks * BTC.tick
    send(paper, order(side, limit=None if limit is None else str(limit)))
    for number, shift in enumerate(moved):
        bid, ask = (ticks + shift) * BTC.tick, (ticks + shift + width) * BTC.tick
        for fill in paper.observe(quote(250 + number, float(bid), float(ask))):
            assert isinstance(fill, Fill)
            assert fill.price % BTC.tick == 0
            assert fill.slippage >= 0
            assert fill.price >= ask if side is BUY else fill.price <= bid
            if limit is not None:
                assert fill.price <= limit if side is BUY else fill.price >= limit


def test_even_the_worst_sale_gets_a_tick() -> None:
    paper = broker(quote_slippage_bps=D(999))
    send(paper, order(SELL))
    assert only_fill(paper, quote(300, 0.1, 0.2)).price == D("0.1")
