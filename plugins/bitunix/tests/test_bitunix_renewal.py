"""The planned renewal of the socket, in virtual time: another one takes over, and nothing is lost or doubled."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest
from attrs import define, evolve, field
from fake_venue import MINUTE, FakeVenue, answering, depth, kline_push, started
from lab.domain.market import FINAL
from lab.domain.time import SECOND_NS
from lab.errors import AuthenticationFailed
from lab.ports import FeedState
from lab.testing import RecordingSink
from lab.testing.simulation import simulate
from lab_bitunix.sockets import HABITS
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

RENEWAL = 0.1
RENEWAL_S = 360.0
STEP_S = 0.5


@define
class Market(FakeVenue):
    """One market, of which every socket hears the same, the n-th ``late_s[n]`` seconds after it happened."""

    late_s: tuple[float, ...] = ()
    silent: frozenset[int] = frozenset()
    traded: int = 0
    most_open: int = 0
    sockets: dict[int, ServerConnection] = field(factory=dict)

    async def talk(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                now_ms, frames = self.now_ms(), []
                frames += [depth(now_ms), depth(now_ms, 5), kline_push(now_ms), self._trades(now_ms)]
                for number in tuple(self.sockets):
                    if number not in self.silent:
                        late_s = self.late_s[number] if number < len(self.late_s) else 0.0
                        tasks.start_soon(self._tell, number, frames, late_s)
                await anyio.sleep(STEP_S)

    async def _tell(self, number: int, frames: list[str], late_s: float) -> None:
        await anyio.sleep(late_s)
        if number in self.sockets:
            try:
                for text in frames:
                    await self.sockets[number].send(text)
            except ConnectionClosed:
                self.sockets.pop(number, None)

    def _trades(self, now_ms: int) -> str:
        """Return two trades that are alike, and one whose size numbers it."""
        self.traded += 1
        sizes = ["0.5", "0.5", str(self.traded)]
        data = [{"t": f"s{now_ms // 1000}", "p": "60000.1", "v": size, "s": "buy"} for size in sizes]
        return json.dumps({"ch": "trade", "symbol": "BTCUSDT", "ts": now_ms, "data": data})

    async def listen(self, socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        try:
            async for text in socket:
                frame = json.loads(text)
                self.frames[number].append((anyio.current_time(), frame))
                if frame["op"] == "subscribe":
                    self.sockets[number] = socket
                    self.most_open = max(self.most_open, len(self.sockets))
                else:
                    await socket.send(json.dumps({"op": "ping", "pong": frame["ping"], "ping": 1}))
        except ConnectionClosed:
            pass
        self.sockets.pop(number, None)
        return True


@asynccontextmanager
async def followed(venue: Market) -> AsyncIterator[RecordingSink]:
    venue.session = venue.listen
    sink = RecordingSink()
    async with started(venue, renew_hours=RENEWAL) as provider, anyio.create_task_group() as tasks:
        tasks.start_soon(venue.talk)
        tasks.start_soon(provider.stream, MINUTE, sink)
        await sink.until(lambda: FeedState.LIVE in sink.states)
        yield sink
        tasks.cancel_scope.cancel()


def run(main: Callable[[], Awaitable[None]]) -> None:
    simulate(main, limit_s=86_400)


def words_of(sink: RecordingSink) -> list[str]:
    return [words for _, words, _ in sink.feeds]


@pytest.mark.behaviour("F1", "F5", "F7")
@pytest.mark.parametrize("late_s", [(0.0, 0.0, 0.0), (0.0, 0.6, 0.0), (0.6, 0.0, 0.6)], ids=["even", "behind", "ahead"])
def test_a_socket_is_renewed_beside_the_first_and_nothing_is_lost_or_doubled(late_s: tuple[float, ...]) -> None:
    async def main() -> None:
        venue = Market(start_s=5, late_s=late_s)
        async with followed(venue) as sink:
            await anyio.sleep(2 * RENEWAL_S + 60)
            assert len(venue.connects) == 3
            assert list(venue.sockets) == [2], "the two before it are closed"
        assert venue.most_open == 2
        live = sink.states.index(FeedState.LIVE)
        assert set(sink.states[live:]) == {FeedState.LIVE}, "the gate stayed open"
        assert [words for words in words_of(sink) if "moved to socket" in words] == [
            f"moved to socket {number}, opened beside the one before as planned" for number in (2, 3)
        ]
        sizes = [int(trade.size) for trade in sink.trades if trade.size != 0.5]
        assert sorted(sizes) == list(range(min(sizes), max(sizes) + 1)), "each trade once"
        assert all(later > earlier - 2 for earlier, later in pairwise(sizes)), "a late one comes as late as it is"
        assert abs(sum(trade.size == 0.5 for trade in sink.trades) - 2 * len(sizes)) <= 2, "those that are alike, too"
        times = [quote.time_ns for quote in sink.quotes]
        assert times == sorted(set(times))
        step_ns = max(later - earlier for earlier, later in pairwise(times))
        assert step_ns <= (1.1 if not any(late_s) else 2.1) * STEP_S * SECOND_NS, "what is late is no news"
        assert len(sink.depths) == len(times)
        opened = [candle.open_ns // SECOND_NS // 60 for candle in sink.candles]
        assert opened == list(range(opened[0], opened[0] + len(opened)))
        assert {candle.status for candle in sink.candles} == {FINAL}
        assert sink.faults == []

    run(main)


@pytest.mark.behaviour("F7")
def test_a_candle_that_ends_while_a_socket_is_renewed_is_whole_without_its_row() -> None:
    async def main() -> None:
        venue = Market(start_s=59.6, rest=answering(502, b"", "kline"))
        async with followed(venue) as sink:
            await anyio.sleep(RENEWAL_S + 90)
        assert any("moved to socket 2" in words for words in words_of(sink))
        opened = [candle.open_ns // SECOND_NS // 60 for candle in sink.candles]
        assert opened == list(range(opened[0], opened[0] + 7))

    run(main)


@pytest.mark.behaviour("F6")
@pytest.mark.parametrize(
    ("status", "words"),
    [(503, "refused with HTTP 503"), (429, "refused with HTTP 429"), (0, "not all channels spoke within 1 s")],
)
def test_where_the_second_socket_is_no_good_the_first_is_kept_and_another_tried_later(
    status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab_bitunix.live.HABITS", evolve(HABITS, renewal_retry_s=120.0, renewed_within_s=1.0))

    async def main() -> None:
        venue = Market(start_s=5, silent=frozenset() if status else frozenset({1}))
        async with followed(venue) as sink:
            venue.handshake_status = status
            await sink.until(lambda: any("socket is kept" in words for words in words_of(sink)))
            await anyio.sleep(1)
            assert len(venue.connects) == 2
            assert list(venue.sockets) == [0]
            kept = [told for told in words_of(sink) if told.startswith("the socket is kept, a second one is tried ag")]
            assert len(kept) == 1
            assert kept[0].endswith(words)
            venue.handshake_status = 0
            await anyio.sleep(130)
            assert len(venue.connects) == 3
            assert len(venue.sockets) == 1
            assert 0 not in venue.sockets
        assert set(sink.states[sink.states.index(FeedState.LIVE) :]) == {FeedState.LIVE}
        assert (
            max(later - earlier for earlier, later in pairwise(q.time_ns for q in sink.quotes))
            <= 1.1 * STEP_S * SECOND_NS
        )

    run(main)


@pytest.mark.behaviour("F1")
def test_a_socket_lost_while_its_successor_opens_is_replaced_as_ever() -> None:
    async def main() -> None:
        venue = Market(start_s=5, silent=frozenset({1}))
        async with followed(venue) as sink:
            await anyio.sleep(RENEWAL_S)
            await sink.until(lambda: len(venue.connects) == 2)
            venue.sockets[0].transport.abort()
            await sink.until(lambda: FeedState.DOWN in sink.states)
            await sink.until(lambda: sink.states[-1] is FeedState.LIVE)
            await anyio.sleep(5)
            assert list(venue.sockets) == [2]
            assert len(venue.connects) == 3

    run(main)


@pytest.mark.behaviour("F1")
def test_a_second_socket_is_not_opened_while_the_venue_asked_for_fewer_calls() -> None:
    async def main() -> None:
        venue = Market(start_s=5)
        async with followed(venue) as sink:
            await anyio.sleep(RENEWAL_S - 20)
            venue.rest = lambda *_: (429, b"")
            await anyio.sleep(60)
            assert len(venue.connects) == 1
            assert any("cooling down for" in told and "socket is kept" in told for told in words_of(sink))

    run(main)


def test_a_second_socket_that_is_refused_for_want_of_a_key_ends_the_stream_as_the_first_would() -> None:
    async def main() -> None:
        venue = Market(start_s=5)
        with pytest.RaisesGroup(pytest.RaisesExc(AuthenticationFailed, match="HTTP 401"), flatten_subgroups=True):
            async with followed(venue):
                venue.handshake_status = 401
                await anyio.sleep(RENEWAL_S + 60)

    run(main)
