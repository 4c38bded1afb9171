"""The provider against a small venue on loopback, in a loop whose time runs many times faster than the wall's."""

import asyncio
import json
import selectors
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import anyio.abc
import anyio.lowlevel
import httpx
import lab_bitunix
import pytest
from attrs import define, field
from lab.domain.market import BACKFILLED, FINAL, UNCONFIRMED
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.errors import ConfigError, ProviderError, ProviderUnavailable
from lab.plugins.settings import Layers, build
from lab.ports import FeedState, Provider, Realm, Runtime, Subscription
from lab.testing import RecordingSink
from lab_bitunix.pacing import Pacer
from lab_bitunix.provider import Bitunix
from lab_bitunix.rest import RestClient, UnknownSymbolError
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SAMPLES = Path(__file__).parent / "samples"
T0_S = 29_800_000 * 60
MINUTE = [Subscription("BTCUSDT", MINUTE_NS)]


class _FastSelector(selectors.DefaultSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout / self.speed if timeout else timeout)


class FastLoop(asyncio.SelectorEventLoop):
    """Time runs faster here, for sleeps, deadlines and what is measured alike."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        super().__init__(_FastSelector(speed))

    def time(self) -> float:
        return super().time() * self.speed


def running_at(speed: float) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": partial(FastLoop, speed)}


# Where a test asserts that something was in time, a slow machine must not count; where it only waits, it may be quick.
in_good_time = pytest.mark.parametrize("anyio_backend", [running_at(8)])
long_waits = pytest.mark.parametrize("anyio_backend", [running_at(60)])


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return running_at(20)


class _Clock:
    def monotonic(self) -> float:
        return anyio.current_time()

    def wall_ns(self) -> int:
        return T0_S * SECOND_NS


Answer = tuple[int, bytes]


@define
class FakeVenue:
    """Serves the protocol's happy path; a test turns single things into something else."""

    start_s: float = 0.0
    rest: Callable[[str, dict[str, str]], Answer | None] = lambda _path, _params: None
    handshake_status: int = 0
    session: Callable[[ServerConnection, int], Awaitable[bool]] | None = None
    muted: set[str] = field(factory=set)
    rows_from_minute: int = -1000
    calls: list[tuple[float, str, dict[str, str]]] = field(factory=list)
    frames: list[list[tuple[float, dict[str, Any]]]] = field(factory=list)
    connects: list[float] = field(factory=list)
    hosts: dict[str, None] = field(factory=dict)
    port: int = 0
    _began: float = field(factory=anyio.current_time)

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/public/"

    def now_ms(self) -> int:
        return T0_S * 1000 + int((self.start_s + anyio.current_time() - self._began) * 1000)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeVenue"]:
        async with serve(self._socket, "127.0.0.1", 0, process_request=self._request, compression=None,
                         ping_interval=None, close_timeout=0.1) as server:  # fmt: skip
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    # REST

    def _request(self, _: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if parts.path == "/public/":
            self.connects.append(anyio.current_time())
            return _response(self.handshake_status, b"", self.now_ms()) if self.handshake_status else None
        path, params = parts.path.rpartition("/")[2], dict(parse_qsl(parts.query))
        self.calls.append((anyio.current_time(), path, params))
        status, body = self.rest(path, params) or (200, self._answer(path, params))
        return _response(status, body, self.now_ms())

    def _answer(self, path: str, params: dict[str, str]) -> bytes:
        if path == "kline":
            return json.dumps({"code": 0, "data": self.kline(params), "msg": "Success"}).encode()
        name = {"trading_pairs": "rest-trading-pairs-2026-02", "funding_rate": "rest-funding-rate-2026-02"}[path]
        return (SAMPLES / f"{name}.json").read_bytes()

    def kline(self, params: dict[str, str]) -> list[dict[str, str]]:
        """Newest first, the open one included, endTime exclusive, 200 at most."""
        now_ms = self.now_ms()
        end_ms = min(int(params.get("endTime", now_ms + 1)), now_ms + 1)
        first = (end_ms - 1) // 60_000
        count = min(200, int(params.get("limit", 100)))
        last = max(first - count, T0_S // 60 + self.rows_from_minute - 1)
        return [row_of(minute) for minute in range(first, last, -1)]

    # socket

    async def _socket(self, socket: ServerConnection) -> None:
        number = len(self.frames)
        received: list[tuple[float, dict[str, Any]]] = []
        self.frames.append(received)
        if self.session is not None and await self.session(socket, number):
            return
        try:
            await socket.send('{"op":"connect","data":{"result":true}}')
            async with anyio.create_task_group() as tasks:
                async for text in socket:
                    frame = json.loads(text)
                    received.append((anyio.current_time(), frame))
                    if frame["op"] == "ping":
                        await socket.send(json.dumps({"op": "ping", "pong": frame["ping"], "ping": 1}))
                    elif len([f for _, f in received if f["op"] == "subscribe"]) == 1:
                        tasks.start_soon(self._push, socket)
                tasks.cancel_scope.cancel()
        except* ConnectionClosed:
            pass

    async def _push(self, socket: ServerConnection) -> None:
        step = 0
        while True:
            now_ms = self.now_ms()
            if "depth_book1" not in self.muted:
                await socket.send(depth(now_ms))
            if "market_kline_1min" not in self.muted and step % 2 == 0:
                await socket.send(kline_push(now_ms))
            step += 1
            await anyio.sleep(0.25)


def figures(minute: int) -> dict[str, str]:
    price = 60_000 + minute % 97
    return {"open": str(price), "high": str(price + 2), "low": str(price - 2), "close": str(price + 1)}


def row_of(minute: int) -> dict[str, str]:
    return {**figures(minute), "quoteVol": "600050", "baseVol": "10", "time": str(minute * 60_000)}


def kline_push(now_ms: int) -> str:
    """Reaches the row's close and volume at the end of the minute."""
    row = figures(now_ms // 60_000)
    done = now_ms % 60_000 / 60_000
    data = {"o": row["open"], "c": row["close"], "h": row["high"], "l": row["low"], "b": f"{10 * done:.4f}", "q": "1"}
    return json.dumps({"ch": "market_kline_1min", "symbol": "BTCUSDT", "ts": now_ms, "data": data})


def depth(now_ms: int) -> str:
    data = {"b": [["60000.1", "2.5"]], "a": [["60000.2", "3"]]}
    return json.dumps({"ch": "depth_book1", "symbol": "BTCUSDT", "ts": now_ms, "data": data})


def _response(status: int, body: bytes, now_ms: int) -> Response:
    headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
    headers["Date"] = formatdate(now_ms // 1000, usegmt=True)
    return Response(status, "status", headers, body)


@asynccontextmanager
async def started(venue: FakeVenue, **settings: Any) -> AsyncIterator[Bitunix]:
    async with venue.serving(), anyio.create_task_group() as tasks:
        provider = Bitunix(rest_url=venue.rest_url, ws_url=venue.ws_url, **settings)
        runtime = Runtime(clock=_Clock(), seed=7, tasks=tasks)
        venue.hosts = runtime.hosts
        await provider.start(runtime)
        try:
            yield provider
        finally:
            await provider.stop()
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def streaming(venue: FakeVenue) -> AsyncIterator[RecordingSink]:
    async with started(venue) as provider, anyio.create_task_group() as tasks:
        sink = RecordingSink()
        tasks.start_soon(provider.stream, MINUTE, sink)
        yield sink
        tasks.cancel_scope.cancel()


def answering(status: int, body: bytes, path: str = "") -> Callable[[str, dict[str, str]], Answer | None]:
    return lambda asked, _: (status, body) if not path or path == asked else None


# --- REST ------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F13")
async def test_history_is_ascending_closed_and_marked_backfilled() -> None:
    async with started(FakeVenue(start_s=30)) as provider:
        candles = await provider.history("btcusdt", MINUTE_NS, end_ns=None, count=5)
    assert [c.open_ns // SECOND_NS - T0_S for c in candles] == [-300, -240, -180, -120, -60]
    assert {(c.symbol, c.status, c.volume) for c in candles} == {("BTCUSDT", BACKFILLED, 10.0)}


async def test_history_pages_backward_through_the_exclusive_end_without_doubles_or_holes() -> None:
    venue = FakeVenue(start_s=30)
    async with started(venue) as provider:
        end_ns = (T0_S - 600) * SECOND_NS
        candles = await provider.history("BTCUSDT", MINUTE_NS, end_ns=end_ns, count=450)
    assert [c.open_ns for c in candles] == [end_ns - n * MINUTE_NS for n in range(450, 0, -1)]
    assert len(venue.calls) == 3
    assert all(int(params["limit"]) <= 200 for _, _, params in venue.calls)


async def test_history_ends_where_the_venue_has_no_more() -> None:
    venue = FakeVenue(start_s=30, rows_from_minute=-20)
    async with started(venue) as provider:
        assert len(await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=300)) == 20
    assert len(venue.calls) <= 2


async def test_a_venue_that_ignores_the_end_does_not_keep_history_busy() -> None:
    stubborn = FakeVenue(start_s=30)
    rows = stubborn.kline({"limit": "200"})
    stubborn.rest = lambda *_: (200, json.dumps({"code": 0, "data": rows}).encode())
    async with started(stubborn) as provider:
        assert len(await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=100_000)) == 199
    assert len(stubborn.calls) <= 2


async def test_rows_are_closed_by_the_venues_clock_not_by_this_machines() -> None:
    async with started(
        FakeVenue(start_s=-86_400 + 59, rows_from_minute=-9_000)
    ) as provider:  # a recording: a day behind the wall clock
        candles = await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=3)
    assert candles[-1].open_ns // SECOND_NS == T0_S - 86_400 - 60


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>Just a moment...</html>", "HTML instead of JSON"),
        (200, b'{"code":0,"data":', "truncated"),
        (200, b'{"code":0,"data":{"no":"list"}}', "array"),
        (200, b'{"code":1,"data":null,"msg":"Network Error"}', "code 1 'Network Error'"),
        (200, b'{"code":"10006","data":null,"msg":"too frequent"}', "code 10006"),
        (200, b'{"code":31337,"data":null,"msg":"new"}', "code 31337"),
        (429, b"", "HTTP 429"),
        (403, b"<html>Just a moment...</html>", r"HTTP 403 \(challenge page\)"),
        (502, b"bad gateway", "HTTP 502"),
    ],
)
async def test_what_may_pass_is_unavailable_with_its_reason(status: int, body: bytes, words: str) -> None:
    async with started(FakeVenue(rest=answering(status, body))) as provider:
        with pytest.raises(ProviderUnavailable, match=words):
            await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)


