"""Each UTC day that is over leaves what the books were worth, and the run counts its extremes and its prices."""

from decimal import Decimal

from lab.domain.control import Timer
from lab.domain.events import DayEnded
from lab.domain.market import BACKFILLED, Backfill, Candle
from lab.domain.orders import OrderRequest
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.journal.chain import key_of
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X, ETH = "BTCUSDT", "ETHUSDT"
DAY0 = START_NS - START_NS % DAY_NS
BUY = OrderRequest.buy(X, D(1))


def daily(closes: list[float], *, first_day: int = 0, symbol: str = X) -> list[Candle]:
    """Return one candle of a minute a day, at its beginning."""
    return [
        candles([close], start_ns=DAY0 + (first_day + number) * DAY_NS, symbol=symbol)[0]
        for number, close in enumerate(closes)
    ]


def engine(*strategies: ScriptedStrategy, **more: object):  # type: ignore[no-untyped-def]
    return engine_with(strategies or [ScriptedStrategy()], broker=SimpleBroker(latency_ms=0), **more)


def test_a_day_ends_with_the_equity_before_the_first_event_of_the_next() -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY]}), ScriptedStrategy())
    ends = only(DayEnded, run(made, daily([100.0, 100.0, 130.0, 90.0])))
    assert [one.day_ns for one in ends] == [DAY0, DAY0 + DAY_NS, DAY0 + 2 * DAY_NS]
    assert [one.prices for one in ends] == [{X: D(100)}, {X: D(100)}, {X: D(130)}]
    paid = D(20_000) - ends[1].equity  # the fee: bought on the second day, at that day's price
    assert D(0) < paid < 1
    assert [one.equity for one in ends] == [D(20_000), D(20_000) - paid, D(20_030) - paid]
    assert ends[2].books == {"s0": D(10_030) - paid, "s1": D(10_000)}
    assert [key_of(one) for one in ends] == [f"day:{one.day_ns}" for one in ends]


def test_a_day_without_an_event_has_no_end_and_the_one_before_it_ends_with_the_next_event() -> None:
    made = engine()
    outputs = [made.step(one) for one in [*daily([100.0]), *daily([101.0, 102.0], first_day=5)]]
    assert [[one.day_ns for one in only(DayEnded, some)] for some in outputs] == [[], [DAY0], [DAY0 + 5 * DAY_NS]]


def test_history_before_the_first_live_price_has_no_days_and_no_first_price() -> None:
    made = engine()
    history = [one._replace(status=BACKFILLED) for one in daily([50.0, 60.0, 70.0])]
    assert not only(DayEnded, run(made, history))
    assert made.counters.first_prices == made.counters.last_prices == {}
    assert made.counters.live_since_ns == 0
    assert not only(DayEnded, run(made, daily([80.0], first_day=3)))
    assert made.counters.first_prices == made.counters.last_prices == {X: D(80)}
    assert made.counters.live_since_ns == DAY0 + 3 * DAY_NS + MINUTE_NS
    [end] = only(DayEnded, run(made, daily([90.0], first_day=4)))
    assert (end.day_ns, end.prices) == (DAY0 + 3 * DAY_NS, {X: D(80)})
    assert (made.counters.first_prices, made.counters.last_prices) == ({X: D(80)}, {X: D(90)})


def test_days_that_a_back_fill_passes_while_the_run_goes_on_end_too() -> None:
    made = engine()
    run(made, daily([100.0]))
    gap = [one._replace(status=BACKFILLED) for one in daily([110.0, 120.0], first_day=1)]
    ends = only(DayEnded, made.step(Backfill(X, DAY0 + 3 * DAY_NS, tuple(gap))))
    assert [(one.day_ns, one.prices) for one in ends] == [(DAY0, {X: D(100)}), (DAY0 + DAY_NS, {X: D(110)})]


def test_where_there_are_quotes_the_price_of_a_day_is_the_middle_and_the_equity_is_at_the_bid() -> None:
    made = engine(ScriptedStrategy(plan={0: [BUY]}))
    run(made, daily([100.0]))
    run(made, [one._replace(bid=99.0, ask=101.0) for one in quotes([0.0, 0.0], start_ns=DAY0 + 2 * MINUTE_NS)])
    [end] = only(DayEnded, made.step(Timer(DAY0 + DAY_NS)))
    assert end.prices == {X: D(100)}
    cash = made.strategies[0].view.cash
    assert end.equity == cash + 99 - 101
    assert made.counters.first_prices == {X: D(100)}


def test_a_symbol_without_a_live_price_is_in_no_day_of_a_run_of_several() -> None:
    made = engine(instruments=[instrument(X), instrument(ETH)])
    run(made, daily([100.0]))
    run(made, [one._replace(status=BACKFILLED) for one in daily([7.0], symbol=ETH)])
    [first] = only(DayEnded, run(made, daily([8.0], first_day=1, symbol=ETH)))
    [second] = only(DayEnded, run(made, daily([9.0], first_day=2, symbol=ETH)))
    assert (first.prices, second.prices) == ({X: D(100)}, {X: D(100), ETH: D(8)})
    assert made.counters.first_prices == {X: D(100), ETH: D(8)}
    assert made.counters.last_prices == {X: D(100), ETH: D(9)}
    assert made.counters.live_since_ns == DAY0 + MINUTE_NS


def test_a_run_counts_its_lowest_equity_its_steepest_fall_and_its_longest() -> None:
    made = engine(ScriptedStrategy(plan={2: [BUY]}), deposit=D(1_000))
    prices = [100.0, 100.0, 100.0, 100.0, 150.0, 60.0, 70.0, 160.0, 155.0]
    run(made, candles(prices, start_ns=DAY0))
    counters = made.counters
    fee = counters.fees_paid
    assert counters.lowest_equity == D(960) - fee
    peak = D(1_050) - fee
    assert abs(counters.max_drawdown_percent - D(9_000) / peak) <= D("1e-10")
    assert counters.longest_drawdown_ns == 3 * MINUTE_NS  # from 150 to 160, and 155 goes on for one


def test_a_run_that_only_waits_has_no_drawdown_of_any_length() -> None:
    made = engine()
    run(made, candles([100.0, 90.0, 80.0], start_ns=DAY0))
    assert (made.counters.longest_drawdown_ns, made.counters.max_drawdown_percent) == (0, 0)
    assert made.counters.lowest_equity == 10_000
