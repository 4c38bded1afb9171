"""Market and limit orders on candles, where there are no quotes: at the open, at the close, and traded through."""

import pytest
from attrs import evolve
from lab import Ended, Fill, Side
from lab.domain.inputs import Input
from paper import (
    BTC,
    BUY,
    MINUTE,
    SELL,
    D,
    at,
    broker,
    candle,
    only_fill,
    order,
    quote,
    seen,
    send,
    works,
)


@pytest.mark.behaviour("O3")
@pytest.mark.parametrize(
    ("side", "open_after_ms", "rule", "reference", "price"),
    [
        # 1 bp × (1 + 0.5 × 0.5/50) = 1.005 bps: 60000 + 6.03 is 60006.1 on the tick, 60050 + 6.035 is 60056.1
        (BUY, 200, "candle_open", "60000.0", "60006.1"),
        (SELL, 200, "candle_open", "60000.0", "59993.9"),
        (BUY, 0, "candle_open", "60000.0", "60006.1"),
        (SELL, 0, "candle_open", "60000.0", "59993.9"),
        (BUY, -1, "candle_close", "60050.0", "60056.1"),
        (SELL, -1, "candle_close", "60050.0", "60043.9"),
    ],
)
def test_without_quotes_the_next_candles_open_or_the_close_of_the_one_under_way_is_paid_with_slippage(
    side: Side, open_after_ms: int, rule: str, reference: str, price: str
) -> None:
    paper = broker(slippage_bps=D(1))
    send(paper, order(side, "0.5"))
    fill = only_fill(paper, candle(open_after_ms, 60_000.0, 60_100.0, 59_900.0, 60_050.0))
    assert (fill.rule, fill.reference, fill.price) == (rule, D(reference), D(price))
    assert fill.slippage == abs(fill.price - fill.reference)
    assert fill.spread is None
    open_ns = at(open_after_ms)
    assert fill.time_ns == (max(open_ns, at(200)) if rule == "candle_open" else open_ns + MINUTE)


def test_an_order_on_its_way_for_a_candle_or_longer_waits_for_a_candle_that_opens_after_its_arrival() -> None:
    just_shorter, as_long = broker(latency_ms=59_999), broker(latency_ms=60_000)
    for paper in (just_shorter, as_long):
        send(paper, order())
    assert only_fill(just_shorter, candle(0)).time_ns == at(59_999)
    assert only_fill(as_long, candle(0)).rule == "candle_close"  # it arrives as the candle closes
    longer = broker(latency_ms=90_000)
    send(longer, order())
    assert longer.observe(candle(0)) == []
    assert only_fill(longer, candle(60_000)).rule == "candle_close"
    late = broker(latency_ms=90_000)
    send(late, order())
    assert only_fill(late, candle(90_000)).rule == "candle_open"


def test_a_candle_known_before_the_arrival_fills_nothing() -> None:
    paper = broker()
    send(paper, order())
    assert paper.observe(candle(-60_000)) == []
    assert paper.observe(candle(-59_801)) == []
    assert only_fill(paper, candle(-59_800)).rule == "candle_close"


@pytest.mark.parametrize(
    ("fills", "buys", "sells"), [("expected", 100, 100), ("pessimistic", 105, 100), ("optimistic", 100, 105)]
)
def test_where_a_candle_cannot_tell_the_price_the_setting_chooses_between_open_and_close(
    fills: str, buys: int, sells: int
) -> None:
    for side, reference in ((BUY, buys), (SELL, sells)):
        paper = broker(fills=fills)
        send(paper, order(side))
        fill = only_fill(paper, candle(0))
        assert (fill.rule, fill.reference) == ("candle_open", D(f"{reference}.0"))
        other = D("100.0") if reference == 105 else D("105.0")
        better = (other < reference) is (side is BUY)
        assert (fill.best, fill.worst) == ((other, None) if better else (None, other))


def test_candles_count_for_nothing_once_a_quote_was_seen() -> None:
    paper = broker()
    send(paper, order(), order(oid="far", limit="50"))
    paper.observe(quote(100))
    assert seen(paper, candle(300, low=40.0)) == ["o-1 fill 1 @ 100.1"]  # of the quote in force at its arrival
    assert works(paper, "far")


