"""Whatever a component raises is that component's failure, by name: no other one notices, and the run ends in order."""

from asyncio import CancelledError
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Command, CommandAction, Timer
from lab.domain.events import (
    BrokerFailed,
    Fill,
    GateFailed,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    StrategyStopped,
)
from lab.domain.inputs import Input
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import PASS, Accepted, CancelRequest, Ended, OrderRequest, OrderType, Rejected, Side, Verdict
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.errors import ComponentError
from lab.journal.codec import encode
from lab.ports import Broker, RiskGate, Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes, tape, waves
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import Script, ScriptedBroker, fill_all
from lab.testing.simple_broker import SimpleBroker
from msgspec.structs import replace

D = Decimal
ONE = D(1)
X = "BTCUSDT"
BUY = OrderRequest.buy(X, ONE)
RESTING = OrderRequest.buy(X, ONE, type=OrderType.LIMIT, limit=ONE)
RAISED = [
    ValueError, RecursionError, MemoryError, StopIteration, CancelledError, GeneratorExit, BaseException,
    KeyboardInterrupt, SystemExit,
]  # fmt: skip
Failures = list[tuple[str, str, str, type[BaseException]]]


@define(kw_only=True, eq=False)
class Trading(Strategy):
    """Trades on candles, cancels now and then, listens to everything; raises where and what it was told to."""

    where: str = ""
    error: type[BaseException] = ValueError
    after: int = 3
    calls: int = field(init=False, default=0)
    seen: int = field(init=False, default=0)

    @property
    def timer_ns(self) -> int:
        return 5 * MINUTE_NS

    def call(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            if self.calls == self.after:
                raise self.error("on purpose")

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest | CancelRequest]:
        self.call("on_candle")
        self.seen += 1
        side = Side.BUY if self.seen % 4 < 2 else Side.SELL
        actions: list[OrderRequest | CancelRequest] = [OrderRequest(X, side, D(self.seen % 7 + 1) / 100), RESTING]
        return [*actions, *(CancelRequest(order.id) for order in view.orders(X) if order.limit == 1)]

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest]:
        self.call("on_quote")
        return ()

    def on_trade(self, trade: Trade, view: View) -> Iterable[OrderRequest]:
        self.call("on_trade")
        return ()

    def on_depth(self, depth: Depth, view: View) -> Iterable[OrderRequest]:
        self.call("on_depth")
        return ()

    def on_timer(self, now_ns: int, view: View) -> Iterable[OrderRequest]:
        self.call("on_timer")
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.call("on_fill")

    def on_end(self, end: OrderEnded, view: View) -> None:
        self.call("on_end")

    def on_history(self, view: View) -> None:
        self.call("on_history")


@define(kw_only=True, eq=False)
class Generating(Trading):
    """Raises between two actions that it yields."""

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest | CancelRequest]:
        yield from Trading.on_candle(self, candle, view)
        self.call("half-way")


