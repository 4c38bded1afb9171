"""A message is dealt with when it comes, a session with nothing to do does nothing, and a step too long is named."""

import re
import sys
from itertools import pairwise
from typing import Any

import pytest
from lab.simulation.loop import SimLoop

CLOCKWORK = '''
"""A third party's provider and strategy that note the loop's time: when a message came, and when it was seen."""
import anyio
from attrs import define, field
from lab import FeedState, Quote, Strategy, hookimpl
from lab_mock.provider import MockProvider

CAME, SEEN = [], []

@define(kw_only=True, eq=False)
class Clockwork(MockProvider):
    """The mock, with odd moments for its quotes; after ``quotes`` of them nothing comes any more."""
    quotes: int = field(default=50, metadata={"help": "messages before the silence"})

    async def stream(self, wanted, sink):
        sink.feed(FeedState.LIVE, "clockwork")
        [symbol] = {one.symbol for one in wanted}
        began = anyio.current_time()
        for number in range(self.quotes):
            await anyio.sleep(0.7310529)
            since_ns = int((anyio.current_time() - began) * 1e9)
            CAME.append(anyio.current_time())
            sink.put(Quote(symbol, 1_704_067_200_000_000_000 + since_ns, 50_000.0, 1.0, 50_000.1, 1.0))
        await anyio.sleep_forever()

@define(kw_only=True)
class Watcher(Strategy):
    """Notes when it sees a quote."""

    @property
    def lookback(self):
        return 1

    def on_candle(self, candle, view):
        return ()

    def on_quote(self, quote, view):
        SEEN.append(anyio.current_time())
        return ()

@hookimpl
def lab_providers():
    return {"clockwork": Clockwork}

@hookimpl
def lab_strategies():
    return {"watcher": Watcher}
'''


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that gets the virtual time of every turn of the loop."""
    times: list[float] = []
    before = SimLoop.before_select

    def count(loop: SimLoop) -> None:
        times.append(loop.time())
        before(loop)

    monkeypatch.setattr(SimLoop, "before_select", count)
    return times


def clockwork(lab: Any, site: Any, *args: str, minutes: int) -> Any:
    site.install("their_clockwork", CLOCKWORK)
    given = ("--provider", "clockwork", "--strategy", "watcher", "--speed", "max", "--minutes", str(minutes))
    result = lab("run", *given, *args)
    assert "Traceback" not in result.err
    return sys.modules["their_clockwork"]


@pytest.mark.behaviour("F3")
def test_a_message_reaches_the_strategy_at_the_moment_it_comes_and_not_at_the_next_look(lab: Any, site: Any) -> None:
    noted = clockwork(lab, site, minutes=1)
    assert len(noted.CAME) == 50
    assert noted.SEEN == noted.CAME


@pytest.mark.behaviour("F3")
def test_an_hour_in_which_nothing_comes_wakes_the_session_a_few_times_a_second_at_most(
    lab: Any, site: Any, turns: list[float]
) -> None:
    """A turn of the loop costs some 50 µs: at five a second that is a fortieth of one per cent of a core."""
    noted = clockwork(lab, site, "--set", "clockwork.quotes=1", minutes=60)
    assert len(noted.SEEN) == 1
    quiet = [time for time in turns if 600 <= time - turns[0] < 3_000]
    assert 0 < len(quiet) <= 5 * 2_400
    assert max(later - earlier for earlier, later in pairwise(quiet)) >= 0.25


SLOW = '''
"""A third party's strategy that blocks in two of its decisions, in real time."""
import time
from attrs import define
from lab import Strategy, hookimpl

@define(kw_only=True)
class Sleeper(Strategy):
    """Sleeps."""

    @property
    def lookback(self):
        return 1

    def on_candle(self, candle, view):
        if candle.status != "backfilled":
            time.sleep({2: 1.4, 3: 1.1}.get(candle.time_ns // 60_000_000_000 % 10, 0.0))
        return ()

@hookimpl
def lab_strategies():
    return {"sleeper": Sleeper}
'''


@pytest.mark.parametrize("speed", ["60", "max"])
def test_steps_that_kept_a_session_from_its_feed_are_counted_and_the_longest_is_named(
    lab: Any, site: Any, speed: str
) -> None:
    """In real seconds at every speed, and never in virtual time, which does not go on meanwhile."""
    site.install("their_sleeper", SLOW)
    mock = ("--provider", "mock", "--set", "mock.begin=2024-01-01T00:00:00Z")
    result = lab("run", *mock, "--strategy", "sleeper", "--speed", speed, "--minutes", "4.5", "--reporter", "none")
    assert result.code == 0, result
    slow = [text for text in lab.run().report()["degradations"] if text.startswith("slow_steps")]
    if speed == "max":
        assert slow == []
        return
    [said] = slow
    assert re.fullmatch(
        r"slow_steps 2: a strategy, gate or broker kept the session from its feed, "
        r"longest 1\.[4-9] s on candle at 2024-01-01T00:02:00Z",
        said,
    )