def test_an_order_of_candles_goes_on_with_quotes_once_they_come() -> None:
    paper = broker()
    send(paper, order(limit="50"))
    assert paper.observe(candle(0)) == []
    fill = only_fill(paper, quote(70_000, 40.0, 40.1))
    assert (fill.price, fill.liquidity) == (50, "maker")  # it rested before


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_limit_marketable_at_the_open_takes_the_open_instead_of_its_limit() -> None:
    paper = broker()
    send(paper, order(limit="109"))
    fill = only_fill(paper, candle(60_000))
    assert (fill.price, fill.rule, fill.liquidity, fill.time_ns) == (D(100), "candle_open", "taker", at(60_000))


def test_a_limit_order_that_is_marketable_at_the_open_is_never_assumed_to_pay_more_than_its_limit() -> None:
    paper = broker(fills="pessimistic")
    send(paper, order(limit="102"))
    fill = only_fill(paper, candle(0))
    assert (fill.price, fill.reference, fill.slippage) == (D(102), D(102), D(0))
    sale = broker(fills="pessimistic")
    send(sale, order(SELL, limit="98"))
    assert only_fill(sale, candle(0, close=95.0)).price == 98


@pytest.mark.parametrize(
    ("side", "limit", "touched", "through"), [(BUY, "95", 95.0, 94.9), (SELL, "106", 106.0, 106.1)]
)
def test_a_resting_limit_fills_only_when_a_candle_trades_strictly_through_it(
    side: Side, limit: str, touched: float, through: float
) -> None:
    paper = broker()
    send(paper, order(side, limit=limit))
    name = "low" if side is BUY else "high"
    calm = {"high": 105.0, "low": 99.0}
    assert paper.observe(candle(60_000, **{**calm, name: touched})) == []
    fill = only_fill(paper, candle(120_000, **{**calm, name: through}))
    assert (fill.price, fill.liquidity, fill.rule, fill.fee_rate) == (D(limit), "maker", "candle_through", D("0.0002"))


@pytest.mark.parametrize("fills", ["pessimistic", "expected", "optimistic"])
@pytest.mark.parametrize(("side", "limit", "beyond"), [(BUY, "90", "89.9"), (SELL, "110", "110.1")])
def test_only_an_optimistic_limit_fills_on_a_candle_that_touched_it(
    fills: str, side: Side, limit: str, beyond: str
) -> None:
    paper = broker(fills=fills)
    send(paper, order(side, limit=limit), order(side, limit=beyond, oid="beyond"))
    expected = [f"o-1 fill 1 @ {limit}"] if fills == "optimistic" else []
    assert seen(paper, candle(0)) == expected


def test_of_a_candle_that_opened_before_the_decision_only_the_close_meets_a_limit_and_at_its_limit() -> None:
    paper = broker()
    send(paper, order(limit="99.5"))
    assert paper.observe(candle(-1, low=50.0, close=99.6)) == []
    for side, limit in ((BUY, "105.1"), (SELL, "104.9")):
        closes = broker()
        send(closes, order(side, limit=limit))
        fill = only_fill(closes, candle(-1))
        assert (fill.rule, fill.price, fill.liquidity) == ("candle_close", D(limit), "taker")
        assert (fill.reference, fill.slippage) == (D("105.0"), D("0.1"))
        assert fill.fee == D(limit) * BTC.taker_fee_rate


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("event", [candle(60_000, 50_000.123456, 50_100.0, 49_900.0, 50_000.0)])
@pytest.mark.parametrize("limit", [None, "50050", "49950"])
def test_a_fill_is_on_the_tick_even_where_prices_are_not_and_slippage_is_0(
    side: Side, event: Input, limit: str | None
) -> None:
    paper = broker()
    send(paper, order(side, limit=limit))
    (fill,) = paper.observe(event)
    assert isinstance(fill, Fill)
    assert fill.price % BTC.tick == 0
    assert fill.price >= fill.reference if side is BUY else fill.price <= fill.reference
    assert fill.slippage == abs(fill.price - fill.reference)


@pytest.mark.behaviour("O3")
@pytest.mark.parametrize(
    ("calendar", "waits"),
    [("", False), ("file", True), ("Tue 00:00-22:14", True), ("Tue 00:00-22:15", False), ("weekdays", False)],
)
def test_a_market_order_does_not_wait_while_the_market_is_closed(calendar: str, waits: bool) -> None:
    paper = broker()
    paper.open({"BTCUSDT": evolve(BTC, calendar=calendar)}, seed=7)
    send(paper, order())  # on Tuesday at 22:13:20
    (report,) = paper.observe(candle(600_000))
    assert isinstance(report, Fill if waits else Ended)
    if isinstance(report, Fill):
        assert report.price == D("100.0")
