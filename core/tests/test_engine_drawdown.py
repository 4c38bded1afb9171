"""The deepest fall is followed in floats and reported to the last digit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.engine.drawdown import Drawdown, exact
from lab.testing.builders import instrument

D = Decimal


def follow(start: Decimal, equities: list[Decimal]) -> Drawdown:
    """Look where the engine would: beyond the bounds that the drawdown names. The first equity comes at 1."""
    drawdown = Drawdown(start)
    drawdown.rest(float(start), 0)
    for now_ns, equity in enumerate(equities, 1):
        value = float(equity)
        if value > drawdown.above or value < drawdown.below:
            drawdown.observe(value, (equity, ()), now_ns)
    return drawdown


def naive(start: Decimal, equities: list[Decimal]) -> tuple[Decimal, Decimal]:
    peak, deepest = start, D(0)
    for equity in equities:
        peak = max(peak, equity)
        deepest = max(deepest, peak - equity)
    return peak, deepest


@given(st.lists(st.integers(-(10**13), 10**13).map(lambda n: D(10_000) + D(n) * D("1e-9")), max_size=60))
def test_peak_and_deepest_fall_equal_an_exact_recomputation(equities: list[Decimal]) -> None:
    found = follow(D(10_000), equities)
    assert (found.peak, found.deepest) == naive(D(10_000), equities)
    assert found.lowest == min([D(10_000), *equities])


@given(
    st.lists(
        st.tuples(st.sampled_from([9_990, 10_000, 10_010]), st.integers(-5, 5)).map(
            lambda pair: D(pair[0]) + pair[1] * D("2e-10")
        ),
        max_size=60,
    )
)
def test_extremes_that_a_float_cannot_tell_apart_are_told_apart_by_the_exact_figures(equities: list[Decimal]) -> None:
    """Two falls or peaks closer than a billionth: the true one is found. (A fall of less than that in all is none.)"""
    found = follow(D(10_000), equities)
    peak, deepest = naive(D(10_000), equities)
    assert found.peak == peak
    assert found.deepest == deepest or deepest < D("4e-9")
    assert found.lowest - min([D(10_000), *equities]) < D("4e-9")  # a dip of less than that is none


def test_before_anything_fell_there_is_no_drawdown() -> None:
    found = follow(D(10_000), [D(10_000), D(10_000), D(10_001), D(10_001)])
    assert (found.peak, found.deepest) == (D(10_001), D(0))


def test_the_equity_of_a_moment_is_cash_and_what_is_held_at_its_marks() -> None:
    held = ((D(2), D(200), 110.1, instrument()), (D(-1), D(-50), 60.0, instrument()))
    assert exact((D(1_000), held)) == D("1010.2")


def test_positions_are_added_up_where_the_extreme_is_asked_for() -> None:
    drawdown = Drawdown(D(1_000))
    for mark in (110.0, 90.0, 95.0):
        drawdown.observe(1_000.0 + 2 * mark - 200, (D(1_000), ((D(2), D(200), mark, instrument()),)), 0)
    assert (drawdown.peak, drawdown.deepest) == (D(1_020), D(40))


@pytest.mark.parametrize("start", ["0", "0.5", "1e9"])
def test_a_book_of_any_size_can_be_followed(start: str) -> None:
    equities = [D(start) + change for change in (D(3), D(-2), D(4), D(1))]
    found = follow(D(start), equities)
    assert (found.peak, found.deepest) == (D(start) + 4, D(5))


def steepest(start: Decimal, equities: list[Decimal]) -> tuple[Decimal, Decimal]:
    peak, found = start, (start, start)
    for equity in equities:
        peak = max(peak, equity)
        if (peak - equity) * found[0] > (found[0] - found[1]) * peak:
            found = peak, equity
    return found


@given(st.lists(st.integers(1, 40_000).map(D), max_size=60))
def test_the_steepest_fall_in_relation_to_its_peak_equals_an_exact_recomputation(equities: list[Decimal]) -> None:
    found = follow(D(10_000), equities)
    peak, lowest = found.steepest_fall
    expected = steepest(D(10_000), equities)
    assert (peak - lowest) * expected[0] == (expected[0] - expected[1]) * peak
    assert found.deepest_fall[0] - found.deepest_fall[1] == found.deepest


def test_the_deepest_fall_in_money_and_the_steepest_in_relation_may_be_two() -> None:
    # 10,000 to 8,500 is 1,500 or 15 %; 20,000 to 18,000 is 2,000 or 10 %.
    found = follow(D(10_000), [D(8_500), D(20_000), D(18_000), D(19_000)])
    assert found.deepest_fall == (D(20_000), D(18_000))
    assert found.steepest_fall == (D(10_000), D(8_500))


def test_before_anything_fell_both_falls_are_from_the_start_to_the_start() -> None:
    found = follow(D(10_000), [D(10_000), D(10_001)])
    assert found.deepest_fall == found.steepest_fall == (D(10_000), D(10_000))


def test_the_steepest_fall_is_said_in_percent_and_is_0_without_a_deposit() -> None:
    assert follow(D(10_000), [D(8_500), D(20_000), D(18_000)]).steepest_percent == 15
    assert follow(D(9), [D(6)]).steepest_percent == D("33.3333333333")
    assert follow(D(0), [D(-3)]).steepest_percent == 0
    assert follow(D(100), [D(-50)]).steepest_percent == 150


def naive_longest(start: Decimal, equities: list[Decimal]) -> int:
    """Return the longest time between two peaks, or from the last peak to the last equity if that is below it."""
    peak, peak_at, longest = start, 0, 0
    for now, equity in enumerate(equities, 1):
        if equity > peak:
            longest, peak, peak_at = max(longest, now - peak_at), equity, now
    below = bool(equities) and equities[-1] < peak
    return max(longest, len(equities) - peak_at if below else 0)


@given(st.lists(st.integers(9_990, 10_010).map(D), max_size=60))
def test_the_longest_drawdown_is_the_longest_time_from_a_peak_to_the_next_or_until_now(equities: list[Decimal]) -> None:
    found = follow(D(10_000), equities)
    now = equities[-1] if equities else D(10_000)
    assert found.longest_ns(now, len(equities)) == naive_longest(D(10_000), equities)


def test_time_without_a_position_at_the_peak_is_no_drawdown_and_below_it_is() -> None:
    drawdown = Drawdown(D(100))
    drawdown.rest(100.0, 50)  # until 50 nothing was held
    drawdown.observe(90.0, (D(90), ()), 55)
    assert drawdown.longest_ns(D(90), 60) == 10
    drawdown.rest(90.0, 80)  # closed with a loss, and nothing held until 80: still below the peak
    assert drawdown.longest_ns(D(90), 80) == 30
    drawdown.observe(101.0, (D(101), ()), 90)
    assert drawdown.longest_ns(D(101), 500) == 40
