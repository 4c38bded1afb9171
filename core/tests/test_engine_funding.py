"""Funding is paid once a window, at the rate fetched for it, of what was held at its instant."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field
from lab.domain.control import Timer
from lab.domain.events import BrokerFailed, DayEnded, FundingPaid, FundingSkipped, Liquidated, OrderFilled
from lab.domain.instrument import Instrument, MarginTier
from lab.domain.market import Candle, Funding, Quote
from lab.domain.orders import OrderRequest
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.journal.chain import key_of
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.domain.inputs import Input

D = Decimal
X = "BTCUSDT"
HOUR_NS = 60 * MINUTE_NS
EIGHT = START_NS + 8 * HOUR_NS
FREE = instrument(taker_fee_rate=D(0))


def engine(*requests: OrderRequest, known: Instrument = FREE, deposit: int = 10_000, **more: Any) -> Engine:
    strategy = ScriptedStrategy(plan={0: requests})
    broker = SimpleBroker(latency_ms=0)
    return engine_with([strategy], broker=broker, instruments=[known], deposit=D(deposit), **more)


def candle(minute: int, close: float = 100.0) -> Candle:
    """The candle that is known ``minute`` minutes after midnight."""
    [made] = candles([close], start_ns=START_NS + (minute - 1) * MINUTE_NS)
    return made


def rate(value: float = 0.0001, next_ns: int = EIGHT, mark: float = 100.0, at_ns: int = START_NS) -> Funding:
    return Funding(X, at_ns, value, next_ns, mark)


def held(*, buys: bool = True, coins: int = 50, **more: Any) -> Engine:
    """An engine that holds coins from 100 on."""
    made = engine((OrderRequest.buy if buys else OrderRequest.sell)(X, D(coins)), **more)
    run(made, [candle(1), candle(2)])
    return made


@pytest.mark.behaviour("O10")
@pytest.mark.parametrize(
    ("buys", "value", "amount"), [(True, 0.0001, "0.51"), (False, 0.0001, "-0.51"), (True, -0.0003, "-1.53")]
)
def test_longs_pay_a_rate_above_0_and_shorts_receive_it(buys: bool, value: float, amount: str) -> None:
    """50 coins at a mark of 102 are 5,100; a rate of 0.01 % of that is 0.51."""
    made = held(buys=buys)
    outputs = run(made, [rate(value, mark=102.0), candle(479), candle(480), candle(481)])
    [paid] = only(FundingPaid, outputs)
    assert (paid.rate, paid.mark, paid.quantity) == (D(repr(value)), 102, 50 if buys else -50)
    assert (paid.amount, paid.window_ns) == (D(amount), EIGHT)
    assert paid.postings == (("cash", -D(amount)), ("funding", D(amount)))
    assert made.strategies[0].view.cash == 10_000 - D(amount)
    assert made.counters.funding_paid == D(amount)
    assert not only(FundingSkipped, outputs)
    assert key_of(paid) == f"funding:s0:{X}:{EIGHT}"


@define
class Paying(SimpleBroker):
    """A broker with rates of its own: what ``rates`` has for what was fetched."""

    rates: dict[Any, Any] = field(kw_only=True, factory=dict)
    asked: list[tuple[str, Decimal | None, int]] = field(init=False, factory=list)

    def funding_rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal | None:
        self.asked.append((symbol, fetched, window_ns))
        rate = self.rates.get(fetched, fetched)
        if isinstance(rate, Exception):
            raise rate
        return rate  # type: ignore[no-any-return]


def paying(**rates: Any) -> tuple[Engine, Paying]:
    """An engine that holds 50 coins from 100 on, with a broker that has rates: ``none`` for a window without."""
    broker = Paying(
        latency_ms=0, rates={None if name == "none" else D("0.0001"): value for name, value in rates.items()}
    )
    made = engine_with([ScriptedStrategy(plan={0: (OrderRequest.buy(X, D(50)),)})], broker=broker, instruments=[FREE])
    run(made, [candle(1), candle(2)])
    return made, broker


@pytest.mark.behaviour("O10")
def test_a_brokers_rate_is_paid_in_every_window_also_where_none_was_fetched() -> None:
    """50 coins at a mark of 100 are 5,000; 0.02 % of that is 1, in each of three windows of eight hours."""
    made, broker = paying(none=D("0.0002"))
    outputs = run(made, [candle(3 * 480 + 1)])
    windows = [EIGHT + number * 8 * HOUR_NS for number in range(3)]
    assert [(paid.amount, paid.mark, paid.window_ns) for paid in only(FundingPaid, outputs)] == [
        (1, 100, window_ns) for window_ns in windows
    ]
    assert broker.asked == [(X, None, window_ns) for window_ns in windows]
    assert not only(FundingSkipped, outputs)


def test_a_broker_is_asked_for_each_of_the_windows_that_pass_at_one_moment() -> None:
    """It pays in the second of eight-hour windows and the fifth, and in none of the others."""

    class SomeWindows(Paying):
        def funding_rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal | None:
            return D("0.0002") if (window_ns - START_NS) // (8 * HOUR_NS) in {2, 5} else None

    made = engine_with(
        [ScriptedStrategy(plan={0: (OrderRequest.buy(X, D(50)),)})],
        broker=SomeWindows(latency_ms=0),
        instruments=[FREE],
    )
    run(made, [candle(1), candle(2)])
    outputs = run(made, [candle(6 * 480 + 1)])
    window = [(one.window_ns - START_NS) // (8 * HOUR_NS) for one in only(FundingPaid, outputs)]
    skipped = [((one.window_ns - START_NS) // (8 * HOUR_NS), one.windows) for one in only(FundingSkipped, outputs)]
    assert (window, skipped) == ([2, 5], [(1, 1), (3, 2), (6, 1)])


def test_a_broker_changes_a_fetched_rate_or_pays_none() -> None:
    made, broker = paying(fetched=D("0.00005"))
    [paid] = only(FundingPaid, run(made, [rate(0.0001), candle(480)]))
    assert (paid.rate, paid.amount) == (D("0.00005"), D("0.25"))
    broker.rates = {D("0.0001"): None}
    outputs = run(made, [rate(0.0001, EIGHT + 8 * HOUR_NS, at_ns=EIGHT), candle(960)])
    assert [one.why for one in only(FundingSkipped, outputs)] == ["the broker's funding model gives none"]
    assert broker.asked[-1][1] == D("0.0001")


def test_a_broker_is_not_asked_for_a_rate_while_nothing_is_held() -> None:
    broker = Paying(latency_ms=0)
    run(engine_with([ScriptedStrategy(plan={})], broker=broker, instruments=[FREE]), [candle(1), candle(481)])
    assert not broker.asked


@pytest.mark.parametrize("wrong", [0.0001, D("NaN"), D(1), "0.1", KeyError("no rate")], ids=repr)
def test_a_broker_whose_rate_cannot_be_paid_ends_the_run_as_its_own_failure(wrong: Any) -> None:
    made, _ = paying(none=wrong)
    [failed] = only(BrokerFailed, run(made, [candle(481)]))
    assert "failed in funding_rate" in failed.error
    outputs = run(made, [candle(482), candle(483)])
    assert not only(BrokerFailed, outputs)
    assert [one.window_ns for one in only(FundingSkipped, outputs)] == [EIGHT]


@pytest.mark.behaviour("O10")
def test_the_position_at_the_instant_counts_and_not_one_that_the_same_event_opens() -> None:
    made = engine(OrderRequest.buy(X, D(50)))
    outputs = run(made, [rate(), candle(479), candle(480), candle(481)])
    assert not only(FundingPaid, outputs)
    assert made.strategies[0].view.position(X).quantity == 50


@pytest.mark.behaviour("O10")
def test_a_window_is_paid_once_however_often_its_rate_comes() -> None:
    made = held()
    late = rate(at_ns=EIGHT + SECOND_NS)
    outputs = run(made, [rate(), rate(0.0002), candle(480), late, late, candle(481), late, candle(482)])
    [paid] = only(FundingPaid, outputs)
    assert paid.rate == D("0.0002")  # the newest before the instant


@pytest.mark.behaviour("O10")
def test_a_run_pays_nothing_for_windows_before_its_first_input_so_a_restart_pays_none_twice() -> None:
    made = engine(OrderRequest.buy(X, D(50)))
    first = [rate(), candle(481), candle(482)]  # the run begins after the window, with the rate of it
    outputs = run(made, [*first, candle(900)])
    assert made.strategies[0].view.position(X).quantity == 50
    assert not only(FundingPaid, outputs)
    assert not only(FundingSkipped, outputs)


@pytest.mark.behaviour("O10")
def test_a_window_without_a_rate_is_said_for_each_position_and_counted() -> None:
    made = held()
    outputs = run(made, [candle(479), candle(481)])
    [skipped] = only(FundingSkipped, outputs)
    assert (skipped.quantity, skipped.window_ns, skipped.windows) == (50, EIGHT, 1)
    assert skipped.why == "no rate was fetched, and the broker gives none"
    assert made.counters.funding_skipped == 1
    assert made.strategies[0].view.cash == 10_000


@pytest.mark.behaviour("O10")
def test_a_stale_rate_is_of_another_window_and_is_not_paid_again() -> None:
    made = held()
    outputs = run(made, [rate(), candle(480), candle(961)])
    assert len(only(FundingPaid, outputs)) == 1
    [skipped] = only(FundingSkipped, outputs)
    assert (skipped.window_ns, skipped.why) == (
        EIGHT + 8 * HOUR_NS,
        "the rate that was fetched last is of another window, and the broker gives none",
    )


@pytest.mark.behaviour("O10")
def test_windows_that_passed_in_an_outage_are_one_event_with_their_number() -> None:
    made = held()
    outputs = run(made, [rate(), Timer(START_NS + 33 * HOUR_NS)])
    assert [type(one) for one in outputs][2:] == [DayEnded, FundingPaid, FundingSkipped]
    [skipped] = only(FundingSkipped, outputs)
    assert (skipped.window_ns, skipped.windows) == (EIGHT + 8 * HOUR_NS, 3)
    assert made.counters.funding_skipped == 3
    assert made.next_timer_ns > 0


@pytest.mark.behaviour("O10")
def test_a_rate_fetched_after_a_window_waits_until_the_run_has_come_to_it() -> None:
    """The next window's rate comes while the newest price is older than the window: both are paid."""
    made = held()
    after = rate(0.0005, EIGHT + 8 * HOUR_NS, at_ns=EIGHT + SECOND_NS)
    outputs = run(made, [rate(), after, candle(480), candle(960)])
    assert [(paid.window_ns, paid.rate) for paid in only(FundingPaid, outputs)] == [
        (EIGHT, D("0.0001")),
        (EIGHT + 8 * HOUR_NS, D("0.0005")),
    ]
    assert made.strategies[0].view.funding(X) == after


