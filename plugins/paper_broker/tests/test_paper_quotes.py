"""Market and marketable orders on quotes and depth: level by level, and what is displayed only once."""

import pytest
from lab import Fill, Quote, Side
from lab_paper_broker.book import HIDDEN_COUNTS_NS, DisplayedBook
from lab_paper_broker.broker import PaperBroker
from paper import BUY, MS, SELL, START, D, brief, broker, depth, only_fill, order, quote, seen, send, works

ASKS = [(100.1, 99.0), (100.2, 1.5), (100.4, 4.0)]
BIDS = [(100.0, 99.0), (99.9, 1.5), (99.5, 4.0)]


@pytest.mark.behaviour("O3")
@pytest.mark.parametrize(("side", "price"), [(BUY, "100.1"), (SELL, "100.0")])
def test_a_market_buy_pays_the_ask_and_a_sell_gets_the_bid_and_the_fill_says_how(side: Side, price: str) -> None:
    paper = broker()
    send(paper, order(side, "0.5"))
    fill = only_fill(paper, quote(250, 100.0, 100.1, 7.0, 7.0))
    assert fill == Fill(
        order_id="o-1",
        quantity=D("0.5"),
        price=D(price),
        fee=D(price) * D("0.5") * D("0.0006"),
        fee_rate=D("0.0006"),
        liquidity="taker",
        rule="quote",
        reference=D(price),
        spread=D("0.1"),
        slippage=D(0),
        time_ns=START + 250 * MS,
        age_ns=-50 * MS,
        displayed=D(7),
    )


@pytest.mark.behaviour("O5", "O16")
@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (BUY, ["o-1 fill 2 @ 100.1", "o-1 fill 1.5 @ 100.2", "o-1 fill 0.7 @ 100.4"]),
        (SELL, ["o-1 fill 2 @ 100", "o-1 fill 1.5 @ 99.9", "o-1 fill 0.7 @ 99.5"]),
    ],
)
def test_a_market_order_takes_level_by_level_the_touch_of_the_quote_first(side: Side, expected: list[str]) -> None:
    # 4.2 = 2 at the quote's touch (its size counts, not the depth's 99), 1.5 behind it, 0.7 of the 4 behind that
    paper = broker()
    send(paper, order(side, "4.2"))
    paper.observe(depth(150, BIDS, ASKS))
    fills = paper.observe(quote(250, bid_size=2.0, ask_size=2.0))
    assert brief(fills) == expected
    assert [one.displayed for one in fills] == [D(2), D("1.5"), D(4)]  # type: ignore[union-attr]


def test_what_no_level_gives_works_on_and_meets_the_next_quote() -> None:
    paper = broker()
    send(paper, order(quantity="10"))
    paper.observe(depth(150, BIDS, ASKS))
    assert seen(paper, quote(250, ask_size=2.0)) == ["o-1 fill 2 @ 100.1", "o-1 fill 1.5 @ 100.2", "o-1 fill 4 @ 100.4"]
    assert works(paper)
    # 2.5 are left; 100.1 is used up, and a depth is no new liquidity where it displays the same
    assert seen(paper, depth(300, BIDS, ASKS)) == []
    assert seen(paper, quote(350, ask=100.3, ask_size=0.5)) == ["o-1 fill 0.5 @ 100.3"]
    assert seen(paper, quote(400, ask=100.3, ask_size=9.0)) == ["o-1 fill 2 @ 100.3"]
    assert not works(paper)


def test_a_marketable_limit_takes_the_levels_within_its_limit_and_rests_with_what_is_left() -> None:
    for side, limit, expected in (
        (BUY, "100.2", ["o-1 fill 2 @ 100.1", "o-1 fill 1.5 @ 100.2"]),
        (SELL, "99.9", ["o-1 fill 2 @ 100", "o-1 fill 1.5 @ 99.9"]),
    ):
        paper = broker()
        send(paper, order(side, "10", limit=limit))
        paper.observe(depth(150, BIDS, ASKS))
        assert seen(paper, quote(250, bid_size=2.0, ask_size=2.0)) == expected
        assert works(paper)


def test_levels_of_a_depth_more_than_a_second_older_than_the_quote_are_not_there() -> None:
    for quote_ms, count in ((1_150, 3), (1_151, 1)):
        paper = broker()
        send(paper, order(quantity="4.2"))
        paper.observe(depth(150, BIDS, ASKS))
        assert len(paper.observe(quote(quote_ms, ask_size=2.0))) == count


