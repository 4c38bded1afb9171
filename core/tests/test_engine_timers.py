"""Timers of strategies and gates fall due on venue time, before anything later is seen, and once in a gap."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.control import Command, CommandAction, Timer
from lab.domain.events import OrderAccepted, OrderFilled, OrderRefused, Signal
from lab.domain.inputs import Input
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import PASS, OrderRequest, Refuse, Side, Verdict
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.state import NEVER_NS
from lab.engine.view import View
from lab.ports import RiskGate, Strategy
from lab.testing.builders import START_NS, candles, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X = "BTCUSDT"
BUY = OrderRequest.buy(X, D(1))
Note = tuple[str, str, int, int, float | None]


@define(kw_only=True, eq=False)
class Ticking(Strategy):
    """Notes when its timer is called, and what it can see then; buys where its plan says so."""

    name: str = "strategy"
    every_ns: int = MINUTE_NS
    buys: bool = False
    notes: list[Note] = field(factory=list)

    @property
    def timer_ns(self) -> int:
        return self.every_ns

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        self.notes.append((self.name, "candle", view.now_ns, 0, candle.close))
        return ()

    def on_timer(self, now_ns: int, view: View) -> Iterable[OrderRequest]:
        quote = view.quote(X)
        self.notes.append((self.name, "timer", view.now_ns, now_ns, None if quote is None else quote.bid))
        return [BUY] if self.buys else ()


@define(kw_only=True, eq=False)
class Clock(RiskGate):
    """Notes when its timer is called and for which book; refuses what comes after the first call."""

    every_ns: int = MINUTE_NS
    notes: list[Note] = field(factory=list)
    shut: bool = field(init=False, default=False)

    @property
    def timer_ns(self) -> int:
        return self.every_ns

    def review(self, request: OrderRequest, view: View) -> Verdict:
        return Refuse("too late") if self.shut else PASS

    def on_timer(self, now_ns: int, view: View) -> None:
        self.shut = True
        self.notes.append(("gate", view.strategy, view.now_ns, now_ns, None))


def engine(*strategies: Strategy, **more: Any) -> Engine:
    return engine_with(strategies, broker=SimpleBroker(latency_ms=0), **more)


def at(seconds: float, price: float = 100.0) -> Quote:
    return quotes([price], start_ns=START_NS + int(seconds * SECOND_NS))[0]


def test_a_timer_is_called_at_whole_multiples_of_its_period_before_later_data_is_seen() -> None:
    strategy = Ticking()
    made = engine(strategy)
    assert made.next_timer_ns == 0
    run(made, [at(10, 100.0), at(59.999, 101.0), at(60, 102.0), at(130, 103.0), at(179, 104.0), at(185, 105.0)])
    minute = [START_NS + number * MINUTE_NS for number in range(4)]
    assert [(seen, due, round(bid or 0.0, 1)) for _, _, seen, due, bid in strategy.notes] == [
        (minute[1], minute[1], 100.9),
        (minute[2], minute[2], 101.9),
        (minute[3], minute[3], 103.9),
    ]
    assert made.next_timer_ns == START_NS + 4 * MINUTE_NS
    assert made.state.now_ns == START_NS + 185 * SECOND_NS


@pytest.mark.parametrize("days", [0.01, 1, 3, 400])
def test_however_long_nothing_came_a_timer_is_called_once(days: float) -> None:
    strategy = Ticking()
    made = engine(strategy)
    gap_ns = int(days * DAY_NS) // MINUTE_NS * MINUTE_NS + 30 * SECOND_NS
    run(made, [at(1), at(1)._replace(time_ns=START_NS + gap_ns)])
    assert [(seen, due) for _, _, seen, due, _ in strategy.notes] == [(START_NS + gap_ns - 30 * SECOND_NS,) * 2]


EVENTS: list[Input] = [
    Quote(X, START_NS + 90 * SECOND_NS, 99.9, 1.0, 100.1, 1.0),
    Trade(X, START_NS + 90 * SECOND_NS, 100.0, 1.0, Side.BUY),
    Depth(X, START_NS + 90 * SECOND_NS, (), ()),
    Timer(START_NS + 90 * SECOND_NS),
    Command(START_NS + 90 * SECOND_NS, CommandAction.CANCEL, "test", "x"),
    Candle(X, START_NS, START_NS + 90 * SECOND_NS, 100.0, 100.0, 100.0, 100.0, 1.0),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("record", [True, False])
def test_every_input_that_passes_the_due_time_calls_the_timer_first(event: Input, record: bool) -> None:
    """And the due time is a row of its own in a session, where something came of it."""
    strategy = Ticking(buys=True)
    made = engine(strategy, record_inputs=record)
    run(made, [at(1)])
    outputs = made.step(event)
    assert strategy.notes[0][:4] == ("strategy", "timer", START_NS + MINUTE_NS, START_NS + MINUTE_NS)
    [accepted] = only(OrderAccepted, outputs)
    assert accepted.order_id == f"l-s0-{X}-m{START_NS + MINUTE_NS}-1"
    assert accepted.placed_ns == START_NS + MINUTE_NS
    first = outputs.index(accepted)
    if record:
        assert [type(output) for output in outputs[:2]] == [type(event), Timer]
        assert outputs[1] == Timer(START_NS + MINUTE_NS)
        assert first == 2
    else:
        assert first == 0
    assert bool(only(OrderFilled, outputs)) is isinstance(event, Quote)


def test_a_due_time_at_which_nothing_came_about_is_no_row() -> None:
    made = engine(Ticking(), gates=[Clock()])
    assert run(made, [at(1), at(61), at(121)]) == []


def test_gates_come_before_strategies_and_each_gate_is_called_once_a_book() -> None:
    notes: list[Note] = []
    first, second = Ticking(name="first", notes=notes), Ticking(name="second", notes=notes, every_ns=2 * MINUTE_NS)
    made = engine(first, second, gates=[Clock(notes=notes), Clock(notes=notes, every_ns=2 * MINUTE_NS)])
    run(made, [at(1), at(61), at(125)])
    assert [(who, detail, due // MINUTE_NS - START_NS // MINUTE_NS) for who, detail, _, due, _ in notes] == [
        ("gate", "s0", 1), ("gate", "s1", 1), ("first", "timer", 1),
        ("gate", "s0", 2), ("gate", "s1", 2), ("gate", "s0", 2), ("gate", "s1", 2),
        ("first", "timer", 2), ("second", "timer", 2),
    ]  # fmt: skip


def test_due_times_of_different_periods_come_in_their_order() -> None:
    notes: list[Note] = []
    slow = Ticking(name="slow", notes=notes, every_ns=100 * SECOND_NS)
    quick = Ticking(name="quick", notes=notes, every_ns=70 * SECOND_NS)
    made = engine(quick, slow)
    base_ns = START_NS - START_NS % (700 * SECOND_NS)
    run(made, [at(0)._replace(time_ns=base_ns + 1), at(0)._replace(time_ns=base_ns + 235 * SECOND_NS)])
    assert [(who, (due - base_ns) // SECOND_NS) for who, _, _, due, _ in notes] == [("slow", 200), ("quick", 210)]


def test_what_a_gate_learns_from_its_timer_holds_for_the_decision_of_the_same_time() -> None:
    made = engine(Ticking(buys=True), gates=[Clock()])
    outputs = run(made, [at(1), at(61)])
    assert [refused.reason for refused in only(OrderRefused, outputs)] == ["too late"]


def test_a_stopped_strategys_timer_is_called_no_more_and_after_the_end_of_a_run_none_is() -> None:
    class Failing(Ticking):
        def on_timer(self, now_ns: int, view: View) -> Iterable[OrderRequest]:
            super().on_timer(now_ns, view)
            raise ValueError("once")

    failing, sound, clock = Failing(), Ticking(), Clock()
    made = engine(failing, sound, gates=[clock])
    run(made, [at(1), at(61), at(121)])
    assert (len(failing.notes), len(sound.notes), len(clock.notes)) == (1, 2, 4)
    made.step(Command(START_NS + 122 * SECOND_NS, CommandAction.STOP, "test", "x"))
    run(made, [at(181), at(241)])
    assert (len(failing.notes), len(sound.notes), len(clock.notes)) == (1, 2, 4)


@pytest.mark.parametrize("every_ns", [0, -1])
def test_who_has_no_period_or_no_method_has_no_timer(every_ns: int) -> None:
    class Deaf(ScriptedStrategy):
        @property
        def timer_ns(self) -> int:
            return MINUTE_NS

    made = engine(Ticking(every_ns=every_ns), Deaf(), gates=[Clock(every_ns=every_ns)])
    assert made.next_timer_ns == NEVER_NS
    run(made, [at(1), at(61)])
    assert made.next_timer_ns == NEVER_NS


@given(st.lists(st.integers(0, 200), min_size=1, max_size=40), st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_timers_are_called_in_order_at_due_times_and_never_after_later_data(
    steps: list[int], one: int, other: int, candles_too: bool
) -> None:
    notes: list[Note] = []
    made = engine(
        Ticking(name="one", notes=notes, every_ns=one * SECOND_NS),
        Ticking(name="other", notes=notes, every_ns=other * SECOND_NS),
    )
    periods = {"one": one * SECOND_NS, "other": other * SECOND_NS}
    now_ns, dues = START_NS, dict.fromkeys(periods, 0)
    for step in steps:
        before_ns, now_ns = now_ns, now_ns + step * SECOND_NS
        known = len(notes)
        made.step(Timer(now_ns) if candles_too else at(0)._replace(time_ns=now_ns))
        news = notes[known:]
        assert [due for _, _, _, due, _ in news] == sorted(due for _, _, _, due, _ in news)
        for name, _, seen, due, _ in news:
            assert seen == due
            assert due % periods[name] == 0
            assert before_ns <= due <= now_ns
            assert due > dues[name]
            dues[name] = due
        if before_ns != START_NS or step == 0:
            called = {name for name, *_ in news}
            passed = {name for name, period in periods.items() if now_ns // period > before_ns // period}
            assert called == passed or before_ns == START_NS
        assert made.next_timer_ns > now_ns


def test_candles_of_a_back_fill_pass_due_times_as_those_of_a_stream_do() -> None:
    strategy = Ticking(every_ns=5 * MINUTE_NS)
    made = engine(strategy)
    run(made, candles([100.0] * 12, status="backfilled"))
    assert [due for _, kind, _, due, _ in strategy.notes if kind == "timer"] == [
        START_NS + 5 * MINUTE_NS,
        START_NS + 10 * MINUTE_NS,
    ]


@pytest.mark.behaviour("F8")
def test_what_a_timer_asks_for_while_history_passes_is_a_signal_and_no_order() -> None:
    made = engine(Ticking(buys=True))
    history = run(made, candles([100.0] * 3, status="backfilled"))
    assert {signal.why for signal in only(Signal, history)} == {"backfilled"}
    assert not only(OrderAccepted, history)
    assert only(OrderAccepted, run(made, candles([100.0], start_ns=START_NS + 3 * MINUTE_NS)))
