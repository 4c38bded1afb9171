"""Values the books: exactly on request, and in float at every event for the drawdown."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from math import inf

from lab.domain.events import DayEnded
from lab.domain.ledger import EXACT, ZERO
from lab.domain.margin import breach_price, initial_margin, maintenance_margin
from lab.domain.money import as_decimal
from lab.domain.position import Position
from lab.domain.time import DAY_NS
from lab.engine.breach import breach_price_in_float
from lab.engine.counters import RunCounters
from lab.engine.drawdown import Drawdown, Moment
from lab.engine.margin_watch import MarginWatch
from lab.engine.state import Account, Book, EngineState, Market

# The beginning of a UTC day in nanoseconds, and what was lost on it before this run.
CarriedLoss = tuple[int, Decimal]

_HALF = Decimal("0.5")
_NEAR = 1e-9  # a float level this much too early is looked at exactly: far more than the error of a float


class Valuation:
    """The equity of one engine's books. Exact figures are exact in whatever decimal context they are asked for."""

    __slots__ = (
        "_carried_loss", "_cash", "_known_after", "_known_before", "_known_mark", "_known_position", "_markets",
        "_single", "_state", "_watch_all", "day_end_ns", "day_starting_equity", "drawdown", "starting_equity",
    )  # fmt: skip

    def __init__(self, state: EngineState, carried_loss: CarriedLoss) -> None:
        self._state = state
        self._markets = state.markets
        self._single = len(state.markets) == 1 and len(state.books) == 1
        self._watch_all = MarginWatch(state) if len(state.markets) > 1 else None
        self._carried_loss = carried_loss
        # The newest open position that was valued: it, the total before, its mark and the total after.
        self._known_position: Position | None = None
        self._known_before = self._known_after = ZERO
        self._known_mark = 0.0
        start = ZERO
        for book in state.books:
            start = EXACT.add(start, book.deposit)
        self.starting_equity = self.day_starting_equity = start
        self.day_end_ns = 0
        self._cash = float(start)
        self.drawdown = Drawdown(start)

    # -- exactly -----------------------------------------------------------------------------------------------------

    def mark(self, symbol: str, quantity: Decimal) -> Decimal:
        """Return the price a quantity is valued at: long at the bid, short at the ask, without quotes at the close."""
        return self._mark(self._markets[symbol], quantity)

    @staticmethod
    def _mark(market: Market, quantity: Decimal) -> Decimal:
        value = market.last if market.quote is None else market.mark(quantity >= ZERO)
        if not value:
            raise LookupError(f"no price of {market.symbol} yet")
        return as_decimal(value)

    def book_equity(self, book: Book) -> Decimal:
        """Return a book's cash and unrealised profit."""
        total = book.ledger.cash
        for symbol, held in book.ledger.positions.items():
            quantity = held.quantity
            if quantity:
                market = self._markets[symbol]
                mark = market.last if market.quote is None else market.mark(quantity >= ZERO)
                if held is self._known_position and total is self._known_before and mark == self._known_mark:
                    total = self._known_after  # several gates ask at the same moment
                    continue
                worth = self._mark(market, quantity)
                if market.contract_value:
                    worth = market.instrument.worth(worth)
                # The context's own methods: to change the context and back costs more.
                after = EXACT.subtract(EXACT.fma(quantity, worth, total), held.cost)
                self._known_position, self._known_before, self._known_mark = held, total, mark
                self._known_after = total = after
        return total

    def profit(self, book: Book, symbol: str) -> Decimal:
        """Return the unrealised profit of a book's position, as its equity has it."""
        held = book.ledger.position(symbol)
        if not held.quantity:
            return ZERO
        worth = self._markets[symbol].instrument.worth(self.mark(symbol, held.quantity))
        return EXACT.subtract(EXACT.multiply(held.quantity, worth), held.cost)

    def equity(self) -> Decimal:
        """Return the equity of all books."""
        return self._equity_of(self._state.books)

    def account_equity(self, account: Account) -> Decimal:
        """Return an account's cash and the unrealised profit of each position in its books."""
        return self._equity_of(account.books)

    def _equity_of(self, books: tuple[Book, ...]) -> Decimal:
        if len(books) == 1:
            return self.book_equity(books[0])
        total = ZERO
        for book in books:
            total = EXACT.add(total, self.book_equity(book))
        return total

    # -- margin ------------------------------------------------------------------------------------------------------

    def margin_mark(self, symbol: str) -> Decimal:
        """Return the mark of margin: the middle of the quote, without quotes the close.

        Raises ``LookupError`` before the first price.
        """
        market = self._markets[symbol]
        quote = market.quote
        if quote is not None:
            return EXACT.multiply(EXACT.add(as_decimal(quote[2]), as_decimal(quote[4])), _HALF)
        return self.mark(symbol, ZERO)

    def unrealised(self, symbol: str, held: Position) -> Decimal:
        """Return a position's unrealised profit at the mark of margin."""
        worth = self._markets[symbol].instrument.worth(self.margin_mark(symbol))
        return EXACT.subtract(EXACT.multiply(held.quantity, worth), held.cost)

    def notional(self, symbol: str, quantity: Decimal) -> Decimal:
        """Return the notional of a signed quantity at the mark of margin."""
        worth = self._markets[symbol].instrument.worth(self.margin_mark(symbol))
        return EXACT.abs(EXACT.multiply(quantity, worth))

    def maintenance(self, symbol: str, quantity: Decimal) -> Decimal:
        """Return the maintenance margin of a signed quantity at the mark of margin."""
        with localcontext(EXACT):
            tiers = self._markets[symbol].instrument.tiers
            return maintenance_margin(tiers, self.notional(symbol, quantity)) if quantity else ZERO

    def margin_in_use(self, account: Account) -> Decimal:
        """Return what an account's positions bind, on 1e-10: notional / leverage.

        With cross margin at the mark, long and short of a symbol netted; with isolated margin each position at entry.
        """
        total, leverage = ZERO, self._state.leverage
        if self._state.margin_mode == "cross":
            bound = [self.notional(symbol, held.quantity) for symbol, held in account.positions.items()]
        else:
            bound = [held.cost for book in account.books for held in book.ledger.positions.values()]
        for one in bound:
            total = EXACT.add(total, initial_margin(one, leverage))
        return total

    def maintenance_of(self, account: Account) -> Decimal:
        """Return the maintenance margin of an account's positions at the marks of margin: net with cross margin."""
        total, isolated = ZERO, self._state.margin_mode == "isolated"
        for positions in [book.ledger.positions for book in account.books] if isolated else [account.positions]:
            for symbol, held in positions.items():
                total = EXACT.add(total, self.maintenance(symbol, held.quantity))
        return total

    def liquidation_price(self, book: Book, symbol: str) -> Decimal | None:
        """Return the mark at which a book's position is liquidated, while others stay as they are, on 1e-10.

        ``None`` where it is flat, or liquidated at no mark above 0, or where its account nets it to nothing.
        """
        held = book.ledger.position(symbol)
        if not held.quantity:
            return None
        with localcontext(EXACT):
            if self._state.margin_mode == "isolated":
                backing = initial_margin(held.cost, self._state.leverage)
            else:
                positions, backing = book.account.positions, book.account.cash
                held = positions[symbol]
                if not held.quantity:
                    return None
                for other, position in positions.items():
                    if other != symbol and position.quantity:
                        backing += self.unrealised(other, position) - self.maintenance(other, position.quantity)
            return breach_price(self._markets[symbol].instrument, held.quantity, backing - held.cost)

    # -- the day -----------------------------------------------------------------------------------------------------

    def new_day(self, time_ns: int) -> DayEnded | None:
        """A UTC day began: its loss is counted from the equity before this event.

        The loss of the run that this one restarts, on that day, is included. Returns how the newest day before it
        ended; ``None`` where no live price came until then.
        """
        ended, equity = None, self.equity()
        if any(market.first for market in self._markets.values()):
            books = {book.name: self.book_equity(book) for book in self._state.books}
            ended = DayEnded(self.day_end_ns - DAY_NS, equity, books, self.prices())
        day_ns = time_ns - time_ns % DAY_NS
        lost_ns, lost = self._carried_loss
        self.day_starting_equity = EXACT.add(equity, lost if day_ns == lost_ns else ZERO)
        self.day_end_ns = day_ns + DAY_NS
        return ended

    def prices(self) -> dict[str, Decimal]:
        """Return the newest price of each symbol whose first live price came: the mark of margin."""
        return {symbol: self.margin_mark(symbol) for symbol, market in self._markets.items() if market.first}

    def count_extremes(self, counters: RunCounters) -> None:
        """Set the counters of equity and prices, as they are at this moment."""
        drawdown, state = self.drawdown, self._state
        counters.peak_equity, counters.max_drawdown = drawdown.peak, drawdown.deepest
        counters.max_drawdown_percent = drawdown.steepest_percent
        counters.longest_drawdown_ns = drawdown.longest_ns(self.equity(), state.now_ns)
        counters.lowest_equity = drawdown.lowest
        counters.live_since_ns = state.live_since_ns
        counters.first_prices = {symbol: market.first for symbol, market in self._markets.items() if market.first}
        counters.last_prices = self.prices()

    # -- in float, for the drawdown and for liquidation --------------------------------------------------------------

    def is_near(self, market: Market) -> bool:
        """Return whether a market's price may be one at which something has to be liquidated."""
        watch = self._watch_all
        return market.is_near() and (watch is None or watch.may_breach())

    def revalue(self, market: Market) -> None:
        """Copy the positions that an event changed as floats, and mark them to market."""
        symbol = market.symbol
        if not market.holders and (self._single or not any(one.holders for one in self._markets.values())):
            self.drawdown.rest(self._cash, self._state.now_ns)
        if self._watch_all is not None:
            self._watch_all.forget()
        holders: list[tuple[float, float]] = []
        market.holders = holders
        cash = 0.0
        market.liquid_low, market.liquid_high = 0.0, inf
        isolated = self._state.margin_mode == "isolated"
        for account in self._state.accounts:
            own, known = 0.0, len(holders)
            for book in account.books:
                ledger = book.ledger
                own += float(ledger.cash)
                held = ledger.positions.get(symbol)
                if held is not None and held.quantity:
                    holders.append((float(held.quantity), float(held.cost)))
            cash += own
            mine = holders[known:]
            # Of several markets, and while a liquidation is on its way, each event is looked at.
            if account.closing or (mine and len(self._markets) > 1):
                market.liquid_low = inf
            elif not mine:
                if own <= 0.0 and not account.liquidated:
                    market.liquid_low = inf
            else:
                # Also where margin is isolated: an account that has nothing left is liquidated whole.
                self._watch_account(market, account, own, mine)
                if isolated:
                    for quantity, cost in mine:
                        self._watch(market, quantity, abs(cost) / float(self._state.leverage) - cost)
        self._cash = cash
        self.mark_to_market(market)

    def _watch_account(
        self, market: Market, account: Account, cash: float, positions: Sequence[tuple[float, float]]
    ) -> None:
        """Narrow the marks at which nothing need be liquidated, to those of an account's net position."""
        if len(positions) == 1:
            [(quantity, cost)] = positions
            self._watch(market, quantity, cash - cost)
            return
        net = account.positions[market.symbol]  # exact: of large positions that offset each other little is left
        aside = EXACT.subtract(account.cash, net.cost)
        if net.quantity:
            self._watch(market, float(net.quantity), float(aside))
        elif aside <= ZERO:
            market.liquid_low = inf  # at every mark the same is left: nothing

    def _watch(self, market: Market, quantity: float, aside: float) -> None:
        """Narrow them to those of a position; ``aside`` is what backs it beside its notional."""
        level = breach_price_in_float(market.contract_value, quantity, aside, market.tiers)
        if quantity > 0.0:
            market.liquid_low = max(market.liquid_low, level * (1.0 + _NEAR))
        else:
            market.liquid_high = min(market.liquid_high, level * (1.0 - _NEAR))

    def mark_to_market(self, market: Market) -> None:
        """Value the books in float; beyond an extreme, pass the exact figures to the drawdown."""
        unrealised = 0.0
        value = market.contract_value
        for quantity, cost in market.holders:
            mark = market.mark(quantity > 0.0)
            unrealised += quantity * (-value / mark if value else mark) - cost
        market.unrealised = unrealised
        equity = self._cash + unrealised
        if not self._single:
            equity += sum([other.unrealised for other in self._markets.values() if other is not market])
        drawdown = self.drawdown
        if equity > drawdown.above or equity < drawdown.below:
            drawdown.observe(equity, self._moment(), self._state.now_ns)
        if self._single:
            self._set_quiet_range(market)

    def _set_quiet_range(self, market: Market) -> None:
        """Set the marks between which nothing happens, so that an event between them costs two comparisons.

        Between them the equity is no extreme, and nothing may have to be liquidated.
        """
        if not market.holders:
            market.quiet_low, market.quiet_high = -1.0 if market.liquid_low < inf else inf, inf
            return
        quantity, cost = market.holders[0]
        aside = cost - self._cash
        low, high = (self.drawdown.below + aside) / quantity, (self.drawdown.above + aside) / quantity
        if quantity < 0.0:
            low, high = high, low
        value = market.contract_value
        if value:  # these are worths of a contract: below 0, and the nearer the higher the price
            low, high = (-value / low if low < 0.0 else inf), (-value / high if high < 0.0 else inf)
        market.long = quantity > 0.0
        market.quiet_low = max(low, market.liquid_low)
        market.quiet_high = min(high, market.liquid_high)

    def _moment(self) -> Moment:
        held = []
        books = self._state.books
        cash = books[0].ledger.cash
        for book in books[1:]:
            cash = EXACT.add(cash, book.ledger.cash)
        for book in books:
            for symbol, position in book.ledger.positions.items():
                quantity = position.quantity
                if quantity:
                    market = self._markets[symbol]
                    mark = market.mark(quantity > ZERO)
                    held.append((quantity, position.cost, mark, market.instrument))
        return cash, held
