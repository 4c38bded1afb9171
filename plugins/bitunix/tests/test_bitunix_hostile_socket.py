"""The socket against a server that means harm: where it can lead the client, and what it can make it send or keep."""

import socket as sockets
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import anyio.abc
import pytest
from fake_venue import FakeVenue, deaf_feed, depth, in_good_time, kline_push, long_waits, running_at, streaming
from lab.errors import AuthenticationFailed
from lab.ports import FeedState
from lab.testing import RecordingSink
from lab.testing.simulation import simulate
from lab_bitunix.frames import FRAME_LIMIT, FrameConnection
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

LABEL = "a" * 70


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return running_at(20)


class Redirecting(FakeVenue):
    """Answers each upgrade with a redirect."""

    to = "/public/"

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        response = super()._request(connection, request)
        if self.handshake_status and response is not None and request.path == "/public/":
            response.headers["Location"] = self.to
        return response


def windows(times: list[float], seconds: float) -> int:
    """Return the most times in any window of so many seconds."""
    return max(sum(first <= at < first + seconds for at in times) for first in times)


def frame(kind: int, payload: bytes = b"") -> bytes:
    return bytes((0x80 | kind, len(payload))) + payload


@pytest.mark.behaviour("F1", "X2")
@long_waits
@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_leads_nowhere_and_is_one_failed_try(status: int) -> None:
    strangers: list[object] = []

    async def stranger(stream: anyio.abc.SocketStream) -> None:
        strangers.append(stream)
        await stream.aclose()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, stranger)
        venue = Redirecting(handshake_status=status)
        venue.to = f"ws://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/public/"
        async with streaming(venue) as sink:
            await sink.until(lambda: len(venue.connects) >= 4)
            venue.handshake_status = 0
            await sink.until(lambda: FeedState.LIVE in sink.states)
        tasks.cancel_scope.cancel()
    assert strangers == []
    assert list(venue.hosts) == [f"127.0.0.1:{venue.port}"]
    assert any(f"refused with HTTP {status}; redirects are not followed" in words for _, words, _ in sink.feeds)


@pytest.mark.behaviour("F1")
@long_waits
@pytest.mark.parametrize(
    "to", ["ws://h:99999999/", "ws://[::1", "ws://h:abc/", "ws://a..b/", f"ws://{LABEL}.b/", "\\", "http://x", "/"]
)
async def test_a_malformed_redirect_is_one_failed_try_as_well(to: str) -> None:
    venue = Redirecting(handshake_status=302)
    venue.to = to
    async with streaming(venue) as sink:
        await sink.until(lambda: len(venue.connects) >= 3)
        venue.handshake_status = 0
        await sink.until(lambda: FeedState.LIVE in sink.states)


@pytest.mark.behaviour("F1")
@pytest.mark.parametrize(
    "error", [ValueError("port"), UnicodeError("label"), KeyError(), RecursionError(), EOFError(), TimeoutError()]
)
@long_waits
async def test_whatever_an_attempt_to_connect_raises_is_one_failed_try(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    def fail(*_: object, **__: object) -> Any:
        nonlocal failures
        failures += 1
        raise error

    monkeypatch.setattr("lab_bitunix.sockets.Connect", fail)
    async with streaming(FakeVenue()) as sink:
        await sink.until(lambda: failures >= 5)
    assert FeedState.DOWN in sink.states


async def _fails_to_connect(url: str, words: str) -> None:
    sink = RecordingSink()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deaf_feed(url, sink).run)
        with anyio.move_on_after(200):
            await sink.until(lambda: sum(words in told for _, told, _ in sink.feeds) >= 3)
        tasks.cancel_scope.cancel()
    assert sum(words in told for _, told, _ in sink.feeds) >= 3, sink.feeds


@pytest.mark.behaviour("F1")
@long_waits
async def test_a_server_that_speaks_no_tls_is_a_failed_try() -> None:
    async with FakeVenue().serving() as venue:
        await _fails_to_connect(venue.ws_url.replace("ws:", "wss:"), "can't connect: ConnectionResetError;")


def _storm(session: Callable[[ServerConnection, int], Any] | None = None, **venue: Any) -> FakeVenue:
    """Stream from a venue for ten minutes of virtual time, make it sound, and wait until the feed is live again."""

    async def main() -> FakeVenue:
        made = Redirecting(start_s=5, session=session, **venue)
        async with streaming(made) as sink:
            await anyio.sleep(600)
            made.session, made.handshake_status = None, 0
            began = anyio.current_time()
            healed = len(sink.states)
            await sink.until(lambda: FeedState.LIVE in sink.states[healed:])
            assert anyio.current_time() - began < (301 if venue.get("handshake_status") in {403, 429} else 42)
        return made

    return simulate(main, limit_s=3600)


async def _accept_then_close(socket: ServerConnection, number: int) -> bool:
    return True


async def _greet_then_reset(socket: ServerConnection, number: int) -> bool:
    await socket.send('{"op":"connect","data":{"result":true}}')
    await socket.recv()
    socket.transport.abort()
    return True


async def _live_for_a_moment(socket: ServerConnection, number: int) -> bool:
    await socket.send('{"op":"connect","data":{"result":true}}')
    await socket.recv()
    now_ms = 29_800_000 * 60_000 + 5_000 + int(anyio.current_time() * 1000)
    await socket.send(depth(now_ms))
    await socket.send(kline_push(now_ms))
    await anyio.sleep(0.5)
    return True


