"""The working orders of the paper broker: how they arrive, meet the market, wake and cancel each other, and end.

Apart from the settings, so that it can be compiled: `lab_paper_broker.broker` has those.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from heapq import heappop, heappush
from typing import Any, Final
from zlib import crc32

from lab import Accepted, Candle, Depth, Ended, MarketView, Order, Quote, Rejected, Trade, format_time
from lab.domain.control import Timer
from lab.domain.money import as_decimal
from lab.domain.time import MILLISECOND_NS
from lab.ports import Amended
from mypy_extensions import mypyc_attr

from lab_paper_broker.book import DisplayedBook
from lab_paper_broker.families import Families
from lab_paper_broker.models import Latency, Liquidity, Queue, Rejects
from lab_paper_broker.on_candles import counts_whole, meet_candle
from lab_paper_broker.on_quotes import Reports, meet_book, meet_trade
from lab_paper_broker.resting import AT_OPEN, Resting
from lab_paper_broker.terms import Terms

CANDLES_TO_EXPIRE: Final = 2
_TYPICAL_CANDLES: Final = 20

# What falls due at a time.
_ARRIVES: Final = 0
_CANCEL: Final = 1
_AMEND: Final = 2
_EXPIRES: Final = 3


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


@mypyc_attr(allow_interpreted_subclasses=True)
class Matcher:
    """Takes orders and fills them, as `lab_paper_broker.broker.PaperBroker` says."""

    __slots__ = (
        "_arrivals", "_books", "_cancel_ns", "_candle_share", "_due", "_due_n", "_event_n", "_expire_ms", "_expire_ns",
        "_families", "_jitter_ns", "_least_ns", "_market", "_models", "_resting", "_seed", "_spread_ns", "_stale_ns",
        "_terms", "_unlimited", "_volumes",
    )  # fmt: skip

    def __init__(
        self,
        latency_ms: int,
        jitter_ms: int,
        cancel_latency_ms: int,
        feed_ms: int,
        expire_ms: int,
        stale_ms: int,
        candle_share: Decimal,
        unlimited: bool,
        models: Models,
    ) -> None:
        jitter_ns = min(jitter_ms, latency_ms) * MILLISECOND_NS
        self._least_ns = (feed_ms + latency_ms) * MILLISECOND_NS - jitter_ns
        self._cancel_ns = (feed_ms + cancel_latency_ms) * MILLISECOND_NS
        self._spread_ns = 2 * jitter_ns + 1
        self._expire_ms = expire_ms
        self._expire_ns = expire_ms * MILLISECOND_NS
        self._stale_ns = stale_ms * MILLISECOND_NS
        self._candle_share = candle_share
        self._unlimited = unlimited
        self._models = models
        self._seed = 0
        self._terms: Mapping[str, Terms] = {}
        self._market: MarketView | None = None
        self._resting: dict[str, Resting] = {}  # in the order they were submitted
        self._families = Families()
        self._books: dict[str, DisplayedBook] = {}
        self._arrivals: dict[str, int] = {}  # strategy -> arrival of what it sent last
        self._volumes: dict[str, bool] = {}  # symbols whose candles have a volume
        self._due: list[tuple[int, int, int, Resting, Order | None]] = []  # a heap by time, then by turn
        self._due_n = 0
        self._event_n = 0

    def _begin(self, terms: Mapping[str, Terms], seed: int) -> None:
        """Learn what trading each symbol costs, and the seed of what is drawn."""
        self._seed = seed & 0xFFFFFFFF
        self._terms = terms
        self._books = {symbol: DisplayedBook(self._unlimited) for symbol in terms}

    def attach(self, market: MarketView) -> None:
        """Learn where to look up the market."""
        self._market = market

    # -- what is sent ------------------------------------------------------------------------------------------------

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order; reject an unknown symbol or type, an id that works already, and prices that are missing."""
        problem = self._problem(order)
        if problem:
            return Rejected(problem)
        if order.parent:
            entry = self._resting[order.parent]
            resting = Resting(order, entry.eligible_ns)
            resting.entry_rises = entry.rises if entry.waits else not entry.buys
            resting.arrived = True
            self._families.add_child(resting)
            self._resting[order.id] = resting
            return Accepted(entry.eligible_ns)
        eligible_ns = self._arrival(order, now_ns, cancels=False)
        resting = self._resting[order.id] = Resting(order, eligible_ns)
        if order.group:
            self._families.join(resting)
        self._look(resting)
        if order.expires_ns is not None:
            self._fall_due(order.expires_ns - 1, _EXPIRES, resting)
        return Accepted(eligible_ns)

    def _problem(self, order: Order) -> str:
        """Return why an order is not taken; an empty text where it is."""
        if order.symbol not in self._terms:
            known = ", ".join(self._terms) or "none"
            return f"the paper broker does not know {order.symbol!r}; it was opened with {known}"
        if order.id in self._resting:
            return f"an order with the id {order.id} works already"
        if order.parent and order.parent not in self._resting:
            return f"its entry {order.parent} does not work"
        kind = str(order.type)
        needs = _NEEDS.get(kind)
        if needs is None:
            return f"the paper broker takes {', '.join(_NEEDS)} orders, not {kind}"
        for name in needs:
            if getattr(order, name) is None:
                return f"a {kind} order needs a {name}"
        rejects = self._models.rejects
        return "" if rejects is None else rejects.reason(order, self._market, self._seed)

    def _arrival(self, order: Order, now_ns: int, *, cancels: bool) -> int:
        """Return when what is sent now arrives: what a strategy sends later arrives no earlier.

        One connection: so an exit stays ahead of the entry behind it, and a cancel behind its order.
        """
        latency = self._models.latency
        if latency is not None:
            drawn = latency.cancel_ns(order.id, self._seed) if cancels else latency.submit_ns(order.id, self._seed)
            arrival_ns = now_ns + max(drawn, 0)
        elif cancels:
            arrival_ns = now_ns + self._cancel_ns
        else:
            arrival_ns = now_ns + self._least_ns + (crc32(order.id.encode(), self._seed) * self._spread_ns >> 32)
        arrivals, strategy = self._arrivals, order.strategy
        newest_ns = arrivals.get(strategy, 0)
        if arrival_ns < newest_ns:
            arrival_ns = newest_ns
        arrivals[strategy] = arrival_ns
        return arrival_ns

    def _look(self, resting: Resting) -> None:
        """Look at the market when an order is sent: its quote may still be in force when the order arrives."""
        symbol, market = resting.symbol, self._market
        book = self._books[symbol]
        if market is not None:
            quote = market.quote(symbol)
            if quote is not None and quote is not book.quote:
                book.show_quote(quote)
            book.show_depth(market.depth(symbol))
        quote = book.quote
        if quote is not None:
            resting.decided_at = quote[4] if resting.buys else quote[2]
            self._fall_due(resting.eligible_ns, _ARRIVES, resting)
        if resting.takes and not resting.waits and not self._only_candles(symbol):
            self._fall_due(resting.eligible_ns + self._expire_ns, _EXPIRES, resting)

    def _only_candles(self, symbol: str) -> bool:
        """Return whether there are candles of a symbol, and no quote ever was."""
        if self._books[symbol].quote is not None:
            return False
        return symbol in self._volumes or (self._market is not None and len(self._market.candles(symbol)) > 0)

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        """Send a cancel after a working order."""
        resting = self._resting.get(order_id)
        if resting is None:
            return Rejected(f"no order {order_id} works")
        arrival_ns = self._arrival(resting.order, now_ns, cancels=True)
        if arrival_ns <= now_ns:
            self._remove(resting)
        else:
            self._fall_due(arrival_ns, _CANCEL, resting)
        return Accepted(arrival_ns)

    def forget(self, order_id: str) -> None:
        """Drop an order at once."""
        resting = self._resting.get(order_id)
        if resting is not None:
            self._remove(resting)

    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Send an amendment after a working order."""
        resting = self._resting.get(order.id)
        if resting is None:
            return Rejected(f"no order {order.id} works")
        arrival_ns = self._arrival(resting.order, now_ns, cancels=True)
        if arrival_ns <= now_ns:
            resting.amend(order)
        else:
            self._fall_due(arrival_ns, _AMEND, resting, order)
        return Accepted(arrival_ns)

    # -- what happens ------------------------------------------------------------------------------------------------

    def observe(self, event: Any) -> Sequence[Any]:
        """Apply an event of the market to the working orders, in the order they were submitted."""
        self._event_n += 1
        reports: Reports = []
        kind = type(event)
        if kind is Quote:
            book = self._books.get(event[0])
            if book is None:
                return reports
            if self._due and self._due[0][0] < event[1]:
                self._catch_up(event[1], event, reports)
            book.show_quote(event)
            self._meet_all(event[0], book, event[1], reports)
        elif kind is Candle:
            if event[7]:
                self._volumes[event[0]] = True
            else:
                self._volumes.setdefault(event[0], False)
            if self._due and self._due[0][0] < event[2]:
                self._catch_up(event[2], None, reports)
            self._candle(event, reports)
        elif kind is Trade or kind is Depth or kind is Timer:
            if self._due and self._due[0][0] < event.time_ns:
                self._catch_up(event.time_ns, None, reports)
            if kind is Trade:
                self._trade(event, reports)
            elif kind is Depth and event.symbol in self._books:
                book = self._books[event.symbol]
                book.show_depth(event)
                if book.quote is not None:
                    self._meet_all(event.symbol, book, event.time_ns, reports)
        return reports

    def _fall_due(self, time_ns: int, what: int, resting: Resting, order: Order | None = None) -> None:
        self._due_n += 1
        heappush(self._due, (time_ns, self._due_n, what, resting, order))

    def _catch_up(self, time_ns: int, following: Quote | None, reports: Reports) -> None:
        """Do what fell due before an event: arrivals meet the book then in force, cancels win their race, or not."""
        due = self._due
        while due and due[0][0] < time_ns:
            at_ns, _, what, resting, order = heappop(due)
            if resting.ended or resting.id not in self._resting:
                continue
            if what == _ARRIVES:
                self._arrive(resting, following, reports)
            elif what == _CANCEL:
                self._end(resting, "cancelled", "the cancel arrived", reports)
            elif what == _AMEND:
                assert order is not None, "an amendment has an order"
                self._amend(resting, order, reports)
            elif resting.order.expires_ns == at_ns + 1:
                self._end(resting, "expired", f"good till {format_time(at_ns + 1)}", reports)
            elif resting.first and not self._only_candles(resting.symbol):
                self._end(resting, "expired", self._too_late(resting), reports)

    def _arrive(self, resting: Resting, following: Quote | None, reports: Reports) -> None:
        """Let an order meet the quote in force when it arrived; where none is fresh, it waits for the next one."""
        book, eligible_ns = self._books[resting.symbol], resting.eligible_ns
        quote = book.quote
        if quote is None or eligible_ns - quote[1] > self._stale_ns:
            return
        later = 0.0
        if following is not None and following[0] == resting.symbol:
            later = following[4] if resting.buys else following[2]
        resting.arrived = True
        resting.age_ns = eligible_ns - quote[1]
        self._meet(resting, book, eligible_ns, later, 0, reports)

    def _amend(self, resting: Resting, order: Order, reports: Reports) -> None:
        if order.quantity <= resting.done:
            self._end(resting, "cancelled", "amended to no more than had filled", reports)
            return
        resting.amend(order)
        reports.append(Amended(resting.id, resting.total, order.limit, order.stop, "the amendment arrived"))

    def _too_late(self, resting: Resting) -> str:
        return (
            f"no fresh quote came within {self._expire_ms} ms (expire_ms) of its arrival at "
            f"{format_time(resting.eligible_ns)}"
        )

    # -- quotes, trades and depth --------------------------------------------------------------------------------------

    def _meet_all(self, symbol: str, book: DisplayedBook, time_ns: int, reports: Reports) -> None:
        for resting in list(self._resting.values()):
            if resting.symbol != symbol or resting.ended:
                continue
            if not resting.arrived:
                if time_ns < resting.eligible_ns:
                    continue
                resting.arrived = True
                resting.age_ns = resting.eligible_ns - time_ns  # below 0: it came after the arrival
            elif not resting.left or resting.woke_in == self._event_n:
                continue
            elif resting.age_ns:
                resting.age_ns = 0
            self._meet(resting, book, time_ns, 0.0, self._event_n, reports)

    def _meet(
        self, resting: Resting, book: DisplayedBook, time_ns: int, later: float, event_n: int, reports: Reports
    ) -> None:
        models, known, before = self._models, len(reports), resting.done
        meet_book(resting, book, time_ns, self._terms[resting.symbol], models.liquidity, models.queue, later, reports)
        if len(reports) > known:
            self._settle(resting, before, event_n, 0, reports)

    def _trade(self, trade: Trade, reports: Reports) -> None:
        left = as_decimal(trade.size)
        sells = str(trade.side) == "sell"
        for resting in list(self._resting.values()):
            if resting.symbol != trade.symbol or resting.ahead is None or resting.buys is not sells or resting.ended:
                continue
            before = resting.done
            left = meet_trade(resting, trade, left, self._terms[trade.symbol], reports)
            if resting.done != before:
                self._settle(resting, before, self._event_n, 0, reports)

    # -- candles -----------------------------------------------------------------------------------------------------

    def _candle(self, candle: Candle, reports: Reports) -> None:
        """Let orders meet a candle, where there are no quotes."""
        symbol, volume = candle[0], candle[7]
        book = self._books.get(symbol)
        if book is None or book.quote is not None:
            return
        most: Decimal | None = None
        if not self._unlimited and self._volumes[symbol]:
            most = as_decimal(volume) * self._candle_share
        for resting in list(self._resting.values()):
            if resting.symbol == symbol and resting.seen_n != self._event_n:
                most = self._candle_in_turn(resting, candle, most, reports)

    def _candle_in_turn(
        self, resting: Resting, candle: Candle, most: Decimal | None, reports: Reports
    ) -> Decimal | None:
        """Let an order meet a candle after the others of its group that come first; return what is left of the volume.

        A stop comes first, unless another order of the group is marketable at the open.
        """
        for other in self._families.others(resting):
            if other.seen_n != self._event_n and _comes_before(other, resting, candle):
                most = self._candle_meet(other, candle, most, reports)
        return self._candle_meet(resting, candle, most, reports)

    def _candle_meet(self, resting: Resting, candle: Candle, most: Decimal | None, reports: Reports) -> Decimal | None:
        resting.seen_n = self._event_n
        late_ns = candle[2] - resting.eligible_ns
        if late_ns < 0 or resting.ended or not resting.left:
            return most
        expires_ns = resting.order.expires_ns
        if expires_ns is not None and expires_ns <= candle[2]:
            return most
        known, before = len(reports), resting.done
        if resting.first and resting.takes and not resting.waits and late_ns > CANDLES_TO_EXPIRE * (candle[2] - candle[1]):
            self._end(resting, "expired", _too_late_for(candle, late_ns, resting), reports)
            return most
        shown = most
        liquidity = self._models.liquidity
        if liquidity is not None:
            shown = liquidity.available(resting.order, most)
        typical = self._typical(resting.symbol, candle[7])
        where = meet_candle(resting, candle, shown, typical, self._terms[resting.symbol], reports)
        if len(reports) > known:
            self._settle(resting, before, candle[1], where, reports)
        return None if most is None else most - (resting.done - before)

    def _typical(self, symbol: str, volume: float) -> Decimal | None:
        """Return the mean volume of the newest candles, this one where there are no others; ``None``: not known."""
        terms = self._terms[symbol]
        if not terms.slippage and terms.slippage_model is None:
            return None
        mean = volume
        if self._market is not None:
            newest = self._market.candles(symbol)[-_TYPICAL_CANDLES:]
            if newest:
                mean = round(sum([one[7] for one in newest]) / len(newest), 8)
        return as_decimal(mean) if mean > 0 else None

    # -- ends --------------------------------------------------------------------------------------------------------

    def _settle(self, resting: Resting, before: Decimal, woke_in: int, where: int, reports: Reports) -> None:
        """Pass an order's fills on to its family, and remove it where it has ended."""
        filled = resting.done - before
        if filled and (resting.order.group or self._families.has_children(resting)):
            for other in self._families.filled(resting, filled, woke_in, where, reports):
                self._remove(other)
        if resting.ended or resting.done == resting.total:
            self._remove(resting)

    def _end(self, resting: Resting, outcome: Any, reason: str, reports: Reports) -> None:
        self._remove(resting)
        reports.append(Ended(resting.id, outcome, reason))

    def _remove(self, resting: Resting) -> None:
        resting.ended = True
        self._resting.pop(resting.id, None)
        self._families.leave(resting)


