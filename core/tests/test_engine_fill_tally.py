"""How fills were made is counted, and what they would have cost at the best and at the worst of their prices."""

from decimal import Decimal
from typing import Any

import pytest
from lab.domain.orders import OrderRequest
from lab.testing.builders import candles
from lab.testing.engines import engine_with, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from msgspec.structs import replace

X = "BTCUSDT"
D = Decimal


def counters_of(*fills: dict[str, Any]) -> Any:
    """Return the counters of a run in which each order, of one coin, fills at 50,000 with these changes."""
    plan = {number: [OrderRequest.buy(X, D(1)) if number % 2 == 0 else OrderRequest.sell(X, D(1))]
            for number in range(len(fills))}  # fmt: skip
    left = iter(fills)

    def script(broker: ScriptedBroker, event: Any) -> Any:
        return [replace(broker.fill(order, event), **next(left)) for order in list(broker.orders.values())]

    made = engine_with({"s": ScriptedStrategy(plan=plan)}, broker=ScriptedBroker(script=script))
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
def test_the_band_adds_up_what_each_side_would_have_gained_and_lost_fees_included() -> None:
    """Bought at 50,000, perhaps at 49,990 or 50,020; sold at 50,000, perhaps at 50,005 or 49,900; 0.06 % each time."""
    counters = counters_of({"best": D(49_990), "worst": D(50_020)}, {"best": D(50_005), "worst": D(49_900)})
    assert counters.gain_at_best == 10 * D("1.0006") + 5 * D("0.9994")
    assert counters.loss_at_worst == 20 * D("1.0006") + 100 * D("0.9994")


def test_a_fill_that_has_only_one_other_price_moves_one_side_of_the_band() -> None:
    counters = counters_of({"worst": D(50_020)}, {"best": D(50_005)})
    assert counters.gain_at_best == 5 * D("0.9994")
    assert counters.loss_at_worst == 20 * D("1.0006")


def test_a_broker_that_names_each_fill_anew_fills_no_memory() -> None:
    counters = counters_of(*[{"rule": f"rule {number}"} for number in range(103)])
    assert len(counters.fill_rules) == 101
    assert counters.fill_rules["others"].fills == 3
