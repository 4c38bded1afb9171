"""Quantities and prices land exactly on the instrument's steps, and never on the side that flatters."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.instrument import Instrument, check_instrument
from lab.domain.orders import Side
from lab.testing.builders import instrument

STEPS = st.sampled_from([Decimal(text) for text in ("1", "0.1", "0.01", "0.5", "0.25", "0.0001", "0.00000001", "10")])
AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=9)


def stepped(step: Decimal) -> Instrument:
    return instrument(tick=step, lot=step)


@pytest.mark.behaviour("O8")
@pytest.mark.parametrize(
    ("lot", "quantity", "floored"),
    [
        ("0.001", "0.0019", "0.001"),
        ("0.001", "0.3", "0.300"),
        ("0.001", "0.0009999999999", "0.000"),
        ("0.1", "0.3", "0.3"),  # 0.3 // 0.1 is 2 in floats
        ("0.25", "1.49", "1.25"),
        ("1", "1999.999999999", "1999"),
    ],
)
def test_a_quantity_is_floored_to_the_lot_exactly(lot: str, quantity: str, floored: str) -> None:
    assert stepped(Decimal(lot)).floor_quantity(Decimal(quantity)) == Decimal(floored)


@pytest.mark.behaviour("O8")
@given(STEPS, AMOUNTS)
def test_flooring_never_rounds_up_and_never_loses_a_whole_lot(lot: Decimal, quantity: Decimal) -> None:
    floored = stepped(lot).floor_quantity(quantity)
    assert floored <= quantity < floored + lot
    assert floored % lot == 0


@pytest.mark.parametrize(
    ("value", "price"), [(50_000.04, "50000.0"), (50_000.06, "50000.1"), (50_000.05, "50000.0"), (50_000.15, "50000.2")]
)
def test_a_market_price_becomes_money_on_the_nearest_tick(value: float, price: str) -> None:
    assert instrument().price(value) == Decimal(price)


@given(STEPS, AMOUNTS, st.sampled_from(Side))
def test_a_limit_is_rounded_in_favour_of_its_owner_and_a_fill_against(
    step: Decimal, price: Decimal, side: Side
) -> None:
    ticks = stepped(step)
    passive, worse = ticks.passive_price(price, side), ticks.worse_price(price, side)
    low, high = (passive, worse) if side is Side.BUY else (worse, passive)
    assert price - step < low <= price <= high < price + step
    assert passive % step == worse % step == 0


@given(st.sampled_from([Decimal("0.1"), Decimal("0.01"), Decimal("0.00001")]), st.integers(1, 10**9))
def test_a_price_on_the_tick_stays_what_it_is(tick: Decimal, ticks: int) -> None:
    price = tick * ticks
    assert instrument(tick=tick).price(float(price)) == price
    assert instrument(tick=tick).passive_price(price, Side.BUY) == price
    assert instrument(tick=tick).worse_price(price, Side.BUY) == price


@pytest.mark.parametrize("name", ["tick", "lot"])
@pytest.mark.parametrize("step", ["0", "-0.1"])
def test_a_step_that_is_not_above_zero_is_refused_by_name(name: str, step: str) -> None:
    change: dict[str, Any] = {name: Decimal(step)}
    with pytest.raises(ValueError, match=f"instrument BTCUSDT: {name} must be above 0, not {step}"):
        instrument(**change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"leverage_max": 0}, "leverage_max 0 is no whole number above 0"),
        ({"leverage_max": 2.5}, "leverage_max 2.5 is no whole number above 0"),
        ({"taker_fee_rate": Decimal("1e-19")}, "taker_fee_rate has 19 places; at most 18 are kept exactly"),
        ({"taker_fee_rate": 0.0006}, "taker_fee_rate 0.0006 is no finite Decimal"),
        ({"contract": "quanto"}, "contract 'quanto' is neither linear nor inverse"),
    ],
)
def test_what_is_wrong_with_an_instrument_of_a_provider_is_said_in_one_line(change: dict[str, Any], said: str) -> None:
    assert check_instrument(instrument()) is None
    assert check_instrument(instrument(**change)) == said
