"""The contract of brokers: B1 to B21.

B15 to B21, for what only some brokers can do, are in ``broker_terms``; ``broker_harness`` is what both share.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import ClassVar, Final

from msgspec.structs import replace

from lab.domain.control import Timer
from lab.domain.events import Fill
from lab.domain.instrument import Instrument
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, Ended, Order, OrderType, Rejected, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.ports import Broker
from lab.testing.contracts.base import rule
from lab.testing.contracts.broker_harness import BrokerHarness, Exposure, plan, trade
from lab.testing.contracts.broker_terms import Make, TermRules
from lab.testing.contracts.other_processes import check_same_in_other_processes
from lab.testing.contracts.purity import calls_outside
from lab.testing.contracts.shared import SETTINGS_CURE, SETTINGS_WHY, check_same, check_settings

_SEEDS: Final = (1, 2, 3)  # odd: quotes, even: candles
_SIDES: Final = (Side.BUY, Side.SELL)


class BrokerContract(TermRules):
    """What lab relies on in every broker. Inherit it, give the fixture ``make``, and run pytest.

        class TestMyBroker(BrokerContract):
            @pytest.fixture
            def make(self):
                return lambda: MyBroker(latency_ms=200)

    ``make`` gives a fresh instance each time. The rules use the port alone: a `BrokerHarness` opens the broker for
    `instruments`, submits orders of the types it declares and lets them meet quotes and candles as the engine does.
    """

    time_limit_s: ClassVar[float | None] = 60.0

    def fills(self, make: Make) -> list[tuple[Order, Exposure, Fill]]:
        """Return every fill of some seeded sessions, with order and event. Asserts that there are fills."""
        found = []
        for seed in _SEEDS:
            harness = trade(self.harness(make(), seed), plan(seed))
            known = harness.orders
            found += [(known[fill.order_id], met, fill) for met, fill in harness.fills if fill.order_id in known]
        assert found, f"no fill in {len(_SEEDS)} sessions of orders"
        return found

    @rule("B1", SETTINGS_WHY, SETTINGS_CURE)
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), Broker)

    @rule(
        "B2",
        "an order that fills on data from before its arrival trades on a price that was gone: that is look-ahead.",
        "return Accepted(eligible_ns) with eligible_ns >= now_ns, and skip every event whose time_ns is below it.",
    )
    def test_nothing_fills_before_the_order_arrives(self, make: Make) -> None:
        for side in _SIDES:
            harness = self.harness(make())
            order = harness.submit_marketable(side)
            assert order.eligible_ns >= harness.now_ns, (
                f"eligible at {order.eligible_ns}, submitted at {harness.now_ns}"
            )
            for before_ns in (order.eligible_ns - harness.now_ns, 1):
                if before_ns > 0:
                    reports = harness.observe(harness.quote(order.eligible_ns - before_ns))
                    assert not reports, f"{before_ns} ns before eligible_ns {order.eligible_ns} it reported {reports}"
        for _, met, fill in self.fills(make):
            early = f"filled at {fill.time_ns} on {met.event}, eligible from {met.eligible_ns}"
            assert min(fill.time_ns, met.event.time_ns) >= met.eligible_ns, early

    @rule(
        "B3",
        "a candle's high and low may have happened before the order was there.",
        "of a candle that opened before eligible_ns use the close only.",
    )
    def test_a_candle_under_way_counts_with_its_close_only(self, make: Make) -> None:
        if OrderType.LIMIT not in make().order_types():
            return
        for side in _SIDES:
            harness = self.harness(make())
            far = Decimal(49_000) if side is Side.BUY else Decimal(51_000)
            order = harness.submit(side, limit=far)
            open_ns = order.eligible_ns - 30 * SECOND_NS
            reached = Candle("BTCUSDT", open_ns, open_ns + MINUTE_NS, 50_000.0, 51_500.0, 48_500.0, 50_000.0, 50.0)
            fills = [one for one in harness.observe(reached) if isinstance(one, Fill)]
            assert not fills, (
                f"{side} at {far} filled on {reached}, which opened before eligible_ns {order.eligible_ns}"
            )

    @rule(
        "B4",
        "who buys at the market pays the ask, who sells gets the bid: paper money must not do better.",
        "start from the quote's ask for a buy and bid for a sell, and add slippage against the trader.",
    )
    def test_a_market_order_is_filled_no_better_than_the_book(self, make: Make) -> None:
        for order, met, fill in self.fills(make):
            if order.type is OrderType.MARKET:
                buys = order.side is Side.BUY
                best = _best(met, buys)
                fair = fill.price >= best if buys else fill.price <= best
                assert fair, (
                    f"{order.side} filled at {fill.price}, better than {best}: the book of {met.event} and, at its "
                    f"arrival, {met.in_force}"
                )

    @rule(
        "B5",
        "a limit is a promise: never worse than it, and nothing while the market has not come to it.",
        "fill a limit buy only where the ask is at or below its limit, a sell where the bid is at or above it.",
    )
    def test_a_limit_is_kept(self, make: Make) -> None:
        for order, met, fill in self.fills(make):
            if order.limit is not None:
                buys = order.side is Side.BUY
                kept = fill.price <= order.limit if buys else fill.price >= order.limit
                assert kept, f"{order.side} with limit {order.limit} filled at {fill.price}"
                there = _best(met, buys)
                came = there <= order.limit if buys else there >= order.limit
                assert came, f"{order.side} with limit {order.limit} filled while the market was {there}: {met.event}"

    @rule(
        "B6",
        "no venue trades between its steps, and the ledger is exact on them.",
        "make prices with instrument.worse_price(price, side) and quantities with instrument.floor_quantity(quantity).",
    )
    def test_fills_are_on_the_instruments_steps(self, make: Make) -> None:
        known = {one.symbol: one for one in self.instruments()}
        for order, _, fill in self.fills(make):
            steps = known[order.symbol]
            for name in ("price", "quantity", "fee", "fee_rate", "reference", "slippage"):
                value = getattr(fill, name)
                assert isinstance(value, Decimal), f"{name} {value!r} is {type(value).__name__}, not Decimal"
            fine = fill.price > 0 and fill.price % steps.tick == 0
            assert fine, f"price {fill.price} is not above 0 on the tick {steps.tick}"
            fine = fill.quantity > 0 and fill.quantity % steps.lot == 0
            assert fine, f"quantity {fill.quantity} is not above 0 on the lot {steps.lot}"
            assert fill.slippage >= 0, f"slippage {fill.slippage} is below 0"

    @rule(
        "B7",
        "equity is recomputed from the fills to the last digit; a rounded fee breaks the sum.",
        "fee = price * quantity * fee_rate in Decimal, not rounded, with a rate of 0 or more.",
    )
    def test_the_fee_is_exact(self, make: Make) -> None:
        for _, _, fill in self.fills(make):
            exact = fill.price * fill.quantity * fill.fee_rate
            assert fill.fee >= 0, f"fee {fill.fee} is below 0"
            assert fill.fee == exact, (
                f"fee {fill.fee} is not {fill.price} * {fill.quantity} * {fill.fee_rate} = {exact}"
            )

    @rule(
        "B8",
        "an order has one life: filled up to its quantity, ended at most once, silent afterwards.",
        "count what remains of each order, forget it at 0 and with Ended, and report on working orders only.",
    )
    def test_each_order_lives_once(self, make: Make) -> None:
        for seed in _SEEDS:
            harness = trade(self.harness(make(), seed), plan(seed))
            assert not harness.breaches, harness.breaches[0]

    @rule(
        "B9",
        "the engine refuses what a broker does not declare; one that takes a type for another fills what nobody sent.",
        "declare what submit() takes as a set of OrderType, and answer every other type with Rejected and a reason.",
    )
    def test_takes_the_order_types_it_declares_and_no_other(self, make: Make) -> None:
        types = make().order_types()
        shown = f"order_types() is {types!r}"
        assert isinstance(types, AbstractSet), f"{shown}, not a set"
        assert types, f"{shown}: it takes nothing"
        assert all(type(one) is OrderType for one in types), f"{shown}; expected members of OrderType"
        assert make().order_types() == types, f"two instances declare {types} and {make().order_types()}"
        assert type(make().watches_market()) is bool, f"watches_market() is {make().watches_market()!r}, not a bool"
        for kind in (*OrderType, "of-no-known-type"):
            for limit in (None, Decimal(50_000)) if kind not in types else ():
                harness = self.harness(make())
                order = replace(harness.order(Side.BUY, limit=limit), type=kind)
                answer = harness.broker.submit(order, harness.now_ns)
                fine = isinstance(answer, Rejected) and bool(answer.reason.strip())
                assert fine, f"an order of the type {kind!r}, which it does not declare, was answered with {answer!r}"
        for kind in types & {OrderType.MARKET, OrderType.LIMIT}:
            self.harness(make()).submit(Side.BUY, limit=Decimal(50_000) if kind is OrderType.LIMIT else None)

    @rule(
        "B10",
        "a strategy that took its order back must be able to count on it.",
        "answer Accepted with the time at which the cancel takes effect; where that is later than now, report Ended "
        "with cancelled, unless it filled before; answer Rejected for an id that does not work.",
    )
    def test_a_cancelled_order_never_fills(self, make: Make) -> None:
        harness = self.harness(make())
        answer = harness.broker.cancel("nobody-knows-it", harness.now_ns)
        assert isinstance(answer, Rejected), f"cancel() of an unknown id answered {answer!r}"
        order, other = harness.submit_marketable(Side.BUY), harness.submit_marketable(Side.SELL)
        answer = harness.cancel(order.id)
        assert isinstance(answer, Accepted), f"cancel() of a working order answered {answer!r}"
        reports = harness.observe(harness.quote(max(other.eligible_ns, answer.eligible_ns) + SECOND_NS))
        filled = {one.order_id for one in reports if isinstance(one, Fill)}
        ended = {one.order_id for one in reports if isinstance(one, Ended) and one.outcome == "cancelled"}
        assert order.id not in filled, "a cancelled order was filled"
        assert (order.id in ended) is (answer.eligible_ns > other.placed_ns), (
            f"cancel() answered {answer!r} at {other.placed_ns}, and the end was reported wrongly: {reports}"
        )
        assert other.id in filled, "the order beside the cancelled one was not filled"
        again = harness.broker.cancel(order.id, harness.now_ns)
        assert isinstance(again, Rejected), f"cancel() of a cancelled order answered {again!r}"

    @rule(
        "B11",
        "a run must be repeatable: latency may come from settings, the seed given to open() and the order's id alone.",
        "derive jitter from zlib.crc32 of the order's id with the seed; read no clock, no random module and no hash().",
    )
    def test_the_same_seed_gives_the_same_fills(self, make: Make) -> None:
        for seed in _SEEDS:
            first, second = (trade(self.harness(make(), seed), plan(seed)) for _ in range(2))
            check_same(first.log, second.log, "one instance", "another with the same seed")
        harness, moves, found = self.harness(make()), plan(_SEEDS[0]), set[str]()
        with calls_outside(found):
            trade(harness, moves)
        assert not found, f"while working it used {', '.join(sorted(found))}"
        check_same_in_other_processes(make(), answers, self.instruments())

    @rule(
        "B12",
        "a fill better than the market it met, or from a time to come, is money that was never there.",
        "fill within the quote or candle at hand, stamp it no later, name its rule, and call it maker or taker.",
    )
    def test_a_fill_comes_from_the_event_it_met(self, make: Make) -> None:
        for order, met, fill in self.fills(make):
            event, buys = met.event, order.side is Side.BUY
            assert type(fill.time_ns) is int, f"time_ns is {fill.time_ns!r}, not whole nanoseconds"
            assert fill.time_ns <= event.time_ns, f"filled at {fill.time_ns}, after {event}"
            assert fill.liquidity in {"maker", "taker"}, f"liquidity is {fill.liquidity!r}, neither maker nor taker"
            named = isinstance(fill.rule, str) and fill.rule.isascii() and bool(fill.rule.strip())
            assert named, f"rule is {fill.rule!r}; expected a name in ASCII"
            for name, least in (("spread", fill.spread), ("slippage", fill.slippage)):
                assert least is None or least >= 0, f"{name} {least} is below 0"
            best = _best(met, buys)
            fine = fill.price >= best if buys else fill.price <= best
            assert fine, f"{order.side} with limit {order.limit} filled at {fill.price}, better than {best}: {event}"

    @rule(
        "B13",
        "time alone and another market's price say nothing about this order's price.",
        "fill on a quote or candle of the order's own symbol only; a Timer may expire an order, nothing else.",
    )
    def test_only_its_own_market_fills_an_order(self, make: Make) -> None:
        for side in _SIDES:
            harness = self.harness(make())
            order = harness.submit_marketable(side)
            at_ns = order.eligible_ns
            strange = [
                make_event(at_ns, symbol=symbol)
                for symbol in ("ETHUSDT", "NOSUCHUSDT")
                for make_event in (harness.quote, harness.candle)
            ]
            for event in (*strange, Timer(at_ns + 1)):
                fills = [one for one in harness.observe(event) if isinstance(one, Fill)]
                assert not fills, f"an order of BTCUSDT filled on {event}"
            assert harness.observe(harness.quote(at_ns + 2)), f"a marketable {side} did not fill on its own quote"

    @rule(
        "B14",
        "who came first is served first; another order of fills is another ledger after a restart.",
        "keep working orders in the order they were submitted, and answer a refused order with Rejected and a reason.",
    )
    def test_first_come_first_served(self, make: Make) -> None:
        harness = self.harness(make())
        orders = [harness.submit_marketable(_SIDES[place % 2]) for place in range(6)]
        reports = harness.observe(harness.quote(max(order.eligible_ns for order in orders) + SECOND_NS))
        filled = [one.order_id for one in reports if isinstance(one, Fill)]
        came = [order.id for order in orders if order.id in filled]
        assert list(dict.fromkeys(filled)) == came, f"submitted {came}, filled {filled}"
        stranger = harness.order(Side.BUY, symbol="NOSUCHUSDT")
        answer = harness.broker.submit(stranger, harness.now_ns)
        fine = isinstance(answer, Accepted) or (isinstance(answer, Rejected) and bool(answer.reason.strip()))
        assert fine, f"an order it cannot work on was answered with {answer!r}"


def answers(make: Make, instruments: Sequence[Instrument]) -> list[str]:
    """Return what a broker answers and reports in seeded sessions as lines, for comparing processes."""
    found = []
    for seed in _SEEDS:
        harness = trade(BrokerHarness(make(), instruments, seed), plan(seed))
        found += [str(one) for one in harness.log]
    return found


def _best(met: Exposure, buys: bool) -> Decimal:
    """Return the best price a buyer or seller can have met: of the event, or of the book when the order arrived."""
    prices = []
    for event in (met.event, met.in_force):
        if isinstance(event, Quote):
            prices.append(event.ask if buys else event.bid)
        elif isinstance(event, Candle):
            prices.append(event.low if buys else event.high)
    assert prices, f"filled on {met.event} without a price before"
    return Decimal(repr(min(prices) if buys else max(prices)))
