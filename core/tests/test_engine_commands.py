"""A command may be given at any time, twice, and in any order; each does what it says and no more."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.control import Command, CommandAction, TradingState
from lab.domain.events import OrderAccepted, OrderEnded, OrderFilled, Signal
from lab.domain.market import Candle
from lab.domain.orders import Accepted, OrderRequest, OrderType, Rejected, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import Broker, Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"
BUY, SELL = OrderRequest.buy(X, D(1)), OrderRequest.sell(X, D(2))
EXIT = OrderRequest.sell(X, D(1), reduce_only=True)
RESTING = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))
CANCEL, FLATTEN, PAUSE, RESUME, STOP, KILL = (
    CommandAction.CANCEL, CommandAction.FLATTEN, CommandAction.PAUSE, CommandAction.RESUME, CommandAction.STOP,
    CommandAction.KILL,
)  # fmt: skip


def command(action: CommandAction, at: int = 100, why: str = "enough", who: str = "operator") -> Command:
    return Command(START_NS + at * MINUTE_NS, action, who, why)


@define(kw_only=True, eq=False)
class Noting(ScriptedStrategy):
    """Does what its plan says, and counts how often it was asked."""

    asked: int = field(init=False, default=0)
    halted: list[Sequence[str]] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
        self.asked += 1
        self.halted.append(view.halt_reasons)
        return super().on_candle(candle, view)


def engine(*strategies: Strategy, broker: Broker | None = None, symbols: Sequence[str] = (X,), **more: Any) -> Engine:
    broker = broker or SimpleBroker(latency_ms=0)
    return engine_with(strategies, broker=broker, instruments=map(instrument, symbols), **more)


def later(count: int, *, at: int = 100, price: float = 100.0) -> list[Candle]:
    return candles([price] * count, start_ns=START_NS + at * MINUTE_NS)


# -- pause and resume -------------------------------------------------------------------------------------------------


def test_while_paused_no_entry_is_placed_and_exits_and_cancels_go_on() -> None:
    strategy = Noting(plan={0: [BUY, RESTING], 2: [BUY, EXIT], 4: [BUY]})
    made = engine(strategy)
    run(made, candles([100.0] * 2))
    assert made.step(command(PAUSE, at=2)) == [command(PAUSE, at=2)]
    outputs = run(made, later(2, at=2))
    assert [signal.why for signal in only(Signal, outputs)] == ["halted: paused by operator: enough"]
    assert [filled.position for filled in only(OrderFilled, outputs)] == [0]
    assert list(made.state.working) == [f"l-s0-{X}-c{START_NS}-2"]
    made.step(command(RESUME, at=4))
    assert only(OrderAccepted, run(made, later(1, at=4)))
    assert strategy.halted == [(), (), ("paused by operator: enough",), ("paused by operator: enough",), ()]


def test_a_pause_and_what_the_session_says_halt_trading_side_by_side() -> None:
    made = engine(Noting(plan={}))
    view = made.strategies[0].view
    made.step(TradingState(START_NS, ("stale", "clock")))
    made.step(command(PAUSE))
    assert view.halt_reasons == ("stale", "clock", "paused by operator: enough")
    made.step(command(PAUSE, why="again", who="other"))
    assert view.halt_reasons == ("stale", "clock", "paused by other: again")
    made.step(TradingState(START_NS, ()))
    assert view.halt_reasons == ("paused by other: again",)
    made.step(TradingState(START_NS, ("stale",)))
    for _ in range(2):
        made.step(command(RESUME))
        assert view.halt_reasons == ("stale",)


# -- cancel, flatten, stop, kill --------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [CANCEL, FLATTEN, STOP, KILL])
def test_what_works_is_cancelled_with_the_command_as_its_reason(action: CommandAction) -> None:
    made = engine(Noting(plan={0: [RESTING]}), Noting(plan={0: [RESTING, RESTING]}))
    run(made, candles([100.0]))
    given_, *ends = made.step(command(action))
    assert given_ == command(action)
    assert [(end.strategy, end.outcome, end.reason) for end in ends] == [  # type: ignore[attr-defined]
        (name, "cancelled", f"{action} by operator: enough") for name in ("s0", "s1", "s1")
    ]
    assert not made.state.working
    assert made.counters.cancelled == 3


@pytest.mark.parametrize("action", [FLATTEN, KILL])
def test_every_position_of_every_book_is_closed_with_the_command_as_its_reason(action: CommandAction) -> None:
    entries = [OrderRequest.sell(X, D(2)), OrderRequest.buy(Y, D(3))]
    made = engine(Noting(plan={0: [BUY]}), Noting(plan={0: entries}), symbols=(X, Y))
    pairs = [[x, y] for x, y in zip(candles([100.0] * 2), candles([50.0] * 2, symbol=Y), strict=True)]
    run(made, [candle for pair in pairs for candle in pair])
    closing = only(OrderAccepted, made.step(command(action)))
    assert sorted((order.strategy, order.symbol, order.side, order.quantity) for order in closing) == [
        ("s0", X, Side.SELL, 1), ("s1", X, Side.BUY, 2), ("s1", Y, Side.SELL, 3),
    ]  # fmt: skip
    assert {(order.reduce_only, order.type, order.reason) for order in closing} == {
        (True, OrderType.MARKET, f"{action} by operator: enough")
    }
    assert closing[0].order_id == f"l-s0-{X}-x{command(action).time_ns}-close"
    run(made, [*later(1), *candles([50.0], symbol=Y, start_ns=START_NS + 100 * MINUTE_NS)])
    assert all(not strategy.view.held() for strategy in made.strategies)


@pytest.mark.parametrize(("action", "goes_on"), [(CANCEL, True), (FLATTEN, True), (STOP, False), (KILL, False)])
def test_only_stop_and_kill_end_the_run(action: CommandAction, goes_on: bool) -> None:
    strategy = Noting(plan={3: [BUY]})
    made = engine(strategy)
    run(made, candles([100.0] * 2))
    made.step(command(action, at=2))
    run(made, later(3, at=2))
    assert made.state.stopping is not goes_on
    assert strategy.asked == (5 if goes_on else 2)
    assert made.counters.decisions == strategy.asked
    assert made.strategies[0].view.position(X).quantity == (1 if goes_on else 0)


def test_stop_leaves_a_position_open_and_flatten_after_it_closes_it() -> None:
    made = engine(Noting(plan={0: [BUY]}), record_inputs=False)
    run(made, candles([100.0] * 2))
    assert made.step(command(STOP)) == []
    assert made.strategies[0].view.position(X).quantity == 1
    [closing] = made.step(command(FLATTEN))
    assert isinstance(closing, OrderAccepted)
    run(made, later(1, at=101))
    assert made.strategies[0].view.position(X).quantity == 0


@pytest.mark.parametrize("first", [FLATTEN, KILL])
@pytest.mark.parametrize("second", [FLATTEN, KILL])
@pytest.mark.parametrize("apart", [0, 1])
def test_a_position_is_closed_once_however_often_that_is_asked_for(
    first: CommandAction, second: CommandAction, apart: int
) -> None:
    """Also where both came at one time: the first one's order is cancelled, and the second one places another."""
    made = engine(Noting(plan={0: [BUY]}))
    run(made, candles([100.0] * 2))
    outputs = [*made.step(command(first)), *made.step(command(second, at=100 + apart))]
    accepted = only(OrderAccepted, outputs)
    assert len({order.order_id for order in accepted}) == len(accepted) == 2
    outputs += run(made, later(2, at=102))
    assert [filled.position for filled in only(OrderFilled, outputs)] == [0]
    assert made.strategies[0].view.position(X).quantity == 0
    assert not made.state.working


