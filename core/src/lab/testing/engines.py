"""A real engine around several components, the outputs of some inputs, and a choice among them.

`lab.testing.StrategyHarness` watches one strategy; here strategies, gates and broker meet as they are::

    from lab.testing import engine_with, only, run, tape, waves

    engine = engine_with([Mine(), Other()], gates=[MyLimit()])
    refused = only(OrderRefused, run(engine, tape(waves(60))))
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.ports import Broker, RiskGate, Strategy
from lab.testing.builders import instrument
from lab.testing.simple_broker import SimpleBroker

T = TypeVar("T")


def engine_with(
    strategies: Iterable[Strategy] | Mapping[str, Strategy],
    *,
    gates: Iterable[RiskGate] | Mapping[str, RiskGate] = (),
    broker: Broker | None = None,
    instruments: Iterable[Instrument] = (),
    interval_ns: int = MINUTE_NS,
    deposit: Decimal = Decimal(10_000),
    **settings: Any,
) -> Engine:
    """Return an engine that has begun, with a deposit for each strategy; the broker is opened here.

    Strategies without names are called ``s0``, ``s1`` and so on, gates ``g0``, ``g1``. Without a broker there is a
    `SimpleBroker`, without instruments `instrument`'s BTCUSDT. ``settings`` are further ones of `Engine`.
    """
    known = {one.symbol: one for one in instruments} or {"BTCUSDT": instrument()}
    broker = SimpleBroker() if broker is None else broker
    broker.open(known, 0)
    books = [(name, strategy, deposit) for name, strategy in _named("s", strategies).items()]
    settings = {"config_hash": "l", **settings}
    engine = Engine(known, interval_ns, broker, list(_named("g", gates).items()), books, **settings)
    engine.begin()
    return engine


def run(engine: Engine, inputs: Iterable[Input]) -> list[Any]:
    """Step every input and return all outputs, in order."""
    return [output for event in inputs for output in engine.step(event)]


def only(kind: type[T], outputs: Iterable[object]) -> list[T]:
    """Return the outputs of one class, in order."""
    return [output for output in outputs if isinstance(output, kind)]


def _named(letter: str, components: Iterable[T] | Mapping[str, T]) -> Mapping[str, T]:
    if isinstance(components, Mapping):
        return components
    return {f"{letter}{number}": one for number, one in enumerate(components)}