@long_waits
async def test_a_refused_call_is_the_end_of_calling_for_a_while() -> None:
    venue = FakeVenue(rest=answering(429, b""))
    async with started(venue) as provider:
        for words in ("HTTP 429", "cooling down for 30 s", "cooling down"):
            with pytest.raises(ProviderUnavailable, match=words):
                await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        assert len(venue.calls) == 1
        venue.rest = lambda *_: None
        await anyio.sleep(31)
        assert await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)


async def test_nobody_listening_is_unavailable() -> None:
    async with started(FakeVenue()) as provider:
        pass
    client = RestClient(base_url=provider.rest_url)
    with pytest.raises(ProviderUnavailable, match=r"127\.0\.0\.1:\d+: ConnectError"):
        await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=1)
    await client.aclose()


@pytest.mark.parametrize("code", [b"20015", b'"20015"', b"2"])
async def test_an_unknown_symbol_is_named_with_near_ones(code: bytes) -> None:
    def rest(path: str, params: dict[str, str]) -> Answer | None:
        return (200, b'{"code":%s,"data":null,"msg":"no"}' % code) if params.get("symbols") else None

    async with started(FakeVenue(rest=rest)) as provider:
        with pytest.raises(UnknownSymbolError, match="BTCUST is not traded there; near ones are BTCUSDT") as raised:
            await provider.instrument("BTCUST")
    assert not isinstance(raised.value, ProviderUnavailable)


