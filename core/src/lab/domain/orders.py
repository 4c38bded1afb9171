"""Requests of strategies, verdicts of gates, and orders with the answers of brokers.

msgspec structs, as the events are: `msgspec.structs.replace` makes a changed copy.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct, field


class Side(StrEnum):
    """The direction of an order."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """How an order meets the market."""

    MARKET = "market"
    LIMIT = "limit"


class OrderRequest(Struct, frozen=True, gc=False):
    """What a strategy wants. Quantity is in coins, above 0; the engine floors it to the instrument's lot.

    ``leg`` names the request within its candle (default: its place in the list) and ``decided_ns`` the candle it
    belongs to, by its open time (default: the event being decided on). The two make the order's id, so a request sent
    again with the same two is refused as a duplicate. ``reduce_only`` never opens or turns a position.
    ``planned_exit`` is the price at which the strategy means to leave: gates may use it; nothing is placed for it.
    """

    symbol: str
    side: Side
    quantity: Decimal
    type: OrderType = OrderType.MARKET
    limit: Decimal | None = None
    reduce_only: bool = False
    reason: str = ""
    leg: str = ""
    decided_ns: int | None = None
    planned_exit: Decimal | None = None

    @classmethod
    def buy(cls, symbol: str, quantity: Decimal, **more: object) -> "OrderRequest":
        """Ask to buy at the market, or at ``limit`` with ``type=OrderType.LIMIT``."""
        return cls(symbol, Side.BUY, quantity, **more)  # type: ignore[arg-type]

    @classmethod
    def sell(cls, symbol: str, quantity: Decimal, **more: object) -> "OrderRequest":
        """Ask to sell at the market, or at ``limit`` with ``type=OrderType.LIMIT``."""
        return cls(symbol, Side.SELL, quantity, **more)  # type: ignore[arg-type]


PRICE_FIELDS: Final = ("limit",)
"""The fields of a request that are prices of the order. Whatever checks or describes a request reads this list."""


class CancelRequest(Struct, frozen=True, gc=False):
    """Take a working order back. Unknown ids are ignored: it may just have filled."""

    order_id: str
    reason: str = ""


class Order(Struct, frozen=True, gc=False):
    """An order that passed the gates: the only thing a broker is given.

    It shows one moment: ``remaining`` is the quantity not filled then, and ``eligible_ns`` the venue time from
    which the broker may fill it, 0 before the broker has answered. A broker keeps its own count of what remains.
    """

    id: str
    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    type: OrderType
    limit: Decimal | None
    reduce_only: bool
    placed_ns: int
    remaining: Decimal
    eligible_ns: int = 0


class Accepted(Struct, frozen=True, gc=False):
    """The broker works on the order; nothing fills it before ``eligible_ns`` (venue time)."""

    eligible_ns: int


class Rejected(Struct, frozen=True, gc=False):
    """The broker does not take the order."""

    reason: str


class Ended(Struct, frozen=True, gc=False):
    """A working order ended without being filled whole: ``outcome`` is ``expired`` or ``rejected``."""

    order_id: str
    outcome: Literal["expired", "rejected"]
    reason: str


class Pass(Struct, frozen=True, gc=False):
    """The gate lets the request through as it is."""


class Shrink(Struct, frozen=True, gc=False):
    """The gate lets a smaller quantity through; ``numbers`` are the figures behind it."""

    quantity: Decimal
    reason: str
    numbers: Mapping[str, str] = field(default_factory=dict)


class Refuse(Struct, frozen=True, gc=False):
    """The gate lets nothing through; ``numbers`` are the figures behind it."""

    reason: str
    numbers: Mapping[str, str] = field(default_factory=dict)


PASS: Final = Pass()
Verdict = Pass | Shrink | Refuse
