"""The paper broker, driven directly: what fills, when, at which price and fee."""

from decimal import Decimal
from fractions import Fraction

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import Accepted, Candle, Ended, Fill, Order, OrderType, Quote, Rejected, Side
from lab.domain.control import Notice, Timer
from lab.domain.inputs import Input
from lab.testing import instrument
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace

MS = 1_000_000
MINUTE = 60_000 * MS
START = 1_700_000_000_000 * MS
BTC = instrument()


def broker(**settings: object) -> PaperBroker:
    settings = {"latency_ms": 200, "jitter_ms": 0, **settings}
    made = PaperBroker(**settings)  # type: ignore[arg-type]
    made.open({"BTCUSDT": BTC, "ETHUSDT": BTC}, seed=7)
    return made


def order(
    side: Side = Side.BUY, limit: str | None = None, *, oid: str = "o-1", quantity: str = "0.5", symbol: str = "BTCUSDT"
) -> Order:
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else Decimal(limit)
    return Order(oid, "sma", symbol, side, Decimal(quantity), kind, price, False, START, Decimal(quantity))


def quote(after_ms: float, bid: float = 60_000.0, ask: float = 60_000.5, symbol: str = "BTCUSDT") -> Quote:
    return Quote(symbol, START + int(after_ms * MS), bid, 1.0, ask, 1.0)


def candle(
    open_after_ms: int, opened: float = 60_000.0, high: float = 60_100.0, low: float = 59_900.0, close: float = 60_050.0
) -> Candle:
    open_ns = START + open_after_ms * MS
    return Candle("BTCUSDT", open_ns, open_ns + MINUTE, opened, high, low, close, 5.0)


def arrival(paper: PaperBroker, one: Order, now_ns: int = START) -> int:
    """Submit an order and return from when the broker may fill it."""
    answer = paper.submit(one, now_ns)
    assert isinstance(answer, Accepted)
    return answer.eligible_ns


def works(paper: PaperBroker, oid: str = "o-1") -> bool:
    """Say whether the broker works on an order, without touching it."""
    return oid in paper._resting  # noqa: SLF001 - to cancel it would end it


def only_fill(paper: PaperBroker, event: Input) -> Fill:
    (report,) = paper.observe(event)
    assert isinstance(report, Fill)
    return report


def only_end(paper: PaperBroker, event: Input) -> Ended:
    (report,) = paper.observe(event)
    assert isinstance(report, Ended)
    return report


# -- arrival ---------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O2")
def test_an_order_fills_at_the_first_quote_at_or_after_its_arrival_and_not_before() -> None:
    paper, one = broker(), order()
    assert paper.submit(one, START) == Accepted(START + 200 * MS)
    assert paper.observe(quote(199.999)) == []
    assert works(paper)
    fill = only_fill(paper, quote(200))
    assert (fill.time_ns, fill.quantity) == (START + 200 * MS, Decimal("0.5"))
    assert not works(paper)
    assert paper.observe(quote(201)) == []


@pytest.mark.behaviour("O2")
def test_jitter_is_seeded_bounded_both_ways_and_depends_on_order_and_seed_alone() -> None:
    def arrivals(seed: int) -> list[int]:
        paper = PaperBroker(latency_ms=200, jitter_ms=20)
        paper.open({"BTCUSDT": BTC}, seed)
        found = []
        for number in range(300):
            one = replace(order(oid=f"o-{number}"), strategy=str(number))  # apart: none waits for the one before it
            found.append(arrival(paper, one) - START)
        return found

    first = arrivals(7)
    assert first == arrivals(7)
    assert first != arrivals(8)
    assert 180 * MS <= min(first) < 183 * MS
    assert 217 * MS < max(first) <= 220 * MS


def test_orders_of_one_strategy_arrive_in_the_order_they_were_sent_and_others_do_not_wait() -> None:
    paper = broker(jitter_ms=100)
    arrivals = [arrival(paper, order(oid=f"o-{number}")) for number in range(50)]
    assert arrivals == sorted(arrivals)
    other = replace(order(oid="o-other"), strategy="other")
    assert arrival(paper, other) == arrival(broker(jitter_ms=100), order(oid="o-other"))


