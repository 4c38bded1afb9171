"""The feed's budgets, its candles and its figures, over connections that do as the test says, in virtual time."""

from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import pytest
from lab.domain.market import BACKFILLED, FINAL, UNCONFIRMED, Candle
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.errors import ProviderUnavailable
from lab.feed import CandleAssembler, Habits, Lost
from lab.ports import FeedState
from lab.testing import RecordingSink, simulate
from scripted_socket import CANDLES, Dialect, Venue, Wire, everything, follow, make

T0 = 29_800_000 * MINUTE_NS


def most_in(times: Sequence[float], seconds: float) -> int:
    """Return the most times in any window of so many seconds."""
    return max((sum(first <= at < first + seconds for at in times) for first in times), default=0)


@pytest.mark.behaviour("F6")
def test_at_most_four_frames_go_out_in_any_second_whatever_the_venue_does() -> None:
    def speaks(wire: Wire, age: float) -> Iterable[str]:
        wire.ping()
        wire.ping()
        return everything(wire, age) if int(age / 4) % 2 else ["BTC quotes"]

    venue = Venue(speaks=speaks)
    follow(venue, 300, habits=Habits(ping_every_s=0.5))
    times = [when for wire in venue.wires for when, _ in wire.sent]
    assert len(times) > 500
    assert max(most_in([when for when, _ in wire.sent], 1.0) for wire in venue.wires) == 4


@pytest.mark.behaviour("F1", "F6")
def test_a_venue_that_accepts_and_drops_for_an_hour_sees_ten_connections_a_minute_at_most() -> None:
    venue = Venue()

    async def during(feed: Any) -> None:
        while True:
            await anyio.sleep(0.5)
            for wire in venue.wires[-1:]:
                wire.lose("dropped")

    follow(venue, 3600, during)
    assert most_in(venue.tries, 60) <= 10
    assert len(venue.tries) > 100


@pytest.mark.behaviour("F1")
def test_only_half_a_minute_of_live_data_starts_the_waits_over() -> None:
    def waits(live_s: float) -> list[float]:
        venue, found = Venue(), []

        async def during(feed: Any) -> None:
            for _ in range(6):
                tries = len(venue.tries)
                while feed.state is not FeedState.LIVE or len(venue.tries) == tries - 1:
                    await anyio.sleep(0.05)
                await anyio.sleep(live_s)
                lost_at = anyio.current_time()
                venue.wires[-1].lose("dropped")
                while len(venue.tries) == tries:
                    await anyio.sleep(0.05)
                found.append(venue.tries[-1] - lost_at)

        follow(venue, 600, during)
        return found

    assert max(waits(31)) <= 0.6
    assert max(waits(20)) > 12


def test_where_a_frame_may_ask_for_two_channels_all_are_asked_for_in_turn_and_each_has_its_full_time() -> None:
    channels = [(f"S{number}", "quotes") for number in range(40)]

    def speaks(wire: Wire, age: float) -> Iterable[str]:
        return ["heartbeat", *(f"S{n} quotes" for n in range(40) if n != 39 and wire.asked(channels[n]))]

    venue = Venue(speaks=speaks)
    sink = follow(venue, 12, wanted=channels, habits=Habits(channels_per_frame=2))
    [wire] = venue.wires[:1]
    asked = [(when, text) for when, text in wire.sent if text.startswith("ask ")]
    assert [text for _, text in asked[:20]] == [f"ask S{n} quotes, S{n + 1} quotes" for n in range(0, 40, 2)]
    assert most_in([when for when, _ in wire.sent], 1.0) <= 4
    assert [text for _, text in asked[20:]] == ["ask S39 quotes"], "no other was thought silent"
    assert asked[20][0] == pytest.approx(19 * 0.26 + 3.0, abs=0.6)
    assert next(told for state, told, _ in sink.feeds if state is FeedState.DOWN).startswith("S39 quotes silent")


@pytest.mark.behaviour("F2")
def test_a_ping_does_not_wait_behind_a_long_row_of_subscriptions() -> None:
    """A hundred frames take 26 s: pings go out every five, and the venue's own are answered at once."""
    channels = [(f"S{number}", "quotes") for number in range(100)]

    def speaks(wire: Wire, age: float) -> Iterable[str]:
        if 12 <= age < 12.25:
            wire.ping()
        return [" ".join(channel) for channel in channels if wire.asked(channel)]

    venue = Venue(speaks=speaks)
    follow(venue, 25, wanted=channels, habits=Habits(channels_per_frame=1, first_data_s=60))
    sent = venue.wires[0].sent
    assert [when for when, text in sent if text == "ping"] == pytest.approx([5, 10, 15, 20], abs=0.6)
    assert [when for when, text in sent if text == "pong"] == pytest.approx([12], abs=0.6)
    assert most_in([when for when, _ in sent], 1.0) <= 4


