"""Time in force and post-only: what ends at its arrival, what ends at its time, and what never takes."""

import pytest
from lab import Ended, Fill, Side, TimeInForce
from lab_paper_broker.broker import PaperBroker
from paper import (
    BUY,
    SELL,
    D,
    at,
    brief,
    broker,
    candle,
    depth,
    only_end,
    only_fill,
    order,
    quote,
    seen,
    send,
    timer,
    trade,
    works,
)

IOC, FOK, GTD = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD
ASKS = depth(150, [(100.0, 9.0)], [(100.1, 9.0), (100.2, 1.5), (100.4, 4.0)])


def shown(paper: PaperBroker) -> PaperBroker:
    paper.observe(ASKS)
    return paper


# -- immediate or cancel ---------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("quantity", "limit", "expected"),
    [
        ("2", None, ["o-1 fill 2 @ 100.1"]),
        ("3", "100.1", ["o-1 fill 2 @ 100.1", "o-1 cancelled"]),
        ("3", "100.2", ["o-1 fill 2 @ 100.1", "o-1 fill 1 @ 100.2"]),
        ("9", None, ["o-1 fill 2 @ 100.1", "o-1 fill 1.5 @ 100.2", "o-1 fill 4 @ 100.4", "o-1 cancelled"]),
        ("1", "100", ["o-1 cancelled"]),
    ],
)
def test_of_an_immediate_order_what_does_not_fill_on_arrival_is_cancelled(
    quantity: str, limit: str | None, expected: list[str]
) -> None:
    paper = broker()
    send(paper, order(quantity=quantity, limit=limit, time_in_force=IOC))
    shown(paper)
    assert seen(paper, quote(250, ask_size=2.0)) == expected
    assert not works(paper)


def test_an_immediate_order_meets_the_quote_in_force_at_its_arrival_and_not_a_better_one_after_it() -> None:
    paper = broker()
    send(paper, order(limit="99", time_in_force=IOC))
    paper.observe(quote(150))
    ended = only_end(paper, quote(300, 98.0, 98.1))
    assert ended == Ended("o-1", "cancelled", "ioc: nothing more was displayed within its price")


def test_an_immediate_order_without_a_fresh_quote_ends_at_the_first_one() -> None:
    paper = broker()
    send(paper, order(limit="99", time_in_force=IOC))
    assert paper.observe(timer(10_000)) == []
    assert only_end(paper, quote(20_000)).outcome == "cancelled"


# -- fill or kill ----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("quantity", "limit", "expected"),
    [
        ("7.5", None, ["o-1 fill 2 @ 100.1", "o-1 fill 1.5 @ 100.2", "o-1 fill 4 @ 100.4"]),  # all there is
        ("7.5001", None, ["o-1 cancelled"]),
        ("3.5", "100.2", ["o-1 fill 2 @ 100.1", "o-1 fill 1.5 @ 100.2"]),
        ("3.5001", "100.2", ["o-1 cancelled"]),
        ("3.5001", "100.3", ["o-1 cancelled"]),
    ],
)
def test_a_fill_or_kill_order_fills_whole_or_not_at_all(quantity: str, limit: str | None, expected: list[str]) -> None:
    paper = broker()
    send(paper, order(quantity=quantity, limit=limit, time_in_force=FOK))
    shown(paper)
    assert seen(paper, quote(250, ask_size=2.0)) == expected
    assert not works(paper)


def test_what_others_took_is_not_there_for_a_fill_or_kill_order() -> None:
    paper = broker()
    send(paper, order(quantity="1"), order(quantity="2", oid="o-2", time_in_force=FOK))
    assert seen(paper, quote(250, ask_size=2.9)) == ["o-1 fill 1 @ 100.1", "o-2 cancelled"]
    sells = broker()
    send(sells, order(SELL, "1"), order(SELL, "2", limit="100", oid="o-2", time_in_force=FOK))
    assert seen(sells, quote(250, bid_size=3.0)) == ["o-1 fill 1 @ 100", "o-2 fill 2 @ 100"]


