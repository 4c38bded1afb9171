"""Faults of the local venue's socket, by a real client in virtual time: silence, resets, damage, floods."""

import json
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab_bitunix.venue import LocalVenue
from venue_client import MINUTE_MS, START_NS, client, ended, hear, listen, listen_all, rest, rows, subscribe, virtually
from websockets.exceptions import InvalidHandshake, InvalidStatus


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


@pytest.mark.parametrize(("fault", "share"), [("skew=-45@10+10", 1.0), ("skew=3600:0.3@10+10", 0.3)])
def test_skewed_frames_carry_another_time_and_the_same_data(fault: str, share: float) -> None:
    check = partial(listen_all, channels=("price",), seconds=30.0)
    right, skewed = virtually(check), virtually(check, fault)
    moved = [(one["ts"] - other["ts"]) / 1000 for one, other in zip(skewed, right, strict=True)]
    by = [seconds for seconds in moved if seconds]
    assert set(by) == {float(fault.removeprefix("skew=").partition("@")[0].partition(":")[0])}
    assert share * 20 * 0.3 <= len(by) <= 21
    assert [one["data"] for one in skewed] == [one["data"] for one in right]
