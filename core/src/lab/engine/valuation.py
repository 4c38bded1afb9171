"""What the books are worth: exactly when somebody asks, and followed in float at every event for the drawdown."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf

from lab.domain.ledger import ZERO
from lab.domain.time import DAY_NS
from lab.engine.drawdown import Drawdown, Moment
from lab.engine.state import Book, Market

# The beginning of a UTC day in nanoseconds, and what was lost on it before this run.
CarriedLoss = tuple[int, Decimal]


class Valuation:
    """The equity of one engine's books."""

    __slots__ = (
        "_alone", "_cash", "_day_loss", "_mark_exact", "_marked", "_markets", "_seats", "day_end_ns",
        "day_starting_equity", "drawdown", "starting_equity",
    )  # fmt: skip

    def __init__(self, markets: Mapping[str, Market], seats: Sequence[Book], carried_loss: CarriedLoss) -> None:
        self._markets = markets
        self._seats = seats
        self._marked = 0.0
        self._mark_exact = ZERO
        self._alone = len(markets) == 1 and len(seats) == 1
        self._day_loss = carried_loss
        self.starting_equity = self.day_starting_equity = sum((seat.deposit for seat in seats), ZERO)
        self.day_end_ns = 0
        self._cash = float(self.starting_equity)
        self.drawdown = Drawdown(self.starting_equity)

    # -- exactly -----------------------------------------------------------------------------------------------------

    def mark(self, symbol: str, quantity: Decimal) -> Decimal:
        """Return the price a quantity is valued at: long at the bid, short at the ask, without quotes at the close."""
        value = self._markets[symbol].mark(quantity >= ZERO)
        if value == self._marked and value:
            return self._mark_exact
        if not value:
            raise LookupError(f"no price of {symbol} yet")
        exact = self._mark_exact = Decimal(repr(value))
        self._marked = value
        return exact

    def book_equity(self, seat: Book) -> Decimal:
        """Return a book's cash and unrealised profit."""
        ledger = seat.ledger
        total = ledger.cash
        for symbol, held in ledger.positions.items():
            quantity = held.quantity
            if quantity:
                total += quantity * self.mark(symbol, quantity) - held.cost
        return total

    def equity(self) -> Decimal:
        """Return the equity of all books."""
        if self._alone:
            return self.book_equity(self._seats[0])
        return sum([self.book_equity(seat) for seat in self._seats], ZERO)

    def new_day(self, time_ns: int) -> None:
        """A UTC day began: its loss is counted from the equity before this event.

        What the run that this one restarts lost on that day is part of it.
        """
        day_ns = time_ns - time_ns % DAY_NS
        lost_ns, lost = self._day_loss
        self.day_starting_equity = self.equity() + (lost if day_ns == lost_ns else ZERO)
        self.day_end_ns = day_ns + DAY_NS

    # -- in float, for the drawdown ----------------------------------------------------------------------------------

    def reckon(self, market: Market) -> None:
        """Take over the books that an event filled, as floats, and follow them."""
        symbol = market.symbol
        market.holders = holders = []
        cash = 0.0
        for seat in self._seats:
            ledger = seat.ledger
            cash += float(ledger.cash)
            held = ledger.positions.get(symbol)
            if held is not None and held.quantity:
                holders.append((float(held.quantity), float(held.cost)))
        self._cash = cash
        self.follow(market)

    def follow(self, market: Market) -> None:
        """Follow equity in float; beyond an extreme, hand the exact figures of this moment to the drawdown."""
        unrealised = 0.0
        for quantity, cost in market.holders:
            unrealised += quantity * market.mark(quantity > 0.0) - cost
        market.unrealised = unrealised
        equity = self._cash + unrealised
        if not self._alone:
            equity += sum([other.unrealised for other in self._markets.values() if other is not market])
        drawdown = self.drawdown
        if equity > drawdown.above or equity < drawdown.below:
            drawdown.look(equity, self._moment())
        if self._alone:
            self._calm(market)

    def _calm(self, market: Market) -> None:
        """Say between which marks equity is no extreme, so that an event between them costs two comparisons."""
        if not market.holders:
            market.calm_low, market.calm_high = -1.0, inf
            return
        quantity, cost = market.holders[0]
        aside = cost - self._cash
        low, high = (self.drawdown.below + aside) / quantity, (self.drawdown.above + aside) / quantity
        market.long = quantity > 0.0
        market.calm_low, market.calm_high = (low, high) if quantity > 0.0 else (high, low)

    def _moment(self) -> Moment:
        held = []
        cash = ZERO
        for seat in self._seats:
            ledger = seat.ledger
            cash += ledger.cash
            for symbol, position in ledger.positions.items():
                quantity = position.quantity
                if quantity:
                    held.append((quantity, position.cost, self._markets[symbol].mark(quantity > ZERO)))
        return cash, held
