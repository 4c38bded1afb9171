"""A small venue on loopback whose answers a test turns into something else, in a loop faster than the wall's time."""

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest
from attrs import define, field
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.feed.habits import Habits
from lab.feed.socket_feed import SocketFeed
from lab.ports import Runtime, Subscription
from lab.simulation.loop import SimLoop
from lab.testing import RecordingSink
from lab_bitunix.provider import Bitunix
from lab_bitunix.sockets import HABITS, open_socket
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SAMPLES = Path(__file__).parent.parent / "samples"
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


def in_virtual_time() -> tuple[str, dict[str, Any]]:
    """Return the backend of tests in which waiting takes no time, and a busy machine changes nothing.

    Real sockets, and other programs, need one that is `running_at` a speed.
    """
    return "asyncio", {"loop_factory": SimLoop}


def running_at(speed: float) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": partial(FastLoop, speed)}


# Where a test asserts that something was in time, a slow machine must not count; where it only waits, it may be quick.
over_real_sockets = pytest.mark.parametrize("anyio_backend", [running_at(20)])
in_good_time = pytest.mark.parametrize("anyio_backend", [running_at(8)])
long_waits = pytest.mark.parametrize("anyio_backend", [running_at(60)])


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
        name = {
            "trading_pairs": "rest-trading-pairs-2026-02",
            "funding_rate": "rest-funding-rate-2026-02",
            "get_position_tiers": "rest-position-tiers-docs",
        }[path]
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
            if "depth_book5" not in self.muted:
                await socket.send(depth(now_ms, 5))
            if "trade" not in self.muted:
                await socket.send(trades(now_ms))
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


def depth(now_ms: int, levels: int = 1) -> str:
    bids = [[f"{60000.1 - place / 10:.1f}", f"{2.5 + place}"] for place in range(levels)]
    asks = [[f"{60000.2 + place / 10:.1f}", f"{3 + place}"] for place in range(levels)]
    frame = {"ch": f"depth_book{levels}", "symbol": "BTCUSDT", "ts": now_ms, "data": {"b": bids, "a": asks}}
    return json.dumps(frame)


def trades(now_ms: int) -> str:
    """A sale at the bid and a purchase at the ask, as the venue tells them: by the second."""
    data = [{"t": "2026-08-29T10:40:00Z", "p": p, "v": v, "s": side}
            for p, v, side in (("60000.1", "0.5", "sell"), ("60000.2", "0.25", "buy"))]  # fmt: skip
    return json.dumps({"ch": "trade", "symbol": "BTCUSDT", "ts": now_ms, "data": data})


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


class Deaf:
    """A dialect that understands no frame."""

    def receive(self, frame: bytes, now: float, line: int) -> None:
        return None

    def subscribe_frame(self, channels: object) -> str:
        return "{}"

    def ping_frame(self) -> None:
        return None


def deaf_feed(url: str, sink: RecordingSink, habits: Habits = HABITS, pace: float = 60.0) -> SocketFeed:
    """Return a feed over the venue's kind of socket that wants one channel."""
    return SocketFeed(
        url=url, connect=partial(open_socket, pace=pace), dialect=Deaf(), wanted=[("BTCUSDT", "depth_book1")],
        sink=sink, contacted=lambda _: None, seed=0, habits=habits, pace=pace,
    )  # fmt: skip
