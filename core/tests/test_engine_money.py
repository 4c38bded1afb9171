"""The engine's figures equal what anybody can recompute from its rows: equity, drawdown, the day's start."""

from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, localcontext
from random import Random
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.events import LiquidationSettled, OrderFilled
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.market import Candle, Quote
from lab.domain.orders import OrderRequest, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with
from lab.testing.harness import Action, ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

D = Decimal
ONE = D(1)
X, Y = "BTCUSDT", "ETHUSDT"
DEPOSIT = D(10_000)


@define(kw_only=True, eq=False)
class Steered(Strategy):
    """Asks at each quote or candle for the next signed quantity of its list; 0 is nothing."""

    plan: Sequence[tuple[str, Decimal]] = ()
    place: int = field(init=False, default=0)
    views: list[View] = field(init=False, factory=list)

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        return self.next()

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        return self.next()

    def next(self) -> Iterable[Action]:
        symbol, quantity = self.plan[self.place] if self.place < len(self.plan) else (X, ZERO)
        self.place += 1
        side = Side.BUY if quantity > 0 else Side.SELL
        return [OrderRequest(symbol, side, abs(quantity))] if quantity else ()


class Naive:
    """Recomputes equity and drawdown from fills and prices, in 100 digits, after every event."""

    def __init__(self, deposit: Decimal) -> None:
        self.fills: list[OrderFilled] = []
        self.marks: dict[str, tuple[Decimal, Decimal]] = {}
        self.held: dict[tuple[str, str], Decimal] = {}
        self.cash = self.equity = self.peak = deposit
        self.drawdown = ZERO

    def see(self, event: Input, outputs: Sequence[object]) -> None:
        if isinstance(event, Quote):
            self.marks[event.symbol] = (D(repr(event.bid)), D(repr(event.ask)))
        elif isinstance(event, Candle):
            self.marks[event.symbol] = (D(repr(event.close)), D(repr(event.close)))
        with localcontext(Context(prec=100)):
            for output in outputs:
                if isinstance(output, OrderFilled):
                    fill = output.fill
                    signed = fill.quantity if output.side is Side.BUY else -fill.quantity
                    book = (output.strategy, output.symbol)
                    self.fills.append(output)
                    self.cash -= signed * fill.price + fill.fee
                    self.held[book] = self.held.get(book, ZERO) + signed
            self._look()
            for output in outputs:
                if isinstance(output, LiquidationSettled):
                    self.cash += output.insurance - output.fee
            self._look()

    def _look(self) -> None:
        self.equity = self.cash
        for (_, symbol), quantity in self.held.items():
            if quantity:
                self.equity += quantity * self.marks[symbol][0 if quantity > 0 else 1]
        self.peak = max(self.peak, self.equity)
        self.drawdown = max(self.drawdown, self.peak - self.equity)


def engine(*strategies: Strategy, known: Sequence[Instrument] = (), latency_ms: int = 0, **more: Any) -> Engine:
    broker = SimpleBroker(latency_ms=latency_ms)
    return engine_with(strategies, broker=broker, instruments=known, deposit=DEPOSIT, **more)


def check(made: Engine, events: Iterable[Input]) -> Naive:
    """Step the events and compare equity and drawdown with the naive recomputation after each."""
    naive = Naive(DEPOSIT * len(made.strategies))
    for number, event in enumerate(events):
        naive.see(event, made.step(event))
        assert made.valuation.equity() == naive.equity, f"equity at event {number}: {event}"
        totals = made.counters
        assert totals.max_drawdown == naive.drawdown, f"drawdown at event {number}: {event}"
        assert totals.peak_equity == naive.peak, f"peak at event {number}: {event}"
    assert made.valuation.equity() == sum(strategy.view.equity for strategy in made.strategies)
    return naive


def path(seed: int, count: int, *, tick: float, start: float, digits: int, symbol: str = X) -> list[Quote]:
    """Return quotes of a seeded walk on the tick, half of them near where they were."""
    random = Random(seed)
    price, made = start, []
    for place in range(count):
        price = max(tick, round(price + tick * random.choice([0, 1, -1, random.randrange(-2_000, 2_001)]), digits))
        ask = round(price + tick * random.randrange(3), digits)
        made.append(Quote(symbol, START_NS + place * SECOND_NS, price, 1.0, ask, 1.0))
    return made


