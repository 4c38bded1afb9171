"""Who decides, who limits and who fills: strategy, risk gate and broker. Synchronous, without clock, I/O or chance."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from lab.domain.events import Fill, OrderEnded, OrderFilled
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, CancelRequest, Ended, Order, OrderRequest, Rejected, Verdict
from lab.engine.view import View
from lab.ports.component import Component

Action = OrderRequest | CancelRequest


class Strategy(Component, ABC):
    """Decides. One instance, one book: it sees the shared market and only its own money.

    ``on_candle`` is first called when `lookback` candles are there, back-filled ones included. Requests made on a
    back-filled candle, or for an entry while the trading gate is shut, are recorded as signals and not placed: the
    truth about what is held is ``view.position``, never the strategy's memory of what it asked for.
    """

    @property
    def lookback(self) -> int:
        """Candles needed before the first decision. The engine keeps at least 1.5 times as many."""
        return 1

    @abstractmethod
    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        """Decide on a closed candle. Called once for each, in order; one that comes late is only put into history."""

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        """Decide on a quote. Only called where a class defines it."""
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        """Learn of a fill of an own order, after it was booked. Only called where a class defines it."""

    def on_end(self, end: OrderEnded, view: View) -> None:
        """Learn that an own order was cancelled, expired or rejected. Only called where a class defines it."""

    def on_history(self, view: View) -> None:
        """Learn that candles were put into the past (late seeding): rebuild what was summed up from them.

        Only called where a class defines it.
        """


class RiskGate(Component, ABC):
    """Reviews what would open or enlarge a position. Orders that only reduce one are never put before a gate."""

    @abstractmethod
    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Return `PASS`, a `Shrink` to a smaller quantity, or a `Refuse`; the latter two with their figures.

        ``request.quantity`` is already on the lot and shrunk by the gates before. Raising counts as a refusal.
        """

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limits in force, for the run's header and report: name to figure with its unit."""
        return {}


class Broker(Component, ABC):
    """Works on orders. Synchronous and deterministic: latency and jitter come from settings, seed and order id.

    The engine calls `observe` only while `resting` is not 0. An order never fills on the event that caused it, nor on
    data whose time is before its ``eligible_ns``.
    """

    resting: int

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments and the seed, once, before anything else."""

    @abstractmethod
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order, or say why not."""

    @abstractmethod
    def cancel(self, order_id: str) -> bool:
        """Forget a working order; ``False`` when there is none of that id."""

    @abstractmethod
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        """Let the working orders meet a candle, a quote or a timer. Fills come in the order the orders were submitted.

        A quote counts from ``eligible_ns`` on. Of a candle, open, high and low count only if it opened at or after
        ``eligible_ns``; otherwise only its close does. The engine gives no back-filled candle. The broker lowers
        ``order.remaining`` for each fill it returns and forgets an order at 0.
        """

    def describe(self, instrument: Instrument) -> Mapping[str, str]:
        """Return what is in force, for the run's header: latency, effective fee rates."""
        return {}
