"""The market of symbols with quotes: quotes, levels behind them, and trades."""

from collections.abc import Mapping

from lab import Depth, MarketView, Quote, Trade
from lab.domain.money import as_decimal

from lab_paper_broker.book import DisplayedBook
from lab_paper_broker.models import Liquidity, Queue
from lab_paper_broker.on_quotes import Reports, meet_book, meet_trade
from lab_paper_broker.resting import Resting
from lab_paper_broker.terms import Terms
from lab_paper_broker.working import ARRIVES, Working


class QuoteMarket:
    """Lets working orders meet what is displayed, when they arrive and whenever it changes."""

    __slots__ = ("_halted", "_liquidity", "_queue", "_stale_ns", "_terms", "_working", "books", "is_dark", "market")

    def __init__(
        self,
        working: Working,
        terms: Mapping[str, Terms],
        stale_ns: int,
        unlimited: bool,
        liquidity: Liquidity | None,
        queue: Queue | None,
    ) -> None:
        self._working = working
        self._terms = terms
        self._stale_ns = stale_ns
        self._liquidity = liquidity
        self._queue = queue
        self.books = {symbol: DisplayedBook(unlimited) for symbol in terms}
        self.market: MarketView | None = None
        self.is_dark = False
        """Whether the session has halted trading, as for a feed that is down: no quote is in force."""
        self._halted: set[str] = set()  # the symbols of several that it has halted, as for a stale quote

    def halt(self, symbol: str, *, halted: bool) -> None:
        """Note whether the session has halted a symbol: then its quote is not in force."""
        if halted:
            self._halted.add(symbol)
        else:
            self._halted.discard(symbol)

    def look(self, resting: Resting) -> bool:
        """Look at the market when an order is sent: its quote may still be in force when the order arrives.

        Return whether there ever was one.
        """
        quote = self.refresh(resting.symbol)
        if quote is None:
            return False
        resting.decided_at = quote[4] if resting.buys else quote[2]
        self._working.fall_due(resting.eligible_ns, ARRIVES, resting)
        return True

    def refresh(self, symbol: str) -> Quote | None:
        """Look up the newest quote, where there ever was one: it may have been nothing to the orders, and not shown."""
        market, book = self.market, self.books[symbol]
        newest = None if market is None else market.quote(symbol)
        if market is not None and newest is not None:
            self.is_dark = bool(market.halted_by)
            self.halt(symbol, halted=len(market.halted(symbol)) > len(market.halted_by))
            book.show(newest, market.depth(symbol))
        return book.quote

    def arrive(self, resting: Resting, at_ns: int, following: Quote | None, reports: Reports) -> None:
        """Let an order meet the quote in force when it, or its new price, arrived; where none is fresh, it waits.

        The quote on which it was decided is none for an order that takes no time to arrive.
        """
        book = self.books[resting.symbol]
        quote = book.quote
        if (
            quote is None
            or self.is_dark
            or resting.symbol in self._halted
            or at_ns - quote[1] > self._stale_ns
            or not resting.first
        ):
            return
        if not resting.left or resting.woke_ns == at_ns or at_ns <= resting.order.placed_ns:
            return
        later = 0.0
        if following is not None and following[0] == resting.symbol:
            later = following[4] if resting.buys else following[2]
        resting.arrived = True
        resting.age_ns = at_ns - quote[1]
        self._meet(resting, book, at_ns, later, 0, reports)

    def observe(self, quote: Quote, event_n: int, reports: Reports) -> None:
        """Show a quote to the orders of its symbol."""
        symbol = quote[0]
        book = self.books[symbol]
        if book.quote is None:
            self._first(quote)
        book.show_quote(quote)
        self._meet_all(symbol, book, quote[1], event_n, reports)

    def observe_depth(self, depth: Depth, event_n: int, reports: Reports) -> None:
        """Let orders meet the book with its new levels, where its quote is in force still."""
        book = self.books.get(depth.symbol)
        if book is None:
            return
        self.refresh(depth.symbol)
        book.show_depth(depth)
        if book.quote is not None and depth.time_ns - book.quote[1] <= self._stale_ns:
            self._meet_all(depth.symbol, book, depth.time_ns, event_n, reports)

    def observe_trade(self, trade: Trade, event_n: int, reports: Reports) -> None:
        """Let resting limit orders meet a trade, whose taker comes from the other side."""
        left = as_decimal(trade.size)
        sells = str(trade.side) == "sell"
        for resting in list(self._working.orders.values()):
            if resting.symbol != trade.symbol or resting.ahead is None or resting.buys is not sells or resting.ended:
                continue
            if trade.time_ns < resting.eligible_ns:
                continue  # a late one, of before the order was there
            before = resting.done
            if resting.reduces and not self._working.can_fill(resting, reports):
                continue
            left = meet_trade(resting, trade, left, self._terms[trade.symbol], reports)
            if resting.done != before:
                self._working.settle(resting, before, event_n, 0, trade.time_ns, reports)
            resting.show()

    def _first(self, quote: Quote) -> None:
        """Let the orders that are on their way meet the quote in force at their arrival: there was none before."""
        for resting in self._working.orders.values():
            if resting.symbol == quote[0] and resting.eligible_ns > quote[1] and not resting.arrived:
                self._working.fall_due(resting.eligible_ns, ARRIVES, resting)

    def _meet_all(self, symbol: str, book: DisplayedBook, time_ns: int, event_n: int, reports: Reports) -> None:
        quote = book.quote
        assert quote is not None, "only a book with a quote is met"
        for resting in list(self._working.orders.values()):
            if resting.symbol != symbol or resting.ended:
                continue
            if not resting.arrived:
                if time_ns < resting.eligible_ns:
                    continue
                resting.arrived = True
                resting.age_ns = resting.eligible_ns - quote[1]  # below 0: it came after the arrival
            elif not resting.left or resting.woke_in == event_n or time_ns < resting.eligible_ns:
                continue  # the last: a timer told of its arrival, and this quote, which comes late, is of before it
            else:
                resting.age_ns = time_ns - quote[1]  # above 0 on a depth only
            self._meet(resting, book, time_ns, 0.0, event_n, reports)

    def _meet(
        self, resting: Resting, book: DisplayedBook, time_ns: int, later: float, event_n: int, reports: Reports
    ) -> None:
        if resting.reduces and not self._working.can_fill(resting, reports):
            return
        known, before = len(reports), resting.done
        meet_book(resting, book, time_ns, self._terms[resting.symbol], self._liquidity, self._queue, later, reports)
        if len(reports) > known:
            self._working.settle(resting, before, event_n, 0, time_ns, reports)
        resting.show()
