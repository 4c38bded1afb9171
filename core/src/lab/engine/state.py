"""The state of a run: time, markets, books, working orders, halt reasons, counters. The engine's modules act on it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import reduce
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lab.domain.instrument import Instrument
from lab.domain.ledger import EXACT, ZERO, Ledger
from lab.domain.life_cycle import OrderState
from lab.domain.margin import AccountMode, MarginMode, TierFigures, figures_of, notional_most
from lab.domain.orders import Order
from lab.domain.position import FLAT, Position
from lab.domain.time import DAY_NS
from lab.engine.counters import RunCounters
from lab.engine.history import History
from lab.engine.larger import LargerCandles

if TYPE_CHECKING:
    from lab.domain.market import Depth, Funding, Quote, Trade
    from lab.errors import ComponentError

OUTCOMES_KEPT: Final = 1_000
NEVER_NS: Final = 2**63 - 1
_WORKING: Final = OrderState.WORKING
FUNDING_NS: Final = DAY_NS // 3
"""How often funding is due, at whole multiples since 1970, until the venue's rates say otherwise."""

Outputs = list[object]
_Kind = TypeVar("_Kind")


class Market:
    """One symbol: its history, the newest of each kind of market data, and who holds it."""

    __slots__ = (
        "contract_value", "depth", "depth_ns", "depth_number", "first", "funded_ns", "funding_due_ns",
        "funding_period_ns", "funding_step_ns", "halt_reasons", "halted_by", "history", "holders", "instrument", "kept",
        "larger", "last", "liquid_high", "liquid_low", "long", "notional_most", "on_candle", "on_quote", "quiet_high",
        "quiet_low", "quote", "quote_ns", "quote_number", "quotes", "rated_ns", "rates", "suffix", "symbol", "tiers",
        "trade", "trade_ns", "trade_number", "unrealised",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, interval_ns: int, keep: int, leverage: Decimal) -> None:
        self.symbol = instrument.symbol
        # The symbol decided on, as part of order ids: one symbol's candle may lead to an order of another.
        self.suffix = ""
        self.instrument = instrument
        self.history = History(interval_ns, keep)
        self.larger = LargerCandles(self.history)
        # What is called on a candle and on a quote of this symbol; `lab.engine.strategies` says of what kinds.
        self.on_candle: tuple[Any, ...] = ()
        self.on_quote: tuple[Any, ...] = ()
        self.halted_by: tuple[str, ...] = ()
        """The reasons of the newest `lab.domain.control.SymbolState` of this symbol."""
        self.halt_reasons: tuple[str, ...] = ()
        """Why no entry of this symbol may be placed now: the run's reasons and its own."""
        self.quote: Quote | None = None
        self.trade: Trade | None = None
        self.depth: Depth | None = None
        # The newest of each other kind of market data, which the engine keeps for the views and does not act on.
        self.kept: dict[type, object] = {}
        self.quote_ns = 0
        self.quotes = 0
        self.last = 0.0
        self.first = ZERO
        """The first price that was no history: the middle of a quote, or a close; 0 before it."""
        # Float copies of (quantity, cost) of each open position, for the drawdown.
        self.holders: Sequence[tuple[float, float]] = ()
        self.unrealised = 0.0
        # The marks between which the equity is no extreme; none, where several books or markets make it up.
        self.quiet_low = 0.0
        self.quiet_high = 0.0
        self.long = True
        # The marks at which a book or a position is to be looked at exactly, because it may be liquidated.
        self.liquid_low = 0.0
        self.liquid_high = inf
        # An inverse contract's value in the quote currency; 0 stands for a linear contract.
        self.contract_value = float(instrument.contract_value) if instrument.contract == "inverse" else 0.0
        self.tiers: tuple[TierFigures[float], ...] = tuple(
            (float(begins), float(ends), float(rate), float(deduction))
            for begins, ends, rate, deduction in figures_of(instrument.tiers)
        )
        self.notional_most = notional_most(instrument.tiers, leverage)
        """The notional above which the venue does not give the run's leverage; ``None`` where it always does."""
        self.funding_due_ns = 0
        """When funding is due next; 0 before the first input."""
        self.funding_period_ns = self.funding_step_ns = FUNDING_NS
        """How far windows without a rate are taken to be apart, and how far the newest two with one were."""
        self.funded_ns = self.rated_ns = 0
        """The newest window that has passed, and the newest with a rate."""
        self.rates: dict[int, Funding] = {}
        """The newest rate of each window that is still to come."""
        # The newest time of each kind, and how many came since it first did: a venue stamps several in one millisecond.
        self.trade_ns = 0
        self.depth_ns = 0
        self.quote_number = 1
        self.trade_number = 1
        self.depth_number = 1

    def newest(self, kind: type[_Kind]) -> _Kind | None:
        """Return the newest of a kind of market data that the engine only keeps; ``None`` before the first."""
        return self.kept.get(kind)  # type: ignore[return-value]

    def mark(self, long: bool) -> float:
        """Return the price of a holding: a long's bid, a short's ask, without quotes the close; 0 before any price."""
        quote = self.quote
        return self.last if quote is None else quote[2] if long else quote[4]

    def is_near(self) -> bool:
        """Return whether the price lies where something may have to be liquidated."""
        quote = self.quote
        if quote is None:
            return not self.liquid_low < self.last < self.liquid_high
        return quote[2] <= self.liquid_low or quote[4] >= self.liquid_high


