"""The silence of a connection and its channels, judged on a clock that the test moves."""

from collections.abc import Sequence

import pytest
from lab.feed.liveness import Action, ChannelMonitor, Paces, Ping, Replace, Subscribe
from lab.ports import FeedState

QUOTES = ("BTCUSDT", "depth_book1")
CANDLES = ("BTCUSDT", "market_kline_1min")
LEVELS = ("BTCUSDT", "depth_book5")
TRADES = ("BTCUSDT", "trade")


def run(
    monitor: ChannelMonitor, until: float, *, frames: float = 0.0, start: float = 0.0, **flows: float
) -> list[tuple[float, Action]]:
    """Move the clock in steps of 0.1 s: frames and channels come at their periods until their time is over."""
    actions: list[tuple[float, Action]] = []
    for step in range(int(start * 10) + 1, int(until * 10) + 1):
        now = step / 10
        if step % 5 == 0:
            if now <= frames:
                monitor.frame(now)
            for name, last in flows.items():
                if now <= last:
                    monitor.frame(now)
                    monitor.data(QUOTES if name == "quotes" else CANDLES, now)
        actions += [(now, action) for action in monitor.due(now)]
    return actions


def opened() -> ChannelMonitor:
    monitor = ChannelMonitor((QUOTES, CANDLES), 0.0)
    monitor.frame(0.0)
    monitor.hello(0.0)
    return monitor


def states(monitor: ChannelMonitor) -> Sequence[FeedState]:
    return [state for state, _ in monitor.changes]


@pytest.mark.behaviour("F5")
def test_all_channels_are_asked_for_in_one_frame_and_live_means_that_each_spoke() -> None:
    monitor = ChannelMonitor((QUOTES, CANDLES), 0.0)
    assert monitor.hello(0.1) == (Subscribe((QUOTES, CANDLES)),)
    assert monitor.hello(0.2) == ()
    monitor.data(QUOTES, 0.3)
    assert states(monitor) == [FeedState.SUBSCRIBED]
    monitor.data(CANDLES, 0.5)
    assert states(monitor) == [FeedState.SUBSCRIBED, FeedState.WARM, FeedState.LIVE]


def test_without_a_connect_frame_it_subscribes_after_two_seconds() -> None:
    monitor = ChannelMonitor((QUOTES, CANDLES), 0.0)
    assert run(monitor, 2.5) == [(2.0, Subscribe((QUOTES, CANDLES)))]


@pytest.mark.behaviour("F5")
def test_a_channel_silent_after_subscribing_is_asked_for_once_more_then_the_socket_is_replaced() -> None:
    monitor = opened()
    actions = [pair for pair in run(monitor, 6.0, quotes=9) if not isinstance(pair[1], Ping)]
    assert actions[0] == (3.0, Subscribe((CANDLES,)))
    assert actions[1][0] == 6.0
    assert isinstance(actions[1][1], Replace)
    assert "market_kline_1min silent" in actions[1][1].reason


@pytest.mark.behaviour("F2")
def test_a_dead_socket_is_pinged_after_five_seconds_and_replaced_after_eight() -> None:
    monitor = opened()
    actions = run(monitor, 12, quotes=4, candles=4)
    suspect = next(now for now, action in actions if now > 5 and isinstance(action, Ping))
    dead = next(now for now, action in actions if isinstance(action, Replace))
    assert (suspect, dead) == (9.0, 12.0)
    assert states(monitor)[-1] is FeedState.SUSPECT


def test_an_answered_ping_brings_back_what_was() -> None:
    monitor = opened()
    run(monitor, 9.1, quotes=4, candles=4)
    monitor.frame(9.2)
    assert monitor.state is FeedState.LIVE


@pytest.mark.behaviour("F2")
def test_one_silent_channel_among_flowing_ones_is_found_within_ten_seconds() -> None:
    monitor = opened()
    actions = [pair for pair in run(monitor, 11, quotes=99, candles=1) if not isinstance(pair[1], Ping)]
    assert actions[0] == (6.5, Subscribe((CANDLES,)))
    assert FeedState.DEGRADED in states(monitor)
    assert actions[1][0] <= 11.0
    assert isinstance(actions[1][1], Replace)


def test_a_channel_that_flows_again_ends_the_degradation() -> None:
    monitor = opened()
    run(monitor, 7, quotes=99, candles=1)
    assert states(monitor)[-1] is FeedState.DEGRADED
    monitor.data(CANDLES, 7.1)
    assert states(monitor)[-1] is FeedState.LIVE
    assert not [a for _, a in run(monitor, 12, quotes=99, candles=99, start=7.1) if not isinstance(a, Ping)]


