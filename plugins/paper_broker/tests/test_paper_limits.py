"""Resting limit orders on quotes, depth and trades: the touch, the queue, and trades at and through the limit."""

import pytest
from lab import Fill, Side
from lab.domain.inputs import Input
from lab_paper_broker.broker import PaperBroker
from paper import BUY, SELL, D, broker, depth, only_fill, order, quote, seen, send, trade, works

AT_BID = quote(200, 100.0, 100.1, 4.0, 4.0)
"""4 are displayed at 100.0, where the bid rests, and 4 at 100.1."""


def rested(paper: PaperBroker, *events: Input, quantity: str = "1", limit: str = "100", side: Side = BUY) -> None:
    send(paper, order(side, quantity, limit=limit))
    for event in events:
        assert paper.observe(event) == []


@pytest.mark.parametrize(("side", "limit", "price"), [(BUY, "110", "100.1"), (SELL, "90", "100.0")])
def test_a_limit_marketable_on_its_first_fresh_quote_takes_the_touch(side: Side, limit: str, price: str) -> None:
    paper = broker()
    send(paper, order(side, limit=limit))
    fill = only_fill(paper, quote(250))
    assert (fill.price, fill.liquidity, fill.rule) == (D(price), "taker", "quote")


@pytest.mark.parametrize(
    ("side", "limit", "near", "through"),
    [
        (BUY, "99.0", (98.6, 99.1), (98.0, 99.0)),
        (SELL, "101.0", (100.9, 101.4), (101.0, 102.0)),
    ],
)
def test_a_resting_limit_fills_as_maker_at_its_limit_when_the_opposite_touch_reaches_it(
    side: Side, limit: str, near: tuple[float, float], through: tuple[float, float]
) -> None:
    paper = broker()
    rested(paper, quote(250), quote(300, *near), limit=limit, side=side)
    fill = only_fill(paper, quote(400, *through))
    assert (fill.price, fill.reference, fill.liquidity) == (D(limit), D(limit), "maker")
    assert (fill.rule, fill.fee_rate, fill.slippage) == ("limit_touched", D("0.0002"), D(0))
    assert fill.spread == D(repr(through[1])) - D(repr(through[0]))


def test_a_resting_limit_that_the_market_jumps_past_gets_its_limit_and_nothing_better() -> None:
    paper = broker()
    rested(paper, quote(250), limit="99")
    assert only_fill(paper, quote(300, 50.0, 50.1)).price == 99


@pytest.mark.behaviour("O5")
def test_a_resting_limit_takes_no_more_of_the_touch_that_reached_it_than_is_displayed_once() -> None:
    paper = broker()
    rested(paper, quote(250), quantity="5", limit="99")
    assert seen(paper, quote(300, 98.0, 98.9, 1.0, 2.0)) == ["o-1 fill 2 @ 99"]
    assert seen(paper, quote(350, 98.0, 98.9, 1.0, 2.0)) == []
    assert seen(paper, quote(400, 98.0, 98.8, 1.0, 9.0)) == ["o-1 fill 3 @ 99"]


def test_a_limit_order_does_not_expire() -> None:
    paper = broker()
    send(paper, order(limit="110"))
    assert only_fill(paper, quote(3_600_000)).rule == "quote"


# -- trades and the queue --------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O16")
def test_trades_at_the_limit_shorten_the_queue_first_and_what_is_over_fills_the_order() -> None:
    paper = broker()
    rested(paper, AT_BID, trade(300, 100.0, 3.0))  # 4 were ahead: 1 is left
    fill = only_fill(paper, trade(310, 100.0, 1.4))  # 1 to the queue, 0.4 to the order
    assert (fill.quantity, fill.price, fill.rule, fill.liquidity) == (D("0.4"), D(100), "limit_traded", "maker")
    assert (fill.displayed, fill.queue, fill.spread) == (D("1.4"), D(4), None)
    assert only_fill(paper, trade(320, 100.0, 50.0)).quantity == D("0.6")
    assert not works(paper)


def test_a_trade_that_ends_with_the_queue_fills_nothing_and_one_below_the_lot_neither() -> None:
    paper = broker()
    rested(paper, AT_BID, trade(300, 100.0, 4.0), trade(310, 100.0, 0.00009))
    assert only_fill(paper, trade(320, 100.0, 0.5)).quantity == D("0.5")


@pytest.mark.parametrize(("side", "limit", "beyond"), [(BUY, "100", 99.9), (SELL, "100.1", 100.2)])
def test_a_trade_through_the_limit_says_that_the_queue_is_gone(side: Side, limit: str, beyond: float) -> None:
    paper = broker()
    taker = SELL if side is BUY else BUY
    rested(paper, AT_BID, quantity="2", limit=limit, side=side)
    fill = only_fill(paper, trade(300, beyond, 0.5, taker))
    assert (fill.quantity, fill.price) == (D("0.5"), D(limit))
    assert only_fill(paper, trade(310, float(limit), 9.0, taker)).quantity == D("1.5")  # nobody is ahead


