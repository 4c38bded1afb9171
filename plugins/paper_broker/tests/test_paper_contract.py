"""The paper broker keeps the contract of brokers."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from lab.testing import BrokerContract
from lab_paper_broker.broker import PaperBroker


class TestPaperBroker(BrokerContract):
    @pytest.fixture
    def make(self) -> Callable[[], PaperBroker]:
        return PaperBroker


class TestPaperBrokerWithSlippage(BrokerContract):
    @pytest.fixture
    def make(self) -> Callable[[], PaperBroker]:
        return lambda: PaperBroker(latency_ms=0, slippage_bps=Decimal(5), quote_slippage_bps=Decimal(2))
