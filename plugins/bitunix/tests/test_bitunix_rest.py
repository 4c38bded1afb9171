"""The provider's calls over REST, against a small venue on loopback: history, instruments, pacing, refusals."""

import json
import socket
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import httpcore
import httpx
import pytest
from fake_venue import T0_S, Answer, FakeVenue, answering, in_virtual_time, over_real_sockets, started
from lab.domain.instrument import ASSUMED_TIERS
from lab.domain.market import BACKFILLED
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.errors import ProviderUnavailable
from lab.feed.pacing import Pacer
from lab_bitunix.connections import CALL_ERRORS
from lab_bitunix.rest import RestClient, UnknownSymbolError
from lab_bitunix.transport import ERRORS


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return in_virtual_time()


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


@pytest.mark.behaviour("F10")
async def test_the_tail_of_a_history_takes_one_call() -> None:
    venue = FakeVenue(start_s=30)
    async with started(venue) as provider:
        assert len(await provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=3)) == 3
    assert len(venue.calls) == 1


@pytest.mark.behaviour("F8")
async def test_five_hundred_candles_are_fetched_in_as_many_pages_as_they_fill() -> None:
    venue = FakeVenue(start_s=30)
    async with started(venue) as provider:
        end_ns = T0_S * SECOND_NS + MINUTE_NS
        candles = await provider.history("BTCUSDT", MINUTE_NS, end_ns=end_ns, count=501)
    assert [c.open_ns for c in candles] == [(T0_S - 60 * n) * SECOND_NS for n in range(501, 0, -1)]
    assert len(venue.calls) == 3


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


@over_real_sockets
async def test_a_server_that_closes_during_the_handshake_is_named_with_what_it_did() -> None:
    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.aclose()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, hang_up)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        client = RestClient(base_url=f"https://127.0.0.1:{port}")
        with pytest.raises(ProviderUnavailable, match=r"ConnectError: .+ \(kline\)"):
            await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=1)
        await client.aclose()
        group.cancel_scope.cancel()


@over_real_sockets
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


async def test_a_symbol_that_does_not_trade_is_not_named_as_a_near_one() -> None:
    def rest(path: str, params: dict[str, str]) -> Answer | None:
        pairs = b'{"symbol":"SOONUSDT","symbolStatus":"PREVIEW"},{"symbol":"SOLVUSDT","symbolStatus":"OPEN"}'
        rows = b"" if params.get("symbols") else pairs
        return (200, b'{"code":0,"data":[%s],"msg":"Success"}' % rows) if path.endswith("trading_pairs") else None

    async with started(FakeVenue(rest=rest)) as provider:
        with pytest.raises(UnknownSymbolError, match=r"SOLUSDT is not traded there; near ones are SOLVUSDT$"):
            await provider.instrument("SOLUSDT")


async def test_a_symbol_missing_from_the_list_is_unknown_too() -> None:
    async with started(FakeVenue()) as provider:
        with pytest.raises(UnknownSymbolError, match="ETHUSDX is not traded there; symbols look like BTCUSDT"):
            await provider.instrument("ETHUSDX")


async def test_an_instrument_has_the_venues_steps_and_the_tiers_fees() -> None:
    async with started(FakeVenue(), vip=8) as provider:
        instrument = await provider.instrument("btcusdt")
    assert (instrument.symbol, str(instrument.tick), str(instrument.taker_fee_rate)) == ("BTCUSDT", "0.1", "0.00026")
    assert [tier.leverage_max for tier in instrument.tiers] == [125, 100]


@pytest.mark.behaviour("O11")
async def test_an_instrument_without_margin_tiers_is_still_one_and_says_why() -> None:
    venue = FakeVenue(rest=lambda path, _: (502, b"") if path == "get_position_tiers" else None)
    async with started(venue) as provider:
        instrument = await provider.instrument("BTCUSDT")
    assert instrument.tiers == ASSUMED_TIERS
    assert "maintenance margin 0.5 % assumed" in instrument.origin
    assert "HTTP 502" in instrument.origin


@pytest.mark.behaviour("F6")
async def test_calls_are_paced_evenly_at_five_a_second_or_less() -> None:
    venue = FakeVenue()
    async with started(venue) as provider, anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(lambda: provider.history("BTCUSDT", MINUTE_NS, end_ns=None, count=5))
    times = [at for at, _, _ in venue.calls]
    assert len(times) == 12
    assert times[-1] - times[0] > 11 * 0.2 - 0.05  # the first may have been slow on its way


@pytest.mark.behaviour("F6")
async def test_nobody_is_let_through_before_the_distance_however_late_the_one_before() -> None:
    pacer, times = Pacer(0.25), []

    async def call() -> None:
        await pacer.wait()
        times.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.25


@over_real_sockets
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
    made: list[httpcore.AsyncConnectionPool] = []

    class Counted(httpcore.AsyncConnectionPool):
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            made.append(self)

    monkeypatch.setattr(httpcore, "AsyncConnectionPool", Counted)
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
    assert [pool.connections for pool in made] == [[], []]


@over_real_sockets
async def test_a_call_has_real_seconds_to_be_answered_however_fast_the_runs_clock_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = RestClient(base_url=f"http://127.0.0.1:{silent.getsockname()[1]}", deadline_s=0.5, pace=60)
        began = time.monotonic()
        with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.5 s"):
            await client.klines("BTCUSDT", MINUTE_NS, end_ns=None, count=5)
        assert 0.45 < time.monotonic() - began < 5
        await client.aclose()


@over_real_sockets
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
        assert 10 <= anyio.current_time() - began < 40, "the server keeps the connection for a minute"
        await client.aclose()
        tasks.cancel_scope.cancel()


def test_httpx_is_imported_without_its_command_line_and_that_can_still_be_imported() -> None:
    code = (
        "import sys, lab_bitunix.rest\n"
        "assert 'rich' not in sys.modules and 'pygments' not in sys.modules\n"
        "import httpx._main, rich\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_every_error_of_a_connection_has_its_like_in_httpx() -> None:
    def all_of(error: type[Exception]) -> set[type[Exception]]:
        return {error}.union(*(all_of(below) for below in error.__subclasses__()))

    ours = (error for base in ERRORS for error in all_of(base) if error.__module__.startswith("httpcore"))
    assert {error.__name__ for error in ours if not issubclass(getattr(httpx, error.__name__), CALL_ERRORS)} == set()
