"""The contract is most of the test: it holds every strategy to what lab relies on. The rest is this one's own idea."""

from collections.abc import Callable

import pytest
from lab import OrderRequest
from lab.testing import StrategyContract, run_strategy, tape
from lab_breakout import Breakout


class TestBreakout(StrategyContract):
    @pytest.fixture
    def make(self) -> Callable[[], Breakout]:
        return lambda: Breakout(window=5)


def test_buys_the_close_above_the_range_and_sells_the_one_below() -> None:
    flat, up, down = [50_000.0] * 6, [50_100.0] * 3, [49_900.0] * 2
    answers = run_strategy(Breakout(window=5), tape(flat + up + down))
    actions = [action for _, asked in answers for action in asked if isinstance(action, OrderRequest)]
    assert [(str(action.side), action.reduce_only) for action in actions] == [("buy", False), ("sell", True)]
