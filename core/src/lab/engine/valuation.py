"""Values the books: exactly on request, and in float at every event for the drawdown."""

from decimal import Decimal
from math import inf

from lab.domain.ledger import EXACT, ZERO
from lab.domain.money import as_decimal
from lab.domain.time import DAY_NS
from lab.engine.drawdown import Drawdown, Moment, exact
from lab.engine.state import Book, EngineState, Market

# The beginning of a UTC day in nanoseconds, and what was lost on it before this run.
CarriedLoss = tuple[int, Decimal]


class Valuation:
    """The equity of one engine's books. Exact figures are exact in whatever decimal context they are asked for."""

    __slots__ = (
        "_carried_loss", "_cash", "_markets", "_single", "_state", "day_end_ns",
        "day_starting_equity", "drawdown", "exhausted", "starting_equity",
    )  # fmt: skip

    def __init__(self, state: EngineState, carried_loss: CarriedLoss) -> None:
        self._state = state
        self._markets = state.markets
        self._single = len(state.markets) == 1 and len(state.books) == 1
        self._carried_loss = carried_loss
        start = ZERO
        for book in state.books:
            start = EXACT.add(start, book.deposit)
        self.starting_equity = self.day_starting_equity = start
        self.day_end_ns = 0
        self._cash = float(start)
        self.drawdown = Drawdown(start)
        self.exhausted = False
        """Whether the equity was 0 or less at some moment."""

    # -- exactly -----------------------------------------------------------------------------------------------------

    def mark(self, symbol: str, quantity: Decimal) -> Decimal:
        """Return the price a quantity is valued at: long at the bid, short at the ask, without quotes at the close."""
        value = self._markets[symbol].mark(quantity >= ZERO)
        if not value:
            raise LookupError(f"no price of {symbol} yet")
        return as_decimal(value)

    def book_equity(self, book: Book) -> Decimal:
        """Return a book's cash and unrealised profit."""
        total = book.ledger.cash
        for symbol, held in book.ledger.positions.items():
            quantity = held.quantity
            if quantity:  # the context's own methods: to change the context and back costs more
                worth = EXACT.fma(quantity, self.mark(symbol, quantity), total)
                total = EXACT.subtract(worth, held.cost)
        return total

    def equity(self) -> Decimal:
        """Return the equity of all books."""
        books = self._state.books
        if self._single:
            return self.book_equity(books[0])
        total = ZERO
        for book in books:
            total = EXACT.add(total, self.book_equity(book))
        return total

    def new_day(self, time_ns: int) -> None:
        """A UTC day began: its loss is counted from the equity before this event.

        The loss of the run that this one restarts, on that day, is included.
        """
        day_ns = time_ns - time_ns % DAY_NS
        lost_ns, lost = self._carried_loss
        self.day_starting_equity = EXACT.add(self.equity(), lost if day_ns == lost_ns else ZERO)
        self.day_end_ns = day_ns + DAY_NS

    # -- in float, for the drawdown ----------------------------------------------------------------------------------

    def revalue(self, market: Market) -> None:
        """Copy the positions that an event changed as floats, and mark them to market."""
        symbol = market.symbol
        market.holders = holders = []
        cash = 0.0
        for book in self._state.books:
            ledger = book.ledger
            cash += float(ledger.cash)
            held = ledger.positions.get(symbol)
            if held is not None and held.quantity:
                holders.append((float(held.quantity), float(held.cost)))
        self._cash = cash
        self.mark_to_market(market)

    def mark_to_market(self, market: Market) -> None:
        """Value the books in float; beyond an extreme, pass the exact figures to the drawdown."""
        unrealised = 0.0
        for quantity, cost in market.holders:
            unrealised += quantity * market.mark(quantity > 0.0) - cost
        market.unrealised = unrealised
        equity = self._cash + unrealised
        if not self._single:
            equity += sum([other.unrealised for other in self._markets.values() if other is not market])
        drawdown = self.drawdown
        if equity > drawdown.above or equity < drawdown.below:
            moment = self._moment()
            # The first equity of 0 or less is the deepest fall so far: it cannot pass unseen between two extremes.
            if equity < 1.0 and exact(moment) <= ZERO:
                self.exhausted = True
            drawdown.observe(equity, moment)
        if self._single:
            self._set_quiet_range(market)

    def _set_quiet_range(self, market: Market) -> None:
        """Set the marks between which equity is no extreme, so that an event between them costs two comparisons."""
        if not market.holders:
            market.quiet_low, market.quiet_high = -1.0, inf
            return
        quantity, cost = market.holders[0]
        aside = cost - self._cash
        low, high = (self.drawdown.below + aside) / quantity, (self.drawdown.above + aside) / quantity
        market.long = quantity > 0.0
        market.quiet_low, market.quiet_high = (low, high) if quantity > 0.0 else (high, low)

    def _moment(self) -> Moment:
        held = []
        cash = ZERO
        for book in self._state.books:
            ledger = book.ledger
            cash = EXACT.add(cash, ledger.cash)
            for symbol, position in ledger.positions.items():
                quantity = position.quantity
                if quantity:
                    held.append((quantity, position.cost, self._markets[symbol].mark(quantity > ZERO)))
        return cash, held