@define(kw_only=True, eq=False)
class Gate(RiskGate):
    """Lets everything pass and listens; raises where and what it was told to."""

    where: str = ""
    error: type[BaseException] = ValueError
    after: int = 3
    calls: int = field(init=False, default=0)

    @property
    def timer_ns(self) -> int:
        return 5 * MINUTE_NS

    def call(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            if self.calls >= self.after:
                raise self.error("on purpose")

    def review(self, request: OrderRequest, view: View) -> Verdict:
        self.call("review")
        return PASS

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.call("on_fill")

    def on_end(self, end: OrderEnded, view: View) -> None:
        self.call("on_end")

    def on_timer(self, now_ns: int, view: View) -> None:
        self.call("on_timer")


def market_data() -> list[Input]:
    """Return candles, quotes, trades and depth, with candles that come late now and then."""
    events: list[Input] = []
    for number, event in enumerate(tape(waves(60))):
        events.append(event)
        if isinstance(event, Quote):
            events.append(Trade(X, event.time_ns, event.bid, 1.0, Side.SELL))
            events.append(Depth(X, event.time_ns, ((event.bid, 1.0),), ((event.ask, 1.0),)))
        if number % 40 == 9 and isinstance(event, Candle):
            del events[-1]
            late = event
        elif number % 40 == 15:
            events.append(late)
    return events


def engine(
    *named: tuple[str, Strategy],
    broker: Broker | None = None,
    gates: Sequence[RiskGate] = (),
    failures: Failures | None = None,
) -> Engine:
    broker = broker or SimpleBroker()
    known = {X: instrument(X)}
    broker.open(known, 0)

    def on_failure(role: str, name: str, call: str, error: BaseException) -> None:
        if failures is not None:
            failures.append((role, name, call, type(error)))

    made = Engine(
        known, MINUTE_NS, broker, [(f"gate{number}", gate) for number, gate in enumerate(gates)],
        [(name, strategy, D(1_000_000)) for name, strategy in named], config_hash="l", broker_name="scripted",
        on_failure=on_failure,
    )  # fmt: skip
    made.begin()
    return made


def run(made: Engine, inputs: Iterable[Input]) -> list[Any]:
    return [output for event in inputs for output in made.step(event)]


def only(kind: type, outputs: Iterable[object]) -> list[Any]:
    return [output for output in outputs if isinstance(output, kind)]


def of(name: str, outputs: Iterable[object]) -> list[bytes]:
    return [encode(output) for output in outputs if getattr(output, "strategy", None) == name]


CALLS = ["on_candle", "half-way", "on_quote", "on_trade", "on_depth", "on_timer", "on_fill", "on_end", "on_history"]


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
@pytest.mark.parametrize("where", CALLS)
def test_whatever_a_strategy_raises_wherever_it_is_stopped_alone(where: str, error: type[BaseException]) -> None:
    inputs = market_data()
    expected = of("good", run(engine(("good", Trading())), inputs))
    failures: Failures = []
    after = 1 if where == "on_history" else 3
    kind = Generating if where == "half-way" else Trading
    made = engine(("bad", kind(where=where, error=error, after=after)), ("good", Trading()), failures=failures)
    outputs = run(made, inputs)
    [stopped] = only(StrategyStopped, outputs)
    call = "on_candle" if where == "half-way" else where
    expects = RuntimeError if where == "half-way" and error is StopIteration else error
    assert failures == [("strategy", "bad", call, expects)]
    assert (stopped.strategy, stopped.error.partition(":")[0]) == ("bad", expects.__name__)
    assert f"({__name__}, line " in stopped.error or expects is not error
    assert of("good", outputs) == expected
    assert made.strategies[0].failed
    assert not made.strategies[0].book.orders
    place = outputs.index(stopped)
    assert "bad" not in {output.strategy for output in only(OrderAccepted, outputs[place:])}


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
@pytest.mark.parametrize("where", ["on_candle", "on_quote", "on_trade", "on_depth", "on_timer", "on_fill", "on_end"])
def test_the_only_strategy_of_a_run_is_stopped_and_the_run_goes_on(where: str, error: type[BaseException]) -> None:
    made = engine(("bad", Trading(where=where, error=error)))
    inputs = market_data()
    outputs = run(made, inputs)
    assert [stopped.strategy for stopped in only(StrategyStopped, outputs)] == ["bad"]
    assert made.counters.candles + made.counters.backfilled + made.counters.ignored_candles == len(only(Candle, inputs))
    assert not made.state.working


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
def test_whatever_a_gate_raises_in_a_review_is_a_refusal_by_its_name(error: type[BaseException]) -> None:
    failures: Failures = []
    made = engine(("s", Trading()), gates=[Gate(where="review", error=error)], failures=failures)
    outputs = run(made, market_data())
    refused = only(OrderRefused, outputs)
    assert len(only(OrderAccepted, outputs)) > 1
    assert {refusal.by for refusal in refused} == {"gate0"}
    assert refused[0].reason.startswith(f"the gate failed: {error.__name__}: on purpose ({__name__}, line ")
    closing = [accepted for accepted in only(OrderAccepted, outputs) if accepted.remarks]
    assert failures == [("gate", "gate0", "review", error)] * (len(refused) + len(closing))
    assert not only(GateFailed, outputs)


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
@pytest.mark.parametrize("where", ["on_fill", "on_end", "on_timer"])
def test_a_gate_that_raises_where_it_learns_something_refuses_ever_since(
    where: str, error: type[BaseException]
) -> None:
    """Its memory may be wrong. It is said once, and exits still pass."""
    failures: Failures = []
    made = engine(("s", Trading()), ("t", Trading()), gates=[Gate(where=where, error=error)], failures=failures)
    outputs = run(made, market_data())
    [failed] = only(GateFailed, outputs)
    assert (failed.gate, failed.call) == ("gate0", where)
    assert failed.error.startswith(f"{error.__name__}: on purpose ({__name__}, line ")
    assert failures == [("gate", "gate0", where, error)]
    place = outputs.index(failed)
    assert not only(OrderRefused, outputs[:place])
    assert {(refused.by, refused.reason) for refused in only(OrderRefused, outputs[place:])} == {
        ("gate0", f"the gate failed in {where} and refuses ever since: {failed.error}")
    }
    later = only(OrderAccepted, outputs[place:])
    assert later or where == "on_timer"
    assert all(accepted.reduce_only for accepted in later)


# -- brokers ----------------------------------------------------------------------------------------------------------


class Faulty(ScriptedBroker):
    """Raises in one call."""

    def __init__(self, where: str, error: BaseException, **more: Any) -> None:
        super().__init__(**more)
        self.where, self.error = where, error

    def submit(self, order: Any, now_ns: int) -> Accepted | Rejected:
        if self.where == "submit" and len(self.orders) == 1:
            raise self.error
        return super().submit(order, now_ns)

    def cancel(self, order_id: str) -> bool:
        if self.where == "cancel":
            raise self.error
        return super().cancel(order_id)

    def observe(self, event: Input) -> Any:
        if self.where == "observe" and self.orders:
            raise self.error
        return super().observe(event)


PLAN = {0: [RESTING], 1: [RESTING], 2: [CancelRequest(f"l-s-{X}-c{START_NS}-1")]}


@pytest.mark.behaviour("P6", "O13")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
@pytest.mark.parametrize("where", ["submit", "cancel", "observe"])
def test_whatever_a_broker_raises_ends_the_run_as_the_brokers_failure(where: str, error: type[BaseException]) -> None:
    failures: Failures = []
    broker = Faulty(where, error("on purpose"))
    made = engine(("s", ScriptedStrategy(plan=PLAN)), ("t", ScriptedStrategy()), broker=broker, failures=failures)
    outputs = run(made, candles([100.0] * 6))
    [failed] = only(BrokerFailed, outputs)
    said = f"broker scripted failed in {where}: {error.__name__}: on purpose ({__name__}, line "
    assert failed.broker == "scripted"
    assert failed.error.startswith(said)
    assert isinstance(made.state.failure, ComponentError)
    assert str(made.state.failure) == failed.error
    assert failures == [("broker", "scripted", where, error)]
    ends = only(OrderEnded, outputs)
    assert {(end.outcome, end.reason) for end in ends} == {("cancelled", failed.error)}
    assert {end.order_id for end in ends} == {accepted.order_id for accepted in only(OrderAccepted, outputs)}
    assert made.state.stopping
    assert not made.state.working
    assert not broker.seen or broker.seen[-1][0].time_ns <= START_NS + 4 * MINUTE_NS


@pytest.mark.behaviour("O13")
def test_a_request_whose_broker_raises_when_it_is_given_the_order_has_an_answer() -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [RESTING], 1: [BUY]})), broker=Faulty("submit", ValueError("full")))
    outputs = run(made, candles([100.0] * 3))
    [refused] = only(OrderRefused, outputs)
    assert (refused.by, refused.request) == ("engine", BUY)
    assert refused.reason.startswith("broker scripted failed in submit: ValueError: full")


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("several", [False, True])
def test_after_its_broker_failed_no_strategy_is_called_and_no_command_reaches_the_broker(several: bool) -> None:
    first, second = Trading(), Trading()
    named = [("s", first), ("t", second)] if several else [("s", first)]
    made = engine(*named, broker=Faulty("submit", ValueError("full")))
    inputs = market_data()
    outputs = run(made, inputs)
    [failed] = only(BrokerFailed, outputs)
    assert (first.seen, second.seen, made.counters.decisions) == (1, 0, 1)
    time_ns = made.state.now_ns
    for action in CommandAction:
        command = Command(time_ns, action, "test", "after the end")
        assert made.step(command) == [command]
    assert made.step(Timer(time_ns + SECOND_NS)) == []
    assert made.state.failure is not None


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("where", ["on_quote", "on_trade", "on_depth", "on_timer", "on_history"])
def test_a_strategy_whose_turn_comes_after_the_brokers_failure_is_not_called(where: str) -> None:
    """The first one orders, or fails and has its order cancelled; the broker fails at that."""

    class First(ScriptedStrategy):
        @property
        def timer_ns(self) -> int:
            return MINUTE_NS

        def on_quote(self, quote: Quote, view: View) -> Sequence[OrderRequest]:
            return [BUY] if where == "on_quote" else ()

        def on_trade(self, trade: Trade, view: View) -> Sequence[OrderRequest]:
            return [BUY] if where == "on_trade" else ()

        def on_depth(self, depth: Depth, view: View) -> Sequence[OrderRequest]:
            return [BUY] if where == "on_depth" else ()

        def on_timer(self, now_ns: int, view: View) -> Sequence[OrderRequest]:
            return [BUY] if where == "on_timer" else ()

        def on_history(self, view: View) -> None:
            raise ValueError("on purpose")

    class Second(Trading):
        def on_candle(self, candle: Candle, view: View) -> Sequence[OrderRequest]:
            return ()

    second = Second(where=where, after=1)
    broker = Faulty("cancel" if where == "on_history" else "submit", OSError("gone"))
    made = engine(("s", First(plan={0: [RESTING]})), ("t", second), broker=broker)
    first, late, newer = candles([100.0] * 3)
    time_ns = newer.time_ns + MINUTE_NS
    inputs: dict[str, Input] = {
        "on_quote": quotes([100.0], start_ns=time_ns)[0],
        "on_trade": Trade(X, time_ns, 100.0, 1.0, Side.BUY),
        "on_depth": Depth(X, time_ns, (), ()),
        "on_timer": Timer(time_ns),
        "on_history": late,
    }
    outputs = run(made, [first, newer, inputs[where]])
    assert only(BrokerFailed, outputs)
    assert [stopped.strategy for stopped in only(StrategyStopped, outputs)] == (["s"] if where == "on_history" else [])
    assert second.calls == 0
    assert made.state.stopping


