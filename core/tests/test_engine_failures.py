"""Whatever a component raises is that component's failure, by name: no other one notices, and the run ends in order."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.events import (
    GateFailed,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    StrategyStopped,
)
from lab.domain.inputs import Input
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import PASS, CancelRequest, OrderRequest, Side, Verdict
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.codec import encode
from lab.ports import RiskGate, Strategy
from lab.testing.builders import tape, waves
from lab.testing.engines import engine_with, only, run
from raising import RAISED, Failures, Trading, noting

D = Decimal
ONE = D(1)
X = "BTCUSDT"
BUY = OrderRequest.buy(X, ONE)


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


def engine(*named: tuple[str, Strategy], failures: Failures | None = None, **more: Any) -> Engine:
    return engine_with(dict(named), deposit=D(1_000_000), on_failure=noting(failures), **more)


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
    assert f"({Trading.__module__}, line " in stopped.error or expects is not error
    assert of("good", outputs) == expected
    assert made.strategies[0].failed
    assert not made.strategies[0].book.orders
    place = outputs.index(stopped)
    assert "bad" not in {output.strategy for output in only(OrderAccepted, outputs[place:])}


def test_nothing_of_a_strategy_that_was_stopped_is_called_any_more() -> None:
    made = engine(("bad", Trading(where="on_candle", error=ValueError, after=3)), failures=[])
    inputs = market_data()
    run(made, inputs)
    bad = made.strategies[0]
    [candle, *_] = [one for one in inputs if isinstance(one, Candle)]
    assert bad.on_candle(candle, bad.view) == ()
    assert {bad.on_quote, bad.on_trade, bad.on_depth, bad.on_timer, bad.on_fill, bad.on_end, bad.on_history} == {None}


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
    assert {refusal.by for refusal in refused} == {"g0"}
    assert refused[0].reason.startswith(f"the gate failed: {error.__name__}: on purpose ({__name__}, line ")
    closing = [accepted for accepted in only(OrderAccepted, outputs) if accepted.remarks]
    assert failures == [("gate", "g0", "review", error)] * (len(refused) + len(closing))
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
    assert (failed.gate, failed.call) == ("g0", where)
    assert failed.error.startswith(f"{error.__name__}: on purpose ({__name__}, line ")
    assert failures == [("gate", "g0", where, error)]
    place = outputs.index(failed)
    assert not only(OrderRefused, outputs[:place])
    assert {(refused.by, refused.reason) for refused in only(OrderRefused, outputs[place:])} == {
        ("g0", f"the gate failed in {where} and refuses ever since: {failed.error}")
    }
    later = only(OrderAccepted, outputs[place:])
    assert later or where == "on_timer"
    assert all(accepted.reduce_only for accepted in later)
