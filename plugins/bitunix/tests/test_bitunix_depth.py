"""Depth of the venue: what the decoder makes of frames of levels, and which of them reach the sink."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fake_venue import MINUTE, FakeVenue, depth, in_virtual_time, kline_push, started
from lab.domain.market import Depth
from lab.domain.time import MINUTE_NS
from lab.errors import ProviderError
from lab.ports import Channel, FeedState, Subscription
from lab.testing import RecordingSink
from lab_bitunix import wire
from lab_bitunix.provider import Bitunix
from websockets.asyncio.server import ServerConnection

SAMPLES = Path(__file__).parent / "samples"
MS = 1_000_000
TS = 1_775_541_541_009
LEVELS_OF = {f"depth_book{levels}": levels for levels in (1, 5, 15)}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return in_virtual_time()


def book(channel: str, bids: Any, asks: Any, ts: Any = TS) -> str:
    return json.dumps({"ch": channel, "symbol": "BTCUSDT", "ts": ts, "data": {"b": bids, "a": asks}})


def read(frame: bytes | str) -> Depth | str:
    message = wire.decode_frame(frame)
    if isinstance(message, wire.Malformed):
        return message.reason
    assert isinstance(message, wire.DepthFrame)
    return wire.depth_of(message)


# -- the decoder ------------------------------------------------------------------------------------------------------


def test_the_captured_frame_becomes_depth_best_level_first() -> None:
    assert read((SAMPLES / "ws-depth-book15-btcusdt.json").read_bytes()) == Depth(
        "BTCUSDT", 1790126515693 * MS,
        ((86699.6, 2.274), (86699.5, 2.7407), (86699.4, 3.093)),
        ((86699.7, 0.7095), (86699.8, 2.1992), (86699.9, 1.457)),
    )  # fmt: skip


@pytest.mark.parametrize("channel", LEVELS_OF)
def test_numbers_and_texts_mean_the_same_and_the_window_is_no_longer_than_the_channels(channel: str) -> None:
    bids, asks = ([[100 - place, 2.5] for place in range(20)], [[101 + place, 3] for place in range(20)])
    found = read(book(channel, bids, asks))
    assert isinstance(found, Depth)
    assert found == read(book(channel, *([[str(one), str(size)] for one, size in side] for side in (bids, asks))))
    assert (found.bids[0], found.asks[0], found.time_ns) == ((100.0, 2.5), (101.0, 3.0), TS * MS)
    assert {len(found.bids), len(found.asks)} == {LEVELS_OF[channel]}
    assert {type(figure) for level in (*found.bids, *found.asks) for figure in level} == {float}


BIDS, ASKS = [["100", "1"], ["99", "2"]], [["101", "1"], ["102", "2"]]


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(
    ("bids", "asks", "ts", "said"),
    [
        (ASKS, BIDS, TS, "bid level 102.0 does not lie beyond 101.0"),
        (ASKS[:1], BIDS[:1], TS, "bid 101.0 above ask 100.0"),
        (BIDS[::-1], ASKS, TS, "bid level 100.0 does not lie beyond 99.0"),
        (BIDS, ASKS[::-1], TS, "ask level 101.0 does not lie beyond 102.0"),
        ([BIDS[0], BIDS[0]], ASKS, TS, "bid level 100.0 does not lie beyond 100.0"),
        ([["100", "0"]], ASKS, TS, "bid level 100.0 × 0.0 is not a price and a size"),
        ([["100", "-1"]], ASKS, TS, "bid level 100.0 × -1.0 is not a price and a size"),
        (BIDS, [["101", "NaN"]], TS, "ask level 101.0 × nan is not a price and a size"),
        (BIDS, [["inf", "1"]], TS, "ask level inf × 1.0 is not a price and a size"),
        (BIDS, [], TS, "a side without levels"),
        ([], ASKS, TS, "a side without levels"),
        (BIDS, ASKS, TS // 1000, "is not a time in ms"),
        (BIDS, ASKS, "later", "Expected `int`"),
        ([["", ""]], [["", ""]], TS, "Expected `float`"),
        (BIDS, [["101"]], TS, "of at least length 2"),
        (BIDS, None, TS, "Expected `array`"),
    ],
)
def test_a_book_that_cannot_be_gets_a_reason_that_names_its_channel(bids: Any, asks: Any, ts: Any, said: str) -> None:
    found = read(book("depth_book5", bids, asks, ts))
    assert isinstance(found, str)
    assert found.startswith("depth_book5: ")
    assert said in found


# -- the stream -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def heard(venue: FakeVenue, *wanted: Subscription, **settings: Any) -> AsyncIterator[RecordingSink]:
    async with started(venue, **settings) as provider, anyio.create_task_group() as tasks:
        sink = RecordingSink()
        tasks.start_soon(provider.stream, wanted or MINUTE, sink)
        yield sink
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("levels", "channels"),
    [(0, {"depth_book1"}), (1, {"depth_book1"}), (5, {"depth_book1", "depth_book5"}),
     (15, {"depth_book1", "depth_book15"})],
)  # fmt: skip
async def test_the_setting_chooses_the_channel_and_one_level_needs_none_of_its_own(
    levels: int, channels: set[str]
) -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        asked.extend(arg["ch"] for arg in json.loads(await socket.recv())["args"])
        for _ in range(8):
            for shown in (1, 5, 15):
                await socket.send(depth(venue.now_ms(), shown))
            await socket.send(kline_push(venue.now_ms()))
            await anyio.sleep(0.3)
        return True

    asked: list[str] = []
    venue = FakeVenue(start_s=5, session=session)
    async with heard(venue, depth=levels) as sink:
        await sink.until(lambda: len(sink.quotes) >= 6)
    assert set(asked) == channels | {"market_kline_1min", "trade"}
    assert len(asked) == len(set(asked))
    assert {len(one.bids) for one in sink.depths} == ({levels} if levels else set())
    assert {len(one.asks) for one in sink.depths} == ({levels} if levels else set())
    assert FeedState.LIVE in sink.states
    assert (Channel.DEPTH in Bitunix(depth=levels).channels()) == bool(levels)
    for one in sink.depths:
        (best,) = {quote[2:] for quote in sink.quotes}
        assert (*one.bids[0], *one.asks[0]) == best


async def test_whoever_wants_depth_only_gets_nothing_else() -> None:
    async with heard(FakeVenue(start_s=5), Subscription("btcusdt", MINUTE_NS, frozenset({Channel.DEPTH}))) as sink:
        await sink.until(lambda: len(sink.depths) >= 3)
    assert {type(event) for event in sink.events} == {Depth}
    assert {one.symbol for one in sink.depths} == {"BTCUSDT"}


@pytest.mark.behaviour("F13")
async def test_books_that_cannot_be_and_times_that_cannot_be_are_counted_and_the_good_ones_between_are_used() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        await socket.recv()
        await socket.send(depth(venue.now_ms()))
        await socket.send(kline_push(venue.now_ms()))
        for bids, asks in ((ASKS, BIDS), (BIDS[::-1], ASKS), (BIDS, []), ([["", ""]], [["", ""]])):
            await socket.send(book("depth_book5", bids, asks, venue.now_ms()))
            await socket.send(depth(venue.now_ms(), 5))
        for seconds in (-60, -30, 60):
            await socket.send(depth(venue.now_ms() + 1000 * seconds, 5))
        await socket.send(book("depth_book5", BIDS, ASKS, venue.now_ms()).replace("BTCUSDT", "ETHUSDT"))
        await anyio.sleep(2)
        return True

    venue = FakeVenue(start_s=5, session=session)
    async with heard(venue) as sink:
        await sink.until(lambda: len(sink.depths) >= 4 and len(sink.faults) >= 5)
    assert len(sink.depths) == 4
    assert all(reason.startswith("depth_book5: ") for reason in sink.faults[:4])
    assert [reason for reason in sink.faults[4:] if "ahead of the venue's clock" not in reason] == []
    assert len(sink.faults) == 5
    assert [words for _, words, _ in sink.feeds if "late" in words] == [
        "frames left out because they came more than 5 s late: 1 so far"
    ]


@pytest.mark.behaviour("F5")
async def test_without_levels_and_trades_the_feed_is_live_at_once_and_stays_so_on_the_same_socket() -> None:
    venue = FakeVenue(start_s=5, muted={"depth_book5", "trade"})
    async with heard(venue) as sink:
        await sink.until(lambda: FeedState.LIVE in sink.states)
        assert len(sink.quotes) <= 3, "it waited for nothing but a quote and a candle"
        await sink.until(lambda: len(sink.quotes) > 500)
        venue.muted.clear()
        await sink.until(lambda: bool(sink.depths and sink.trades))
    sockets = [[frame for _, frame in frames if frame["op"] == "subscribe"] for frames in venue.frames]
    [subscribed] = [frames for frames in sockets if frames]  # one that was lost before it could ask does not count
    asked = [[arg["ch"] for arg in frame["args"]] for frame in subscribed]
    assert asked == [["depth_book1", "market_kline_1min", "depth_book5", "trade"], *[["depth_book5", "trade"]] * 2]
    assert set(sink.states[sink.states.index(FeedState.LIVE) :]) == {FeedState.LIVE}
    assert [words for _, words, _ in sink.feeds if "silent" in words] == [
        f"BTCUSDT {name} silent for 30 s: the run goes on without" for name in ("depth_book5", "trade")
    ]


@pytest.mark.behaviour("F6")
async def test_more_channels_than_a_socket_takes_are_refused_with_the_cures() -> None:
    wanted = [Subscription(f"C{number}USDT", MINUTE_NS) for number in range(151)]
    for count, settings, said in (
        (76, {}, r"need 304 channels; .* fewer symbols, or set bitunix.depth=0, or set bitunix.trades=false$"),
        (101, {"trades": False}, r"need 303 channels; .* fewer symbols, or set bitunix.depth=0$"),
        (101, {"depth": 0}, r"need 303 channels; .* fewer symbols, or set bitunix.trades=false$"),
        (151, {"depth": 0, "trades": False}, r"need 302 channels; .* ask for fewer symbols$"),
    ):
        async with started(FakeVenue(), **settings) as provider:
            with pytest.raises(ProviderError, match=said):
                await provider.stream(wanted[:count], RecordingSink())
