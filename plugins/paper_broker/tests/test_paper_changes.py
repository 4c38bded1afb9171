"""Cancels and amendments: their way to the venue, and the races they win and lose."""

import pytest
from lab import Accepted, Amended, Ended, Fill, Order, Rejected
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace
from paper import (
    BUY,
    SELL,
    START,
    D,
    at,
    brief,
    broker,
    candle,
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


def resting(paper: PaperBroker, **more: object) -> Order:
    """Return an order to buy 2 at 99 that rests since 250 ms."""
    one = order(BUY, "2", limit="99", **more)  # type: ignore[arg-type]
    send(paper, one)
    assert paper.observe(quote(250)) == []
    return one


def amended(paper: PaperBroker, one: Order, at_ms: float, **changes: str) -> Accepted | Rejected:
    return paper.amend(replace(one, **{name: D(value) for name, value in changes.items()}), at(at_ms))


# -- cancels ---------------------------------------------------------------------------------------------------------


def test_a_cancel_without_latency_forgets_a_working_order_once_and_says_no_more() -> None:
    paper = broker()
    resting(paper)
    assert paper.cancel("o-1", at(300)) == Accepted(at(300))
    assert paper.cancel("o-1", at(300)) == Rejected("no order o-1 works")
    assert not works(paper)
    assert paper.observe(quote(400, 58.0, 58.5)) == []


@pytest.mark.behaviour("O16")
def test_a_cancel_on_its_way_loses_the_race_against_a_fill_and_wins_it_against_a_later_one() -> None:
    lost = broker(cancel_latency_ms=100)
    resting(lost)
    assert lost.cancel("o-1", at(300)) == Accepted(at(400))
    assert seen(lost, quote(400, 98.0, 98.1)) == ["o-1 fill 2 @ 99"]  # as it arrives: the fill comes first
    assert lost.observe(timer(500)) == []
    won = broker(cancel_latency_ms=100)
    resting(won)
    won.cancel("o-1", at(300))
    assert won.observe(timer(400)) == []
    assert won.observe(quote(400.001, 98.0, 98.1)) == [Ended("o-1", "cancelled", "the cancel arrived")]
    assert not works(won)


def test_of_two_cancels_the_one_that_arrived_before_the_fill_wins_and_the_one_that_arrives_with_it_loses() -> None:
    paper = broker(cancel_latency_ms=100)
    send(paper, order(oid="a", limit="99"), order(oid="b", limit="99"))
    paper.observe(quote(250))
    paper.cancel("a", at(299))
    paper.cancel("b", at(300))
    assert seen(paper, quote(400, 98.0, 98.1)) == ["a cancelled", "b fill 1 @ 99"]


def test_a_cancel_that_loses_in_part_takes_the_rest_back() -> None:
    paper = broker(cancel_latency_ms=100)
    resting(paper)
    paper.cancel("o-1", at(300))
    assert seen(paper, quote(350, 98.0, 98.1, ask_size=0.5)) == ["o-1 fill 0.5 @ 99"]
    assert seen(paper, quote(450, 98.0, 98.0)) == ["o-1 cancelled"]


def test_a_cancel_never_arrives_before_its_order_which_may_fill_on_arrival() -> None:
    paper = broker()  # 200 ms for the order, none for the cancel
    send(paper, order())
    paper.observe(quote(50))
    assert paper.cancel("o-1", at(60)) == Accepted(at(200))
    assert seen(paper, timer(300)) == ["o-1 fill 1 @ 100.1"]
    none = broker()
    send(none, order())
    none.cancel("o-1", at(60))
    assert seen(none, timer(300)) == ["o-1 cancelled"]


def test_a_second_cancel_of_an_order_that_ended_by_the_first_does_nothing() -> None:
    paper = broker(cancel_latency_ms=100)
    resting(paper)
    for sent_ms in (300, 310):
        assert isinstance(paper.cancel("o-1", at(sent_ms)), Accepted)
    assert seen(paper, timer(500)) == ["o-1 cancelled"]


def test_a_cancel_arrives_before_a_candle_that_closes_after_it() -> None:
    paper = broker(cancel_latency_ms=100)
    send(paper, order(limit="95"))
    paper.observe(candle(0, low=99.0))
    paper.cancel("o-1", at(60_000))
    assert only_end(paper, candle(60_000)).outcome == "cancelled"


def test_forgetting_an_order_ends_it_at_once_and_an_unknown_one_is_ignored() -> None:
    paper = broker(cancel_latency_ms=100)
    resting(paper)
    paper.cancel("o-1", at(300))
    paper.forget("o-1")
    paper.forget("nobody")
    assert not works(paper)
    assert paper.observe(timer(500)) == []


# -- amendments ------------------------------------------------------------------------------------------------------


def test_an_amendment_of_an_unknown_order_is_rejected() -> None:
    paper = broker()
    assert paper.amend(order(limit="99"), START) == Rejected("no order o-1 works")


@pytest.mark.behaviour("O16")
def test_an_amendment_without_latency_is_in_force_at_once_and_not_reported() -> None:
    paper = broker()
    one = resting(paper)
    assert amended(paper, one, 300, limit="98", quantity="3") == Accepted(at(300))
    assert paper.observe(quote(350, 98.4, 98.5)) == []
    assert seen(paper, quote(400, 97.9, 98.0)) == ["o-1 fill 3 @ 98"]


@pytest.mark.behaviour("O16")
def test_an_amendment_on_its_way_is_reported_when_it_arrives_and_the_old_figures_fill_until_then() -> None:
    paper = broker(cancel_latency_ms=100)
    one = resting(paper)
    assert amended(paper, one, 300, limit="98", quantity="3") == Accepted(at(400))
    assert seen(paper, quote(400, 98.0, 98.9, ask_size=0.5)) == ["o-1 fill 0.5 @ 99"]
    assert paper.observe(quote(450, 98.0, 98.9)) == [
        Amended("o-1", D(3), D(98), None, "the amendment arrived"),
    ]
    assert seen(paper, quote(500, 97.9, 98.0)) == ["o-1 fill 2.5 @ 98"]


def test_an_amendment_loses_the_race_against_a_fill_of_all_it_would_leave() -> None:
    paper = broker(cancel_latency_ms=100)
    one = resting(paper)
    amended(paper, one, 300, quantity="1")
    assert seen(paper, quote(350, 98.0, 98.9, ask_size=1.0)) == ["o-1 fill 1 @ 99"]
    assert paper.observe(timer(450)) == [Ended("o-1", "cancelled", "amended to no more than had filled")]
    whole = broker(cancel_latency_ms=100)
    amended(whole, resting(whole), 300, quantity="1")
    assert seen(whole, quote(350, 98.0, 98.9)) == ["o-1 fill 2 @ 99"]
    assert whole.observe(timer(450)) == []


def test_an_amended_limit_that_is_marketable_takes_the_book_in_force_when_it_arrives() -> None:
    for latency_ms, at_ms in ((0, 300), (100, 400)):
        paper = broker(cancel_latency_ms=latency_ms)
        amended(paper, resting(paper), 300, limit="101")
        fill = next(one for one in paper.observe(quote(500, 90.0, 90.1)) if isinstance(one, Fill))
        assert fill.time_ns == at(at_ms)
        assert (fill.price, fill.liquidity) == (D("100.1"), "taker")
        assert fill.age_ns == at(at_ms) - at(250)


def test_an_amended_post_only_order_that_would_take_is_rejected_when_it_arrives() -> None:
    paper = broker(cancel_latency_ms=100)
    amended(paper, resting(paper, post_only=True), 300, limit="101")
    assert seen(paper, quote(500, 101.0, 101.1)) == ["o-1 amended 2", "o-1 rejected"]


def test_an_amended_limit_waits_for_the_next_quote_where_the_one_in_force_is_stale() -> None:
    paper = broker()
    amended(paper, resting(paper), 6_000, limit="101")
    assert only_fill(paper, quote(7_000, 90.0, 90.1)).price == D("90.1")


def test_an_amended_stop_is_triggered_by_the_book_in_force_when_it_arrives() -> None:
    paper = broker(cancel_latency_ms=100)
    stop = order(SELL, stop="95")
    send(paper, stop)
    paper.observe(quote(250))
    amended(paper, stop, 300, stop="100.5")
    assert seen(paper, quote(500, 110.0, 110.1)) == ["o-1 amended 1", "o-1 triggered", "o-1 fill 1 @ 100"]


def test_an_amendment_sent_before_the_order_arrived_counts_behind_its_arrival() -> None:
    paper = broker()
    one = order(BUY, "2", limit="99")
    send(paper, one)
    paper.observe(quote(50))
    assert amended(paper, one, 60, limit="98") == Accepted(at(200))
    assert seen(paper, quote(300, 98.4, 98.5)) == ["o-1 amended 2"]
    assert seen(paper, quote(310, 97.0, 97.1)) == ["o-1 fill 2 @ 98"]


def test_changes_that_arrive_at_one_time_act_in_the_order_in_which_they_were_sent() -> None:
    paper, one, other = broker(), order(BUY, "2", limit="99"), order(oid="o-2", limit="50")
    send(paper, other, one)
    paper.observe(quote(50))
    assert amended(paper, one, 60, limit="98") == Accepted(at(200))
    assert paper.observe(quote(200)) == []  # as it arrives: what happens at that time comes first
    assert amended(paper, one, 200, limit="97") == Accepted(at(200) + 1)
    assert paper.cancel("o-2", at(200)) == Accepted(at(200) + 1)
    assert seen(paper, quote(300, 97.4, 97.5)) == ["o-1 amended 2", "o-1 amended 2", "o-2 cancelled"]
    assert seen(paper, quote(310, 96.0, 96.5)) == ["o-1 fill 2 @ 97"]


@pytest.mark.parametrize(
    ("changes", "ahead"),
    [
        ({"quantity": "1"}, "4"),
        ({"quantity": "3"}, "9"),
        ({"limit": "99.1"}, "0"),
        ({"quantity": "2", "limit": "99"}, "4"),
    ],
)
def test_another_price_or_a_larger_quantity_loses_the_place_in_the_queue_and_a_smaller_one_keeps_it(
    changes: dict[str, str], ahead: str
) -> None:
    paper = broker()
    one = order(BUY, "2", limit="99")
    send(paper, one)
    paper.observe(quote(250, 99.0, 99.5, 4.0))
    amended(paper, one, 260, **changes)
    paper.observe(quote(300, 99.0, 99.5, 9.0))
    fill = only_fill(paper, trade(400, float(changes.get("limit", 99)), float(ahead) + 0.25))
    assert (fill.quantity, fill.queue) == (D("0.25"), D(ahead))


def test_a_trailing_stop_keeps_its_level_over_an_amended_quantity() -> None:
    paper = broker()
    one = order(SELL, "2", trail="1")
    send(paper, one)
    paper.observe(quote(250))
    amended(paper, one, 300, quantity="1")
    assert seen(paper, quote(350, 99.0, 99.1)) == ["o-1 triggered", "o-1 fill 1 @ 99"]


def test_an_amendment_that_arrives_between_two_candles_counts_for_the_second() -> None:
    paper = broker(cancel_latency_ms=100)
    one = order(limit="95")
    send(paper, one)
    paper.observe(candle(0, low=99.0))
    amended(paper, one, 60_000, limit="93")
    assert brief(paper.observe(candle(60_000))) == ["o-1 amended 1", "o-1 fill 1 @ 93"]


@pytest.mark.behaviour("O16")
def test_an_amended_price_does_not_meet_what_a_candle_did_before_it_arrived() -> None:
    """It arrives inside the second candle, whose open and low lie beyond it; only its close counts."""
    paper = broker(cancel_latency_ms=90_000)
    limit, stop = order(limit="80"), order(SELL, oid="o-2", stop="80")
    send(paper, limit, stop)
    paper.observe(candle(0))
    amended(paper, limit, 60_000, limit="95")
    amended(paper, stop, 60_000, stop="100")
    assert brief(paper.observe(candle(60_000, 98.0))) == []
    assert brief(paper.observe(candle(120_000, 94.0, low=90.0, close=105.0))) == ["o-1 amended 1", "o-2 amended 1"]
    assert brief(paper.observe(candle(180_000))) == ["o-2 triggered", "o-2 fill 1 @ 100", "o-1 fill 1 @ 95"]


@pytest.mark.behaviour("O16")
@pytest.mark.parametrize("latency_ms", [0, 200])
def test_an_amendment_decided_at_a_close_counts_from_the_next_open(latency_ms: int) -> None:
    paper = broker(cancel_latency_ms=latency_ms)
    one = order(limit="80")
    send(paper, one)
    paper.observe(candle(0))
    amended(paper, one, 60_000, limit="95")
    seen_now = [one for one in brief(paper.observe(candle(60_000, 94.0))) if "amended" not in one]
    assert seen_now == ["o-1 fill 1 @ 94"]


def test_an_amended_post_only_order_that_had_filled_in_part_is_cancelled_where_it_would_take() -> None:
    paper = broker()
    one = resting(paper, post_only=True)
    assert seen(paper, quote(300, 98.0, 99.0, ask_size=0.5)) == ["o-1 fill 0.5 @ 99"]
    amended(paper, one, 310, limit="101")
    assert seen(paper, quote(350)) == ["o-1 cancelled"]
