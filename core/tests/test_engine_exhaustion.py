"""A run whose books are all liquidated ends: once, with everything closed, and nothing recovers afterwards."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.control import Command, CommandAction
from lab.domain.events import EquityExhausted, Liquidated, LiquidationSettled, OrderEnded, OrderFilled
from lab.domain.instrument import MarginTier
from lab.domain.market import Candle, Quote
from lab.domain.orders import OrderRequest, OrderType, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import Strategy
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


@pytest.mark.behaviour("O11", "O14", "S3")
def test_twelve_coins_on_ten_thousand_do_not_come_back_from_a_fall_of_a_tenth() -> None:
    """Bought at 10,000, marked at 9,000 for ten minutes, then at 10,500: the run ended at the first 9,000."""
    strategy = Noting(plan={0: [OrderRequest.buy(X, D(12)), RESTING]})
    made = engine(strategy)
    outputs = run(made, candles([10_000.0, 10_000.0] + [9_000.0] * 10 + [10_500.0] * 10))
    [exhausted] = only(EquityExhausted, outputs)
    assert exhausted.equity == D(10_000) - 12_000 - 72 == D(-2_072)
    place = outputs.index(exhausted)
    liquidated, cancelled, closing = outputs[place - 3 : place]
    assert (liquidated.balance, liquidated.maintenance) == (D(-2_072), 12 * 9_000 * D("0.005"))
    assert (cancelled.outcome, cancelled.reason) == ("cancelled", "liquidated")
    assert (closing.side, closing.quantity, closing.reduce_only) == (Side.SELL, 12, True)
    assert closing.reason == "liquidated"
    assert [filled.position for filled in only(OrderFilled, outputs)] == [12, 0]
    [settled] = only(LiquidationSettled, outputs)
    assert settled.insurance == 2_072 + D("64.8")
    assert made.valuation.equity() == 0
    assert made.counters.max_drawdown == 10_000 + settled.insurance
    assert made.state.exhausted
    assert made.state.stopping
    assert not made.state.working
    assert strategy.calls == ["on_candle", "on_fill", "on_candle"]
    assert made.counters.decisions == 2


@pytest.mark.behaviour("O11", "P6")
def test_on_quotes_a_book_is_liquidated_at_the_first_mark_that_asks_for_it_and_the_other_strategy_goes_on() -> None:
    """30 sold at 99.9 on 1,000: 1,000 - 1.7982 - 30 x (mark - 99.9) = 0.5 % of 30 x mark, at 132.5109."""
    going_on, ruined = Noting(plan={}), Noting(plan={0: [OrderRequest.sell(X, D(30))]})
    made = engine(going_on, ruined, deposit=1_000)
    [candle] = candles([100.0])
    outputs = run(made, [candle])
    start_ns = candle.time_ns + SECOND_NS
    for number, quote in enumerate(quotes([100.0, 100.0, 132.5, 132.6, 166.3, 10.0], start_ns=start_ns)):
        outputs += made.step(quote)
        assert len(only(Liquidated, outputs)) == int(number >= 3)
    assert made.strategies[1].view.liquidation_price(X) is None
    [settled] = only(LiquidationSettled, outputs)
    fee = 30 * (D("99.9") + D("166.4")) * D("0.0006")
    assert settled.insurance == 30 * (D("166.4") - D("99.9")) + fee - 1_000
    assert [strategy.view.equity for strategy in made.strategies] == [1_000, 0]
    assert going_on.calls.count("on_quote") == 6
    assert ruined.calls.count("on_quote") == 3
    assert not made.state.exhausted


def test_a_fill_that_takes_the_last_cent_ends_the_run_too() -> None:
    """The fee alone is more than there is."""
    made = engine(Noting(plan={0: [OrderRequest.buy(X, D(200_000))]}))
    outputs = run(made, candles([100.0] * 4))
    [exhausted] = only(EquityExhausted, outputs)
    assert exhausted.equity == D(10_000) - 12_000
    assert [filled.position for filled in only(OrderFilled, outputs)] == [200_000, 0]


def test_a_flat_book_whose_fees_took_the_last_cent_is_liquidated_and_owes_nothing() -> None:
    free = instrument(X, taker_fee_rate=D("0.01"))
    plan = {0: [OrderRequest.buy(X, D(50))], 1: [OrderRequest.sell(X, D(50))]}
    made = engine_with([Noting(plan=plan)], broker=SimpleBroker(latency_ms=0), instruments=[free], deposit=D(80))
    outputs = run(made, candles([100.0, 100.0, 100.0, 100.0]))
    [liquidated] = only(Liquidated, outputs)
    [settled] = only(LiquidationSettled, outputs)
    assert (liquidated.positions, liquidated.balance) == ((), D(-20))
    assert (settled.symbols, settled.insurance, made.valuation.equity()) == ((), D(20), 0)
    assert made.state.exhausted


def test_at_the_maintenance_margin_a_book_is_liquidated_and_one_unit_above_it_is_not() -> None:
    """10,000 coins at 100 on 10,000; at 99 there is 10,000 - 10,000 = 0 left without maintenance margin."""
    for lost, ends in ((D(10_000), True), (D("9999.999999"), False)):
        tiers = (MarginTier(maintenance_rate=D(0)),)
        free = instrument(X, taker_fee_rate=D(0), lot=D("0.000001"), quantity_min=D("0.000001"), tiers=tiers)
        strategy = ScriptedStrategy(plan={0: [OrderRequest.buy(X, lost)]})
        made = engine_with([strategy], broker=SimpleBroker(latency_ms=0), instruments=[free])
        run(made, candles([100.0, 100.0, 99.0]))
        assert made.state.exhausted is ends


@pytest.mark.behaviour("P6")
def test_a_book_is_liquidated_by_its_own_equity_and_the_run_ends_with_the_last_of_them() -> None:
    made = engine(
        Noting(plan={0: [OrderRequest.buy(X, D(12))]}),
        Noting(plan={0: [OrderRequest.buy(Y, D(100))]}),
        symbols=(X, Y),
    )
    run(made, [*candles([10_000.0] * 2), *candles([1_000.0] * 2, symbol=Y)])
    outputs = run(made, candles([9_200.0, 9_200.0, 20_000.0], start_ns=START_NS + 2 * MINUTE_NS))
    assert [one.strategy for one in only(Liquidated, outputs)] == ["s0"]
    assert not made.state.exhausted
    outputs = run(made, candles([900.0, 900.0, 2_000.0], symbol=Y, start_ns=START_NS + 5 * MINUTE_NS))
    assert [one.strategy for one in only(Liquidated, outputs)] == ["s1"]
    [exhausted] = only(EquityExhausted, outputs)
    assert exhausted.equity == made.strategies[0].view.equity + 10_000 - 10_000 - 60
    assert made.state.exhausted
    assert all(not strategy.view.held() for strategy in made.strategies)
    assert all(not strategy.view.orders() for strategy in made.strategies)


def test_a_command_after_the_equity_is_gone_changes_nothing_more() -> None:
    made = engine(Noting(plan={0: [OrderRequest.buy(X, D(12))]}))
    run(made, candles([10_000.0, 10_000.0, 8_000.0, 8_000.0]))
    for action in CommandAction:
        command = Command(START_NS + 10 * MINUTE_NS, action, "test", "late")
        assert made.step(command) == [command]
    assert made.state.exhausted


@settings(max_examples=200)
@given(st.lists(st.integers(20, 200), min_size=3, max_size=40), st.integers(-300, 300), st.booleans())
def test_a_book_is_liquidated_exactly_when_its_equity_is_down_to_the_maintenance_margin(
    prices: list[int], lots: int, quoted: bool
) -> None:
    side = Side.BUY if lots > 0 else Side.SELL
    made = engine(Noting(plan={0: [OrderRequest(X, side, D(abs(lots)))]}))
    inputs: list[Input] = list(candles([float(price) for price in prices]))
    if quoted:
        later = quotes([float(price) for price in prices], start_ns=START_NS + MINUTE_NS)
        inputs = [inputs[0], *later]
    outputs: list[Any] = []
    view = made.strategies[0].view
    for event in inputs:
        gone = made.state.exhausted
        outputs += made.step(event)
        held = view.position(X)
        backing = view.cash + held.quantity * view.margin_mark(X) - held.cost
        assert made.state.exhausted or backing > view.maintenance_margin or not (held.quantity or backing <= 0)
        assert not gone or not only(EquityExhausted, outputs[-1:])
    for liquidated in only(Liquidated, outputs):
        assert liquidated.balance <= liquidated.maintenance
    assert len(only(EquityExhausted, outputs)) == len(only(Liquidated, outputs)) == int(made.state.exhausted)
    assert view.held() or not made.state.exhausted or view.equity >= 0
    assert all(end.reason for end in only(OrderEnded, outputs))