def test_a_depth_newer_than_the_quote_that_shows_a_worse_touch_takes_the_old_touch_away() -> None:
    for side, levels, price in (
        (BUY, depth(300, [(100.0, 1.0)], [(100.6, 5.0)]), "100.6"),
        (SELL, depth(300, [(99.6, 5.0)], [(100.7, 1.0)]), "99.6"),
    ):
        paper = broker()
        send(paper, order(side, oid="o-0", limit="1" if side is BUY else "999"))
        paper.observe(quote(250))
        send(paper, order(side), at_ms=250)
        paper.observe(levels)
        (fill,) = paper.observe(quote(600))
        assert fill.price == D(price)  # type: ignore[union-attr]


# -- once ------------------------------------------------------------------------------------------------------------


def bought(paper: PaperBroker, number: int, quantity: str, at_ms: float, side: Side = BUY) -> None:
    send(paper, order(side, quantity, oid=f"o-{number}"), at_ms=at_ms)


@pytest.mark.behaviour("O5", "O16")
@pytest.mark.parametrize("side", list(Side))
def test_what_an_order_took_is_gone_for_the_next_while_the_level_stands(side: Side) -> None:
    paper = broker(latency_ms=0)
    bought(paper, 1, "3", 0, side)
    bought(paper, 2, "3", 0, side)
    first = paper.observe(quote(100, bid_size=5.0, ask_size=5.0))
    assert [one.quantity for one in first] == [3, 2]  # type: ignore[union-attr] - 5 are displayed
    assert paper.observe(quote(200, bid_size=5.0, ask_size=5.0)) == []
    more = only_fill(paper, quote(300, bid_size=5.4, ask_size=5.4))
    assert (more.quantity, more.displayed) == (D("0.4"), D("0.4"))  # refilled by 0.4
    assert paper.observe(quote(400, bid_size=1.0, ask_size=1.0)) == []


@pytest.mark.parametrize(
    ("second", "given"),
    [
        (quote(200, ask_size=5.0), "3"),  # as before: 5 - 2
        (quote(200, ask_size=6.0), "4"),  # 1 more came
        (quote(200, ask_size=4.0), "3"),  # 1 left: not more than is displayed, and 3 were untouched
        (quote(200, ask_size=1.5), "1.5"),  # no more than it shows
        (quote(200, ask=100.2, ask_size=5.0), "5"),  # another level
    ],
)
def test_a_level_that_was_taken_of_gives_what_its_new_size_says(second: Quote, given: str) -> None:
    paper = broker(latency_ms=0)
    bought(paper, 1, "2", 0)
    assert only_fill(paper, quote(100, ask_size=5.0)).quantity == 2
    bought(paper, 2, "50", 200)
    assert only_fill(paper, second).quantity == D(given)


def test_a_level_that_the_market_passed_is_new_when_it_comes_back() -> None:
    paper = broker(latency_ms=0)
    bought(paper, 1, "5", 0)
    only_fill(paper, quote(100, ask=100.1, ask_size=5.0))
    paper.observe(quote(200, ask=100.5))  # 100.1 was bought up
    bought(paper, 2, "9", 250)
    assert seen(paper, quote(300, ask=100.1, ask_size=5.0)) == ["o-2 fill 9 @ 100.5"]
    paper.observe(quote(310, ask=100.5))
    paper.observe(quote(320, ask=100.1, ask_size=5.0))
    bought(paper, 3, "9", 330)
    assert seen(paper, quote(340, ask=100.1, ask_size=5.0)) == ["o-3 fill 5 @ 100.1"]


@pytest.mark.parametrize("side", list(Side))
def test_a_level_that_better_prices_hide_is_not_new_when_it_shows_again(side: Side) -> None:
    paper = broker(latency_ms=0)
    bought(paper, 1, "5", 0, side)
    level = quote(100, bid_size=5.0, ask_size=5.0)
    assert only_fill(paper, level).quantity == 5
    send(paper, order(side, oid="far", limit="1" if side is BUY else "999"), at_ms=100)
    paper.observe(quote(200, bid=100.0 if side is BUY else 100.05, ask=100.05 if side is BUY else 100.1))
    bought(paper, 2, "5", 250, side)
    hidden = [one for one in paper.observe(level._replace(time_ns=START + 300 * MS)) if one.order_id == "o-2"]
    assert sum(one.quantity for one in hidden) == 5  # type: ignore[union-attr] - all of the better price
    bought(paper, 3, "1", 310, side)
    assert paper.observe(level._replace(time_ns=START + 350 * MS)) == []
    late_ns = START + 350 * MS
    better = quote(0, bid=100.0 if side is BUY else 100.05, ask=100.05 if side is BUY else 100.1, bid_size=0.00001,
                   ask_size=0.00001)  # fmt: skip
    paper.observe(better._replace(time_ns=late_ns + 1))
    found = only_fill(paper, level._replace(time_ns=late_ns + HIDDEN_COUNTS_NS + 2))
    assert found.order_id == "o-3"  # hidden for too long: a new one