@pytest.mark.behaviour("O10")
def test_rates_of_several_windows_that_one_event_passes_are_all_paid_and_the_one_between_is_said() -> None:
    made = held()
    windows = [EIGHT, EIGHT + 8 * HOUR_NS, EIGHT + 24 * HOUR_NS]
    rates = [rate(next_ns=window, at_ns=window) for window in windows]
    outputs = run(made, [*rates, candle(45 * 60)])
    assert [paid.window_ns for paid in only(FundingPaid, outputs)] == windows
    assert [(skipped.window_ns, skipped.windows) for skipped in only(FundingSkipped, outputs)] == [
        (EIGHT + 16 * HOUR_NS, 1),
        (EIGHT + 32 * HOUR_NS, 1),
    ]
    assert made.strategies[0].view.cash == 10_000 - D("1.5")


def test_rates_that_never_fall_due_are_bounded() -> None:
    made = held()
    run(made, [rate(next_ns=EIGHT + number * MINUTE_NS, at_ns=EIGHT) for number in range(3_000)])
    assert len(made.state.markets[X].rates) == 1_000


@pytest.mark.behaviour("O10")
def test_a_venue_that_moves_its_window_before_it_came_is_believed() -> None:
    made = held()
    moved = rate(0.0002, EIGHT + 4 * HOUR_NS, at_ns=EIGHT - HOUR_NS)
    outputs = run(made, [rate(), moved, candle(481), candle(721)])
    [paid] = only(FundingPaid, outputs)
    assert (paid.window_ns, paid.rate) == (EIGHT + 4 * HOUR_NS, D("0.0002"))
    assert not only(FundingSkipped, outputs)