# -- O14 --------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O14")
@settings(max_examples=300)
@given(st.lists(st.integers(-30_000, 30_000), min_size=1, max_size=40), st.integers(0, 10**6))
def test_equity_and_drawdown_on_quotes_equal_an_exact_recomputation_at_every_event(lots: list[int], seed: int) -> None:
    plan = [(X, number * D("0.0001") if number % 3 else ZERO) for number in lots]
    check(engine(Steered(plan=plan)), path(seed, len(plan) + 20, tick=0.1, start=50_000.0, digits=1))


@pytest.mark.behaviour("O14")
@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_two_books_on_one_market_add_up_exactly(first: int, second: int) -> None:
    plans = [
        [(X, D(random.randrange(-5_000, 5_001)) / 1_000 if random.random() < 0.4 else ZERO) for _ in range(60)]
        for random in (Random(first), Random(second))
    ]
    check(engine(*(Steered(plan=plan) for plan in plans)), path(first, 70, tick=0.1, start=50_000.0, digits=1))


@pytest.mark.behaviour("O14")
def test_a_candle_that_fills_an_order_values_it_at_its_own_close_and_not_at_an_older_one() -> None:
    """Bought at 110 and valued at 110, nothing was lost but the fee, whatever the close was before."""
    made = engine(Steered(plan=[(X, ONE)]))
    naive = check_last(made, candles([100.0, 110.0, 110.0]))
    assert naive.drawdown == D("0.066")


def check_last(made: Engine, events: Iterable[Input]) -> Naive:
    """Step the events and compare at the end only."""
    naive = Naive(DEPOSIT * len(made.strategies))
    for event in events:
        naive.see(event, made.step(event))
    assert made.valuation.equity() == naive.equity
    assert (made.counters.peak_equity, made.counters.max_drawdown) == (naive.peak, naive.drawdown)
    return naive


@pytest.mark.behaviour("O14")
@settings(max_examples=100)
@given(st.lists(st.integers(-300, 300), min_size=1, max_size=30), st.integers(0, 10**6))
def test_equity_and_drawdown_on_candles_equal_an_exact_recomputation_at_every_event(lots: list[int], seed: int) -> None:
    random = Random(seed)
    closes = [round(100 + random.randrange(-200, 201) / 10, 1) for _ in range(len(lots) + 10)]
    check(engine(Steered(plan=[(X, D(number) / 100) for number in lots])), candles(closes))


@pytest.mark.behaviour("O14")
def test_the_drawdown_of_two_symbols_is_exact_though_only_one_is_quoted() -> None:
    """Y is bought at 100.2 and quoted at 90: X then moves, and the loss on both counts."""
    known = [instrument(X), instrument(Y)]
    made = engine(Steered(plan=[(X, ONE), (Y, ONE)]), known=known)
    prices = [(X, 100.0), (Y, 100.0), (X, 100.0), (Y, 100.0), (X, 95.0), (X, 99.9), (Y, 99.0), (X, 94.0), (Y, 120.0)]
    events = [
        Quote(symbol, START_NS + place * SECOND_NS, price, 1.0, round(price + 0.2, 1), 1.0)
        for place, (symbol, price) in enumerate(prices)
    ]
    check(made, events)


@pytest.mark.behaviour("O14")
@settings(max_examples=100)
@given(st.integers(0, 10**6))
def test_the_drawdown_of_two_symbols_equals_an_exact_recomputation_at_every_event(seed: int) -> None:
    random = Random(seed)
    known = [instrument(X), instrument(Y)]
    plan = [(X, ZERO)] * 2 + [
        (random.choice([X, Y]), D(random.randrange(-5_000, 5_001)) / 1_000 if random.random() < 0.4 else ZERO)
        for _ in range(58)
    ]
    walks = (
        path(seed, 80, tick=0.1, start=50_000.0, digits=1),
        path(seed + 1, 80, tick=0.1, start=2_000.0, digits=1, symbol=Y),
    )
    pairs = enumerate(zip(*walks, strict=True))
    events = [random.choice(pair)._replace(time_ns=START_NS + place * SECOND_NS) for place, pair in pairs]
    events[:2] = [walk[0]._replace(time_ns=START_NS) for walk in walks]
    check(engine(Steered(plan=plan), known=known), events)


