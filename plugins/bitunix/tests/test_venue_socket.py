"""The local venue's socket, by a real client in virtual time: subscriptions, pace, limits, pings."""

import asyncio
import json
from functools import partial
from typing import Any

import anyio
import pytest
from lab.simulation.loop import SimLoop
from lab_bitunix.venue import LocalVenue
from venue_client import START_NS, client, ended, hear, hosting, listen, listen_all, subscribe, virtually


class CountingLoop(SimLoop):
    """Counts how often time jumps to a timer."""

    jumps = 0

    def idle(self, timeout: float | None) -> None:
        self.jumps += bool(timeout)
        super().idle(timeout)


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
