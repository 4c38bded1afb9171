"""A view shows the market and the own book, and nothing that it returns can change the run."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import TradingState
from lab.domain.events import OrderFilled, StrategyStopped
from lab.domain.market import Candle, Depth, Funding, Trade
from lab.domain.orders import OrderRequest, OrderType, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.codec import encode
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes, tape, waves
from lab.testing.engines import engine_with, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker, fill_all

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"
DEPOSIT = D(10_000)


@define(kw_only=True, eq=False)
class Averaging(Strategy):
    """Trades by an average of closes, and so by what its view shows."""

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        closes = view.closes(X)
        if len(closes) < 5:
            return ()
        above = candle.close > sum(closes[-5:]) / 5
        held = view.position(X).quantity
        if above and held <= 0:
            return [OrderRequest.buy(X, D("0.01") - held)]
        return [OrderRequest.sell(X, D("0.01") + held)] if not above and held >= 0 else ()


Meddle = Callable[[View], object]


@define(kw_only=True, eq=False)
class Meddling(Averaging):
    """Tries to write to what it is shown, and then trades as the other one does."""

    meddle: Meddle
    refusals: list[str] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        try:
            self.meddle(view)
        except (AttributeError, TypeError, IndexError) as error:
            self.refusals.append(type(error).__name__)
        return super().on_candle(candle, view)


def engine(*strategies: Strategy, symbols: Sequence[str] = (X,), broker: Broker | None = None, **more: Any) -> Engine:
    return engine_with(strategies, broker=broker, instruments=map(instrument, symbols), deposit=DEPOSIT, **more)


def assigning(name: str, value: object, of: Callable[[View], Any]) -> Meddle:
    return lambda view: setattr(of(view), name, value)


def order_of(view: View) -> Any:
    return view.orders()[0]


WRITES: dict[str, Meddle] = {
    "the position's quantity": assigning("quantity", D(1_000), lambda view: view.position(X)),
    "the position's cost": assigning("cost", D(0), lambda view: view.position(X)),
    "candles cleared": lambda view: view.candles(X).clear(),  # type: ignore[attr-defined]
    "candles reversed": lambda view: view.candles(X).reverse(),  # type: ignore[attr-defined]
    "a candle appended": lambda view: view.candles(X).append(view.candles(X)[0]),  # type: ignore[attr-defined]
    "candles sorted": lambda view: view.candles(X).sort(),  # type: ignore[attr-defined]
    "a candle set": lambda view: view.candles(X).__setitem__(0, None),  # type: ignore[attr-defined]
    "a candle deleted": lambda view: view.candles(X).__delitem__(0),  # type: ignore[attr-defined]
    "a candle's close": assigning("close", 1.0, lambda view: view.candles(X)[0]),
    "a close": lambda view: view.closes(X).__setitem__(0, 1.0),
    "a column": lambda view: view.column(X, "high").__setitem__(0, 1.0),
    "a quote": assigning("bid", 1.0, lambda view: view.quote(X)),
    "the instrument": assigning("taker_fee_rate", D(0), lambda view: view.instrument(X)),
    "the symbols": lambda view: view.symbols.append("Z"),  # type: ignore[attr-defined]
    "the cash": assigning("cash", D(10**9), lambda view: view),
    "the equity": assigning("equity", D(10**9), lambda view: view),
    "the time": assigning("now_ns", 0, lambda view: view),
    "the day's start": assigning("day_starting_equity", D(0), lambda view: view),
    "the halt reasons": lambda view: view.halt_reasons.append("x"),  # type: ignore[attr-defined]
    "an attribute of its own": assigning("memory", 1, lambda view: view),
    "an order": assigning("remaining", D(0), order_of),
    "an order's side": assigning("side", Side.SELL, order_of),
}
COPIES: dict[str, Meddle] = {
    "what is held": lambda view: list(view.held()).clear(),
    "the list of what is held": lambda view: view.held().clear(),
    "the list of orders": lambda view: view.orders().clear(),
    "a slice of candles": lambda view: list(view.candles(X)[:3]).reverse(),
}


@pytest.mark.behaviour("O14", "P6")
@pytest.mark.parametrize("name", [*WRITES, *COPIES])
def test_a_strategy_that_writes_to_what_it_is_shown_changes_neither_its_own_run_nor_anothers(name: str) -> None:
    inputs = tape(waves(80))
    resting = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))
    expected = engine(Averaging(), ScriptedStrategy(plan={0: [resting]}))
    outputs = run(expected, inputs)
    meddling = Meddling(meddle={**WRITES, **COPIES}[name])
    made = engine(meddling, ScriptedStrategy(plan={0: [resting]}))
    assert [encode(output) for output in run(made, inputs)] == [encode(output) for output in outputs]
    assert made.valuation.equity() == expected.valuation.equity()
    assert len([output for output in outputs if isinstance(output, OrderFilled)]) > 10
    if name in WRITES:
        assert len(meddling.refusals) == 80
    for strategy in made.strategies:
        strategy.book.ledger.check_balance()


def test_a_strategy_that_clears_its_list_of_orders_has_cleared_a_copy() -> None:
    seen: list[int] = []

    class Clearing(ScriptedStrategy):
        def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
            orders = list(view.orders())
            seen.append(len(orders))
            orders.clear()
            return super().on_candle(candle, view)

    resting = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))
    made = engine(Clearing(plan={0: [resting]}))
    assert not [output for output in run(made, candles([100.0] * 4)) if isinstance(output, StrategyStopped)]
    assert seen == [0, 1, 1, 1]


def test_candles_are_a_sequence_that_is_always_up_to_date() -> None:
    made = engine(ScriptedStrategy())
    shown = made.strategies[0].view.candles(X)
    assert (len(shown), list(shown), bool(shown)) == (0, [], False)
    some = candles([100.0, 101.0, 102.0])
    run(made, some)
    assert (len(shown), list(shown), list(reversed(shown))) == (3, some, some[::-1])
    assert (shown[0], shown[-1], shown[1:], shown[::-2]) == (some[0], some[-1], tuple(some[1:]), tuple(some[::-2]))
    assert shown == some
    assert shown == tuple(some)
    assert shown != some[:2]
    assert shown != 3
    assert (some[1] in shown, shown.index(some[1]), shown.count(some[2])) == (True, 1, 1)
    assert repr(shown).startswith("Candles([Candle(symbol='BTCUSDT'")
    with pytest.raises(IndexError):
        shown[3]
    with pytest.raises(TypeError, match="unhashable"):
        hash(shown)


def test_orders_of_all_symbols_or_of_one_are_shown_oldest_first_with_what_remains() -> None:
    limit = {"type": OrderType.LIMIT, "limit": D(1)}
    plan = {
        0: [OrderRequest.buy(X, D(1), **limit), OrderRequest.buy(Y, D(2), **limit), OrderRequest.buy(X, D(3), **limit)]
    }

    def halves(broker: ScriptedBroker, event: Any) -> Any:
        return [broker.fill(order, event, D("0.5")) for order in broker.orders.values() if order.symbol == event.symbol]

    broker = ScriptedBroker(script=halves, latency_ns=SECOND_NS, price=D(100))
    made = engine(ScriptedStrategy(plan=plan), ScriptedStrategy(), symbols=(X, Y), broker=broker)
    view, other = (strategy.view for strategy in made.strategies)
    assert (view.orders(), view.orders(X)) == ((), ())
    first, second = candles([100.0, 100.0])
    run(made, [first])
    assert [(order.symbol, order.quantity) for order in view.orders()] == [(X, 1), (Y, 2), (X, 3)]
    assert [order.quantity for order in view.orders(X)] == [1, 3]
    assert [order.quantity for order in view.orders(Y)] == [2]
    assert {order.eligible_ns for order in view.orders()} == {first.time_ns + SECOND_NS}
    run(made, [second])
    assert [(order.quantity, order.remaining) for order in view.orders()] == [(1, D("0.5")), (2, 2), (3, D("2.5"))]
    assert other.orders() == ()


def test_a_view_names_the_symbols_and_why_trading_is_halted() -> None:
    made = engine(ScriptedStrategy(), symbols=(X, Y))
    view = made.strategies[0].view
    assert (view.symbols, view.halt_reasons) == ((X, Y), ())
    made.step(TradingState(START_NS, ("stale",)))
    assert view.halt_reasons == ("stale",)


# -- trades, depth, funding -------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False)
class Watching(Strategy):
    """Notes trades and depth, and buys on each."""

    seen: list[object] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        return ()

    def on_trade(self, trade: Trade, view: View) -> Iterable[OrderRequest]:
        assert view.trade(X) is trade
        self.seen.append(trade)
        return [OrderRequest.buy(X, D(1))]

    def on_depth(self, depth: Depth, view: View) -> Iterable[OrderRequest]:
        assert view.depth(X) is depth
        self.seen.append(depth)
        return [OrderRequest.sell(X, D(1))]


TRADE = Trade(X, START_NS, 100.0, 1.0, Side.SELL)
DEPTH = Depth(X, START_NS + SECOND_NS, ((99.9, 1.0), (99.8, 2.0)), ((100.1, 3.0),))
RATE = Funding(X, START_NS + 2 * SECOND_NS, 0.0001, START_NS + MINUTE_NS, 100.0)


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_trades_and_depth_reach_those_who_ask_for_them_and_every_view(record: bool, several: bool) -> None:
    strategies = [Watching(), ScriptedStrategy()] if several else [Watching()]
    made = engine(*strategies, record_inputs=record)
    views = [strategy.view for strategy in made.strategies]
    assert [(view.trade(X), view.depth(X), view.funding(X)) for view in views] == [(None, None, None)] * len(views)
    outputs = run(made, [TRADE, DEPTH, RATE])
    assert [(view.trade(X), view.depth(X), view.funding(X)) for view in views] == [(TRADE, DEPTH, RATE)] * len(views)
    assert strategies[0].seen == [TRADE, DEPTH]  # type: ignore[attr-defined]
    assert [output for output in outputs if output in (TRADE, DEPTH, RATE)] == ([TRADE, DEPTH, RATE] if record else [])
    ids = [order.id for order in views[0].orders()]
    assert ids == [f"l-s0-{X}-t{TRADE.time_ns}-1", f"l-s0-{X}-d{DEPTH.time_ns}-1"]
    assert made.state.now_ns == DEPTH.time_ns


@pytest.mark.behaviour("O1")
def test_depth_older_than_the_newest_is_counted_and_neither_kept_nor_shown_nor_met() -> None:
    watching, broker = Watching(), ScriptedBroker()
    made = engine(watching, broker=broker)
    older = DEPTH._replace(time_ns=DEPTH.time_ns - 1, asks=((90.0, 1.0),))
    outputs = run(made, [DEPTH, older])
    assert len(outputs) == 2, "the order on the first, and the row it came of"
    assert made.strategies[0].view.depth(X) is DEPTH
    assert watching.seen == [DEPTH]
    assert [event for event, _ in broker.seen] == [DEPTH]
    assert (made.counters.quotes, made.counters.late_quotes) == (0, 1)
    run(made, [DEPTH._replace(bids=())])
    assert made.strategies[0].view.depth(X) == DEPTH._replace(bids=()), "of two at the same time the later one counts"


@pytest.mark.parametrize("event", [TRADE, DEPTH])
def test_trades_and_depth_meet_working_orders_and_are_rows_only_where_something_followed(event: Trade | Depth) -> None:
    broker = ScriptedBroker(script=fill_all, price=D(100))
    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, D(1))]}), broker=broker)
    [candle] = candles([100.0])
    run(made, [candle])
    assert [type(output) for output in made.step(event._replace(time_ns=candle.time_ns))] == [type(event), OrderFilled]
    assert made.step(event._replace(time_ns=candle.time_ns)) == []


def test_a_symbol_that_is_no_market_of_the_run_is_named_with_those_that_are() -> None:
    view = engine(ScriptedStrategy()).strategies[0].view
    asks: list[Callable[[str], object]] = [
        view.candles, view.closes, view.quote, view.trade, view.depth, view.funding, view.instrument, view.mark,
        lambda symbol: view.column(symbol, "high"),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(LookupError, match=rf"^'FOO' is no market of this run; known: {', '.join(view.symbols)}$"):
            ask("FOO")


def test_quotes_alone_set_the_mark_whatever_trades_and_depth_say() -> None:
    made = engine(ScriptedStrategy(plan={0: [OrderRequest.buy(X, D(1))]}))
    [candle] = candles([100.0])
    run(made, [candle, *quotes([100.0], start_ns=candle.time_ns + SECOND_NS)])
    before = made.valuation.equity()
    run(made, [TRADE._replace(price=1.0), DEPTH._replace(bids=((1.0, 1.0),))])
    assert made.valuation.equity() == before
