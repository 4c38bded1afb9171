"""The outputs of an engine's step, in order. The journal stores them, with the inputs that matter.

msgspec structs: one is made seven times faster than a frozen attrs object, and written to the journal faster too. They
hold no cycles, so the garbage collector need not follow them.
"""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from lab.domain.ledger import Posting
from lab.domain.orders import AmendRequest, OrderRequest, OrderType, Side, TimeInForce


class Deposited(Struct, frozen=True, gc=False):
    """Starting money of a book. A shared account is paid in once, to the book of the first strategy."""

    strategy: str
    amount: Decimal
    postings: tuple[Posting, ...]


class Signal(Struct, frozen=True, gc=False):
    """A request that became no order, and why: ``backfilled``, ``no_orders`` or ``gate`` with its reasons."""

    strategy: str
    request: OrderRequest
    why: str


class OrderAccepted(Struct, frozen=True, gc=False, omit_defaults=True):
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
    stop: Decimal | None = None
    trail: Decimal | None = None
    post_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_ns: int | None = None
    parent: str = ""
    group: str = ""


class OrderRefused(Struct, frozen=True, gc=False):
    """A request that became no order: refused by the engine's rules or by a gate, with the figures."""

    order_id: str
    strategy: str
    request: OrderRequest
    by: str
    reason: str
    numbers: Mapping[str, str]


class Fill(Struct, frozen=True, gc=False, omit_defaults=True):
    """A fill as the broker reports it: the exact price and fee, and how the price was made.

    ``reference`` is the bid, ask, open, close, level or limit the price was made from, ``spread`` the quote's (``None``
    without a quote), ``slippage`` the price's distance from the reference against the trader (0 or more), ``rule`` the
    broker's name for how it filled. ``age_ns`` is how old the reference was at the fill, below 0 where it came only
    after the arrival, because nothing fresh was there. ``displayed`` is what the price level offered, with what others
    of the run had taken before, ``queue`` what was ahead of a resting order when it began to rest; ``None``: not known.
    ``best`` and ``worst`` are the prices it would have had if all that is not known had gone well or badly.
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
    age_ns: int = 0
    displayed: Decimal | None = None
    queue: Decimal | None = None
    best: Decimal | None = None
    worst: Decimal | None = None


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


class OrderTriggered(Struct, frozen=True, gc=False):
    """The price reached the ``level`` of a stop, trailing stop or take-profit: ``reference`` is the price that did."""

    order_id: str
    strategy: str
    symbol: str
    level: Decimal
    reference: Decimal


class OrderAmended(Struct, frozen=True, gc=False):
    """A working order has other figures: the whole quantity, with what filled, what remains, and its prices."""

    order_id: str
    strategy: str
    symbol: str
    quantity: Decimal
    remaining: Decimal
    limit: Decimal | None
    stop: Decimal | None
    reason: str


class CancelSent(Struct, frozen=True, gc=False):
    """A cancel is on its way: it takes effect at ``eligible_ns``, unless the order fills before."""

    order_id: str
    strategy: str
    symbol: str
    reason: str
    eligible_ns: int


class AmendSent(Struct, frozen=True, gc=False):
    """An amendment is on its way: it takes effect at ``eligible_ns``, unless the order ends before.

    Where that is the moment at which it was sent, the order's new figures follow at once.
    """

    strategy: str
    symbol: str
    request: AmendRequest
    eligible_ns: int


class AmendRefused(Struct, frozen=True, gc=False):
    """An amendment that the engine's rules, a gate or the broker refused; the order works on as it was."""

    strategy: str
    symbol: str
    request: AmendRequest
    by: str
    reason: str
    numbers: Mapping[str, str]


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
    """Every book was liquidated: no strategy is called again, and the run ends once the positions are closed."""

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


class FundingPaid(Struct, frozen=True, gc=False):
    """Funding of one position at the instant ``window_ns``: notional at ``mark`` × ``rate``, below 0 is received.

    ``quantity`` is what was held then (above 0 is long), ``mark`` the venue's that came with the rate. The postings
    sum to zero.
    """

    strategy: str
    symbol: str
    rate: Decimal
    mark: Decimal
    quantity: Decimal
    amount: Decimal
    window_ns: int
    postings: tuple[Posting, ...]


class FundingSkipped(Struct, frozen=True, gc=False):
    """A position was held when funding was due, ``windows`` times from ``window_ns`` on, and nothing was paid."""

    strategy: str
    symbol: str
    quantity: Decimal
    window_ns: int
    windows: int
    why: str


class MarginCall(Struct, frozen=True, gc=False):
    """A position at the moment of its liquidation: signed quantity, and notional and maintenance margin at the mark."""

    symbol: str
    quantity: Decimal
    mark: Decimal
    notional: Decimal
    maintenance: Decimal


class Liquidated(Struct, frozen=True, gc=False):
    """A margin balance is down to the maintenance margin: the engine closes these positions at the market.

    ``scope`` is ``account`` (all that it holds, its strategy is not called again; ``balance`` is its equity at the
    marks) or ``position`` (isolated margin; ``balance`` is its own margin and unrealised profit). Of a shared account
    each strategy has such a row, in their order, with its own positions; balance and maintenance are the account's, in
    which long and short positions of a symbol net.
    """

    strategy: str
    scope: str
    balance: Decimal
    maintenance: Decimal
    positions: tuple[MarginCall, ...]


class LiquidationSettled(Struct, frozen=True, gc=False):
    """Liquidated positions are closed: the venue's fee, and what its insurance fund pays of a loss beyond the margin.

    Without symbols none is closed: the run ended first, or only a debt was left, and the fund pays what is missing.

    The postings sum to zero. Of a shared account each strategy has such a row: its own fee, and the first strategy, in
    whose book the deposit is, what the insurance fund pays.
    """

    strategy: str
    symbols: tuple[str, ...]
    fee: Decimal
    insurance: Decimal
    postings: tuple[Posting, ...]


class DayEnded(Struct, frozen=True, gc=False):
    """A UTC day is over: what the books were worth before the first event of a later day counts.

    ``day_ns`` is the beginning of that day, ``books`` the equity of each strategy's book, and ``prices`` the newest
    price of each symbol: the middle of its quote, without quotes its close. A day on which nothing came has no such
    row, nor has one before the first live price. The run's last day has none either: its end is the run's.
    """

    day_ns: int
    equity: Decimal
    books: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]


Output = (
    Deposited
    | Signal
    | OrderAccepted
    | OrderRefused
    | OrderFilled
    | OrderEnded
    | OrderTriggered
    | OrderAmended
    | CancelSent
    | AmendSent
    | AmendRefused
    | StrategyStopped
    | GateFailed
    | EntriesHalted
    | BrokerFailed
    | EquityExhausted
    | CandleIgnored
    | GapFound
    | FundingPaid
    | FundingSkipped
    | Liquidated
    | LiquidationSettled
    | DayEnded
)
