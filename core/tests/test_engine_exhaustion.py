"""A run whose equity is gone ends: once, with everything closed, and nothing recovers afterwards."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.control import Command, CommandAction
from lab.domain.events import EquityExhausted, OrderAccepted, OrderEnded, OrderFilled
from lab.domain.market import Candle, Quote
from lab.domain.orders import OrderRequest, OrderType, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

if TYPE_CHECKING:
    from lab.domain.inputs import Input

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"
RESTING = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))


@define(kw_only=True, eq=False)
class Noting(ScriptedStrategy):
    """Does what its plan says, and notes every call."""

    calls: list[str] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
        self.calls.append("on_candle")
        return super().on_candle(candle, view)

    def on_quote(self, quote: Quote, view: View) -> Sequence[Any]:
        self.calls.append("on_quote")
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.calls.append("on_fill")


def engine(*strategies: Strategy, symbols: Sequence[str] = (X,), deposit: int = 10_000) -> Engine:
    broker, known = SimpleBroker(latency_ms=0), map(instrument, symbols)
    return engine_with(strategies, broker=broker, instruments=known, deposit=D(deposit), leverage=D(20))


@pytest.mark.behaviour("O14", "S3")
def test_twelve_coins_on_ten_thousand_do_not_come_back_from_a_fall_of_a_tenth() -> None:
    """Bought at 10,000, marked at 9,000 for ten minutes, then at 10,500: the run ended at the first 9,000."""
    strategy = Noting(plan={0: [OrderRequest.buy(X, D(12)), RESTING]})
    made = engine(strategy)
    outputs = run(made, candles([10_000.0, 10_000.0] + [9_000.0] * 10 + [10_500.0] * 10))
    [exhausted] = only(EquityExhausted, outputs)
    assert exhausted.equity == D(10_000) - 12_000 - 72 == D(-2_072)
    place = outputs.index(exhausted)
    cancelled, closing = outputs[place + 1 : place + 3]
    assert (cancelled.outcome, cancelled.reason) == ("cancelled", "the equity is exhausted")
    assert (closing.side, closing.quantity, closing.reduce_only) == (Side.SELL, 12, True)
    assert closing.reason == "the equity is exhausted"
    assert [filled.position for filled in only(OrderFilled, outputs)] == [12, 0]
    assert made.valuation.equity() == D(-2_072) - D("64.8")
    assert made.counters.max_drawdown == 10_000 - made.valuation.equity()
    assert made.state.exhausted
    assert made.state.stopping
    assert not made.state.working
    assert strategy.calls == ["on_candle", "on_fill", "on_candle"]
    assert made.counters.decisions == 2


def test_on_quotes_the_run_ends_at_the_quote_that_took_the_last_cent() -> None:
    strategy = Noting(plan={})
    made = engine(strategy, Noting(plan={0: [OrderRequest.sell(X, D(30))]}), deposit=1_000)
    prices = [100.0, 100.0, 130.0, 160.0, 166.3, 166.6, 164.9, 10.0]
    [candle] = candles([100.0])
    outputs = run(made, [candle])
    for quote in quotes(prices, start_ns=candle.time_ns + SECOND_NS):
        outputs += made.step(quote)
        assert made.state.exhausted or made.valuation.equity() > 0
    [exhausted] = only(EquityExhausted, outputs)
    fee = D("99.9") * 30 * D("0.0006")
    assert exhausted.equity == 2_000 - 30 * (D("166.7") - D("99.9")) - fee
    assert strategy.calls.count("on_quote") == 5


def test_a_fill_that_takes_the_last_cent_ends_the_run_too() -> None:
    """The fee alone is more than there is."""
    made = engine(Noting(plan={0: [OrderRequest.buy(X, D(200_000))]}))
    outputs = run(made, candles([100.0] * 4))
    [exhausted] = only(EquityExhausted, outputs)
    assert exhausted.equity == D(10_000) - 12_000
    assert [filled.position for filled in only(OrderFilled, outputs)] == [200_000, 0]


def test_exactly_nothing_is_exhausted_and_one_unit_more_is_not() -> None:
    for lost, ends in ((D(10_000), True), (D("9999.999999"), False)):
        free = instrument(X, taker_fee_rate=D(0), lot=D("0.000001"), quantity_min=D("0.000001"))
        broker: Broker = SimpleBroker(latency_ms=0)
        broker.open({X: free}, 0)
        strategy = ScriptedStrategy(plan={0: [OrderRequest.buy(X, lost)]})
        made = Engine({X: free}, MINUTE_NS, broker, (), [("s", strategy, D(10_000))], config_hash="l")
        made.begin()
        run(made, candles([100.0, 100.0, 99.0]))
        assert made.state.exhausted is ends


@pytest.mark.behaviour("P6")
def test_the_equity_of_all_books_counts_and_every_books_positions_are_closed() -> None:
    """One book is under water long before, while another one carries it."""
    made = engine(
        Noting(plan={0: [OrderRequest.buy(X, D(12))]}),
        Noting(plan={0: [OrderRequest.buy(Y, D(10))]}),
        Noting(plan={}),
        symbols=(X, Y),
    )
    first = [*candles([10_000.0] * 2), *candles([1_000.0] * 2, symbol=Y)]
    outputs = run(made, first)
    fall = candles([9_000.0, 8_000.0, 7_400.0], start_ns=START_NS + 2 * MINUTE_NS)
    for candle in fall:
        assert not only(EquityExhausted, outputs)
        outputs += run(made, [candle])
    [exhausted] = only(EquityExhausted, outputs)
    assert exhausted.equity < 0
    closing = [accepted for accepted in only(OrderAccepted, outputs) if accepted.reason == "the equity is exhausted"]
    assert [(order.strategy, order.symbol, order.quantity) for order in closing] == [("s0", X, 12), ("s1", Y, 10)]
    start_ns = START_NS + 5 * MINUTE_NS
    run(made, [*candles([7_400.0], start_ns=start_ns), *candles([1_000.0], symbol=Y, start_ns=start_ns)])
    assert all(not strategy.view.held() for strategy in made.strategies)
    assert {call for strategy in made.strategies for call in strategy.view.orders()} == set()


def test_a_command_after_the_equity_is_gone_changes_nothing_more() -> None:
    made = engine(Noting(plan={0: [OrderRequest.buy(X, D(12))]}))
    run(made, candles([10_000.0, 10_000.0, 8_000.0, 8_000.0]))
    for action in CommandAction:
        command = Command(START_NS + 10 * MINUTE_NS, action, "test", "late")
        assert made.step(command) == [command]
    assert made.state.exhausted


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(20, 200), min_size=3, max_size=40), st.integers(-300, 300), st.booleans())
def test_the_run_ends_exactly_when_the_equity_is_gone(prices: list[int], lots: int, quoted: bool) -> None:
    side = Side.BUY if lots > 0 else Side.SELL
    made = engine(Noting(plan={0: [OrderRequest(X, side, D(abs(lots)))]}))
    inputs: list[Input] = list(candles([float(price) for price in prices]))
    if quoted:
        later = quotes([float(price) for price in prices], start_ns=START_NS + MINUTE_NS)
        inputs = [inputs[0], *later]
    outputs: list[Any] = []
    for event in inputs:
        gone = made.state.exhausted
        outputs += made.step(event)
        assert made.state.exhausted or made.valuation.equity() > 0
        assert not gone or not only(EquityExhausted, outputs[-1:])
    assert len(only(EquityExhausted, outputs)) == int(made.state.exhausted)
    assert all(end.reason for end in only(OrderEnded, outputs))
