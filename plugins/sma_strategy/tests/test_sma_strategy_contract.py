"""The crossover keeps the contract of strategies."""

from collections.abc import Callable

import pytest
from lab_sma_strategy.strategy import SmaCross

from lab.testing.contracts.strategy import StrategyContract


class TestSmaCross(StrategyContract):
    @pytest.fixture
    def make(self) -> Callable[[], SmaCross]:
        return lambda: SmaCross(fast=3, slow=8)
