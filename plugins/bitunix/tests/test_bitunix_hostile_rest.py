"""REST against a server that means harm: what it can make the client read, keep, believe and do."""

import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import anyio
import anyio.abc
import pytest
from fake_venue import T0_S, FakeVenue, answering, long_waits, running_at, started, streaming
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.errors import AuthenticationFailed, ProviderUnavailable, RateLimited
from lab.testing.simulation import simulate
from lab_bitunix.bounded import HEAD_LIMIT
from lab_bitunix.connections import BODY_LIMIT, Answer, Connections
from lab_bitunix.rest import RestClient
from websockets.http11 import Request, Response

Write = Callable[[bytes], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return running_at(20)


@asynccontextmanager
async def server(answer: Callable[[Write], Awaitable[None]], heads: list[bytes] | None = None) -> AsyncIterator[str]:
    """Serve raw HTTP: ``answer`` writes what it likes after each request."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            try:
                while True:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += await stream.receive()
                    if heads is not None:
                        heads.append(head)
                    await answer(stream.send)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def failure(url: str) -> str:
    client = RestClient(base_url=url)
    try:
        with pytest.raises(ProviderUnavailable) as raised:
            await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        return str(raised.value)
    finally:
        await client.aclose()


def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
    return gzip.compress(packed, 9)


CHILD = """
import anyio, resource, sys
from lab_bitunix.rest import RestClient
from lab.domain.time import MINUTE_NS
async def main():
    client = RestClient(base_url=sys.argv[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
    except Exception as error:
        print(error)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
anyio.run(main)
"""


@pytest.mark.behaviour("F13")
async def test_an_answer_that_is_compressed_is_refused_before_a_byte_is_inflated() -> None:
    body = _bomb(256)
    assert len(body) < 2_000
    heads: list[bytes] = []

    async def answer(write: Write) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Encoding: gzip, gzip\r\n\r\n"
        await write(head.encode() + body)

    async with server(answer, heads) as url:
        done = await anyio.run_process([sys.executable, "-c", CHILD, url], stderr=subprocess.STDOUT)
    *words, grown_mb = done.stdout.decode().splitlines()
    assert "Content-Encoding gzip, gzip, which was not asked for (kline)" in words[0]
    assert int(grown_mb) < 32, "256 MB was in it"
    assert b"accept-encoding: identity\r\n" in heads[0].lower()


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize("kind", ["long", "endless", "in a million parts"])
async def test_a_body_is_read_up_to_its_limit_and_no_further(kind: str) -> None:
    sent = 0

    async def answer(write: Write) -> None:
        nonlocal sent
        head = b"HTTP/1.1 200 OK\r\n"
        if kind == "long":
            await write(head + b"Content-Length: %d\r\n\r\n" % (1 << 40))
        else:
            await write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        part = {"long": bytes(1 << 16), "endless": b"10000\r\n" + bytes(1 << 16) + b"\r\n"}.get(
            kind, b"1\r\n \r\n" * 9_000
        )
        while True:
            await write(part)
            sent += len(part)

    async with server(answer) as url:
        assert f"more than {BODY_LIMIT} bytes, or in too many parts (kline)" in await failure(url)
    assert sent < BODY_LIMIT + (8 << 20), "what the kernel takes for a reader that has gone, too"


@pytest.mark.behaviour("F6")
@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 100 Continue\r\n\r\n" * 500, b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" * 300]
)
async def test_an_endless_row_of_informational_answers_ends_with_the_call(part: bytes) -> None:
    async def answer(write: Write) -> None:
        while True:
            await write(part)

    async with server(answer) as url:  # what ends it is told, and it is not the deadline
        assert f"more than {HEAD_LIMIT} bytes came before an answer (kline)" in await failure(url)


async def test_an_endless_head_ends_with_the_call() -> None:
    async def answer(write: Write) -> None:
        await write(b"HTTP/1.1 200 OK\r\n")
        while True:
            await write(b"X-Filler: " + b"a" * 4_000 + b"\r\n")

    async with server(answer) as url:
        assert "bytes came before an answer (kline)" in await failure(url)


async def test_a_connection_that_is_used_again_is_bounded_anew() -> None:
    """The limit is one of each answer, not of a connection's life."""
    rows = json.dumps({"code": 0, "data": [], "msg": "x" * 20_000}).encode()

    async def answer(write: Write) -> None:
        await write(b"HTTP/1.1 100 Continue\r\n\r\n" * 400)
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(rows) + rows)

    async with server(answer) as url:
        client = RestClient(base_url=url)
        for _ in range(5):
            assert await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5) == []
        await client.aclose()


@pytest.mark.behaviour("X1")
async def test_a_cookie_is_neither_kept_nor_sent() -> None:
    heads: list[bytes] = []

    async def answer(write: Write) -> None:
        body = b'{"code":0,"data":[]}'
        await write(b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=abc; Path=/\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with server(answer, heads) as url:
        client = RestClient(base_url=url)
        for _ in range(3):
            await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        await client.aclose()
    assert len(heads) == 3
    assert not any(b"cookie" in head.lower() for head in heads)


@pytest.mark.behaviour("F6")
@pytest.mark.parametrize(
    "location",
    [b"http://127.0.0.2/", b"http://xn--" + b"a" * 9_000, "http://\u202e\u0301.x".encode() * 900, b"mailto:x"],
    ids=["another host", "no host", "words of theirs", "no address"],
)
async def test_a_redirect_of_a_call_is_a_failure_neither_followed_nor_read(location: bytes) -> None:
    heads: list[bytes] = []

    async def answer(write: Write) -> None:
        await write(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    async with server(answer, heads) as url:
        words = await failure(url)
    assert words.endswith(": HTTP 302 (kline)")
    assert len(words) < 50
    assert len(heads) == 1


async def test_what_a_broken_head_says_is_told_in_few_words() -> None:
    async def answer(write: Write) -> None:
        await write(b"HTTP/1.1 200 OK\r\nX: \0" + b"a" * 20_000 + b"\r\n\r\n")

    async with server(answer) as url:
        words = await failure(url)
    assert "RemoteProtocolError: illegal header line" in words
    assert len(words) < 250


class _DateAhead(FakeVenue):
    """Its ``Date`` is 90 s ahead."""

    def _request(self, connection: Any, request: Request) -> Response | None:
        response = super()._request(connection, request)
        if response is not None:
            del response.headers["Date"]
            response.headers["Date"] = formatdate(self.now_ms() // 1000 + 90, usegmt=True)
        return response


@pytest.mark.behaviour("F8")
@pytest.mark.parametrize("end_s", [None, 60], ids=["the newest", "before an end"])
async def test_the_open_candle_is_no_history_however_wrong_the_date_is_before_the_first_frame(
    end_s: int | None,
) -> None:
    venue = _DateAhead(start_s=30)
    end_ns = None if end_s is None else (T0_S + end_s) * SECOND_NS
    async with started(venue) as provider:
        candles = await provider.history("BTCUSDT", MINUTE_NS, end_ns=end_ns, count=450)
    assert candles[-1].open_ns // SECOND_NS == T0_S - 60
    assert len(candles) == 450


@pytest.mark.behaviour("F10")
@pytest.mark.parametrize("ahead_s", [45, 3600])
async def test_a_row_that_was_open_when_it_was_sent_is_no_closed_candle_however_far_ahead_frames_are_stamped(
    ahead_s: int,
) -> None:
    """By the frames' time the candle has closed, and its row had half of the minute."""
    venue = FakeVenue(start_s=30)
    async with started(venue) as provider:
        provider._clock.begin(  # noqa: SLF001 - what stamps of frames would have made it
            (T0_S + 30 + ahead_s) * SECOND_NS, anyio.current_time()
        )
        candles = await provider.history("BTCUSDT", MINUTE_NS, end_ns=(T0_S + 60) * SECOND_NS, count=5)
    assert [c.open_ns // SECOND_NS - T0_S for c in candles] == [-300, -240, -180, -120, -60]


@pytest.mark.behaviour("F11")
def test_five_failures_stop_all_calls_for_thirty_seconds_and_one_probe_finds_out() -> None:
    async def main() -> None:
        venue = FakeVenue(start_s=30, rest=answering(502, b""))
        async with started(venue) as provider:

            async def ask() -> str:
                try:
                    await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
                except ProviderUnavailable as error:
                    return str(error)
                return ""

            for _ in range(4):
                assert "HTTP 502" in await ask()
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(ask)
            assert len(venue.calls) == 5, "those that waited for their turn are not made either"
            assert "not called for 26 s more: 5 failures in a row" in await ask()
            await anyio.sleep(30)
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(ask)
            assert len(venue.calls) == 6, "one probe, which failed"
            venue.rest = lambda *_: None
            await anyio.sleep(20)
            assert "not called for" in await ask()
            await anyio.sleep(10)
            assert await ask() == ""
            assert len(venue.calls) == 7

    simulate(main, limit_s=3600)


@pytest.mark.behaviour("F11")
@long_waits
async def test_a_server_that_never_answers_opens_the_breaker_as_well() -> None:
    async def answer(_: Write) -> None:
        await anyio.sleep_forever()

    async with server(answer) as url:
        client = RestClient(base_url=url, deadline_s=1.0)
        for _ in range(5):
            with pytest.raises(ProviderUnavailable, match="no answer within 1 s"):
                await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        with pytest.raises(ProviderUnavailable, match=r"5 failures in a row, the last: .* no answer within 1 s"):
            await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        await client.aclose()


@pytest.mark.behaviour("F12")
@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b""), *((200, b'{"code":%d,"data":null,"msg":"no"}' % code) for code in (403, 10003, 10004, 10007))],
)
async def test_who_is_not_accepted_is_told_so_at_once(status: int, body: bytes) -> None:
    async with started(FakeVenue(rest=answering(status, body))) as provider:
        with pytest.raises(AuthenticationFailed, match="public data needs no key"):
            await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        with pytest.raises(AuthenticationFailed):
            await provider.instrument("BTCUSDT")


@pytest.mark.behaviour("F12")
@pytest.mark.parametrize("path", ["get_position_tiers", "funding_rate", "kline"])
async def test_who_is_not_accepted_gets_that_error_from_whatever_asked(path: str) -> None:
    venue = FakeVenue(start_s=58, rest=answering(401, b"", path))
    with pytest.RaisesGroup(pytest.RaisesExc(AuthenticationFailed), flatten_subgroups=True):
        async with streaming(venue) as sink, started(venue) as provider:
            await provider.instrument("BTCUSDT")
            await sink.until(lambda: bool(sink.candles))


@pytest.mark.behaviour("F12")
@pytest.mark.parametrize(("status", "body"), [(429, b""), (403, b""), (200, b'{"code":10006,"msg":"too frequent"}')])
async def test_being_asked_for_fewer_calls_is_an_error_of_its_own(status: int, body: bytes) -> None:
    async with started(FakeVenue(rest=answering(status, body))) as provider:
        with pytest.raises(RateLimited):
            await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5)


@pytest.mark.behaviour("F6")
def test_rest_calls_keep_their_distance_in_every_window_of_a_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    fetch = Connections.fetch

    async def noted(self: Connections, path: str, params: Mapping[str, str]) -> Answer:
        times.append(anyio.current_time())
        return await fetch(self, path, params)

    monkeypatch.setattr(Connections, "fetch", noted)

    async def main() -> None:
        venue = FakeVenue(start_s=30, rest=lambda *_: (502, b"") if len(venue.calls) % 3 == 0 else None)
        async with started(venue) as provider, anyio.create_task_group() as tasks:

            async def ask() -> None:
                for _ in range(10):
                    try:
                        await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=450)
                    except ProviderUnavailable:
                        await anyio.sleep(0.01)

            for _ in range(10):
                tasks.start_soon(ask)

    simulate(main, limit_s=3600)
    assert len(times) > 100
    assert min(later - earlier for earlier, later in pairwise(times)) > 0.2099
    assert max(sum(first <= at < first + 1 for at in times) for first in times) <= 5


@long_waits
async def test_where_a_later_page_does_not_come_in_time_the_newest_candles_are_returned() -> None:
    rows = FakeVenue(start_s=30).kline({"limit": "200"})
    body = json.dumps({"code": 0, "data": rows}).encode()
    heads: list[bytes] = []

    async def answer(write: Write) -> None:
        if len(heads) > 1:
            await anyio.sleep_forever()
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with server(answer, heads) as url:
        client = RestClient(base_url=url, pace=5)
        candles = await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=450)
        await client.aclose()
    assert [candle.open_ns // SECOND_NS for candle in candles[-2:]] == [T0_S - 120, T0_S - 60]
    assert len(candles) == 199
