"""Different decisions have different orders, whatever their times; the same one has one outcome."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.events import OrderAccepted, OrderRefused
from lab.domain.inputs import Input
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import CancelRequest, OrderRequest, Side
from lab.domain.time import MILLISECOND_NS, MINUTE_NS
from lab.engine.view import View
from lab.ports import Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"


@define(kw_only=True, eq=False)
class Eager(Strategy):
    """Buys one of each of its symbols on everything, and lets the engine name the orders."""

    symbols: tuple[str, ...] = (X,)
    asked: int = field(init=False, default=0)

    def _ask(self) -> Iterable[OrderRequest | CancelRequest]:
        self.asked += len(self.symbols)
        return [OrderRequest.buy(symbol, D(1)) for symbol in self.symbols]

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest | CancelRequest]:
        return self._ask()

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest | CancelRequest]:
        return self._ask()

    def on_trade(self, trade: Trade, view: View) -> Iterable[OrderRequest | CancelRequest]:
        return self._ask()

    def on_depth(self, depth: Depth, view: View) -> Iterable[OrderRequest | CancelRequest]:
        return self._ask()

    @property
    def timer_ns(self) -> int:
        return MINUTE_NS

    def on_timer(self, now_ns: int, view: View) -> Iterable[OrderRequest | CancelRequest]:
        return self._ask()


def run(inputs: Iterable[Input], *strategies: Eager, symbols: tuple[str, ...] = (X,)) -> list[Any]:
    broker, known = SimpleBroker(latency_ms=0), map(instrument, symbols)
    made = engine_with(strategies, broker=broker, instruments=known, deposit=D(10**9))
    return [output for event in inputs for output in made.step(event)]


@pytest.mark.behaviour("O12")
def test_a_decision_on_a_quote_and_one_on_the_candle_that_opened_at_its_time_are_two_orders() -> None:
    [candle] = candles([100.0])
    [quote] = quotes([100.0], start_ns=candle.open_ns)
    accepted = only(OrderAccepted, run([quote, candle], Eager()))
    assert [order.order_id for order in accepted[:2]] == [f"l-s0-{X}-q{START_NS}-1", f"l-s0-{X}-m{candle.time_ns}-1"]
    assert accepted[2].order_id == f"l-s0-{X}-c{START_NS}-1"


@pytest.mark.behaviour("O12")
def test_decisions_on_several_quotes_of_one_time_are_as_many_orders() -> None:
    same = [quote._replace(time_ns=START_NS) for quote in quotes([100.0, 101.0, 102.0])]
    later = quotes([103.0], start_ns=START_NS + 1)
    outputs = run([*same, *later], Eager())
    assert [order.order_id for order in only(OrderAccepted, outputs)] == [
        f"l-s0-{X}-q{START_NS}-1",
        f"l-s0-{X}-q{START_NS}.2-1",
        f"l-s0-{X}-q{START_NS}.3-1",
        f"l-s0-{X}-q{START_NS + 1}-1",
    ]


@pytest.mark.behaviour("O12")
def test_two_strategies_that_decide_on_the_same_quotes_have_ids_of_their_own() -> None:
    same = [quote._replace(time_ns=START_NS) for quote in quotes([100.0, 101.0])]
    accepted = only(OrderAccepted, run(same, Eager(), Eager()))
    assert [order.order_id for order in accepted] == [
        f"l-s{strategy}-{X}-q{START_NS}{number}-1" for number in ("", ".2") for strategy in (0, 1)
    ]


KINDS = st.sampled_from(["quote", "trade", "depth", "candle"])


@pytest.mark.behaviour("O12")
@given(st.lists(st.tuples(KINDS, st.integers(-2, 3), st.sampled_from([X, Y])), max_size=30), st.booleans())
def test_no_decision_is_ever_taken_for_another_one(events: list[tuple[str, int, str]], both: bool) -> None:
    """Times stand still, go on, and go back by some milliseconds, as a venue's do; no request is a duplicate."""
    inputs: list[Input] = []
    time_ns, opened = START_NS, {X: 0, Y: 0}
    for kind, step, symbol in events:
        time_ns = max(START_NS, time_ns + step * MILLISECOND_NS)
        if kind == "quote":
            inputs.append(Quote(symbol, time_ns, 99.9, 1.0, 100.1, 1.0))
        elif kind == "trade":
            inputs.append(Trade(symbol, time_ns, 100.0, 1.0, Side.BUY))
        elif kind == "depth":
            inputs.append(Depth(symbol, time_ns, ((99.9, 1.0),), ((100.1, 1.0),)))
        else:
            open_ns = START_NS + opened[symbol] * MINUTE_NS
            opened[symbol] += 1
            inputs.append(Candle(symbol, open_ns, open_ns + MINUTE_NS, 100.0, 100.0, 100.0, 100.0, 1.0))
    strategy = Eager(symbols=(X, Y) if both else (Y,))
    outputs = run(inputs, strategy, symbols=(X, Y))
    assert not only(OrderRefused, outputs)
    assert len(only(OrderAccepted, outputs)) == strategy.asked


@pytest.mark.behaviour("O12")
def test_an_order_of_another_symbol_than_the_one_decided_on_has_an_id_of_its_own() -> None:
    [first], [second] = candles([100.0]), candles([100.0], symbol=Y)
    outputs = run([first, second], Eager(symbols=(X, Y)), symbols=(X, Y))
    assert not only(OrderRefused, outputs)