def test_jitter_never_takes_more_than_the_latency() -> None:
    paper = broker(latency_ms=0, jitter_ms=20)
    assert arrival(paper, order()) == START
    assert paper.describe(BTC)["latency"] == "0 ms ± 0 ms"


@pytest.mark.behaviour("O1")
@given(latency=st.integers(0, 500), jitter=st.integers(0, 500), after=st.lists(st.integers(0, 2_000), max_size=8))
@settings(max_examples=60)
def test_no_fill_comes_from_data_older_than_the_arrival(latency: int, jitter: int, after: list[int]) -> None:
    paper = broker(latency_ms=latency, jitter_ms=jitter)
    eligible_ns = arrival(paper, order())
    for event_ms in sorted(after):
        for report in paper.observe(quote(event_ms)):
            assert isinstance(report, Fill)
            assert report.time_ns >= eligible_ns
            assert report.time_ns == min(START + ms * MS for ms in after if START + ms * MS >= eligible_ns)


# -- market orders on quotes -----------------------------------------------------------------------------------------


@pytest.mark.behaviour("O3")
@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "60000.5"), (Side.SELL, "60000.0")])
def test_a_market_buy_pays_the_ask_and_a_sell_gets_the_bid_and_the_fill_says_how(side: Side, price: str) -> None:
    paper = broker()
    paper.submit(order(side), START)
    fill = only_fill(paper, quote(250))
    assert fill == Fill(
        order_id="o-1",
        quantity=Decimal("0.5"),
        price=Decimal(price),
        fee=Decimal(price) * Decimal("0.5") * Decimal("0.0006"),
        fee_rate=Decimal("0.0006"),
        liquidity="taker",
        rule="quote",
        reference=Decimal(price),
        spread=Decimal("0.5"),
        slippage=Decimal(0),
        time_ns=START + 250 * MS,
    )


@pytest.mark.parametrize(("side", "price", "slippage"), [(Side.BUY, "60006.6", "6.1"), (Side.SELL, "59994.0", "6.0")])
def test_slippage_beyond_the_touch_is_against_the_trader_and_rounded_against_him(
    side: Side, price: str, slippage: str
) -> None:
    paper = broker(quote_slippage_bps=Decimal(1))
    paper.submit(order(side), START)
    fill = only_fill(paper, quote(250))
    assert (fill.price, fill.slippage) == (Decimal(price), Decimal(slippage))


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "60006.5"), (Side.SELL, "59993.75")])
def test_slippage_is_rounded_to_ticks_that_are_no_power_of_ten_too(side: Side, price: str) -> None:
    paper = PaperBroker(latency_ms=0, quote_slippage_bps=Decimal(1))
    paper.open({"BTCUSDT": evolve(BTC, tick=Decimal("0.25"))}, seed=7)
    paper.submit(order(side), START)
    assert only_fill(paper, quote(250, 59_999.75, 60_000.25)).price == Decimal(price)


def test_a_quote_of_another_symbol_fills_nothing() -> None:
    paper = broker()
    paper.submit(order(), START)
    assert paper.observe(quote(250, symbol="ETHUSDT")) == []
    assert works(paper)


def test_orders_fill_in_the_order_they_were_submitted() -> None:
    paper = broker()
    for number in (3, 1, 2):
        paper.submit(order(oid=f"o-{number}"), START)
    assert [report.order_id for report in paper.observe(quote(300))] == ["o-3", "o-1", "o-2"]
    assert paper.observe(quote(301)) == []


@pytest.mark.behaviour("O8")
@given(lots=st.integers(1, 10**9))
@settings(max_examples=40)
def test_the_broker_fills_exactly_the_quantity_it_was_given(lots: int) -> None:
    paper, quantity = broker(), lots * BTC.lot
    paper.submit(order(quantity=str(quantity)), START)
    assert only_fill(paper, quote(300)).quantity == quantity


# -- expiry: no order is dropped silently ----------------------------------------------------------------------------