async def test_a_symbol_missing_from_the_list_is_unknown_too() -> None:
    async with started(FakeVenue()) as provider:
        with pytest.raises(UnknownSymbolError, match="ETHUSDX is not traded there; symbols look like BTCUSDT"):
            await provider.instrument("ETHUSDX")


async def test_an_instrument_has_the_venues_steps_and_the_tiers_fees() -> None:
    async with started(FakeVenue(), vip=8) as provider:
        instrument = await provider.instrument("btcusdt")
    assert (instrument.symbol, str(instrument.tick), str(instrument.taker_fee_rate)) == ("BTCUSDT", "0.1", "0.00026")


@pytest.mark.behaviour("F6")
async def test_calls_are_paced_evenly_at_five_a_second_or_less() -> None:
    venue = FakeVenue()
    async with started(venue) as provider, anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(lambda: provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5))
    times = [at for at, _, _ in venue.calls]
    assert len(times) == 12
    assert times[-1] - times[0] > 11 * 0.2 - 0.5  # the first may have been slow on its way


@pytest.mark.behaviour("F6")
@long_waits
async def test_nobody_is_let_through_before_the_distance_however_late_the_one_before() -> None:
    pacer, times = Pacer(0.25), []

    async def call() -> None:
        await pacer.wait()
        times.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.25


