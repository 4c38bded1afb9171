"""Arrival: when an order meets the market first, which quote is in force then, and when it expires."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import Accepted, Fill, OrderType, Rejected
from lab.domain.control import Notice
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace
from paper import (
    BTC,
    MINUTE,
    MS,
    START,
    D,
    broker,
    candle,
    depth,
    only_end,
    only_fill,
    order,
    quote,
    send,
    timer,
    works,
)


@pytest.mark.behaviour("O2")
def test_an_order_fills_at_the_first_quote_at_or_after_its_arrival_and_not_before() -> None:
    paper, one = broker(), order()
    assert paper.submit(one, START) == Accepted(START + 200 * MS)
    assert paper.observe(quote(199.999, ask_size=0.0)) == []
    assert works(paper)
    fill = only_fill(paper, quote(200, 100.2, 100.3))
    assert (fill.time_ns, fill.price, fill.age_ns) == (START + 200 * MS, D("100.3"), 0)
    assert not works(paper)
    assert paper.observe(quote(201)) == []


@pytest.mark.behaviour("O1", "O2")
def test_an_order_meets_the_quote_in_force_when_it_arrives_and_the_fill_says_its_age() -> None:
    paper = broker()
    send(paper, order())
    assert paper.observe(quote(50, 100.0, 100.1)) == []
    fill = only_fill(paper, quote(900, 101.0, 101.1))
    assert (fill.price, fill.time_ns, fill.age_ns) == (D("100.1"), START + 200 * MS, 150 * MS)
    assert fill.worst == D("101.1")  # what the next quote would have cost
    assert fill.best is None


def test_the_band_of_a_fill_shows_the_touch_it_was_decided_on_where_that_was_better() -> None:
    paper = broker()
    send(paper, order(oid="first"))
    paper.observe(quote(0, 99.8, 99.9))  # the book of the decision on o-1
    send(paper, order(), at_ms=0)
    fills = [*paper.observe(quote(150, 100.0, 100.1)), *paper.observe(quote(300, 99.0, 99.1))]
    fill = next(one for one in fills if isinstance(one, Fill) and one.order_id == "o-1")
    assert (fill.price, fill.best, fill.worst) == (D("100.1"), D("99.9"), None)


def test_a_quote_on_the_way_counts_at_the_arrival_where_there_was_none_when_the_order_was_sent() -> None:
    paper = broker()
    send(paper, order())
    paper.observe(quote(100))
    fill = only_fill(paper, timer(30_000))
    assert (fill.price, fill.time_ns, fill.age_ns) == (D("100.1"), START + 200 * MS, 100 * MS)


def test_a_quote_that_is_stale_at_the_arrival_is_not_in_force_and_the_wait_for_the_next_is_flagged() -> None:
    for gap_ms, price, age_ms in ((5_000, "100.1", 5_000), (5_001, "102.1", -800)):
        paper = broker()
        send(paper, order(oid="o-0", limit="1"))
        paper.observe(quote(200 - gap_ms, symbol="BTCUSDT"))
        send(paper, order())
        fill = only_fill(paper, quote(1_000, 102.0, 102.1))
        assert (fill.price, fill.age_ns) == (D(price), age_ms * MS)


def test_a_depth_says_nothing_where_the_quote_is_stale() -> None:
    paper = broker()
    send(paper, order(oid="o-0", limit="1"))
    paper.observe(quote(-6_000))
    send(paper, order())
    assert paper.observe(depth(300, [(100.0, 5.0)], [(100.1, 5.0)])) == []
    assert works(paper)
    assert only_fill(paper, quote(400, 102.0, 102.1)).price == D("102.1")


def test_a_depth_at_the_arrival_lets_an_order_meet_the_quote_in_force_with_its_age() -> None:
    paper = broker()
    send(paper, order())
    paper.observe(quote(100))
    fill = only_fill(paper, depth(200, [(100.0, 5.0)], [(100.1, 5.0)]))
    assert (fill.price, fill.age_ns, fill.time_ns) == (D("100.1"), 100 * MS, START + 200 * MS)


@pytest.mark.behaviour("O2")
def test_jitter_is_seeded_bounded_both_ways_and_depends_on_order_and_seed_alone() -> None:
    def arrivals(seed: int) -> list[int]:
        paper = PaperBroker(latency_ms=200, jitter_ms=20)
        paper.open({"BTCUSDT": BTC}, seed)
        # Of a strategy each: none waits for the one before it.
        return [send(paper, replace(order(oid=f"o-{n}"), strategy=str(n))) - START for n in range(300)]

    first = arrivals(7)
    assert first == arrivals(7)
    assert first != arrivals(8)
    assert 180 * MS <= min(first) < 183 * MS
    assert 217 * MS < max(first) <= 220 * MS


def test_orders_of_one_strategy_arrive_in_the_order_they_were_sent_and_others_do_not_wait() -> None:
    paper = broker(jitter_ms=100)
    arrivals = [send(paper, order(oid=f"o-{number}")) for number in range(50)]
    assert arrivals == sorted(arrivals)
    other = replace(order(oid="o-other"), strategy="other")
    assert send(paper, other) == send(broker(jitter_ms=100), order(oid="o-other"))


def test_jitter_never_takes_more_than_the_latency() -> None:
    paper = broker(latency_ms=0, jitter_ms=20)
    assert send(paper, order()) == START
    assert paper.describe(BTC)["latency"] == "0 ms ± 0 ms"


def test_the_way_of_market_data_to_the_strategy_is_added_to_all_it_sends() -> None:
    paper = broker(feed_ms=30, cancel_latency_ms=50)
    assert send(paper, order(limit="99")) == START + 230 * MS
    answer = paper.cancel("o-1", START + 1_000 * MS)
    assert answer == Accepted(START + 1_080 * MS)


@pytest.mark.behaviour("O1")
@given(latency=st.integers(0, 500), jitter=st.integers(0, 500), after=st.lists(st.integers(1, 2_000), max_size=8))
@settings(max_examples=60)
def test_no_fill_is_stamped_before_the_arrival_and_it_has_the_quote_in_force_or_the_first_one_after_it(
    latency: int, jitter: int, after: list[int]
) -> None:
    paper = broker(latency_ms=latency, jitter_ms=jitter)
    eligible_ns = send(paper, order())
    times = sorted(set(after))
    fills = [one for ms in times for one in paper.observe(quote(ms, 100.0 + ms, 100.1 + ms))]
    before = [ms for ms in times if START + ms * MS <= eligible_ns]
    behind = [ms for ms in times if START + ms * MS >= eligible_ns]
    if not behind:
        assert fills == []
        return
    met = before[-1] if before else behind[0]
    (fill,) = fills
    assert isinstance(fill, Fill)
    assert fill.price == D(repr(100.1 + met)).quantize(D("0.1"))
    assert fill.time_ns == max(eligible_ns, START + met * MS)


# -- expiry: no order is dropped silently ----------------------------------------------------------------------------


@pytest.mark.behaviour("O2", "O13")
def test_a_market_order_that_meets_no_fresh_quote_in_time_expires_with_the_figures() -> None:
    paper = broker(expire_ms=5_000)
    send(paper, order())
    ended = only_end(paper, quote(200 + 5_000.001))
    assert (ended.order_id, ended.outcome) == ("o-1", "expired")
    assert "within 5000 ms (expire_ms) of its arrival at 2023-11-14T22:13:20.200Z" in ended.reason
    assert not works(paper)


def test_a_quote_at_the_last_moment_still_fills_and_is_flagged_as_late() -> None:
    paper = broker(expire_ms=5_000)
    send(paper, order())
    assert only_fill(paper, quote(5_200)).age_ns == -5_000 * MS


@pytest.mark.behaviour("O13")
def test_a_timer_expires_a_market_order_that_no_quote_reaches() -> None:
    paper = broker(expire_ms=5_000)
    send(paper, order())
    assert paper.observe(timer(5_200)) == []
    assert works(paper)
    assert only_end(paper, timer(5_201)).outcome == "expired"
    assert not works(paper)


def test_a_market_order_that_filled_in_part_does_not_expire_with_its_rest() -> None:
    paper = broker(expire_ms=5_000)
    send(paper, order(quantity="3"))
    assert only_fill(paper, quote(200, ask_size=2.0)).quantity == 2
    assert paper.observe(timer(60_000)) == []
    assert only_fill(paper, quote(61_000, ask=101.0)).quantity == 1


def test_a_timer_leaves_limit_orders_stops_and_symbols_of_candles_alone() -> None:
    paper = broker()
    send(paper, order(limit="59"), order(oid="stop", stop="200"))
    assert paper.observe(timer(3_600_000)) == []
    candles_only = broker(latency_ms=0)
    send(candles_only, order(oid="first"))
    only_fill(candles_only, candle(0))
    send(candles_only, order(oid="second"), at_ms=60_000)
    assert candles_only.observe(timer(600_000)) == []
    assert works(candles_only, "second")


def test_a_market_order_sent_before_anything_was_known_does_not_expire_once_candles_come() -> None:
    paper = broker(expire_ms=5_000)
    send(paper, order())
    assert only_fill(paper, candle(0)).rule == "candle_open"


@pytest.mark.behaviour("O13")
def test_on_candles_a_market_order_expires_when_its_first_candle_closes_more_than_two_candles_late() -> None:
    in_time, late = broker(), broker()
    for paper in (in_time, late):
        send(paper, order())
    assert only_fill(in_time, candle(60_000 + 200)).rule == "candle_open"
    ended = only_end(late, candle(60_000 + 201))
    assert ended.outcome == "expired"
    assert "120001 ms after its arrival" in ended.reason
    assert "2 candles (120000 ms)" in ended.reason


def test_other_events_and_other_symbols_move_nothing() -> None:
    paper = broker()
    send(paper, order())
    strange = [
        Notice(START + MINUTE, "feed", {}), quote(300, symbol="NOSUCH"), quote(300, symbol="ETHUSDT"),
        depth(300, symbol="NOSUCH"), candle(0, symbol="NOSUCH"),
    ]  # fmt: skip
    for event in strange:
        assert list(paper.observe(event)) == []
    assert works(paper)


# -- what is not taken -----------------------------------------------------------------------------------------------


def test_an_unknown_symbol_a_working_id_and_a_lost_entry_are_rejected_with_the_reason() -> None:
    paper = broker()
    unknown = paper.submit(order(symbol="DOGEUSDT"), START)
    assert unknown == Rejected("the paper broker does not know 'DOGEUSDT'; it was opened with BTCUSDT, ETHUSDT")
    assert PaperBroker().submit(order(), START) == Rejected(
        "the paper broker does not know 'BTCUSDT'; it was opened with none"
    )
    send(paper, order())
    assert paper.submit(order(), START) == Rejected("an order with the id o-1 works already")
    orphan = order(oid="o-2", stop="90", parent="nobody")
    assert paper.submit(orphan, START) == Rejected("its entry nobody does not work")
    assert works(paper)
    assert not works(paper, "o-2")


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("limit", "limit"), ("stop", "stop"), ("stop_limit", "stop"), ("take_profit", "stop"), ("trailing_stop", "trail")],
)
def test_an_order_without_the_price_of_its_type_is_rejected(kind: str, missing: str) -> None:
    paper = broker()
    assert paper.submit(order(kind=OrderType(kind)), START) == Rejected(f"a {kind} order needs a {missing}")
    assert not works(paper)


def test_it_declares_every_type_and_never_takes_another_for_one_of_them() -> None:
    paper = broker()
    assert paper.order_types() == set(OrderType)
    strange = replace(order(limit="59"), type="iceberg")  # type: ignore[arg-type]
    assert paper.submit(strange, START) == Rejected(
        "the paper broker takes market, limit, stop, stop_limit, take_profit, trailing_stop orders, not iceberg"
    )
    assert not works(paper)


@pytest.mark.behaviour("O2")
def test_a_quote_that_comes_late_fills_no_order_before_it_arrived() -> None:
    """A timer says that the order, of 2, arrived at 200 ms; the rest of it does not meet a quote of 195 ms."""
    paper = broker()
    paper.observe(quote(0, ask_size=0.5))
    send(paper, order(quantity="2"))
    assert only_fill(paper, timer(300)).quantity == D("0.5")
    assert paper.observe(quote(195, 99.9, 100.0, ask_size=5.0)) == []
    fill = only_fill(paper, quote(310, 99.9, 100.1, ask_size=5.0))
    assert (fill.quantity, fill.time_ns) == (D("1.5"), START + 310 * MS)
