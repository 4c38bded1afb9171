"""The paper broker keeps the contract of brokers."""

from collections.abc import Callable

import pytest
from lab.testing.contracts.broker import BrokerContract
from lab_paper_broker.broker import PaperBroker


class TestPaperBroker(BrokerContract):
    @pytest.fixture
    def make(self) -> Callable[[], PaperBroker]:
        return PaperBroker