@pytest.mark.behaviour("O2", "O13")
def test_a_market_order_whose_first_fresh_quote_comes_too_late_expires_with_the_figures() -> None:
    paper = broker(expire_ms=5_000)
    paper.submit(order(), START)
    ended = only_end(paper, quote(200 + 5_000.001))
    assert (ended.order_id, ended.outcome) == ("o-1", "expired")
    assert "5000 ms after its arrival at 2023-11-14T22:13:20.200Z" in ended.reason
    assert "later than 5000 ms (expire_ms)" in ended.reason
    assert not works(paper)


def test_a_quote_at_the_last_moment_still_fills() -> None:
    paper = broker(expire_ms=5_000)
    paper.submit(order(), START)
    assert only_fill(paper, quote(5_200)).rule == "quote"


@pytest.mark.behaviour("O13")
def test_a_timer_expires_a_market_order_that_no_quote_reaches_and_never_fills_one() -> None:
    paper = broker()
    paper.submit(order(), START)
    assert paper.observe(Timer(START + 5_200 * MS)) == []
    assert works(paper)
    ended = only_end(paper, Timer(START + 7_512 * MS))
    assert ended.outcome == "expired"
    assert "7312 ms after its arrival" in ended.reason
    assert not works(paper)


def test_a_timer_leaves_limit_orders_and_symbols_without_quotes_alone() -> None:
    paper = broker()
    paper.submit(order(limit="59000"), START)
    assert paper.observe(Timer(START + MINUTE)) == []
    candles_only = broker(latency_ms=0)
    candles_only.submit(order(oid="first"), START)
    only_fill(candles_only, candle(0))
    candles_only.submit(order(oid="second"), START + MINUTE)
    assert candles_only.observe(Timer(START + MINUTE + 30_000 * MS)) == []
    assert works(candles_only, "second")


@pytest.mark.behaviour("O13")
def test_on_candles_a_market_order_expires_when_its_first_candle_closes_more_than_two_candles_late() -> None:
    in_time, late = broker(), broker()
    for paper in (in_time, late):
        paper.submit(order(), START)
    assert only_fill(in_time, candle(60_000 + 200)).rule == "candle_open"
    ended = only_end(late, candle(60_000 + 201))
    assert ended.outcome == "expired"
    assert "120001 ms after its arrival" in ended.reason
    assert "2 candles (120000 ms)" in ended.reason


def test_other_events_move_nothing() -> None:
    paper = broker()
    paper.submit(order(), START)
    assert paper.observe(Notice(START + MINUTE, "feed", {})) == ()
    assert works(paper)


def test_cancel_forgets_a_working_order_once() -> None:
    paper = broker()
    paper.submit(order(limit="59000"), START)
    paper.observe(quote(300))
    assert paper.cancel("o-1") is True
    assert paper.cancel("o-1") is False
    assert not works(paper)
    assert paper.observe(quote(400, bid=58_000.0, ask=58_000.5)) == []


def test_an_unknown_symbol_a_working_id_and_a_missing_limit_are_rejected_with_the_reason() -> None:
    paper = broker()
    unknown = paper.submit(order(symbol="DOGEUSDT"), START)
    assert unknown == Rejected("the paper broker does not know 'DOGEUSDT'; it was opened with BTCUSDT, ETHUSDT")
    paper.submit(order(), START)
    assert paper.submit(order(), START) == Rejected("an order with the id o-1 works already")
    bare = replace(order(oid="o-2"), type=OrderType.LIMIT)
    assert paper.submit(bare, START) == Rejected("a limit order needs a limit")
    assert works(paper)
    assert not works(paper, "o-2")


def test_an_order_type_it_does_not_declare_is_rejected_and_never_taken_for_another() -> None:
    paper = broker()
    assert paper.order_types() == {OrderType.MARKET, OrderType.LIMIT}
    stop = replace(order(limit="59000"), type="stop")  # type: ignore[arg-type]
    assert paper.submit(stop, START) == Rejected("the paper broker takes market and limit orders, not stop")
    assert not works(paper)


# -- limit orders on quotes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "limit", "price"), [(Side.BUY, "60010", "60000.5"), (Side.SELL, "59990", "60000.0")])
def test_a_limit_marketable_on_its_first_fresh_quote_takes_the_touch(side: Side, limit: str, price: str) -> None:
    paper = broker()
    paper.submit(order(side, limit), START)
    fill = only_fill(paper, quote(250))
    assert (fill.price, fill.liquidity, fill.rule) == (Decimal(price), "taker", "quote")


