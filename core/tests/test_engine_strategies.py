"""Strategies share the market and never each other's money; one that raises is stopped alone; a stop is orderly."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Command, CommandAction
from lab.domain.events import Deposited, Fill, OrderAccepted, OrderEnded, OrderFilled, StrategyStopped
from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED, Candle, Quote
from lab.domain.orders import Accepted, CancelRequest, Ended, Order, OrderRequest, OrderType, Rejected, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.codec import encode
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes, tape, waves
from lab.testing.engines import only
from lab.testing.harness import Action, ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

D = Decimal
ONE = D(1)
DEPOSIT = D(10_000)
X = "BTCUSDT"
BUY, SELL = OrderRequest.buy(X, ONE), OrderRequest.sell(X, ONE)
RESTING = OrderRequest.buy(X, ONE, type=OrderType.LIMIT, limit=ONE)
STOP = Command(START_NS + 100 * MINUTE_NS, CommandAction.KILL, "test", "time is up")


@define(kw_only=True, eq=False)
class Trading(Strategy):
    """Trades at random, as its seed says, and notes all it is asked and told."""

    seed: int = 0
    notes: list[object] = field(init=False, factory=list)
    _random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.seed)

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        self.notes.append((candle, view.position(X).quantity, view.cash, view.equity, len(view.orders(X))))
        side = self._random.choice(list(Side))
        quantity = D(self._random.randrange(1, 20)) / 100
        limit = D(repr(candle.close)) if self._random.random() < 0.3 else None
        yield OrderRequest(X, side, quantity, OrderType.MARKET if limit is None else OrderType.LIMIT, limit)
        if self._random.random() < 0.2:
            yield from (CancelRequest(order.id) for order in view.orders(X))

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        self.notes.append((quote, view.position(X).quantity, view.equity))
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.notes.append((fill, view.position(X).quantity))

    def on_end(self, end: OrderEnded, view: View) -> None:
        self.notes.append(end)


@define(kw_only=True, eq=False)
class Failing(Trading):
    """Trades until the method named is called for the n-th time, and raises there."""

    where: str
    after: int = 5
    how: Callable[[], Iterable[Any]] | None = None
    calls: int = field(init=False, default=0)

    def _fail(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            if self.calls >= self.after:
                raise ZeroDivisionError(f"in {where}")

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        self._fail("on_candle")
        asked = list(super().on_candle(candle, view))
        if self.how is not None and len(self.notes) > 20:
            return self.how()
        return asked

    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        self._fail("on_quote")
        return super().on_quote(quote, view)

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self._fail("on_fill")
        super().on_fill(fill, view)

    def on_end(self, end: OrderEnded, view: View) -> None:
        self._fail("on_end")
        super().on_end(end, view)


def half_way() -> Iterable[Action]:
    yield BUY
    raise ZeroDivisionError("half-way")


FAILURES: dict[str, Callable[[], Failing]] = {
    "on_candle": lambda: Failing(where="on_candle"),
    "on_quote": lambda: Failing(where="on_quote"),
    "on_fill": lambda: Failing(where="on_fill"),
    "on_end": lambda: Failing(where="on_end", after=1),
    "half-way": lambda: Failing(where="", how=half_way),
    "nonsense": lambda: Failing(where="", how=lambda: [BUY, "sell"]),
    "no end of requests": lambda: Failing(where="", how=lambda: [BUY] * 101),
}


def engine(
    *named: tuple[str, Strategy], broker: Broker | None = None, deposit: Decimal = DEPOSIT, **more: Any
) -> Engine:
    broker = SimpleBroker() if broker is None else broker
    known = {X: instrument(X)}
    broker.open(known, 0)
    books = [(name, strategy, deposit) for name, strategy in named]
    return Engine(known, MINUTE_NS, broker, (), books, config_hash="l", **more)


def run(made: Engine, inputs: Iterable[Input]) -> list[Any]:
    return [*made.begin(), *(output for event in inputs for output in made.step(event))]


def of(name: str, outputs: Sequence[Any]) -> list[bytes]:
    return [encode(output) for output in outputs if getattr(output, "strategy", None) == name]


# -- P6 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("P6")
def test_two_strategies_share_a_feed_and_trade_as_if_alone() -> None:
    inputs = tape(waves(300))
    first, second = Trading(seed=1), Trading(seed=2)
    together = engine(("first", first), ("second", second))
    both = run(together, inputs)
    for name, shared, seed in (("first", first, 1), ("second", second, 2)):
        alone = Trading(seed=seed)
        made = engine((name, alone))
        assert of(name, run(made, inputs)) == of(name, both)
        assert alone.notes == shared.notes
        mine = next(one for one in together.strategies if one.name == name)
        assert made.valuation.equity() == mine.view.equity
    assert len(only(OrderFilled, both)) > 200
    assert together.valuation.equity() == sum(strategy.view.equity for strategy in together.strategies)
    assert len({strategy.view.equity for strategy in together.strategies}) == 2


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("name", FAILURES)
def test_one_that_raises_is_stopped_alone_and_the_others_decisions_are_byte_identical(name: str) -> None:
    inputs = tape(waves(300))
    alone, beside = Trading(seed=1), Trading(seed=1)
    expected = of("good", run(engine(("good", alone)), inputs))
    made = engine(("bad", FAILURES[name]()), ("good", beside))
    outputs = run(made, inputs)
    [stopped] = only(StrategyStopped, outputs)
    assert stopped.strategy == "bad"
    assert of("good", outputs) == expected
    assert beside.notes == alone.notes
    place = outputs.index(stopped)
    assert any(output.strategy == "bad" for output in only(OrderAccepted, outputs[:place]))
    assert not [output for output in only(OrderAccepted, outputs[place:]) if output.strategy == "bad"]
    assert not made.strategies[0].book.orders


@pytest.mark.behaviour("P6")
def test_a_stop_names_the_error_and_where_it_was_raised_without_a_path() -> None:
    [stopped] = only(StrategyStopped, run(engine(("s", FAILURES["on_candle"]())), tape(waves(20))))
    assert stopped.error.startswith("ZeroDivisionError: in on_candle (")
    assert "test_engine_strategies, line " in stopped.error
    assert "/" not in stopped.error


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "TypeError: a strategy gives OrderRequest, CancelRequest or AmendRequest, not str"),
        ("no end of requests", "ValueError: more than 100 requests in one decision"),
        ("half-way", "ZeroDivisionError: half-way"),
    ],
)
def test_a_decision_that_is_wrong_in_part_places_nothing(name: str, message: str) -> None:
    made = engine(("s", FAILURES[name]()))
    made.begin()
    for event in tape(waves(100)):
        outputs = made.step(event)
        if only(StrategyStopped, outputs):
            break
    assert only(StrategyStopped, outputs)[0].error.startswith(message)
    assert not only(OrderAccepted, outputs)


@pytest.mark.behaviour("P6")
def test_a_stopped_strategys_entries_are_cancelled_and_its_exits_go_on() -> None:
    exit_ = OrderRequest.sell(X, ONE, reduce_only=True, type=OrderType.LIMIT, limit=D(150))

    class Raising(ScriptedStrategy):
        def on_candle(self, candle: Candle, view: View) -> Sequence[Action]:
            if candle.close == 120.0:
                raise ValueError("enough")
            return super().on_candle(candle, view)

    made = engine(("s", Raising(plan={0: [BUY, RESTING], 2: [exit_]})))
    outputs = run(made, candles([100.0, 100.0, 100.0, 120.0, 160.0, 160.0]))
    [end] = only(OrderEnded, outputs)
    assert (end.outcome, end.reason) == ("cancelled", "its strategy was stopped")
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0]
    assert not made.state.working


@pytest.mark.behaviour("P6")
def test_a_strategy_that_is_stopped_in_the_middle_of_a_decision_places_no_more_of_it() -> None:
    class Fussy(ScriptedStrategy):
        def on_end(self, end: OrderEnded, view: View) -> None:
            raise ValueError(end.reason)

    @define(kw_only=True, eq=False)
    class Once(SimpleBroker):
        def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
            return Rejected("no") if order.side is Side.SELL else SimpleBroker.submit(self, order, now_ns)

    made = engine(("s", Fussy(plan={0: [SELL, BUY]})), broker=Once())
    outputs = run(made, candles([100.0]))
    assert only(StrategyStopped, outputs)
    assert not made.state.working


@pytest.mark.behaviour("P6")
def test_a_strategy_that_raises_between_two_reports_of_one_event_ends_nobody_elses_run() -> None:
    @define(kw_only=True, eq=False)
    class InHalves(SimpleBroker):
        """Fills half of what is left of each order, so that it stays working."""

        left: dict[str, Decimal] = field(init=False, factory=dict)

        def observe(self, event: Input) -> Sequence[Fill | Ended]:
            halves: list[Fill | Ended] = []
            for order, _ in self._working.values():
                half = self.left[order.id] = self.left.get(order.id, order.quantity) / 2
                price, now_ns = D(100), made.state.now_ns
                halves.append(Fill(order.id, half, price, D(0), D(0), "taker", "half", price, None, D(0), now_ns))
            return halves

    class Raising(ScriptedStrategy):
        def on_fill(self, fill: OrderFilled, view: View) -> None:
            raise ValueError("surprised")

    made = engine(
        ("bad", Raising(plan={0: [BUY, BUY]})), ("good", ScriptedStrategy(plan={0: [BUY]})), broker=InHalves()
    )
    outputs = run(made, candles([100.0] * 3))
    assert [stopped.strategy for stopped in only(StrategyStopped, outputs)] == ["bad"]
    good = [filled.position for filled in only(OrderFilled, outputs) if filled.strategy == "good"]
    assert good == [D("0.5"), D("0.75")]


def test_decisions_count_every_time_a_strategy_was_asked_about_a_live_candle() -> None:
    bad, good = FAILURES["on_candle"](), Trading()
    made = engine(("bad", bad), ("good", good))
    run(made, tape(waves(50), backfilled=10))
    assert made.counters.decisions == 40  # the bad one fell on the history already
    assert (made.counters.candles, made.counters.backfilled, made.counters.quotes) == (40, 10, 80)


# -- listeners --------------------------------------------------------------------------------------------------------


def test_a_strategy_learns_of_its_own_fills_and_ends_after_they_were_booked() -> None:
    told: list[tuple[str, object]] = []

    class Listening(ScriptedStrategy):
        def on_fill(self, fill: OrderFilled, view: View) -> None:
            told.append(("fill", view.position(X).quantity))

        def on_end(self, end: OrderEnded, view: View) -> None:
            told.append((end.outcome, [order.id for order in view.orders(X)]))

    oid = f"l-s-{X}-c{START_NS}-2"
    other = ScriptedStrategy(plan={0: [BUY]})
    listening = Listening(plan={0: [BUY, RESTING], 2: [CancelRequest(oid)]})
    run(engine(("s", listening), ("other", other)), candles([100.0] * 3))
    assert told == [("fill", 1), ("cancelled", [])]


def test_methods_that_only_the_port_defines_are_never_called() -> None:
    [strategy] = engine(("s", ScriptedStrategy())).strategies
    assert (strategy.on_quote, strategy.on_fill, strategy.on_end, strategy.on_history) == (None, None, None, None)


def test_a_strategy_need_not_derive_from_the_port() -> None:
    class Plain:
        lookback = 1

        def on_candle(self, candle: Candle, view: View) -> None:
            """Ask for nothing."""

    [strategy] = engine(("s", Plain())).strategies  # type: ignore[arg-type]
    assert strategy.on_quote is None


def test_a_strategy_that_asks_for_nothing_may_return_anything_empty() -> None:
    @define(kw_only=True, eq=False)
    class Empty(Strategy):
        answers: list[Any]

        def on_candle(self, candle: Candle, view: View) -> Any:
            return self.answers.pop()

        def on_quote(self, quote: Quote, view: View) -> Any:
            return self.answers.pop()

    made = engine(("s", Empty(answers=[None, (), [], iter(()), None, (), [], iter(())])))
    outputs = run(made, [*candles([100.0] * 4), *quotes([100.0] * 4, start_ns=START_NS + 5 * MINUTE_NS)])
    assert not only(StrategyStopped, outputs)
    assert made.counters.orders == 0


@pytest.mark.parametrize("record", [True, False])
def test_a_quote_is_a_row_only_where_something_followed_from_it(record: bool) -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), record_inputs=record)
    [candle] = candles([100.0])
    run(made, [candle])
    filling, idle = quotes([100.0, 100.0], start_ns=candle.time_ns + SECOND_NS)
    outputs = made.step(filling)
    assert [type(output) for output in outputs] == ([Quote, OrderFilled] if record else [OrderFilled])
    assert not made.step(idle)


# -- the orderly end --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("S3")
@pytest.mark.parametrize(("first", "side"), [(BUY, Side.SELL), (SELL, Side.BUY)])
def test_a_stop_cancels_what_rests_and_closes_what_is_held_on_a_fresh_price(first: OrderRequest, side: Side) -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [first, RESTING]})))
    run(made, candles([100.0, 100.0]))
    outputs: Sequence[Any] = made.step(STOP)
    stop, cancelled, closing = outputs
    assert stop == STOP
    assert (cancelled.outcome, cancelled.reason) == ("cancelled", "kill by test: time is up")
    assert (closing.side, closing.quantity, closing.reduce_only) == (side, 1, True)
    assert closing.reason == "kill by test: time is up"
    [filled] = only(OrderFilled, made.step(*quotes([90.0], start_ns=STOP.time_ns + SECOND_NS)))
    assert (filled.position, filled.fill.price) == (0, D("89.9") if side is Side.SELL else D("90.1"))
    assert made.state.stopping
    assert not made.state.working


@pytest.mark.behaviour("S3")
def test_a_stop_can_leave_positions_open() -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), record_inputs=False)
    run(made, candles([100.0, 100.0]))
    assert not made.step(STOP._replace(action=CommandAction.STOP))
    assert made.strategies[0].view.position(X).quantity == 1


def test_after_a_stop_no_strategy_is_asked_or_told_anything() -> None:
    strategy, gone = Trading(), FAILURES["on_candle"]()
    made = engine(("s", strategy), ("gone", gone))
    inputs = tape(waves(30))
    run(made, inputs[:60])
    notes, decisions = list(strategy.notes), made.counters.decisions
    outputs = [
        *made.step(STOP._replace(time_ns=made.state.now_ns)),
        *(o for event in inputs[60:] for o in made.step(event)),
    ]
    assert only(OrderFilled, outputs)
    assert strategy.notes == notes
    assert made.counters.decisions == decisions
    assert made.valuation.equity() == sum(strategy.view.cash for strategy in made.strategies)


def test_an_order_the_broker_cannot_take_back_works_on_until_the_broker_reports_on_it() -> None:
    @define(kw_only=True, eq=False)
    class Stubborn(SimpleBroker):
        def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
            return Rejected("too late")

    oid = f"l-s-{X}-c{START_NS}-1"
    made = engine(("s", ScriptedStrategy(plan={0: [RESTING], 1: [CancelRequest(oid)]})), broker=Stubborn())
    run(made, candles([100.0, 100.0]))
    assert list(made.state.working) == [oid]
    [filled] = only(OrderFilled, made.step(*quotes([0.9], start_ns=STOP.time_ns)))
    assert filled.fill.order_id == oid
    assert not made.state.working


def test_a_cancel_on_a_back_filled_candle_is_not_acted_on() -> None:
    oid = f"l-s-{X}-c{START_NS}-1"
    made = engine(("s", ScriptedStrategy(plan={0: [RESTING], 1: [CancelRequest(oid)]})))
    first, second = candles([100.0, 100.0])
    run(made, [first, second._replace(status=BACKFILLED)])
    assert list(made.state.working) == [oid]


def test_each_book_begins_with_its_deposit() -> None:
    made = engine(("a", ScriptedStrategy()), ("b", ScriptedStrategy()), deposit=D(500))
    outputs = made.begin()
    assert outputs == [Deposited(name, D(500), (("cash", D(500)), ("capital", D(-500)))) for name in ("a", "b")]
    assert made.valuation.equity() == made.valuation.starting_equity == D(1_000)
