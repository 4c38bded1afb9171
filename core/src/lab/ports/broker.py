"""The port of brokers, which fill orders. Synchronous, without clock, I/O or chance."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from lab.domain.events import Fill
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.orders import Accepted, Ended, Order, OrderType, Rejected
from lab.ports.component import Component


class Broker(Component, ABC):
    """Works on orders. Deterministic: latency and jitter come from settings, seed and order id.

    An order never fills on the event that caused it, nor on data whose time is before its ``eligible_ns``. What it
    returns is checked: exact figures, a known order, never more than remains. A broker that raises or breaks this ends
    the run as its own failure.
    """

    @abstractmethod
    def order_types(self) -> AbstractSet[OrderType]:
        """Return the order types it can work on. The engine refuses every other, naming these."""

    def watches_market(self) -> bool:
        """Return whether `observe` is wanted for every event, as for running volume; else only while orders work."""
        return False

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments and the seed, once, before anything else."""

    @abstractmethod
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order, or say why not. ``now_ns`` is the venue time; ``Accepted.eligible_ns`` is not before it."""

    @abstractmethod
    def cancel(self, order_id: str) -> bool:
        """Forget a working order; ``False`` when there is none of that id."""

    @abstractmethod
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        """Apply a candle, quote, trade, depth or timer to the working orders; fills come in the order of submission.

        A quote counts from ``eligible_ns`` on. Of a candle that opened before ``eligible_ns``, only the close counts.
        The engine gives no back-filled candle. The broker keeps count of what remains of each order and forgets one
        that is filled or that it ended.
        """

    def describe(self, instrument: Instrument) -> Mapping[str, str]:
        """Return what is in force, for the run's header: latency, effective fee rates."""
        return {}