class Book:
    """One strategy's part of an account: its ledger, its working orders, and how its orders ended."""

    __slots__ = (
        "account", "closing", "deposit", "fills", "halts", "ledger", "liquidated", "name", "orders", "outcomes",
        "stopped", "trades",
    )  # fmt: skip

    def __init__(self, name: str, deposit: Decimal) -> None:
        self.name = name
        self.account = Account((self,))
        self.deposit = deposit
        self.ledger = Ledger()
        self.orders: dict[str, OpenOrder] = {}
        self.outcomes: dict[str, str] = {}
        self.fills = 0
        self.trades = 0
        self.stopped = False
        # Why a gate refuses every entry for the rest of the run, by the gate's name.
        self.halts: dict[str, str] = {}
        self.closing: dict[str, Closing] = {}
        """The symbols whose positions are being liquidated."""
        self.liquidated = False
        """Whether its whole account was liquidated: its strategy is not called any more."""

    @property
    def idle(self) -> bool:
        """Whether it holds nothing and no order works: a request could only be an entry."""
        return not self.orders and not any(held.quantity for held in self.ledger.positions.values())

    def remember(self, order_id: str, outcome: str) -> None:
        """Keep an id's outcome; at least the newest thousand are kept (the journal has them all)."""
        outcomes = self.outcomes
        outcomes[order_id] = outcome
        if len(outcomes) >= 2 * OUTCOMES_KEPT:
            self.outcomes = dict(list(outcomes.items())[OUTCOMES_KEPT:])


class Account:
    """The money that books share: it is one strategy's book, or with a shared account those of all.

    Positions, orders and postings stay with their books. What backs them, and what they need, is the account's.
    """

    __slots__ = ("books",)

    def __init__(self, books: "tuple[Book, ...]") -> None:
        self.books = books

    @property
    def cash(self) -> Decimal:
        """The cash of all its books."""
        books = self.books
        if len(books) == 1:
            return books[0].ledger.cash
        return reduce(EXACT.add, [book.ledger.cash for book in books], ZERO)

    @property
    def positions(self) -> Mapping[str, Position]:
        """Its position in each symbol: quantities and costs of all its books added up, so long and short net."""
        books = self.books
        if len(books) == 1:
            return books[0].ledger.positions
        found: dict[str, Position] = {}
        for book in books:
            for symbol, held in book.ledger.positions.items():
                other = found.get(symbol, FLAT)
                found[symbol] = Position(EXACT.add(other.quantity, held.quantity), EXACT.add(other.cost, held.cost))
        return found

    @property
    def closing(self) -> bool:
        """Whether a position of it is being liquidated."""
        return any(book.closing for book in self.books)

    @property
    def liquidated(self) -> bool:
        """Whether it was liquidated whole: none of its strategies is called any more."""
        return self.books[0].liquidated


class Closing:
    """A liquidation on its way: the positions it closes, the margin that backed them, and what the closing made of it.

    ``margin`` is ``None`` where the whole account backs them. ``books`` are those it settles: one, or the account's.
    ``result`` is what the fills moved in cash since, ``fees`` what the venue will take, by the book's name.
    """

    __slots__ = ("books", "fees", "margin", "positions", "result", "retry_ns")

    def __init__(
        self,
        books: tuple[Book, ...],
        positions: tuple[tuple[Book, str], ...],
        margin: Decimal | None,
        retry_ns: int,
    ) -> None:
        self.books = books
        self.positions = positions
        self.margin = margin
        self.result = ZERO
        self.fees = dict.fromkeys([book.name for book in books], ZERO)
        self.retry_ns = retry_ns
        """From when on an order that ended without closing is placed again."""