def sockets(count: int, every_s: float, paces: Paces) -> Sequence[float]:
    """Return how long each of several sockets lasted, 300 s at most.

    Candles come at once and then every ``every_s``; with 0 never.
    """
    lasted = []
    for _ in range(count):
        monitor = ChannelMonitor((QUOTES, CANDLES), 0.0, paces)
        monitor.hello(0.0)
        for tenth in range(1, 3001):
            now = tenth / 10
            monitor.frame(now)
            monitor.data(QUOTES, now)
            if every_s and (tenth == 1 or tenth % round(every_s * 10) == 0):
                monitor.data(CANDLES, now)
            if any(isinstance(action, Replace) for action in monitor.due(now)):
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
    monitor = ChannelMonitor((QUOTES, CANDLES), 0.0, paces)
    monitor.hello(0.0)
    for second in range(1, 200):
        monitor.data(QUOTES, second)
        if second % 30 == 1:
            monitor.data(CANDLES, second)
        assert not [action for action in monitor.due(second) if isinstance(action, Subscribe)]
        monitor.frame(second)
    assert FeedState.DEGRADED not in states(monitor)


@pytest.mark.behaviour("F2")
def test_a_channel_that_was_quick_for_a_minute_is_watched_as_closely_as_before() -> None:
    paces = Paces()
    sockets(3, 30, paces)
    sockets(1, 0.5, paces)
    assert sockets(1, 1e6, paces) == pytest.approx([9.6], abs=0.15)


@pytest.mark.behaviour("F5")
def test_a_channel_slow_to_begin_is_given_longer_on_the_next_socket() -> None:
    assert sockets(4, 0, Paces()) == pytest.approx([6, 19, 38, 48], abs=0.15)


def with_optional(paces: Paces | None = None, start: float = 0.0) -> ChannelMonitor:
    monitor = ChannelMonitor((QUOTES, CANDLES), start, paces or Paces(), (LEVELS, TRADES))
    assert monitor.hello(start) == (Subscribe((QUOTES, CANDLES, LEVELS, TRADES)),)
    return monitor


@pytest.mark.behaviour("F5")
def test_optional_channels_that_never_speak_are_told_once_and_asked_for_at_a_falling_pace_on_a_live_socket() -> None:
    monitor = with_optional()
    actions = [pair for pair in run(monitor, 1000, quotes=1000, candles=1000) if not isinstance(pair[1], Ping)]
    assert actions == [(at, Subscribe((LEVELS, TRADES))) for at in (30.0, 90.0, 210.0, 450.0, 750.0)]
    assert states(monitor) == [FeedState.SUBSCRIBED, FeedState.WARM, *[FeedState.LIVE] * 3]
    assert [detail for _, detail in monitor.changes[-2:]] == [
        "BTCUSDT depth_book5 silent for 30 s: the run goes on without",
        "BTCUSDT trade silent for 30 s: the run goes on without",
    ]


def test_the_silence_of_an_optional_channel_is_not_told_again_on_the_next_socket() -> None:
    paces = Paces()
    run(with_optional(paces), 31, quotes=40, candles=40)
    monitor = with_optional(paces, 40.0)
    assert (70.0, Subscribe((LEVELS, TRADES))) in run(monitor, 71, start=40, quotes=80, candles=80)
    assert [detail for _, detail in monitor.changes if "silent" in detail] == []


def test_an_optional_channel_that_spoke_is_given_its_time_anew_and_alone() -> None:
    monitor = with_optional()
    run(monitor, 100, quotes=200, candles=200)
    monitor.data(TRADES, 100.0)
    actions = [pair for pair in run(monitor, 131, start=100, quotes=200, candles=200) if not isinstance(pair[1], Ping)]
    assert actions == [(130.0, Subscribe((TRADES,)))]


def test_where_nothing_must_speak_the_feed_is_live_once_it_has_asked_and_a_dead_socket_is_still_replaced() -> None:
    monitor = ChannelMonitor((), 0.0, optional=(TRADES,))
    assert monitor.hello(0.5) == (Subscribe((TRADES,)),)
    assert states(monitor) == [FeedState.SUBSCRIBED, FeedState.LIVE]
    found = run(monitor, 20)
    assert next(now for now, action in found if isinstance(action, Replace)) == 8.0
    assert ChannelMonitor((), 0.0).hello(0.5) == ()


@pytest.mark.behaviour("F6")
def test_a_json_ping_goes_out_every_five_seconds() -> None:
    monitor = opened()
    pings = [now for now, action in run(monitor, 21, quotes=99, candles=99) if isinstance(action, Ping)]
    assert pings == [5.0, 10.0, 15.0, 20.0]


@pytest.mark.parametrize("quiet_from", [0.0, 2.0, 4.0])
def test_the_next_deadline_is_never_after_the_next_action(quiet_from: float) -> None:
    monitor = opened()
    now = 0.0
    while now < 12:
        due = monitor.next_due()
        before = run(monitor, due - 0.1, start=now, quotes=quiet_from, candles=quiet_from) if due - 0.1 > now else []
        # a frame that comes meanwhile only puts the deadline off
        assert before == []
        now = max(due, now + 0.1)
        if any(isinstance(action, Replace) for action in monitor.due(now)):
            return
    pytest.fail("silence was never noticed")