async def test_a_hundred_cancelled_calls_do_not_spoil_the_next() -> None:
    venue = FakeVenue()
    async with venue.serving():
        client = RestClient(base_url=venue.rest_url)
        client.pacer.interval_s = 0.0
        for n in range(100):
            with anyio.move_on_after(0.002 * (n % 25)):
                await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        assert len(await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)) == 5
        await client.aclose()


async def test_the_client_is_replaced_after_a_cancellation_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[httpx.AsyncClient] = []

    class Counted(httpx.AsyncClient):
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            made.append(self)

    monkeypatch.setattr(httpx, "AsyncClient", Counted)
    venue = FakeVenue(rest=answering(502, b""))
    async with started(venue) as provider:
        for _ in range(2):
            with pytest.raises(ProviderUnavailable):
                await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        assert len(made) == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5))
            while len(venue.calls) < 3:  # until the call is under way
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        venue.rest = lambda *_: None
        assert await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
    assert len(made) == 2
    assert all(client.is_closed for client in made)


async def test_a_server_that_never_answers_costs_ten_seconds() -> None:
    async def swallow(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep(60)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, swallow)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        client = RestClient(base_url=f"http://127.0.0.1:{port}")
        began = anyio.current_time()
        with pytest.raises(ProviderUnavailable, match="no answer within 10 s"):
            await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        assert 10 <= anyio.current_time() - began < 12
        await client.aclose()
        tasks.cancel_scope.cancel()


@long_waits
async def test_time_outs_take_real_seconds_however_fast_the_runs_clock_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab_bitunix.stream.OPEN_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        client = RestClient(base_url=f"http://{place}", deadline_s=0.5, pace=60)
        began = time.monotonic()
        with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.5 s"):
            await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        assert 0.45 < time.monotonic() - began < 5
        await client.aclose()
        provider, sink = Bitunix(rest_url=f"http://{place}", ws_url=f"ws://{place}"), RecordingSink()
        async with anyio.create_task_group() as tasks:
            await provider.start(Runtime(clock=_Clock(), seed=0, tasks=tasks, speed=60.0))
            began = time.monotonic()
            tasks.start_soon(provider.stream, MINUTE, sink)
            await sink.until(lambda: any(words.startswith("no connection within 0.5 s") for _, words, _ in sink.feeds))
            assert 0.45 < time.monotonic() - began < 5
            tasks.cancel_scope.cancel()
        await provider.stop()


# --- the stream --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F7", "F5")
@in_good_time
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
    assert [arg["ch"] for arg in subscribe["args"]] == ["depth_book1", "market_kline_1min"]
    assert {frame["op"] for _, frame in others} <= {"ping"}
    assert sink.faults == []


