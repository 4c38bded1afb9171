"""What the books are worth: exactly when somebody asks, and followed in float at every event for the drawdown."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from lab.domain.ledger import ZERO
from lab.domain.time import DAY_NS
from lab.engine.drawdown import Drawdown
from lab.engine.parts import Market, Seat


class Valuation:
    """The equity of one engine's books. ``cash``, ``above`` and ``below`` are floats that the engine's step reads."""

    __slots__ = (
        "_mark_exact",
        "_marked",
        "_markets",
        "_seats",
        "above",
        "alone",
        "below",
        "cash",
        "day_end_ns",
        "day_starting_equity",
        "drawdown",
        "starting_equity",
    )  # fmt: skip

    def __init__(self, markets: Mapping[str, Market], seats: Sequence[Seat]) -> None:
        self._markets = markets
        self._seats = seats
        self._marked = 0.0
        self._mark_exact = ZERO
        self.alone = len(markets) == 1 and len(seats) == 1
        self.starting_equity = self.day_starting_equity = sum((seat.deposit for seat in seats), ZERO)
        self.day_end_ns = 0
        self.cash = float(self.starting_equity)
        self.drawdown = Drawdown(self.starting_equity)
        self.above, self.below = self.drawdown.above, self.drawdown.below

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

    def book_equity(self, seat: Seat) -> Decimal:
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
        if self.alone:
            return self.book_equity(self._seats[0])
        return sum([self.book_equity(seat) for seat in self._seats], ZERO)

    def new_day(self, time_ns: int) -> None:
        """The UTC day rolled: the daily loss is counted from the equity before this event."""
        if self.day_end_ns:
            self.day_starting_equity = self.equity()
        self.day_end_ns = time_ns - time_ns % DAY_NS + DAY_NS

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
        self.cash = cash
        _, _, bid, _, ask, _ = market.quote or (None, None, market.last, None, market.last, None)
        self.follow(market, bid, ask)

    def follow(self, market: Market, bid: float, ask: float) -> None:
        """Follow equity in float; near an extreme, look at the exact figures."""
        unrealised = 0.0
        for quantity, cost in market.holders:
            unrealised += quantity * (bid if quantity > 0.0 else ask) - cost
        market.unrealised = unrealised
        equity = self.cash + unrealised
        if not self.alone:
            equity += sum([other.unrealised for other in self._markets.values() if other is not market])
        if equity > self.above or equity < self.below:
            self.look(equity)

    def look(self, equity: float) -> None:
        """Hand the exact figures of this moment to the drawdown."""
        held = []
        cash = ZERO
        for seat in self._seats:
            ledger = seat.ledger
            cash += ledger.cash
            for symbol, position in ledger.positions.items():
                quantity = position.quantity
                if quantity:
                    held.append((quantity, position.cost, self._markets[symbol].mark(quantity > ZERO)))
        drawdown = self.drawdown
        drawdown.look(equity, (cash, held))
        self.above, self.below = drawdown.above, drawdown.below
