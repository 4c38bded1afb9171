"""Liquidates what its margin no longer backs: the whole book with cross margin, one position with isolated margin.

The engine does what a venue does: it takes the working orders back, closes at the market, and the venue's insurance
fund pays what was lost beyond the margin. Nobody is asked, and nothing that the price does afterwards takes it back.
"""

from collections.abc import Sequence
from decimal import Decimal, getcontext, setcontext
from typing import Final

from lab.domain.events import EquityExhausted, Liquidated, LiquidationSettled, MarginCall, OrderFilled
from lab.domain.ledger import EXACT, ZERO
from lab.domain.margin import initial_margin, maintenance_margin
from lab.domain.position import FLAT
from lab.domain.time import SECOND_NS
from lab.engine.orders import OrderEntry
from lab.engine.state import Book, Closing, EngineState, Outputs
from lab.engine.strategies import Strategies
from lab.engine.valuation import Valuation
from lab.errors import ComponentError

_REASON: Final = "liquidated"


class Liquidation:
    """Watches margin where `lab.engine.state.Market.is_near` says so, and brings each liquidation to its end."""

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
            if market.is_near():
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
            for book in state.books:
                if book.closing:
                    self._go_on(book, out)
                self._check_book(book, out)
            if self._strategies.listening and len(out) > known:
                self._strategies.tell(out, known)
        except ComponentError as error:
            self._strategies.fail(error, out)
        finally:
            setcontext(before)
        if len(out) > known:
            self._changed(out)

    # -- who is liquidated -------------------------------------------------------------------------------------------

    def _check_book(self, book: Book, out: Outputs) -> None:
        held = [one for one in book.ledger.positions.items() if one[1].quantity and one[0] not in book.closing]
        if not held and (book.liquidated or book.closing or book.ledger.cash > ZERO):
            return
        isolated = self._state.margin_mode == "isolated"
        calls, total, needed = [], book.ledger.cash, ZERO
        for symbol, position in held:
            call = self._call(symbol, position.quantity)
            unrealised = self._valuation.unrealised(symbol, position)
            if isolated:
                margin = initial_margin(position.cost, self._state.leverage)
                if margin + unrealised <= call.maintenance:
                    out.append(Liquidated(book.name, "isolated", margin + unrealised, call.maintenance, (call,)))
                    self._close(book, (call,), margin, out)
                    continue
            calls.append(call)
            total += unrealised
            needed += ZERO if isolated else call.maintenance
        if total <= needed and (calls or not book.closing):
            out.append(Liquidated(book.name, "cross", total, needed, tuple(calls)))
            self._strategies.retire_book(book)
            book.liquidated = True
            self._close(book, calls, None, out)

    def _call(self, symbol: str, quantity: Decimal) -> MarginCall:
        notional = self._valuation.notional(symbol, quantity)
        tiers = self._state.markets[symbol].instrument.tiers
        mark = self._valuation.margin_mark(symbol)
        return MarginCall(symbol, quantity, mark, notional, maintenance_margin(tiers, notional))

    # -- how it goes on ----------------------------------------------------------------------------------------------

    def _close(self, book: Book, calls: Sequence[MarginCall], margin: Decimal | None, out: Outputs) -> None:
        """Cancel the working orders, of the whole book where that backs the positions, and close these positions."""
        symbols = tuple(call.symbol for call in calls)
        closing = Closing(symbols, margin, self._state.now_ns + SECOND_NS)
        book.closing.update(dict.fromkeys(symbols, closing))
        self._state.counters.liquidations += 1
        self._closing = True
        for open_ in list(book.orders.values()):
            if margin is None or open_.order.symbol in symbols:
                self._entry.changes.withdraw(open_, _REASON, out)
        for call in calls:
            self._entry.close_position(book, call.symbol, call.quantity, _REASON, out)
        if not symbols:
            self._settle(book, closing, out)

    def _go_on(self, book: Book, out: Outputs) -> None:
        """Place again, at most once a second, what ended without closing its position."""
        now_ns = self._state.now_ns
        for symbol, closing in book.closing.items():
            held = book.ledger.position(symbol).quantity
            if not held or now_ns < closing.retry_ns:
                continue
            closing.retry_ns = now_ns + SECOND_NS
            working = [open_.order for open_ in book.orders.values() if open_.order.symbol == symbol]
            if not any(order.reduce_only for order in working):
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
            for book in books.values():
                for closing in dict.fromkeys(book.closing.values()):
                    if not any(book.ledger.positions.get(symbol, FLAT).quantity for symbol in closing.symbols):
                        self._settle(book, closing, out)
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
            closing.fee += notional * instrument.liquidation_fee_rate

    def _settle(self, book: Book, closing: Closing, out: Outputs) -> None:
        """Take the venue's fee out of what is left, or let its insurance fund pay what is missing."""
        margin = closing.margin
        left = self._valuation.book_equity(book) if margin is None else margin + closing.result
        fee, insurance = min(closing.fee, max(left, ZERO)), max(-left, ZERO)
        for symbol in closing.symbols:
            del book.closing[symbol]
        postings = book.ledger.settle_liquidation(fee, insurance)
        out.append(LiquidationSettled(book.name, closing.symbols, fee, insurance, postings))

    def _changed(self, out: Outputs) -> None:
        """Value the books anew, and end the run where each of them was liquidated."""
        state = self._state
        self._closing = any(book.closing for book in state.books)
        for market in state.markets.values():
            self._valuation.revalue(market)
        if not state.exhausted and all(book.liquidated for book in state.books):
            state.exhausted = True
            out.append(EquityExhausted(self._valuation.equity()))
            self._strategies.retire_all()