@pytest.mark.behaviour("O10")
def test_the_venues_word_counts_over_the_eight_hours_that_are_assumed() -> None:
    """Hourly windows: the period is learned from two rates, and a window that is missed then is said."""
    made = held()
    hours = [START_NS + hour * HOUR_NS for hour in range(1, 5)]
    inputs: Sequence[Input] = [
        rate(next_ns=hours[0]), candle(60), rate(next_ns=hours[1], at_ns=hours[0] + 1), candle(120), candle(180),
        rate(next_ns=hours[3], at_ns=hours[2] + 1), candle(240),
    ]  # fmt: skip
    outputs = run(made, inputs)
    assert [paid.window_ns for paid in only(FundingPaid, outputs)] == [hours[0], hours[1], hours[3]]
    assert [skipped.window_ns for skipped in only(FundingSkipped, outputs)] == [hours[2]]


@pytest.mark.behaviour("O10")
def test_a_settlement_a_few_milliseconds_off_the_minute_is_the_same_window_and_makes_no_period() -> None:
    """Three windows of eight hours, each told at two times around it: three are paid, and none is missing."""
    made = held()
    inputs: list[Input] = []
    for window in range(1, 4):
        due_ns = START_NS + window * 8 * HOUR_NS
        inputs += [rate(next_ns=due_ns + off_ns, at_ns=due_ns - HOUR_NS) for off_ns in (0, 3_000_000, -2_000_000)]
        inputs.append(candle(window * 480 + 1))
    outputs = run(made, inputs)
    assert [paid.window_ns for paid in only(FundingPaid, outputs)] == [EIGHT + n * 8 * HOUR_NS for n in range(3)]
    assert not only(FundingSkipped, outputs)
    [skipped] = only(FundingSkipped, run(made, [candle(4 * 480 + 1)]))
    assert (skipped.window_ns, skipped.windows) == (START_NS + 32 * HOUR_NS, 1)


