"""A clock stepped: the engine follows the venue's, also back, pays nothing twice and trades on."""

from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import ClockStepped, Timer
from lab.domain.events import (
    BrokerFailed,
    FundingPaid,
    GapFound,
    LiquidationSettled,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
)
from lab.domain.market import Candle, Depth, Funding, Quote, Trade
from lab.domain.orders import OrderRequest, OrderType, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.journal.chain import key_of
from lab.testing.builders import START_NS, candles, instrument
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from lab.testing.simple_broker import SimpleBroker
from venue import BRACKET, venue

pytestmark = pytest.mark.behaviour("T2")
D = Decimal
X = "BTCUSDT"
HOUR_NS = 60 * MINUTE_NS
LIMIT = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(50))


def at(second: float) -> int:
    return START_NS + int(second * SECOND_NS)


def quote(second: float, price: float = 100.0) -> Quote:
    return Quote(X, at(second), price, 1.0, price, 1.0)


def stepped(second: float, by_s: float = -600.0, clock: Any = "venue") -> ClockStepped:
    return ClockStepped(at(second), int(by_s * SECOND_NS), clock, "said a test")


def engine(*requests: OrderRequest, **more: Any) -> Engine:
    more = {"broker": SimpleBroker(latency_ms=0), "instruments": [instrument(taker_fee_rate=D(0))], **more}
    return engine_with([ScriptedStrategy(plan={0: requests})], **more)


def candle(minute: int) -> Candle:
    [made] = candles([100.0], start_ns=START_NS + (minute - 1) * MINUTE_NS)
    return made


def test_after_a_step_back_every_quote_of_the_new_time_is_taken() -> None:
    made = engine()
    run(made, [quote(0), quote(600)])
    assert run(made, [quote(1)]) == []
    assert made.counters.late_quotes == 1
    assert run(made, [stepped(2)]) == [stepped(2)]
    assert made.state.now_ns == at(2)
    run(made, [quote(2.5), quote(3, 101.0)])
    assert (made.state.now_ns, made.state.markets[X].mark(True)) == (at(3), 101.0)
    assert made.counters.late_quotes == 1


def test_depth_and_trades_of_the_new_time_are_taken_too() -> None:
    made = engine()
    depth = Depth(X, at(600), ((99.0, 1.0),), ((101.0, 1.0),))
    trade = Trade(X, at(600), 100.0, 1.0, Side.BUY)
    run(made, [depth, trade, stepped(2)])
    market = made.state.markets[X]
    assert market.depth is None
    run(made, [depth._replace(time_ns=at(3)), trade._replace(time_ns=at(3))])
    assert (market.depth_ns, market.trade_ns, made.counters.late_quotes) == (at(3), at(3), 0)


def test_the_newest_quote_stays_the_mark_and_is_of_no_time_to_come() -> None:
    made = engine()
    run(made, [quote(600), stepped(2)])
    market = made.state.markets[X]
    assert market.quote == quote(600)._replace(time_ns=0)


def test_a_step_ahead_is_time_that_passed() -> None:
    made = engine()
    run(made, [quote(0), stepped(600, 600.0), quote(601)])
    assert made.state.now_ns == at(601)
    assert made.state.markets[X].quote == quote(601)


def test_a_step_of_the_machines_clock_is_told_and_changes_nothing() -> None:
    made = engine(LIMIT)
    run(made, [candle(1), quote(60)])
    assert run(made, [stepped(0, 3600.0, "wall")]) == [stepped(0, 3600.0, "wall")]
    assert made.state.now_ns == at(60)
    assert made.state.working


def test_a_working_order_expires_with_the_reason_and_its_strategy_is_told() -> None:
    told: list[Any] = []

    @define
    class Told(ScriptedStrategy):
        def on_end(self, end: OrderEnded, view: Any) -> None:
            told.append((end.outcome, view.now_ns))

    made = engine_with([Told(plan={0: (LIMIT,)})])
    run(made, [candle(1)])
    ended = only(OrderEnded, run(made, [stepped(2)]))
    assert [(end.outcome, end.reason) for end in ended] == [("expired", "the venue's clock stepped")]
    assert told == [("expired", at(2))]
    assert not made.state.working


def test_what_guards_an_entry_ends_with_it() -> None:
    made = engine(BRACKET, broker=venue())
    run(made, [candle(1)])
    assert len(made.state.working) == 3
    ended = only(OrderEnded, run(made, [stepped(2)]))
    assert [end.outcome for end in ended] == ["expired", "cancelled", "cancelled"]


def test_a_broker_that_fails_to_forget_an_order_ends_the_run_as_its_own_failure() -> None:
    class Broken(ScriptedBroker):
        def forget(self, order_id: str) -> None:
            raise KeyError(order_id)

    made = engine(LIMIT, broker=Broken())
    run(made, [candle(1)])
    out = run(made, [stepped(2), quote(3)])
    assert len(only(BrokerFailed, out)) == 1
    assert [end.outcome for end in only(OrderEnded, out)] == ["cancelled"]


def test_a_broker_is_shown_the_step_after_it_forgot_every_order() -> None:
    broker = ScriptedBroker()
    made = engine(LIMIT, broker=broker)
    run(made, [candle(1), stepped(2)])
    assert broker.seen[-1][0] == stepped(2)


