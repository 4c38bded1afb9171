"""A broker that does what a test says: it takes every order and reports what its script returns for each event."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from attrs import define, field

from lab.domain.events import Fill
from lab.domain.inputs import Input
from lab.domain.orders import Accepted, Feature, Order, OrderType, Rejected
from lab.ports import Broker

Script = Callable[["ScriptedBroker", Any], Any]


def no_reports(broker: "ScriptedBroker", event: Input) -> tuple[()]:
    """Report nothing: orders rest for ever."""
    return ()


def fill_all(broker: "ScriptedBroker", event: Input) -> list[Fill]:
    """Fill every order with what is left of it."""
    return [broker.fill(order, event) for order in list(broker.orders.values())]


@define(kw_only=True, eq=False)
class ScriptedBroker(Broker):
    """Takes every order, or gives ``answer``; at each event it reports what ``script`` returns, sound or not.

    ``orders`` are those working, the oldest first, and ``left`` what is left of each; ``seen`` are the events met with
    the ids that worked then.
    """

    script: Script = no_reports
    latency_ns: int = 0
    answer: Any = None
    answer_to_cancel: Any = None
    answer_to_amend: Any = None
    takes: Iterable[OrderType] = OrderType
    can: Iterable[Feature] = Feature
    watches: bool = True
    price: Decimal = Decimal(50_000)
    orders: dict[str, Order] = field(init=False, factory=dict)
    left: dict[str, Decimal] = field(init=False, factory=dict)
    seen: list[tuple[Input, tuple[str, ...]]] = field(init=False, factory=list)

    def order_types(self) -> frozenset[OrderType]:
        """Return what the test says."""
        return frozenset(self.takes)

    def watches_market(self) -> bool:
        """Return what the test says."""
        return self.watches

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take the order, unless the test gives an answer."""
        if self.answer is None or isinstance(self.answer, Accepted):
            self.orders[order.id] = order
            self.left[order.id] = order.quantity
        answer: Accepted | Rejected = Accepted(now_ns + self.latency_ns) if self.answer is None else self.answer
        return answer

    def features(self) -> frozenset[Feature]:
        """Return what the test says."""
        return frozenset(self.can)

    def cancel(self, order_id: str, now_ns: int) -> Any:
        """Forget a working order at once, unless the test gives an answer."""
        if self.answer_to_cancel is not None:
            return self.answer_to_cancel
        return Rejected("no such order") if self.orders.pop(order_id, None) is None else Accepted(now_ns)

    def amend(self, order: Order, now_ns: int) -> Any:
        """Take an amendment at once, unless the test gives an answer."""
        if self.answer_to_amend is not None:
            return self.answer_to_amend
        self.left[order.id] += order.quantity - self.orders[order.id].quantity
        self.orders[order.id] = order
        return Accepted(now_ns)

    def observe(self, event: Input) -> Any:
        """Return what the script says."""
        self.seen.append((event, tuple(self.orders)))
        return self.script(self, event)

    def fill(self, order: Order, event: Any, quantity: Decimal | None = None) -> Fill:
        """Fill an order in part or whole, as an honest broker does."""
        quantity = self.left[order.id] if quantity is None else quantity
        self.left[order.id] -= quantity
        if not self.left[order.id]:
            del self.orders[order.id]
        rate = Decimal("0.0006")
        fee = self.price * quantity * rate
        return Fill(
            order.id, quantity, self.price, fee, rate, "taker", "scripted", self.price, None, Decimal(0), event.time_ns
        )
