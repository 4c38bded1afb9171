"""The gates keep the contract of risk gates."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from lab.testing import RiskGateContract
from lab_risk_limits.daily_loss import MaxDailyLoss
from lab_risk_limits.margin import Margin


class TestMaxDailyLoss(RiskGateContract):
    over_all_books = True  # the loss is the session's

    @pytest.fixture
    def make(self) -> Callable[[], MaxDailyLoss]:
        return lambda: MaxDailyLoss(usd=Decimal(500), percent=Decimal(10))


class TestMargin(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], Margin]:
        return Margin


class TestMarginThatShrinks(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], Margin]:
        return lambda: Margin(on_excess="shrink")
