"""The protocols of the components that the engine calls.

The port classes of `lab.ports` satisfy these protocols; the engine does not import them, because imports point one way.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from lab.domain.events import Fill
from lab.domain.inputs import Input
from lab.domain.market import Candle
from lab.domain.orders import (
    Accepted,
    AmendRequest,
    CancelRequest,
    Feature,
    Order,
    OrderRequest,
    OrderType,
    Rejected,
    Report,
    Verdict,
)
from lab.engine.view import MarketView, View
from lab.errors import ComponentError, class_name, text_of

Action = OrderRequest | CancelRequest | AmendRequest
OnFailure = Callable[[str, str, str, BaseException], None]
"""Called with role, name, call and error of a component that failed, so that the host can keep the traceback."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class StrategyProtocol(Protocol):
    """A strategy, as the engine calls it. Optional methods are looked up once, by `overridden`."""

    @property
    def lookback(self) -> int: ...
    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]: ...


class RiskGateProtocol(Protocol):
    """A risk gate, as the engine calls it."""

    def review(self, request: OrderRequest, view: View) -> Verdict: ...


class BrokerProtocol(Protocol):
    """A broker, as the engine calls it."""

    def order_types(self) -> AbstractSet[OrderType]: ...
    def features(self) -> AbstractSet[Feature]: ...
    def watches_market(self) -> bool: ...
    def attach(self, market: MarketView) -> None: ...
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected: ...
    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected: ...
    def forget(self, order_id: str) -> None: ...
    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected: ...
    def observe(self, event: Input) -> Sequence[Fill | Report]: ...
    def funding_rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Any: ...  # likewise
    def idle(self, symbol: str) -> Any: ...  # checked by hand, so that a mistake is told alike compiled and not


def optional(method: F) -> F:
    """Mark a port's default of an optional method: the engine calls only a component's own version."""
    method.optional = True  # type: ignore[attr-defined]
    return method


def overridden(component: object, name: str) -> Any:
    """Return a component's bound method, or ``None`` where it has only the port's default or none."""
    method = getattr(component, name, None)
    return None if getattr(method, "optional", False) else method


def describe_failure(error: BaseException) -> str:
    """Return a component's error with the module and line that raised it: the same on every machine, unlike a path."""
    return f"{class_name(error)}: {text_of(str, error, 400)}{text_of(_where, error, 200)}"


def _where(error: BaseException) -> str:
    trace = BaseException.__dict__["__traceback__"].__get__(error)  # a class may have put another in its place
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno})"


def declared(role: str, name: str, call: str, ask: Callable[[], T], on_failure: OnFailure) -> T:
    """Return what a component says of itself before the run. Raises `ComponentError` naming it, whatever it raises."""
    try:
        return ask()
    except BaseException as error:
        on_failure(role, name, call, error)
        raise ComponentError(f"{role} {name} failed in {call}: {describe_failure(error)}") from error


def describe_value(value: object, most: int = 100) -> str:
    """Return what a component handed over, for a message: at most ``most`` characters that can be journalled."""
    return text_of(repr, value, most)