def test_a_broker_that_fails_while_a_failed_strategys_orders_are_cancelled_is_reported_after_it() -> None:
    failures: Failures = []
    bad = Trading(where="on_candle", after=2)
    made = engine(
        ("bad", bad), ("good", ScriptedStrategy()), broker=Faulty("cancel", OSError("gone")), failures=failures
    )
    outputs = run(made, candles([100.0] * 4))
    assert [type(output) for output in outputs if isinstance(output, StrategyStopped | BrokerFailed)] == [
        StrategyStopped,
        BrokerFailed,
    ]
    assert [failure[:3] for failure in failures] == [("strategy", "bad", "on_candle"), ("broker", "scripted", "cancel")]
    assert not made.state.working


def test_a_broker_that_fails_while_a_command_is_obeyed_ends_every_order_all_the_same() -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [RESTING, BUY]})), broker=Faulty("cancel", OSError("gone")))
    run(made, candles([100.0]))
    outputs = made.step(Command(START_NS + 2 * MINUTE_NS, CommandAction.KILL, "test", "enough"))
    assert [type(output) for output in outputs] == [Command, BrokerFailed, OrderEnded, OrderEnded]


def test_the_equity_and_drawdown_count_what_was_filled_before_the_report_that_failed() -> None:
    """The first of two reports is sound and books a loss; the second ends the run."""

    def script(broker: ScriptedBroker, event: Any) -> Any:
        return [*fill_all(broker, event), "nonsense"] if broker.orders else ()

    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), broker=ScriptedBroker(script=script))
    run(made, candles([50_000.0] * 2))
    assert made.counters.fills == 1
    assert made.counters.max_drawdown == D(30)
    run(made, candles([40_000.0], start_ns=START_NS + 2 * MINUTE_NS))
    assert made.valuation.equity() == D(1_000_000) - 30 - 10_000
    assert made.counters.max_drawdown == D(10_030)


