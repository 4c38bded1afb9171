"""Candles reach a strategy once and in order, and its history is long enough, contiguous and unchanging."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field
from lab.domain.control import Notice
from lab.domain.events import CandleIgnored, GapFound
from lab.domain.market import BACKFILLED, UNCONFIRMED, Candle, Funding
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.ports import Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, run
from lab.testing.harness import Action

if TYPE_CHECKING:
    from lab.domain.inputs import Input

X = "BTCUSDT"


@define(kw_only=True, eq=False)
class Reader(Strategy):
    """Notes every candle it is asked about and every change of the past."""

    window: int = 1
    seen: list[Candle] = field(init=False, factory=list)
    pasts: list[list[float]] = field(init=False, factory=list)

    @property
    def lookback(self) -> int:
        return self.window

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        self.seen.append(candle)
        return ()

    def on_history(self, view: View) -> None:
        self.pasts.append(list(view.closes(X)))


def engine(*strategies: Strategy, record: bool = True) -> Engine:
    return engine_with(strategies, record_inputs=record)


def closes(made: Engine) -> list[float]:
    return list(made.strategies[0].view.closes(X))


# -- G2: enough history -----------------------------------------------------------------------------------------------


@pytest.mark.behaviour("G2")
@pytest.mark.parametrize("lookback", [1, 43, 44, 300])
def test_at_every_decision_one_and_a_half_look_backs_are_there_as_soon_as_they_came(lookback: int) -> None:
    enough = -(-3 * lookback // 2)

    class Counting(Reader):
        def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
            self.seen.append(candle)
            came = lookback - 1 + len(self.seen)
            least = min(came, enough)
            assert len(view.candles(X)) >= least
            assert len(view.closes(X)) >= least
            assert view.candles(X)[-1] is candle
            return ()

    reader = Counting(window=lookback)
    made = engine(reader)
    run(made, candles([100.0] * (5 * lookback + 300)))
    assert not made.strategies[0].book.stopped
    assert len(reader.seen) == 4 * lookback + 301


@pytest.mark.behaviour("G2")
def test_an_average_of_300_closes_is_right_at_every_candle() -> None:
    prices = [round(100 + Random(1).random() * place, 1) for place in range(2_000)]

    class Averaging(Reader):
        def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
            self.seen.append(candle)
            came = 299 + len(self.seen)
            assert sum(view.closes(X)[-300:]) / 300 == sum(prices[came - 300 : came]) / 300
            return ()

    reader = Averaging(window=300)
    made = engine(reader)
    run(made, candles(prices))
    assert not made.strategies[0].book.stopped
    assert len(reader.seen) == 1_701


@pytest.mark.behaviour("G2")
def test_a_strategy_is_not_asked_before_its_look_back_is_there() -> None:
    short, long = Reader(window=2), Reader(window=4)
    made = engine(short, long)
    tape = candles([100.0] * 6)
    run(made, [tape[0]._replace(status=BACKFILLED), *tape[1:]])
    assert (short.seen, long.seen) == (tape[1:], tape[3:])
    totals = made.counters
    assert (totals.candles, totals.backfilled, totals.decisions) == (5, 1, 5 + 3)


@pytest.mark.behaviour("S10")
def test_memory_keeps_less_than_three_look_backs_of_candles() -> None:
    made = engine(Reader(window=100))
    longest = 0
    for candle in candles([100.0] * 2_000):
        made.step(candle)
        longest = max(longest, len(made.strategies[0].view.candles(X)))
    assert longest < 300


# -- order, duplicates, gaps ------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F7")
def test_a_candle_that_comes_again_is_ignored_and_not_worth_a_row() -> None:
    reader = Reader()
    made = engine(reader)
    tape = candles([100.0, 101.0, 102.0])
    outputs = run(made, [*tape, tape[2], tape[0]._replace(status=BACKFILLED)])
    assert outputs == reader.seen == tape
    assert made.counters.ignored_candles == 2


@pytest.mark.behaviour("F7")
def test_a_candle_that_comes_again_and_differs_is_an_event_and_never_a_changed_past() -> None:
    reader = Reader()
    made = engine(reader)
    tape = candles([100.0, 101.0, 102.0])
    changed = tape[1]._replace(close=101.5, high=101.5)
    outputs = run(made, [*tape, changed])
    assert outputs == [*tape, CandleIgnored(X, changed.open_ns, "differs")]
    assert reader.seen == tape
    assert closes(made) == [100.0, 101.0, 102.0]


@pytest.mark.behaviour("F8")
def test_a_gap_is_found_with_its_first_and_last_missing_candle() -> None:
    reader = Reader()
    made = engine(reader)
    tape = candles([100.0] * 6)
    outputs = run(made, [tape[0], tape[4], tape[5]])
    assert outputs == [tape[0], tape[4], GapFound(X, tape[1].open_ns, tape[3].open_ns, 3), tape[5]]
    assert reader.seen == [tape[0], tape[4], tape[5]]
    assert made.counters.gaps == 1


@pytest.mark.behaviour("F8")
@pytest.mark.parametrize(("calendar", "missing"), [("file", 0), ("Tue", 0), ("Mon 00:00-00:03", 2), ("", 3)])
def test_what_is_missing_while_the_market_is_closed_is_no_gap(calendar: str, missing: int) -> None:
    reader = Reader()
    made = engine_with((reader,), instruments=[instrument(X, calendar=calendar)])
    shift_ns = parse_time("2024-01-01") - START_NS  # a Monday
    tape = [
        one._replace(open_ns=one.open_ns + shift_ns, time_ns=one.time_ns + shift_ns) for one in candles([100.0] * 6)
    ]
    outputs = run(made, [tape[0], tape[4]])
    found = [one.missing for one in outputs if isinstance(one, GapFound)]
    assert found == ([missing] if missing else [])
    assert made.counters.gaps == len(found)
    assert reader.seen == [tape[0], tape[4]]


@pytest.mark.behaviour("F8")
@pytest.mark.parametrize("record", [True, False])
def test_a_late_candle_is_put_in_its_place_and_strategies_learn_of_it(record: bool) -> None:
    reader = Reader()
    made = engine(reader, record=record)
    tape = candles([100.0, 101.0, 102.0, 103.0])
    late = [tape[2]._replace(status=BACKFILLED), tape[1]._replace(status=BACKFILLED)]
    run(made, [tape[0], tape[3]])
    assert closes(made) == [100.0, 103.0]
    now_ns = made.state.now_ns
    assert run(made, late) == (late if record else [])
    assert reader.seen == [tape[0], tape[3]]
    assert reader.pasts == [[100.0, 102.0, 103.0], [100.0, 101.0, 102.0, 103.0]]
    assert list(made.strategies[0].view.candles(X)) == [tape[0], late[1], late[0], tape[3]]
    assert (made.counters.candles, made.counters.backfilled, made.state.now_ns) == (2, 2, now_ns)


@pytest.mark.behaviour("F9")
def test_history_that_comes_after_live_candles_warms_a_strategy_up() -> None:
    reader = Reader(window=5)
    made = engine(reader)
    tape = candles([float(number) for number in range(100, 110)])
    run(made, [*tape[6:8], *(candle._replace(status=BACKFILLED) for candle in tape[:6]), *tape[8:]])
    assert closes(made) == [float(number) for number in range(100, 110)]
    assert reader.seen == tape[8:]


@pytest.mark.behaviour("P6")
def test_a_strategy_that_raises_on_a_changed_past_is_stopped_alone_and_those_without_interest_are_not_told() -> None:
    class Failing(Reader):
        def on_history(self, view: View) -> None:
            raise RuntimeError("no")

    class Uninterested(Strategy):
        def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
            return ()

    reader, failing = Reader(), Failing()
    made = engine(failing, Uninterested(), reader)
    tape = candles([100.0] * 5)
    run(made, [tape[0], tape[2], tape[1], tape[4], tape[3]])
    assert [strategy.book.stopped for strategy in made.strategies] == [True, False, False]
    assert len(reader.pasts) == 2


@pytest.mark.behaviour("F8")
def test_a_missing_candle_is_placed_however_full_memory_is() -> None:
    for length in range(60, 200):
        made = engine(Reader())
        tape = candles([100.0] * (length + 3))
        run(made, [*tape[:length], tape[length + 2]])
        run(made, [tape[length]._replace(status=BACKFILLED), tape[length + 1]._replace(status=BACKFILLED)])
        newest = [candle.open_ns for candle in made.strategies[0].view.candles(X)][-4:]
        assert newest == [candle.open_ns for candle in tape[-4:]], f"after {length} candles"


@pytest.mark.behaviour("F7")
def test_a_candle_that_memory_let_go_is_not_taken_for_a_new_one() -> None:
    reader = Reader()
    made = engine(reader)
    tape = candles([float(number) for number in range(100, 300)])
    run(made, tape)
    run(made, [tape[0]._replace(status=BACKFILLED)])
    kept = made.strategies[0].view.candles(X)
    assert [candle.open_ns for candle in kept] == [candle.open_ns for candle in tape[-len(kept) :]]
    assert (made.counters.backfilled, made.counters.ignored_candles, reader.pasts) == (0, 1, [])


def test_a_candle_older_than_a_full_memory_is_ignored_and_said_to_be() -> None:
    made = engine(Reader())
    tape = candles([100.0] * 200)
    run(made, tape[1:128])
    assert run(made, [tape[0]]) == [CandleIgnored(X, START_NS, "too old")]


def test_the_time_never_goes_back_though_a_candle_is_confirmed_after_a_newer_quote() -> None:
    reader = Reader()
    made = engine(reader)
    first, second = candles([100.0, 101.0])
    [quote] = quotes([100.5], start_ns=second.time_ns + 2 * SECOND_NS)
    run(made, [first, quote, second])
    assert reader.seen == [first, second]
    assert made.state.now_ns == made.strategies[0].view.now_ns == quote.time_ns


# -- columns ----------------------------------------------------------------------------------------------------------


def test_columns_are_contiguous_read_only_doubles() -> None:
    made = engine(Reader())
    tape = candles([100.0, 103.0, 101.0], volume=7.0)
    run(made, tape)
    view = made.strategies[0].view
    for name in ("open", "high", "low", "close", "volume"):
        column: Any = view.column(X, name)
        assert column.tolist() == [getattr(candle, name) for candle in tape]
        assert (column.readonly, column.contiguous, column.ndim) == (True, True, 1)
        assert (column.format, column.itemsize) == ("d", 8)
        with pytest.raises(TypeError):
            column[0] = 1.0
    assert view.closes(X).tolist() == view.column(X, "close").tolist()
    with pytest.raises(LookupError, match=r"^'closed' is no column of candles; known: open, high, low, close, volume$"):
        view.column(X, "closed")


def test_a_column_handed_out_keeps_its_values_whatever_comes_after() -> None:
    made = engine(Reader())
    view = made.strategies[0].view
    given: list[tuple[Any, list[float]]] = []
    for candle in candles([float(number) for number in range(1, 700)]):
        made.step(candle)
        column: Any = view.closes(X)
        given.append((column, column.tolist()))
        assert column[-1] == candle.close
        assert column.tolist() == [kept.close for kept in view.candles(X)][-len(column) :]
    assert all(column.tolist() == values for column, values in given)


@pytest.mark.parametrize("pause", [1, 63, 64, 65, 127, 128, 129, 300])
def test_a_column_read_now_and_then_is_right_and_those_handed_out_keep_their_values(pause: int) -> None:
    made = engine(Reader())
    view = made.strategies[0].view
    given: list[tuple[Any, list[float]]] = []
    for place, candle in enumerate(candles([float(number) for number in range(1, 1_500)])):
        made.step(candle)
        if place % pause == 0:
            column: Any = view.closes(X)
            assert column.tolist() == [kept.close for kept in view.candles(X)][-len(column) :]
            assert len(column) == min(place + 1, 64)
            given.append((column, column.tolist()))
    assert all(column.tolist() == values for column, values in given)


def test_a_changed_past_leaves_the_columns_handed_out_before_as_they_were() -> None:
    made = engine(Reader())
    tape = candles([100.0, 101.0, 102.0])
    run(made, [tape[0], tape[2]])
    before = made.strategies[0].view.closes(X)
    run(made, [tape[1]])
    assert before.tolist() == [100.0, 102.0]
    assert closes(made) == [100.0, 101.0, 102.0]


# -- what changes no decision -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [True, False])
def test_notices_and_funding_rates_are_rows_of_a_live_session_and_nothing_else(record: bool) -> None:
    reader = Reader()
    made = engine(reader, record=record)
    inputs: Sequence[Input] = [
        Notice(START_NS, "feed", {"state": "live"}),
        Funding(X, START_NS, 0.0001, START_NS + MINUTE_NS, 100.0),
    ]
    assert run(made, inputs) == (list(inputs) if record else [])
    assert not reader.seen


@pytest.mark.behaviour("F7")
def test_a_candle_off_the_grid_of_its_interval_is_ignored_and_told() -> None:
    tape = candles([100.0, 101.0, 102.0])
    strange = tape[1]._replace(open_ns=tape[1].open_ns + 1)
    made = engine(Reader())
    outputs = run(made, [tape[0], strange, *tape[1:]])
    assert outputs == [tape[0], CandleIgnored(X, strange.open_ns, "off the grid of its interval"), *tape[1:]]
    assert (made.counters.candles, made.counters.ignored_candles) == (3, 1)


@pytest.mark.behaviour("F7")
def test_a_candle_the_venue_did_not_confirm_is_decided_on_and_counted() -> None:
    reader = Reader()
    made = engine(reader)
    tape = candles([100.0, 101.0])
    unsure = tape[1]._replace(status=UNCONFIRMED)
    assert run(made, [tape[0], unsure]) == [tape[0], unsure]
    assert reader.seen == [tape[0], unsure]
    assert (made.counters.candles, made.counters.unconfirmed) == (2, 1)
