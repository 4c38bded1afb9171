"""The port of brokers, which fill orders. Synchronous, without clock, I/O or chance."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal

from lab.domain.events import Fill
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument, MarginTier
from lab.domain.orders import Accepted, Feature, Order, OrderType, Rejected, Report
from lab.engine.view import MarketView
from lab.ports.component import Component


class Broker(Component, ABC):
    """Works on orders. Deterministic: latency and jitter come from settings, seed and order id.

    An order never fills on the event that caused it, nor before its ``eligible_ns``. What it returns is checked: exact
    figures, a known order, never more than remains. A broker that raises or breaks this ends the run as its own
    failure.
    """

    @abstractmethod
    def order_types(self) -> AbstractSet[OrderType]:
        """Return the order types it can work on. The engine refuses every other, naming these."""

    def features(self) -> AbstractSet[Feature]:
        """Return what it can do beside plain orders. The engine refuses a request that needs another."""
        return frozenset()

    def watches_market(self) -> bool:
        """Return whether `observe` is wanted for every event, as for running volume; else only while orders work."""
        return False

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments and the seed, once, before anything else."""

    def attach(self, market: MarketView) -> None:
        """Learn where to look up the market, once, after `open`: it always shows the moment of the call.

        While `observe` is called with a quote, a trade or a depth, the view shows it already.
        """

    @abstractmethod
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order, or say why not. ``now_ns`` is the venue time; ``Accepted.eligible_ns`` is not before it.

        An order with a ``parent`` follows that one at once and sleeps until it fills.
        """

    @abstractmethod
    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        """Take a working order back; `Rejected` where there is none of that id.

        `Accepted` up to now: it is gone, and nothing more is reported of it. `Accepted` with a later time: the cancel
        is on its way, and the order may fill until then; else it is reported as `Ended` with the outcome ``cancelled``.
        """

    def forget(self, order_id: str) -> None:
        """Drop an order at once: it has nothing left to do, or the run is over. Nothing more is reported of it."""
        self.cancel(order_id, 0)

    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Change a working order to what is given: the same id, other quantity, limit or stop.

        `Accepted` up to now: it is changed. With a later time: it is on its way, and `Amended` is reported then, unless
        the order ends before; amendments arrive in the order in which they were sent. Called only where
        `features` has ``AMEND``.
        """
        return Rejected("orders cannot be amended here")

    @abstractmethod
    def observe(self, event: Input) -> Sequence[Fill | Report]:
        """Apply a candle, quote, trade, depth, timer or trading state to the orders; fills come in their order.

        A step of the venue's clock comes after every order was forgotten: what is stamped from then on may be earlier.

        A quote counts from ``eligible_ns`` on. Of a candle that opened before ``eligible_ns``, only the close counts,
        unless all of the order's way was shorter than the candle. The engine gives no back-filled candle. The broker
        keeps count of what remains of each order and forgets one that is filled or that it ended.
        """

    def idle(self, symbol: str) -> tuple[float, float, int] | None:
        """Return below and above which price, and from when on, `observe` may do something for a symbol's orders.

        While a quote or candle lies strictly between the two, with all its prices, and its time is not later, it is not
        shown. Asked after a quote or candle on which nothing was reported; anything else that reaches the broker ends
        it. A broker that keeps the newest quote looks it up in the `MarketView` of `attach` when something is sent. For
        speed alone: ``None``, the default, means that every event counts.
        """
        return None

    def margin_tiers(self, symbol: str) -> Sequence[MarginTier] | None:
        """Return the margin table of a symbol's positions, as `Instrument.tiers` has it; ``None``: the venue's own.

        Asked once, before `open`, whose instruments have it already; so has the journal.
        """
        return None

    def funding_rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal | None:
        """Return the rate that a position pays at the end of a funding window: above 0 longs pay. ``None``: nothing.

        ``fetched`` is the venue's, ``None`` where none was fetched. Asked while a position is held: for a window once
        or, where several pass at one moment, twice, with the same answer, which is kept to 1e-12.
        """
        return fetched

    def describe(self, instrument: Instrument) -> Mapping[str, str]:
        """Return what is in force, for the run's header: latency, effective fee rates."""
        return {}
