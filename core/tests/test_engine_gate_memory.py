"""Gates may remember: they hear of every fill and end before the strategy does, and can change nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Command, CommandAction
from lab.domain.events import OrderAccepted, OrderEnded, OrderFilled, OrderRefused
from lab.domain.orders import PASS, CancelRequest, OrderRequest, OrderType, Refuse, Shrink, Side, Verdict
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.codec import encode
from lab.ports import Broker, RiskGate, Strategy
from lab.testing.builders import START_NS, candles
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker, fill_all
from msgspec.structs import force_setattr

D = Decimal
ONE = D(1)
X = "BTCUSDT"
BUY, SELL = OrderRequest.buy(X, ONE), OrderRequest.sell(X, ONE)
RESTING = OrderRequest.buy(X, ONE, type=OrderType.LIMIT, limit=ONE)
Told = list[tuple[str, str, object]]


@define(kw_only=True, eq=False)
class Listening(RiskGate):
    """Notes what it learns and what it could see then; passes everything."""

    name: str = "gate"
    told: Told = field(factory=list)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        return PASS

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.told.append((self.name, f"{view.strategy} filled", view.position(X).quantity))

    def on_end(self, end: OrderEnded, view: View) -> None:
        self.told.append((self.name, f"{view.strategy} {end.outcome}", len(view.orders())))


@define(kw_only=True, eq=False)
class Hearing(ScriptedStrategy):
    """Does what its plan says, and notes what it learns."""

    told: Told = field(factory=list)

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.told.append(("strategy", f"{view.strategy} filled", view.position(X).quantity))

    def on_end(self, end: OrderEnded, view: View) -> None:
        self.told.append(("strategy", f"{view.strategy} {end.outcome}", len(view.orders())))


def engine(gates: Sequence[RiskGate], *strategies: Strategy, broker: Broker | None = None) -> Engine:
    broker = broker or ScriptedBroker(script=fill_all, price=D(100))
    return engine_with(strategies, gates=gates, broker=broker, deposit=D(100_000))


# -- what they hear ---------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R6")
def test_gates_hear_of_every_books_fills_after_all_were_booked_and_before_the_strategy() -> None:
    """Two fills of one book in one event: whoever hears of the first sees the second one's quantity too."""
    told: Told = []
    gates = [Listening(name="first", told=told), Listening(name="second", told=told)]
    made = engine(gates, Hearing(plan={0: [BUY, BUY]}, told=told), Hearing(plan={0: [SELL]}, told=told))
    run(made, candles([100.0] * 2))
    assert told == [
        (who, what, position)
        for what, position in (("s0 filled", 2), ("s0 filled", 2), ("s1 filled", -1))
        for who in ("first", "second", "strategy")
    ]


@pytest.mark.behaviour("R6")
def test_gates_hear_of_ends_by_strategies_commands_and_failures_even_where_the_strategy_does_not() -> None:
    told: Told = []

    class Failing(Hearing):
        def on_candle(self, candle: Any, view: View) -> Sequence[Any]:
            if candle.open_ns == START_NS + 2 * MINUTE_NS:
                raise ValueError("enough")
            return super().on_candle(candle, view)

    cancel = CancelRequest(f"l-s0-{X}-c{START_NS}-1")
    first = Hearing(plan={0: [RESTING], 1: [cancel], 3: [RESTING]}, told=told)
    second = Failing(plan={0: [RESTING]}, told=told)
    made = engine([Listening(told=told)], first, second, broker=ScriptedBroker())
    run(made, candles([100.0] * 4))
    assert told == [("gate", "s0 cancelled", 0), ("strategy", "s0 cancelled", 0), ("gate", "s1 cancelled", 0)]
    told.clear()
    made.step(Command(START_NS + 10 * MINUTE_NS, CommandAction.KILL, "test", "enough"))
    assert told == [("gate", "s0 cancelled", 0)]


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("call", ["on_fill", "on_end", "on_history"])
def test_gates_hear_once_of_each_order_that_ends_because_its_strategy_fails_in_what_it_is_told(call: str) -> None:
    told: Told = []

    class Failing(ScriptedStrategy):
        pass

    def fail(self: Strategy, *_: object) -> None:
        raise ValueError("enough")

    def fill_market_orders(broker: ScriptedBroker, event: Any) -> list[Any]:
        return [broker.fill(one, event) for one in list(broker.orders.values()) if one.type is OrderType.MARKET]

    setattr(Failing, call, fail)
    plan = {0: [RESTING, RESTING, BUY], 2: [CancelRequest(f"l-s0-{X}-c{START_NS + MINUTE_NS}-1")]}
    broker = ScriptedBroker(script=fill_market_orders, price=D(100))
    made = engine([Listening(told=told)], Failing(plan=plan), broker=broker)
    late, *others = candles([100.0] * 4)
    ends = only(OrderEnded, run(made, [*others, late]))
    assert len(ends) == 2
    assert [what for _, what, _ in told if what == "s0 cancelled"] == ["s0 cancelled"] * 2