def test_a_fill_or_kill_limit_that_the_touch_does_not_reach_is_killed() -> None:
    paper = broker()
    send(paper, order(SELL, limit="100.1", time_in_force=FOK))
    assert only_end(paper, quote(250)).reason == "fok: nothing more was displayed within its price"


@pytest.mark.parametrize("time_in_force", [IOC, FOK])
@pytest.mark.parametrize("limit", [None, "101"])
def test_on_a_candle_an_immediate_order_takes_of_the_volume_at_the_open_and_ends(
    time_in_force: TimeInForce, limit: str | None
) -> None:
    paper = broker()
    send(paper, order(quantity="3", limit=limit, time_in_force=time_in_force))
    enough = ["o-1 fill 3 @ 100"]
    assert seen(paper, candle(0, volume=3.0)) == enough
    short = broker()
    send(short, order(quantity="3", limit=limit, time_in_force=time_in_force))
    part = ["o-1 fill 2 @ 100", "o-1 cancelled"] if time_in_force is IOC else ["o-1 cancelled"]
    assert seen(short, candle(0, volume=2.0)) == part
    assert not works(short)


def test_an_immediate_limit_does_not_wait_for_a_candle_to_trade_through_it() -> None:
    paper = broker()
    send(paper, order(limit="95", time_in_force=IOC))
    assert only_end(paper, candle(0)).reason == "ioc: nothing more was to be had within its price"


# -- good till date --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6")
def test_an_order_good_till_a_date_fills_before_it_and_expires_at_it() -> None:
    for event_ms, expected in ((999.999, ["o-1 fill 1 @ 99"]), (1_000, ["o-1 expired"])):
        paper = broker()
        send(paper, order(limit="99", time_in_force=GTD, expires_ns=at(1_000)))
        paper.observe(quote(250))
        assert seen(paper, quote(event_ms, 98.0, 98.1)) == expected
        assert not works(paper)


def test_an_expiry_says_the_time_and_needs_no_market_data() -> None:
    paper = broker()
    send(paper, order(limit="99", time_in_force=GTD, expires_ns=at(1_000)))
    assert paper.observe(timer(999)) == []
    assert only_end(paper, timer(1_000)) == Ended("o-1", "expired", "good till 2023-11-14T22:13:21Z")


def test_an_order_that_expires_on_its_way_never_meets_the_market() -> None:
    paper = broker()
    send(paper, order(time_in_force=GTD, expires_ns=at(100)))
    paper.observe(quote(50))
    assert seen(paper, quote(300)) == ["o-1 expired"]


def test_a_trade_at_the_time_of_expiry_does_not_fill() -> None:
    paper = broker()
    send(paper, order(limit="99", time_in_force=GTD, expires_ns=at(1_000)))
    paper.observe(quote(250, 98.0, 101.0))
    assert seen(paper, trade(1_000, 98.0, 9.0)) == ["o-1 expired"]


def test_of_a_candle_that_closes_at_the_expiry_or_later_nothing_counts() -> None:
    for expires_ms, expected in ((60_001, ["o-1 fill 1 @ 95"]), (60_000, ["o-1 expired"])):
        paper = broker()
        send(paper, order(limit="95", time_in_force=GTD, expires_ns=at(expires_ms)))
        assert seen(paper, candle(0)) == expected


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("terms", "candle_terms", "expected"),
    [
        ({}, {}, ["o-1 fill 1 @ 100"]),
        ({"quantity": "2"}, {"volume": 1.5}, ["o-1 fill 1.5 @ 100", "o-1 expired"]),
        ({"limit": "101"}, {}, ["o-1 fill 1 @ 100"]),
        ({"limit": "99"}, {}, ["o-1 expired"]),  # the low of 90 may have come later
        ({"stop": "99.5"}, {}, ["o-1 triggered", "o-1 fill 1 @ 100"]),
        ({"stop": "101"}, {}, ["o-1 expired"]),
    ],
)
def test_an_order_that_expires_inside_a_candle_meets_its_open_and_no_more(
    terms: dict[str, str], candle_terms: dict[str, float], expected: list[str]
) -> None:
    paper = broker()
    send(paper, order(time_in_force=GTD, expires_ns=at(30_000), **terms))  # type: ignore[arg-type]
    reports = paper.observe(candle(0, **candle_terms))
    assert brief(reports) == expected
    fills = [one for one in reports if isinstance(one, Fill)]
    assert all(one.time_ns == at(200) for one in fills)
    assert not works(paper)


