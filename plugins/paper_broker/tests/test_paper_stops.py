"""Stops, take-profits and trailing stops on quotes; brackets and groups on quotes are in `test_paper_families`."""

import pytest
from lab import Fill, OrderType, Side, Triggered
from paper import BUY, MS, SELL, START, D, at, brief, broker, depth, order, quote, seen, send, timer, trade, works


@pytest.mark.behaviour("O7")
@pytest.mark.parametrize(
    ("side", "stop", "near", "reached", "price"),
    [
        (SELL, "99", (99.1, 99.2), (99.0, 99.1), "99.0"),  # the bid triggers a sell
        (BUY, "101", (100.8, 100.9), (100.9, 101.0), "101.0"),  # the ask a buy
    ],
)
def test_a_stop_becomes_a_market_order_once_the_touch_it_would_take_reaches_it(
    side: Side, stop: str, near: tuple[float, float], reached: tuple[float, float], price: str
) -> None:
    paper = broker()
    send(paper, order(side, stop=stop))
    assert paper.observe(quote(250)) == []
    assert paper.observe(quote(300, *near)) == []
    triggered, fill = paper.observe(quote(400, *reached))
    assert triggered == Triggered("o-1", D(f"{float(stop)}"), D(price))
    assert isinstance(fill, Fill)
    assert (fill.price, fill.rule, fill.liquidity, fill.reference) == (D(price), "stop", "taker", D(price))


@pytest.mark.behaviour("O7")
@pytest.mark.parametrize(("side", "stop", "gapped"), [(SELL, "99", (90.0, 90.1)), (BUY, "101", (109.9, 110.0))])
def test_a_stop_that_the_market_gapped_through_fills_at_the_market(
    side: Side, stop: str, gapped: tuple[float, float]
) -> None:
    paper = broker()
    send(paper, order(side, stop=stop))
    paper.observe(quote(250))
    _, fill = paper.observe(quote(400, *gapped))
    assert isinstance(fill, Fill)
    assert fill.price == D(repr(gapped[0] if side is SELL else gapped[1]))


def test_a_stop_takes_level_by_level_and_goes_on_though_the_price_comes_back() -> None:
    paper = broker()
    send(paper, order(SELL, "5", stop="99"))
    paper.observe(depth(240, [(99.0, 9.0), (98.5, 1.0)], [(99.2, 1.0)]))
    assert seen(paper, quote(250, 99.0, 99.1, 2.0)) == ["o-1 triggered", "o-1 fill 2 @ 99", "o-1 fill 1 @ 98.5"]
    assert seen(paper, quote(1_300, 105.0, 105.1, 1.0)) == ["o-1 fill 1 @ 105"]  # the depth is too old
    assert seen(paper, quote(1_400, 106.0, 106.1)) == ["o-1 fill 1 @ 106"]


def test_a_stop_whose_level_is_passed_when_it_arrives_is_triggered_by_the_quote_in_force() -> None:
    paper = broker()
    send(paper, order(SELL, stop="99"))
    paper.observe(quote(100, 98.0, 98.1))
    assert brief(paper.observe(quote(300, 105.0, 105.1))) == ["o-1 triggered", "o-1 fill 1 @ 98"]


def test_a_price_that_was_there_before_the_arrival_and_no_more_triggers_nothing() -> None:
    paper = broker()
    send(paper, order(SELL, stop="99"))
    for event in (quote(50, 98.0, 98.1), quote(150, 100.0, 100.1), quote(300, 99.5, 99.6), timer(400)):
        assert paper.observe(event) == []


def test_trades_do_not_trigger_a_stop() -> None:
    paper = broker()
    send(paper, order(SELL, stop="99"))
    paper.observe(quote(250))
    assert paper.observe(trade(300, 98.0, 5.0)) == []
    assert works(paper)


@pytest.mark.parametrize(
    ("side", "stop", "near", "reached"),
    [(SELL, "101", (100.9, 101.0), (101.0, 101.1)), (BUY, "99", (98.9, 99.1), (98.9, 99.0))],
)
def test_a_take_profit_becomes_a_market_order_from_the_other_side(
    side: Side, stop: str, near: tuple[float, float], reached: tuple[float, float]
) -> None:
    paper = broker()
    send(paper, order(side, stop=stop, kind=OrderType.TAKE_PROFIT))
    assert paper.observe(quote(250)) == []
    assert paper.observe(quote(300, *near)) == []
    triggered, fill = paper.observe(quote(400, *reached))
    assert isinstance(triggered, Triggered)
    assert isinstance(fill, Fill)
    assert (fill.price, fill.liquidity) == (D(stop), "taker")