class OpenOrder:
    """A working order, its book, and its remaining quantity by the engine's own count.

    ``order`` has the figures of now, and ``asked`` are those of the amendments on their way: a broker may report no
    others. ``children`` are the ids of the orders that sleep until this one fills, and ``guarded`` is how much they
    filled; ``awake`` says whether its own parent filled, ``leaving`` why a cancel is on its way.
    """

    __slots__ = (
        "asked", "awake", "book", "children", "eligible_ns", "fills", "guarded", "leaving", "order", "remaining",
        "state",
    )  # fmt: skip

    def __init__(self, book: Book, order: Order, eligible_ns: int) -> None:
        self.book = book
        self.order = order
        self.remaining = order.quantity
        self.asked: tuple[Order, ...] = ()
        self.eligible_ns = eligible_ns
        self.fills = 0
        self.state = _WORKING
        self.children: tuple[str, ...] = ()
        self.guarded = ZERO
        self.awake = not order.parent
        self.leaving = ""

    @property
    def growth(self) -> Decimal:
        """How much larger the largest amendment on its way makes the order."""
        return max([ZERO, *(EXACT.subtract(one.quantity, self.order.quantity) for one in self.asked)])


class EngineState:
    """The state of one run. The modules of the engine are functions over it; none of them holds another's."""

    __slots__ = (
        "account_mode", "accounts", "books", "config_hash", "counters", "ended", "exhausted", "failure", "halt_reasons",
        "halted_by", "leverage", "live_since_ns", "margin_mode", "markets", "no_orders", "now_ns", "paused_by",
        "stopping", "working",
    )  # fmt: skip

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        interval_ns: int,
        keep: int,
        books: Sequence[Book],
        *,
        config_hash: str,
        leverage: Decimal,
        margin_mode: MarginMode,
        account_mode: AccountMode,
        no_orders: bool,
    ) -> None:
        self.markets = {
            name: Market(instrument, interval_ns, keep, leverage) for name, instrument in instruments.items()
        }
        if len(self.markets) > 1:
            for market in self.markets.values():
                market.suffix = f".{market.symbol}"
        self.books = tuple(books)
        if account_mode == "shared" and self.books:
            shared = Account(self.books)
            for book in self.books:
                book.account = shared
        self.accounts = tuple(dict.fromkeys(book.account for book in self.books))
        self.config_hash = config_hash
        self.leverage = leverage
        self.margin_mode = margin_mode
        self.account_mode = account_mode
        self.no_orders = no_orders
        self.now_ns = 0
        self.live_since_ns = 0
        """When the first price came that was no history; 0 before it."""
        self.counters = RunCounters()
        self.working: dict[str, OpenOrder] = {}
        self.ended: set[str] = set()
        """Orders the engine itself ended while it books reports: a later one of the same moment may still name them."""
        self.halted_by: tuple[str, ...] = ()
        """The reasons of the newest `lab.domain.control.TradingState`."""
        self.paused_by = ""
        """Who paused trading by a command, and why; empty while nobody did."""
        self.halt_reasons: tuple[str, ...] = ()
        """Why no entry of any symbol may be placed now; empty while trading is open."""
        self.exhausted = False
        """Whether every book was liquidated: the run is ending."""
        self.failure: ComponentError | None = None
        """How the broker failed: the run is ending, and the broker is not called any more."""
        self.stopping = False
        """Whether a command or exhausted equity is ending the run: no strategy is called any more."""

    def halt(self, reasons: tuple[str, ...], paused_by: str) -> None:
        """Set the session's reasons and who paused trading; ``halt_reasons`` are both."""
        self.halted_by, self.paused_by = reasons, paused_by
        self.halt_reasons = whole = (*reasons, paused_by) if paused_by else reasons
        for market in self.markets.values():
            market.halt_reasons = (*whole, *market.halted_by) if market.halted_by else whole

    @property
    def liquidating(self) -> bool:
        """Whether a liquidation is on its way."""
        return any(book.closing for book in self.books)

    @property
    def fees_paid(self) -> Decimal:
        """The fees of all books."""
        return self.paid("fees")

    def paid(self, account: str) -> Decimal:
        """Return the sum of one account of all books."""
        return reduce(EXACT.add, [getattr(book.ledger, account) for book in self.books], ZERO)
