"""What an order meets while the session knows that the feed is down, and what the broker looks up when it is sent."""

from collections.abc import Sequence
from math import inf
from typing import Any, cast

import pytest
from attrs import define, field
from lab import Depth, Fill, MarketView, Quote, TradingState
from lab.domain.control import SymbolState
from lab_paper_broker.broker import PaperBroker
from paper import SELL, D, at, broker, candle, depth, only_fill, order, quote, seen, send, timer


@define
class Market:
    """What a broker looks up."""

    newest: Quote | None = None
    levels: Depth | None = None
    halted_by: Sequence[str] = ()
    halted_alone: Sequence[str] = ()
    shown: list[str] = field(factory=list)

    def halted(self, symbol: str) -> Sequence[str]:
        return (*self.halted_by, *self.halted_alone)

    def quote(self, symbol: str) -> Quote | None:
        return self.newest

    def depth(self, symbol: str) -> Depth | None:
        return self.levels

    def candles(self, symbol: str) -> Sequence[Any]:
        return ()


def on(market: Market, **settings: object) -> PaperBroker:
    paper = broker(**settings)
    paper.attach(cast("MarketView", market))
    return paper


@pytest.mark.behaviour("O2")
def test_an_order_that_arrives_while_the_feed_is_known_to_be_down_meets_the_first_quote_after_it() -> None:
    market = Market(quote(0))
    paper = on(market)
    send(paper, order())
    assert paper.observe(TradingState(at(100), ("feed down",))) == []
    assert paper.observe(timer(300)) == []
    assert paper.observe(TradingState(at(900), ())) == []
    fill = only_fill(paper, quote(950, 99.0, 99.1))
    assert (fill.price, fill.age_ns) == (D("99.1"), at(200) - at(950))


def test_no_quote_is_kept_from_an_order_that_arrived_in_an_outage_until_it_met_one() -> None:
    paper = on(Market(quote(0)))
    send(paper, order(limit="99"))
    for event in (TradingState(at(100), ("feed down",)), timer(300), TradingState(at(900), ())):
        assert paper.observe(event) == []
    assert paper.idle("BTCUSDT") is None
    assert paper.observe(quote(950)) == []
    between = paper.idle("BTCUSDT")
    assert between is not None
    assert between[:2] == (99.0, inf)


def test_an_order_that_is_sent_while_the_feed_is_known_to_be_down_does_so_too() -> None:
    paper = on(Market(quote(0), halted_by=("feed down",)))
    send(paper, order())
    assert paper.observe(timer(300)) == []
    assert only_fill(paper, quote(950, 99.0, 99.1)).price == D("99.1")


def test_an_order_that_arrived_before_the_feed_went_down_met_the_quote_in_force() -> None:
    paper = on(Market(quote(0)))
    send(paper, order())
    (fill,) = paper.observe(TradingState(at(300), ("feed down",)))
    assert (fill.price, fill.time_ns, fill.age_ns) == (D("100.1"), at(200), 200_000_000)


@pytest.mark.behaviour("O2")
def test_a_symbol_that_is_halted_alone_lets_its_own_orders_wait_and_no_others() -> None:
    paper = on(Market(quote(0)))
    send(paper, order(), order(oid="o-2", symbol="ETHUSDT"))
    assert paper.observe(SymbolState(at(100), "ETHUSDT", ("quote stale",))) == []
    assert seen(paper, timer(300)) == ["o-1 fill 1 @ 100.1"]
    assert paper.observe(SymbolState(at(900), "ETHUSDT", ())) == []
    assert seen(paper, quote(950, 99.0, 99.1, symbol="ETHUSDT")) == ["o-2 fill 1 @ 99.1"]


def test_an_order_of_a_symbol_that_is_known_to_be_halted_when_it_is_sent_waits_too() -> None:
    market = Market(quote(0), halted_alone=("quote stale",))
    paper = on(market)
    send(paper, order())
    assert paper.observe(timer(300)) == []
    market.halted_alone = ()
    send(paper, order(oid="o-2"), at_ms=400)
    assert seen(paper, quote(950, 99.0, 99.1)) == ["o-2 fill 1 @ 100.1", "o-1 fill 1 @ 99.1"]


@pytest.mark.behaviour("O1")
def test_an_order_that_takes_no_time_does_not_meet_the_quote_it_was_decided_on() -> None:
    paper = on(Market(quote(0)), latency_ms=0)
    send(paper, order())
    assert paper.observe(timer(1)) == []
    assert only_fill(paper, quote(5, 99.0, 99.1)).price == D("99.1")


@pytest.mark.behaviour("O5")
def test_quote_and_depth_that_came_while_no_order_worked_are_taken_together() -> None:
    """2 of 10 are taken at 100.1; then 100.1 is the second level, which the new depth alone shows: 8 are left."""
    market = Market(quote(0), depth(0, asks=((100.1, 10.0), (100.2, 5.0))))
    paper = on(market, latency_ms=100)
    send(paper, order(quantity="2"))
    assert seen(paper, timer(150)) == ["o-1 fill 2 @ 100.1"]
    market.newest, market.levels = quote(400, 99.9, 100.0, 1.0, 1.0), depth(400, asks=((100.0, 1.0), (100.1, 10.0)))
    send(paper, order(oid="o-2", quantity="20"), at_ms=400)
    assert seen(paper, timer(550)) == ["o-2 fill 1 @ 100", "o-2 fill 8 @ 100.1"]


def test_a_depth_that_came_before_any_quote_is_taken_with_the_first() -> None:
    market = Market(quote(0), depth(0, asks=((100.1, 10.0), (100.2, 5.0))))
    paper = on(market, latency_ms=100)
    send(paper, order(quantity="12"))
    assert seen(paper, timer(150)) == ["o-1 fill 10 @ 100.1", "o-1 fill 2 @ 100.2"]


def test_what_belongs_to_orders_that_have_ended_is_dropped_before_its_time() -> None:
    paper = broker(latency_ms=0)
    for number in range(3_000):
        far = order(oid=f"o-{number}", limit="50", expires_ns=at(10**9), time_in_force="gtd")
        send(paper, far)
        paper.cancel(far.id, at(0))
    assert len(paper._desk.working._due) < 1_100  # noqa: SLF001 - memory is not seen from outside


def test_a_candle_has_plenty_for_its_own_orders_whatever_another_symbol_wants() -> None:
    paper = broker()
    send(paper, order(oid="other", symbol="ETHUSDT", quantity="1000"), order(quantity="49"))
    assert only_fill(paper, candle(0, volume=50.0)).quantity == 49


@pytest.mark.behaviour("O15")
def test_a_stop_that_is_reached_has_no_better_price_of_the_time_when_it_was_sent() -> None:
    paper = on(Market(quote(0)))
    send(paper, order(SELL, stop="95"))
    assert paper.observe(quote(250)) == []
    _, fill = paper.observe(quote(900, 94.0, 94.1))
    assert isinstance(fill, Fill)
    assert (fill.price, fill.best) == (D("94.0"), None)


@pytest.mark.behaviour("O15")
def test_a_market_order_has_the_better_touch_that_it_was_decided_on() -> None:
    paper = on(Market(quote(0)))
    send(paper, order(SELL))
    assert paper.observe(quote(150, 99.0, 99.1)) == []
    (fill,) = paper.observe(quote(300, 98.0, 98.1))
    assert isinstance(fill, Fill)
    assert (fill.price, fill.best, fill.worst) == (D("99.0"), D("100.0"), D("98.0"))
