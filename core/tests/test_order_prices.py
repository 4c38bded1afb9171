"""One list names the prices of an order. What checks, shows and journals a request covers them all."""

from decimal import Decimal
from typing import Any

import pytest
from lab.domain.events import OrderAccepted
from lab.domain.orders import PRICE_FIELDS, Order, OrderRequest
from lab.engine.checks import validated_actions
from lab.testing.harness import trouble_of
from msgspec.structs import replace

REQUEST = OrderRequest.buy("BTCUSDT", Decimal("0.01"))


CHILDREN = {"stop_loss", "take_profit"}
"""The prices of a request that become those of orders of their own."""


@pytest.mark.parametrize("cls", [Order, OrderAccepted])
def test_each_price_of_an_order_is_a_field_of_request_order_and_event(cls: Any) -> None:
    assert set(PRICE_FIELDS) <= set(OrderRequest.__struct_fields__)
    assert set(PRICE_FIELDS) - CHILDREN <= set(cls.__struct_fields__)


@pytest.mark.parametrize("name", PRICE_FIELDS)
@pytest.mark.parametrize(
    ("value", "error"),
    [(50_000.0, TypeError), (Decimal("NaN"), TypeError), ("50000", TypeError), (Decimal(10**15), ValueError)],
)
def test_a_price_that_is_no_exact_amount_is_refused_by_its_name(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"OrderRequest.{name} is"):
        validated_actions([replace(REQUEST, **{name: value})])
    if not isinstance(value, Decimal):
        assert str(trouble_of(replace(REQUEST, **{name: value}), {"BTCUSDT"})).startswith(f"{name} ")


@pytest.mark.parametrize("name", PRICE_FIELDS)
def test_a_price_that_is_an_exact_amount_passes(name: str) -> None:
    request = replace(REQUEST, **{name: Decimal(50_000)})
    assert validated_actions([request]) == [request]
