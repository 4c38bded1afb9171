"""The read-only view of a strategy or a gate: the market, the strategy's book, and the account it is part of."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NoReturn, TypeVar, overload

from msgspec.structs import replace

from lab.domain.instrument import Instrument
from lab.domain.ledger import EXACT
from lab.domain.market import Candle, Depth, Funding, Quote, Trade
from lab.domain.orders import Order
from lab.domain.position import FLAT, Position
from lab.engine.state import Book, EngineState, OpenOrder
from lab.engine.valuation import Valuation

T = TypeVar("T")


class Candles(Sequence[Candle]):
    """The closed candles kept of one symbol, ascending; read only, and always up to date. A slice is a tuple."""

    __slots__ = ("_candles",)

    def __init__(self, candles: list[Candle]) -> None:
        self._candles = candles

    @overload
    def __getitem__(self, index: int) -> Candle: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candle, ...]: ...
    def __getitem__(self, index: int | slice) -> Candle | tuple[Candle, ...]:
        found = self._candles[index]
        return found if type(found) is Candle else tuple(found)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._candles)

    def __iter__(self) -> Iterator[Candle]:
        return iter(self._candles)

    def __reversed__(self) -> Iterator[Candle]:
        return reversed(self._candles)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self._candles) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Candles({self._candles!r})"


def _working(book: Book, symbol: str | None = None) -> Sequence[Order]:
    """Return copies of a book's working orders, of one symbol or of all."""
    orders = book.orders
    if not orders:
        return ()
    return [
        replace(open_.order, remaining=open_.remaining, eligible_ns=open_.eligible_ns)
        if not open_.asked
        else _enlarged(open_)
        for open_ in orders.values()
        if symbol is None or open_.order.symbol == symbol
    ]


def _enlarged(open_: OpenOrder) -> Order:
    """Return an order as its largest amendment on the way makes it: a gate that did not count it would allow more."""
    order, more = open_.order, open_.growth
    quantity, remaining = EXACT.add(order.quantity, more), EXACT.add(open_.remaining, more)
    return replace(order, quantity=quantity, remaining=remaining, eligible_ns=open_.eligible_ns)


class _BySymbol(dict[str, T]):
    """What there is of each market of the run. A symbol that is none of its markets is named, with those that are."""

    __slots__ = ()

    def __missing__(self, symbol: str) -> NoReturn:
        raise LookupError(f"{symbol!r} is no market of this run; known: {', '.join(self)}")