@pytest.mark.parametrize(("opened", "expected"), [(94.0, ["o-1 fill 1 @ 95"]), (95.0, ["o-1 expired"])])
def test_a_limit_that_rests_and_expires_inside_a_candle_fills_where_that_opened_beyond_it(
    opened: float, expected: list[str]
) -> None:
    paper = broker()
    send(paper, order(limit="95", time_in_force=GTD, expires_ns=at(90_000)))
    assert paper.observe(candle(0, low=96.0)) == []
    reports = paper.observe(candle(60_000, opened))
    assert brief(reports) == expected
    assert [one.time_ns for one in reports if isinstance(one, Fill)] in ([], [at(60_000)])


def test_where_there_are_quotes_a_candle_gives_an_order_that_expires_inside_it_nothing() -> None:
    paper = broker()
    send(paper, order(limit="101", time_in_force=GTD, expires_ns=at(30_000)))
    paper.observe(quote(100, 102.0, 102.1))
    assert seen(paper, candle(0)) == ["o-1 expired"]


def test_the_candle_of_another_symbol_takes_no_open_from_an_order_that_expires_inside_it() -> None:
    for own_ms, expected in ((0, ["o-1 fill 1 @ 100"]), (60_000, ["o-1 expired"])):
        paper = broker()
        send(paper, order(time_in_force=GTD, expires_ns=at(30_000)))
        paper.observe(candle(-60_000))
        assert paper.observe(candle(0, symbol="ETHUSDT")) == []
        assert seen(paper, candle(own_ms)) == expected


def test_a_market_order_good_till_a_date_expires_by_whichever_comes_first() -> None:
    for expires_ms, said in ((900, "good till"), (90_000, "no fresh quote")):
        paper = broker(expire_ms=5_000)
        send(paper, order(time_in_force=GTD, expires_ns=at(expires_ms)))
        assert said in only_end(paper, timer(80_000)).reason


# -- post-only -------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6")
@pytest.mark.parametrize(
    ("side", "takes", "rests"), [(BUY, ("100.1", "100.2", "500"), "100"), (SELL, ("100", "99.9", "1"), "100.1")]
)
def test_a_post_only_order_that_would_take_is_rejected_and_one_that_would_not_rests(
    side: Side, takes: tuple[str, ...], rests: str
) -> None:
    touch = "100.1" if side is BUY else "100.0"
    for limit in takes:
        paper = broker()
        send(paper, order(side, limit=limit, post_only=True))
        ended = only_end(paper, quote(250))
        assert (ended.outcome, ended.reason) == ("rejected", f"post_only: it would take at {touch}")
        assert not works(paper)
    paper = broker()
    send(paper, order(side, limit=rests, post_only=True))
    assert paper.observe(quote(250)) == []
    fill = only_fill(paper, quote(300, 100.1, 100.2) if side is SELL else quote(300, 99.9, 100.0))
    assert (fill.liquidity, fill.price) == ("maker", D(rests))


def test_a_post_only_order_is_judged_by_the_quote_in_force_at_its_arrival() -> None:
    paper = broker()
    send(paper, order(limit="100.1", post_only=True))
    paper.observe(quote(150))
    assert only_end(paper, quote(300, 101.0, 101.1)).outcome == "rejected"


def test_on_candles_a_post_only_order_marketable_at_the_open_is_rejected_and_another_makes() -> None:
    paper = broker()
    send(paper, order(limit="100", post_only=True), order(limit="99.9", post_only=True, oid="o-2"))
    ended, fill = paper.observe(candle(0))
    assert isinstance(ended, Ended)
    assert (ended.outcome, ended.reason) == ("rejected", "post_only: it would take at 100.0")
    assert isinstance(fill, Fill)
    assert (fill.liquidity, fill.price) == ("maker", D("99.9"))
    close = broker()
    send(close, order(SELL, limit="105", post_only=True))
    assert only_end(close, candle(-1)).reason == "post_only: it would take at 105.0"