@pytest.mark.parametrize(("side", "limit", "price"), [(Side.BUY, "60001", "60001"), (Side.SELL, "59999", "59999")])
def test_slippage_never_takes_a_limit_order_beyond_its_limit(side: Side, limit: str, price: str) -> None:
    paper = broker(quote_slippage_bps=Decimal(10))
    paper.submit(order(side, limit), START)
    assert only_fill(paper, quote(250)).price == Decimal(price)


@pytest.mark.parametrize(
    ("side", "limit", "near", "through"),
    [
        (Side.BUY, "59990.0", (59_989.6, 59_990.1), (59_980.0, 59_990.0)),
        (Side.SELL, "60010.0", (60_009.9, 60_010.4), (60_010.0, 60_020.0)),
    ],
)
def test_a_resting_limit_fills_as_maker_at_its_limit_when_the_opposite_touch_reaches_it(
    side: Side, limit: str, near: tuple[float, float], through: tuple[float, float]
) -> None:
    paper = broker()
    paper.submit(order(side, limit), START)
    assert paper.observe(quote(250)) == []
    assert paper.observe(quote(300, *near)) == []
    fill = only_fill(paper, quote(400, *through))
    assert (fill.price, fill.reference, fill.liquidity) == (Decimal(limit), Decimal(limit), "maker")
    assert (fill.rule, fill.fee_rate, fill.slippage) == ("limit_touched", Decimal("0.0002"), Decimal(0))
    assert fill.spread == Decimal(repr(through[1])) - Decimal(repr(through[0]))


def test_a_resting_limit_that_the_market_jumps_past_gets_its_limit_and_nothing_better() -> None:
    paper = broker()
    paper.submit(order(Side.BUY, "59990"), START)
    paper.observe(quote(250))
    assert only_fill(paper, quote(300, 50_000.0, 50_000.5)).price == Decimal(59_990)


def test_a_limit_order_does_not_expire() -> None:
    paper = broker()
    paper.submit(order(limit="60010"), START)
    assert only_fill(paper, quote(3_600_000)).rule == "quote"


# -- candles, where there are no quotes ------------------------------------------------------------------------------


@pytest.mark.behaviour("O3")
@pytest.mark.parametrize(
    ("side", "open_after_ms", "rule", "reference", "price"),
    [
        (Side.BUY, 200, "candle_open", "60000.0", "60006.0"),
        (Side.SELL, 200, "candle_open", "60000.0", "59994.0"),
        (Side.BUY, 0, "candle_open", "60000.0", "60006.0"),
        (Side.SELL, 0, "candle_open", "60000.0", "59994.0"),
        (Side.BUY, -1, "candle_close", "60050.0", "60056.1"),
        (Side.SELL, -1, "candle_close", "60050.0", "60043.9"),
    ],
)
def test_without_quotes_the_next_candles_open_or_the_close_of_the_one_under_way_is_paid_with_slippage(
    side: Side, open_after_ms: int, rule: str, reference: str, price: str
) -> None:
    paper = broker()
    paper.submit(order(side), START)
    fill = only_fill(paper, candle(open_after_ms))
    assert (fill.rule, fill.reference, fill.price) == (rule, Decimal(reference), Decimal(price))
    assert fill.slippage == abs(fill.price - fill.reference)
    assert fill.spread is None
    open_ns = START + open_after_ms * MS
    assert fill.time_ns == (max(open_ns, START + 200 * MS) if rule == "candle_open" else open_ns + MINUTE)


def test_an_order_on_its_way_for_a_candle_or_longer_waits_for_a_candle_that_opens_after_its_arrival() -> None:
    just_shorter, as_long = broker(latency_ms=59_999), broker(latency_ms=60_000)
    for paper in (just_shorter, as_long):
        paper.submit(order(), START)
    assert only_fill(just_shorter, candle(0)).time_ns == START + 59_999 * MS
    assert only_fill(as_long, candle(0)).rule == "candle_close"  # it arrives as the candle closes
    longer = broker(latency_ms=90_000)
    longer.submit(order(), START)
    assert longer.observe(candle(0)) == []
    assert only_fill(longer, candle(60_000)).rule == "candle_close"
    late = broker(latency_ms=90_000)
    late.submit(order(), START)
    assert only_fill(late, candle(90_000)).rule == "candle_open"


