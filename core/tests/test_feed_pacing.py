"""Waits and budgets, on a clock that the test moves."""

from random import Random

import pytest
from lab.feed.pacing import Backoff, CoolDown


@pytest.mark.behaviour("F1")
@pytest.mark.parametrize("seed", range(20))
def test_waits_double_to_thirty_seconds_with_jitter_and_never_exceed_36(seed: int) -> None:
    backoff = Backoff(Random(seed))
    waits = [backoff.wait_s(0) for _ in range(200)]
    for place, wait in enumerate(waits):
        base = min(30.0, 0.5 * 2**place)
        assert 0.8 * base <= wait <= 1.2 * base
    assert len(set(waits)) > 190


@pytest.mark.behaviour("F1")
@pytest.mark.parametrize("seed", range(20))
def test_a_venue_that_accepts_and_closes_sees_at_most_ten_connects_a_minute(seed: int) -> None:
    backoff, now, connects = Backoff(Random(seed)), 0.0, []
    while now < 600:
        connects.append(now)
        backoff.live(now)  # accepted, spoke, and closed at once
        now += backoff.wait_s(now)
    assert max(sum(first <= at < first + 60 for at in connects) for first in connects) <= 10


@pytest.mark.behaviour("F1")
def test_only_thirty_seconds_of_live_data_start_the_waits_over() -> None:
    backoff = Backoff(Random(1), jitter=0.0)
    assert [backoff.wait_s(0) for _ in range(4)] == [0.5, 1, 2, 4]
    backoff.live(100)
    assert backoff.wait_s(129.9) == 8
    backoff.live(200)
    backoff.live(220)
    assert backoff.wait_s(230) == 0.5


def test_a_cool_down_doubles_to_five_minutes_until_a_call_succeeds() -> None:
    cool, now, lengths = CoolDown(), 0.0, []
    for _ in range(6):
        cool.begin(now, "HTTP 429")
        cool.begin(now + 1, "HTTP 429")  # the rest of the same burst
        lengths.append(cool.remaining(now))
        now = cool.until
    assert lengths == [30, 60, 120, 240, 300, 300]
    assert cool.remaining(now) == 0
    cool.succeeded()
    cool.begin(now, "HTTP 429")
    assert cool.remaining(now) == 30