@pytest.mark.behaviour("F1", "F6")
@pytest.mark.parametrize("session", [_accept_then_close, _greet_then_reset, _live_for_a_moment])
def test_a_venue_that_accepts_and_closes_for_ten_minutes_sees_ten_connects_a_minute_at_most(session: Any) -> None:
    venue = _storm(session)
    assert windows(venue.connects, 60) <= 10
    assert len(venue.connects) > 15, "it never gives up"
    assert max(later - earlier for earlier, later in pairwise(venue.connects)) < 36 + 5
    for frames in venue.frames:
        assert not frames or windows([at for at, _ in frames], 1) <= 4


@pytest.mark.behaviour("F1")
@pytest.mark.parametrize("status", [302, 400, 403, 404, 429, 500, 503, 520, 530])
def test_a_venue_that_refuses_for_ten_minutes_is_tried_within_its_limits_and_for_ever(status: int) -> None:
    venue = _storm(handshake_status=status)
    assert windows(venue.connects, 60) <= (2 if status in {403, 429} else 10)
    assert len(venue.connects) >= (4 if status in {403, 429} else 15)


@pytest.mark.behaviour("F12")
async def test_a_socket_refused_for_want_of_a_key_ends_the_stream_at_once() -> None:
    venue = FakeVenue(handshake_status=401)
    with pytest.RaisesGroup(pytest.RaisesExc(AuthenticationFailed, match="HTTP 401"), flatten_subgroups=True):
        async with streaming(venue):
            await anyio.sleep(60)
    assert len(venue.connects) == 1


@pytest.mark.behaviour("F4")
async def test_refusals_are_counted_and_sampled_however_many_come() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        await socket.recv()
        for _ in range(2_000):
            await socket.send('{"op":"subscribe","data":{"result":false,"msg":"no"}}')
        await socket.send(depth(venue.now_ms()))
        await anyio.sleep(2)
        return True

    venue = FakeVenue(start_s=5, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: bool(sink.quotes))
    assert sink.faults == ["subscribe refused: no"] * 2_000
    assert len(sink.feeds) < 10


@pytest.mark.behaviour("F6")
def test_pings_of_the_venue_are_answered_within_four_frames_a_second_and_the_newest_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[float] = []
    answers: list[bytes] = []
    send, pong = FrameConnection.send, FrameConnection.pong

    async def sending(self: FrameConnection, text: Any) -> None:
        sent.append(anyio.current_time())
        await send(self, text)

    async def ponging(self: FrameConnection, data: Any = b"") -> None:
        sent.append(anyio.current_time())
        answers.append(data)
        await pong(self, data)

    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        await socket.recv()
        for turn in range(240):
            now_ms = 29_800_000 * 60_000 + 5_000 + int(anyio.current_time() * 1000)
            await socket.send(depth(now_ms))
            await socket.send(kline_push(now_ms))
            socket.transport.write(frame(9, b"%d.first" % turn) + frame(9, b"%d.second" % turn))
            await anyio.sleep(0.25)
        return True

    async def main() -> None:
        venue = FakeVenue(start_s=5, session=session)
        async with streaming(venue) as sink:
            await sink.until(lambda: FeedState.DOWN in sink.states)

    monkeypatch.setattr(FrameConnection, "send", sending)
    monkeypatch.setattr(FrameConnection, "pong", ponging)
    simulate(main, limit_s=3600)
    assert len(answers) > 150
    assert len(sent) - len(answers) >= 12, "its own pings go out as ever"
    assert windows(sent, 1) <= 4
    assert all(answer.endswith(b".second") for answer in answers)


@pytest.mark.behaviour("F6")
@pytest.mark.parametrize("kind", [9, 10], ids=["pings", "pongs"])
@in_good_time
async def test_a_socket_that_floods_pings_is_replaced(kind: int) -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        if number == 0:
            await socket.send('{"op":"connect","data":{"result":true}}')
            await socket.recv()
            socket.transport.write(frame(kind, b"x") * 100_000)
            await anyio.sleep(5)
        return number == 0

    venue = FakeVenue(start_s=5, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: FeedState.LIVE in sink.states)
    words = "given up: more than 100 pings and pongs within 10 s"
    assert any(words in told for state, told, _ in sink.feeds if state is FeedState.DOWN)
    assert len(venue.connects) == 2


@pytest.mark.behaviour("F2", "F13")
@in_good_time
async def test_a_frame_over_the_limit_is_given_as_the_cause_of_the_end() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        if number == 0:
            await socket.send('{"op":"connect","data":{"result":true}}')
            await socket.recv()
            await socket.send("x" * (FRAME_LIMIT + 1))
            await anyio.sleep(5)
        return number == 0

    venue = FakeVenue(start_s=5, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: FeedState.LIVE in sink.states)
    told = [told for state, told, _ in sink.feeds if state is FeedState.DOWN]
    assert any("given up: frame" in one and "exceeds limit" in one and "(code 1009)" in one for one in told), told


@pytest.mark.behaviour("F5", "F13")
async def test_an_acknowledgement_of_a_channel_is_no_fault() -> None:
    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        await socket.recv()
        await socket.send('{"op":"subscribe","ch":"depth_book1","symbol":"BTCUSDT","data":{"result":true}}')
        await socket.send(depth(venue.now_ms()))
        await anyio.sleep(2)
        return True

    venue = FakeVenue(start_s=5, session=session)
    async with streaming(venue) as sink:
        await sink.until(lambda: bool(sink.quotes))
    assert sink.faults == []


@pytest.mark.behaviour("F1")
@long_waits
async def test_a_venue_whose_port_is_closed_is_tried_for_ever() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    await _fails_to_connect(f"ws://127.0.0.1:{port}/", "can't connect: ConnectionRefusedError")
