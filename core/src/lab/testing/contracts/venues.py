"""Brokers that do what a venue may do to an order, for strategies and gates that must be able to live with it."""

from collections.abc import Sequence
from decimal import Decimal

from attrs import define, field
from msgspec.structs import replace

from lab.domain.events import Fill
from lab.domain.inputs import Input
from lab.domain.ledger import ZERO
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, Ended, Order, Rejected, Side
from lab.testing.simple_broker import SimpleBroker


@define(kw_only=True)
class FillsInParts(SimpleBroker):
    """Fills half of what is left, or the minimum where half is less, at each quote or candle."""

    _left: dict[str, Decimal] = field(init=False, factory=dict)

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        """Fill a part of each order that the event's price allows."""
        if not isinstance(event, Quote | Candle):
            return ()
        fills: list[Fill] = []
        for order, eligible_ns in list(self._working.values()):
            if order.symbol != event.symbol or event.time_ns < eligible_ns:
                continue
            instrument = self._instruments[order.symbol]
            left = self._left.get(order.id, order.quantity)
            part = min(left, max(instrument.floor_quantity(left / 2), instrument.quantity_min))
            fill = self.fill_of(replace(order, quantity=part), event)
            if fill is None:
                continue
            fills.append(fill)
            self._left[order.id] = left - part
            if left == part:
                del self._working[order.id], self._left[order.id]
        return fills


@define(kw_only=True)
class ExpiresAll(SimpleBroker):
    """Accepts every order and lets it expire at the next quote or candle."""

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        """Let every working order expire."""
        ended = [Ended(oid, "expired", "nothing was displayed") for oid in self._working]
        self._working.clear()
        return ended


@define(kw_only=True)
class RejectsAll(SimpleBroker):
    """Rejects every order."""

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Reject the order."""
        return Rejected("the venue takes no orders")


@define(kw_only=True)
class LimitsPositions(SimpleBroker):
    """Rejects what would bring a strategy's position, with its working orders, above ``most`` coins either way."""

    most: Decimal = field(default=Decimal("0.1"), metadata={"help": "largest position, in coins"})
    _held: dict[str, Decimal] = field(init=False, factory=dict)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order that leaves the position within bounds."""
        held = self._held.get(order.strategy, ZERO)
        after = held + _signed(order)
        if abs(after) > self.most and not order.reduce_only:
            return Rejected(f"the position would be {after}, above {self.most}")
        answer = super().submit(order, now_ns)
        if isinstance(answer, Accepted):
            self._held[order.strategy] = after
        return answer

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        """Forget a working order."""
        found = self._working.get(order_id)
        if found is not None:
            self._held[found[0].strategy] -= _signed(found[0])
        return super().cancel(order_id, now_ns)


def _signed(order: Order) -> Decimal:
    return order.quantity if order.side is Side.BUY else -order.quantity
