"""The provider keeps the contract of providers, over the local venue."""

from collections.abc import Callable

import pytest
from lab.testing import ProviderContract
from lab_bitunix.provider import Bitunix


class TestBitunixOnTheLocalVenue(ProviderContract):
    other_symbol = "ETHUSDT"

    @pytest.fixture
    def make(self) -> Callable[[], Bitunix]:
        return lambda: Bitunix(venue="local")
