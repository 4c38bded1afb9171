"""One contract a kind of component: inherit it, give the fixture ``make``, run pytest."""

from lab.ports import Broker, Provider, Reporter, RiskGate, Strategy
from lab.testing.contracts.base import Contract
from lab.testing.contracts.broker import BrokerContract
from lab.testing.contracts.provider import ProviderContract
from lab.testing.contracts.reporter import ReporterContract
from lab.testing.contracts.risk_gate import RiskGateContract
from lab.testing.contracts.strategy import StrategyContract


def by_kind(component: type) -> type[Contract]:
    """Return the contract of a component class. Raises ``TypeError`` for a class of no kind."""
    for port, contract in (
        (Provider, ProviderContract),
        (Strategy, StrategyContract),
        (RiskGate, RiskGateContract),
        (Broker, BrokerContract),
        (Reporter, ReporterContract),
    ):
        if issubclass(component, port):
            return contract
    raise TypeError(f"{component.__name__} derives from none of Provider, Strategy, RiskGate, Broker, Reporter")
