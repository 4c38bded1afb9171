"""The local venue from outside: a real client on it, in virtual time; the last tests on real sockets."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from click.testing import CliRunner
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time
from lab.simulation.loop import SimLoop
from lab_bitunix.venue import FaultError, LocalVenue
from lab_bitunix.venue.command import main as command
from lab_bitunix.venue.faults import FAULTS
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

START_NS = parse_time("2026-10-05T12:00:20Z")
MINUTE_MS = 60_000
Check = Callable[[LocalVenue], Awaitable[Any]]


class CountingLoop(SimLoop):
    """Counts how often time jumps to a timer."""

    jumps = 0

    def idle(self, timeout: float | None) -> None:
        self.jumps += bool(timeout)
        super().idle(timeout)


async def hosting(venue: LocalVenue, check: Check) -> Any:
    async with anyio.create_task_group() as tasks:
        await venue.start(tasks)
        try:
            return await check(venue)
        finally:
            await venue.stop()


def virtually(check: Check, faults: str = "", *, start_ns: int = START_NS, seed: int = 0) -> Any:
    """Run a check against a venue in virtual time."""
    venue = LocalVenue(faults=faults, start_ns=start_ns, seed=seed)
    options = {"loop_factory": partial(SimLoop, 7, limit_s=3600)}
    return anyio.run(hosting, venue, check, backend_options=options)


def client(venue: LocalVenue, **options: Any) -> connect:
    return connect(venue.ws_url, ping_interval=None, **options)


async def subscribe(socket: ClientConnection, *channels: str, symbol: str = "BTCUSDT") -> None:
    args = [{"symbol": symbol, "ch": channel} for channel in channels]
    await socket.send(json.dumps({"op": "subscribe", "args": args}))


async def hear(socket: ClientConnection, seconds: float) -> list[Any]:
    """Return what comes in a time, pinging every 10 s."""
    frames: list[Any] = []

    async def ping() -> None:
        while True:
            await anyio.sleep(10)
            await socket.send('{"op":"ping","ping":1}')

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ping)
        with anyio.move_on_after(seconds):
            while True:
                frames.append(json.loads(await socket.recv()))
        tasks.cancel_scope.cancel()
    return frames


async def listen(venue: LocalVenue, *channels: str, seconds: float, symbol: str = "BTCUSDT") -> list[Any]:
    """Subscribe on a socket of its own and return the data frames."""
    async with client(venue) as socket:
        await subscribe(socket, *channels, symbol=symbol)
        return [frame for frame in await hear(socket, seconds) if "ch" in frame]


async def rest(venue: LocalVenue, path: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60, verify=False) as http:
        return await http.get(f"{venue.rest_url}/api/v1/futures/{path}")


async def rows(venue: LocalVenue, more: str = "") -> list[Any]:
    answer = (await rest(venue, f"market/kline?symbol=BTCUSDT&interval=1m{more}")).json()
    assert answer["code"] == 0
    return list(answer["data"])


async def ended(socket: ClientConnection) -> tuple[int | None, float]:
    """Read to the end; return the close code received (``None``: no close frame) and the moment."""
    while True:
        try:
            await socket.recv()
        except ConnectionClosed as error:
            return (error.rcvd.code if error.rcvd else None), anyio.current_time()


# Candles over REST


def test_rows_come_newest_first_with_the_open_candle() -> None:
    found = virtually(partial(rows, more="&limit=3"))

    newest = parse_time("2026-10-05T12:00:00Z") // 10**6
    assert [int(row["time"]) for row in found] == [newest, newest - MINUTE_MS, newest - 2 * MINUTE_MS]


def test_end_time_is_exclusive_start_time_filters_and_200_is_the_most() -> None:
    newest = parse_time("2026-10-05T12:00:00Z") // 10**6

    async def check(venue: LocalVenue) -> None:
        page = await rows(venue, f"&endTime={newest}&limit=2")
        assert [int(row["time"]) for row in page] == [newest - MINUTE_MS, newest - 2 * MINUTE_MS]
        assert len(await rows(venue, "&limit=1000")) == 200
        assert len(await rows(venue)) == 100
        old = await rows(venue, f"&startTime={newest - 1000 * MINUTE_MS}&limit=5")
        assert int(old[0]["time"]) == newest
        assert len(await rows(venue, f"&startTime={newest - MINUTE_MS}")) == 2

    virtually(check)


def test_a_new_row_appears_a_second_after_its_minute_began() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        seen = []
        for at_s in (39.9, 40.2, 41.5):
            await anyio.sleep(at_s - venue.elapsed_s())
            seen.append(int((await rows(venue, "&limit=1"))[0]["time"]) // MINUTE_MS * 60)
        return seen

    first, second, third = virtually(check)

    assert first == second == third - 60


def test_the_closed_row_equals_the_last_push_of_a_mirrored_minute() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, Any]:
        frames = await listen(venue, "market_kline_1min", seconds=130)
        boundary = parse_time("2026-10-05T12:02:00Z") // 10**6
        last = [frame["data"] for frame in frames if frame["ts"] < boundary][-1]
        row = next(row for row in await rows(venue) if int(row["time"]) == boundary - MINUTE_MS)
        return last, row

    push, row = virtually(check)

    assert (push["o"], push["h"], push["l"]) == (row["open"], row["high"], row["low"])
    assert float(push["b"]) <= float(row["baseVol"])
    low, high = float(row["low"]), float(row["high"])
    assert low * 0.999 < float(row["quoteVol"]) / float(row["baseVol"]) < high * 1.001


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("market/kline?symbol=NONEUSDT&interval=1m", 20015, "not allowed"),
        ("market/kline?symbol=GONEUSDT&interval=1m", 20015, "not allowed"),
        ("market/kline?interval=1m", 1, "Network Error"),
        ("market/kline?symbol=BTCUSDT&interval=1m&type=INDEX", 10008, "MARK_PRICE"),
        ("market/depth?symbol=BTCUSDT&limit=7", 10008, "1, 5, 15, 50, max"),
        ("market/kline?symbol=BTCUSDT&interval=1m&limit=x", 10002, "Parameter"),
        ("market/time", 404, "Not Found"),
    ],
)
def test_errors_are_codes_inside_http_200(path: str, code: int, words: str) -> None:
    response = virtually(partial(rest, path=path))

    assert response.status_code == 200
    assert response.json()["code"] == code
    assert response.json()["data"] is None
    assert words in response.json()["msg"]


def test_an_unsupported_interval_gives_an_empty_list() -> None:
    answer = virtually(partial(rest, path="market/kline?symbol=BTCUSDT&interval=3m")).json()

    assert answer == {"code": 0, "data": [], "msg": "Success"}


def test_a_symbol_not_yet_open_has_an_empty_book_and_no_ticker() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, Any]:
        book = await rest(venue, "market/depth?symbol=soonusdt")
        tickers = await rest(venue, "market/tickers")
        return book.json()["data"], [row["symbol"] for row in tickers.json()["data"]]

    book, symbols = virtually(check)

    assert book == {"asks": [], "bids": []}
    assert symbols == ["BTCUSDT", "ETHUSDT", "GONEUSDT"]


def test_the_eleventh_call_in_a_second_is_refused() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        codes: list[int] = []

        async def call() -> None:
            codes.append((await rest(venue, "market/depth?symbol=BTCUSDT&limit=1")).json()["code"])

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(call)
        return codes

    assert sorted(virtually(check)) == [0] * 10 + [10006] * 2


def test_the_date_header_follows_the_venues_clock() -> None:
    async def check(venue: LocalVenue) -> tuple[str, str]:
        await anyio.sleep(3600 - venue.elapsed_s() - 2)
        async with client(venue) as socket:
            assert socket.response is not None
            handshake = socket.response.headers["Date"]
        return (await rest(venue, "market/tickers")).headers["Date"], handshake

    for date in virtually(check):
        assert date.startswith("Mon, 05 Oct 2026 13:00:")


# The socket


def test_nothing_acknowledges_a_subscription_and_data_comes_soon() -> None:
    async def check(venue: LocalVenue) -> list[Any]:
        async with client(venue) as socket:
            await socket.recv()
            await subscribe(socket, "market_kline_1min")
            return await hear(socket, 0.6)

    frames = virtually(check)

    assert {frame.get("ch") for frame in frames} == {"market_kline_1min"}


def test_channels_push_at_their_pace() -> None:
    frames = virtually(
        partial(listen_all, channels=("market_kline_1min", "depth_book1", "ticker", "price"), seconds=31.0)
    )
    count = {name: sum(frame["ch"] == name for frame in frames) for name in {frame["ch"] for frame in frames}}

    assert count["market_kline_1min"] == pytest.approx(62, abs=3)
    assert count["depth_book1"] == pytest.approx(100, abs=4)
    assert count["ticker"] == pytest.approx(22, abs=2)
    assert count["price"] == pytest.approx(62, abs=3)


async def listen_all(venue: LocalVenue, channels: tuple[str, ...], seconds: float) -> list[Any]:
    return await listen(venue, *channels, seconds=seconds)


def test_the_same_seed_and_start_send_the_same_frames() -> None:
    channels = ("market_kline_1min", "depth_book5", "trade", "tickers", "price")
    check = partial(listen_all, channels=channels, seconds=20.0)
    faults = "late=0.2:1,duplicate=0.1,reorder=0.1"

    first = virtually(check, faults, seed=3)

    assert first == virtually(check, faults, seed=3)
    assert first != virtually(check, faults, seed=4)
    assert len(first) > 200


def test_trades_are_sent_once_each_at_their_time() -> None:
    async def check(venue: LocalVenue) -> tuple[list[Any], list[Any]]:
        frames = await listen(venue, "trade", seconds=20)
        begin, end = frames[0]["ts"] * 10**6, (frames[-1]["ts"] + 1) * 10**6
        return frames, venue.world.markets["BTCUSDT"].trades_between(begin, end)

    frames, trades = virtually(check)
    sent = [(float(row["p"]), row["s"]) for frame in frames for row in frame["data"]]

    assert sent == [(price, side) for _, price, _, side in trades]
    assert any(len(frame["data"]) > 1 for frame in frames)


def test_tickers_come_in_one_frame_for_all_symbols_of_a_socket() -> None:
    async def check(venue: LocalVenue) -> Any:
        async with client(venue) as socket:
            await subscribe(socket, "tickers", symbol="BTCUSDT")
            await subscribe(socket, "tickers", symbol="ETHUSDT")
            return (await hear(socket, 3))[-1]

    frame = virtually(check)

    assert [row["s"] for row in frame["data"]] == ["BTCUSDT", "ETHUSDT"]
    assert "symbol" not in frame


def test_an_unknown_symbol_gives_one_empty_depth_frame_and_silence() -> None:
    frames = virtually(partial(listen_unknown, channels=("depth_book1", "market_kline_1min")))

    assert [frame["data"] for frame in frames] == [{"b": [["", ""]], "a": [["", ""]]}]
    assert frames[0]["symbol"] == "NONEUSDT"


async def listen_unknown(venue: LocalVenue, channels: tuple[str, ...]) -> list[Any]:
    return await listen(venue, *channels, seconds=5, symbol="NONEUSDT")


def test_bad_input_is_ignored_and_the_socket_stays() -> None:
    async def check(venue: LocalVenue) -> list[Any]:
        async with client(venue) as socket:
            await socket.recv()
            for text in (
                "not json",
                '{"op":"dance"}',
                "[1,2]",
                '{"op":"subscribe","args":[7,{"ch":"market_kline_1m"}]}',
            ):
                await socket.send(text)
                await anyio.sleep(0.3)
            await socket.send(b"\x00")
            await anyio.sleep(0.3)
            await socket.send('{"op":"ping","ping":9}')
            return await hear(socket, 2)

    assert [frame["pong"] for frame in virtually(check)] == [9]


def test_unsubscribing_ends_the_data_and_the_last_listener_ends_the_pump() -> None:
    async def check(venue: LocalVenue) -> tuple[list[Any], int]:
        async with client(venue) as socket:
            await subscribe(socket, "depth_book1")
            await anyio.sleep(3)
            await socket.send(json.dumps({"op": "unsubscribe", "args": [{"symbol": "BTCUSDT", "ch": "depth_book1"}]}))
            await anyio.sleep(1)
            sent = venue.counters.frames_sent
            frames = await hear(socket, 5)
            return frames, venue.counters.frames_sent - sent

    frames, sent = virtually(check)

    assert frames[-1]["op"] == "unsubscribe"
    assert frames[-1]["data"] == "success"
    assert sent == 0


def test_the_301st_subscription_is_refused_and_the_others_flow() -> None:
    async def check(venue: LocalVenue) -> list[Any]:
        async with client(venue, max_queue=2000) as socket:
            args = [{"symbol": f"N{number}USDT", "ch": "ticker"} for number in range(299)]
            args += [{"symbol": "BTCUSDT", "ch": "price"}, {"symbol": "BTCUSDT", "ch": "ticker"}]
            await socket.send(json.dumps({"op": "subscribe", "args": args}))
            return (await hear(socket, 2))[1:]

    refusal, *data = virtually(check)

    assert refusal["op"] == "subscribe"
    assert refusal["data"]["result"] is False
    assert "300" in refusal["data"]["msg"]
    assert {frame["ch"] for frame in data} == {"price"}


def test_more_than_five_messages_in_a_second_end_the_socket() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, Any]:
        async with client(venue) as socket:
            for _ in range(6):
                await socket.send('{"op":"ping","ping":1}')
            return (await ended(socket))[0], venue.counters

    code, counters = virtually(check)

    assert code is None
    assert counters.closed == {"too fast": 1}
    assert counters.most_received_per_second == 6


def test_five_messages_a_second_are_fine() -> None:
    async def check(venue: LocalVenue) -> int:
        async with client(venue) as socket:
            await socket.recv()
            for _ in range(30):
                await socket.send('{"op":"ping","ping":1}')
                await anyio.sleep(0.26)
            return len(await hear(socket, 1))

    assert virtually(check) == 30


def test_a_socket_without_pings_ends_after_a_minute_without_a_close_frame() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, float, Any]:
        async with client(venue) as socket:
            begin = anyio.current_time()
            await subscribe(socket, "price")
            code, at = await ended(socket)
            return code, at - begin, venue.counters.closed

    code, seconds, closed = virtually(check)

    assert code is None
    assert 60 <= seconds < 61
    assert closed == {"idle": 1}


def test_pings_keep_the_socket_open() -> None:
    async def check(venue: LocalVenue) -> list[Any]:
        async with client(venue) as socket:
            return [frame for frame in await hear(socket, 200) if frame["op"] == "ping"]

    assert len(virtually(check)) == 19


def test_a_protocol_ping_as_first_frame_kills_the_socket() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, float, bool]:
        async with client(venue) as socket:
            pong = asyncio.ensure_future(await socket.ping())
            begin = anyio.current_time()
            code, at = await ended(socket)
            return code, at - begin, not pong.cancelled() and pong.exception() is None

    code, seconds, answered = virtually(check)

    assert code is None
    assert 1.4 < seconds < 1.8
    assert not answered


def test_a_protocol_ping_after_a_message_is_answered() -> None:
    async def check(venue: LocalVenue) -> float:
        async with client(venue) as socket:
            await socket.send('{"op":"ping","ping":1}')
            return await (await socket.ping())

    assert virtually(check) < 1


def test_nothing_is_resumed_after_a_reconnect_and_no_compression_is_agreed() -> None:
    async def check(venue: LocalVenue) -> list[Any]:
        await listen(venue, "price", seconds=2)
        async with client(venue, compression="deflate") as socket:
            assert socket.response is not None
            assert "Sec-WebSocket-Extensions" not in socket.response.headers
            return (await hear(socket, 3))[1:]

    assert virtually(check) == []


def test_an_idle_venue_does_nothing() -> None:
    async def check(venue: LocalVenue) -> Any:
        await listen(venue, "price", "trade", seconds=2)
        await anyio.sleep(5)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        before, sent = loop.jumps, venue.counters.frames_sent
        await anyio.sleep(3000)
        return venue.counters.frames_sent - sent, loop.jumps - before

    venue = LocalVenue(start_ns=START_NS)
    sent, jumps = anyio.run(hosting, venue, check, backend_options={"loop_factory": CountingLoop})

    assert sent == 0
    assert jumps <= 2


def test_a_client_that_does_not_read_is_dropped() -> None:
    async def check(venue: LocalVenue) -> Any:
        async with client(venue) as socket:
            await subscribe(socket, "depth_book1")
            socket.transport.pause_reading()
            await anyio.sleep(10)
            return dict(venue.counters.closed)

    assert virtually(check, "flood=5000") == {"slow": 1}


# Faults of the socket


def test_a_muted_channel_is_silent_while_others_flow() -> None:
    check = partial(listen_all, channels=("depth_book1", "market_kline_1min"), seconds=30.0)

    frames = virtually(check, "mute=depth_book*@10+10")
    muted = [frame["ts"] for frame in frames if frame["ch"] == "depth_book1"]
    begin, end = (START_NS // 10**6 + at * 1000 for at in (10, 20))

    assert not [ts for ts in muted if begin <= ts < end]
    assert min(muted) < begin
    assert max(muted) > end
    assert [frame for frame in frames if frame["ch"] != "depth_book1" and begin <= frame["ts"] < end]


def test_silence_answers_pings_and_sends_no_data() -> None:
    async def check(venue: LocalVenue) -> list[Any]:
        async with client(venue) as socket:
            await subscribe(socket, "price")
            return await hear(socket, 25)

    assert [frame["op"] for frame in virtually(check, "silence")] == ["connect", "ping", "ping"]


def test_a_black_hole_answers_nothing_until_it_ends() -> None:
    async def check(venue: LocalVenue) -> tuple[list[Any], float]:
        async with client(venue) as socket:
            await subscribe(socket, "price")
            await anyio.sleep(6 - venue.elapsed_s())
            await hear(socket, 1)
            frames = await hear(socket, 12)
            await rest(venue, "market/tickers")
            return frames, venue.elapsed_s()

    frames, answered = virtually(check, "blackhole@5+30")

    assert frames == []
    assert 35 <= answered < 36


@pytest.mark.parametrize("fault", ["reset@5", "midframe@5"])
def test_a_reset_ends_the_socket_without_a_close_frame(fault: str) -> None:
    async def check(venue: LocalVenue) -> Any:
        async with client(venue) as socket:
            await subscribe(socket, "price")
            code, _ = await ended(socket)
        again = await listen(venue, "price", seconds=2)
        return code, venue.counters.closed, bool(again)

    assert virtually(check, fault) == (None, {"reset": 1}, True)


def test_resets_repeat_when_a_period_is_given() -> None:
    async def check(venue: LocalVenue) -> int:
        while venue.elapsed_s() < 31:
            async with client(venue) as socket:
                with anyio.move_on_after(10):
                    await ended(socket)
        return venue.counters.faults["reset"]

    assert virtually(check, "reset=5@5+30") == 6


def test_refused_connections_work_again_afterwards() -> None:
    async def check(venue: LocalVenue) -> bool:
        async with client(venue) as socket:
            await anyio.sleep(6 - venue.elapsed_s())
            with pytest.raises(OSError, match=r"\w"):
                await client(venue)
            with pytest.raises(httpx.ConnectError):
                await rest(venue, "market/tickers")
            assert (await hear(socket, 20))[-1]["op"] == "ping"  # an open one is left alone
        return bool(await rows(venue))

    assert virtually(check, "refuse@5+10")


@pytest.mark.parametrize("status", [429, 403, 502, 520])
def test_a_socket_is_refused_with_a_status(status: int) -> None:
    async def check(venue: LocalVenue) -> Any:
        with pytest.raises(InvalidStatus) as raised:
            await client(venue)
        return raised.value.response

    response = virtually(check, f"connect={status}")

    assert response.status_code == status
    assert (response.headers.get("cf-mitigated") == "challenge") == (status == 403)


def test_a_handshake_is_cut_in_the_middle() -> None:
    async def check(venue: LocalVenue) -> None:
        with pytest.raises((InvalidHandshake, OSError)):
            await client(venue)

    virtually(check, "handshake")


@pytest.mark.parametrize(("value", "code"), [("1000", 1000), ("1013", 1013), ("none", 1005), ("1006", None)])
def test_a_close_storm_closes_at_once_with_its_code(value: str, code: int | None) -> None:
    async def check(venue: LocalVenue) -> tuple[int | None, float]:
        begin = anyio.current_time()
        async with client(venue) as socket:
            found, at = await ended(socket)
            return found, at - begin

    found, seconds = virtually(check, f"close_storm={value}")

    assert found == code
    assert seconds < 1


def test_a_subscription_is_lost_late_or_refused() -> None:
    async def check(venue: LocalVenue) -> list[Any]:
        async with client(venue) as socket:
            await subscribe(socket, "price", "ticker")
            return (await hear(socket, 4))[1:]

    assert {frame["ch"] for frame in virtually(check, "drop_arg=2")} == {"price"}
    assert {frame["ts"] // 1000 for frame in virtually(check, "late_sub=3")} >= {START_NS // SECOND_NS + 3}
    assert min(frame["ts"] for frame in virtually(check, "late_sub=3")) > START_NS // 10**6 + 3000
    assert [frame["data"]["result"] for frame in virtually(check, "refuse_sub")] == [False]


def test_frames_come_late_twice_or_out_of_order() -> None:
    check = partial(listen_all, channels=("price",), seconds=30.0)
    stamps = [frame["ts"] for frame in virtually(check)]

    twice = [frame["ts"] for frame in virtually(check, "duplicate=1")]
    swapped = [frame["ts"] for frame in virtually(check, "reorder=0.5")]
    late = [frame["ts"] for frame in virtually(check, "late=0.3:2")]

    assert stamps == sorted(set(stamps))
    assert twice[::2] == twice[1::2]
    assert swapped != sorted(swapped)
    assert late != sorted(late)
    assert max(b - a for a, b in zip(sorted(late), late, strict=True)) <= 2600


def test_damaged_frames_stand_among_good_ones() -> None:
    async def check(venue: LocalVenue) -> tuple[int, int]:
        good = bad = 0
        async with client(venue) as socket:
            await subscribe(socket, "depth_book1")
            with anyio.move_on_after(50):
                while True:
                    text = await socket.recv(decode=False)
                    try:
                        ok = float(json.loads(text)["data"]["b"][0][0]) > 0
                    except (ValueError, TypeError, LookupError, RecursionError):
                        ok = False
                    good, bad = good + ok, bad + (not ok)
        return good, bad

    good, bad = virtually(check, "malformed=0.5")

    assert good > 50
    assert bad > 40


def test_a_push_of_a_new_minute_can_have_the_old_values() -> None:
    check = partial(listen_all, channels=("market_kline_1min",), seconds=45.0)
    boundary = (START_NS // MINUTE_NS + 1) * MINUTE_MS

    plain = next(frame for frame in virtually(check) if frame["ts"] >= boundary)
    frames = virtually(check, "newbucket_old_values")
    before = [frame for frame in frames if frame["ts"] < boundary][-1]["data"]
    first, second = [frame["data"] for frame in frames if frame["ts"] >= boundary][:2]

    assert first["o"] == before["o"]
    assert float(first["b"]) >= float(before["b"])
    assert float(second["b"]) < float(before["b"])
    assert float(plain["data"]["b"]) < float(before["b"])


def test_a_flood_sends_as_many_quotes_as_asked_for() -> None:
    async def check(venue: LocalVenue) -> int:
        async with client(venue) as socket:
            await subscribe(socket, "depth_book1")
            with anyio.move_on_after(2.1):
                while True:
                    await socket.recv(decode=False)
        return venue.counters.frames_sent

    assert virtually(check, "flood=3000") == pytest.approx(6000, rel=0.06)


# Faults of REST


@pytest.mark.parametrize(
    ("faults", "status", "start"),
    [
        ("rest=429", 429, ""),
        ("rest=500", 500, "<html>"),
        ("rest=403", 403, "<!DOCTYPE html>"),
        ("html", 200, "<!DOCTYPE html>"),
        ("truncated", 200, '{"code":0,"data":[{"open"'),
        ("codes=string", 200, '{"code":"0",'),
        ("error=10006", 200, '{"code":10006,'),
        ("empty", 200, '{"code":0,"data":[],'),
    ],
)
def test_hostile_answers(faults: str, status: int, start: str) -> None:
    response = virtually(partial(rest, path="market/kline?symbol=BTCUSDT&interval=1m&limit=2"), faults)

    assert response.status_code == status
    assert response.text.startswith(start)
    assert (response.headers.get("cf-mitigated") == "challenge") == (status == 403)
    if faults == "truncated":
        with pytest.raises(json.JSONDecodeError):
            response.json()


def test_a_share_of_the_calls_fails_and_the_window_ends() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        statuses = []
        for _ in range(40):
            statuses.append((await rest(venue, "market/funding_rate?symbol=BTCUSDT")).status_code)
            await anyio.sleep(0.3)
        return statuses

    statuses = virtually(check, "rest=500:0.5@0+10")

    assert 5 < statuses.count(500) < 25
    assert set(statuses[-5:]) == {200}


def test_an_answer_is_cut_and_the_next_call_works() -> None:
    async def check(venue: LocalVenue) -> int:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await rest(venue, "market/tickers")
        await anyio.sleep(5)
        return (await rest(venue, "market/tickers")).status_code

    assert virtually(check, "cut@0+3") == 200


def test_slow_answers_take_their_time_even_longer_than_a_handshake_may() -> None:
    async def check(venue: LocalVenue) -> float:
        await rest(venue, "market/tickers")
        return venue.elapsed_s()

    assert 20 <= virtually(check, "slow=20") < 21


def test_rows_are_missing_in_a_hole() -> None:
    async def check(venue: LocalVenue) -> list[int]:
        await anyio.sleep(300)
        found = await rows(venue, "&limit=6")
        return [(START_NS // MINUTE_NS * MINUTE_MS - int(row["time"])) // -MINUTE_MS for row in found]

    assert virtually(check, "hole@30+150") == [5, 4, 0, -1, -2, -3]


def test_volumes_have_the_old_meaning_on_demand() -> None:
    new, old = (virtually(partial(rows, more="&limit=2"), faults)[1] for faults in ("", "volume=old"))

    assert (new["quoteVol"], new["baseVol"]) == (old["baseVol"], old["quoteVol"])
    assert float(new["quoteVol"]) > float(new["baseVol"]) > 0


def test_a_closed_row_is_revised_on_demand() -> None:
    async def check(venue: LocalVenue) -> list[str]:
        seen = []
        for at_s in (42, 50):
            await anyio.sleep(at_s - venue.elapsed_s())
            seen.append((await rows(venue, "&limit=2"))[1]["baseVol"])
        return seen

    first, later = virtually(check, "revise=5")

    assert float(first) < float(later)


def test_optional_fields_can_all_be_missing() -> None:
    answer = virtually(partial(rest, path="market/trading_pairs?symbols=BTCUSDT"), "no_optional=all").json()

    assert answer["data"] == [{"symbol": "BTCUSDT"}]


# Settings


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(ValueError, match=r"host = '0\.0\.0\.0'.*loopback"):
        LocalVenue(host="0.0.0.0")
    with pytest.raises(ValueError, match="symbol = 'btc'"):
        LocalVenue(symbol="btc")
    with pytest.raises(FaultError, match="did you mean 'reset'"):
        LocalVenue(faults="rest=429,resets@3")


def test_without_a_start_the_venue_lives_in_the_recordings_time() -> None:
    venue = LocalVenue()

    assert venue.world.start_ns == parse_time("2024-08-08T23:54:00Z")


def test_stopping_twice_or_before_the_start_does_no_harm() -> None:
    async def check(venue: LocalVenue) -> None:
        await venue.stop()

    virtually(check)


# Real sockets


async def test_a_flood_of_twenty_thousand_frames_a_second_goes_through_a_real_socket() -> None:
    async def check(venue: LocalVenue) -> float:
        async with client(venue, max_queue=None) as socket:
            await subscribe(socket, "depth_book1")
            await anyio.sleep(0.3)
            before, begin = venue.counters.frames_sent, anyio.current_time()
            socket.transport.pause_reading()
            await anyio.sleep(0.15)
            rate = (venue.counters.frames_sent - before) / (anyio.current_time() - begin)
            socket.transport.abort()
            return rate

    rate = await hosting(LocalVenue(faults="flood=20000", start_ns=START_NS), check)

    assert rate > 15_000


async def test_stop_ends_open_sockets_and_hanging_calls_within_a_second() -> None:
    venue = LocalVenue(faults="slow=100", start_ns=START_NS)

    async with anyio.create_task_group() as tasks:
        await venue.start(tasks)
        async with client(venue) as socket:

            async def call() -> None:
                with contextlib.suppress(httpx.HTTPError):
                    await rest(venue, "market/tickers")

            tasks.start_soon(call)
            while not venue.counters.rest_calls:
                await anyio.sleep(0.01)
            begin = anyio.current_time()
            await venue.stop()
            await ended(socket)
            assert anyio.current_time() - begin < 1
    with pytest.raises(OSError, match=r"\w"):
        await client(venue)


@pytest.mark.parametrize("speed", ["1", "20"])
def test_the_command_serves_until_interrupted_and_exits_clean(speed: str) -> None:
    code = "from lab_bitunix.venue.command import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, "--port", "0", "--recording", "seeded", "--speed", speed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while lines[-1] and not lines[-1].startswith("Ctrl-C"):
        lines.append(process.stdout.readline())
    answer = httpx.get(lines[0].split()[1] + "/api/v1/futures/market/tickers", verify=False).json()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)

    assert answer["code"] == 0
    assert "--set bitunix.rest_url=http://127.0.0.1:" in "".join(lines)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speed", "max"], "virtual time"),
        (["--speed", "0"], "above 0"),
        (["--faults", "resets@3"], "did you mean 'reset'"),
        (["--recording", "nothing-here"], "no such file"),
    ],
)
def test_the_command_refuses_with_reason_and_cure(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_the_help_lists_every_fault() -> None:
    output = CliRunner().invoke(command, ["--help"]).output

    assert {line.split()[0] for line in output.splitlines() if line.strip()} >= set(FAULTS)