@pytest.mark.behaviour("O10")
def test_a_period_grows_again_after_two_longer_steps_and_not_after_one() -> None:
    """An hour from 07:00 to 08:00, then eight twice; before the second the hour still counts for what is missing."""
    made = held()
    skipped = []
    for hour, until in ((7, 7), (8, 13), (16, 21), (24, 29), (32, 37)):
        due_ns = START_NS + hour * HOUR_NS
        outputs = run(made, [rate(next_ns=due_ns, at_ns=due_ns - 1), candle(hour * 60 + 1), candle(until * 60 + 2)])
        assert len(only(FundingPaid, outputs)) == 1
        skipped.append(sum(one.windows for one in only(FundingSkipped, outputs)))
    assert skipped == [0, 5, 7, 1, 0]


def test_the_mark_of_the_run_stands_in_for_a_rate_without_one() -> None:
    made = held()
    [quote] = quotes([110.0], start_ns=START_NS + 3 * MINUTE_NS)
    outputs = run(made, [rate(mark=0.0), quote, Timer(EIGHT)])
    [paid] = only(FundingPaid, outputs)
    assert (paid.mark, paid.amount) == (110, 50 * D(110) * D("0.0001"))


def test_a_rate_of_absurdly_many_places_is_kept_to_twelve() -> None:
    made = held()
    [paid] = only(FundingPaid, run(made, [rate(1e-300, mark=1e-300), candle(480)]))
    assert (paid.rate, paid.mark, paid.amount) == (0, 100, 0)


@pytest.mark.behaviour("O10", "O11")
def test_an_inverse_contract_pays_in_coins() -> None:
    """1,000 contracts of 100 USD at 50,000 are 2 coins; 0.01 % of that is 0.0002."""
    one = instrument(contract="inverse", contract_value=D(100), taker_fee_rate=D(0), lot=D(1), quantity_min=D(1))
    made = engine(OrderRequest.buy(X, D(1_000)), known=one, deposit=3)
    run(made, [candle(1, 50_000.0), candle(2, 50_000.0)])
    [paid] = only(FundingPaid, run(made, [rate(mark=50_000.0), candle(480, 50_000.0)]))
    assert paid.amount == D("0.0002")
    assert made.strategies[0].view.cash == D("2.9998")


