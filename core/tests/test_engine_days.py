"""A UTC day's loss is counted from the equity with which it began, and a candle belongs to the day it ended in."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Timer
from lab.domain.events import OrderAccepted, OrderRefused
from lab.domain.ledger import ZERO
from lab.domain.market import Quote
from lab.domain.orders import PASS, OrderRequest, Refuse, Verdict
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import RiskGate, Strategy
from lab.testing.builders import START_NS, candles, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X = "BTCUSDT"
DEPOSIT = D(10_000)
MIDNIGHT_NS = START_NS + DAY_NS
BUY = OrderRequest.buy(X, D(1))


@define(kw_only=True, eq=False)
class DailyLimit(RiskGate):
    """Refuses entries once the day lost as much as its limit, and notes what the day began with."""

    limit: Decimal
    starts: list[Decimal] = field(init=False, factory=list)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        self.starts.append(view.day_starting_equity)
        lost = view.day_starting_equity - view.session_equity
        return Refuse("daily loss", {"lost": str(lost)}) if lost >= self.limit else PASS


def engine(strategy: Strategy, *, latency_ms: int = 0, **more: Any) -> Engine:
    return engine_with({"s": strategy}, broker=SimpleBroker(latency_ms=latency_ms), deposit=DEPOSIT, **more)


def at(time_ns: int, price: float) -> Quote:
    return quotes([price], start_ns=time_ns)[0]


@define(kw_only=True, eq=False)
class OnQuotes(ScriptedStrategy):
    """Buys one on the first quote or candle."""

    bought: bool = field(init=False, default=False)

    def on_quote(self, quote: Quote, view: View) -> Sequence[Any]:
        return self._buy()

    def on_candle(self, candle: Any, view: View) -> Sequence[Any]:
        return self._buy()

    def _buy(self) -> Sequence[Any]:
        if self.bought:
            return ()
        self.bought = True
        return [BUY]


@pytest.mark.behaviour("R1")
def test_the_last_candle_of_a_day_loses_and_decides_on_that_day_though_it_became_known_on_the_next() -> None:
    """The 23:59 candle takes 600 of a limit of 500: its own decision is refused, the first of the next day is not."""
    gate = DailyLimit(limit=D(500))
    made = engine(ScriptedStrategy(plan={0: [BUY], 3: [BUY], 4: [BUY]}), gates=[gate])
    start_ns = MIDNIGHT_NS - 4 * MINUTE_NS
    outputs = run(made, candles([9_000.0, 9_000.0, 9_000.0, 8_400.0, 8_400.0], start_ns=start_ns))
    [refused] = only(OrderRefused, outputs)
    assert refused.order_id == f"l-s-{X}-c{MIDNIGHT_NS - MINUTE_NS}-1"
    assert refused.numbers == {"lost": "605.400000000"}
    assert [order.order_id for order in only(OrderAccepted, outputs)][1:] == [f"l-s-{X}-c{MIDNIGHT_NS}-1"]
    assert gate.starts == [DEPOSIT, DEPOSIT, DEPOSIT - D("605.4")]


@pytest.mark.behaviour("R1")
@pytest.mark.parametrize("late_ns", [0, 1, 2 * SECOND_NS, 59 * SECOND_NS])
def test_that_holds_however_long_after_midnight_the_candle_is_confirmed(late_ns: int) -> None:
    made = engine(OnQuotes())
    some = candles([9_000.0, 9_000.0, 8_000.0, 8_100.0], start_ns=MIDNIGHT_NS - 3 * MINUTE_NS)
    run(made, [candle._replace(time_ns=candle.time_ns + late_ns) for candle in some[:3]])
    assert made.valuation.day_starting_equity == DEPOSIT
    lost = made.valuation.equity()
    run(made, [some[3]._replace(time_ns=some[3].time_ns + late_ns)])
    assert made.valuation.day_starting_equity == lost


@pytest.mark.behaviour("R1")
def test_each_bar_of_a_day_is_a_day_of_its_own() -> None:
    """On 1d bars the first day's loss is the first day's."""
    gate = DailyLimit(limit=D(500))
    made = engine(ScriptedStrategy(plan={0: [BUY], 2: [BUY], 3: [BUY], 4: [BUY]}), gates=[gate], interval_ns=DAY_NS)
    bars = candles([9_000.0, 9_000.0, 8_000.0, 8_000.0, 8_000.0], interval_ns=DAY_NS)
    outputs = run(made, bars)
    equity = DEPOSIT - 1_000 - D("5.4")
    assert [refused.order_id for refused in only(OrderRefused, outputs)] == [f"l-s-{X}-c{bars[2].open_ns}-1"]
    assert gate.starts == [DEPOSIT, DEPOSIT - D("5.4"), equity, equity]


@pytest.mark.behaviour("R1")
def test_quotes_after_midnight_begin_the_day_before_the_last_candle_is_confirmed() -> None:
    """Where there are quotes, a close moves no equity: the day began with the first quote after midnight."""
    made = engine(OnQuotes())
    run(made, [at(MIDNIGHT_NS - 60 * SECOND_NS, 9_000.0), at(MIDNIGHT_NS - 30 * SECOND_NS, 9_000.0)])
    before = made.valuation.equity()
    run(made, [at(MIDNIGHT_NS + SECOND_NS, 8_500.0)])
    run(made, [candles([8_900.0], start_ns=MIDNIGHT_NS - MINUTE_NS)[0]._replace(time_ns=MIDNIGHT_NS + 2 * SECOND_NS)])
    assert made.valuation.day_starting_equity == before


@pytest.mark.behaviour("R1")
def test_a_day_starts_at_midnight_utc_with_the_equity_before_the_event_that_passed_it() -> None:
    made = engine(OnQuotes())
    view = made.strategies[0].view
    for quote in (at(START_NS, 100.0), at(START_NS + SECOND_NS, 100.0), at(MIDNIGHT_NS - 1, 150.0)):
        made.step(quote)
        assert view.day_starting_equity == DEPOSIT
    before = made.valuation.equity()
    assert before > DEPOSIT + 49
    for quote in (at(MIDNIGHT_NS, 90.0), at(MIDNIGHT_NS + DAY_NS - 1, 80.0)):
        made.step(quote)
        assert view.day_starting_equity == before
    before = made.valuation.equity()
    made.step(at(MIDNIGHT_NS + DAY_NS, 70.0))
    assert view.day_starting_equity == before


@pytest.mark.behaviour("R1")
@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_day_rolls_on_a_candle_too_and_over_a_day_without_data(days: int) -> None:
    made = engine(OnQuotes())
    for candle in candles([100.0, 100.0, 150.0]):
        made.step(candle)
    before = made.valuation.equity()
    for candle in candles([90.0, 80.0], start_ns=START_NS + days * DAY_NS):
        made.step(candle)
    assert made.valuation.day_starting_equity == before


@pytest.mark.behaviour("R1")
def test_a_day_that_began_while_quotes_were_silent_starts_with_the_equity_before_its_first_quote() -> None:
    made = engine(OnQuotes())
    for event in (at(START_NS, 100.0), at(START_NS + SECOND_NS, 100.0), at(MIDNIGHT_NS - SECOND_NS, 150.0)):
        made.step(event)
    before = made.valuation.equity()
    made.step(Timer(MIDNIGHT_NS + 2 * SECOND_NS))
    for event in (at(MIDNIGHT_NS + SECOND_NS, 90.0), at(MIDNIGHT_NS + 3 * SECOND_NS, 80.0)):
        made.step(event)
    assert made.valuation.day_starting_equity == before


@pytest.mark.behaviour("R1")
def test_what_was_lost_on_a_day_before_a_restart_counts_on_that_day_and_on_no_other() -> None:
    day_ns = START_NS - START_NS % DAY_NS
    made = engine(ScriptedStrategy(), carried_loss=(day_ns, D("120.5")))
    view = made.strategies[0].view
    for quote in (at(START_NS - DAY_NS, 100.0), at(START_NS, 100.0), at(MIDNIGHT_NS, 100.0)):
        before = view.day_starting_equity
        made.step(quote)
        lost = D("120.5") if day_ns <= quote.time_ns < day_ns + DAY_NS else ZERO
        assert view.day_starting_equity == DEPOSIT + lost, before
