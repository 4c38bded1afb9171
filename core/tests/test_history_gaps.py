"""Which candles are missing, how far back that matters, and when they are asked for again."""

import pytest
from lab.domain.time import MINUTE_NS
from lab.engine.history import History
from lab.live.gaps import Gaps
from lab.testing import START_NS
from lab.testing.builders import candles

SOME = candles([100.0] * 40)


def history(*minutes: int) -> History:
    made = History(MINUTE_NS, 64)
    made.candles += [SOME[minute] for minute in minutes]
    made.next_ns = SOME[minutes[-1]].open_ns + MINUTE_NS
    return made


def minute(number: int) -> int:
    return START_NS + (SOME[0].open_ns - START_NS) + number * MINUTE_NS


@pytest.mark.behaviour("F8")
def test_what_is_missing_is_what_history_lacks_of_all_gaps_as_far_back_as_it_reaches() -> None:
    made = history(0, 1, 5, 6, 9)
    gaps = Gaps(made)
    assert gaps.due == float("inf")
    gaps.add(minute(2), minute(4))
    gaps.add(minute(7), minute(8))
    assert gaps.due == float("-inf")
    assert gaps.missing() == [minute(n) for n in (2, 3, 4, 7, 8)]
    made.merge([SOME[2], SOME[7], SOME[8]])
    assert gaps.missing() == [minute(3), minute(4)]
    assert gaps.count == 2
    made.next_ns = minute(4 + 64)
    assert gaps.missing() == [minute(4)]
    made.next_ns = minute(5 + 64)
    assert gaps.missing() == []
    assert gaps.due == float("inf")


@pytest.mark.behaviour("F8")
def test_an_answer_without_them_is_said_once_and_asked_for_again_ever_more_rarely() -> None:
    gaps = Gaps(history(0, 2))
    gaps.add(minute(1), minute(1))
    waits, said, now = [], [], 0.0
    for _ in range(7):
        said.append(gaps.answered(gaps.missing(), now))
        waits.append(gaps.due - now)
        now = gaps.due
    assert waits == [2, 5, 15, 60, 300, 300, 300]
    assert said == [False, False, True, False, False, False, False]
    gaps.recovered()
    assert gaps.due == float("-inf")
    assert not gaps.answered(gaps.missing(), now)
    assert not gaps.answered([], now)
    gaps.forget()
    assert gaps.due == float("inf")


def test_of_more_than_a_thousand_gaps_the_newest_are_kept() -> None:
    made = History(MINUTE_NS, 5_000)
    made.next_ns = minute(3_001)
    gaps = Gaps(made)
    for number in range(1, 3_001, 2):
        gaps.add(minute(number), minute(number))
    assert gaps.missing() == [minute(number) for number in range(1_001, 3_001, 2)]
