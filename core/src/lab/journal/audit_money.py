"""The money of an audit: books, fees, funding and liquidations, recomputed from the rows."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field

from lab.domain.events import DayEnded, Deposited, FundingPaid, Liquidated, LiquidationSettled, OrderFilled
from lab.domain.ledger import ZERO, Ledger, Posting
from lab.domain.margin import maintenance_margin
from lab.domain.time import DAY_NS
from lab.journal.audit_findings import Checks, Findings
from lab.journal.report import starting_equity
from lab.records.run import BookState, RunStarted, RunState

if TYPE_CHECKING:
    from lab.domain.instrument import Instrument

Postings = tuple[Posting, ...]


@define
class _Book:
    """A strategy's book, recomputed."""

    ledger: Ledger = field(factory=Ledger)
    fills: int = 0
    trades: int = 0


class Money(Checks):
    """Books every row that moves money, and compares what the rows and the end of the run say with it."""

    def __init__(self, at: Findings) -> None:
        super().__init__(at)
        self.instruments: Mapping[str, Instrument] = {}
        self._books: dict[str, _Book] = {}
        self.started: RunStarted | None = None
        self._marks: dict[str, Decimal] = {}
        self._day_ns = -1

    def run_started(self, event: RunStarted) -> None:
        """Learn how the run was started: who trades what, with how much money."""
        self._expect("its number", self._at.seq, 1)
        self.instruments = event.instruments
        self.started = event
        if event.account == "shared":
            self._books = {one.name: _Book() for one in event.strategies}

    def deposited(self, event: Deposited) -> None:
        """Check a deposit, and book it."""
        started = self.started
        if started is not None:
            self._expect("its amount", event.amount, started.equity)
            if started.account == "shared":
                self._expect("whose book has the deposit", event.strategy, started.strategies[0].name)
        book = self._books.setdefault(event.strategy, _Book())
        self._expect("its postings", event.postings, book.ledger.deposit(event.amount))

    def has_deposit(self, strategy: str) -> bool:
        """Return whether a strategy has a book."""
        return strategy in self._books

    def fill(self, event: OrderFilled, quantity: Decimal, *, reduce_only: bool) -> None:
        """Check the postings of a fill of a signed quantity and the position after it, and book it."""
        book = self._books.setdefault(event.strategy, _Book())
        book.fills += 1
        held = book.ledger.position(event.symbol).quantity
        postings = book.ledger.fill(event.symbol, quantity, self.worth(event.symbol, event.fill.price), event.fill.fee)
        after = book.ledger.position(event.symbol).quantity
        self._expect_postings(event.postings, postings)
        self._expect("the position after it", event.position, after)
        if reduce_only and (not held or abs(after) > abs(held) or after * held < ZERO):
            self._note(f"a reduce-only order took the position from {held} to {after}")
        if held and (not after or after * held < ZERO):
            book.trades += 1

    def worth(self, symbol: str, price: Decimal) -> Decimal:
        """Return what a contract is worth at a price."""
        instrument = self.instruments.get(symbol)
        return price if instrument is None else instrument.worth(price)

    def notional(self, symbol: str, quantity: Decimal, price: Decimal) -> Decimal:
        """Return what a quantity is worth at a price, whatever its sign."""
        return abs(quantity * self.worth(symbol, price))

    def _expect_postings(self, found: Postings, expected: Postings) -> None:
        self._expect("its postings", found, expected)
        if sum(amount for _, amount in found):
            self._note("its postings do not sum to 0")

    def funding(self, event: FundingPaid) -> None:
        """Check what a position paid or received for a window, and book it."""
        ledger = self._books.setdefault(event.strategy, _Book()).ledger
        self._expect("what is held", event.quantity, ledger.position(event.symbol).quantity)
        notional = self.notional(event.symbol, event.quantity, event.mark)
        due = notional * event.rate
        self._expect("its amount", event.amount, due if event.quantity > ZERO else -due)
        self._expect_postings(event.postings, ledger.pay_funding(event.amount))
        if event.window_ns > self._at.time_ns:
            self._note(f"it is paid at {self._at.time_ns}, before it is due at {event.window_ns}")

    def liquidated(self, event: Liquidated) -> None:
        """Check the figures by which a book, or a position of it, was liquidated."""
        ledger = self._books.setdefault(event.strategy, _Book()).ledger
        for call in event.positions:
            self._expect(f"the {call.symbol} held", call.quantity, ledger.position(call.symbol).quantity)
            self._expect("its notional", call.notional, self.notional(call.symbol, call.quantity, call.mark))
            instrument = self.instruments.get(call.symbol)
            if instrument is not None:
                self._expect(
                    "its maintenance margin", call.maintenance, maintenance_margin(instrument.tiers, call.notional)
                )
            self._marks[call.symbol] = call.mark
        if event.balance > event.maintenance and event.positions:
            self._note(f"the balance {event.balance} is above the maintenance margin {event.maintenance}")
        started = self.started
        if started is not None and started.margin == "cross":
            shared = started.account == "shared"
            if not shared or event.strategy == started.strategies[-1].name:  # the marks of all its books are known
                self._account(event, [one.ledger for one in self._books.values()] if shared else [ledger])

    def _account(self, event: Liquidated, ledgers: Sequence[Ledger]) -> None:
        """Compare a liquidation's figures with those of the account: its cash, and its positions netted."""
        balance, needed = sum((one.cash for one in ledgers), ZERO), ZERO
        net: dict[str, Decimal] = {}
        for ledger in ledgers:
            for symbol, held in ledger.positions.items():
                if held.quantity and symbol in self._marks:
                    net[symbol] = net.get(symbol, ZERO) + held.quantity
                    balance += held.quantity * self.worth(symbol, self._marks[symbol]) - held.cost
        for symbol, quantity in net.items():
            instrument = self.instruments.get(symbol)
            if instrument is not None:
                needed += maintenance_margin(instrument.tiers, self.notional(symbol, quantity, self._marks[symbol]))
        self._expect("the account's balance", event.balance, balance)
        self._expect("the account's maintenance margin", event.maintenance, needed)

    def settled(self, event: LiquidationSettled) -> None:
        """Check what a liquidation cost and what the insurance fund paid, and book it."""
        ledger = self._books.setdefault(event.strategy, _Book()).ledger
        if event.fee < ZERO or event.insurance < ZERO:
            self._note(f"its fee {event.fee} or insurance {event.insurance} is below 0")
        for symbol in event.symbols:
            self._expect(f"the {symbol} held", ledger.position(symbol).quantity, ZERO)
        self._expect_postings(event.postings, ledger.settle_liquidation(event.fee, event.insurance))

    def day_ended(self, event: DayEnded) -> None:
        """Check that a day's equity is that of its books, and no book better than the cash and the prices allow.

        Positions are valued at the bid or the ask, and the row has the middle: what is missing is not known here.
        """
        if event.day_ns % DAY_NS or event.day_ns <= self._day_ns:
            self._note(f"its day {event.day_ns} is no UTC day after {self._day_ns}, the one that ended before")
        if self._at.time_ns < event.day_ns + DAY_NS:
            self._note(f"its day {event.day_ns} was not over at {self._at.time_ns}")
        self._day_ns = event.day_ns
        self._expect("the books", sorted(event.books), sorted(self._books))
        self._expect("its equity", event.equity, sum(event.books.values(), ZERO))
        for name, equity in event.books.items():
            ledger = self._books.get(name, _Book()).ledger
            held = {symbol: one for symbol, one in ledger.positions.items() if one.quantity}
            without = [symbol for symbol in held if symbol not in event.prices]
            if without:
                self._note(f"{name} holds {', '.join(without)}, and their prices are missing")
                continue
            most = ledger.cash
            for symbol, one in held.items():
                most += one.quantity * self.worth(symbol, event.prices[symbol]) - one.cost
            if equity > most or (not held and equity != most):
                self._note(f"the equity of {name} is {equity:f}, its cash and positions come to {most:f}")

    # -- the end -----------------------------------------------------------------------------------------------------

    def totals(self) -> Iterator[tuple[str, object]]:
        """Yield the totals that follow from what was booked, each with the name it has among the run's."""
        yield "trades", sum(book.trades for book in self._books.values())
        ledgers = [book.ledger for book in self._books.values()]
        yield "fees_paid", sum((one.fees for one in ledgers), ZERO)
        yield "funding_paid", sum((one.funding for one in ledgers), ZERO)
        yield "liquidation_fees", sum((one.liquidation_fees for one in ledgers), ZERO)
        yield "insurance_paid", -sum((one.insurance for one in ledgers), ZERO)

    def finish(self, state: RunState) -> None:
        """Compare the books of the run's state with what was booked."""
        if self.started is not None and not self.started.instruments:  # its provider never described them
            self._expect("the books", sorted(state.books), [])
            self._expect("the equity", state.equity, starting_equity(self.started))
            return
        self._expect("the books", sorted(state.books), sorted(self._books))
        for name, book in state.books.items():
            if name in self._books:
                self._compare(name, book, self._books[name])
        self._expect("the equity", state.equity, sum((book.equity for book in state.books.values()), ZERO))

    def _compare(self, name: str, state: BookState, book: _Book) -> None:
        ledger = book.ledger
        self._expect(f"the fills of {name}", state.fills, book.fills)
        self._expect(f"the trades of {name}", state.trades, book.trades)
        self._expect(f"the cash of {name}", state.cash, ledger.cash)
        balances = {account: amount for account, amount in ledger.balances.items() if amount}
        self._expect(f"the balances of {name}", dict(state.balances), balances)
        held = {symbol: one for symbol, one in ledger.positions.items() if one.quantity}
        self._expect(f"what {name} holds", sorted(state.positions), sorted(held))
        equity = ledger.cash
        for symbol, position in held.items():
            shown = state.positions.get(symbol)
            if shown is not None:
                self._expect(f"the {symbol} of {name}", shown.quantity, position.quantity)
                self._expect(f"the cost of {symbol} of {name}", shown.cost, position.cost)
                equity += position.quantity * self.worth(symbol, shown.mark) - position.cost
        self._expect(f"the equity of {name}", state.equity, equity)
        self._expect(f"the profit of {name}", state.pnl, equity + ledger.capital)
