"""A venue that reports what a test says, by the number of the candle, around a real engine with a strategy ``s``."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lab.domain.events import Fill
from lab.domain.orders import OrderRequest, OrderType, Report
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.ports import RiskGate, Strategy
from lab.testing.builders import START_NS, candles, instrument
from lab.testing.engines import engine_with, run
from lab.testing.harness import Action, ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker

D = Decimal
X = "BTCUSDT"
TEN = D(10)
Plan = Mapping[int, Sequence[Action]]
Says = Mapping[int, Sequence[Callable[[Any], Fill | Report]]]


def oid(candle: int = 0, place: int = 1, strategy: str = "s") -> str:
    """Return the id of an order decided on a candle."""
    return f"l-{strategy}-{X}-c{START_NS + candle * MINUTE_NS}-{place}"


ENTRY = oid()
STOP, TARGET = f"{ENTRY}/stop", f"{ENTRY}/target"
BRACKET = OrderRequest.buy(
    X, TEN, type=OrderType.LIMIT, limit=D(100), stop_loss=D(90), take_profit=D(120), reason="enter"
)


def filled(order_id: str, quantity: int | str | Decimal = TEN, price: int = 100) -> Callable[[Any], Fill]:
    """Return what fills an order at an event, without a fee."""
    zero, paid, much = D(0), D(price), D(quantity)
    return lambda event: Fill(
        order_id, much, paid, zero, zero, "taker", "scripted", paid, None, zero, event.time_ns
    )  # fmt: skip


def said(report: Report) -> Callable[[Any], Report]:
    return lambda event: report


def venue(says: Says | None = None, **settings: Any) -> ScriptedBroker:
    """Return a broker that watches the market and reports at each candle what is said of it."""

    def script(broker: ScriptedBroker, event: Any) -> list[Fill | Report]:
        return [make(event) for make in (says or {}).get(len(broker.seen) - 1, ())]

    return ScriptedBroker(script=script, **settings)


def engine(
    strategies: Plan | Mapping[str, Strategy],
    broker: ScriptedBroker | None = None,
    gates: Sequence[RiskGate] = (),
    **settings: Any,
) -> Engine:
    """Return an engine with a strategy that follows a plan, or with several."""
    named = {name: one for name, one in strategies.items() if isinstance(name, str)}
    if not named:
        named = {"s": ScriptedStrategy(plan=strategies)}  # type: ignore[dict-item,arg-type]
    known = instrument(X, quantity_min=D("0.001"), quantity_max=D(1_000))
    return engine_with(
        named, broker=broker or venue(), gates=gates, instruments=[known], deposit=D(1_000_000),  # type: ignore[arg-type]
        broker_name="scripted", **settings,
    )  # fmt: skip


def play(made: Engine, count: int, price: float = 100.0) -> list[Any]:
    """Return the outputs of so many candles."""
    return run(made, candles([price] * count))
