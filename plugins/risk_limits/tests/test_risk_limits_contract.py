"""The gates keep the contract of risk gates."""

from collections.abc import Callable

import pytest
from lab.testing.contracts.risk_gate import RiskGateContract
from lab_risk_limits.daily_loss import MaxDailyLoss
from lab_risk_limits.margin import Margin


class TestMaxDailyLoss(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], MaxDailyLoss]:
        return MaxDailyLoss


class TestMarginThatRefuses(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], Margin]:
        return Margin


class TestMarginThatShrinks(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], Margin]:
        return lambda: Margin(on_excess="shrink")
