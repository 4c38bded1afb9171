"""Rules of the contract of brokers for what only some can do: stops, time in force, brackets, groups, amendments.

Each rule asks nothing of a broker that does not declare the type or the feature it is about.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from lab.domain.control import Timer
from lab.domain.events import Fill
from lab.domain.instrument import Instrument
from lab.domain.market import Quote
from lab.domain.orders import Accepted, Ended, Feature, Order, OrderType, Rejected, Report, Side, TimeInForce
from lab.domain.time import SECOND_NS
from lab.ports import Broker
from lab.testing.builders import instrument
from lab.testing.contracts.base import Contract, rule
from lab.testing.contracts.broker_harness import BrokerHarness

Make = Callable[[], Broker]

_SIDES: Final = (Side.BUY, Side.SELL)
_MID: Final = Decimal(50_000)
_WHOLE: Final = Decimal("0.02")
_HALF: Final = 0.01  # displayed, of an order of twice as much


class TermRules(Contract):
    """B15 to B21, and what all rules of brokers start from."""

    def instruments(self) -> Sequence[Instrument]:
        """Return what is traded: BTCUSDT, and a second symbol whose prices must not matter to the first."""
        return [instrument("BTCUSDT"), instrument("ETHUSDT", tick=Decimal("0.01"), lot=Decimal("0.001"))]

    def harness(self, broker: Broker, seed: int = 0) -> BrokerHarness:
        """Return a harness that opened the broker."""
        return BrokerHarness(broker, self.instruments(), seed)

    @rule(
        "B15",
        "a stop that fills early sells what nobody wanted to sell; one filled at its level in a gap loses too little.",
        "trigger a sell by the bid and a buy by the ask, and then fill it at the market, as a market order.",
    )
    def test_a_stop_waits_for_its_level_and_is_no_better_than_the_touch(self, make: Make) -> None:
        for kind in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP):
            for side in _SIDES if kind in make().order_types() else ():
                harness = self.harness(make())
                # Away from the middle in the direction in which the price must go, in the order's favour or not.
                towards = Decimal(1 if (side is Side.BUY) is not (kind is OrderType.TAKE_PROFIT) else -1)
                terms: dict[str, Any] = {"kind": kind, "stop": _MID + 100 * towards}
                if kind is OrderType.TRAILING_STOP:
                    terms = {"kind": kind, "trail": Decimal(100)}
                if kind is OrderType.STOP_LIMIT:
                    terms["limit"] = _MID + 1_000 * towards
                order = harness.submit(side, **terms)
                for away in (Decimal(0), Decimal("99.8")):
                    reports = harness.observe(_later(harness, order, _MID + away * towards))
                    assert not _fills(reports), f"{side} {kind} filled {away} away from {_MID}, before its level"
                quote = _later(harness, order, _MID + 500 * towards)
                fills = _fills(harness.observe(quote)) or _fills(harness.observe(_later(harness, order, quote)))
                assert fills, f"{side} {kind} did not fill though the market went through its level: {terms}, {quote}"
                _check_touch(order, fills, quote)

    @rule(
        "B16",
        "post_only asks for the maker's fee: an order that takes all the same pays more than was agreed to.",
        "report Ended with rejected where a post_only order would take when it arrives; fill it as maker later.",
    )
    def test_a_post_only_order_never_takes(self, make: Make) -> None:
        for side in _SIDES if Feature.POST_ONLY in make().features() else ():
            harness = self.harness(make())
            better = Decimal(1 if side is Side.BUY else -1)
            takes = harness.submit(side, limit=_MID + 10 * better, post_only=True)
            rests = harness.submit(side, limit=_MID - 10 * better, post_only=True)
            reports = harness.observe(_later(harness, rests, _MID))
            ended = [one for one in reports if isinstance(one, Ended) and one.order_id == takes.id]
            rejected = len(ended) == 1 and ended[0].outcome == "rejected" and not _fills(reports)
            assert rejected, f"a post_only {side} that would take at {_MID} was answered with {reports}"
            assert rests.id in harness.working, f"a post_only {side} that would rest ended: {reports}"
            for fill in _fills(harness.observe(_later(harness, rests, _MID - 20 * better))):
                assert fill.liquidity == "maker", f"a post_only order took: {fill}"

    @rule(
        "B17",
        "an order for now that rests is filled at a time at which nobody wanted it any more.",
        "end an IOC or FOK order when it has met the market for the first time; fill FOK whole or not at all.",
    )
    def test_an_order_for_now_ends_at_its_arrival(self, make: Make) -> None:
        features = make().features()
        for kind in (TimeInForce.IOC, TimeInForce.FOK):
            for limit in (None, _MID + 10, _MID - 10) if Feature(kind.value) in features else ():
                if (OrderType.MARKET if limit is None else OrderType.LIMIT) not in make().order_types():
                    continue
                harness = self.harness(make())
                order = harness.submit(Side.BUY, quantity=_WHOLE, limit=limit, time_in_force=kind)
                reports = harness.observe(_later(harness, order, _MID, _HALF))
                filled = harness.filled(order.id)
                assert order.id not in harness.working, f"{kind} with limit {limit} rests after {reports}"
                assert kind is TimeInForce.IOC or filled in {0, _WHOLE}, f"{kind} filled {filled} of {_WHOLE}"
                again = harness.observe(_later(harness, order, _MID - 100))
                assert not again, f"{kind} was reported on after its end: {again}"

    @rule(
        "B18",
        "an order that outlives its time trades for a strategy that counts on its end.",
        "report Ended with expired at the first event at or after expires_ns, before anything fills on that event.",
    )
    def test_an_order_good_till_a_date_never_fills_at_or_after_it(self, make: Make) -> None:
        broker = make()
        if Feature.GTD not in broker.features() or OrderType.LIMIT not in broker.order_types():
            return
        for number in range(2):
            harness = self.harness(make())
            limit = _MID - 100
            probe = harness.submit(Side.BUY, limit=Decimal(1))
            expires_ns = max(probe.eligible_ns, harness.now_ns) + 10 * SECOND_NS
            order = harness.submit(Side.BUY, limit=limit, time_in_force=TimeInForce.GTD, expires_ns=expires_ns)
            harness.observe(_later(harness, order, _MID))
            assert order.id in harness.working, f"it ended before its time: {harness.log}"
            last = harness.quote(expires_ns, mid=float(limit - 50)) if number else Timer(expires_ns)
            reports = harness.observe(last)
            assert not _fills(reports), f"an order good till {expires_ns} filled at that time: {reports}"
            ended = [one.outcome for one in reports if isinstance(one, Ended) and one.order_id == order.id]
            assert ended == ["expired"], f"an order good till {expires_ns} did not expire on {last}: {reports}"

    @rule(
        "B19",
        "a guard that fills before its entry, or for more, opens the position it was to close.",
        "let an order with a parent sleep until that fills, meet the events after it, and fill no more than that did.",
    )
    def test_a_child_sleeps_until_its_parent_fills(self, make: Make) -> None:
        if Feature.BRACKET not in make().features():
            return
        harness = self.harness(make())
        entry = harness.submit(Side.BUY, quantity=_WHOLE, limit=_MID - 100)
        child = harness.submit(
            Side.SELL, quantity=_WHOLE, limit=_MID - 50, reduce_only=True, parent=entry.id, group=entry.id
        )
        asleep = harness.observe(_later(harness, entry, _MID))
        assert not _fills(asleep), f"a child filled before its entry: {asleep}"
        reports = harness.observe(_later(harness, entry, _MID - 110, _HALF))
        filled = harness.filled(entry.id)
        assert filled, f"an entry at {entry.limit} did not fill while the market was lower: {reports}"
        assert not harness.filled(child.id), f"a child filled on the event that filled its entry: {reports}"
        for _ in range(3):
            harness.observe(_later(harness, entry, _MID))
        guarded = harness.filled(child.id)
        assert guarded == filled, f"of an entry {filled} were filled, and of its child {guarded}"

    @rule(
        "B20",
        "who sends two orders for one purpose wants one of them: two fills are a position nobody asked for.",
        "cancel the other orders of a group at the first fill; from those that only reduce take what was filled.",
    )
    def test_of_a_group_no_more_than_one_fills(self, make: Make) -> None:
        for reduces in (False, True) if Feature.GROUP in make().features() else ():
            harness = self.harness(make())
            terms: dict[str, Any] = {"quantity": _WHOLE, "reduce_only": reduces, "group": "tester/either"}
            orders = [harness.submit(Side.BUY, limit=_MID - away, **terms) for away in (100, 110)]
            harness.observe(_later(harness, orders[-1], _MID))
            for size in (_HALF, 1.0, 1.0):
                harness.observe(_later(harness, orders[-1], _MID - 200, size))
            filled = [harness.filled(one.id) for one in orders]
            assert any(filled), "of a group that the market went through nothing filled"
            one = sum(filled) <= _WHOLE and (reduces or not all(filled))
            assert one, f"of a group of two orders for {_WHOLE}, {filled} were filled"
            left = [one.id for one in orders if one.id in harness.working]
            assert not left or sum(filled) < _WHOLE, f"{left} works on though {_WHOLE} of its group are filled"

    @rule(
        "B21",
        "an amendment that forgets what was filled buys it twice.",
        "count what filled on the new quantity, keep to the new prices, and answer Rejected for an id not working.",
    )
    def test_an_amendment_keeps_what_was_filled(self, make: Make) -> None:
        broker = make()
        if Feature.AMEND not in broker.features() or OrderType.LIMIT not in broker.order_types():
            return
        harness = self.harness(make())
        unknown = harness.amend(replace(harness.order(Side.BUY, limit=_MID), id="nobody-knows-it"))
        assert isinstance(unknown, Rejected), f"amend() of an unknown id answered {unknown!r}"
        order = harness.submit(Side.BUY, quantity=2 * _WHOLE, limit=_MID - 100)
        harness.observe(_later(harness, order, _MID))
        harness.observe(_later(harness, order, _MID - 110, _HALF))
        filled = harness.filled(order.id)
        if order.id in harness.working:
            quantity = filled + _WHOLE
            changed = replace(order, quantity=quantity, remaining=_WHOLE, limit=_MID - 200)
            answer = harness.amend(changed)
            assert isinstance(answer, Accepted), f"amend() of a working order answered {answer!r}"
            harness.observe(Timer(max(answer.eligible_ns, harness.now_ns) + SECOND_NS))
            between = harness.observe(_later(harness, order, _MID - 150))
            assert not _fills(between), f"an order amended to {changed.limit} filled at {_MID - 150}: {between}"
            for _ in range(3):
                harness.observe(_later(harness, order, _MID - 250))
            after = harness.filled(order.id)
            assert after == quantity, f"{filled} were filled, it was amended to {quantity}, and {after} filled in all"
        assert not harness.breaches, harness.breaches[0]


def _later(harness: BrokerHarness, order: Order, mid: Decimal | Quote, size: float = 1.0) -> Quote:
    """Return a quote one second later, and later than an order's arrival."""
    at_ns = max(harness.now_ns, order.eligible_ns) + SECOND_NS
    if isinstance(mid, Quote):
        return mid._replace(time_ns=at_ns)
    return harness.quote(at_ns, mid=float(mid), size=size)


def _fills(reports: Sequence[Fill | Report]) -> list[Fill]:
    return [one for one in reports if isinstance(one, Fill)]


def _check_touch(order: Order, fills: Sequence[Fill], quote: Quote) -> None:
    buys = order.side is Side.BUY
    touch = Decimal(repr(quote.ask if buys else quote.bid))
    for fill in fills:
        fine = fill.price >= touch if buys else fill.price <= touch
        assert fine, f"{order.side} {order.type} filled at {fill.price}, better than the touch of {touch}: {quote}"