def test_abandoning_a_run_ends_every_order_without_the_broker() -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [RESTING, BUY]})), broker=ScriptedBroker())
    accepted = only(OrderAccepted, run(made, candles([100.0])))
    ends: Sequence[Any] = made.abandon("lab has a defect")
    assert [(end.order_id, end.outcome, end.reason) for end in ends] == [
        (order.order_id, "cancelled", "lab has a defect") for order in accepted
    ]
    assert made.state.stopping
    assert made.abandon("again") == []


# -- what a broker says -----------------------------------------------------------------------------------------------


def with_first(broker: ScriptedBroker, event: Any, change: Callable[[Fill], Any]) -> Any:
    return [change(fill) for fill in fill_all(broker, event)]


class Nameless:
    """Has no description."""

    def __repr__(self) -> str:
        raise KeyError("no name")


BAD_FILLS: list[dict[str, Any]] = [
    {"order_id": "nobody"}, {"order_id": None}, {"order_id": []},
    {"quantity": D(0)}, {"quantity": D(-1)}, {"quantity": D("NaN")}, {"quantity": D("sNaN")}, {"quantity": D("Infinity")},
    {"quantity": 1}, {"quantity": 1.0}, {"quantity": None}, {"quantity": D(2)}, {"quantity": D("1e15")},
    {"price": D(0)}, {"price": D(-1)}, {"price": D("NaN")}, {"price": 50_000.0}, {"price": D("1e15")}, {"price": "1"},
    {"fee": D("NaN")}, {"fee": 0}, {"fee": D("1e30")}, {"fee": D("-1e30")}, {"fee": None},
    {"fee_rate": D("NaN")}, {"fee_rate": 0.1}, {"fee_rate": D(1)}, {"fee_rate": D(-1)},
    {"reference": D("NaN")}, {"reference": None}, {"reference": D(-1)}, {"reference": D("1e15")},
    {"spread": D("NaN")}, {"spread": 0.1}, {"spread": D(-1)}, {"spread": D("1e15")},
    {"slippage": D("NaN")}, {"slippage": 0}, {"slippage": D(-1)}, {"slippage": D("1e15")},
    {"liquidity": "both"}, {"liquidity": None}, {"liquidity": []},
    {"rule": None}, {"rule": "größe"}, {"rule": "\ud800"}, {"rule": "x" * 501}, {"rule": Nameless()},
    {"time_ns": 0.5}, {"time_ns": -1}, {"time_ns": None}, {"time_ns": True}, {"time_ns": 2**63},
    {"time_ns": START_NS + 2 * MINUTE_NS + 1},
]  # fmt: skip


