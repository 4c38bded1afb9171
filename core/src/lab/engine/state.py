"""What the engine expects of the components it is given, and its own book-keeping for each of them.

The port classes of `lab.ports` satisfy these protocols; the engine does not import them, because imports point one way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from msgspec import Struct

from lab.domain.events import Fill, OrderEnded, OrderFilled
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.ledger import Ledger
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, CancelRequest, Ended, Order, OrderRequest, Rejected, Verdict
from lab.engine.history import History
from lab.engine.view import View

Action = OrderRequest | CancelRequest
OUTCOMES_KEPT = 1_000


class StrategyProtocol(Protocol):
    """A strategy, as the engine calls it. The optional methods are looked up once."""

    @property
    def lookback(self) -> int: ...
    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]: ...
    def snapshot(self) -> dict[str, Any]: ...
    def restore(self, snapshot: Mapping[str, Any]) -> None: ...


class RiskGateProtocol(Protocol):
    """A risk gate, as the engine calls it."""

    def review(self, request: OrderRequest, view: View) -> Verdict: ...
    def snapshot(self) -> dict[str, Any]: ...
    def restore(self, snapshot: Mapping[str, Any]) -> None: ...


class BrokerProtocol(Protocol):
    """A broker, as the engine calls it."""

    resting: int

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected: ...
    def cancel(self, order_id: str) -> bool: ...
    def observe(self, event: Input) -> Sequence[Fill | Ended]: ...
    def snapshot(self) -> dict[str, Any]: ...
    def restore(self, snapshot: Mapping[str, Any]) -> None: ...


def _defined(part: object, name: str) -> Any:
    """Return the bound method, or ``None`` where no class but the port itself defines it."""
    for cls in type(part).__mro__:
        if name in vars(cls):
            return None if cls.__module__.startswith("lab.ports.") else getattr(part, name)
    return None


class Market:
    """One symbol's state: history, newest quote, and who holds it."""

    __slots__ = (
        "calm_high", "calm_low", "history", "holders", "instrument", "last", "long", "quote", "quote_ns", "quotes",
        "symbol", "unrealised",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, interval_ns: int, keep: int) -> None:
        self.symbol = instrument.symbol
        self.instrument = instrument
        self.history = History(interval_ns, keep)
        self.quote: Quote | None = None
        self.quote_ns = 0
        self.quotes = 0
        self.last = 0.0
        # Float copies of (quantity, cost) of each open position, for the drawdown.
        self.holders: Sequence[tuple[float, float]] = ()
        self.unrealised = 0.0
        # The marks between which the equity is no extreme; none, where several books or markets make it up.
        self.calm_low = 0.0
        self.calm_high = 0.0
        self.long = True

    def mark(self, long: bool) -> float:
        """Return what a holding is valued at: long at the bid, short at the ask, without quotes at the close; or 0."""
        quote = self.quote
        return self.last if quote is None else quote[2] if long else quote[4]


class OpenOrder(Struct):
    """An order at work: whose it is, and what the engine knows is left of it, whatever the broker says."""

    seat: "Book"
    order: Order
    left: Decimal


class Book:
    """One strategy at the table: its book, its working orders, and its methods as bound once."""

    __slots__ = (
        "deposit", "failed", "ledger", "lookback", "name", "on_candle", "on_end", "on_fill", "on_history",
        "on_quote", "orders", "outcomes", "part", "retired_at", "stopped", "unasked", "view",
    )  # fmt: skip

    def __init__(self, name: str, part: StrategyProtocol, deposit: Decimal) -> None:
        self.name = name
        self.part = part
        self.deposit = deposit
        self.ledger = Ledger()
        self.lookback = part.lookback
        self.stopped = False
        self.failed = False
        self.unasked = 0
        self.retired_at: int | None = None
        self.orders: dict[str, Order] = {}
        self.outcomes: dict[str, str] = {}
        self.on_candle: Callable[[Candle, View], Iterable[Action]] = part.on_candle
        self.on_quote: Callable[[Quote, View], Iterable[Action]] | None = _defined(part, "on_quote")
        self.on_fill: Callable[[OrderFilled, View], None] | None = _defined(part, "on_fill")
        self.on_end: Callable[[OrderEnded, View], None] | None = _defined(part, "on_end")
        self.on_history: Callable[[View], None] | None = _defined(part, "on_history")
        self.view: View

    def remember(self, order_id: str, outcome: str) -> None:
        """Keep an id's outcome; at least the newest thousand are kept (the journal has them all)."""
        outcomes = self.outcomes
        outcomes[order_id] = outcome
        if len(outcomes) >= 2 * OUTCOMES_KEPT:
            self.outcomes = dict(list(outcomes.items())[OUTCOMES_KEPT:])