def test_funding_that_was_paid_is_not_paid_again_when_its_time_comes_a_second_time() -> None:
    made = engine(OrderRequest.buy(X, D(50)))
    eight = START_NS + 8 * HOUR_NS
    rate = Funding(X, START_NS, 0.0001, eight, 100.0)
    later = Funding(X, START_NS, 0.0001, 2 * eight - START_NS, 100.0)
    early = eight - 5 * MINUTE_NS
    before = [candle(1), candle(2), rate, quote(8 * 3600 + 60), later]
    after = [
        stepped((early - START_NS) / SECOND_NS),
        rate._replace(time_ns=early),
        quote(8 * 3600 + 1),
        quote(8 * 3600 + 90),
    ]
    paid = only(FundingPaid, run(made, [*before, *after]))
    assert [one.window_ns for one in paid] == [eight]
    paid = only(FundingPaid, run(made, [quote(16 * 3600 + 1)]))
    assert [one.window_ns for one in paid] == [2 * eight - START_NS]


def test_a_day_that_began_goes_on_when_the_clock_goes_back_over_midnight() -> None:
    made = engine()
    run(made, [quote(86_400 + 60)])
    ends_ns = made.valuation.day_end_ns
    run(made, [stepped(86_400 - 60), quote(86_400 - 30), quote(86_400 + 30)])
    assert made.valuation.day_end_ns == ends_ns


@define
class Ticking(ScriptedStrategy):
    timer_ns: int = 10 * SECOND_NS
    called: list[int] = field(factory=list)

    def on_timer(self, now_ns: int, view: Any) -> list[Any]:
        self.called.append((now_ns - START_NS) // SECOND_NS)
        return []


def test_a_timer_falls_due_in_the_new_time() -> None:
    ticking = Ticking()
    made = engine_with([ticking])
    run(made, [stepped(0)])
    assert ticking.called == []
    run(made, [quote(601), quote(611), stepped(2), quote(9), Timer(at(12)), quote(21)])
    assert ticking.called == [600, 610, 10, 20]
    assert made.next_timer_ns == at(30)


def test_candles_of_the_future_are_dropped_and_come_again_in_their_turn() -> None:
    told: list[int] = []

    @define
    class Changed(ScriptedStrategy):
        def on_history(self, view: Any) -> None:
            told.append(len(view.candles(X)))

    made = engine_with([Changed(plan={})])
    history = made.state.markets[X].history
    first = run(made, [candle(1), candle(2), candle(11), candle(12)])
    column = history.column("close")
    assert len(column) == 4
    dropped = run(made, [stepped(125)])
    assert [one.open_ns for one in history.candles] == [candle(1).open_ns, candle(2).open_ns]
    assert (history.count, history.dropped, told) == (2, 2, [2])
    assert len(history.column("close")) == 2
    again = run(made, [candle(3), candle(4), *(candle(minute) for minute in range(5, 14))])
    assert not only(GapFound, again)
    assert history.count == 13
    keys = [key for key in map(key_of, [*first, *dropped, *again]) if key is not None]
    assert len(keys) == len(set(keys)), "each key is in the journal once"
    assert len(only(Candle, again)) == 9
    assert made.counters.candles == 15


def test_a_dropped_candle_that_comes_late_is_placed_without_a_second_row() -> None:
    made = engine_with([ScriptedStrategy(plan={})])
    run(made, [candle(1), candle(2), candle(3), stepped(61)])
    history = made.state.markets[X].history
    assert history.count == 1
    assert only(Candle, run(made, [candle(4), candle(3), candle(2)])) == [candle(4)]
    assert [one.open_ns for one in history.candles] == [candle(minute).open_ns for minute in (1, 2, 3, 4)]


def test_a_history_that_lies_wholly_in_the_future_is_dropped_whole() -> None:
    made = engine_with([ScriptedStrategy(plan={})])
    run(made, [candle(100), candle(101), stepped(61), candle(1)])
    history = made.state.markets[X].history
    assert [one.open_ns for one in history.candles] == [candle(1).open_ns]


def test_a_liquidation_places_its_closing_order_again() -> None:
    broker = SimpleBroker(latency_ms=1000)
    made = engine(OrderRequest.buy(X, D(90)), broker=broker, deposit=D(1000), leverage=D(10))
    out = run(made, [candle(1), quote(62), quote(64), quote(600, 88.0)])
    assert only(OrderFilled, out)
    [closing] = [one for one in only(OrderAccepted, out) if one.reduce_only]
    out = run(made, [stepped(70), quote(71, 88.0)])
    assert [end.order_id for end in only(OrderEnded, out)] == [closing.order_id]
    [again] = only(OrderAccepted, out)
    assert again.reduce_only
    out = run(made, [quote(75, 88.0)])
    assert len(only(OrderFilled, out)) == 1
    assert only(LiquidationSettled, out)


def test_a_step_on_the_way_to_the_end_ends_the_orders_that_close() -> None:
    made = engine()
    made.state.stopping = True
    assert run(made, [stepped(2)]) == [stepped(2)]
