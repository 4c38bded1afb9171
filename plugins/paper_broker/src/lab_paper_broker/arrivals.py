"""When what is sent arrives at the venue."""

from typing import Any, Final
from zlib import crc32

from lab import Order

from lab_paper_broker.models import Latency

_crc32: Final = crc32  # compiled code reads a name that is Final at once, and looks any other up in its module
_MOST_NS: Final = 604_800 * 10**9


class Arrivals:
    """Latency ± jitter for orders, a latency for cancels and amendments, in nanoseconds; or a model of both.

    One connection: what a strategy sends later arrives no earlier, so an exit stays ahead of the entry behind it, and a
    cancel behind its order.
    """

    __slots__ = ("_cancel_ns", "_least_ns", "_model", "_newest", "_spread_ns", "seed")

    def __init__(self, latency_ns: int, jitter_ns: int, cancel_ns: int, model: Latency | None) -> None:
        self._least_ns = latency_ns - jitter_ns
        self._spread_ns = 2 * jitter_ns + 1
        self._cancel_ns = cancel_ns
        self._model: Any = model  # a third party's: what it draws is checked by hand
        self._newest: dict[str, int] = {}  # strategy -> arrival of what it sent last
        self.seed = 0

    def of_order(self, order: Order, now_ns: int) -> int:
        """Return when an order that is sent now arrives."""
        oid = order.id
        if self._model is not None:
            drawn = _checked("submit_ns", self._model.submit_ns(oid, self.seed))
            return self._in_turn(order.strategy, now_ns + drawn)
        drawn = _crc32(oid.encode(), self.seed) * self._spread_ns >> 32
        return self._in_turn(order.strategy, now_ns + self._least_ns + drawn)

    def of_change(self, order: Order, now_ns: int) -> int:
        """Return when a cancel or an amendment that is sent now arrives."""
        if self._model is not None:
            drawn = _checked("cancel_ns", self._model.cancel_ns(order.id, self.seed))
            return self._in_turn(order.strategy, now_ns + drawn)
        return self._in_turn(order.strategy, now_ns + self._cancel_ns)

    def put_off(self, strategy: str, arrival_ns: int) -> int:
        """Let what a strategy sent last arrive later; return when."""
        self._newest[strategy] = arrival_ns
        return arrival_ns

    def forget(self) -> None:
        """Forget what arrived when: the venue's clock stepped."""
        self._newest.clear()

    def _in_turn(self, strategy: str, arrival_ns: int) -> int:
        newest = self._newest
        newest_ns = newest.get(strategy, 0)
        if arrival_ns < newest_ns:
            arrival_ns = newest_ns
        newest[strategy] = arrival_ns
        return arrival_ns


def _checked(method: str, drawn: Any) -> int:
    """Return a latency that a model gave. Raises ``TypeError`` naming the model where it is none."""
    if type(drawn) is not int or not 0 <= drawn < _MOST_NS:
        what = f"{drawn!r:.60} ({type(drawn).__name__})"
        raise TypeError(f"latency_model: {method}() gave {what}; expected nanoseconds as int, from 0 to a week")
    return drawn
