"""``price_band`` refuses an entry at a price far from the market."""

from decimal import Decimal
from typing import Any

import pytest
from lab import PASS, OrderRequest, OrderType, Quote, Refuse
from lab.domain.time import SECOND_NS
from lab.testing import candles
from lab.testing.builders import START_NS
from lab_risk_limits.price_band import PriceBand

D = Decimal
X = "BTCUSDT"
BUY, SELL = OrderRequest.buy(X, D(1)), OrderRequest.sell(X, D(1))


def at(limit: str, request: OrderRequest = BUY) -> OrderRequest:
    make = OrderRequest.buy if request is BUY else OrderRequest.sell
    return make(X, D(1), type=OrderType.LIMIT, limit=D(limit))


def quoted(play: Any, bid: float, ask: float, symbol: str = X) -> Any:
    """Return a view of a market that closed at 50 and is quoted now."""
    quote = Quote(symbol, START_NS + 61 * SECOND_NS, bid, 1.0, ask, 1.0)
    return play([*candles([50.0]), quote], symbols=(X, "ETHUSDT")).view()


@pytest.mark.behaviour("R3")
@pytest.mark.parametrize("request_", [BUY, SELL])
def test_a_market_order_counts_at_the_touch(play: Any, request_: OrderRequest) -> None:
    # The middle is 100, and 1 % of it is 1.
    gate = PriceBand(percent=D(1))
    assert gate.review(request_, quoted(play, 99.0, 101.0)) == PASS
    price = "101.1" if request_ is BUY else "98.9"
    assert gate.review(request_, quoted(play, 98.9, 101.1)) == Refuse(
        f"the price {price} is 1.1 from the market at 100, the limit is 1",
        {"price": price, "reference": "100", "distance": "1.1", "allowed": "1", "percent": "1"},
    )


@pytest.mark.behaviour("R3")
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_limit_order_counts_at_its_limit_above_and_below_the_market(play: Any, side: OrderRequest) -> None:
    gate, view = PriceBand(percent=D("0.5")), quoted(play, 99.9, 100.1)
    for limit in ("99.5", "100", "100.5"):
        assert gate.review(at(limit, side), view) == PASS
    for limit in ("99.4", "100.6", "1000"):
        verdict = gate.review(at(limit, side), view)
        assert isinstance(verdict, Refuse)
        assert verdict.numbers["price"] == limit


@pytest.mark.behaviour("R3")
@pytest.mark.parametrize(("stop", "limit", "counts"), [("102", None, "102"), ("100", "103", "103"), ("97", "99", "97")])
def test_a_stop_counts_at_its_stop_or_its_limit_whichever_is_further_away(
    play: Any, stop: str, limit: str | None, counts: str
) -> None:
    kind = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
    request = OrderRequest.buy(X, D(1), type=kind, stop=D(stop), limit=None if limit is None else D(limit))
    verdict = PriceBand(percent=D(1)).review(request, quoted(play, 99.9, 100.1))
    assert isinstance(verdict, Refuse)
    assert verdict.numbers["price"] == counts


def test_a_limit_on_a_market_order_is_no_price(play: Any) -> None:
    stray = OrderRequest.buy(X, D(1), limit=D(5))
    assert PriceBand().review(stray, quoted(play, 99.9, 100.1)) == PASS


@pytest.mark.behaviour("R3")
def test_without_quotes_the_last_close_is_the_market(play: Any) -> None:
    gate, view = PriceBand(percent=D(2)), play([70.0, 50.0]).view()
    assert gate.review(BUY, view) == PASS
    assert gate.review(at("51"), view) == PASS  # 2 % of 50 are 1
    verdict = gate.review(at("51.1"), view)
    assert isinstance(verdict, Refuse)
    assert verdict.numbers["reference"] == "50"


def test_before_the_first_price_it_refuses_and_each_symbol_has_its_own(play: Any) -> None:
    gate = PriceBand()
    view = quoted(play, 99.9, 100.1)
    assert gate.review(BUY, view) == PASS
    assert gate.review(OrderRequest.buy("ETHUSDT", D(1)), view) == Refuse(
        "no price of ETHUSDT yet: the distance from the market cannot be computed", {"percent": "1"}
    )


@pytest.mark.behaviour("R6")
def test_an_exit_at_any_price_runs(play: Any) -> None:
    far = OrderRequest.sell(X, D(1), type=OrderType.LIMIT, limit=D(500))
    played = play([100.0] * 3, {0: [BUY], 1: [far], 2: [at("500")]}, gates={"price_band": PriceBand()})
    assert list(played.refused()) == [2]
    assert played.accepted()[1].limit == 500


def test_the_band_is_described(play: Any) -> None:
    assert PriceBand().describe(play([]).view()) == {"limit": "1 % from the middle of the last quote"}


def test_a_senseless_setting_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="percent must be above 0, not 0"):
        PriceBand(percent=D(0))
