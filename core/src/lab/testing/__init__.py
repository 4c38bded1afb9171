"""Test kit for plugin authors: contract suites, harnesses with the real engine, virtual time, builders.

The whole test of a plugin is one class::

    import pytest
    from lab.testing import StrategyContract

    class TestMine(StrategyContract):
        @pytest.fixture
        def make(self):
            return lambda: Mine(fast=2, slow=5)

Each name is imported when first used; pytest is imported by none of them, except where a rule is excused.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.testing.builders import START_NS as START_NS
    from lab.testing.builders import candles as candles
    from lab.testing.builders import instrument as instrument
    from lab.testing.builders import quotes as quotes
    from lab.testing.builders import tape as tape
    from lab.testing.builders import waves as waves
    from lab.testing.contracts.base import Contract as Contract
    from lab.testing.contracts.base import ContractFailure as ContractFailure
    from lab.testing.contracts.base import check as check
    from lab.testing.contracts.base import rule as rule
    from lab.testing.contracts.broker import BrokerContract as BrokerContract
    from lab.testing.contracts.provider import ProviderContract as ProviderContract
    from lab.testing.contracts.reporter import ReporterContract as ReporterContract
    from lab.testing.contracts.risk_gate import RiskGateContract as RiskGateContract
    from lab.testing.contracts.strategy import StrategyContract as StrategyContract
    from lab.testing.engines import engine_with as engine_with
    from lab.testing.engines import only as only
    from lab.testing.engines import run as run
    from lab.testing.harness import ScriptedStrategy as ScriptedStrategy
    from lab.testing.harness import StrategyHarness as StrategyHarness
    from lab.testing.harness import run_strategy as run_strategy
    from lab.testing.recording_sink import RecordingSink as RecordingSink
    from lab.testing.sample_runs import SampleRun as SampleRun
    from lab.testing.sample_runs import sample_run as sample_run
    from lab.testing.simple_broker import SimpleBroker as SimpleBroker
    from lab.testing.simulation import simulate as simulate

_HOMES = {
    "lab.testing.builders": ("START_NS", "candles", "instrument", "quotes", "tape", "waves"),
    "lab.testing.contracts.base": ("Contract", "ContractFailure", "check", "rule"),
    "lab.testing.contracts.broker": ("BrokerContract",),
    "lab.testing.contracts.provider": ("ProviderContract",),
    "lab.testing.contracts.reporter": ("ReporterContract",),
    "lab.testing.contracts.risk_gate": ("RiskGateContract",),
    "lab.testing.contracts.strategy": ("StrategyContract",),
    "lab.testing.engines": ("engine_with", "only", "run"),
    "lab.testing.recording_sink": ("RecordingSink",),
    "lab.testing.sample_runs": ("SampleRun", "sample_run"),
    "lab.testing.harness": ("StrategyHarness", "ScriptedStrategy", "run_strategy"),
    "lab.testing.simple_broker": ("SimpleBroker",),
    "lab.testing.simulation": ("simulate",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'lab.testing' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