@pytest.mark.parametrize(
    ("fills", "buys", "sells"),
    [("expected", 60_000, 60_000), ("pessimistic", 60_050, 60_000), ("optimistic", 60_000, 60_050)],
)
def test_where_a_candle_cannot_tell_the_price_the_setting_chooses_between_open_and_close(
    fills: str, buys: int, sells: int
) -> None:
    for side, reference in ((Side.BUY, buys), (Side.SELL, sells)):
        paper = broker(fills=fills)
        paper.submit(order(side), START)
        fill = only_fill(paper, candle(0))
        assert (fill.rule, fill.reference) == ("candle_open", Decimal(f"{reference}.0"))


def test_a_limit_order_that_is_marketable_at_the_open_is_never_assumed_to_pay_more_than_its_limit() -> None:
    paper = broker(fills="pessimistic")
    paper.submit(order(Side.BUY, "60020"), START)
    fill = only_fill(paper, candle(0))
    assert (fill.price, fill.reference, fill.slippage) == (Decimal(60_020), Decimal(60_020), Decimal(0))
    sale = broker(fills="pessimistic", slippage_bps=Decimal(0))
    sale.submit(order(Side.SELL, "59980"), START)
    assert only_fill(sale, candle(0, close=59_950.0)).price == Decimal(59_980)


def test_only_an_optimistic_limit_fills_on_a_candle_that_touched_it() -> None:
    for side, limit in ((Side.BUY, "59900"), (Side.SELL, "60100")):
        for fills in ("pessimistic", "expected"):
            strict = broker(fills=fills)
            strict.submit(order(side, limit), START)
            assert strict.observe(candle(0)) == []
        touched = broker(fills="optimistic")
        touched.submit(order(side, limit), START)
        assert only_fill(touched, candle(0)).price == Decimal(limit)
        beyond = broker(fills="optimistic")
        beyond.submit(order(side, "59899.9" if side is Side.BUY else "60100.1"), START)
        assert beyond.observe(candle(0)) == []


def test_a_fill_at_a_candles_open_is_stamped_with_the_open_and_never_before_the_arrival() -> None:
    paper = broker()
    eligible_ns = arrival(paper, order())
    opens = candle(60_000)
    fill = only_fill(paper, opens)
    assert (fill.rule, fill.time_ns) == ("candle_open", opens.open_ns)
    assert fill.time_ns >= eligible_ns
    limited = broker()
    limited.submit(order(Side.BUY, "70000"), START)
    assert only_fill(limited, opens).time_ns == opens.open_ns


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("event", [quote(300, 50_000.123456, 50_000.223456), candle(60_000, 50_000.123456)])
@pytest.mark.parametrize("limit", [None, "50100", "49900"])
def test_a_fill_is_on_the_tick_even_where_prices_are_not_and_slippage_is_0(
    side: Side, event: Input, limit: str | None
) -> None:
    paper = broker(slippage_bps=Decimal(0))
    paper.submit(order(side, limit), START)
    for fill in paper.observe(event):
        assert isinstance(fill, Fill)
        assert fill.price % BTC.tick == 0
        assert fill.price >= fill.reference if side is Side.BUY else fill.price <= fill.reference
        assert fill.slippage == abs(fill.price - fill.reference)


def test_candles_count_for_nothing_once_a_quote_was_seen() -> None:
    paper = broker()
    paper.submit(order(), START)
    paper.observe(quote(100))
    assert paper.observe(candle(300)) == []
    assert works(paper)


def test_a_candle_known_before_the_arrival_fills_nothing() -> None:
    paper = broker()
    paper.submit(order(), START)
    assert paper.observe(candle(-60_000)) == []
    assert paper.observe(candle(-59_801)) == []
    assert only_fill(paper, candle(-59_800)).rule == "candle_close"


