"""Running gates under the real engine: candles, two-sided orders by plan, and what became of them by step."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from attrs import frozen
from lab import OrderFilled, RiskGate, View
from lab.domain.events import EntriesHalted, OrderAccepted, OrderRefused
from lab.domain.inputs import Input
from lab.engine.engine import Engine
from lab.testing import ScriptedStrategy, candles, engine_with, instrument
from lab.testing.harness import Action

T = TypeVar("T")
Plan = Mapping[int, Sequence[Action]]


@frozen
class Played:
    """A run that is over: its engine, and the outputs of each step."""

    engine: Engine
    steps: Sequence[Sequence[object]]

    def view(self, strategy: int = 0) -> View:
        return self.engine.strategies[strategy].view

    def refused(self, strategy: str = "s0") -> dict[int, OrderRefused]:
        return self._by_step(OrderRefused, strategy)

    def accepted(self, strategy: str = "s0") -> dict[int, OrderAccepted]:
        return self._by_step(OrderAccepted, strategy)

    def filled(self, strategy: str = "s0") -> dict[int, OrderFilled]:
        return self._by_step(OrderFilled, strategy)

    def halted(self, strategy: str = "s0") -> dict[int, EntriesHalted]:
        return self._by_step(EntriesHalted, strategy)

    def _by_step(self, kind: type[T], strategy: str) -> dict[int, T]:
        return {
            number: output
            for number, outputs in enumerate(self.steps)
            for output in outputs
            if isinstance(output, kind) and getattr(output, "strategy", "") == strategy
        }


Play = Callable[..., Played]


@pytest.fixture
def play() -> Play:
    """Give a function that plays closes, or any inputs, to strategies with plans, under gates.

    An order decided on one candle fills at the close of the next, with a fee of ``fee`` of its worth. The instruments
    have a lot of 0.001 and a minimum of 0.01.
    """

    def run(
        inputs: Iterable[float] | Iterable[Input],
        *plans: Plan,
        gates: Iterable[RiskGate] | Mapping[str, RiskGate] = (),
        fee: str = "0.001",
        symbols: Sequence[str] = ("BTCUSDT",),
        **more: Any,
    ) -> Played:
        steps = {"lot": Decimal("0.001"), "quantity_min": Decimal("0.01"), "taker_fee_rate": Decimal(fee)}
        listed: list[Any] = list(inputs)
        made = engine_with(
            [ScriptedStrategy(plan=plan) for plan in plans or ({},)],
            gates=gates,
            instruments=[instrument(symbol, **steps) for symbol in symbols],
            **more,
        )
        events = candles(listed) if listed and isinstance(listed[0], float) else listed
        return Played(made, [list(made.step(event)) for event in events])

    return run
