"""Liquidates what its margin no longer backs: the whole account with cross margin, one position with isolated.

The engine does what a venue does: it takes the working orders back, closes at the market, and the venue's insurance
fund pays what was lost beyond the margin. Nobody is asked, and nothing that the price does afterwards takes it back.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, getcontext, setcontext
from typing import Final

from lab.domain.events import EquityExhausted, Liquidated, LiquidationSettled, MarginCall, OrderFilled
from lab.domain.ledger import EXACT, ZERO
from lab.domain.margin import initial_margin, maintenance_margin
from lab.domain.time import SECOND_NS
from lab.engine.orders import OrderEntry
from lab.engine.state import Account, Book, Closing, EngineState, Outputs
from lab.engine.strategies import Strategies
from lab.engine.valuation import Valuation
from lab.errors import ComponentError

_REASON: Final = "liquidated"


class Liquidation:
    """Watches margin where `lab.engine.valuation.Valuation.is_near` says so, and brings each liquidation to its end."""

    __slots__ = ("_closing", "_entry", "_state", "_strategies", "_valuation")

    def __init__(self, state: EngineState, valuation: Valuation, entry: OrderEntry, strategies: Strategies) -> None:
        self._state = state
        self._valuation = valuation
        self._entry = entry
        self._strategies = strategies
        self._closing = False

    def after_fills(self, first: int, out: Outputs) -> None:
        """Take note of the fills among the outputs from ``first`` on: they may end a liquidation, or begin one."""
        if self._closing:
            self._note_fills(first, out)
        for market in self._state.markets.values():
            if self._valuation.is_near(market):
                self.check(out)
                return

    def check(self, out: Outputs) -> None:
        """Liquidate what its margin no longer backs, by the exact figures; nothing if the broker failed."""
        state = self._state
        if state.failure is not None:
            return
        before = getcontext()
        setcontext(EXACT)
        known = len(out)
        try:
            for account in state.accounts:
                for closing in _of(account):
                    self._go_on(closing, out)
                self._check_account(account, out)
            if self._strategies.listening and len(out) > known:
                self._strategies.tell(out, known)
        except ComponentError as error:
            self._strategies.fail(error, out)
        finally:
            setcontext(before)
        if len(out) > known:
            self._changed(out)

    # -- who is liquidated -------------------------------------------------------------------------------------------

    def _check_account(self, account: Account, out: Outputs) -> None:
        held = [
            (book, symbol, position)
            for book in account.books
            for symbol, position in book.ledger.positions.items()
            if position.quantity and symbol not in book.closing
        ]
        if not held and (account.liquidated or account.closing or account.cash > ZERO):
            return
        isolated = self._state.margin_mode == "isolated"
        calls: dict[str, list[MarginCall]] = {book.name: [] for book in account.books}
        total, net = account.cash, dict[str, Decimal]()
        for book, symbol, position in held:
            call = self._call(symbol, position.quantity)
            unrealised = self._valuation.unrealised(symbol, position)
            if isolated:
                margin = initial_margin(position.cost, self._state.leverage)
                if margin + unrealised <= call.maintenance:
                    out.append(Liquidated(book.name, "position", margin + unrealised, call.maintenance, (call,)))
                    self._state.counters.liquidations += 1
                    self._close((book,), ((book, symbol),), margin, out)
                    continue
            calls[book.name].append(call)
            total += unrealised
            net[symbol] = net.get(symbol, ZERO) + position.quantity
        needed = ZERO
        if not isolated:
            for symbol, quantity in net.items():
                needed += self._valuation.maintenance(symbol, quantity)
        if total <= needed and (net or not account.closing):
            self._liquidate(account, total, needed, calls, out)

    def _liquidate(
        self, account: Account, total: Decimal, needed: Decimal, calls: Mapping[str, list[MarginCall]], out: Outputs
    ) -> None:
        """Close all that an account holds, and call none of its strategies again.

        That is also what was being closed by itself: nothing but the account is left to back it.
        """
        for book in account.books:
            out.append(Liquidated(book.name, "account", total, needed, tuple(calls[book.name])))
            self._state.counters.liquidations += 1
            self._strategies.retire_book(book)
            book.liquidated = True
        held = [
            (book, symbol)
            for book in account.books
            for symbol, position in book.ledger.positions.items()
            if position.quantity
        ]
        self._close(account.books, tuple(held), None, out)

    def _call(self, symbol: str, quantity: Decimal) -> MarginCall:
        notional = self._valuation.notional(symbol, quantity)
        tiers = self._state.markets[symbol].instrument.tiers
        mark = self._valuation.margin_mark(symbol)
        return MarginCall(symbol, quantity, mark, notional, maintenance_margin(tiers, notional))

    def end(self, out: Outputs) -> None:
        """Let the insurance fund pay what liquidations have lost beyond their margin, as the run ends before they do.

        Their positions stay open. One that closes after all is settled with what was paid before.
        """
        before = getcontext()
        setcontext(EXACT)
        known = len(out)
        try:
            for account in self._state.accounts:
                for closing in _of(account):
                    missing = -self._left(closing)
                    if missing > ZERO:
                        book = closing.books[0]
                        closing.result += missing
                        postings = book.ledger.settle_liquidation(ZERO, missing)
                        out.append(LiquidationSettled(book.name, (), ZERO, missing, postings))
        finally:
            setcontext(before)
        if len(out) > known:
            self._changed(out)

    # -- how it goes on ----------------------------------------------------------------------------------------------

    def _close(
        self,
        books: tuple[Book, ...],
        positions: tuple[tuple[Book, str], ...],
        margin: Decimal | None,
        out: Outputs,
    ) -> None:
        """Cancel the working orders, all of them where the whole account backs the positions, and close these."""
        closing = Closing(books, positions, margin, self._state.now_ns + SECOND_NS)
        for book, symbol in positions:
            earlier = book.closing.get(symbol)
            if earlier is not None:
                closing.fees[book.name] += earlier.fees[book.name]
            book.closing[symbol] = closing
        self._closing = True
        for book in books:
            for open_ in list(book.orders.values()):
                if margin is None or (book, open_.order.symbol) in positions:
                    self._entry.changes.withdraw(open_, _REASON, out)
        for book, symbol in positions:
            self._entry.close_position(book, symbol, book.ledger.position(symbol).quantity, _REASON, out)
        if not positions:
            self._settle(closing, out)

    def _go_on(self, closing: Closing, out: Outputs) -> None:
        """Place again, at most once a second, what ended without closing its position."""
        now_ns = self._state.now_ns
        if now_ns < closing.retry_ns:
            return
        closing.retry_ns = now_ns + SECOND_NS
        for book, symbol in closing.positions:
            held = book.ledger.position(symbol).quantity
            working = [open_.order for open_ in book.orders.values() if open_.order.symbol == symbol]
            if held and not any(order.reduce_only for order in working):
                self._entry.close_position(book, symbol, held, _REASON, out)

    def _note_fills(self, first: int, out: Outputs) -> None:
        """Add up what closing moved, and settle what is closed."""
        books = {book.name: book for book in self._state.books if book.closing}
        before = getcontext()
        setcontext(EXACT)
        known = len(out)
        try:
            for event in out[first:]:
                if type(event) is OrderFilled and event.strategy in books:
                    self._note_fill(books[event.strategy], event)
            for account in self._state.accounts:
                for closing in _of(account):
                    if not any(book.ledger.position(symbol).quantity for book, symbol in closing.positions):
                        self._settle(closing, out)
        finally:
            setcontext(before)
        if len(out) > known:
            self._changed(out)

    def _note_fill(self, book: Book, event: OrderFilled) -> None:
        closing = book.closing.get(event.symbol)
        if closing is not None:
            instrument = self._state.markets[event.symbol].instrument
            notional = instrument.notional(event.fill.quantity, event.fill.price)
            closing.result += event.postings[0][1]
            closing.fees[book.name] += notional * instrument.liquidation_fee_rate

    def _settle(self, closing: Closing, out: Outputs) -> None:
        """Take the venue's fee out of what is left, or let its insurance fund pay what is missing.

        What is missing is paid to the first book, which has the account's deposit.
        """
        left = self._left(closing)
        insurance, left = max(-left, ZERO), max(left, ZERO)
        for book in closing.books:
            symbols = tuple(symbol for owner, symbol in closing.positions if owner is book)
            for symbol in symbols:
                del book.closing[symbol]
            fee = min(closing.fees[book.name], left)
            postings = book.ledger.settle_liquidation(fee, insurance)
            out.append(LiquidationSettled(book.name, symbols, fee, insurance, postings))
            left, insurance = left - fee, ZERO

    def _left(self, closing: Closing) -> Decimal:
        """Return what is left of what backed the positions, what is still open at its mark."""
        if closing.margin is None:
            return self._valuation.account_equity(closing.books[0].account)
        left = closing.margin + closing.result
        for book, symbol in closing.positions:
            left += self._valuation.profit(book, symbol)
        return left

    def _changed(self, out: Outputs) -> None:
        """Value the books anew, and end the run where each of them was liquidated."""
        state = self._state
        self._closing = state.liquidating
        for market in state.markets.values():
            self._valuation.revalue(market)
        if not state.exhausted and all(book.liquidated for book in state.books):
            state.exhausted = True
            out.append(EquityExhausted(self._valuation.equity()))
            self._strategies.retire_all()


def _of(account: Account) -> Sequence[Closing]:
    """Return the liquidations of an account that are on their way, in the order in which they began."""
    return list(dict.fromkeys(closing for book in account.books for closing in book.closing.values()))