@pytest.mark.behaviour("O10", "O11")
def test_funding_that_takes_the_last_of_the_margin_liquidates_at_an_unchanged_price() -> None:
    """100 coins at 100 on 60: 60 - 100 = -40 after funding of 1 %; 60 before is above 0.5 % of 10,000."""
    made = held(coins=100, deposit=60)
    outputs = run(made, [candle(479), rate(0.01), candle(480)])
    assert only(FundingPaid, outputs)[0].amount == 100
    [liquidated] = only(Liquidated, outputs)
    assert (liquidated.balance, liquidated.maintenance) == (-40, 50)


def test_funding_with_no_tier_to_breach_is_only_paid() -> None:
    made = held(known=instrument(tiers=(MarginTier(maintenance_rate=D(0)),)))
    outputs = run(made, [rate(), candle(480)])
    assert only(FundingPaid, outputs)
    assert not only(Liquidated, outputs)


def test_each_books_position_pays_for_itself() -> None:
    plans = [{0: [OrderRequest.buy(X, D(50))]}, {0: [OrderRequest.sell(X, D(20))]}, {}]
    made = engine_with(
        [ScriptedStrategy(plan=plan) for plan in plans], broker=SimpleBroker(latency_ms=0), instruments=[FREE]
    )
    paid = only(FundingPaid, run(made, [candle(1), candle(2), rate(), Quote(X, EIGHT, 99.9, 1.0, 100.1, 1.0)]))
    assert [(one.strategy, one.amount) for one in paid] == [("s0", D("0.5")), ("s1", D("-0.2"))]
    assert made.counters.funding_paid == D("0.3")


@pytest.mark.behaviour("O10")
def test_each_market_has_windows_of_its_own() -> None:
    other = instrument("ETHUSDT")
    plan = {0: [OrderRequest.buy(X, D(50))]}
    made = engine_with([ScriptedStrategy(plan=plan)], broker=SimpleBroker(latency_ms=0), instruments=[FREE, other])
    run(made, [candle(1), candle(2)])
    hourly = Funding("ETHUSDT", START_NS, 0.0001, START_NS + HOUR_NS, 10.0)
    assert not only(FundingPaid, run(made, [hourly, rate(), candle(60), candle(120)]))
    assert len(only(FundingPaid, run(made, [candle(480)]))) == 1


@pytest.mark.behaviour("O10")
def test_on_candles_a_window_is_paid_between_the_fills_around_it_by_what_was_held_then() -> None:
    """A day's candle: bought at its open, at midnight, and sold at the open of the next one; three windows lie between.

    The marks are the close before each: 100 and, of the second day, 110.
    """
    day_ns = 24 * HOUR_NS
    plan = {0: (OrderRequest.buy(X, D(50)),), 1: (OrderRequest.sell(X, D(50), reduce_only=True),)}
    made = engine_with(
        [ScriptedStrategy(plan=plan)], broker=AtOpens(latency_ms=0), instruments=[FREE], interval_ns=day_ns,
    )  # fmt: skip
    days = [
        Candle(X, START_NS + day * day_ns, START_NS + (day + 1) * day_ns, price, price + 1, price - 1, price + 10, 1.0)
        for day, price in enumerate([90.0, 100.0, 110.0, 120.0])
    ]
    outputs = run(made, days)
    rows = [one for one in outputs if isinstance(one, (OrderFilled, FundingPaid))]
    told = [
        ("fill", (one.fill.time_ns - START_NS) // HOUR_NS, one.position)
        if isinstance(one, OrderFilled)
        else ("paid", (one.window_ns - START_NS) // HOUR_NS, one.mark)
        for one in rows
    ]
    assert told == [
        ("fill", 24, 50), ("paid", 32, 100), ("paid", 40, 100), ("paid", 48, 100), ("fill", 48, 0),
    ]  # fmt: skip


class AtOpens(SimpleBroker):
    """Fills at the open of the candle, with the open's time, and pays 0.01 % in every window."""

    def funding_rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal | None:
        return D("0.0001")

    def fill_of(self, order: Any, event: Any) -> Any:
        fill = super().fill_of(order, event)
        return replace(fill, price=D(repr(event.open)), time_ns=event.open_ns)