@pytest.mark.behaviour("F7")
@in_good_time
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
    assert len(venue.frames[1][0][1]["args"]) == 2


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
@long_waits
async def test_refusals_lengthen_the_waits_and_never_end_the_trying() -> None:
    venue = FakeVenue(handshake_status=503)
    async with streaming(venue) as sink:
        await sink.until(lambda: len(venue.connects) >= 6)
        venue.handshake_status = 0
        await sink.until(lambda: FeedState.LIVE in sink.states)
    gaps = [later - earlier for earlier, later in pairwise(venue.connects)]
    assert gaps[4] > 6
    assert any("refused with HTTP 503" in words for _, words, _ in sink.feeds)


@long_waits
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
    assert [len(args) for args in asked] == [2, 1]
    assert asked[1][0]["ch"] == "market_kline_1min"
    assert any("market_kline_1min silent" in words for state, words, _ in sink.feeds if state is FeedState.DOWN)


@pytest.mark.behaviour("F2")
async def test_a_silent_socket_is_suspected_and_replaced_within_eight_seconds() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        if number == 0:
            await socket.send('{"op":"connect","data":{"result":true}}')
            await socket.recv()
            await socket.send(depth(venue.now_ms()))
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
    assert any("subscribe refused: limit" in words for _, words, _ in sink.feeds)


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
        return connect(url, **options)

    monkeypatch.setattr("lab_bitunix.stream.connect", note)
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


@pytest.mark.behaviour("F14")
async def test_the_probe_checks_candles_stream_clock_and_prices_without_a_key() -> None:
    async with started(FakeVenue(start_s=1)) as provider:
        checks = {check.name: check for check in await provider.probe(MINUTE[0])}
    assert [name for name, check in checks.items() if check.ok is not True and "clock" not in name] == []
    assert {"candles", "candle order", "candle age", "prices", "stream", "round trip", "clock by HTTP Date",
            "clock by frames", "input"} == set(checks)  # fmt: skip


@pytest.mark.behaviour("F14")
async def test_a_probe_of_a_dead_venue_says_so_in_rows() -> None:
    async with started(FakeVenue(handshake_status=502, rest=answering(502, b""))) as provider:
        checks = {check.name: check for check in await provider.probe(MINUTE[0])}
    assert {name for name, check in checks.items() if check.ok is False} == {"candles", "round trip", "stream"}
    assert "HTTP 502" in checks["stream"].detail


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"venue": "moon"}, "^venue = 'moon': expected live or local$"),
        ({"vip": 9}, "'vip' must be <= 8: 9"),
        ({"ws_url": "https://x/"}, r"ws_url = 'https://x/': expected wss://host"),
        ({"rest_url": "https://me:pw@x"}, "without a user name"),
        ({"port": -1}, "'port' must be >= 0: -1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Bitunix(**settings)


def test_a_wrong_venue_is_named_by_the_key_that_was_written() -> None:
    layers = Layers()
    layers.add_set("bitunix.venue=moon")
    with pytest.raises(ConfigError, match=r"^--set: bitunix.venue = 'moon': expected live \| local$"):
        build("bitunix", Bitunix, layers)


def test_the_realm_is_real_unless_a_recording_is_played() -> None:
    assert Bitunix().realm() is Realm.REAL
    assert Bitunix(venue="local").realm() is Realm.RECORDED
    assert issubclass(Bitunix, Provider)
    assert Bitunix().origin() == "fapi.bitunix.com"
    assert Bitunix().snapshot() == {}


@pytest.mark.behaviour("X2")
def test_the_package_reads_no_key_and_has_no_way_to_an_order_endpoint() -> None:
    files = sorted(Path(lab_bitunix.__file__).parent.rglob("*.py"))
    assert len(files) > 8
    words = ("/trade/", "place_order", "placeorder", "api-key", "api_key", "apikey", "secret", "environ", "getenv",
             "/private", '"sign', "hashlib", "hmac", ".post(", '"post"', "/account", "/position/")  # fmt: skip
    found = [f"{path.name}: {word}" for path in files for word in words if word in path.read_text().lower()]
    assert found == []
