"""Silence, waits and budgets, judged on a clock that the test moves."""

from collections.abc import Sequence
from random import Random

import anyio
import pytest
from lab.domain.time import SECOND_NS
from lab.ports import FeedState
from lab_bitunix.liveness import Action, Paces, Ping, Replace, Subscribe, Watch
from lab_bitunix.pacing import Backoff, CoolDown, VenueClock

QUOTES = ("BTCUSDT", "depth_book1")
CANDLES = ("BTCUSDT", "market_kline_1min")


def run(
    watch: Watch, until: float, *, frames: float = 0.0, start: float = 0.0, **flows: float
) -> list[tuple[float, Action]]:
    """Move the clock in steps of 0.1 s: frames and channels come at their periods until their time is over."""
    actions: list[tuple[float, Action]] = []
    for step in range(int(start * 10) + 1, int(until * 10) + 1):
        now = step / 10
        if step % 5 == 0:
            if now <= frames:
                watch.frame(now)
            for name, last in flows.items():
                if now <= last:
                    watch.frame(now)
                    watch.data(QUOTES if name == "quotes" else CANDLES, now)
        actions += [(now, action) for action in watch.due(now)]
    return actions


def opened() -> Watch:
    watch = Watch((QUOTES, CANDLES), 0.0)
    watch.frame(0.0)
    watch.hello(0.0)
    return watch


def states(watch: Watch) -> Sequence[FeedState]:
    return [state for state, _ in watch.changes]


@pytest.mark.behaviour("F5")
def test_all_channels_are_asked_for_in_one_frame_and_live_means_that_each_spoke() -> None:
    watch = Watch((QUOTES, CANDLES), 0.0)
    assert watch.hello(0.1) == (Subscribe((QUOTES, CANDLES)),)
    assert watch.hello(0.2) == ()
    watch.data(QUOTES, 0.3)
    assert states(watch) == [FeedState.SUBSCRIBED]
    watch.data(CANDLES, 0.5)
    assert states(watch) == [FeedState.SUBSCRIBED, FeedState.WARM, FeedState.LIVE]


def test_without_a_connect_frame_it_subscribes_after_two_seconds() -> None:
    watch = Watch((QUOTES, CANDLES), 0.0)
    assert run(watch, 2.5) == [(2.0, Subscribe((QUOTES, CANDLES)))]


@pytest.mark.behaviour("F5")
def test_a_channel_silent_after_subscribing_is_asked_for_once_more_then_the_socket_is_replaced() -> None:
    watch = opened()
    actions = [pair for pair in run(watch, 6.0, quotes=9) if not isinstance(pair[1], Ping)]
    assert actions[0] == (3.0, Subscribe((CANDLES,)))
    assert actions[1][0] == 6.0
    assert isinstance(actions[1][1], Replace)
    assert "market_kline_1min silent" in actions[1][1].reason


@pytest.mark.behaviour("F2")
def test_a_dead_socket_is_pinged_after_five_seconds_and_replaced_after_eight() -> None:
    watch = opened()
    actions = run(watch, 12, quotes=4, candles=4)
    suspect = next(now for now, action in actions if now > 5 and isinstance(action, Ping))
    dead = next(now for now, action in actions if isinstance(action, Replace))
    assert (suspect, dead) == (9.0, 12.0)
    assert states(watch)[-1] is FeedState.SUSPECT


def test_an_answered_ping_brings_back_what_was() -> None:
    watch = opened()
    run(watch, 9.1, quotes=4, candles=4)
    watch.frame(9.2)
    assert watch.state is FeedState.LIVE


@pytest.mark.behaviour("F2")
def test_one_silent_channel_among_flowing_ones_is_found_within_ten_seconds() -> None:
    watch = opened()
    actions = [pair for pair in run(watch, 11, quotes=99, candles=1) if not isinstance(pair[1], Ping)]
    assert actions[0] == (6.5, Subscribe((CANDLES,)))
    assert FeedState.DEGRADED in states(watch)
    assert actions[1][0] <= 11.0
    assert isinstance(actions[1][1], Replace)


