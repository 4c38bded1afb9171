"""How long candles are, by the times at which they open: and where that can't be known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.spacing import intervals_of
from lab.domain.time import DAY_NS, MINUTE_NS, parse_time

MONDAY_NS = parse_time("2024-01-01")


def days(*numbers: int) -> list[int]:
    """Return times of opening, in days from a Monday on."""
    return [MONDAY_NS + number * DAY_NS for number in numbers]


@pytest.mark.parametrize(
    ("opens_ns", "lengths"),
    [
        ([0, 5, 10, 11], (5,)),
        ([0, 5, 15], (5,)),
        (days(0, 1, 2, 3, 4, 7, 8, 9), (DAY_NS,)),
        (days(0, 7, 14, 22), (7 * DAY_NS,)),
        (days(0, 4, 7, 11, 14), (DAY_NS,)),
        (days(0, 2, 4, 7, 9, 11), (DAY_NS,)),
        (days(4, 7), (DAY_NS, 3 * DAY_NS)),
        (days(0, 4), (DAY_NS, 4 * DAY_NS)),
        (days(0, 2, 4), (DAY_NS, 2 * DAY_NS)),
        (days(0, 3, 6, 9), (3 * DAY_NS,)),
        (days(1, 6), (5 * DAY_NS,)),
        ([MONDAY_NS, MONDAY_NS + 40 * 60 * MINUTE_NS], (2400 * MINUTE_NS,)),
    ],
    ids=[
        "the most common distance", "of equally common ones the shortest", "weekdays", "weeks", "Mondays and Fridays",
        "Mondays, Wednesdays and Fridays", "one Friday and Monday", "one Monday and Friday", "three of one week",
        "candles of three days", "one of a Sunday", "forty hours",
    ],
)  # fmt: skip
def test_candles_are_as_long_as_their_times_say_and_days_may_be_missing(
    opens_ns: list[int], lengths: tuple[int, ...]
) -> None:
    assert intervals_of(opens_ns) == lengths


@given(st.integers(1, 40), st.integers(5, 60), st.integers(0, 30))
def test_candles_that_follow_each_other_for_a_while_are_never_in_doubt(length: int, count: int, first: int) -> None:
    opens_ns = [MONDAY_NS + (first + number * length) * DAY_NS for number in range(max(count, 6))]
    assert intervals_of(opens_ns) == (length * DAY_NS,)