_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "market": (),
    "limit": ("limit",),
    "stop": ("stop",),
    "stop_limit": ("stop", "limit"),
    "take_profit": ("stop",),
    "trailing_stop": ("trail",),
}
"""The types of order that are taken, and the prices each needs."""


def _comes_before(other: Resting, resting: Resting, candle: Candle) -> bool:
    """Return whether an order of the same group meets a candle before this one."""
    if other.waits is resting.waits:
        return False
    stop, limit = (other, resting) if other.waits else (resting, other)
    price = candle[3]
    whole = limit.woke_in != candle[1] or limit.awake_at == AT_OPEN
    whole = whole and (limit.awake_at != 0 or counts_whole(limit.order, limit.eligible_ns, candle))
    at_open = whole and bool(limit.left) and (price <= limit.limit if limit.buys else price >= limit.limit)
    return (limit if at_open else stop) is other


def _too_late_for(candle: Candle, late_ns: int, resting: Resting) -> str:
    allowed_ns = CANDLES_TO_EXPIRE * (candle[2] - candle[1])
    return (
        f"its first candle closed {late_ns // MILLISECOND_NS} ms after its arrival at "
        f"{format_time(resting.eligible_ns)}, later than {CANDLES_TO_EXPIRE} candles "
        f"({allowed_ns // MILLISECOND_NS} ms)"
    )
