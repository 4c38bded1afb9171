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
    """How an order meets the market.

    A quote triggers a sell whose price falls by its bid, a buy whose price rises by its ask; without quotes a candle
    does by its low or high. What is triggered never goes back.
    """

    MARKET = "market"
    """Takes what is displayed, from its arrival on."""
    LIMIT = "limit"
    """Fills at its limit or better."""
    STOP = "stop"
    """Becomes a market order once the price reaches ``stop``: from above for a sell, from below for a buy."""
    STOP_LIMIT = "stop_limit"
    """Becomes a limit order at ``limit`` once the price reaches ``stop``, as a stop does."""
    TAKE_PROFIT = "take_profit"
    """Becomes a market order once the price reaches ``stop`` from the other side: from below for a sell."""
    TRAILING_STOP = "trailing_stop"
    """A stop that follows the best price since its arrival at the distance ``trail``, and never goes back."""


class TimeInForce(StrEnum):
    """How long an order works."""

    GTC = "gtc"
    """Good till cancelled."""
    IOC = "ioc"
    """Immediate or cancel: what does not fill on arrival is cancelled."""
    FOK = "fok"
    """Fill or kill: it fills whole on arrival, or is cancelled."""
    GTD = "gtd"
    """Good till date: it expires at ``expires_ns``."""


class Feature(StrEnum):
    """What a broker can do beside plain orders that work until they are cancelled."""

    IOC = "ioc"
    FOK = "fok"
    GTD = "gtd"
    POST_ONLY = "post_only"
    GROUP = "group"
    """One cancels the other: orders of one ``group``."""
    BRACKET = "bracket"
    """Orders with a ``parent``, which sleep until it fills."""
    AMEND = "amend"


class OrderRequest(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a strategy wants. Quantity is in coins, above 0; the engine floors it to the instrument's lot.

    ``leg`` names the request within its candle (default: its place in the list) and ``decided_ns`` the candle it
    belongs to, by its open time (default: the event being decided on). The two make the order's id, so a request sent
    again with the same two is refused as a duplicate. ``reduce_only`` never opens or turns a position, and the order
    ends when the position is closed.

    ``stop`` is the price that triggers an order, ``trail`` the distance at which a trailing stop follows. ``post_only``
    is for limits: an order that would take is rejected. ``expires_ns`` is the venue time at which a GTD order expires.
    ``stop_loss`` and ``take_profit`` rest as a stop and as a limit order from the first fill on, for what was filled;
    they only reduce, and one cancels the other. Requests of one strategy with the same ``group`` cancel each other.
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
    stop: Decimal | None = None
    trail: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    post_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_ns: int | None = None
    group: str = ""

    @classmethod
    def buy(cls, symbol: str, quantity: Decimal, **more: object) -> "OrderRequest":
        """Ask to buy at the market, or as the other fields say."""
        return cls(symbol, Side.BUY, quantity, **more)  # type: ignore[arg-type]

    @classmethod
    def sell(cls, symbol: str, quantity: Decimal, **more: object) -> "OrderRequest":
        """Ask to sell at the market, or as the other fields say."""
        return cls(symbol, Side.SELL, quantity, **more)  # type: ignore[arg-type]


PRICE_FIELDS: Final = ("limit", "stop", "trail", "stop_loss", "take_profit")
"""The fields of a request that are prices of the order. Whatever checks or describes a request reads this list."""


class CancelRequest(Struct, frozen=True, gc=False):
    """Take a working order back. Unknown ids are ignored: it may just have filled."""

    order_id: str
    reason: str = ""


class AmendRequest(Struct, frozen=True, gc=False):
    """Change a working order; ``None`` leaves a figure as it is. ``quantity`` is the order's whole, with what filled.

    A new price or a larger quantity loses the place in the queue. Unknown ids are ignored: it may just have filled.
    """

    order_id: str
    quantity: Decimal | None = None
    limit: Decimal | None = None
    stop: Decimal | None = None
    reason: str = ""


class Order(Struct, frozen=True, gc=False):
    """An order that passed the gates: the only thing a broker is given.

    It shows one moment: ``remaining`` is the quantity not filled then, and ``eligible_ns`` the venue time from
    which the broker may fill it, 0 before the broker has answered. A broker keeps its own count of what remains.
    An order with a ``parent`` sleeps until that order fills, and works for as much as that filled. Its quantity grows
    and shrinks with that one's; when that one ends, it is what that one filled. What is filled of one order of a
    ``group`` is taken from the others: from those that only reduce as much, the others are cancelled.
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
    stop: Decimal | None = None
    trail: Decimal | None = None
    post_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_ns: int | None = None
    parent: str = ""
    group: str = ""


class Accepted(Struct, frozen=True, gc=False):
    """The broker works on what it was given; nothing comes of it before ``eligible_ns`` (venue time).

    For a cancel or an amendment a time up to now says that it is done; a later one, that a report will follow.
    """

    eligible_ns: int


class Rejected(Struct, frozen=True, gc=False):
    """The broker does not do what it was asked for."""

    reason: str


class Ended(Struct, frozen=True, gc=False):
    """A working order ended without being filled whole."""

    order_id: str
    outcome: Literal["expired", "rejected", "cancelled"]
    reason: str


class Triggered(Struct, frozen=True, gc=False):
    """The price reached a working order's ``level``: ``reference`` is the bid, ask, open, low or high that did."""

    order_id: str
    level: Decimal
    reference: Decimal


class Amended(Struct, frozen=True, gc=False):
    """A working order has other figures now: the whole quantity, with what filled, and its prices."""

    order_id: str
    quantity: Decimal
    limit: Decimal | None
    stop: Decimal | None
    reason: str


Report = Triggered | Amended | Ended
"""What a broker reports beside fills."""


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