def test_an_order_of_which_the_broker_says_that_it_is_too_late_works_on() -> None:
    class Late(ScriptedBroker):
        def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
            return Rejected("too late")

    made = engine(Noting(plan={0: [RESTING]}), broker=Late())
    run(made, candles([100.0]))
    assert made.step(command(CANCEL)) == [command(CANCEL)]
    assert len(made.state.working) == 1
    assert len(only(OrderEnded, made.step(command(KILL)))) == 1  # the run is over: nobody waits for the broker
    assert not made.state.working


def test_a_command_of_an_earlier_time_than_the_newest_data_does_not_turn_time_back() -> None:
    made = engine(Noting(plan={0: [BUY]}))
    run(made, [*candles([100.0] * 2), *quotes([100.0], start_ns=START_NS + 5 * MINUTE_NS)])
    [closing] = only(OrderAccepted, made.step(command(FLATTEN, at=0)))
    assert closing.placed_ns == made.state.now_ns == START_NS + 5 * MINUTE_NS


def test_a_command_is_obeyed_before_anything_else_came() -> None:
    for action in CommandAction:
        made = engine(Noting(plan={0: [BUY]}))
        assert made.step(command(action)) == [command(action)]
        assert made.state.now_ns == command(action).time_ns


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from([*CommandAction, "candle", "candle", "quote"]), st.integers(0, 2)),
        min_size=1, max_size=30,
    ),
    st.booleans(),
)  # fmt: skip
def test_any_commands_in_any_order_leave_nothing_working_or_held_after_a_kill(
    events: list[tuple[Any, int]], several: bool
) -> None:
    """Entries are placed on every candle; the state is what the newest commands say; a kill at the end closes all."""
    plan = {number: [BUY if number % 3 else SELL, RESTING] for number in range(40)}
    made = engine(*(Noting(plan=plan) for _ in range(2 if several else 1)))
    now_ns, opened, paused, ended = START_NS, 0, False, False
    outputs: list[Any] = []
    for kind, step in [*events, (KILL, 0)]:
        now_ns += step * SECOND_NS
        if kind == "candle":
            open_ns = START_NS + opened * MINUTE_NS
            opened += 1
            now_ns = max(now_ns, open_ns + MINUTE_NS)
            result = made.step(Candle(X, open_ns, now_ns, 100.0, 100.0, 100.0, 100.0, 1.0))
            entries = [order for order in only(OrderAccepted, result) if not order.reduce_only]
            assert not entries or not (paused or ended)
        elif kind == "quote":
            result = made.step(*quotes([100.0], start_ns=now_ns))
        else:
            paused = kind is PAUSE or (paused and kind is not RESUME)
            ended = ended or kind in (STOP, KILL)
            result = made.step(Command(now_ns, kind, "test", "any"))
            assert made.state.stopping is ended
            assert bool(made.state.halt_reasons) is paused
            if kind is not PAUSE and kind is not RESUME:
                assert all(open_.order.id.endswith("-close") for open_ in made.state.working.values())
        outputs += result
    outputs += made.step(*quotes([100.0], start_ns=now_ns + SECOND_NS))
    assert all(not strategy.view.held() for strategy in made.strategies)
    assert not made.state.working
    accepted = [order.order_id for order in only(OrderAccepted, outputs)]
    finished = [end.order_id for end in only(OrderEnded, outputs)]
    finished += [filled.fill.order_id for filled in only(OrderFilled, outputs) if not filled.remaining]
    assert len(set(accepted)) == len(accepted)
    assert sorted(accepted) == sorted(finished)


@pytest.mark.behaviour("O8")
def test_a_position_above_the_largest_order_is_closed_by_several_each_with_an_id_of_its_own() -> None:
    """Three orders of 2 coins made the 5 that are held: 2 + 2 + 1 close them."""
    plan = {0: [OrderRequest.buy(X, D(2)), OrderRequest.buy(X, D(2)), OrderRequest.buy(X, D(1))]}
    known = [instrument(X, quantity_max=D(2))]
    made = engine_with([Noting(plan=plan)], broker=SimpleBroker(latency_ms=0), instruments=known)
    run(made, candles([100.0] * 2))
    closing = only(OrderAccepted, made.step(command(FLATTEN, at=2)))
    assert [order.quantity for order in closing] == [2, 2, 1]
    assert len({order.order_id for order in closing}) == 3
    assert [filled.position for filled in only(OrderFilled, run(made, later(1, at=2)))] == [3, 1, 0]
