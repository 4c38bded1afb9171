"""Whatever a venue stamps: after ten seconds of sane frames the engine takes each, and the gate knew meanwhile."""

from typing import Any

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import Notice, Quote
from lab.domain.control import ClockStepped
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.live.inbox import Inbox
from lab.ports import Realm
from lab.testing import START_NS
from lab.testing.engines import engine_with
from lab.testing.harness import ScriptedStrategy

pytestmark = pytest.mark.behaviour("T2")
FOUND = st.one_of(
    st.floats(-3, 3), st.floats(-20, 20), st.sampled_from([3600.0, -3600.0, 86_400.0 * 40, -30.0, 600.0, 0.0])
)
FRAMES = st.lists(st.tuples(FOUND, st.integers(1, 80), st.sampled_from([0.05, 0.1, 0.5, 2.0])), max_size=8)
"""By how much the venue's clock is wrong, for how many frames, and how far apart these come."""


@define
class Clock:
    now: float = 1000.0
    wall_s: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return START_NS + int((self.now + self.wall_s) * SECOND_NS)


@define
class Session:
    """An inbox as it is shipped, and an engine that takes what it lets in."""

    clock: Clock
    inbox: Inbox
    engine: Any
    offset_s: float = 0.0

    def frame(self) -> Quote:
        """Give a quote of now, and let the engine take what waits."""
        sent = Quote("BTCUSDT", START_NS + int((self.clock.now + self.offset_s) * SECOND_NS), 100.0, 1.0, 101.0, 1.0)
        self.inbox.put(sent)
        for event in self.inbox.take():
            if not isinstance(event, Notice):
                self.engine.step(event)
        return sent

    @property
    def taken(self) -> Quote | None:
        found: Quote | None = self.engine.state.markets["BTCUSDT"].quote
        return found


def session(wall_s: float = 0.0) -> Session:
    clock = Clock(wall_s=wall_s)
    return Session(
        clock, Inbox(["BTCUSDT"], MINUTE_NS, clock, realm=Realm.REAL), engine_with([ScriptedStrategy(plan={})])
    )


@settings(max_examples=150)
@given(FRAMES, FOUND, st.sampled_from([0.0, 7200.0, -1.0]))
def test_after_ten_seconds_of_sane_frames_the_engine_takes_every_quote(
    frames: list[tuple[float, int, float]], sane_s: float, wall_s: float
) -> None:
    made = session(wall_s)
    for offset_s, number, apart_s in frames:
        made.offset_s = offset_s
        for _ in range(number):
            made.clock.now += apart_s
            made.frame()
    made.offset_s = sane_s
    until = made.clock.now + 10
    while made.clock.now < until:
        made.clock.now += 0.25
        made.frame()
    assert not made.inbox.is_unsure()
    late = made.engine.counters.late_quotes
    for _ in range(20):
        made.clock.now += 0.25
        assert made.frame() == made.taken
        assert made.engine.state.now_ns == made.taken.time_ns
        assert made.inbox.quote_at["BTCUSDT"] == made.clock.now
    assert made.engine.counters.late_quotes == late


@settings(max_examples=100)
@given(FRAMES)
def test_where_no_quote_is_taken_for_long_the_gate_has_a_reason(frames: list[tuple[float, int, float]]) -> None:
    made = session()
    taken_at = made.clock.now
    for offset_s, number, apart_s in frames:
        made.offset_s = offset_s
        for _ in range(number):
            made.clock.now += apart_s
            if made.frame() == made.taken:
                taken_at = made.clock.now
            stale = made.clock.now - made.inbox.quote_at["BTCUSDT"] > 5.0
            assert made.clock.now - taken_at <= 5.1 or stale or made.inbox.is_unsure()


def test_a_clock_that_is_wrong_for_twelve_seconds_and_right_again_costs_ten_seconds() -> None:
    made = session()
    taken = 0
    for step in range(400):
        made.clock.now += 0.1
        made.offset_s = 600.0 if 100 <= step < 220 else 0.0
        taken += made.frame() == made.taken
    assert 298 <= taken <= 310
    assert made.engine.counters.late_quotes == 0
    assert made.inbox.steps == {"venue": (2, 600 * SECOND_NS)}


def test_what_waited_comes_before_the_step_and_counts_in_its_own_time() -> None:
    made = session()
    made.frame()
    sent = []
    for _ in range(60):
        made.clock.now += 0.1
        made.offset_s = 600.0
        sent.append(Quote("BTCUSDT", START_NS + int((made.clock.now + 600) * SECOND_NS), 1.0, 1.0, 1.0, 1.0))
        if len(sent) == 1:
            waits = Quote("BTCUSDT", START_NS + int(made.clock.now * SECOND_NS), 2.0, 1.0, 2.0, 1.0)
            made.inbox.put(waits)
        made.inbox.put(sent[-1])
    took = [event for event in made.inbox.take() if not isinstance(event, Notice)]
    assert [type(event) for event in took] == [Quote, ClockStepped, Quote]
    assert (took[0], took[2]) == (waits, sent[-1])