def test_a_resting_limit_fills_only_when_a_candle_trades_strictly_through_it() -> None:
    paper = broker()
    paper.submit(order(Side.BUY, "59900"), START)
    assert paper.observe(candle(60_000, low=59_900.0)) == []
    fill = only_fill(paper, candle(120_000, low=59_899.9))
    assert (fill.price, fill.liquidity, fill.rule) == (Decimal(59_900), "maker", "candle_through")
    sale = broker()
    sale.submit(order(Side.SELL, "60100"), START)
    assert sale.observe(candle(60_000, high=60_100.0)) == []
    assert only_fill(sale, candle(120_000, high=60_100.1)).rule == "candle_through"


def test_of_a_candle_that_opened_before_the_decision_only_the_close_meets_a_limit_and_at_its_limit() -> None:
    paper = broker()
    paper.submit(order(Side.BUY, "59950"), START)
    assert paper.observe(candle(-1, low=50_000.0, close=59_960.0)) == []
    for side, limit in ((Side.BUY, "60051"), (Side.SELL, "60049")):
        closes = broker()
        closes.submit(order(side, limit), START)
        fill = only_fill(closes, candle(-1, close=60_050.0))
        assert (fill.rule, fill.price, fill.liquidity) == ("candle_close", Decimal(limit), "taker")
        assert (fill.reference, fill.slippage) == (Decimal("60050.0"), Decimal(1))
        assert fill.fee == Decimal(limit) * Decimal("0.5") * BTC.taker_fee_rate


def test_a_limit_marketable_at_the_open_takes_the_open_instead_of_its_limit() -> None:
    paper = broker(slippage_bps=Decimal(0))
    paper.submit(order(Side.BUY, "70000"), START)
    fill = only_fill(paper, candle(60_000, high=71_000.0))
    assert (fill.price, fill.rule, fill.liquidity) == (Decimal(60_000), "candle_open", "taker")


def test_even_the_worst_sale_gets_a_tick() -> None:
    paper = broker(slippage_bps=Decimal(999))
    paper.submit(order(Side.SELL), START)
    assert only_fill(paper, candle(300, 0.1, 0.1, 0.1, 0.1)).price == Decimal("0.1")


# -- exact money -----------------------------------------------------------------------------------------------------

TICKS = st.integers(1, 10**7)
RATES = st.decimals(min_value=0, max_value="0.04999", places=6, allow_nan=False)


@pytest.mark.behaviour("O9")
@given(ticks=TICKS, width=st.integers(0, 50), lots=st.integers(1, 10**8), rate=RATES, side=st.sampled_from(Side))
def test_the_fee_is_exactly_price_times_quantity_times_rate(
    ticks: int, width: int, lots: int, rate: Decimal, side: Side
) -> None:
    paper = broker(taker_fee=rate)
    paper.submit(order(side, quantity=str(lots * BTC.lot)), START)
    fill = only_fill(paper, quote(250, float(ticks * BTC.tick), float((ticks + width) * BTC.tick)))
    assert Fraction(fill.fee) == Fraction(fill.price) * Fraction(fill.quantity) * Fraction(rate)
    assert Fraction(fill.price) == Fraction(ticks + (width if side is Side.BUY else 0), 10)
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
    ticks: int, width: int, bps: Decimal, limit_ticks: int | None, side: Side, moved: list[int]
) -> None:
    paper = broker(quote_slippage_bps=bps)
    limit = None if limit_ticks is None else limit_ticks * BTC.tick
    paper.submit(order(side, None if limit is None else str(limit)), START)
    for number, shift in enumerate(moved):
        bid, ask = (ticks + shift) * BTC.tick, (ticks + shift + width) * BTC.tick
        for fill in paper.observe(quote(250 + number, float(bid), float(ask))):
            assert isinstance(fill, Fill)
            assert fill.price % BTC.tick == 0
            assert fill.slippage >= 0
            assert fill.price >= ask if side is Side.BUY else fill.price <= bid
            if limit is not None:
                assert fill.price <= limit if side is Side.BUY else fill.price >= limit