class MarketView:
    """The market of a run, read only. Values are of this moment: keep none of them for later.

    Whoever asks for the market of a symbol that the run does not have gets a ``LookupError`` that names those it has.
    """

    __slots__ = ("_candles", "_markets", "_state")

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._markets = _BySymbol(state.markets)
        self._candles = _BySymbol({s: Candles(market.history.candles) for s, market in state.markets.items()})

    @property
    def now_ns(self) -> int:
        """The newest venue time seen, in UTC nanoseconds; a step of the venue's clock may take it back."""
        return self._state.now_ns

    @property
    def symbols(self) -> Sequence[str]:
        """The symbols of this run."""
        return tuple(self._state.markets)

    @property
    def halted_by(self) -> Sequence[str]:
        """Why the session has halted trading now, as for a feed that is down or a stale quote; empty while it has not.

        What holds for one of several symbols alone, such as a stale quote of it, is in `halted`.
        ``halt_reasons`` of a strategy's view has more: what an operator paused, and gates that tripped.
        """
        return self._state.halted_by

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument's steps and rates."""
        return self._markets[symbol].instrument

    def halted(self, symbol: str) -> Sequence[str]:
        """Return why the session has halted entries of a symbol now: `halted_by`, and what holds for it alone.

        With one symbol that is `halted_by`.
        """
        return (*self._state.halted_by, *self._markets[symbol].halted_by)

    def candles(self, symbol: str, interval: str = "") -> Sequence[Candle]:
        """Return the closed candles kept, ascending, at least 1.5 times the look-back once that many came.

        With an ``interval`` such as ``"15m"``, a multiple of the run's, return the candles of that length that the
        ones kept make up. Each is there from its end on, begins at a whole multiple of its length since 1970 in UTC,
        and is whole: one in which a candle is missing is left out, until that candle was filled in. A look-back counts
        the run's candles: for ``n`` candles of ``k`` times the run's interval it is ``(n + 1) * k - 1``.
        Raises ``ValueError`` for an interval that is none, or no multiple of the run's.
        """
        if not interval:
            return self._candles[symbol]
        return Candles(self._markets[symbol].larger.of(interval))

    def closes(self, symbol: str) -> memoryview:
        """Return the newest closes as contiguous read-only doubles, ascending, as ``numpy.frombuffer`` takes them."""
        return self._markets[symbol].history.column("close")

    def column(self, symbol: str, name: str) -> memoryview:
        """Return one candle field (``open high low close volume``) as contiguous read-only doubles, ascending."""
        return self._markets[symbol].history.column(name)

    def notional(self, symbol: str, quantity: Decimal, price: Decimal) -> Decimal:
        """Return what a quantity is worth at a price, 0 or more: `lab.domain.instrument.Instrument.notional`."""
        market = self._markets[symbol]
        if market.contract_value:
            return market.instrument.notional(quantity, price)
        return abs(quantity * price)

    def mean_volume(self, symbol: str, candles: int = 10) -> float:
        """Return the mean volume of so many newest closed candles, fewer where there are fewer; 0 before the first."""
        return self._markets[symbol].history.mean_volume(candles)

    def quote(self, symbol: str) -> Quote | None:
        """Return the newest quote, or ``None`` before the first."""
        return self._markets[symbol].quote

    def trade(self, symbol: str) -> Trade | None:
        """Return the newest trade of the market, or ``None`` before the first or where the provider gives none."""
        return self._markets[symbol].trade

    def depth(self, symbol: str) -> Depth | None:
        """Return the newest displayed levels, or ``None`` before the first or where the provider gives none."""
        return self._markets[symbol].depth

    def funding(self, symbol: str) -> Funding | None:
        """Return the newest funding rate fetched, or ``None`` before the first or where the provider gives none."""
        return self._markets[symbol].newest(Funding)


