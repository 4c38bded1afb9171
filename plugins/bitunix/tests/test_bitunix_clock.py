"""The venue's clock is wrong for a while: the stream's clock and the session's come to their answers together."""

from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define
from fake_venue import depth, kline_push
from lab import Notice, Quote, Subscription
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.domain.venue_clock import VenueClock
from lab.feed.pacing import CoolDown
from lab.live.inbox import Inbox
from lab.ports import Realm
from lab_bitunix.live import LiveStream

pytestmark = pytest.mark.behaviour("T2")
START_S = 1_700_000_000


@define
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int((START_S + self.now) * SECOND_NS)


@define
class Venue:
    """A stream over an inbox, and a venue whose clock is wrong by ``wrong_s``."""

    clock: Clock
    inbox: Inbox
    stream: LiveStream

    def send(self, wrong_s: float) -> tuple[bool, bool, bool]:
        """Send a quote and a candle's push; return whether each counts as heard, and whether the quote was taken."""
        self.clock.now += 0.25
        now_ms = int((START_S + self.clock.now + wrong_s) * 1000)
        texts = (depth(now_ms), kline_push(now_ms))
        heard = [self.stream.receive(text.encode(), self.clock.now, 1) is not None for text in texts]
        events = [event for event in self.inbox.take() if not isinstance(event, Notice)]
        return heard[0], heard[1], any(isinstance(event, Quote) for event in events)


def venue() -> Venue:
    clock = Clock()
    inbox = Inbox(["BTCUSDT"], MINUTE_NS, clock, realm=Realm.REAL)
    rest: Any = SimpleNamespace(klines=None)
    stream = LiveStream(
        rest=rest, ws_url="ws://127.0.0.1:9/", wanted=[Subscription("BTCUSDT", MINUTE_NS)], sink=inbox,
        contacted=lambda host: None, clock=VenueClock(clock.monotonic), cool_down=CoolDown(), seed=0,
        wall_ns=clock.wall_ns,
    )  # fmt: skip
    return Venue(clock, inbox, stream)


@pytest.mark.parametrize("wrong_s", [600.0, -30.0, -600.0])
def test_both_clocks_follow_a_step_within_seven_seconds_and_no_channel_is_taken_for_silent(wrong_s: float) -> None:
    made = venue()
    for _ in range(8):
        assert made.send(0) == (True, True, True)
    answers = [made.send(wrong_s) for _ in range(40)]
    assert made.inbox.steps == {"venue": (1, int(abs(wrong_s)) * SECOND_NS)}
    assert made.stream.clock.changes == 1
    assert [heard for heard, _, _ in answers] == [False] * 4 + [True] * 36
    assert [heard for _, heard, _ in answers] == [False] * 4 + [True] * 36
    assert all(taken for _, _, taken in answers[28:])
    assert not made.inbox.is_unsure()


def test_bytes_that_were_held_up_and_come_at_once_are_no_doubt_and_reach_nobody() -> None:
    made = venue()
    made.send(0)
    made.clock.now += 12.0
    for late_s in (-12, -11, -9, -7, -5.5):
        made.clock.now -= 0.25
        assert made.send(late_s) == (False, False, False)
    assert made.send(0) == (True, True, True)
    assert made.inbox.steps == {}