@pytest.mark.parametrize(("hidden_ms", "left"), [(9_999, 2), (10_001, 5)])
def test_with_depth_too_a_level_that_was_hidden_for_more_than_ten_seconds_is_new_when_it_shows(
    hidden_ms: float, left: int
) -> None:
    book = DisplayedBook(False)
    for ask, at_ms in ((100.5, 0.0), (100.1, 100.0), (100.5, 100.0 + hidden_ms)):
        book.show(quote(at_ms, ask=ask, ask_size=5.0), depth(at_ms, asks=[(ask, 5.0)]))
        if not at_ms:
            book.take(100.5, 5.0, True, D(3))
    assert book.left(100.5, 5.0, True) == left


def test_with_depth_a_level_behind_the_touch_is_seen_to_go_and_behind_the_last_level_nobody_sees_it() -> None:
    for asks, found in (([(100.0, 1.0), (100.2, 1.0)], "5"), ([(100.0, 1.0)], None)):
        paper = broker(latency_ms=0)
        bought(paper, 1, "5", 0)
        assert only_fill(paper, quote(100, ask_size=5.0)).quantity == 5
        send(paper, order(oid="far", limit="1"), at_ms=100)
        paper.observe(quote(200, 99.9, 100.0))
        paper.observe(depth(210, [(99.9, 1.0)], asks))  # 100.1 is not displayed: gone, or beyond the last level
        paper.observe(quote(300, ask_size=5.0))
        bought(paper, 2, "5", 300)
        fills = paper.observe(quote(300, ask_size=5.0))
        assert [str(one.quantity.normalize()) for one in fills if isinstance(one, Fill)] == ([found] if found else [])


def test_a_level_whose_size_is_no_longer_known_gives_all_again() -> None:
    paper = broker(latency_ms=0)
    bought(paper, 1, "5", 0)
    only_fill(paper, quote(100, ask_size=5.0))
    send(paper, order(oid="far", limit="1"), at_ms=100)
    paper.observe(quote(150, ask_size=0.0))
    bought(paper, 2, "9", 200)
    assert only_fill(paper, quote(200, ask_size=5.0)).quantity == 5


def test_of_the_levels_that_were_taken_of_no_more_than_64_are_remembered() -> None:
    paper = broker(latency_ms=0)
    send(paper, order(oid="far", limit="1"))
    for number in range(100):
        ask = round(200.0 - number / 10, 1)
        bought(paper, number, "1", number)
        assert only_fill(paper, quote(number, ask=ask, ask_size=1.0)).price == D(repr(ask))
    assert len(paper._desk.quotes.books["BTCUSDT"]._taken_asks) == 64  # noqa: SLF001 - memory is not seen from outside


def test_a_size_of_0_is_not_known_and_gives_all_that_is_wanted() -> None:
    paper = broker()
    send(paper, order(quantity="1000"))
    fill = only_fill(paper, quote(250, ask_size=0.0))
    assert (fill.quantity, fill.displayed) == (1000, None)


def test_unlimited_liquidity_gives_all_at_the_touch() -> None:
    paper = broker(liquidity="unlimited")
    send(paper, order(quantity="1000"), order(oid="o-2", quantity="1000"))
    paper.observe(depth(150, BIDS, ASKS))
    assert seen(paper, quote(250)) == ["o-1 fill 1000 @ 100.1", "o-2 fill 1000 @ 100.1"]


def test_a_part_below_the_lot_is_not_taken() -> None:
    paper = broker()
    send(paper, order(quantity="1"))
    assert paper.observe(quote(250, ask_size=0.00009)) == []
    assert only_fill(paper, quote(300, ask_size=0.00019)).quantity == D("0.0001")


def test_orders_fill_in_the_order_they_were_submitted() -> None:
    paper = broker()
    send(paper, *(order(oid=f"o-{number}") for number in (3, 1, 2)))
    assert [report.order_id for report in paper.observe(quote(300))] == ["o-3", "o-1", "o-2"]
    assert paper.observe(quote(301)) == []