@pytest.mark.behaviour("O13", "O14")
@pytest.mark.parametrize(
    "change", BAD_FILLS, ids=lambda change: f"{next(iter(change))}-{type(next(iter(change.values()))).__name__}"
)
def test_a_fill_with_one_wrong_field_is_not_booked_and_ends_the_run(change: dict[str, Any]) -> None:
    broker = ScriptedBroker(
        script=lambda broker, event: with_first(broker, event, lambda fill: replace(fill, **change))
    )
    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), broker=broker)
    outputs = run(made, candles([50_000.0] * 3))
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith("broker scripted ")
    assert len(failed.error) < 2_000
    assert not only(OrderFilled, outputs)
    assert [end.outcome for end in only(OrderEnded, outputs)] == ["cancelled"]
    assert made.valuation.equity() == 1_000_000
    assert all(encode(output) for output in outputs)


ACCEPTED_AND: list[Any] = [
    lambda oid: [Ended(oid, "cancelled", "x")],  # type: ignore[arg-type]
    lambda oid: [Ended(oid, ["expired"], "x")],  # type: ignore[arg-type]
    lambda oid: [Ended(oid, "expired", None)],  # type: ignore[arg-type]
    lambda oid: [Ended(oid, "expired", "\ud800")],
    lambda oid: [Ended(oid, "expired", "x" * 501)],
    lambda oid: [Ended(None, "expired", "x")],  # type: ignore[arg-type]
    lambda oid: [Ended("nobody", "expired", "x")],
    lambda oid: [Ended(oid, "expired", "x")] * 2,
    lambda oid: [None],
    lambda oid: [Nameless()],
    lambda oid: ["filled"],
    lambda oid: None,
    lambda oid: {oid: "filled"},
    lambda oid: iter(()),
    lambda oid: Ended(oid, "expired", "x"),
    lambda oid: Nameless(),
    lambda oid: [Ended(oid, "expired", "x")] * 10_001,
]


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize("reports", ACCEPTED_AND)
def test_reports_that_are_none_or_too_many_end_the_run(reports: Callable[[str], Any]) -> None:
    def script(broker: ScriptedBroker, event: Any) -> Any:
        return reports(next(iter(broker.orders))) if broker.orders else ()

    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), broker=ScriptedBroker(script=script))
    outputs = run(made, candles([50_000.0] * 3))
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith("broker scripted ")
    assert len(only(OrderEnded, outputs)) == 1
    assert all(encode(output) for output in outputs)