def test_a_channel_that_flows_again_ends_the_degradation() -> None:
    watch = opened()
    run(watch, 7, quotes=99, candles=1)
    assert states(watch)[-1] is FeedState.DEGRADED
    watch.data(CANDLES, 7.1)
    assert states(watch)[-1] is FeedState.LIVE
    assert not [a for _, a in run(watch, 12, quotes=99, candles=99, start=7.1) if not isinstance(a, Ping)]


def sockets(count: int, every_s: float, paces: Paces) -> Sequence[float]:
    """Return how long each of several sockets lasted, 300 s at most.

    Candles come at once and then every ``every_s``; with 0 never.
    """
    lasted = []
    for _ in range(count):
        watch = Watch((QUOTES, CANDLES), 0.0, paces)
        watch.hello(0.0)
        for tenth in range(1, 3001):
            now = tenth / 10
            watch.frame(now)
            watch.data(QUOTES, now)
            if every_s and (tenth == 1 or tenth % round(every_s * 10) == 0):
                watch.data(CANDLES, now)
            if any(isinstance(action, Replace) for action in watch.due(now)):
                break
        lasted.append(now)
    return lasted


@pytest.mark.behaviour("F2")
def test_a_slow_channel_costs_two_sockets_and_a_dead_one_a_socket_a_minute() -> None:
    assert sockets(4, 30, Paces()) == pytest.approx([9.6, 23.9, 300, 300], abs=0.15)
    assert sockets(5, 1e6, Paces()) == pytest.approx([9.6, 23.9, 47.6, 60.1, 60.1], abs=0.15)


def test_a_slow_channel_is_not_called_degraded_once_its_pace_is_known() -> None:
    paces = Paces()
    sockets(3, 30, paces)
    watch = Watch((QUOTES, CANDLES), 0.0, paces)
    watch.hello(0.0)
    for second in range(1, 200):
        watch.data(QUOTES, second)
        if second % 30 == 1:
            watch.data(CANDLES, second)
        assert not [action for action in watch.due(second) if isinstance(action, Subscribe)]
        watch.frame(second)
    assert FeedState.DEGRADED not in states(watch)


@pytest.mark.behaviour("F2")
def test_a_channel_that_was_quick_for_a_minute_is_watched_as_closely_as_before() -> None:
    paces = Paces()
    sockets(3, 30, paces)
    sockets(1, 0.5, paces)
    assert sockets(1, 1e6, paces) == pytest.approx([9.6], abs=0.15)


@pytest.mark.behaviour("F5")
def test_a_channel_slow_to_begin_is_given_longer_on_the_next_socket() -> None:
    assert sockets(4, 0, Paces()) == pytest.approx([6, 19, 38, 48], abs=0.15)


@pytest.mark.behaviour("F6")
def test_a_json_ping_goes_out_every_five_seconds() -> None:
    watch = opened()
    pings = [now for now, action in run(watch, 21, quotes=99, candles=99) if isinstance(action, Ping)]
    assert pings == [5.0, 10.0, 15.0, 20.0]


@pytest.mark.parametrize("quiet_from", [0.0, 2.0, 4.0])
def test_the_next_deadline_is_never_after_the_next_action(quiet_from: float) -> None:
    watch = opened()
    now = 0.0
    while now < 12:
        due = watch.next_due()
        before = run(watch, due - 0.1, start=now, quotes=quiet_from, candles=quiet_from) if due - 0.1 > now else []
        # a frame that comes meanwhile only puts the deadline off
        assert before == []
        now = max(due, now + 0.1)
        if any(isinstance(action, Replace) for action in watch.due(now)):
            return
    pytest.fail("silence was never noticed")


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


def test_frames_off_the_venues_clock_are_not_used_until_all_agree_for_five_seconds() -> None:
    clock = VenueClock(anyio.current_time)
    base = 10**18

    def admit(venue_s: float, now: float) -> bool:
        return clock.admit(base + int(venue_s * SECOND_NS), now)

    assert admit(0, 0)
    assert admit(10, 10.4)
    assert not admit(10, 60)  # fifty seconds late, out of some buffer
    assert not admit(3600, 60)
    assert admit(60, 60.1)
    assert clock.newest_ns == base + 60 * SECOND_NS
    taken = [admit(3600 + step, 61 + step) for step in range(8)]
    assert taken == [False] * 5 + [True] * 3
    assert clock.changes == 1
