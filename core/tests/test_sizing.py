"""The helpers that size orders: on the lot, over no limit, the risk with its costs in it."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import Side, View, size_by_equity, size_by_risk, size_by_volatility, size_fixed
from lab.testing.builders import candles, instrument, quotes
from lab.testing.engines import engine_with, run
from lab.testing.harness import ScriptedStrategy

if TYPE_CHECKING:
    from lab.domain.instrument import Instrument

X = "BTCUSDT"
D = Decimal


def view_of(price: float = 100.0, *, quoted: bool = False, leverage: str = "10", **of: Any) -> View:
    """Return the view of a strategy with 10,000 on a market at a price."""
    one: Instrument = instrument(X, **of)
    made = engine_with({"s": ScriptedStrategy()}, instruments=[one], leverage=D(leverage))
    run(made, [*candles([price] * 3), *(quotes([price]) if quoted else [])])
    return made.strategies[0].view


@pytest.mark.behaviour("O8")
def test_a_fixed_size_is_floored_to_the_lot_and_stays_within_the_leverage() -> None:
    assert size_fixed(view_of(), X, D("1.23456")) == D("1.2345")
    assert size_fixed(view_of(), X, D(5_000)) == D(1_000)  # 10,000 × 10 / 100
    assert size_fixed(view_of(), X, D(5_000), most_notional=D(20_000)) == D(200)
    assert size_fixed(view_of(quantity_max=D(7)), X, D(5_000)) == D(7)


@pytest.mark.parametrize("quantity", ["0", "-1", "0.00001"])
def test_a_size_that_is_none_is_0(quantity: str) -> None:
    assert size_fixed(view_of(quantity_min=D("0.0001")), X, D(quantity)) == 0


def test_a_fraction_of_equity_is_its_notional() -> None:
    assert size_by_equity(view_of(), X, Side.BUY, D("0.5")) == D(50)
    quote = view_of(quoted=True).quote(X)
    assert quote is not None
    bought = size_by_equity(view_of(quoted=True), X, Side.BUY, D(1))
    assert bought == (D(10_000) / D(repr(quote.ask))).quantize(D("0.0001"), "ROUND_FLOOR")
    sold = size_by_equity(view_of(quoted=True), X, Side.SELL, D(1))
    assert sold == (D(10_000) / D(repr(quote.bid))).quantize(D("0.0001"), "ROUND_FLOOR")


def test_the_loss_at_the_stop_is_the_risk_with_both_fees_and_the_slippage() -> None:
    """In at 100.1 (100 × 1.001), out at 97.9 (98 × 0.999, down to the tick), each with a fee of 0.06 %."""
    quantity = size_by_risk(view_of(), X, Side.BUY, D("0.01"), D(98), slippage=D("0.001"))
    loss = D("2.2") + (D("100.1") + D("97.9")) * D("0.0006")
    assert quantity == (D(100) / loss).quantize(D("0.0001"), "ROUND_FLOOR")
    short = size_by_risk(view_of(), X, Side.SELL, D("0.01"), D(102), slippage=D("0.001"))
    loss = D("2.3") + (D("99.9") + D("102.2")) * D("0.0006")  # 102 × 1.001 = 102.102, up to the tick
    assert short == (D(100) / loss).quantize(D("0.0001"), "ROUND_FLOOR")
    assert size_by_risk(view_of(), X, Side.BUY, D("0.01"), D(98), fee_rate=D(0)) == D(50)


@pytest.mark.parametrize(("side", "stop"), [(Side.BUY, 100), (Side.BUY, 101), (Side.BUY, 0), (Side.SELL, 100)])
def test_a_stop_on_the_wrong_side_is_named(side: Side, stop: int) -> None:
    with pytest.raises(ValueError, match=f"stop is {stop}; expected a price (above|below) 100"):
        size_by_risk(view_of(), X, side, D("0.01"), D(stop))


def test_a_size_by_volatility_moves_with_the_risk() -> None:
    assert size_by_volatility(view_of(), X, Side.BUY, D("0.01"), D(4)) == D(25)
    with pytest.raises(ValueError, match="move is 0; expected more than 0"):
        size_by_volatility(view_of(), X, Side.BUY, D("0.01"), D(0))


def test_sizes_of_an_inverse_contract_are_contracts_by_what_they_are_worth_in_coins() -> None:
    """A contract of 100 USD is 0.002 coins at 50,000, 0.0025 at 40,000, and 0.001666... at 60,000; equity is 10,000."""
    of: Any = {"contract": "inverse", "contract_value": D(100), "lot": D(1), "quantity_min": D(1)}
    view = view_of(50_000.0, **of)
    assert size_by_equity(view, X, Side.BUY, D("0.5")) == 2_500_000  # 5,000 / 0.002
    assert size_fixed(view, X, D(10**9)) == 50_000_000  # 10,000 × 10 / 0.002
    assert size_by_risk(view, X, Side.BUY, D("0.01"), D(40_000), fee_rate=D(0)) == 200_000  # 100 / 0.0005
    # At 1 % a side 0.000020 and 0.000025 more: 100 / 0.000545
    assert size_by_risk(view, X, Side.BUY, D("0.01"), D(40_000), fee_rate=D("0.01")) == 183_486
    assert size_by_risk(view, X, Side.SELL, D("0.01"), D(60_000), fee_rate=D(0)) == 300_000  # 100 / 0.000333...
    assert size_by_volatility(view, X, Side.BUY, D("0.01"), D(10_000)) == 200_000
    assert size_by_volatility(view, X, Side.SELL, D("0.01"), D(10_000)) == 300_000
    with pytest.raises(ValueError, match="less than the price 50000"):
        size_by_volatility(view, X, Side.BUY, D("0.01"), D(50_000))


@given(
    price=st.integers(1, 10**6),
    away=st.integers(1, 99),
    risk=st.integers(1, 100),
    slippage=st.integers(0, 50),
    side=st.sampled_from(Side),
)
@settings(max_examples=150)
def test_no_size_by_risk_loses_more_than_the_risk_or_passes_a_limit(
    price: int, away: int, risk: int, slippage: int, side: Side
) -> None:
    view = view_of(float(price))
    stop = D(price) * (100 - away if side is Side.BUY else 100 + away) / 100
    one, rate = view.instrument(X), D("0.0006")
    stop = one.passive_price(stop, Side.SELL if side is Side.BUY else Side.BUY)
    if (stop >= price if side is Side.BUY else stop <= price) or not stop:
        return
    moved = D(slippage) / 10_000
    quantity = size_by_risk(view, X, side, D(risk) / 100, stop, slippage=moved)
    assert quantity % one.lot == 0
    assert quantity * price <= view.equity * view.leverage
    way = 1 if side is Side.BUY else -1
    entered, left = D(price) * (1 + way * moved), stop * (1 - way * moved)
    assert quantity * ((entered - left) * way + (entered + left) * rate) <= view.equity * risk / 100
