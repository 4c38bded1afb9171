"""The gates are offered by name, and keep the contract of risk gates."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from lab import Quote
from lab.domain.inputs import Input
from lab.plugins.discovery import Registry
from lab.testing import RiskGateContract
from lab_risk_limits.cool_down import CoolDown
from lab_risk_limits.daily_loss import MaxDailyLoss
from lab_risk_limits.drawdown import MaxDrawdown
from lab_risk_limits.losses import ConsecutiveLosses
from lab_risk_limits.margin import Margin
from lab_risk_limits.order_rate import OrderRate
from lab_risk_limits.position import MaxPosition
from lab_risk_limits.price_band import PriceBand


@pytest.mark.behaviour("R3")
@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("max_daily_loss", MaxDailyLoss),
        ("max_drawdown", MaxDrawdown),
        ("consecutive_losses", ConsecutiveLosses),
        ("cool_down", CoolDown),
        ("max_position", MaxPosition),
        ("margin", Margin),
        ("order_rate", OrderRate),
        ("price_band", PriceBand),
    ],
)
def test_the_plugin_offers_each_gate_by_name(name: str, cls: type) -> None:
    assert Registry().get("risk gate", name).cls is cls


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


class TestMaxDrawdown(RiskGateContract):
    over_all_books = True  # the equity is the session's

    @pytest.fixture
    def make(self) -> Callable[[], MaxDrawdown]:
        return lambda: MaxDrawdown(percent=Decimal(10), usd=Decimal(2_000))


class TestConsecutiveLosses(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], ConsecutiveLosses]:
        return lambda: ConsecutiveLosses(losses=1)


class TestConsecutiveLossesWithAPause(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], ConsecutiveLosses]:
        return lambda: ConsecutiveLosses(losses=1, pause_minutes=20)


class TestCoolDown(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], CoolDown]:
        return CoolDown


class TestMaxPosition(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], MaxPosition]:
        return lambda: MaxPosition(quantity=Decimal("0.5"), notional=Decimal(20_000))


class TestMaxPositionThatShrinks(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], MaxPosition]:
        return lambda: MaxPosition(quantity=Decimal("0.5"), notional=Decimal(20_000), on_excess="shrink")


class TestOrderRate(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], OrderRate]:
        return lambda: OrderRate(orders=3, seconds=600)


class TestPriceBand(RiskGateContract):
    @pytest.fixture
    def make(self) -> Callable[[], PriceBand]:
        return PriceBand

    def events(self, closes: Sequence[float] | None = None) -> list[Input]:
        """Widen the spread of every quote after the fortieth input to 4 %: the traders send market orders only."""
        events = super().events(closes)
        return [
            one._replace(bid=round(one.bid * 0.98, 1), ask=round(one.ask * 1.02, 1))
            if isinstance(one, Quote) and place > 40
            else one
            for place, one in enumerate(events)
        ]
