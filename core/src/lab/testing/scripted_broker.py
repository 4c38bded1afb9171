"""A broker that does what a test says: it takes every order and reports what its script returns for each event."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from attrs import define, field

from lab.domain.events import Fill
from lab.domain.inputs import Input
from lab.domain.orders import Accepted, Order, OrderType, Rejected
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
    takes: Iterable[OrderType] = OrderType
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

    def cancel(self, order_id: str) -> bool:
        """Forget a working order."""
        return self.orders.pop(order_id, None) is not None

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