ANSWERS = [
    Accepted(START_NS + MINUTE_NS - 1), Accepted(-1), Accepted(2**63), Accepted(1.8e18), Accepted(None),  # type: ignore[arg-type]
    Accepted(True), Rejected(None), Rejected("\ud800"), Rejected("x" * 501), True, "yes", Accepted, Nameless(),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.behaviour("O1", "O13")
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_none_or_lies_in_the_past_ends_the_run(answer: Any) -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), broker=ScriptedBroker(answer=answer))
    outputs = run(made, candles([50_000.0] * 3))
    [failed] = only(BrokerFailed, outputs)
    assert failed.error.startswith("broker scripted failed in submit: ")
    assert not made.state.working


@pytest.mark.behaviour("O1")
def test_a_broker_that_fills_before_the_orders_arrival_ends_the_run() -> None:
    made = engine(
        ("s", ScriptedStrategy(plan={0: [BUY]})), broker=ScriptedBroker(script=fill_all, latency_ns=SECOND_NS)
    )
    [candle] = candles([50_000.0])
    made.step(candle)
    outputs = made.step(*quotes([50_000.0], start_ns=candle.time_ns + SECOND_NS - 1))
    assert "broker scripted filled what it may not" in only(BrokerFailed, outputs)[0].error
    assert not only(OrderFilled, outputs)


OVERFILLING: dict[str, Script] = {
    "more than was left": lambda broker, event: with_first(broker, event, lambda fill: replace(fill, quantity=D(2))),
    "the same twice": lambda broker, event: [fill for fill in fill_all(broker, event) for _ in range(2)],
    "by a lot": lambda broker, event: with_first(broker, event, lambda fill: replace(fill, quantity=D("1.0001"))),
}


@pytest.mark.parametrize("name", OVERFILLING)
def test_a_fill_of_more_than_was_left_is_found_even_where_the_broker_hides_it(name: str) -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), broker=ScriptedBroker(script=OVERFILLING[name]))
    outputs = run(made, candles([50_000.0] * 3))
    assert only(BrokerFailed, outputs)
    assert sum(filled.fill.quantity for filled in only(OrderFilled, outputs)) <= 1


def test_ten_thousand_reports_on_one_event_are_taken() -> None:
    small = D("0.0001")

    def script(broker: ScriptedBroker, event: Any) -> Any:
        return [broker.fill(order, event, small) for order in list(broker.orders.values()) for _ in range(10_000)]

    made = engine(("s", ScriptedStrategy(plan={0: [BUY]})), broker=ScriptedBroker(script=script))
    run(made, candles([50_000.0] * 2))
    assert made.counters.fills == 10_000
    assert made.strategies[0].view.position(X).quantity == 1
    assert made.state.failure is None


def test_a_report_on_what_the_engine_ended_at_that_moment_is_passed_over() -> None:
    """Two exits fill at once: the first closes the position, and of the second two reports come, of a half each."""
    half = D("0.5")

    def script(broker: ScriptedBroker, event: Any) -> Any:
        if len(broker.orders) < 2:
            return fill_all(broker, event)
        first, second = broker.orders.values()
        return [broker.fill(first, event), broker.fill(second, event, half), broker.fill(second, event, half)]

    exits = [OrderRequest.sell(X, ONE, reduce_only=True, type=OrderType.LIMIT, limit=ONE) for _ in range(2)]
    made = engine(("s", ScriptedStrategy(plan={0: [BUY], 2: exits})), broker=ScriptedBroker(script=script))
    outputs = run(made, candles([50_000.0] * 5))
    assert not only(BrokerFailed, outputs)
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0]
    assert [end.reason for end in only(OrderEnded, outputs)] == ["nothing left to reduce"]
