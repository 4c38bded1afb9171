"""Each rule of the broker contract catches the mistake it is there for."""

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from attrs import define
from contract_checks import assert_breaks, broken_by, unkept
from full_brokers import BROKEN_TERMS, FullBroker, StopsNever, TakesWithPostOnly
from lab import Accepted, Candle, Ended, Fill, Instrument, Order, OrderType, Quote, Rejected
from lab.domain.control import Timer
from lab.domain.inputs import Input
from lab.testing import BrokerContract, SimpleBroker, check
from lab.testing.contracts.venues import FillsInParts
from msgspec.structs import replace

D = Decimal


@define(kw_only=True)
class NoHelp(SimpleBroker):
    window: int = 3


@define(kw_only=True)
class FillsAtOnce(SimpleBroker):
    """Looks at the data before the order has arrived."""

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        late = event._replace(time_ns=event.time_ns + 10**9) if isinstance(event, Quote | Candle) else event
        return [replace(one, time_ns=event.time_ns) for one in super().observe(late) if isinstance(one, Fill)]


@define(kw_only=True)
class EligibleYesterday(SimpleBroker):
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        return super().submit(order, now_ns - 10**9)


@define(kw_only=True)
class UsesTheWholeCandle(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        if not isinstance(event, Candle):
            return super().observe(event)
        low, high = event._replace(close=event.low), event._replace(close=event.high)
        return [*super().observe(low), *super().observe(high)]


@define(kw_only=True)
class FillsAtTheMiddle(SimpleBroker):
    def fill_of(self, order: Order, event: Quote | Candle) -> Fill | None:
        if isinstance(event, Quote):
            mid = round((event.bid + event.ask) / 2, 1)
            event = event._replace(bid=mid, ask=mid)
        return super().fill_of(order, event)


@define(kw_only=True)
class IgnoresLimits(SimpleBroker):
    def fill_of(self, order: Order, event: Quote | Candle) -> Fill | None:
        return super().fill_of(replace(order, type=OrderType.MARKET), event)


@define(kw_only=True)
class HopesForLimits(SimpleBroker):
    """Fills every limit order at its limit, wherever the market is."""

    def fill_of(self, order: Order, event: Quote | Candle) -> Fill | None:
        fill = super().fill_of(replace(order, type=OrderType.MARKET), event)
        return (
            fill and replace(fill, price=order.limit, fee=order.limit * fill.quantity * fill.fee_rate)
            if order.limit
            else fill
        )


def _evolving(name: str, **changes: Any) -> type[SimpleBroker]:
    """Return a broker whose fills are changed by functions of the fill."""

    def fill_of(self: SimpleBroker, order: Order, event: Quote | Candle) -> Fill | None:
        fill = SimpleBroker.fill_of(self, order, event)
        return fill and replace(fill, **{key: change(fill) for key, change in changes.items()})

    return define(kw_only=True)(type(name, (SimpleBroker,), {"fill_of": fill_of}))


OffTheTick = _evolving("OffTheTick", price=lambda fill: fill.price + D("0.01"))
FloatPrice = _evolving("FloatPrice", price=lambda fill: float(fill.price), fee=lambda fill: 0.0)
NegativeSlippage = _evolving("NegativeSlippage", slippage=lambda fill: D(-1))
RoundedFee = _evolving("RoundedFee", fee=lambda fill: fill.fee.quantize(D("0.01")))
PaysTheTrader = _evolving("PaysTheTrader", fee=lambda fill: -fill.fee, fee_rate=lambda fill: -fill.fee_rate)
FromTheFuture = _evolving("FromTheFuture", time_ns=lambda fill: fill.time_ns + 1)
OfNeitherKind = _evolving("OfNeitherKind", liquidity=lambda fill: "perhaps")
WithoutARule = _evolving("WithoutARule", rule=lambda fill: "")
NegativeSpread = _evolving("NegativeSpread", spread=lambda fill: D(-1))
FarBetter = _evolving(
    "FarBetter", price=lambda fill: fill.price / 2, fee=lambda fill: fill.fee / 2, reference=lambda fill: fill.price / 2
)
Overfills = _evolving("Overfills", quantity=lambda fill: fill.quantity * 2, fee=lambda fill: fill.fee * 2)


@define(kw_only=True)
class FillsTwice(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        return [one for one in super().observe(event) for _ in range(2)]


@define(kw_only=True)
class EndsWithoutReason(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        if not isinstance(event, Timer):
            return super().observe(event)
        ended = [Ended(oid, "expired", "") for oid in self._working]
        self._working.clear()
        return ended


@define(kw_only=True)
class DeclaresNothing(SimpleBroker):
    def order_types(self) -> frozenset[OrderType]:
        return frozenset()


@define(kw_only=True)
class DeclaresText(SimpleBroker):
    def order_types(self) -> Any:
        return {"market", "limit"}


@define(kw_only=True)
class TakesAnyTypeForALimit(SimpleBroker):
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        known = order.type is OrderType.MARKET
        return super().submit(order if known else replace(order, type=OrderType.LIMIT), now_ns)


@define(kw_only=True)
class TakesLessThanItDeclares(SimpleBroker):
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        return Rejected("no limit orders") if order.type is OrderType.LIMIT else super().submit(order, now_ns)


@define(kw_only=True)
class MarketOnly(SimpleBroker):
    """Takes market orders alone, and says so: nothing is wrong with it."""

    def order_types(self) -> frozenset[OrderType]:
        return frozenset({OrderType.MARKET})


@define(kw_only=True)
class LimitOnly(SimpleBroker):
    """Takes limit orders alone, and watches the market: nothing is wrong with it."""

    def order_types(self) -> frozenset[OrderType]:
        return frozenset({OrderType.LIMIT})

    def watches_market(self) -> bool:
        return True


@define(kw_only=True)
class JitterByHash(SimpleBroker):
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        return super().submit(order, now_ns + hash(order.id) % 10**6)


@define(kw_only=True)
class DrawsInTheQueue(SimpleBroker):
    """Draws where the market stands exactly at a limit, which is rare."""

    def fill_of(self, order: Order, event: Quote | Candle) -> Fill | None:
        fill = super().fill_of(order, event)
        at_limit = isinstance(event, Quote) and order.limit in {D(repr(event.bid)), D(repr(event.ask))}
        return None if at_limit and random.random() < 0.5 else fill


@define(kw_only=True)
class CrashesOnStrangers(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        if isinstance(event, Quote | Candle):
            assert self._instruments[event.symbol]
        return super().observe(event)


@define(kw_only=True)
class ReturnsNone(SimpleBroker):
    def observe(self, event: Input) -> Any:
        return super().observe(event) or None


_released: list[bool] = []  # what never comes back would take the processor from every later test


@define(kw_only=True)
class NeverComesBack(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        while not _released:
            try:
                while not _released:
                    pass
            except BaseException:
                pass
        return ()


@define(kw_only=True)
class CannotCancel(SimpleBroker):
    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        return Accepted(now_ns)


@define(kw_only=True)
class CancelsInName(SimpleBroker):
    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        return Accepted(now_ns) if order_id in self._working else Rejected("none")


@define(kw_only=True)
class DrawsLatency(SimpleBroker):
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        return super().submit(order, now_ns + random.randrange(10**9))


@define(kw_only=True)
class DrawsUnused(SimpleBroker):
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        random.Random(1).random()
        return super().submit(order, now_ns)


@define(kw_only=True)
class AnyMarket(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        return super().observe(event._replace(symbol="BTCUSDT") if isinstance(event, Quote) else event)


@define(kw_only=True)
class FillsOnTimers(SimpleBroker):
    seen: ClassVar[Quote] = Quote("BTCUSDT", 0, 50_000.0, 1.0, 50_000.2, 1.0)

    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        return super().observe(self.seen._replace(time_ns=event.time_ns) if isinstance(event, Timer) else event)


@define(kw_only=True)
class LastComeFirstServed(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        return list(reversed(super().observe(event)))


@define(kw_only=True)
class RefusesInSilence(SimpleBroker):
    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        return super().submit(order, now_ns) if order.symbol in self._instruments else Rejected("")


@define(kw_only=True)
class NeverFills(SimpleBroker):
    def observe(self, event: Input) -> Sequence[Fill | Ended]:
        return ()


BROKEN: list[tuple[str, Any, str]] = [
    ("B1", NoHelp, "setting 'window' has no help text"),
    ("B2", FillsAtOnce, "before eligible_ns"),
    ("B2", EligibleYesterday, "eligible at"),
    ("B3", UsesTheWholeCandle, "which opened before eligible_ns"),
    ("B4", FillsAtTheMiddle, "sell filled at 50000.0, better than 49999.9"),
    ("B4", NeverFills, "no fill in 3 sessions"),
    ("B5", IgnoresLimits, "sell with limit 49976.8 filled at 49964.0"),
    ("B5", HopesForLimits, "while the market was"),
    ("B6", OffTheTick, "is not above 0 on the tick 0.1"),
    ("B6", FloatPrice, "is float, not Decimal"),
    ("B6", NegativeSlippage, "slippage -1 is below 0"),
    ("B7", RoundedFee, "fee 75.00 is not"),
    ("B7", PaysTheTrader, "is below 0"),
    ("B8", Overfills, "beyond the quantity"),
    ("B8", FillsTwice, "which had ended"),
    ("B8", ReturnsNone, "observe() gave None, not a sequence of Fill and other reports"),
    ("B8", EndsWithoutReason, "an end needs the outcome expired or rejected or cancelled, and a reason"),
    ("B9", DeclaresNothing, "order_types() is frozenset(): it takes nothing"),
    ("B9", DeclaresText, "expected members of OrderType"),
    (
        "B9",
        TakesAnyTypeForALimit,
        "an order of the type <OrderType.STOP: 'stop'>, which it does not declare, was answered with",
    ),
    ("B9", TakesLessThanItDeclares, "submit() answered Rejected(reason='no limit orders') to a plain order"),
    ("B10", CannotCancel, "cancel() of an unknown id answered Accepted"),
    ("B10", CancelsInName, "a cancelled order was filled"),
    ("B11", DrawsLatency, "one instance parts from another with the same seed"),
    ("B11", DrawsUnused, "random.random"),
    ("B11", DrawsInTheQueue, "one instance parts from another with the same seed"),
    ("B11", JitterByHash, "a process with PYTHONHASHSEED=1 parts from one with"),
    ("B12", FromTheFuture, "after Quote("),
    ("B12", OfNeitherKind, "liquidity is 'perhaps', neither maker nor taker"),
    ("B12", WithoutARule, "rule is ''; expected a name in ASCII"),
    ("B12", FarBetter, "better than"),
    ("B12", NegativeSpread, "spread -1 is below 0"),
    ("B13", AnyMarket, "an order of BTCUSDT filled on Quote(symbol='ETHUSDT'"),
    ("B13", CrashesOnStrangers, "KeyError was raised at test_contract_broker.py:"),
    ("B13", FillsOnTimers, "an order of BTCUSDT filled on Timer("),
    ("B14", LastComeFirstServed, "filled ['order-BTCUSDT-6'"),
    ("B14", RefusesInSilence, "was answered with Rejected(reason='')"),
    *BROKEN_TERMS,
]


ONE_MISTAKE: list[tuple[str, Any]] = [
    ("B9", TakesAnyTypeForALimit), ("B12", FromTheFuture), ("B12", OfNeitherKind), ("B12", WithoutARule),
    ("B13", CrashesOnStrangers), ("B15", StopsNever), ("B16", TakesWithPostOnly),
]  # fmt: skip


@pytest.mark.parametrize("make", [MarketOnly, LimitOnly, FillsInParts, FullBroker], ids=lambda make: make.__name__)
def test_a_sound_broker_keeps_every_rule(make: Any) -> None:
    assert unkept(BrokerContract, make) == []


@pytest.mark.parametrize(("number", "broken"), ONE_MISTAKE, ids=lambda value: getattr(value, "__name__", None))
def test_one_mistake_breaks_one_rule(number: str, broken: Any) -> None:
    assert broken_by(BrokerContract, broken, besides="B11") == {number}


def test_a_broker_that_never_comes_back_fails_its_rule_and_holds_nothing_up() -> None:
    class Hasty(BrokerContract):
        time_limit_s = 0.2

    try:
        failed = {one.rule.number: one.text for one in check(Hasty, NeverComesBack) if one.outcome == "failed"}
    finally:
        _released.append(True)
    assert "it did not come back within 0.2 s and was at test_contract_broker.py:" in failed["B2"]
    assert "not run, because something hung before" in failed["B14"]


@pytest.mark.parametrize("latency_ms", [0, 200])
def test_the_simple_broker_keeps_every_rule(latency_ms: int) -> None:
    assert unkept(BrokerContract, lambda: SimpleBroker(latency_ms=latency_ms)) == []


@pytest.mark.behaviour("P4")
@pytest.mark.parametrize(("number", "broken", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_broker_fails_the_rule_for_its_mistake(number: str, broken: Any, said: str) -> None:
    assert_breaks(BrokerContract, broken, number, said)


def test_every_rule_has_a_broker_that_breaks_it() -> None:
    assert {number for number, _, _ in BROKEN} == set(BrokerContract.rules()) - {"C1"}


def test_the_contract_asks_for_the_instruments_it_names() -> None:
    opened: dict[str, Instrument] = {}

    @define(kw_only=True)
    class Listens(SimpleBroker):
        def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
            opened.update(instruments)
            super().open(instruments, seed)

    BrokerContract().harness(Listens())
    assert set(opened) == {"BTCUSDT", "ETHUSDT"}
