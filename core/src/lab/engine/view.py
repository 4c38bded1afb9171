"""What strategies and gates may know at the moment they are asked: the market, and their own book. Read only."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from lab.domain.instrument import Instrument
from lab.domain.ledger import Position
from lab.domain.market import Candle, Quote
from lab.domain.orders import Order

if TYPE_CHECKING:
    from lab.engine.engine import Engine
    from lab.engine.state import Book


class View:
    """One strategy's window on the run. Values are of this moment: keep none of them for later."""

    __slots__ = ("_candles", "_engine", "_seat")

    def __init__(self, engine: "Engine", seat: "Book") -> None:
        self._engine = engine
        self._seat = seat
        self._candles = {symbol: market.history.candles for symbol, market in engine.markets.items()}

    @property
    def now_ns(self) -> int:
        """The newest venue time seen, in UTC nanoseconds."""
        return self._engine.now_ns

    @property
    def strategy(self) -> str:
        """The name of the strategy whose book this is."""
        return self._seat.name

    @property
    def leverage(self) -> Decimal:
        """The run's leverage: margin is notional / leverage."""
        return self._engine.leverage

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument's steps and rates."""
        return self._engine.markets[symbol].instrument

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Return the closed candles kept, ascending, at least 1.5 times the look-back once that many came."""
        return self._candles[symbol]

    def closes(self, symbol: str) -> memoryview:
        """Return the newest closes as contiguous read-only doubles, ascending, as ``numpy.frombuffer`` takes them."""
        return self._engine.markets[symbol].history.column("close")

    def column(self, symbol: str, name: str) -> memoryview:
        """Return one candle field (``open high low close volume``) as contiguous read-only doubles, ascending."""
        return self._engine.markets[symbol].history.column(name)

    def quote(self, symbol: str) -> Quote | None:
        """Return the newest quote, or ``None`` before the first."""
        return self._engine.markets[symbol].quote

    def position(self, symbol: str) -> Position:
        """Return this book's position: signed quantity and cost. Flat is quantity 0."""
        return self._seat.ledger.position(symbol)

    def orders(self, symbol: str) -> Sequence[Order]:
        """Return this book's working orders, oldest first."""
        orders = self._seat.orders
        return [order for order in orders.values() if order.symbol == symbol] if orders else ()

    def mark(self, symbol: str) -> Decimal:
        """Return the price a position is valued at: a long at the bid, a short at the ask; the close without quotes.

        Raises ``LookupError`` before the first candle or quote.
        """
        return self._engine.worth.mark(symbol, self._seat.ledger.position(symbol).quantity)

    @property
    def cash(self) -> Decimal:
        """This book's cash: deposits, realised profit and fees; without unrealised profit."""
        return self._seat.ledger.cash

    @property
    def equity(self) -> Decimal:
        """This book's cash and unrealised profit."""
        return self._engine.worth.book_equity(self._seat)

    @property
    def session_equity(self) -> Decimal:
        """The equity of all books of the session."""
        return self._engine.worth.equity()

    @property
    def session_starting_equity(self) -> Decimal:
        """What all books of the session began with."""
        return self._engine.worth.starting_equity

    @property
    def day_starting_equity(self) -> Decimal:
        """The session's equity when the current UTC day began, or when the session did."""
        return self._engine.worth.day_starting_equity

    def held(self) -> Sequence[tuple[str, Decimal, Decimal]]:
        """Return symbol, signed quantity and mark of each of this book's open positions."""
        positions = self._seat.ledger.positions
        return [(symbol, p.quantity, self.mark(symbol)) for symbol, p in positions.items() if p.quantity]
