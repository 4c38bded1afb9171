"""The desk of the paper broker: takes what is sent, and applies what happens, in the order of their times.

Apart from the settings, so that it can be compiled: `lab_paper_broker.broker` has those.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import Any, Final

from lab import Accepted, Candle, Depth, MarketView, Order, OrderType, Quote, Rejected, Trade, TradingState, format_time
from lab.domain.control import ClockStepped, SymbolState, Timer
from lab.domain.time import MILLISECOND_NS
from lab.ports import Amended
from msgspec.structs import astuple, replace

from lab_paper_broker.answers import reason_of
from lab_paper_broker.arrivals import Arrivals
from lab_paper_broker.candle_market import CandleMarket
from lab_paper_broker.models import Latency, Liquidity, Queue, Rejects
from lab_paper_broker.on_quotes import Reports
from lab_paper_broker.quote_market import QuoteMarket
from lab_paper_broker.resting import Resting
from lab_paper_broker.terms import Terms
from lab_paper_broker.working import AMEND, ARRIVES, CANCEL, EXPIRES, Working

_MARKET: Final = OrderType.MARKET  # Python 3.11 looks an enum's member up in 90 ns
_accepted: Final = Accepted  # compiled code reads a name that is Final at once, and looks any other up in its module
_astuple: Final = astuple
_CANDLE: Final = Candle
_QUOTE: Final = Quote
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "market": (),
    "limit": ("limit",),
    "stop": ("stop",),
    "stop_limit": ("stop", "limit"),
    "take_profit": ("stop",),
    "trailing_stop": ("trail",),
}
"""The types of order that are taken, and the prices each needs."""


class Models:
    """The models that replace the built-in ones; ``None``: the built-in one."""

    __slots__ = ("latency", "liquidity", "queue", "rejects")

    def __init__(
        self,
        latency: Latency | None = None,
        liquidity: Liquidity | None = None,
        queue: Queue | None = None,
        rejects: Rejects | None = None,
    ) -> None:
        self.latency = latency
        self.liquidity = liquidity
        self.queue = queue
        self.rejects = rejects


class Desk:
    """Takes orders and fills them, as `lab_paper_broker.broker.PaperBroker` says."""

    __slots__ = (
        "_arrivals", "_candles", "_event_n", "_expire_ms", "_market", "_models", "_terms", "quotes", "working",
    )  # fmt: skip

    def __init__(
        self,
        terms: Mapping[str, Terms],
        seed: int,
        arrivals: Arrivals,
        expire_ms: int,
        stale_ms: int,
        candle_share: Decimal,
        unlimited: bool,
        models: Models,
    ) -> None:
        self._terms = terms
        self._arrivals = arrivals
        self._arrivals.seed = seed & 0xFFFFFFFF
        self._expire_ms = expire_ms
        self._models = models
        self._market: MarketView | None = None
        self._event_n = 0
        self.working = Working()
        self.quotes = QuoteMarket(
            self.working, terms, stale_ms * MILLISECOND_NS, unlimited, models.liquidity, models.queue
        )
        self._candles = CandleMarket(self.working, terms, candle_share, unlimited, models.liquidity)

    def attach(self, market: MarketView) -> None:
        """Learn where to look up the market."""
        self._market = self.quotes.market = self._candles.market = market

    # -- what is sent ------------------------------------------------------------------------------------------------

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order; reject an unknown symbol or type, an id that works already, and prices that are missing."""
        # All fields in one call: a look-up of each costs more.
        oid, _, symbol, _, _, kind, _, _, _, _, _, _, _, _, _, expires_ns, parent, group = _astuple(order)
        problem = self._problem(order, oid, symbol, kind, parent)
        if problem:
            return Rejected(problem)
        working = self.working
        if parent:
            entry = working.orders[parent]
            resting = working.orders[oid] = Resting(order, entry.eligible_ns)
            resting.entry_rises = entry.rises if entry.waits else not entry.buys
            resting.arrived = True
            working.families.add_child(resting)
            return _accepted(entry.eligible_ns)
        eligible_ns = self._arrivals.of_order(order, now_ns)
        resting = working.orders[oid] = Resting(order, eligible_ns)
        if group:
            working.families.join(resting)
        quoted = self.quotes.look(resting)
        if resting.takes and not resting.waits and (quoted or not self._candles.knows(symbol)):
            working.fall_due(eligible_ns + self._expire_ms * MILLISECOND_NS, EXPIRES, resting)
        if expires_ns is not None:
            working.fall_due(expires_ns - 1, EXPIRES, resting)
        return _accepted(eligible_ns)

    def _problem(self, order: Order, oid: str, symbol: str, kind: OrderType, parent: str) -> str:
        """Return why an order is not taken; an empty text where it is."""
        if symbol not in self._terms:
            known = ", ".join(self._terms) or "none"
            return f"the paper broker does not know {symbol!r}; it was opened with {known}"
        orders = self.working.orders
        if oid in orders:
            return f"an order with the id {oid} works already"
        if parent and parent not in orders:
            return f"its entry {parent} does not work"
        if kind is not _MARKET:  # which needs no price: most orders, and to look a type up by its text is slow
            needs = _NEEDS.get(str(kind))
            if needs is None:
                return f"the paper broker takes {', '.join(_NEEDS)} orders, not {kind}"
            for name in needs:
                if getattr(order, name) is None:
                    return f"a {kind} order needs a {name}"
        rejects = self._models.rejects
        return "" if rejects is None else reason_of(rejects, order, self._market, self._arrivals.seed)

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        """Send a cancel after a working order."""
        resting = self.working.orders.get(order_id)
        if resting is None:
            return Rejected(f"no order {order_id} works")
        arrival_ns = self._arrival_of_change(resting, now_ns)
        if arrival_ns <= now_ns:
            self.working.remove(resting)
        else:
            self.working.fall_due(arrival_ns, CANCEL, resting)
        return Accepted(arrival_ns)

    def forget(self, order_id: str) -> None:
        """Drop an order at once."""
        resting = self.working.orders.get(order_id)
        if resting is not None:
            self.working.remove(resting)

    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Send an amendment after a working order."""
        resting = self.working.orders.get(order.id)
        if resting is None:
            return Rejected(f"no order {order.id} works")
        self.quotes.refresh(resting.symbol)
        arrival_ns = self._arrival_of_change(resting, now_ns)
        if arrival_ns <= now_ns:
            self._change(resting, order, now_ns, arrival_ns)
            self.working.fall_due(arrival_ns, ARRIVES, resting)
        else:
            # What happens to its quantity meanwhile happens to the new one, too.
            changed = replace(order, quantity=order.quantity + resting.shrunk)
            self.working.fall_due(arrival_ns, AMEND, resting, changed, now_ns)
        return Accepted(arrival_ns)

    def _arrival_of_change(self, resting: Resting, now_ns: int) -> int:
        """Return when a cancel or an amendment arrives: behind what its strategy changed before, which may arrive now.

        That acts with the next event only, so what arrives at the same time acts then too.
        """
        arrival_ns = self._arrivals.of_change(resting.order, now_ns)
        if arrival_ns <= now_ns and self.working.is_changing(resting.holder[0]):
            return self._arrivals.put_off(resting.holder[0], now_ns + 1)
        return arrival_ns

    # -- what happens ------------------------------------------------------------------------------------------------

    def observe(self, event: Any) -> Sequence[Any]:
        """Apply an event of the market to the working orders, in the order they were submitted."""
        self._event_n += 1
        self.working.begin()
        reports: Reports = []
        kind = type(event)
        if kind is _QUOTE:
            if event[0] in self.quotes.books:
                if self.working.is_due(event[1]):
                    self._catch_up(event[1], event, reports)
                self.quotes.observe(event, self._event_n, reports)
        elif kind is _CANDLE:
            self._candles.note(event)
            leaving: list[Resting] = []
            if self.working.is_due(event[2]):
                leaving = self._leaving(event)
                self._catch_up(event[2], None, reports, leaving)
            book = self.quotes.books.get(event[0])
            if book is not None and book.quote is None:
                self._candles.observe(event, self._event_n, reports)
            for resting in leaving:
                if not resting.ended:
                    self._let_go(resting, event[0], reports)
        elif kind is ClockStepped:
            self._begin_anew()
        elif kind is Trade or kind is Depth or kind is Timer or kind is TradingState or kind is SymbolState:
            self._observe_other(event, reports)
        return reports

    def _observe_other(self, event: Any, reports: Reports) -> None:
        """Apply what is neither quote nor candle."""
        kind = type(event)
        if self.working.is_due(event.time_ns):
            self._catch_up(event.time_ns, None, reports)
        if kind is Trade:
            self.quotes.observe_trade(event, self._event_n, reports)
        elif kind is Depth:
            self.quotes.observe_depth(event, self._event_n, reports)
        elif kind is TradingState:
            self.quotes.is_dark = bool(event.halted_by)
        elif kind is SymbolState:
            self.quotes.halt(event.symbol, halted=bool(event.halted_by))

    def _begin_anew(self) -> None:
        """The venue's clock stepped, and every order was forgotten: no time of before means anything now."""
        self._arrivals.forget()
        self.working.forget_due()
        for book in self.quotes.books.values():
            book.grow_old()

    def idle(self, symbol: str) -> tuple[float, float, int] | None:
        """Return between which prices, and until when, nothing can happen; ``None`` where something always may.

        It may while something is on its way, an order has not met the market or trails it, or takes what comes, and
        while what was taken of a level is remembered.
        """
        until_ns = self.working.quiet_until()
        book = self.quotes.books.get(symbol)
        if not until_ns or book is None or book.remembers:
            return None
        low, high = 0.0, inf
        for resting in self.working.orders.values():
            if resting.symbol != symbol or not resting.left:
                continue
            if resting.crosses or resting.trails or (resting.takes and not resting.waits):
                return None
            if resting.first and not (resting.waits and resting.arrived):
                return None
            price = resting.level if resting.waits else resting.limit
            if resting.rises if resting.waits else not resting.buys:
                high = min(high, price)
            else:
                low = max(low, price)
        return low, high, until_ns

    def _catch_up(
        self, time_ns: int, following: Quote | None, reports: Reports, leaving: Sequence[Resting] = ()
    ) -> None:
        """Do what fell due before an event: arrivals meet the book then in force, cancels win their race, or not.

        The orders ``leaving`` do not expire yet.
        """
        while True:
            due = self.working.next_due(time_ns)
            if due is None:
                return
            at_ns, _, what, resting, order, sent_ns = due
            if what == ARRIVES:
                self.quotes.arrive(resting, at_ns, following, reports)
            elif what == CANCEL:
                self.working.end(resting, "cancelled", "the cancel arrived", reports)
            elif what == AMEND:
                assert order is not None, "an amendment has an order"
                self._amend(resting, order, sent_ns, at_ns, following, reports)
            elif resting.order.expires_ns == at_ns + 1:
                if resting not in leaving:
                    self.working.end(resting, "expired", f"good till {format_time(at_ns + 1)}", reports)
            elif resting.first and not self._only_candles(resting.symbol):
                self.working.end(resting, "expired", self._too_late(resting), reports)

    def _leaving(self, candle: Candle) -> list[Resting]:
        """Return the orders that expire inside a candle, after its open: of it they meet the open, and no more."""
        found = []
        for resting in self.working.orders.values():
            expires_ns = resting.order.expires_ns
            if expires_ns is None or not max(candle[1], resting.since_ns) < expires_ns <= candle[2]:
                continue
            if self._only_candles(resting.symbol):
                resting.leaves = resting.symbol == candle[0]
                found.append(resting)
        return found

    def _let_go(self, resting: Resting, symbol: str, reports: Reports) -> None:
        """Let an order expire that met the open of its candle; one of another symbol may still have it to come."""
        expires_ns = resting.order.expires_ns
        assert expires_ns is not None, f"{resting.id} does not expire"
        if resting.symbol == symbol:
            self.working.end(resting, "expired", f"good till {format_time(expires_ns)}", reports)
        else:
            self.working.fall_due(expires_ns - 1, EXPIRES, resting)

    def _amend(
        self, resting: Resting, order: Order, sent_ns: int, at_ns: int, following: Quote | None, reports: Reports
    ) -> None:
        quantity = order.quantity - resting.shrunk
        if quantity <= resting.done:
            self.working.end(resting, "cancelled", "amended to no more than had filled", reports)
            return
        self._change(resting, replace(order, quantity=quantity), sent_ns, at_ns)
        reports.append(Amended(resting.id, resting.total, order.limit, order.stop, "the amendment arrived"))
        self.quotes.arrive(resting, at_ns, following, reports)

    def _change(self, resting: Resting, order: Order, sent_ns: int, arrival_ns: int) -> None:
        more = order.quantity - resting.total
        resting.amend(order, sent_ns, arrival_ns)
        if more:
            self.working.families.resized(resting, more)

    def _only_candles(self, symbol: str) -> bool:
        """Return whether there are candles of a symbol, and no quote ever was."""
        return self.quotes.books[symbol].quote is None and self._candles.knows(symbol)

    def _too_late(self, resting: Resting) -> str:
        return (
            f"no fresh quote came within {self._expire_ms} ms (expire_ms) of its arrival at "
            f"{format_time(resting.eligible_ns)}"
        )
