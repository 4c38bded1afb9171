"""What each gate remembers: a new instance that is told goes on where the old one was, and takes nothing else."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from lab import OrderRequest, RiskGate
from lab.domain.time import MINUTE_NS
from lab.testing import candles
from lab.testing.builders import START_NS
from lab_risk_limits.cool_down import CoolDown
from lab_risk_limits.daily_loss import MaxDailyLoss
from lab_risk_limits.drawdown import MaxDrawdown
from lab_risk_limits.losses import ConsecutiveLosses
from lab_risk_limits.order_rate import OrderRate

D = Decimal
X = "BTCUSDT"
BUY = OrderRequest.buy(X, D(1))
EXIT = OrderRequest.sell(X, D(1), reduce_only=True)
LOST = START_NS + 5 * MINUTE_NS
AT_ONCE: Mapping[int, Any] = {number: [BUY] for number in range(9)}


@pytest.mark.behaviour("R4")
@pytest.mark.parametrize(
    ("gate", "memory"),
    [
        (MaxDailyLoss(), {"loss": "500", "limit": "500", "day_starting_equity": "10000", "equity": "9500"}),
        (MaxDrawdown(), {"fall": "100", "limit": "100", "highest_equity": "1000", "lowest_equity": "900"}),
        (ConsecutiveLosses(), {"tripped s0": f"{LOST} 12.5", "row s1": "-1.5 -2"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RiskGate) else "",
)
def test_what_had_tripped_is_tripped_and_is_handed_on_as_it_came(
    play: Any, gate: RiskGate, memory: Mapping[str, str]
) -> None:
    gate.restore(memory)
    assert gate.snapshot() == memory
    played = play([100.0] * 3, AT_ONCE, gates={"gate": gate}, gate_memory={"gate": memory})
    assert not played.refused(), "it is asked nothing"
    assert not played.accepted()
    assert played.engine.counters.decisions == 0
    assert "gate: " in played.view().halt_reasons[0]


@pytest.mark.behaviour("R4")
def test_a_row_of_losses_goes_on_where_it_was(play: Any) -> None:
    gates = {"gate": ConsecutiveLosses(losses=3)}
    played = play([100.0] * 3, {0: [BUY], 1: [EXIT]}, gates=gates, gate_memory={"gate": {"row s0": "-1 -2"}})
    assert played.halted()[2].reason.startswith("3 round trips in a row lost 3.2")
    alone = play([100.0] * 3, {0: [BUY], 1: [EXIT]}, gates={"gate": ConsecutiveLosses(losses=3)})
    assert not alone.halted()


@pytest.mark.behaviour("R4")
def test_waits_go_on_to_the_moment_at_which_they_would_have_ended(play: Any) -> None:
    """Candle n is known at minute n + 1: what was lost in minute 2 is waited for until minute 5."""
    lost_ns = START_NS + 2 * MINUTE_NS
    for gate, memory in (
        (CoolDown(minutes=3), {"s0": f"{lost_ns} 12.5"}),
        (ConsecutiveLosses(pause_minutes=3), {"tripped s0": f"{lost_ns} 12.5"}),
        (OrderRate(orders=1, seconds=180), {"s0": str(lost_ns)}),
    ):
        inputs = candles([100.0] * 4, start_ns=START_NS + 2 * MINUTE_NS)
        played = play(inputs, {1: [BUY], 2: [BUY]}, gates={"gate": gate}, gate_memory={"gate": memory})
        assert played.refused()[1].numbers["seconds_left"] == "60", gate
        assert list(played.accepted()) == [2], gate


def test_where_the_clock_of_a_restart_is_an_earlier_one_a_wait_begins_anew_and_is_no_longer(play: Any) -> None:
    future = str(START_NS + 100 * MINUTE_NS)
    for gate, memory in (
        (CoolDown(minutes=3), {"s0": f"{future} 12.5"}),
        (ConsecutiveLosses(pause_minutes=3), {"tripped s0": f"{future} 12.5"}),
        (OrderRate(orders=1, seconds=180), {"s0": future}),
    ):
        played = play([100.0] * 5, AT_ONCE, gates={"gate": gate}, gate_memory={"gate": memory})
        assert {number: one.numbers["seconds_left"] for number, one in played.refused().items()}.get(2) == "60", gate
        assert 3 in played.accepted(), gate


@pytest.mark.parametrize(
    ("gate", "memory"),
    [
        (MaxDailyLoss(), {"loss": "500"}),
        (MaxDailyLoss(), {"loss": "x", "limit": "500", "day_starting_equity": "10000", "equity": "9500"}),
        (MaxDrawdown(), {"fall": "1 2", "limit": "1", "highest_equity": "1", "lowest_equity": "1"}),
        (MaxDrawdown(), {"fall": "NaN", "limit": "1", "highest_equity": "1", "lowest_equity": "1"}),
        (ConsecutiveLosses(), {"row s0": "-1 -1 -1"}),
        (ConsecutiveLosses(), {"tripped s0": "1.5 1"}),
        (ConsecutiveLosses(), {"tripped s0": "1"}),
        (ConsecutiveLosses(), {"lost s0": "1"}),
        (CoolDown(), {"s0": "1e999999 1"}),
        (CoolDown(), {"s0": "-1 1"}),
        (CoolDown(), {"s0": ""}),
        (OrderRate(orders=1), {"s0": "1 2"}),
        (OrderRate(), {"s0": "soon"}),
    ],
    ids=str,
)
def test_what_is_no_memory_of_the_gate_is_refused_and_changes_nothing(gate: Any, memory: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        gate.restore(memory)
    assert gate.snapshot() == {}
    gate.restore({})
    assert gate.snapshot() == {}
