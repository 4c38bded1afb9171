"""The provider of the page on sockets, over `websockets` in virtual time: against its venue, which falls silent, drops,
refuses and floods."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from attrs import define, field
from lab import FINAL, MILLISECOND_NS, SECOND_NS, Candle, Channel, FeedState, Runtime, Subscription
from lab.domain.time import MINUTE_NS
from lab.simulation.clocks import LoopClock
from lab.testing import START_NS, RecordingSink, simulate

PAGE: Final = Path(__file__).parents[1] / "docs" / "how-to" / "write-a-socket-provider.md"
NAMED: Final = re.compile(r"^`lab-harbour/([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WANTED: Final = [Subscription("BTCUSDT", MINUTE_NS, frozenset({Channel.QUOTES, Channel.CANDLES}))]


@define
class Harbour:
    """The page's provider at its venue, and what it streams."""

    provider: Any
    venue: Any
    sink: RecordingSink = field(factory=RecordingSink)

    async def live(self) -> None:
        """Wait until the feed is live again, and not only still."""
        known = len(self.sink.feeds)
        await self.sink.until(lambda: FeedState.LIVE in self.sink.states[known:])

    def down(self) -> list[str]:
        return [words for state, words, _ in self.sink.feeds if state is FeedState.DOWN]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Write the page's files, and return what runs a coroutine function of a `Harbour` in virtual time."""
    for name, text in NAMED.findall(PAGE.read_text("utf-8")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for folder in ("src", "tests"):
        monkeypatch.syspath_prepend(tmp_path / folder)
    modules = [importlib.import_module(name) for name in ("lab_harbour.provider", "harbour_venue")]

    def run(during: Callable[[Harbour], Any]) -> Harbour:
        async def main() -> Harbour:
            clock = LoopClock(START_NS + 50 * SECOND_NS)
            async with anyio.create_task_group() as tasks:
                venue = modules[1].Venue(lambda: clock.wall_ns() // MILLISECOND_NS)
                port = await tasks.start(venue.serve, 0)
                provider = modules[0].Harbour(url=f"ws://127.0.0.1:{port}/")
                await provider.start(Runtime(clock=clock, seed=3, tasks=tasks, speed="max"))
                harbour = Harbour(provider, venue)
                tasks.start_soon(provider.stream, WANTED, harbour.sink)
                await harbour.live()
                await during(harbour)
                tasks.cancel_scope.cancel()
            return harbour

        return simulate(main)

    yield run
    for name in [one for one in sys.modules if one.partition(".")[0] in {"lab_harbour", "harbour_venue"}]:
        del sys.modules[name]


def check_candles(harbour: Harbour) -> None:
    """Assert that candles came once each, in order, and are the venue's."""
    candles = harbour.sink.candles
    assert len(candles) > 1
    assert all(later.open_ns > earlier.open_ns for earlier, later in pairwise(candles))
    for one in candles:
        open_ms = one.open_ns // MILLISECOND_NS
        row = harbour.venue.candle(open_ms, open_ms + 60_000)
        assert (one.status, list(one[3:8])) == (FINAL, row)


def test_the_page_has_a_provider_of_less_than_a_hundred_lines() -> None:
    files = dict(NAMED.findall(PAGE.read_text("utf-8")))
    source = "".join(text for name, text in files.items() if name.startswith("src/"))
    assert 50 < sum(bool(line.strip()) for line in source.splitlines()) < 100


@pytest.mark.behaviour("F5", "F7")
def test_quotes_and_confirmed_candles_come_and_everything_is_asked_for_in_one_frame(page: Any) -> None:
    async def during(harbour: Harbour) -> None:
        await anyio.sleep(300)

    harbour = page(during)
    check_candles(harbour)
    assert len(harbour.sink.candles) == 5
    assert harbour.sink.faults == []
    asked = [ask for _, _, ask in harbour.venue.asked if ask["ask"] == "stream"]
    assert asked == [{"ask": "stream", "channels": [["BTCUSDT", "candles"], ["BTCUSDT", "quotes"]]}]
    assert list(harbour.provider._runtime.hosts) == [harbour.provider.url.split("/")[2]]  # noqa: SLF001


@pytest.mark.behaviour("F2")
def test_a_venue_that_falls_silent_is_found_out_within_eight_seconds_and_a_channel_within_ten(page: Any) -> None:
    async def during(harbour: Harbour) -> None:
        await anyio.sleep(20)
        for silent, within_s in (({"*"}, 8.6), ({"candles"}, 10.1)):
            harbour.venue.silent, began, known = silent, anyio.current_time(), len(harbour.down())
            await harbour.sink.until(lambda known=known: len(harbour.down()) > known)
            assert anyio.current_time() - began <= within_s
            harbour.venue.silent = set()
            await harbour.live()
            await anyio.sleep(150)

    harbour = page(during)
    assert harbour.down()[0].startswith("no frame for 8.0 s, ping unanswered")
    assert harbour.down()[1].startswith("BTCUSDT candles silent for 9.5 s")
    assert len(harbour.venue.connects) == 3
    check_candles(harbour)


@pytest.mark.behaviour("F1")
def test_connections_that_drop_for_ten_minutes_are_replaced_within_the_budget_and_the_candles_are_right(
    page: Any,
) -> None:
    async def during(harbour: Harbour) -> None:
        for _ in range(300):
            await anyio.sleep(2)
            for socket in harbour.venue.sockets:
                socket.transport.abort()
        await harbour.live()
        await anyio.sleep(150)

    harbour = page(during)
    connects = harbour.venue.connects
    assert len(connects) > 15
    assert max(sum(first <= at < first + 60 for at in connects) for first in connects) <= 10
    assert all(words.startswith("connection lost: ") for words in harbour.down())
    check_candles(harbour)


@pytest.mark.behaviour("F6", "F11")
def test_a_venue_that_asks_for_fewer_calls_is_left_alone_and_one_that_is_down_tried_for_ever(page: Any) -> None:
    async def during(harbour: Harbour) -> None:
        for status in (429, 503):
            harbour.venue.status = status
            harbour.venue.sockets[-1].transport.abort()
            await anyio.sleep(200)
            harbour.venue.status = 0
            await harbour.live()

    harbour = page(during)
    told = harbour.down()
    assert sum("refused with HTTP 429" in words for words in told) == 3, "after 30 s and 60 s more"
    assert sum("cooling down for" in words for words in told) == 3
    assert sum("refused with HTTP 503" in words for words in told) >= 7


@pytest.mark.behaviour("F4", "F6")
def test_a_storm_of_quotes_is_taken_in_whole_and_neither_candle_nor_ping_waits_for_it(page: Any) -> None:
    async def during(harbour: Harbour) -> None:
        await anyio.sleep(8)
        harbour.venue.quotes_a_second = 5_000
        await anyio.sleep(4)
        harbour.venue.quotes_a_second = 2
        await anyio.sleep(8.2)
        assert len(harbour.sink.quotes) == harbour.venue.quotes_sent > 15_000

    harbour = page(during)
    assert harbour.sink.faults == []
    assert harbour.down() == []
    [(came_at, candle)] = [(at, event) for at, event in harbour.sink.given if isinstance(event, Candle)]
    assert (candle.status, round(came_at)) == (FINAL, 13), "the minute ended in the storm, after 10 s"
    times = [at for at, socket, _ in harbour.venue.asked if socket is harbour.venue.sockets[0]]
    assert len(times) >= 5
    assert max(sum(first <= at < first + 1 for at in times) for first in times) <= 4


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(
    "text",
    [
        "", "not json", "[]", "null", "[" * 5_000, '{"is":1}', '{"is":["quotes"],"symbol":{}}', '{"is":"quotes"}',
        '{"is":"quotes","symbol":"BTCUSDT"}', '{"is":"quotes","symbol":"BTCUSDT","ms":1e999,"figures":[1,1,1,1]}',
        '{"is":"quotes","symbol":"BTCUSDT","ms":1,"figures":[1,1,1]}',
        '{"is":"quotes","symbol":"BTCUSDT","ms":1,"figures":[NaN,1,1,1]}',
        '{"is":"candles","symbol":"BTCUSDT","ms":1,"figures":[1,0,2,1,1]}', '{"is":"quotes","symbol":"ELSE","ms":1}',
    ],
)  # fmt: skip
def test_no_frame_ends_the_stream(text: str, page: Any) -> None:
    async def during(harbour: Harbour) -> None:
        for _ in range(3):
            await harbour.venue.sockets[0].send(text)
        known = len(harbour.sink.quotes)
        await anyio.sleep(5)
        assert len(harbour.sink.quotes) >= known + 8

    harbour = page(during)
    assert len(harbour.sink.faults) in {0, 3}
    assert harbour.down() == []
