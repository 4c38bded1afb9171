"""The mock keeps the contract of providers."""

from collections.abc import Callable

import pytest
from lab.testing import ProviderContract
from lab_mock.provider import MockProvider


class TestMockProvider(ProviderContract):
    other_symbol = "ETHUSDT"

    @pytest.fixture
    def make(self) -> Callable[[], MockProvider]:
        return lambda: MockProvider(minutes=60)


class TestMockProviderWithDepth(ProviderContract):
    @pytest.fixture
    def make(self) -> Callable[[], MockProvider]:
        return lambda: MockProvider(minutes=60, depth=5)
