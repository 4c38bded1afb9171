"""The crossover keeps the contract of strategies."""

from collections.abc import Callable

import pytest
from lab.testing.contracts.strategy import StrategyContract
from lab_sma_strategy.strategy import SmaCross


class TestSmaCross(StrategyContract):
    @pytest.fixture
    def make(self) -> Callable[[], SmaCross]:
        return lambda: SmaCross(fast=3, slow=8)
