"""What a step brings forth, in the order it happened. The journal stores these and the inputs that matter.

``kind`` names the event in the journal; ``key`` is its idempotency key: the journal refuses the same key twice.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from attrs import frozen

from lab.domain.ledger import Posting
from lab.domain.orders import OrderRequest, OrderType, Side


@frozen
class Deposited:
    """Starting money of a book."""

    kind: ClassVar[str] = "deposit"
    strategy: str
    amount: Decimal
    postings: tuple[Posting, ...]

    @property
    def key(self) -> str | None:
        return f"deposit:{self.strategy}"


@frozen
class Signal:
    """A request that became no order, and why: ``backfilled``, ``no_orders`` or ``gate`` with its reasons."""

    kind: ClassVar[str] = "signal"
    key: ClassVar[str | None] = None
    strategy: str
    request: OrderRequest
    why: str


@frozen
class OrderAccepted:
    """An order is working. ``quantity`` is what the lot and the gates left of the request."""

    kind: ClassVar[str] = "order_accepted"
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

    @property
    def key(self) -> str | None:
        return f"order:{self.order_id}"


@frozen
class OrderRefused:
    """A request stopped at the door: by the engine's rules or by a gate, with the figures."""

    kind: ClassVar[str] = "order_refused"
    key: ClassVar[str | None] = None
    order_id: str
    strategy: str
    request: OrderRequest
    by: str
    reason: str
    numbers: Mapping[str, str]


@frozen
class Fill:
    """What a broker did to an order: the exact price and fee, and how the price came about.

    ``reference`` is the bid, ask, close or limit the price was made from, ``spread`` the quote's (``None`` without a
    quote), ``slippage`` the price's distance from the reference against the trader (0 or more), ``rule`` the broker's name for how it filled.
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


@frozen
class OrderFilled:
    """A fill, booked: with its own id, what is left of the order, and postings that sum to zero."""

    kind: ClassVar[str] = "order_filled"
    fill_id: str
    strategy: str
    symbol: str
    side: Side
    remaining: Decimal
    position: Decimal
    fill: Fill
    postings: tuple[Posting, ...]

    @property
    def key(self) -> str | None:
        return f"fill:{self.fill_id}"


@frozen
class OrderEnded:
    """An order ended without being filled whole: ``outcome`` is ``cancelled``, ``expired`` or ``rejected``."""

    kind: ClassVar[str] = "order_ended"
    order_id: str
    strategy: str
    symbol: str
    outcome: str
    reason: str
    remaining: Decimal

    @property
    def key(self) -> str | None:
        return f"end:{self.order_id}"


@frozen
class StrategyStopped:
    """A strategy raised and is not asked again. The others go on."""

    kind: ClassVar[str] = "strategy_stopped"
    strategy: str
    error: str

    @property
    def key(self) -> str | None:
        return f"stopped:{self.strategy}"


@frozen
class CandleIgnored:
    """A candle the strategies have already passed: a duplicate, or one that differs from what they saw."""

    kind: ClassVar[str] = "candle_ignored"
    key: ClassVar[str | None] = None
    symbol: str
    open_ns: int
    why: str


@frozen
class GapFound:
    """Candles are missing between two that came. A later back-fill may bring them."""

    kind: ClassVar[str] = "gap"
    key: ClassVar[str | None] = None
    symbol: str
    first_ns: int
    last_ns: int
    missing: int


@frozen
class RunStarted:
    """The whole assembly, as needed to run it again."""

    kind: ClassVar[str] = "run_started"
    key: ClassVar[str | None] = "run_started"
    body: Mapping[str, object]


@frozen
class RunEnded:
    """Why the run ended and what the engine had counted by then."""

    kind: ClassVar[str] = "run_ended"
    key: ClassVar[str | None] = "run_ended"
    reason: str
    exit_code: int
    error: str
    body: Mapping[str, object]


Output = (
    Deposited | Signal | OrderAccepted | OrderRefused | OrderFilled | OrderEnded | StrategyStopped | CandleIgnored | GapFound
)
