"""Replay keeps the contract of providers, for candles and for ticks."""

from collections.abc import Callable
from typing import ClassVar

import pytest
from lab.testing import ProviderContract
from lab_replay.provider import ReplayProvider

NAMELESS = {"P7": "a file does not say whose prices it holds: it is taken for the symbol that is wanted"}


class TestReplayOfCandles(ProviderContract):
    excused = NAMELESS

    @pytest.fixture
    def make(self) -> Callable[[], ReplayProvider]:
        return lambda: ReplayProvider(file="btcusd-1m", warmup=30)


class TestReplayOfTwoFiles(ProviderContract):
    other_symbol = "ETHUSDT"

    @pytest.fixture
    def make(self) -> Callable[[], ReplayProvider]:
        return lambda: ReplayProvider(files=["BTCUSDT=btcusd-1m", "ETHUSDT=btcusd-1m"], warmup=30)


class TestReplayOfTicks(ProviderContract):
    excused: ClassVar[dict[str, str]] = {
        **NAMELESS,
        "P5": "a file of ticks has no candles before its first tick",
        "P6": "a file of ticks has no candles before its first tick",
    }

    @pytest.fixture
    def make(self) -> Callable[[], ReplayProvider]:
        return lambda: ReplayProvider(file="btcusdt-ticks")
