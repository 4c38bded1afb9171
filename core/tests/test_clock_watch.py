"""The machine's clocks are compared, and what parts them is told."""

from typing import Any

import pytest
from attrs import define
from lab import Notice
from lab.domain.control import ClockStepped
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.live.clock_watch import ClockWatch
from lab.live.inbox import Inbox

pytestmark = pytest.mark.behaviour("T2")


@define
class Clock:
    now: float = 0.0
    wall_s: float = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.wall_s * SECOND_NS)

    def pass_(self, seconds: float, wall: float | None = None) -> None:
        self.now += seconds
        self.wall_s += seconds if wall is None else wall


def watching(pace: float = 1.0) -> tuple[Clock, ClockWatch, Any]:
    clock = Clock()
    inbox = Inbox(["BTCUSDT"], MINUTE_NS, clock)

    def told() -> list[tuple[int, str]]:
        steps = [event for event in inbox.take() if not isinstance(event, Notice)]
        assert all(isinstance(one, ClockStepped) and one.clock == "wall" for one in steps)
        return [(round(one.by_ns / SECOND_NS), one.why) for one in steps]  # type: ignore[union-attr]

    return clock, ClockWatch(clock, inbox, pace), told


@pytest.mark.parametrize("by_s", [3600, -3600, 3, -3])
def test_a_wall_clock_that_is_set_is_told_once(by_s: int) -> None:
    clock, watch, told = watching()
    for _ in range(4):
        clock.pass_(0.5)
        watch.look()
    assert told() == []
    clock.pass_(0.5, 0.5 + by_s)
    watch.look()
    clock.pass_(0.5)
    watch.look()
    assert told() == [(by_s, "the machine's clock was set, or the machine slept")]


def test_a_process_that_stood_still_is_told_with_how_long() -> None:
    clock, watch, told = watching()
    clock.pass_(12.5)
    watch.look()
    assert told() == [(12, "the process stood still")]


def test_drift_and_slewing_are_no_step() -> None:
    clock, watch, told = watching()
    for _ in range(100):
        clock.pass_(0.5, 0.55)
        watch.look()
    assert told() == []


def test_at_another_pace_a_real_second_counts_as_one() -> None:
    clock, watch, told = watching(pace=50.0)
    clock.pass_(60.0)
    watch.look()
    assert told() == []
    clock.pass_(120.0)
    watch.look()
    assert told() == [(120, "the process stood still")]
