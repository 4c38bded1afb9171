"""The provider's stream, against a small venue on loopback: what it gives, and how it survives."""

import socket
import time
from itertools import pairwise
from typing import Any

import anyio
import pytest
from attrs import evolve
from fake_venue import (
    T0_S,
    FakeVenue,
    answering,
    deaf_feed,
    depth,
    in_virtual_time,
    kline_push,
    long_waits,
    started,
    streaming,
)
from lab.domain.market import FINAL, UNCONFIRMED
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.errors import ProviderError
from lab.ports import FeedState, Subscription
from lab.testing import RecordingSink
from lab_bitunix.frames import Connect
from lab_bitunix.sockets import HABITS
from websockets.asyncio.server import ServerConnection


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return in_virtual_time()


@pytest.mark.behaviour("F7", "F5")
async def test_a_stream_gives_quotes_funding_and_a_confirmed_candle() -> None:
    venue = FakeVenue(start_s=58)
    async with streaming(venue) as sink:
        await sink.until(lambda: bool(sink.candles))
    assert sink.states[:4] == [FeedState.CONNECTING, FeedState.SUBSCRIBED, FeedState.WARM, FeedState.LIVE]
    assert sink.quotes[0][2:] == (60000.1, 2.5, 60000.2, 3.0)
    (candle,) = sink.candles
    assert (candle.open_ns // SECOND_NS, candle.status, candle.volume) == (T0_S, FINAL, 10.0)
    assert 61 <= candle.time_ns / SECOND_NS - T0_S < 66
    assert sink.fundings[0].rate == 0.0000072
    assert list(venue.hosts).count(f"127.0.0.1:{venue.port}") >= 1
    (_, subscribe), *others = venue.frames[0]
    assert [arg["ch"] for arg in subscribe["args"]] == ["depth_book1", "market_kline_1min", "depth_book5", "trade"]
    assert sink.depths[0][2] == tuple((round(60000.1 - place / 10, 1), 2.5 + place) for place in range(5))
    assert {frame["op"] for _, frame in others} <= {"ping"}
    assert sink.faults == []


@pytest.mark.behaviour("F7")
async def test_without_its_row_a_candle_goes_out_unconfirmed_and_the_reason_is_told() -> None:
    venue = FakeVenue(start_s=58, rest=answering(502, b"", "kline"))
    async with streaming(venue) as sink:
        await sink.until(lambda: bool(sink.candles))
        assert any("goes out unconfirmed" in words for _, words, _ in sink.feeds)
    assert sink.candles[0].status == UNCONFIRMED
    assert sink.candles[0].volume > 9.5
    assert any("HTTP 502" in words for _, words, _ in sink.feeds)
    assert sink.candles[0].time_ns / SECOND_NS - T0_S - 60 > 4.5


@pytest.mark.behaviour("F1", "F5")
async def test_a_lost_connection_is_replaced_and_everything_subscribed_again() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        if number == 0:
            await socket.send('{"op":"connect","data":{"result":true}}')
            await socket.recv()
            socket.transport.abort()
        return number == 0

    venue = FakeVenue(start_s=5, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: FeedState.LIVE in sink.states)
        await sink.until(lambda: len(sink.quotes) > 3)
    assert "connection closed: no close frame (1006); next try in 0." in next(
        words for state, words, _ in sink.feeds if state is FeedState.DOWN
    )
    assert len(venue.frames[1][0][1]["args"]) == 4


@pytest.mark.behaviour("F7")
async def test_the_first_push_after_a_longer_outage_does_not_close_the_bucket_left_behind() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        if number == 0:
            await socket.send('{"op":"connect","data":{"result":true}}')
            await socket.recv()
            await socket.send(kline_push(venue.now_ms()))
            venue.handshake_status = 503
            socket.transport.abort()
        return number == 0

    venue = FakeVenue(start_s=58, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: venue.now_ms() > (T0_S + 66) * 1000)
        venue.handshake_status = 0
        await sink.until(lambda: FeedState.LIVE in sink.states)
        await anyio.sleep(6)
        assert sink.candles == []


@pytest.mark.behaviour("F7")
async def test_candles_close_as_before_once_a_wrong_time_of_the_venue_was_found_out() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        await socket.recv()
        ahead_ms = 3_600_000  # the first frames are stamped an hour ahead
        for _ in range(600):
            await socket.send(depth(venue.now_ms() + ahead_ms))
            await socket.send(kline_push(venue.now_ms() + ahead_ms))
            ahead_ms = 0
            await anyio.sleep(0.25)
        return True

    venue = FakeVenue(start_s=50, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: bool(sink.candles))
    assert [candle.open_ns // SECOND_NS for candle in sink.candles] == [T0_S]
    assert any("open candles are judged anew" in words for _, words, _ in sink.feeds)


@pytest.mark.behaviour("F1")
async def test_refusals_lengthen_the_waits_and_never_end_the_trying() -> None:
    venue = FakeVenue(handshake_status=503)
    async with streaming(venue) as sink:
        await sink.until(lambda: len(venue.connects) >= 6)
        venue.handshake_status = 0
        await sink.until(lambda: FeedState.LIVE in sink.states)
    gaps = [later - earlier for earlier, later in pairwise(venue.connects)]
    assert gaps[4] > 6
    assert any("refused with HTTP 503" in words for _, words, _ in sink.feeds)


async def test_a_429_at_the_socket_cools_rest_down_as_well() -> None:
    venue = FakeVenue(handshake_status=429)
    async with streaming(venue) as sink:
        await sink.until(lambda: any("cooling down" in words for _, words, _ in sink.feeds))
        venue.handshake_status = 0
        await sink.until(lambda: FeedState.LIVE in sink.states)
    assert venue.connects[1] - venue.connects[0] >= 30


@pytest.mark.behaviour("F5")
async def test_a_muted_channel_is_asked_for_once_more_then_the_socket_is_replaced() -> None:
    venue = FakeVenue(start_s=5, muted={"market_kline_1min"})
    async with streaming(venue) as sink:
        await sink.until(lambda: len(venue.connects) >= 2)
        venue.muted.clear()
        await sink.until(lambda: FeedState.LIVE in sink.states)
    asked = [frame["args"] for _, frame in venue.frames[0] if frame["op"] == "subscribe"]
    assert [len(args) for args in asked] == [4, 1]
    assert asked[1][0]["ch"] == "market_kline_1min"
    assert any("market_kline_1min silent" in words for state, words, _ in sink.feeds if state is FeedState.DOWN)


@pytest.mark.behaviour("F2")
async def test_a_silent_socket_is_suspected_and_replaced_within_eight_seconds() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        if number == 0:
            await socket.send('{"op":"connect","data":{"result":true}}')
            await socket.recv()
            await socket.send(depth(venue.now_ms()))
            await socket.send(depth(venue.now_ms(), 5))
            await socket.send(kline_push(venue.now_ms()))
            await anyio.sleep(20)
        return number == 0

    venue = FakeVenue(start_s=5, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: FeedState.DOWN in sink.states)
    live_at = next(at for state, _, at in sink.feeds if state is FeedState.LIVE)
    down_at = next(at for state, _, at in sink.feeds if state is FeedState.DOWN)
    assert FeedState.SUSPECT in sink.states
    assert down_at - live_at < 10  # 8 s, and what closing takes


@pytest.mark.behaviour("F13")
async def test_malformed_frames_are_told_and_the_good_ones_between_are_used() -> None:
    junk = [b"not json", b'{"ch":"depth_book1","symbol":"BTCUSDT","ts":1,"data":{"b":[["",""]],"a":[["",""]]}}',
            b"[" * 3000, b'{"op":7}', b"\xff", b'{"op":"subscribe","data":{"result":false,"msg":"limit"}}']  # fmt: skip

    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        await socket.recv()
        await socket.send(kline_push(venue.now_ms()))
        for frame in junk:
            await socket.send(frame)
            await socket.send(depth(venue.now_ms()))
        for seconds in (-60, -30, 60):
            await socket.send(depth(venue.now_ms() + 1000 * seconds))
        await anyio.sleep(2)
        return True

    venue = FakeVenue(start_s=5, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: len(sink.quotes) >= 6 and len(sink.faults) >= 6)
    assert len(sink.quotes) == 6
    assert len(venue.connects) == 1
    assert [reason for reason in sink.faults if "clock" in reason] == [sink.faults[-1]]
    assert "is more than 5 s ahead of the venue's clock" in sink.faults[-1]
    assert [words for _, words, _ in sink.feeds if "late" in words] == [
        "frames left out because they came more than 5 s late: 1 so far"
    ]
    assert "subscribe refused: limit" in sink.faults


@pytest.mark.behaviour("F6")
async def test_frames_sent_stay_within_four_in_any_second_and_pings_come_every_five() -> None:
    venue = FakeVenue(start_s=5)
    async with streaming(venue) as sink:
        await sink.until(
            lambda: sum(frame["op"] == "ping" for _, frame in venue.frames[0]) >= 3 if venue.frames else False
        )
    times = [at for at, _ in venue.frames[0]]
    assert max(sum(first <= at < first + 1 for at in times) for first in times) <= 4
    pings = [at for at, frame in venue.frames[0] if frame["op"] == "ping"]
    assert 4.5 < pings[1] - pings[0] < 6


async def test_the_socket_sends_no_protocol_ping_and_uses_neither_compression_nor_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}

    def note(url: str, **options: Any) -> Any:
        given.update(options)
        return Connect(url, **options)

    monkeypatch.setattr("lab_bitunix.sockets.Connect", note)
    async with streaming(FakeVenue(start_s=5)) as sink:
        await sink.until(lambda: bool(sink.quotes))
    assert given["ping_interval"] is None, "the venue drops a socket whose first frame is a protocol ping"
    assert given["compression"] is None
    assert given["proxy"] is None


async def test_unsupported_intervals_are_refused_before_anything_is_opened() -> None:
    venue = FakeVenue()
    async with started(venue) as provider:
        with pytest.raises(ProviderError, match="interval 1w is not supported"):
            await provider.stream([Subscription("BTCUSDT", 7 * 1440 * MINUTE_NS)], RecordingSink())
    assert venue.connects == []


@long_waits
async def test_a_venue_has_real_seconds_to_open_a_socket_however_fast_the_runs_clock_is() -> None:
    sink = RecordingSink()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        feed = deaf_feed(url, sink, evolve(HABITS, open_s=0.5))
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            await sink.until(lambda: any(words.startswith("no connection within 0.5 s") for _, words, _ in sink.feeds))
            assert 0.45 < time.monotonic() - began < 5
            tasks.cancel_scope.cancel()