class View(MarketView):
    """One strategy's window on the run. Values are of this moment: keep none of them for later.

    Nothing it returns can change the run: candles, positions, orders and quotes are copies or read only.
    """

    __slots__ = ("_book", "_valuation")

    def __init__(self, state: EngineState, valuation: Valuation, book: Book) -> None:
        super().__init__(state)
        self._valuation = valuation
        self._book = book

    @property
    def strategy(self) -> str:
        """The name of the strategy whose book this is."""
        return self._book.name

    @property
    def leverage(self) -> Decimal:
        """The run's leverage: margin is notional / leverage."""
        return self._state.leverage

    @property
    def halt_reasons(self) -> Sequence[str]:
        """Why no entry may be placed now, gates that tripped included; empty while trading is open.

        What holds for one of several symbols alone is in `halted`.
        """
        halts = self._book.halts
        if not halts:
            return self._state.halt_reasons
        return (*self._state.halt_reasons, *[f"{gate}: {reason}" for gate, reason in halts.items()])

    # -- the book ----------------------------------------------------------------------------------------------------

    def mark(self, symbol: str) -> Decimal:
        """Return the price a position is valued at: a long at the bid, a short at the ask; the close without quotes.

        Raises ``LookupError`` before the first candle or quote.
        """
        _ = self._markets[symbol]
        return self._valuation.mark(symbol, self._book.ledger.position(symbol).quantity)

    def position(self, symbol: str) -> Position:
        """Return this book's position: signed quantity and cost. Flat is quantity 0."""
        return self._book.ledger.position(symbol)

    def held(self) -> Sequence[tuple[str, Decimal, Decimal]]:
        """Return symbol, signed quantity and mark of each of this book's open positions."""
        positions = self._book.ledger.positions
        return [(symbol, p.quantity, self.mark(symbol)) for symbol, p in positions.items() if p.quantity]

    def orders(self, symbol: str | None = None) -> Sequence[Order]:
        """Return this book's working orders, of one symbol or of all, oldest first, with what remains of each.

        An amendment that is on its way counts where it enlarges the order.
        """
        return _working(self._book, symbol)

    def entry_price(self, symbol: str) -> Decimal:
        """Return the average entry price of this book's position: a quotient, so not exact. 0 when flat."""
        return self._markets[symbol].instrument.price_of(self._book.ledger.position(symbol).price)

    # -- the account -------------------------------------------------------------------------------------------------

    @property
    def account_mode(self) -> str:
        """``separate``: the account is this book alone; ``shared``: it is the books of all strategies of the run."""
        return self._state.account_mode

    @property
    def cash(self) -> Decimal:
        """The account's cash: deposits, realised profit and fees; without unrealised profit."""
        return self._book.account.cash

    @property
    def equity(self) -> Decimal:
        """The account's cash and unrealised profit."""
        account = self._book.account
        if len(account.books) == 1:  # a gate asks at every order: a call less
            return self._valuation.book_equity(self._book)
        return self._valuation.account_equity(account)

    def account_position(self, symbol: str) -> Position:
        """Return the account's position: quantities and costs of its books added up, so that long and short net."""
        account = self._book.account
        return self._book.ledger.position(symbol) if len(account.books) == 1 else account.positions.get(symbol, FLAT)

    def account_held(self) -> Sequence[tuple[str, Decimal, Decimal]]:
        """Return symbol, signed quantity and mark of each of the account's open positions, netted."""
        positions = self._book.account.positions
        return [(s, p.quantity, self._valuation.mark(s, p.quantity)) for s, p in positions.items() if p.quantity]

    def account_orders(self) -> Sequence[Order]:
        """Return the working orders of all books of the account, book by book, with what remains of each."""
        books = self._book.account.books
        return _working(self._book) if len(books) == 1 else [order for book in books for order in _working(book)]

    # -- margin ------------------------------------------------------------------------------------------------------

    @property
    def margin_mode(self) -> str:
        """``cross``: the whole account backs its positions; ``isolated``: each is backed by its own margin alone."""
        return self._state.margin_mode

    def margin_mark(self, symbol: str) -> Decimal:
        """Return the mark of margin: the middle of the quote, without quotes the close.

        Raises ``LookupError`` before the first candle or quote.
        """
        _ = self._markets[symbol]
        return self._valuation.margin_mark(symbol)

    @property
    def margin_in_use(self) -> Decimal:
        """What the account's positions bind: notional / leverage, on 1e-10.

        With cross margin at the mark, the long and short positions of a symbol netted; with isolated margin each
        position of a book by itself, at entry. Orders that work bind nothing here: the gate ``margin`` counts them too.
        """
        return self._valuation.margin_in_use(self._book.account)

    @property
    def maintenance_margin(self) -> Decimal:
        """The maintenance margin of the account's positions at their marks, by the tiers of their instruments.

        With cross margin long and short positions of a symbol net; with isolated margin each position of a book counts.
        """
        return self._valuation.maintenance_of(self._book.account)

    def liquidation_price(self, symbol: str) -> Decimal | None:
        """Return the mark at which this book's position is liquidated, on 1e-10, if other symbols stay as they are.

        With cross margin that is where the account is. ``None`` where this book is flat, or liquidated at no mark above
        0, or where the account's long and short positions of the symbol net to nothing.
        """
        _ = self._markets[symbol]
        return self._valuation.liquidation_price(self._book, symbol)

    # -- the session -------------------------------------------------------------------------------------------------

    @property
    def session_equity(self) -> Decimal:
        """The equity of all books of the session."""
        return self._valuation.equity()

    @property
    def session_starting_equity(self) -> Decimal:
        """What all accounts of the session began with."""
        return self._valuation.starting_equity

    @property
    def day_starting_equity(self) -> Decimal:
        """The session's equity when the current UTC day began, or when the session did."""
        return self._valuation.day_starting_equity

    @property
    def session_deepest_fall(self) -> tuple[Decimal, Decimal]:
        """The session's deepest fall: its highest equity before, and the lowest. Equal before any fall.

        It is followed at every price and fill, also between two calls; a later fall replaces it only by being deeper.
        """
        return self._valuation.drawdown.deepest_fall

    @property
    def session_steepest_fall(self) -> tuple[Decimal, Decimal]:
        """The same of the fall that was deepest as a fraction of the highest equity before it."""
        return self._valuation.drawdown.steepest_fall
