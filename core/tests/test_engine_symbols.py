"""Several symbols in one engine: who is shown which, and the trading gate of each."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Command, CommandAction, SymbolState, TradingState
from lab.domain.events import AmendRefused, OrderAccepted, Signal
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import AmendRequest, OrderRequest, OrderType, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes, waves
from lab.testing.engines import engine_with, only, run
from lab.testing.scripted_broker import ScriptedBroker

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"


@define(kw_only=True, eq=False)
class Watching(Strategy):
    """Notes what it is shown, and asks for what its plan says at a number of candles of all."""

    symbols: Sequence[str] = ()
    need: int = 1
    plan: dict[int, list[Any]] = field(factory=dict)
    shown: list[tuple[str, str]] = field(init=False, factory=list)

    @property
    def lookback(self) -> int:
        return self.need

    def on_candle(self, candle: Candle, view: View) -> Iterable[Any]:
        self.shown.append(("candle", candle.symbol))
        return self.plan.get(sum(kind == "candle" for kind, _ in self.shown), ())

    def on_quote(self, quote: Quote, view: View) -> Iterable[Any]:
        self.shown.append(("quote", quote.symbol))
        return ()

    def on_trade(self, trade: Trade, view: View) -> Iterable[Any]:
        self.shown.append(("trade", trade.symbol))
        return ()

    def on_depth(self, depth: Depth, view: View) -> Iterable[Any]:
        self.shown.append(("depth", depth.symbol))
        return ()


def engine(*strategies: Strategy, **more: Any) -> Engine:
    return engine_with(strategies, instruments=[instrument(X), instrument(Y)], **more)


def minutes(count: int) -> list[Candle]:
    """Return so many candles of each symbol, in turn."""
    both = [candles(waves(count, seed=seed), symbol=symbol) for seed, symbol in enumerate((X, Y))]
    return [candle for moment in zip(*both, strict=True) for candle in moment]


def everything(symbol: str) -> list[Any]:
    """Return market data of every kind that a strategy is shown."""
    at_ns = START_NS + SECOND_NS
    return [
        *candles([100.0], symbol=symbol), *quotes([100.0], symbol=symbol, start_ns=at_ns + MINUTE_NS),
        Trade(symbol, at_ns + MINUTE_NS, 100.0, 1.0, Side.BUY),
        Depth(symbol, at_ns + MINUTE_NS, ((99.0, 1.0),), ((101.0, 1.0),)),
    ]  # fmt: skip


@pytest.mark.behaviour("S13")
def test_a_strategy_is_shown_the_symbols_it_names_and_one_that_names_none_all() -> None:
    one, all_ = Watching(symbols=[Y]), Watching()
    made = engine(one, all_)
    run(made, [*everything(X), *everything(Y)])
    kinds = ("candle", "quote", "trade", "depth")
    assert one.shown == [(kind, Y) for kind in kinds]
    assert all_.shown == [(kind, symbol) for symbol in (X, Y) for kind in kinds]
    assert made.strategies[0].view.symbols == (X, Y), "its view knows all of the run"


def test_a_decision_is_counted_for_those_who_were_asked() -> None:
    made = engine(Watching(symbols=[X], need=4), Watching(symbols=[Y]), Watching())
    run(made, minutes(10))
    counted = made.counters
    assert counted.candles == 20
    assert counted.decisions == 7 + 10 + 20


def test_a_strategy_that_is_stopped_keeps_what_it_decided_on_its_own_symbols() -> None:
    made = engine(Watching(symbols=[X], plan={3: [object()]}), Watching(symbols=[Y]))
    run(made, minutes(10))
    assert made.strategies[0].failed
    assert made.counters.decisions == 3 + 10


def buy(symbol: str, **more: Any) -> OrderRequest:
    return OrderRequest.buy(symbol, D("0.01"), **more)


@pytest.mark.behaviour("V1")
def test_a_symbol_that_is_halted_takes_no_entry_and_the_other_does() -> None:
    strategy = Watching(plan={1: [buy(X), buy(Y)], 3: [buy(X), buy(Y)]})
    made = engine(strategy)
    stream = minutes(3)
    run(made, [TradingState(START_NS, ()), SymbolState(START_NS, Y, ("quote stale",))])
    outputs = run(made, stream[:2])
    assert [one.symbol for one in only(OrderAccepted, outputs)] == [X]
    [signal] = only(Signal, outputs)
    assert (signal.request.symbol, signal.why) == (Y, "halted: quote stale")
    run(made, [SymbolState(stream[1].time_ns, Y, ())])
    assert [one.symbol for one in only(OrderAccepted, run(made, stream[2:]))] == [X, Y]


def test_a_symbol_that_is_halted_may_be_closed() -> None:
    strategy = Watching(plan={1: [buy(Y)], 5: [OrderRequest.sell(Y, D("0.01"), reduce_only=True)]})
    made = engine(strategy)
    stream = minutes(4)
    run(made, [*stream[:4], SymbolState(stream[3].time_ns, Y, ("warm-up",))])
    assert made.strategies[0].view.position(Y).quantity == D("0.01")
    assert [one.symbol for one in only(OrderAccepted, run(made, stream[4:]))] == [Y]


def test_what_halts_the_run_halts_each_symbol_with_its_own_reasons_behind() -> None:
    made = engine(Watching())
    view = made.strategies[0].view
    run(made, [SymbolState(START_NS, Y, ("quote stale",)), TradingState(START_NS, ("clock",))])
    assert (view.halted_by, view.halt_reasons) == (("clock",), ("clock",))
    assert (view.halted(X), view.halted(Y)) == (("clock",), ("clock", "quote stale"))
    run(made, [Command(START_NS, CommandAction.PAUSE, "me", "lunch")])
    assert made.state.markets[Y].halt_reasons == ("clock", "paused by me: lunch", "quote stale")
    run(made, [TradingState(START_NS, ()), Command(START_NS, CommandAction.RESUME, "me", "")])
    assert made.state.markets[X].halt_reasons == ()
    assert made.state.markets[Y].halt_reasons == view.halted(Y) == ("quote stale",)
    with pytest.raises(LookupError, match="'Z' is no market of this run"):
        view.halted("Z")


def test_an_order_of_a_halted_symbol_is_not_enlarged_and_one_of_another_is() -> None:
    rest = {"type": OrderType.LIMIT, "limit": D(1)}
    strategy = Watching(plan={1: [buy(X, leg="rests", **rest), buy(Y, leg="rests", **rest)]})
    made = engine(strategy, broker=ScriptedBroker())
    stream = minutes(3)
    outputs = run(made, stream[:2])
    ids = {one.symbol: one.order_id for one in only(OrderAccepted, outputs)}
    strategy.plan[3] = [AmendRequest(ids[symbol], quantity=D("0.02")) for symbol in (X, Y)]
    outputs = run(made, [SymbolState(stream[1].time_ns, Y, ("quote stale",)), *stream[2:]])
    [refused] = only(AmendRefused, outputs)
    assert (refused.request.order_id, refused.reason) == (ids[Y], "trading is halted")
    assert refused.numbers == {"reasons": "quote stale"}


def test_the_state_of_a_symbol_is_a_row_of_a_session_and_none_of_a_backtest() -> None:
    event = SymbolState(START_NS, Y, ("quote stale",))
    assert list(engine(Watching()).step(event)) == [event]
    assert list(engine(Watching(), record_inputs=False).step(event)) == []
