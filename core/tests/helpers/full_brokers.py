"""A plain broker that can do all there is, and one for each mistake that the rules of the contract are there for."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from attrs import define, field
from lab import (
    Accepted,
    Amended,
    Candle,
    Ended,
    Feature,
    Fill,
    Order,
    OrderType,
    Quote,
    Rejected,
    Side,
    TimeInForce,
    Triggered,
)
from lab.domain.inputs import Input
from lab.testing import SimpleBroker
from msgspec.structs import replace

ZERO = Decimal(0)
Reports = list[Any]


class Work:
    """One working order."""

    def __init__(self, order: Order, eligible_ns: int) -> None:
        self.order = order
        self.eligible_ns = eligible_ns
        self.filled = ZERO
        self.taken = ZERO
        self.met = False
        self.triggered = False
        self.best: float | None = None


@define(kw_only=True)
class FullBroker(SimpleBroker):
    """Fills at the touch up to the displayed size, whatever the type; amends and cancels at once."""

    _all: dict[str, Work] = field(init=False, factory=dict)
    _ended: set[str] = field(init=False, factory=set)

    def order_types(self) -> frozenset[OrderType]:
        return frozenset(OrderType)

    def features(self) -> frozenset[Feature]:
        return frozenset(Feature)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        answer = super().submit(order, now_ns)
        if isinstance(answer, Accepted):
            self._all[order.id] = Work(order, answer.eligible_ns)
        return answer

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        self._ended.add(order_id)
        return super().cancel(order_id, now_ns)

    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        if order.id not in self._working:
            return Rejected("no such order")
        work = self._all[order.id]
        work.order = order
        self._working[order.id] = order, work.eligible_ns
        return Accepted(now_ns)

    # -- what happens ------------------------------------------------------------------------------------------------

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        reports: Reports = []
        awake = {oid: work.filled for oid, work in self._all.items()}
        for oid in list(self._working):
            work = self._all[oid]
            if oid in self._working and not self.expires(work, event, reports):
                self.meet(work, event, awake, reports)
        return reports

    def expires(self, work: Work, event: Input, reports: Reports) -> bool:
        expires_ns = work.order.expires_ns
        if expires_ns is None or event.time_ns < expires_ns:
            return False
        self.end(work, "expired", reports)
        return True

    def meet(self, work: Work, event: Input, awake: dict[str, Decimal], reports: Reports) -> None:
        order = work.order
        if not isinstance(event, Quote | Candle) or event.symbol != order.symbol or event.time_ns < work.eligible_ns:
            return
        left = order.quantity - work.filled - work.taken
        if order.parent:
            left = min(left, self.entry_filled(work, awake) - work.filled - work.taken)
        if left <= 0 or not self.reached(work, event, reports):
            return
        first, work.met = not work.met, True
        limited = order.type in {OrderType.LIMIT, OrderType.STOP_LIMIT}
        plain = replace(order, type=OrderType.LIMIT if limited else OrderType.MARKET)
        if isinstance(event, Quote):
            shown = Decimal(repr(event.ask_size if order.side is Side.BUY else event.bid_size))
            left = self.quantity(work, left, min(left, self._instruments[order.symbol].floor_quantity(shown)))
        fill = self.fill_of(replace(plain, quantity=left), event) if left else None
        if fill is not None and order.post_only and first and self.rejects_takers():
            self.end(work, "rejected", reports)
            return
        if fill is not None:
            reports.append(self.finished(work, fill, first))
            work.filled += left
            self.after(work, left, reports)
        if work.filled + work.taken >= order.quantity:
            self._working.pop(order.id, None)
        elif order.time_in_force in {TimeInForce.IOC, TimeInForce.FOK} and self.ends_at_once():
            self.end(work, "cancelled", reports)

    def reached(self, work: Work, event: Quote | Candle, reports: Reports) -> bool:
        """Return whether the price has reached the level of an order that waits for one."""
        order, buys = work.order, work.order.side is Side.BUY
        if order.type in {OrderType.MARKET, OrderType.LIMIT} or work.triggered:
            return True
        touch = event.close if isinstance(event, Candle) else event.ask if buys else event.bid
        if order.trail is not None:
            best = work.best
            work.best = touch if best is None else min(best, touch) if buys else max(best, touch)
            trail = order.trail if buys else -order.trail
            level = Decimal(repr(work.best)) + trail
        else:
            assert order.stop is not None
            level = order.stop
        price = Decimal(repr(touch))
        rises = buys is not (order.type is OrderType.TAKE_PROFIT)
        if price < level if rises else price > level:
            return False
        work.triggered = True
        reports.append(Triggered(order.id, level, price))
        return True

    def after(self, work: Work, quantity: Decimal, reports: Reports) -> None:
        """Take what was filled from the other orders of a group."""
        if not work.order.group:
            return
        for other in self._all.values():
            same = other.order.group == work.order.group and other is not work and other.order.id in self._working
            if not same:
                continue
            if other.order.reduce_only and other.order.quantity - other.filled > quantity:
                other.order = replace(other.order, quantity=other.order.quantity - quantity)
                reports.append(Amended(other.order.id, other.order.quantity, other.order.limit, None, "its group"))
            else:
                self.end(other, "cancelled", reports)

    def end(self, work: Work, outcome: Any, reports: Reports) -> None:
        self._working.pop(work.order.id, None)
        reports.append(Ended(work.order.id, outcome, "for a reason"))

    # -- what the broken ones get wrong ------------------------------------------------------------------------------

    def entry_filled(self, work: Work, awake: dict[str, Decimal]) -> Decimal:
        return awake[work.order.parent]

    def quantity(self, work: Work, left: Decimal, shown: Decimal) -> Decimal:
        return ZERO if work.order.time_in_force is TimeInForce.FOK and shown < left else shown

    def finished(self, work: Work, fill: Fill, first: bool) -> Fill:
        return fill if first or work.order.limit is None else replace(fill, liquidity="maker")

    def rejects_takers(self) -> bool:
        return True

    def ends_at_once(self) -> bool:
        return True


@define(kw_only=True)
class StopsAtOnce(FullBroker):
    def reached(self, work: Work, event: Quote | Candle, reports: Reports) -> bool:
        return True


@define(kw_only=True)
class StopsNever(FullBroker):
    def reached(self, work: Work, event: Quote | Candle, reports: Reports) -> bool:
        return work.order.type in {OrderType.MARKET, OrderType.LIMIT}


@define(kw_only=True)
class StopsAtTheirLevel(FullBroker):
    """Fills a stop at its level, though the market gapped through it."""

    def finished(self, work: Work, fill: Fill, first: bool) -> Fill:
        level = work.order.stop
        if level is None:
            return super().finished(work, fill, first)
        return replace(fill, price=level, fee=level * fill.quantity * fill.fee_rate)


@define(kw_only=True)
class TakesWithPostOnly(FullBroker):
    def rejects_takers(self) -> bool:
        return False


@define(kw_only=True)
class TakesWithPostOnlyLater(FullBroker):
    def finished(self, work: Work, fill: Fill, first: bool) -> Fill:
        return fill


@define(kw_only=True)
class LetsOrdersForNowRest(FullBroker):
    def ends_at_once(self) -> bool:
        return False


@define(kw_only=True)
class FillsAPartOrKills(FullBroker):
    def quantity(self, work: Work, left: Decimal, shown: Decimal) -> Decimal:
        return shown


@define(kw_only=True)
class FillsBeforeItExpires(FullBroker):
    """Looks at the time of an order after it has met the market."""

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        reports: Reports = []
        for oid in list(self._working):
            self.meet(self._all[oid], event, {}, reports)
            if oid in self._working:
                self.expires(self._all[oid], event, reports)
        return reports


@define(kw_only=True)
class ForgetsTheTime(FullBroker):
    def expires(self, work: Work, event: Input, reports: Reports) -> bool:
        return False


@define(kw_only=True)
class WakesAtOnce(FullBroker):
    def entry_filled(self, work: Work, awake: dict[str, Decimal]) -> Decimal:
        return work.order.quantity


@define(kw_only=True)
class WakesOnTheSameEvent(FullBroker):
    """Lets a child meet the event that filled its entry, and a limit be met by any price."""

    def entry_filled(self, work: Work, awake: dict[str, Decimal]) -> Decimal:
        return self._all[work.order.parent].filled

    def meet(self, work: Work, event: Input, awake: dict[str, Decimal], reports: Reports) -> None:
        if work.order.parent and self._all[work.order.parent].filled:
            work.order = replace(work.order, limit=Decimal(1))
        super().meet(work, event, awake, reports)


@define(kw_only=True)
class GuardsTheWholeEntry(FullBroker):
    def entry_filled(self, work: Work, awake: dict[str, Decimal]) -> Decimal:
        return work.order.quantity if awake[work.order.parent] else ZERO


@define(kw_only=True)
class FillsAllOfAGroup(FullBroker):
    def after(self, work: Work, quantity: Decimal, reports: Reports) -> None:
        pass


@define(kw_only=True)
class AmendsAsANewOrder(FullBroker):
    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        answer = super().amend(order, now_ns)
        if isinstance(answer, Accepted):
            self._all[order.id].filled = ZERO
        return answer


@define(kw_only=True)
class AmendsInName(FullBroker):
    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        return Accepted(now_ns) if order.id in self._working else Rejected("no such order")


@define(kw_only=True)
class AmendsStrangers(FullBroker):
    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        super().amend(order, now_ns)
        return Accepted(now_ns)


BROKEN_TERMS: list[tuple[str, Any, str]] = [
    ("B15", StopsAtOnce, "buy stop filled 0 away from 50000, before its level"),
    ("B15", StopsNever, "did not fill though the market went through its level"),
    ("B15", StopsAtTheirLevel, "buy stop filled at 50100, better than the touch of 50500.1"),
    ("B16", TakesWithPostOnly, "a post_only buy that would take at 50000 was answered with [Fill("),
    ("B16", TakesWithPostOnlyLater, "a post_only order took"),
    ("B17", LetsOrdersForNowRest, "ioc with limit None rests after"),
    ("B17", FillsAPartOrKills, "fok filled 0.0100 of 0.02"),
    ("B18", FillsBeforeItExpires, "filled at that time"),
    ("B18", ForgetsTheTime, "did not expire on Timer("),
    ("B19", WakesAtOnce, "a child filled before its entry"),
    ("B19", WakesOnTheSameEvent, "a child filled on the event that filled its entry"),
    ("B19", GuardsTheWholeEntry, "of an entry 0.0100 were filled, and of its child 0.02"),
    ("B20", FillsAllOfAGroup, "of a group of two orders for 0.02"),
    ("B21", AmendsAsANewOrder, "0.0100 were filled, it was amended to 0.0300, and 0.0400 filled in all"),
    ("B21", AmendsInName, "an order amended to 49800 filled at 49850"),
    ("B21", AmendsStrangers, "amend() of an unknown id answered Accepted"),
]
