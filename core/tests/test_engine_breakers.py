"""A gate that tripped halts entries for the rest of the run and never exits; what gates remember can be handed on."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, getcontext
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Command, CommandAction
from lab.domain.events import Deposited, EntriesHalted, GateFailed, OrderAccepted, OrderEnded, OrderFilled, OrderRefused
from lab.domain.market import Candle
from lab.domain.orders import PASS, OrderRequest, OrderType, Refuse, Verdict
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.errors import ComponentError
from lab.ports import RiskGate, Strategy
from lab.testing.builders import START_NS, candles
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X = "BTCUSDT"
BUY, EXIT = OrderRequest.buy(X, D(1)), OrderRequest.sell(X, D(1), reduce_only=True)
RESTING = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))


@define(kw_only=True, eq=False)
class Breaker(RiskGate):
    """Trips for a strategy at its ``fills``-th fill, and remembers that."""

    fills: int = 1
    raises: bool = False
    seen: dict[str, int] = field(init=False, factory=dict)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        return Refuse("tripped", {"fills": str(self.fills)}) if self.tripped(view) else PASS

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.seen[view.strategy] = self.seen.get(view.strategy, 0) + 1

    def tripped(self, view: View) -> str:
        if self.raises:
            raise KeyError("on purpose")
        return f"{self.fills} fills" if self.seen.get(view.strategy, 0) >= self.fills else ""

    def snapshot(self) -> Mapping[str, str]:
        return {name: str(count) for name, count in self.seen.items()}

    def restore(self, memory: Mapping[str, str]) -> None:
        self.seen = {name: int(count) for name, count in memory.items()}


@define(kw_only=True, eq=False)
class Noting(ScriptedStrategy):
    """Does what its plan says, and notes why it was told that trading is halted."""

    halted: list[Sequence[str]] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
        self.halted.append(view.halt_reasons)
        return super().on_candle(candle, view)


def engine(gate: RiskGate, *strategies: Strategy, **more: Any) -> Engine:
    return engine_with(strategies, gates={"breaker": gate}, broker=SimpleBroker(latency_ms=0), **more)


@pytest.mark.behaviour("R4")
def test_a_tripped_gate_refuses_entries_and_lets_exits_run_and_the_strategy_sees_it() -> None:
    strategy = Noting(plan={0: [BUY], 1: [BUY], 2: [EXIT]})
    made = engine(Breaker(), strategy)
    outputs = run(made, candles([100.0] * 6))
    assert only(EntriesHalted, outputs) == [EntriesHalted("s0", "breaker", "1 fills")]
    assert [refused.by for refused in only(OrderRefused, outputs)] == ["breaker"]
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0]
    assert strategy.halted == [(), ("breaker: 1 fills",), ("breaker: 1 fills",)]
    assert made.strategies[0].view.halt_reasons == ("breaker: 1 fills",)


@pytest.mark.behaviour("R4")
@pytest.mark.parametrize("days", [0, 1, 3])
def test_once_it_holds_nothing_and_has_no_order_it_is_asked_no_more_whatever_day_it_is(days: int) -> None:
    strategy = Noting(plan={0: [BUY], 3: [EXIT], **{number: [BUY] for number in (1, 2, *range(4, 20))}})
    made = engine(Breaker(), strategy)
    outputs = run(made, candles([100.0] * 4))
    assert len(strategy.halted) == 4, "an order still works"
    assert len(only(OrderRefused, outputs)) == 2
    outputs = run(made, candles([100.0] * 4, start_ns=START_NS + days * DAY_NS + 4 * MINUTE_NS))
    assert len(strategy.halted) == 4
    assert not only(OrderRefused, outputs)
    assert made.counters.decisions == 4
    assert made.counters.candles == 8
    assert not made.strategies[0].failed


@pytest.mark.behaviour("R4")
def test_a_trip_takes_working_entries_back_and_tells_of_it_and_what_closes_works_on() -> None:
    @define(kw_only=True, eq=False)
    class Told(Noting):
        ends: list[str] = field(init=False, factory=list)

        def on_end(self, end: OrderEnded, view: View) -> None:
            self.ends.append(end.reason)

    target = OrderRequest.sell(X, D(1), type=OrderType.LIMIT, limit=D(500))
    strategy, other = Told(plan={0: [BUY], 1: [target, RESTING, BUY]}), Told(plan={1: [RESTING]})
    made = engine(Breaker(fills=2), strategy, other)
    outputs = run(made, candles([100.0] * 4))
    [ended] = only(OrderEnded, outputs)
    assert (ended.strategy, ended.outcome, ended.reason) == ("s0", "cancelled", "entries are halted by breaker")
    assert outputs.index(only(EntriesHalted, outputs)[0]) + 1 == outputs.index(ended)
    assert (strategy.ends, other.ends) == ([ended.reason], [])
    assert [open_.order.limit for open_ in made.state.working.values()] == [500, 1]


@pytest.mark.behaviour("R4")
def test_another_strategy_that_the_gate_lets_trade_goes_on() -> None:
    busy, calm = Noting(plan={0: [BUY], 1: [EXIT]}), Noting(plan={5: [BUY]})
    made = engine(Breaker(), busy, calm)
    outputs = run(made, candles([100.0] * 7))
    assert [halted.strategy for halted in only(EntriesHalted, outputs)] == ["s0", "s1"], "at its first fill, candle 6"
    assert [accepted.strategy for accepted in only(OrderAccepted, outputs)] == ["s0", "s0", "s1"]
    assert (len(busy.halted), len(calm.halted)) == (2, 7)
    assert calm.halted[5] == ()


def test_a_strategy_that_is_retired_in_the_middle_of_a_candle_is_not_counted_as_asked() -> None:
    @define(kw_only=True, eq=False)
    class All(Breaker):
        def tripped(self, view: View) -> str:
            return "enough" if sum(self.seen.values()) >= self.fills or view.now_ns > START_NS + 3 * MINUTE_NS else ""

    first, second = Noting(plan={3: [BUY]}), Noting(plan={})
    made = engine(All(fills=9), first, second)
    outputs = run(made, candles([100.0] * 6))
    assert [refused.strategy for refused in only(OrderRefused, outputs)] == ["s0"]
    assert (len(first.halted), len(second.halted)) == (4, 3)
    assert made.counters.decisions == 7


def test_where_the_run_is_ending_nobody_is_halted_any_more() -> None:
    made = engine(Breaker(), Noting(plan={0: [BUY]}))
    run(made, candles([100.0]))
    made.step(Command(made.state.now_ns, CommandAction.STOP, "session", "enough"))
    made.step(Command(made.state.now_ns, CommandAction.FLATTEN, "session", "enough"))
    assert not only(EntriesHalted, run(made, candles([100.0] * 2, start_ns=START_NS + 2 * MINUTE_NS)))


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("reason", [None, 3, "\ud800", "x" * 501], ids=["None", "3", "surrogate", "long"])
def test_a_gate_that_says_no_text_or_raises_refuses_ever_since(reason: Any) -> None:
    @define(kw_only=True, eq=False)
    class Odd(Breaker):
        def tripped(self, view: View) -> str:
            return reason if self.seen else ""

    for gate in (Odd(), Breaker(raises=True)):
        gate.review = lambda request, view: PASS  # type: ignore[method-assign]
        made = engine(gate, Noting(plan={0: [BUY], 1: [BUY], 2: [EXIT]}))
        outputs = run(made, candles([100.0] * 4))
        [failed] = only(GateFailed, outputs)
        assert (failed.gate, failed.call) == ("breaker", "tripped")
        assert [refused.reason for refused in only(OrderRefused, outputs)] == [
            f"the gate failed in tripped and refuses ever since: {failed.error}"
        ]
        assert not only(EntriesHalted, outputs)
        assert only(OrderFilled, outputs)[-1].position == 0


def test_a_decimal_context_that_a_gate_changes_while_it_is_asked_rounds_nothing() -> None:
    @define(kw_only=True, eq=False)
    class Coarse(Breaker):
        sevenths: list[Decimal] = field(init=False, factory=list)

        def tripped(self, view: View) -> str:
            self.sevenths.append(D(1) / 7)
            getcontext().prec = 3
            return ""

    gate = Coarse()
    made = engine(gate, Noting(plan={0: [BUY], 1: [EXIT]}))
    run(made, candles([100.123, 100.123, 101.456]))
    assert len(gate.sevenths) == 3, "once in a review"
    assert len(set(gate.sevenths)) == 1
    assert len(str(gate.sevenths[0])) > 20
    assert made.strategies[0].view.cash == 10_000 + D("1.4") - D("0.0006") * (D("100.1") + D("101.5"))


# -- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R4")
def test_what_a_gate_remembers_is_handed_to_the_gate_of_that_name_in_another_run() -> None:
    made = engine(Breaker(fills=2), Noting(plan={0: [BUY], 1: [EXIT]}))
    run(made, candles([100.0] * 2))
    assert made.gate_memory() == {"breaker": ({"s0": "1"}, "")}
    again = engine(Breaker(fills=2), Noting(plan={0: [BUY], 2: [BUY]}), gate_memory={"breaker": {"s0": "1"}, "x": {}})
    outputs = run(again, candles([100.0] * 4))
    assert len(only(EntriesHalted, outputs)) == len(only(OrderRefused, outputs)) == 1


@pytest.mark.behaviour("R4")
def test_a_gate_that_had_tripped_halts_from_the_first_moment() -> None:
    strategy = Noting(plan={0: [BUY]})
    gate, broker = Breaker(), SimpleBroker(latency_ms=0)
    made = engine_with([strategy], gates={"breaker": gate}, broker=broker)
    [instrument] = [market.instrument for market in made.state.markets.values()]
    again = Engine(
        {X: instrument}, MINUTE_NS, broker, [("breaker", gate)], [("s0", strategy, D(100))], config_hash="l",
        gate_memory={"breaker": {"s0": "1"}},
    )  # fmt: skip
    deposited, halted = again.begin()
    assert isinstance(deposited, Deposited)
    assert halted == EntriesHalted("s0", "breaker", "1 fills")
    run(again, candles([100.0] * 3))
    assert not strategy.halted
    assert again.counters.decisions == 0


def test_a_gate_that_cannot_take_its_memory_ends_the_start_by_name() -> None:
    with pytest.raises(ComponentError, match="gate breaker failed in restore: ValueError"):
        engine(Breaker(), Noting(plan={}), gate_memory={"breaker": {"s0": "many"}})


def test_a_gate_without_a_memory_is_asked_for_none() -> None:
    @define(kw_only=True, eq=False)
    class Plain(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            return PASS

    made = engine(Plain(), Noting(plan={}), gate_memory={"breaker": {"s0": "1"}})
    assert made.gate_memory() == {}
    assert not made._strategies.listening  # noqa: SLF001 - what nobody listens to costs nothing
    assert (Plain().tripped(made.strategies[0].view), Plain().snapshot()) == ("", {})
    Plain().restore({})


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (None, "it gave None; expected a mapping of text to text"),
        ({"a": 1}, "it holds 'a': 1; expected text by text"),
        ({1: "a"}, "it holds 1: 'a'; expected text by text"),
        ({str(number): "" for number in range(101)}, "it has 101 entries; expected at most 100"),
        ({"a": "x" * 100_000}, "it has 100001 bytes; expected at most 100000"),
        ({"a": "\ud800"}, "UnicodeEncodeError"),
    ],
    ids=["none", "number", "name", "many", "long", "surrogate"],
)
def test_a_memory_that_cannot_be_kept_is_said_to_be_lost_and_changes_nothing(memory: Any, said: str) -> None:
    @define(kw_only=True, eq=False)
    class Odd(Breaker):
        def snapshot(self) -> Any:
            return memory

    failures: list[tuple[str, str, str]] = []
    made = engine(
        Odd(fills=5),
        Noting(plan={0: [BUY]}),
        on_failure=lambda role, name, call, _: failures.append((role, name, call)),
    )
    run(made, candles([100.0]))
    kept, error = made.gate_memory()["breaker"]
    assert kept == {}
    assert error.startswith("the gate failed in snapshot: ")
    assert said in error
    assert failures == [("gate", "breaker", "snapshot")]
    assert only(OrderFilled, run(made, candles([100.0], start_ns=START_NS + MINUTE_NS)))


def test_a_gate_that_failed_has_no_memory_to_hand_on() -> None:
    made = engine(Breaker(raises=True, fills=5), Noting(plan={0: [BUY]}))
    run(made, candles([100.0] * 2))
    kept, error = made.gate_memory()["breaker"]
    assert kept == {}
    assert error.startswith("the gate failed in tripped and refuses ever since: KeyError")