# -- stop-limit ------------------------------------------------------------------------------------------------------


def test_a_stop_limit_that_is_marketable_when_triggered_takes_up_to_its_limit() -> None:
    paper = broker()
    send(paper, order(SELL, "5", stop="99", limit="98.5"))
    paper.observe(quote(250))
    paper.observe(depth(290, [(98.8, 1.0), (98.5, 1.0), (98.4, 9.0)], [(99.1, 1.0)]))
    reports = paper.observe(quote(300, 98.8, 98.9, 2.0))
    assert brief(reports) == ["o-1 triggered", "o-1 fill 2 @ 98.8", "o-1 fill 1 @ 98.5"]
    assert [one.liquidity for one in reports if isinstance(one, Fill)] == ["taker", "taker"]
    assert works(paper)


def test_a_stop_limit_that_the_market_gapped_through_rests_at_its_limit_and_makes() -> None:
    paper = broker()
    send(paper, order(SELL, stop="99", limit="98.5"))
    paper.observe(quote(250))
    assert seen(paper, quote(300, 97.0, 97.1)) == ["o-1 triggered"]
    assert paper.observe(quote(350, 98.4, 98.5)) == []
    (fill,) = paper.observe(quote(400, 98.5, 98.6))
    assert isinstance(fill, Fill)
    assert (fill.price, fill.liquidity, fill.rule) == (D("98.5"), "maker", "limit_touched")


# -- trailing stops --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O7")
@pytest.mark.parametrize("side", list(Side))
def test_a_trailing_stop_follows_the_best_touch_at_its_distance_and_never_goes_back(side: Side) -> None:
    # A sell from 100: best 102, so its level is 101. A buy is the mirror: from 100.1 to 98.1, so 99.1.
    way = [(100.0, 100.1), (102.0, 102.1), (101.1, 101.2), (101.0, 101.1)]
    if side is BUY:
        way = [(100.0, 100.1), (98.0, 98.1), (98.9, 99.0), (99.0, 99.1)]
    paper = broker(latency_ms=0)
    send(paper, order(side, trail="1"))
    for number, (bid, ask) in enumerate(way[:3], 1):
        assert paper.observe(quote(number, bid, ask)) == []
    triggered, fill = paper.observe(quote(9, *way[3]))
    level = D("101.0") if side is SELL else D("99.1")
    assert triggered == Triggered("o-1", level, level)
    assert isinstance(fill, Fill)
    assert (fill.price, fill.rule) == (level, "stop")


def test_a_trailing_stop_knows_no_price_from_before_its_arrival() -> None:
    paper = broker()
    send(paper, order(SELL, trail="1"))
    assert paper.observe(quote(50, 110.0, 110.1)) == []
    assert paper.observe(quote(150, 100.0, 100.1)) == []
    assert paper.observe(quote(300, 99.1, 99.2)) == []
    assert seen(paper, quote(400, 99.0, 99.1)) == ["o-1 triggered", "o-1 fill 1 @ 99"]


def test_a_trailing_stop_that_is_gapped_through_fills_at_the_market() -> None:
    paper = broker(latency_ms=0)
    send(paper, order(SELL, trail="1"))
    paper.observe(quote(1))
    triggered, fill = paper.observe(quote(2, 80.0, 80.1))
    assert triggered == Triggered("o-1", D("99.0"), D("80.0"))
    assert fill.price == 80  # type: ignore[union-attr]


def test_an_order_that_arrives_on_a_depth_is_triggered_with_the_age_of_the_quote() -> None:
    paper = broker()
    send(paper, order(SELL, "5", stop="100"))
    paper.observe(quote(150, 100.0, 100.1, 2.0))
    first = paper.observe(depth(300, [(100.0, 2.0)], [(100.1, 5.0)]))
    assert brief(first) == ["o-1 triggered", "o-1 fill 2 @ 100"]
    later = paper.observe(depth(350, [(100.0, 2.0), (99.8, 1.0)], [(100.1, 5.0)]))
    assert brief(later) == ["o-1 fill 1 @ 99.8"]
    (fill,) = later
    assert isinstance(fill, Fill)
    assert (fill.age_ns, fill.time_ns) == (200 * MS, at(350))
    assert fill.time_ns - START == 350 * MS
