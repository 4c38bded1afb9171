"""A broker that raises ends the run in order: its orders end, requests are answered, and nobody is called again."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from lab.domain.control import Command, CommandAction, Timer
from lab.domain.events import (
    BrokerFailed,
    OrderAccepted,
    OrderEnded,
    OrderRefused,
    StrategyStopped,
)
from lab.domain.inputs import Input
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import Accepted, CancelRequest, OrderRequest, Rejected, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.errors import ComponentError
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, quotes, tape, waves
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker, fill_all
from raising import RAISED, RESTING, Failures, Trading, noting

D = Decimal
ONE = D(1)
X = "BTCUSDT"
BUY = OrderRequest.buy(X, ONE)


def engine(*named: tuple[str, Strategy], broker: Broker | None = None, failures: Failures | None = None) -> Engine:
    return engine_with(
        dict(named), broker=broker, deposit=D(1_000_000), broker_name="scripted", on_failure=noting(failures)
    )


class Faulty(ScriptedBroker):
    """Raises in one call."""

    def __init__(self, where: str, error: BaseException, **more: Any) -> None:
        super().__init__(**more)
        self.where, self.error = where, error

    def submit(self, order: Any, now_ns: int) -> Accepted | Rejected:
        if self.where == "submit" and len(self.orders) == 1:
            raise self.error
        return super().submit(order, now_ns)

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        if self.where == "cancel":
            raise self.error
        return super().cancel(order_id, now_ns)

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
    inputs = tape(waves(60))
    outputs = run(made, inputs)
    assert len(only(BrokerFailed, outputs)) == 1
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


class Idle(ScriptedBroker):
    """Says when nothing can happen to its orders, and notes what it is shown."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found, self.shown = found, list[float]()

    def observe(self, event: Input) -> Any:
        self.shown += [event.open] if isinstance(event, Candle) else []
        return super().observe(event)

    def idle(self, symbol: str) -> Any:
        return self.found


LATER_NS = START_NS + 100 * MINUTE_NS


@pytest.mark.parametrize("found", [("80", 120.0, LATER_NS), (80.0, D(120), LATER_NS), (80.0, 120.0, 1.5)], ids=str)
def test_a_broker_that_says_in_other_types_when_it_is_idle_is_named_with_what_it_gave(found: Any) -> None:
    made = engine(("s", ScriptedStrategy(plan={0: [RESTING]})), broker=Idle(found))
    [failed] = only(BrokerFailed, run(made, candles([100.0] * 4)))
    assert "idle() gave" in failed.error
    assert "expected two floats and nanoseconds as int" in failed.error


@pytest.mark.parametrize("opened", [79.0, 121.0])
def test_a_candle_that_opened_beyond_its_own_range_is_shown_to_a_broker_that_is_idle_between_two_prices(
    opened: float,
) -> None:
    broker = Idle((80.0, 120.0, LATER_NS))
    made = engine(("s", ScriptedStrategy(plan={0: [RESTING]})), broker=broker)
    tape = [Candle(*one[:3], one[3], 101.0, 99.0, *one[6:]) for one in candles([100.0] * 6)]
    tape[3] = Candle(*tape[3][:3], opened, *tape[3][4:])
    assert not only(BrokerFailed, run(made, tape))
    assert broker.shown == [100.0, 100.0, opened]  # those at 100 that followed were nothing to it
