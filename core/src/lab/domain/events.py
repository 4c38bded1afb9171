"""The outputs of an engine's step, in order. The journal stores them, with the inputs that matter.

msgspec structs: one is made seven times faster than a frozen attrs object, and written to the journal faster too. They
hold no cycles, so the garbage collector need not follow them.
"""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from lab.domain.ledger import Posting
from lab.domain.orders import OrderRequest, OrderType, Side


class Deposited(Struct, frozen=True, gc=False):
    """Starting money of a book."""

    strategy: str
    amount: Decimal
    postings: tuple[Posting, ...]


class Signal(Struct, frozen=True, gc=False):
    """A request that became no order, and why: ``backfilled``, ``no_orders`` or ``gate`` with its reasons."""

    strategy: str
    request: OrderRequest
    why: str


class OrderAccepted(Struct, frozen=True, gc=False):
    """An order is working. ``quantity`` is what the lot and the gates left of the request."""

    order_id: str
    strategy: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    limit: Decimal | None
    reduce_only: bool
    reason: str
    requested: Decimal
    placed_ns: int
    eligible_ns: int
    remarks: tuple[str, ...] = ()


class OrderRefused(Struct, frozen=True, gc=False):
    """A request that became no order: refused by the engine's rules or by a gate, with the figures."""

    order_id: str
    strategy: str
    request: OrderRequest
    by: str
    reason: str
    numbers: Mapping[str, str]


class Fill(Struct, frozen=True, gc=False):
    """A fill as the broker reports it: the exact price and fee, and how the price was made.

    ``reference`` is the bid, ask, close or limit the price was made from, ``spread`` the quote's (``None`` without a
    quote), ``slippage`` the price's distance from the reference against the trader (0 or more), ``rule`` the broker's
    name for how it filled.
    """

    order_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_rate: Decimal
    liquidity: str
    rule: str
    reference: Decimal
    spread: Decimal | None
    slippage: Decimal
    time_ns: int


class OrderFilled(Struct, frozen=True, gc=False):
    """A booked fill: its id, the order's remaining quantity, and postings that sum to zero."""

    fill_id: str
    strategy: str
    symbol: str
    side: Side
    remaining: Decimal
    position: Decimal
    fill: Fill
    postings: tuple[Posting, ...]


class OrderEnded(Struct, frozen=True, gc=False):
    """An order ended without being filled whole: ``outcome`` is ``cancelled``, ``expired`` or ``rejected``."""

    order_id: str
    strategy: str
    symbol: str
    outcome: str
    reason: str
    remaining: Decimal


class StrategyStopped(Struct, frozen=True, gc=False):
    """A strategy raised and is not asked again. The others go on."""

    strategy: str
    error: str


class GateFailed(Struct, frozen=True, gc=False):
    """A gate raised in ``on_fill``, ``on_end``, ``on_timer`` or ``tripped``. From then on it refuses every entry."""

    gate: str
    call: str
    error: str


class EntriesHalted(Struct, frozen=True, gc=False):
    """A gate tripped: it refuses a strategy's entries for the rest of the run. Exits go on.

    The strategy is asked as long as it holds something or has an order; after that its answer could only be an entry.
    """

    strategy: str
    gate: str
    reason: str


class BrokerFailed(Struct, frozen=True, gc=False):
    """The broker raised or broke its promise: every working order ended, no strategy is called again, the run ends."""

    broker: str
    error: str


class EquityExhausted(Struct, frozen=True, gc=False):
    """The equity of all books is 0 or less: positions are closed, no strategy is called again, and the run ends."""

    equity: Decimal


class CandleIgnored(Struct, frozen=True, gc=False):
    """A candle the strategies have already passed: a duplicate, or one that differs from what they saw."""

    symbol: str
    open_ns: int
    why: str


class GapFound(Struct, frozen=True, gc=False):
    """Candles are missing between two that came. A later back-fill may bring them."""

    symbol: str
    first_ns: int
    last_ns: int
    missing: int


Output = (
    Deposited
    | Signal
    | OrderAccepted
    | OrderRefused
    | OrderFilled
    | OrderEnded
    | StrategyStopped
    | GateFailed
    | EntriesHalted
    | BrokerFailed
    | EquityExhausted
    | CandleIgnored
    | GapFound
)