@pytest.mark.behaviour("O14")
def test_a_symbol_is_traded_before_its_first_price() -> None:
    """The order waits; its first candle fills it, and the engine values it at that candle."""
    made = engine(Steered(plan=[(Y, ONE)]), known=[instrument(X), instrument(Y)])
    [first] = candles([100.0])
    [second] = candles([50.0], symbol=Y, start_ns=START_NS + MINUTE_NS)
    check_last(made, [first, second])


@pytest.mark.behaviour("O14")
def test_reported_fees_and_round_trips_equal_those_of_the_fills() -> None:
    made = engine(Steered(plan=[(X, D(quantity)) for quantity in (2, -1, -1, 0, -3, 5, -1, -2)]))
    naive = check(made, path(3, 20, tick=0.1, start=50_000.0, digits=1))
    totals = made.counters
    assert totals.fees_paid == sum(filled.fill.fee for filled in naive.fills)
    assert (totals.fills, totals.orders) == (7, 7)
    assert [filled.position for filled in naive.fills] == [2, 1, 0, -3, 2, 1, -1]
    assert totals.trades == 3  # ended at the third fill, turned at the fifth and at the last


# -- marks ------------------------------------------------------------------------------------------------------------


def test_a_long_is_valued_at_the_bid_and_a_short_at_the_ask() -> None:
    made = engine(Steered(plan=[(X, ONE), (X, D(-2))]))
    view = made.strategies[0].view
    run = [made.step(quote) for quote in quotes([100.0] * 2)]
    assert view.mark(X) == D("99.9")
    assert view.held() == [(X, ONE, D("99.9"))]
    assert run[1]
    made.step(*quotes([100.0], start_ns=START_NS + 5 * SECOND_NS))
    assert view.held() == [(X, D(-1), D("100.1"))]


def test_without_quotes_a_position_is_valued_at_the_close_and_with_them_a_close_moves_nothing() -> None:
    made = engine(Steered(plan=[(X, ONE)]))
    tape = candles([100.0, 100.0, 120.0, 500.0])
    for candle in tape[:3]:
        made.step(candle)
    view = made.strategies[0].view
    assert (view.mark(X), view.equity) == (D(120), DEPOSIT + 20 - D("0.06"))
    made.step(*quotes([110.0], start_ns=tape[2].time_ns))
    made.step(tape[3])
    assert (view.mark(X), view.equity) == (D("109.9"), DEPOSIT + D("9.9") - D("0.06"))


def test_before_any_price_there_is_no_mark_and_equity_is_the_deposit() -> None:
    view = engine(ScriptedStrategy()).strategies[0].view
    assert (view.equity, view.quote(X), view.held()) == (DEPOSIT, None, [])
    with pytest.raises(LookupError, match="no price of BTCUSDT yet"):
        view.mark(X)


# -- the view ---------------------------------------------------------------------------------------------------------


def test_a_strategy_sees_the_shared_market_and_only_its_own_book() -> None:
    made = engine(Steered(plan=[(X, ONE)]), ScriptedStrategy(), leverage=D(5), latency_ms=1_500)
    mine, other = (strategy.view for strategy in made.strategies)
    first, second, third = quotes([100.0, 100.0, 130.0])
    made.step(first)
    assert [len(view.orders(X)) for view in (mine, other)] == [1, 0]
    assert mine.orders(Y) == []
    made.step(second)
    made.step(third)
    assert (mine.strategy, other.strategy) == ("s0", "s1")
    assert mine.quote(X) is other.quote(X) is third
    assert mine.instrument(X) == other.instrument(X) == instrument(X)
    assert (mine.leverage, mine.now_ns) == (D(5), third.time_ns)
    assert [view.position(X).quantity for view in (mine, other)] == [1, 0]
    fee = D("130.1") * D("0.0006")
    assert [view.cash for view in (mine, other)] == [DEPOSIT - fee, DEPOSIT]
    assert [view.equity for view in (mine, other)] == [DEPOSIT - fee - D("0.2"), DEPOSIT]
    for view in (mine, other):
        assert view.session_equity == 2 * DEPOSIT - fee - D("0.2")
        assert view.session_starting_equity == view.day_starting_equity == 2 * DEPOSIT