def test_trades_that_cannot_have_met_the_order_do_nothing() -> None:
    paper = broker()
    rested(
        paper,
        AT_BID,
        trade(300, 100.0, 99.0, BUY),  # the taker bought: it met an ask
        trade(310, 100.1, 99.0),  # above the bid
        trade(320, 100.0, 99.0, symbol="ETHUSDT"),
    )
    assert only_fill(paper, trade(330, 100.0, 5.0)).quantity == 1


def test_a_trade_before_the_order_rests_does_nothing() -> None:
    paper = broker()
    rested(paper, quote(100), trade(150, 99.0, 50.0), trade(201, 99.0, 0.00001))
    assert only_fill(paper, trade(202, 99.9, 9.0)).quantity == 1


def test_one_trade_is_shared_by_the_orders_it_reaches_in_their_order() -> None:
    paper = broker()
    send(paper, order(limit="100", oid="o-1"), order(limit="100", oid="o-2"), order(limit="99.9", oid="o-3"))
    paper.observe(quote(200, 100.0, 100.1, 1.0, 1.0))
    # 1 stands ahead of both; 1.5 is over: 1 for the first, 0.5 for the second, and 99.9 was not reached
    assert seen(paper, trade(300, 100.0, 2.5)) == ["o-1 fill 1 @ 100", "o-2 fill 0.5 @ 100"]


@pytest.mark.behaviour("O16")
def test_the_queue_is_shortened_to_what_is_displayed_and_never_grows() -> None:
    paper = broker()
    shrinks, grows = quote(300, 100.0, 100.1, 1.5, 4.0), quote(350, 100.0, 100.1, 9.0, 4.0)
    rested(paper, AT_BID, shrinks, grows)
    fill = only_fill(paper, trade(400, 100.0, 2.0))  # 1.5 ahead
    assert (fill.quantity, fill.queue) == (D("0.5"), D(4))


def test_the_queue_stays_where_the_touch_is_elsewhere_or_its_size_is_not_known() -> None:
    paper = broker()
    rested(paper, AT_BID, quote(300, 100.05, 100.1, 0.1), quote(350, 100.0, 100.1, 0.0, 4.0), trade(360, 100.0, 4.0))
    assert only_fill(paper, trade(400, 100.0, 0.2)).quantity == D("0.2")


def test_nobody_is_ahead_of_an_order_inside_the_spread() -> None:
    paper = broker()
    rested(paper, quote(200, 99.0, 101.0))
    assert only_fill(paper, trade(300, 100.0, 0.3)).quantity == D("0.3")


def test_with_depth_the_queue_of_a_deeper_level_is_known_and_between_levels_there_is_none() -> None:
    for limit, ahead in (("99.9", "1.5"), ("99.8", "0")):
        paper = broker()
        paper.submit(order(oid="other", limit="1"), 0)
        paper.observe(depth(150, [(100.0, 99.0), (99.9, 1.5), (99.5, 4.0)], [(100.1, 9.0)]))
        rested(paper, quote(200), limit=limit)
        fill = only_fill(paper, trade(300, float(limit), 2.0))
        assert (fill.quantity, fill.queue) == (min(D(2) - D(ahead), D(1)), D(ahead))


@pytest.mark.parametrize(("side", "limit", "taker"), [(BUY, "99.5", SELL), (SELL, "100.6", BUY)])
def test_behind_the_last_level_nobody_knows_the_queue_until_it_is_displayed(
    side: Side, limit: str, taker: Side
) -> None:
    paper = broker()
    level = float(limit)
    there = (level, level + 0.1) if side is BUY else (level - 0.1, level)
    rested(
        paper,
        AT_BID,
        trade(300, level, 99.0, taker),  # who was ahead got it, for all that is known
        quote(310, *there, 0.0, 0.0),
        trade(320, level, 99.0, taker),
        quote(330, *there, 2.0, 2.0),  # 2 are ahead
        limit=limit,
        side=side,
    )
    fill = only_fill(paper, trade(340, level, 2.3, taker))
    assert (fill.quantity, fill.queue) == (D("0.3"), D(2))


def test_a_trade_through_a_level_that_was_never_displayed_fills_all_the_same() -> None:
    paper = broker()
    rested(paper, AT_BID, limit="99.5")
    fill = only_fill(paper, trade(300, 99.4, 0.3))
    assert (fill.quantity, fill.queue) == (D("0.3"), None)
    assert only_fill(paper, trade(310, 99.5, 0.2)).quantity == D("0.2")


def test_what_is_left_of_a_marketable_limit_rests_with_nobody_ahead() -> None:
    paper = broker()
    send(paper, order(quantity="5", limit="100.1"))
    assert seen(paper, AT_BID) == ["o-1 fill 4 @ 100.1"]
    assert paper.observe(quote(300, 100.0, 100.3)) == []
    fill = only_fill(paper, trade(310, 100.1, 0.4))
    assert isinstance(fill, Fill)
    assert (fill.quantity, fill.liquidity) == (D("0.4"), "maker")


def test_a_late_trade_of_before_the_order_arrived_fills_nothing() -> None:
    paper = broker()
    send(paper, order(BUY, limit="100"))
    paper.observe(quote(250, 99.0, 101.0))
    assert paper.observe(trade(199, 99.0, 5.0)) == []
    assert seen(paper, trade(300, 99.0, 5.0)) == ["o-1 fill 1 @ 100"]
