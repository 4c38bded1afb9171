"""A back-fill of any length is one input: placed in one pass, learned of once, and the same as one candle at a time."""

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.events import CandleIgnored, GapFound, StrategyStopped
from lab.domain.market import BACKFILLED, Backfill, Candle
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.journal.state import totals_of
from lab.ports import Strategy
from lab.testing.builders import START_NS, candles, waves
from lab.testing.engines import engine_with, run

X = "BTCUSDT"
D = Decimal


@define(kw_only=True, eq=False)
class Reader(Strategy):
    """Notes what it is asked about, what it could see then, and each change of the past."""

    window: int = 1
    seen: list[tuple[Candle, int, list[float]]] = field(init=False, factory=list)
    pasts: list[list[float]] = field(init=False, factory=list)

    @property
    def lookback(self) -> int:
        return self.window

    def on_candle(self, candle: Candle, view: View) -> Iterable[Any]:
        self.seen.append((candle, view.now_ns, list(view.closes(X))))
        return ()

    def on_history(self, view: View) -> None:
        self.pasts.append(list(view.closes(X)))


def engine(*strategies: Strategy, record: bool = True) -> Engine:
    return engine_with(strategies, record_inputs=record)


def backfill(some: Iterable[Candle], time_ns: int = START_NS + 10**6 * MINUTE_NS) -> Backfill:
    return Backfill(X, time_ns, tuple(candle._replace(status=BACKFILLED) for candle in some))


@pytest.mark.behaviour("F8", "F9")
def test_thirty_thousand_late_candles_are_placed_in_one_pass_and_learned_of_once() -> None:
    """One at a time, each with a change of the past, they took 17 s."""
    reader = Reader(window=25_000)
    made = engine(reader, record=False)
    some = candles(waves(30_002))
    run(made, some[-2:])
    began = time.perf_counter()
    run(made, [backfill(some[:-2])])
    took = time.perf_counter() - began
    assert took < 2.0
    assert len(reader.pasts) == 1
    assert reader.pasts[0] == [candle.close for candle in some]
    assert made.counters.backfilled == 30_000
    assert not reader.seen


def test_ten_times_as_many_late_candles_take_about_ten_times_as_long() -> None:
    def seconds(count: int) -> float:
        made = engine(Reader(window=count), record=False)
        some = candles([100.0] * (count + 2))
        run(made, some[-2:])
        late = backfill(some[:-2])
        began = time.process_time()
        made.step(late)
        return time.process_time() - began

    small = min(seconds(2_000) for _ in range(5))
    assert min(seconds(20_000) for _ in range(3)) < 30 * max(small, 0.001)


@pytest.mark.behaviour("F9")
def test_a_back_fill_before_anything_else_warms_up_as_a_stream_would() -> None:
    some = candles(waves(20))
    one, other = Reader(window=5), Reader(window=5)
    made, expected = engine(one), engine(other)
    outputs = run(made, [backfill(some[:10]), *some[10:]])
    assert outputs == run(expected, [*(candle._replace(status=BACKFILLED) for candle in some[:10]), *some[10:]])
    assert one.seen == other.seen
    assert not one.pasts
    assert totals_of(made) == totals_of(expected)


@pytest.mark.behaviour("F7", "F8")
def test_of_a_back_fill_each_candle_finds_its_place_and_what_is_wrong_is_said() -> None:
    some = candles([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0])
    reader = Reader()
    made = engine(reader)
    run(made, [some[1], some[3]])
    strange = some[2]._replace(open_ns=some[2].open_ns + 1)
    differs = some[3]._replace(close=99.0, low=99.0)
    given_ = backfill([some[0], strange, some[1], some[2], differs, some[4], some[6]])
    outputs = run(made, [given_])
    assert outputs == [
        CandleIgnored(X, strange.open_ns, "off the grid of its interval"),
        given_.candles[0], given_.candles[3],
        CandleIgnored(X, differs.open_ns, "differs"),
        given_.candles[5], given_.candles[6], GapFound(X, some[5].open_ns, some[5].open_ns, 1),
    ]  # fmt: skip
    assert made.counters.ignored_candles == 3
    assert reader.pasts == [[100.0, 101.0, 102.0, 103.0]]
    assert [candle.close for candle in made.strategies[0].view.candles(X)] == [100.0, 101.0, 102.0, 103.0, 104.0, 106.0]


def test_an_empty_back_fill_and_one_of_known_candles_change_nothing() -> None:
    reader = Reader()
    made = engine(reader)
    some = candles([100.0, 101.0])
    assert run(made, [backfill([])]) == []
    run(made, some)
    assert run(made, [backfill([]), backfill(some)]) == []
    assert reader.pasts == []
    assert made.counters.ignored_candles == 2


def test_a_strategy_that_raises_on_a_back_fill_is_stopped_alone() -> None:
    class Failing(Reader):
        def on_history(self, view: View) -> None:
            raise RuntimeError("no")

    failing, sound = Failing(), Reader()
    made = engine(failing, sound)
    some = candles([100.0] * 5)
    run(made, [some[0], some[4]])
    outputs = run(made, [backfill(some[1:4])])
    assert [output.strategy for output in outputs if isinstance(output, StrategyStopped)] == ["s0"]
    assert len(sound.pasts) == 1


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["live", "late", "lost", "again"]), min_size=1, max_size=60), st.integers(1, 20))
def test_a_back_fill_and_its_candles_one_at_a_time_come_to_the_same(fates: list[str], window: int) -> None:
    """Decisions, history, counters and rows are equal; only how often the past changed differs."""
    some = candles([100.0 + number % 7 for number in range(len(fates))])
    live = [candle for candle, fate in zip(some, fates, strict=True) if fate in {"live", "again"}]
    late = backfill(candle for candle, fate in zip(some, fates, strict=True) if fate in {"late", "again"})
    after = candles([101.0] * 3, start_ns=START_NS + len(fates) * MINUTE_NS)
    one, other = Reader(window=window), Reader(window=window)
    made, expected = engine(one), engine(other)
    outputs = run(made, [*live, late, *after])
    assert outputs == run(expected, [*live, *late.candles, *after])
    assert one.seen == other.seen
    assert one.pasts[-1:] == other.pasts[-1:]
    assert len(one.pasts) <= 1
    assert made.strategies[0].view.candles(X) == expected.strategies[0].view.candles(X)
    assert totals_of(made) == totals_of(expected)
    assert made.state.now_ns == expected.state.now_ns


def test_the_time_of_a_back_fill_itself_moves_no_clock() -> None:
    made = engine(Reader())
    some = candles([100.0] * 3)
    run(made, [some[0], some[2]])
    made.step(backfill([some[1]], time_ns=some[2].time_ns + SECOND_NS))
    assert made.state.now_ns == some[2].time_ns