def test_a_gate_that_listens_to_one_kind_only_hears_of_that() -> None:
    told: list[object] = []

    class Ends(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            return PASS

        def on_end(self, end: OrderEnded, view: View) -> None:
            told.append(end.outcome)

    cancel = CancelRequest(f"l-s0-{X}-c{START_NS + MINUTE_NS}-1")
    broker = ScriptedBroker(script=lambda broker, event: fill_all(broker, event) if len(broker.seen) == 2 else ())
    broker.price = D(100)
    run(
        engine([Ends()], ScriptedStrategy(plan={0: [BUY], 1: [RESTING], 2: [cancel]}), broker=broker),
        candles([100.0] * 4),
    )
    assert told == ["cancelled"]


@pytest.mark.behaviour("R6")
def test_a_gate_can_limit_by_what_it_remembers() -> None:
    """Two losing exits in a row, and nothing opens any more."""

    @define(kw_only=True, eq=False)
    class Streak(RiskGate):
        losses: int = field(init=False, default=0)

        def review(self, request: OrderRequest, view: View) -> Verdict:
            return Refuse("two losses", {"losses": str(self.losses)}) if self.losses >= 2 else PASS

        def on_fill(self, fill: OrderFilled, view: View) -> None:
            self.losses += any(name == "realised" and amount > 0 for name, amount in fill.postings)

    broker = ScriptedBroker(script=fill_all, price=D(100))

    def falling(broker: ScriptedBroker, event: Any) -> Any:
        fills = fill_all(broker, event)
        broker.price -= 1
        return fills

    broker.script = falling
    plan: dict[int, Sequence[Any]] = {number: [BUY if number % 2 == 0 else SELL] for number in range(8)}
    outputs = run(engine([Streak()], ScriptedStrategy(plan=plan), broker=broker), candles([100.0] * 8))
    [refused, *_] = only(OrderRefused, outputs)
    assert (refused.reason, refused.numbers) == ("two losses", {"losses": "2"})
    assert [filled.position for filled in only(OrderFilled, outputs)] == [1, 0, 1, 0]


# -- what they cannot -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R6", "O13")
@pytest.mark.parametrize(
    ("name", "value"),
    [("side", Side.SELL), ("quantity", D(90)), ("type", OrderType.LIMIT), ("limit", ONE), ("reduce_only", True),
     ("symbol", "ETHUSDT"), ("reason", "written by the gate"), ("leg", "x"), ("decided_ns", 1), ("stop_loss", ONE)],
)  # fmt: skip
@pytest.mark.parametrize("verdict", [PASS, Shrink(D("0.5"), "half")])
def test_a_gate_that_writes_to_the_request_it_is_shown_changes_neither_order_nor_later_gates(
    name: str, value: object, verdict: Verdict
) -> None:
    shown: list[OrderRequest] = []

    class Writing(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            force_setattr(request, name, value)
            return verdict

    class Later(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            shown.append(request)
            return PASS

    left = ONE if verdict is PASS else D("0.5")
    outputs = run(engine([Writing(), Later()], ScriptedStrategy(plan={0: [BUY]})), candles([100.0] * 2))
    [accepted] = only(OrderAccepted, outputs)
    assert (accepted.side, accepted.type, accepted.quantity, accepted.limit) == (Side.BUY, OrderType.MARKET, left, None)
    assert (accepted.reduce_only, accepted.symbol, accepted.reason, accepted.requested) == (False, X, "", ONE)
    assert [(one.side, one.quantity, one.symbol, one.reason) for one in shown] == [(Side.BUY, left, X, "")]
    assert only(OrderFilled, outputs)[0].position == left
    assert OrderRequest.buy(X, ONE) == BUY


# -- what they answer -------------------------------------------------------------------------------------------------


class Raising(Mapping[str, str]):
    """A mapping that cannot be read."""

    def __getitem__(self, name: str) -> str:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("not now")

    def __len__(self) -> int:
        return 1


class Nameless:
    """Has no description."""

    def __repr__(self) -> str:
        raise KeyError("no name")


BAD: list[tuple[Any, str]] = [
    (None, "numbers is None; expected a mapping of text to text"),
    ([("a", "b")], "numbers is [('a', 'b')]; expected a mapping"),
    ({"lost": 5}, "numbers['lost'] is 5; expected text"),
    ({"lost": D(5)}, "numbers['lost'] is Decimal('5'); expected text"),
    ({5: "lost"}, "a name in numbers is 5; expected text"),
    ({"lost": "\ud800"}, "expected text that can be written as UTF-8"),
    ({"\ud800": "5"}, "a name in numbers is"),
    ({"lost": "x" * 501}, "numbers['lost'] has 501 characters"),
    ({str(number): "x" for number in range(21)}, "numbers has 21 entries; expected at most 20"),
    (Raising(), "RuntimeError: not now"),
    (Nameless(), "numbers is <Nameless that cannot be described: KeyError>; expected a mapping"),
]


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize(("numbers", "said"), BAD, ids=[said[:40] for _, said in BAD])
@pytest.mark.parametrize("make", [lambda n: Refuse("no", n), lambda n: Shrink(D("0.5"), "half", n)])
def test_figures_that_cannot_be_journalled_are_a_refusal_that_says_so(
    make: Callable[[Any], Verdict], numbers: Any, said: str
) -> None:
    outputs = answering(make(numbers))
    [refused] = only(OrderRefused, outputs)
    assert refused.reason.startswith("the gate failed: ")
    assert said in refused.reason
    assert refused.numbers == {}


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("reason", [None, 5, b"no", "\ud800", "x" * 501, Nameless()])
@pytest.mark.parametrize("make", [Refuse, lambda reason: Shrink(D("0.5"), reason)])
def test_a_reason_that_cannot_be_journalled_is_a_refusal_that_says_so(
    make: Callable[[Any], Verdict], reason: Any
) -> None:
    [refused] = only(OrderRefused, answering(make(reason)))
    assert refused.reason.startswith("the gate failed: ")


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize("answer", [Nameless(), Refuse, Shrink, "no", 0, [], Shrink(Nameless(), "x")])  # type: ignore[arg-type]
def test_an_answer_that_is_no_verdict_is_a_refusal_whatever_it_is(answer: Any) -> None:
    [refused] = only(OrderRefused, answering(answer))
    assert refused.by == "g0"
    assert refused.reason.startswith("the gate a")


def answering(answer: Any) -> list[Any]:
    """Return the outputs of a buy before a gate that gives this answer; all of them can be journalled."""

    class Answering(RiskGate):
        def review(self, request: OrderRequest, view: View) -> Verdict:
            verdict: Verdict = answer
            return verdict

    outputs = run(engine([Answering()], ScriptedStrategy(plan={0: [BUY]})), candles([100.0] * 2))
    assert not only(OrderAccepted, outputs)
    assert all(encode(output) for output in outputs)
    return outputs


def test_the_figures_of_a_refusal_are_those_of_its_moment_whatever_the_gate_does_with_them_later() -> None:
    class Reusing(RiskGate):
        def __init__(self) -> None:
            self.figures = {"asked": "0"}

        def review(self, request: OrderRequest, view: View) -> Verdict:
            self.figures["asked"] = str(int(self.figures["asked"]) + 1)
            return Refuse("no", self.figures)

    outputs = run(engine([Reusing()], ScriptedStrategy(plan={0: [BUY], 1: [BUY]})), candles([100.0] * 2))
    assert [refused.numbers for refused in only(OrderRefused, outputs)] == [{"asked": "1"}, {"asked": "2"}]