@given(
    prices=st.lists(st.integers(100, 10**6), min_size=4, max_size=4),
    bps=st.decimals(0, 50, places=2),
    side=st.sampled_from(Side),
    open_after_ms=st.integers(-50_000, 60_000),
)
def test_no_candle_fill_of_a_market_order_is_better_than_its_reference(
    prices: list[int], bps: Decimal, side: Side, open_after_ms: int
) -> None:
    low, first, last, high = (float(price * BTC.tick) for price in sorted(prices))
    paper = broker(slippage_bps=bps)
    paper.submit(order(side), START)
    fill = only_fill(paper, candle(open_after_ms, first, high, low, last))
    reference = Decimal(repr(first if open_after_ms >= 0 else last))
    assert fill.reference == reference
    assert fill.price >= reference if side is Side.BUY else fill.price <= reference
    exact = reference * (1 + bps / 10_000 * (1 if side is Side.BUY else -1))
    assert abs(fill.price - exact) < BTC.tick
    assert fill.price >= exact if side is Side.BUY else fill.price <= exact


# -- settings, header -----------------------------------------------------------------------------------------


@pytest.mark.behaviour("O9")
@pytest.mark.parametrize(
    ("fees", "taker", "maker"),
    [
        ({}, "0.0600 %", "0.0200 %"),
        ({"taker_fee": Decimal(0), "maker_fee": Decimal(0)}, "0.0000 %", "0.0000 %"),
        ({"taker_fee": Decimal("0.00055")}, "0.0550 %", "0.0200 %"),
        ({"maker_fee": Decimal("-0.0000125")}, "0.0600 %", "-0.00125 %"),
    ],
)
def test_fees_not_given_are_the_venues_and_0_is_free_and_the_header_shows_the_effective_rates(
    fees: dict[str, Decimal], taker: str, maker: str
) -> None:
    paper = broker(**fees)
    shown = paper.describe(BTC)
    assert (shown["taker"], shown["maker"], shown["latency"]) == (taker, maker, "200 ms ± 0 ms")
    paper.submit(order(), START)
    paper.submit(order(limit="59990", oid="o-2"), START)
    assert only_fill(paper, quote(250)).fee_rate == fees.get("taker_fee", BTC.taker_fee_rate)
    assert only_fill(paper, quote(300, 59_000.0, 59_000.5)).fee_rate == fees.get("maker_fee", BTC.maker_fee_rate)


def test_describe_says_what_fills_orders_where_there_are_no_quotes() -> None:
    assert PaperBroker().describe(BTC)["without quotes"] == "the next candle's open; expected fills"


def test_the_default_latency_is_200_ms_give_or_take_20() -> None:
    assert PaperBroker().describe(BTC)["latency"] == "200 ms ± 20 ms"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("taker_fee", Decimal("0.06")),
        ("taker_fee", Decimal("-0.0001")),
        ("maker_fee", Decimal("-0.05001")),
        ("slippage_bps", Decimal(-1)),
        ("quote_slippage_bps", Decimal(1_000)),
        ("latency_ms", -1),
        ("jitter_ms", -1),
        ("expire_ms", 0),
    ],
)
def test_a_senseless_setting_is_refused_by_name_and_value(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting) as caught:
        PaperBroker(**{setting: value})  # type: ignore[arg-type]
    assert str(value) in str(caught.value)


def test_the_same_orders_and_events_given_to_a_new_instance_give_the_same_reports_at_every_moment() -> None:
    sent = {
        0: [order(limit="59990", oid="o-2"), order(oid="o-9")],
        1: [order(Side.SELL, oid="o-3", symbol="ETHUSDT")],
        3: [order(oid="o-4")],
    }
    events = (quote(10), quote(310), quote(320, 59_980.0, 59_989.0), quote(600), Timer(START + MINUTE))

    def log(paper: PaperBroker, count: int) -> list[object]:
        found: list[object] = []
        for number, event in enumerate(events[:count]):
            found += [paper.submit(one, START + number * MS) for one in sent.get(number, ())]
            found += paper.observe(event)
        return found

    whole = log(broker(latency_ms=300, jitter_ms=100), len(events))
    assert sum(isinstance(one, Fill) for one in whole) >= 2
    assert sum(isinstance(one, Ended) for one in whole) == 1
    for count in range(len(events)):
        early = log(broker(latency_ms=300, jitter_ms=100), count)
        assert early == whole[: len(early)]


def test_the_plugin_offers_the_broker_by_name() -> None:
    from lab.plugins.discovery import Registry

    assert Registry().get("broker", "paper").cls is PaperBroker
