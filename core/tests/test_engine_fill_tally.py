"""How fills were made is counted, and what they would have cost at the best and at the worst of their prices."""

from decimal import Decimal
from typing import Any

import pytest
from lab.domain.orders import OrderRequest
from lab.testing.builders import candles, instrument
from lab.testing.engines import engine_with, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from msgspec.structs import replace

X = "BTCUSDT"
D = Decimal


def counters_of(*fills: dict[str, Any], **more: Any) -> Any:
    """Return the counters of a run in which each order, of one coin, fills at 50,000 with these changes."""
    plan = {number: [OrderRequest.buy(X, D(1)) if number % 2 == 0 else OrderRequest.sell(X, D(1))]
            for number in range(len(fills))}  # fmt: skip
    left = iter(fills)

    def script(broker: ScriptedBroker, event: Any) -> Any:
        return [replace(broker.fill(order, event), **next(left)) for order in list(broker.orders.values())]

    made = engine_with({"s": ScriptedStrategy(plan=plan)}, broker=ScriptedBroker(script=script), **more)
    run(made, candles([50_000.0] * (len(fills) + 1)))
    return made.counters


@pytest.mark.behaviour("O15")
def test_fills_are_counted_by_rule_with_their_fees_and_slippage() -> None:
    counters = counters_of(
        {"rule": "a"}, {"rule": "b", "slippage": D(3), "reference": D(50_003)}, {"rule": "a", "age_ns": -1}
    )
    fee = D(50_000) * D("0.0006")
    found = {rule: (one.fills, one.late, one.fees, one.slippage) for rule, one in counters.fill_rules.items()}
    assert found == {"a": (2, 1, 2 * fee, 0), "b": (1, 0, fee, 3)}


@pytest.mark.behaviour("O15")
def test_the_band_adds_up_what_each_side_would_have_gained_and_lost() -> None:
    """Bought at 50,000, perhaps at 49,990 or 50,020; sold at 50,000, perhaps at 50,005 or 49,900."""
    counters = counters_of({"best": D(49_990), "worst": D(50_020)}, {"best": D(50_005), "worst": D(49_900)})
    assert counters.gain_at_best == 10 + 5
    assert counters.loss_at_worst == 20 + 100


@pytest.mark.behaviour("O11", "O15")
def test_the_band_of_an_inverse_contract_is_in_its_base_coin() -> None:
    """100 a contract: bought at 50,000, perhaps at 40,000 or 62,500, and slipped from 48,000."""
    one = instrument(X, contract="inverse", contract_value=D(100))
    fill = {"best": D(40_000), "worst": D(62_500), "slippage": D(2_000), "reference": D(48_000), "fee": D(0),
            "fee_rate": D(0)}  # fmt: skip
    counters = counters_of(fill, instruments=[one])
    # 100 / 40,000 - 100 / 48,000; 100 / 48,000 - 100 / 62,500; 100 / 48,000 - 100 / 50,000
    assert counters.gain_at_best == pytest.approx(D("0.0004166666"), rel=D("1e-6"))
    assert counters.loss_at_worst == pytest.approx(D("0.0004833333"), rel=D("1e-6"))
    assert counters.fill_rules["scripted"].slippage == pytest.approx(D("0.0000833333"), rel=D("1e-6"))


def test_a_fill_that_has_only_one_other_price_moves_one_side_of_the_band() -> None:
    counters = counters_of({"worst": D(50_020)}, {"best": D(50_005)})
    assert counters.gain_at_best == 5
    assert counters.loss_at_worst == 20


def test_a_broker_that_names_each_fill_anew_fills_no_memory() -> None:
    counters = counters_of(*[{"rule": f"rule {number}"} for number in range(103)])
    assert len(counters.fill_rules) == 101
    assert counters.fill_rules["others"].fills == 3