def test_what_a_dialect_raises_ends_the_stream_and_is_not_taken_for_a_lost_connection() -> None:
    class Broken(Dialect):
        def receive(self, frame: bytes, now: float, line: int) -> None:
            raise ZeroDivisionError("a mistake of the provider's")

    venue = Venue()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        follow(venue, 10, dialect=Broken())
    assert [wire.aborted for wire in venue.wires] == [True]


def test_a_dialect_may_have_the_connection_replaced() -> None:
    class Strict(Dialect):
        def receive(self, frame: bytes, now: float, line: int) -> Any:
            if line == 1 and now > 3:
                raise Lost("the venue says goodbye")
            return super().receive(frame, now, line)

    sink = follow(Venue(), 10, dialect=Strict())
    assert [told.partition(";")[0] for state, told, _ in sink.feeds if state is FeedState.DOWN] == [
        "the venue says goodbye"
    ]
    assert sink.states[-1] is FeedState.LIVE


@pytest.mark.behaviour("F1")
@pytest.mark.parametrize("method", ["read", "send", "close"])
def test_whatever_a_library_raises_is_a_lost_connection(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(Wire, method)

    async def broken(self: Wire, *args: Any) -> None:
        if self.number == 1 and (self.age > 2 or method == "read"):
            raise KeyError("of the library")
        await original(self, *args)

    monkeypatch.setattr(Wire, method, broken)
    venue = Venue()

    async def during(feed: Any) -> None:
        await anyio.sleep(8)
        for wire in venue.wires[:1]:
            wire.lose("dropped")

    sink = follow(venue, 20, during)
    told = next(told for state, told, _ in sink.feeds if state is FeedState.DOWN)
    words = {"read": "connection lost: KeyError: 'of", "send": "can't send: KeyError: 'of", "close": "dropped"}[method]
    assert told.startswith(words)
    assert venue.wires[0].aborted
    assert sink.states[-1] is FeedState.LIVE


def test_every_host_is_named_and_each_frame_comes_with_the_number_of_its_connection() -> None:
    hosts: list[str] = []
    dialect = Dialect()
    venue = Venue()

    async def during(feed: Any) -> None:
        await anyio.sleep(5)
        venue.wires[0].lose("dropped")

    follow(venue, 10, during, dialect=dialect, contacted=hosts.append)
    assert hosts == ["venue.test"] * 2
    assert {line for when, _, line in dialect.got if when < 5} == {1}
    assert {line for when, _, line in dialect.got if when > 5} == {2}


def test_a_connection_that_does_not_close_is_broken_off_after_seven_tenths_of_a_real_second() -> None:
    venue = Venue(closing_s=100.0)

    async def during(feed: Any) -> None:
        await anyio.sleep(10)
        venue.wires[0].lose("dropped")

    follow(venue, 30, during, pace=2.0)
    assert venue.tries[1] - 10 == pytest.approx(1.4 + 0.5, abs=0.11)
    assert venue.wires[0].aborted


def test_the_hours_until_each_renewal_are_drawn_from_the_seed_within_the_venues_bounds() -> None:
    def drawn(seed: int, **habits: Any) -> list[float]:
        feed = make(Venue(), RecordingSink(), seed=seed, habits=Habits(**habits))
        return [feed.renewal_s() for _ in range(100)]

    async def main() -> None:
        every = [drawn(seed) for seed in range(20)]
        assert all(12 * 3600 <= one <= 20 * 3600 for row in every for one in row)
        assert len({one for row in every for one in row}) == 2_000
        assert every == [drawn(seed) for seed in range(20)]
        assert set(drawn(3, renew_after_hours=(0.5, 0.5))) == {1800.0}

    anyio.run(main)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"silent_s": 0.0}, "silent_s = 0.0: expected more than 0"),
        ({"ping_every_s": float("nan")}, "ping_every_s = nan: expected more than 0"),
        ({"open_s": float("inf")}, "open_s = inf"),
        ({"hello_within_s": -1.0}, "hello_within_s = -1.0: expected more than 0 or 0"),
        ({"renew_after_hours": (20.0, 12.0)}, "renew_after_hours"),
        ({"degraded_s": 12.0}, "degraded_s = 12.0: expected at most dead_s = 9.5"),
        ({"quiet_s": 500.0}, "quiet_s = 500.0: expected at most quiet_most_s = 300.0"),
    ],
)
def test_habits_that_no_venue_can_have_are_refused_with_the_figure(figures: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Habits(**figures)
    assert Habits(hello_within_s=0, linger_s=0, channels_per_frame=0) == Habits(hello_within_s=0.0, linger_s=0.0)


# -- candles -----------------------------------------------------------------------------------------------------------


class Market(Dialect):
    """Gives each candle frame to a chain as a push of the venue's time, which begins at 12:00:58."""

    def __init__(self) -> None:
        super().__init__()
        self.chain: Any = None
        self.feed: Any = None

    def receive(self, frame: bytes, now: float, line: int) -> Any:
        channel = super().receive(frame, now, line)
        if channel == CANDLES:
            time_ns = venue_ns()
            open_ns = time_ns - time_ns % MINUTE_NS
            self.feed.stamps.timely(time_ns, frame, now)
            volume = 1.0 + (time_ns - open_ns) / MINUTE_NS
            self.chain.push(Candle("BTC", open_ns, time_ns, 100.0, 101.0, 99.0, 100.5, volume, UNCONFIRMED), now)
        return channel


def venue_ns() -> int:
    return T0 + int((58 + anyio.current_time()) * SECOND_NS)


def candles_of(
    venue: Venue, seconds: float, *, rows_fail: tuple[float, float] = (0.0, 0.0), during: Any = None
) -> tuple[RecordingSink, list[float]]:
    calls: list[float] = []

    async def rows(symbol: str, interval_ns: int, /, *, end_ns: int, count: int) -> Sequence[Candle]:
        now = anyio.current_time()
        calls.append(now)
        if rows_fail[0] <= now < rows_fail[1]:
            raise ProviderUnavailable("HTTP 502")
        last = min(end_ns, venue_ns()) // interval_ns * interval_ns
        opens = range(last - count * interval_ns, last, interval_ns)
        return [Candle(symbol, o, o + interval_ns, 100.0, 101.0, 99.0, 100.5, 2.5, BACKFILLED) for o in opens]

    async def main() -> RecordingSink:
        sink, dialect = RecordingSink(), Market()
        feed = make(venue, sink, dialect=dialect)
        dialect.feed = feed
        dialect.chain = feed.assemble(CANDLES, CandleAssembler("BTC", MINUTE_NS), rows=rows)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            if during is not None:
                tasks.start_soon(during, feed)
            await anyio.sleep(seconds)
            tasks.cancel_scope.cancel()
        return sink

    return simulate(main), calls


def minutes(sink: RecordingSink) -> list[tuple[int, str]]:
    return [((candle.open_ns - T0) // MINUTE_NS, candle.status) for candle in sink.candles]


@pytest.mark.behaviour("F7")
def test_pushes_become_candles_that_the_venues_rows_confirm() -> None:
    sink, calls = candles_of(Venue(), 130)
    assert minutes(sink) == [(0, FINAL), (1, FINAL), (2, FINAL)]
    assert {candle.volume for candle in sink.candles} == {2.5}, "the row wins"
    assert [round(when, 1) for when in calls] == [4.0, 64.0, 124.0]


@pytest.mark.behaviour("F7", "F8")
def test_what_went_out_without_its_row_is_asked_for_again_as_soon_as_a_call_succeeds() -> None:
    sink, calls = candles_of(Venue(), 430, rows_fail=(60.0, 360.0))
    assert minutes(sink) == [(0, FINAL), *((minute, UNCONFIRMED) for minute in range(1, 6)), (6, FINAL), (7, FINAL)]
    told = [words for _, words, _ in sink.feeds]
    assert sum("goes out unconfirmed: HTTP 502" in words for words in told) == 5
    assert sum("was revised after it was given out" in words for words in told) == 5
    after = [when for when in calls if when >= 360]
    assert after[1] - after[0] < 0.1, "at once after the first call that succeeded"


@pytest.mark.behaviour("F7", "F5")
def test_the_first_push_after_a_gap_closes_no_candle_and_the_second_connection_of_a_renewal_makes_none() -> None:
    venue = Venue(opens=lambda number: ProviderUnavailable("gone") if 2 <= number <= 7 else None)

    async def during(feed: Any) -> None:
        await anyio.sleep(30)
        venue.wires[0].lose("dropped")

    sink, _ = candles_of(venue, 250, during=during)
    came_back = venue.tries[-1]
    assert came_back > 70, "beyond the end of minute 1, and longer than its row is waited for"
    assert [minute for minute, _ in minutes(sink)] == [0, 2, 3, 4], "minute 1 is history's business"


@pytest.mark.parametrize("after_s", [300.0, 361.9], ids=["amid", "at-its-end"])
def test_a_planned_renewal_leaves_the_candle_whole_that_is_open_meanwhile(after_s: float) -> None:
    venue = Venue()
    hours = after_s / 3600

    async def main() -> RecordingSink:
        sink, dialect = RecordingSink(), Market()
        feed = make(venue, sink, dialect=dialect, habits=Habits(renew_after_hours=(hours, hours)))

        async def rows(symbol: str, interval_ns: int, /, *, end_ns: int, count: int) -> Sequence[Candle]:
            raise ProviderUnavailable("no rows today")

        dialect.feed = feed
        dialect.chain = feed.assemble(CANDLES, CandleAssembler("BTC", MINUTE_NS), rows=rows)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            await anyio.sleep(500)
            tasks.cancel_scope.cancel()
        return sink

    sink = simulate(main)
    assert len(venue.wires) == 2
    assert [minute for minute, _ in minutes(sink)] == list(range(9)), "a push of either is a push"
