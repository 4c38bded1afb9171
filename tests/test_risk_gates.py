"""The shipped gates in whole runs: they refuse by name and with figures, every time, and a recorded run repeats."""

from decimal import Decimal
from typing import Any

import pytest

TIGHT = {
    "max_drawdown": ("percent=none", "usd=0.5"),
    "consecutive_losses": ("losses=1",),
    "cool_down": ("minutes=3",),
    "max_position": ("quantity=0.005", "notional=none"),
    "order_rate": ("orders=2", "seconds=600"),
    "price_band": ("percent=0.00001",),
}
"""For each gate settings that stop a strategy that trades 0.01 coins on every other candle."""


@pytest.mark.behaviour("R3", "R6", "J6")
@pytest.mark.parametrize("gate", TIGHT)
def test_a_session_under_each_gate_has_its_refusals_and_verifies_as_identical(lab: Any, trader: Any, gate: str) -> None:
    settings = [text for setting in TIGHT[gate] for text in ("--set", f"{gate}.{setting}")]
    result = lab.mock("--strategy", "trader", "--gate", gate, *settings, minutes=25)
    assert result.code == 0, result.err
    refused = [body for _, _, body in lab.run().rows("order_refused")]
    report = lab.run().report()
    halted = [body for _, _, body in lab.run().rows("entries_halted")]
    assert len(refused) == report["refusals"]
    assert len(refused) > 2 or [body["gate"] for body in halted] == [gate]
    assert bool(halted) is (gate in {"max_drawdown", "consecutive_losses"})
    assert any(f"entries_halted trader: {gate}: " in text for text in report["degradations"]) is bool(halted)
    for body in refused:
        assert body["by"] == gate
        assert body["reason"]
        assert body["numbers"]
        assert all(Decimal(figure).is_finite() and "E" not in figure for figure in body["numbers"].values())
    assert list(report["limits"]) == [gate]
    verdict = lab("verify", "--json")
    assert (verdict.code, verdict.json()["identical"]) == (0, True), verdict


@pytest.mark.behaviour("R3")
def test_all_gates_stand_in_one_run_and_it_verifies_as_identical(lab: Any, trader: Any) -> None:
    gates = [text for gate in ("max_daily_loss", *TIGHT, "margin") for text in ("--gate", gate)]
    settings = ["--set", "cool_down.minutes=2", "--set", "consecutive_losses.losses=4"]
    assert lab.mock("--strategy", "trader", *gates, *settings, minutes=30).code == 0
    assert "cool_down" in {body["by"] for _, _, body in lab.run().rows("order_refused")}
    assert [body["gate"] for _, _, body in lab.run().rows("entries_halted")] == ["consecutive_losses"]
    assert lab("verify", "--json").json()["identical"] is True


@pytest.mark.behaviour("R6")
def test_100_refusals_are_counted_as_100(lab: Any, trader: Any) -> None:
    # The strategy is asked from its fifth candle on, and asks on every one: 104 candles make 100 requests.
    result = lab(
        "backtest", "--provider", "mock", "--strategy", "trader", "--gate", "max_position", "--set",
        "max_position.notional=1", "--set", "mock.minutes=104", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.json()["refusals"] == 100
    assert len(lab.run().rows("order_refused")) == 100
    assert result.json()["fills"] == 0
