"""The gates count an inverse contract in its base coin, as its margin is."""

from decimal import Decimal

import pytest
from lab import OrderRequest, RiskGate
from lab.domain.events import OrderAccepted, OrderRefused
from lab.testing import instrument
from lab.testing.builders import candles
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker
from lab_risk_limits.margin import Margin
from lab_risk_limits.position import MaxPosition

D = Decimal
X = "BTCUSD"
ONE = instrument(
    X, base="BTC", quote="USD", contract="inverse", contract_value=D(100), tick=D("0.5"), lot=D(1), quantity_min=D(1)
)


def asked(gate: RiskGate, *quantities: int) -> tuple[list[Decimal], list[OrderRefused]]:
    """Ask one deposit of 1 BTC for contracts of 100 USD at 50,000: 500 of them are 1 BTC; return what passed."""
    plan = {place: [OrderRequest.buy(X, D(quantity))] for place, quantity in enumerate(quantities)}
    made = engine_with(
        [ScriptedStrategy(plan=plan)], gates=[gate], broker=SimpleBroker(latency_ms=0), instruments=[ONE], deposit=D(1),
        leverage=D(10),
    )  # fmt: skip
    outputs = run(made, candles([50_000.0] * (len(quantities) + 1), symbol=X))
    return [one.quantity for one in only(OrderAccepted, outputs)], only(OrderRefused, outputs)


@pytest.mark.behaviour("O11", "R2")
def test_the_margin_of_an_inverse_contract_is_in_coins() -> None:
    """0.9 x 10 x 1 BTC are 9 BTC, or 4,500 contracts."""
    assert asked(Margin(), 4_500)[0] == [4_500]
    passed, [refused] = asked(Margin(), 4_501)
    assert not passed
    assert D(refused.numbers["notional"]) == D("9.002")
    assert asked(Margin(on_excess="shrink"), 6_000)[0] == [4_500]


@pytest.mark.behaviour("O11", "R2")
def test_what_is_held_and_what_works_binds_coins() -> None:
    """After 500 contracts (1 BTC) and the fee of 0.0006 BTC: 0.9 x (9.994 - 1) BTC are 8.0946, or 4,047 contracts."""
    passed, refused = asked(Margin(), 500, 4_048)
    assert (passed, len(refused)) == ([500], 1)
    assert asked(Margin(), 500, 4_047)[0] == [500, 4_047]


def test_the_largest_position_is_counted_in_coins() -> None:
    gate = MaxPosition(notional=D(2), on_excess="shrink")
    assert asked(gate, 1_500)[0] == [1_000]
    assert asked(MaxPosition(notional=D(2)), 1_000)[0] == [1_000]
