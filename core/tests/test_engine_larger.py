"""Candles of larger intervals, made of the run's own: whole ones, on the grid, from the moment they close."""

from collections.abc import Iterable, Sequence

import pytest
from lab.domain.market import BACKFILLED, FINAL, UNCONFIRMED, Backfill, Candle
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.testing.builders import START_NS, candles, waves
from lab.testing.engines import engine_with, run
from lab.testing.harness import ScriptedStrategy

X = "BTCUSDT"
FIVE_NS = 5 * MINUTE_NS


def engine(lookback: int = 1) -> Engine:
    class Needs(ScriptedStrategy):
        @property
        def lookback(self) -> int:
            return lookback

    return engine_with([Needs()])


def view_of(made: Engine) -> View:
    return made.strategies[0].view


def minutes(*rows: tuple[int, float, float, float, float, float]) -> list[Candle]:
    """Return candles of a minute: its number from the start on, open, high, low, close, volume."""
    return [
        Candle(X, START_NS + at * MINUTE_NS, START_NS + (at + 1) * MINUTE_NS, *figures, FINAL) for at, *figures in rows
    ]


def made_of(kept: Sequence[Candle], parts: int) -> list[Candle]:
    """Return, in the plainest way, the whole candles of ``parts`` minutes that some candles make up."""
    buckets: dict[int, list[Candle]] = {}
    for one in kept:
        buckets.setdefault(one.open_ns // (parts * MINUTE_NS), []).append(one)
    return [
        Candle(
            X, number * parts * MINUTE_NS, max(one.time_ns for one in some), some[0].open,
            max(one.high for one in some), min(one.low for one in some), some[-1].close,
            round(sum(one.volume for one in some), 8),
            next((status for status in (UNCONFIRMED, BACKFILLED) if status in {one.status for one in some}), FINAL),
        )
        for number, some in sorted(buckets.items())
        if len(some) == parts
    ]  # fmt: skip


@pytest.mark.behaviour("G3")
def test_five_minutes_make_a_candle_with_the_moment_they_end() -> None:
    made = engine()
    rows = minutes(
        (0, 10.0, 12.0, 9.0, 11.0, 1.0), (1, 11.0, 11.5, 10.0, 10.5, 2.0), (2, 10.5, 15.0, 10.5, 14.0, 3.0),
        (3, 14.0, 14.0, 7.0, 8.0, 4.0), (4, 8.0, 9.0, 8.0, 8.5, 0.5), (5, 8.5, 99.0, 1.0, 50.0, 9.0),
    )  # fmt: skip
    run(made, rows[:4])
    assert list(view_of(made).candles(X, "5m")) == []
    run(made, rows[4:5])
    whole = Candle(X, START_NS, START_NS + FIVE_NS, 10.0, 15.0, 7.0, 8.5, 10.5, FINAL)
    assert list(view_of(made).candles(X, "5m")) == [whole]
    run(made, rows[5:])
    assert list(view_of(made).candles(X, "5m")) == [whole], "what comes later is not in it"


def test_a_run_that_begins_inside_a_larger_candle_has_its_first_whole_one_behind_that() -> None:
    made = engine()
    run(made, minutes(*((at, 1.0, 1.0, 1.0, 1.0, 1.0) for at in range(3, 16))))
    assert [one.open_ns - START_NS for one in view_of(made).candles(X, "5m")] == [FIVE_NS, 2 * FIVE_NS]


@pytest.mark.behaviour("G3")
def test_a_candle_in_which_a_minute_is_missing_is_left_out_until_that_was_filled_in() -> None:
    made = engine()
    rows = minutes(*((at, 1.0, 1.0 + at, 1.0, 1.0, 1.0) for at in range(15)))
    run(made, [*rows[:7], *rows[8:]])
    begins = [one.open_ns - START_NS for one in view_of(made).candles(X, "5m")]
    assert begins == [0, 2 * FIVE_NS]
    run(made, [Backfill(X, rows[-1].time_ns, (rows[7]._replace(status=BACKFILLED),))])
    found = list(view_of(made).candles(X, "5m"))
    assert found == made_of(view_of(made).candles(X), 5)
    assert [one.status for one in found] == [FINAL, BACKFILLED, FINAL]


def test_an_unconfirmed_minute_makes_the_whole_candle_unconfirmed() -> None:
    made = engine()
    rows = minutes(*((at, 1.0, 1.0, 1.0, 1.0, 1.0) for at in range(5)))
    run(made, [rows[0]._replace(status=BACKFILLED), rows[1]._replace(status=UNCONFIRMED), *rows[2:]])
    assert [one.status for one in view_of(made).candles(X, "5m")] == [UNCONFIRMED]


@pytest.mark.parametrize("asked", [range(1, 2000, 1), range(1, 2000, 37), [1999]])
def test_what_is_there_follows_from_the_candles_kept_whenever_it_is_asked_for(asked: Iterable[int]) -> None:
    """Candles drop out at the other end, one is missing, and nothing depends on earlier questions."""
    made, moments = engine(lookback=60), set(asked)
    stream = candles(waves(2000))
    del stream[900]
    for number, candle in enumerate(stream, 1):
        run(made, [candle])
        if number in moments:
            for parts in (3, 15):
                kept = view_of(made).candles(X)
                assert list(view_of(made).candles(X, f"{parts}m")) == made_of(kept, parts), number


@pytest.mark.behaviour("G3")
def test_a_look_back_of_whole_candles_is_there_at_every_candle() -> None:
    wanted, parts = 7, 5
    made = engine(lookback=(wanted + 1) * parts - 1)
    for number, candle in enumerate(candles(waves(400)), 1):
        run(made, [candle])
        if number >= made.strategies[0].lookback:
            assert len(view_of(made).candles(X, "5m")) >= wanted


def test_the_runs_own_interval_gives_its_own_candles() -> None:
    made = engine()
    run(made, candles(waves(9)))
    assert view_of(made).candles(X, "1m") == view_of(made).candles(X)
    assert view_of(made).candles(X, "60s") == view_of(made).candles(X)


def test_two_names_of_one_length_are_one_and_what_is_none_is_refused_by_name() -> None:
    made = engine()
    run(made, candles(waves(130)))
    assert view_of(made).candles(X, "120m") == view_of(made).candles(X, "2h")
    with pytest.raises(ValueError, match=r"90s candles cannot be made of the run's: it is no multiple"):
        view_of(made).candles(X, "90s")
    with pytest.raises(ValueError, match="not an interval: 'five'"):
        view_of(made).candles(X, "five")
    with pytest.raises(LookupError, match="'Z' is no market of this run; known: BTCUSDT"):
        view_of(made).candles("Z", "5m")


def test_so_many_intervals_are_in_use_and_no_more() -> None:
    made = engine()
    for parts in range(2, 34):
        view_of(made).candles(X, f"{parts}m")
    with pytest.raises(ValueError, match="34m: 32 intervals of a symbol are in use, which is the most"):
        view_of(made).candles(X, "34m")


def test_nothing_that_is_shown_can_be_changed() -> None:
    made = engine()
    run(made, candles(waves(20)))
    with pytest.raises(AttributeError):
        view_of(made).candles(X, "5m").append(None)  # type: ignore[attr-defined]
