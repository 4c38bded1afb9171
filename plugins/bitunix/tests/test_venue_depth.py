"""The local venue's levels: they agree with its quotes, are books that can be, and can be damaged on request."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from lab.domain.market import Depth, check_depth
from lab.domain.time import MINUTE_NS
from lab.ports import FeedState, Runtime, Subscription
from lab.testing import RecordingSink
from lab.testing.simulation import simulate
from lab_bitunix import wire
from lab_bitunix.provider import Bitunix
from lab_bitunix.venue import LocalVenue
from lab_bitunix.venue.damage import BOOK_DAMAGES
from venue_client import START_NS, client, hear, hosting, listen_all, rest, subscribe, virtually

CHANNELS = ("depth_book1", "depth_book5", "depth_book15", "tickers")


def by_channel(frames: list[Any]) -> dict[str, dict[int, Any]]:
    found: dict[str, dict[int, Any]] = {name: {} for name in CHANNELS}
    for frame in frames:
        found[frame["ch"]][frame["ts"]] = frame["data"]
    return found


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_the_best_level_is_the_quote_sent_at_that_moment_in_every_channel(symbol: str) -> None:
    async def check(venue: LocalVenue) -> tuple[list[Any], dict[int, Any]]:
        async with client(venue) as socket:
            await subscribe(socket, *CHANNELS, symbol=symbol)
            frames = [frame for frame in await hear(socket, 62) if "ch" in frame]
        market = venue.world.markets[symbol]
        on_grid = {one["ts"] for one in frames if (one["ts"] - START_NS // 10**6) % 310 == 0}
        return frames, {ts: market.quote_at(ts * 10**6) for ts in on_grid}

    frames, known = virtually(check)
    sent = by_channel(frames)
    quotes = sent["depth_book1"]

    for ts in sorted(known):
        levels = [float(text) for side in "ba" for text in quotes[ts][side][0]]
        assert levels == pytest.approx(known[ts], abs=1e-3)
    assert len(known) > 190
    for name in ("depth_book5", "depth_book15"):
        assert set(sent[name]) == set(quotes)
        for ts, data in sent[name].items():
            assert (data["b"][0], data["a"][0]) == (quotes[ts]["b"][0], quotes[ts]["a"][0])
            assert {len(data["b"]), len(data["a"])} == {int(name.removeprefix("depth_book"))}
    together = sorted(set(quotes) & set(sent["tickers"]))
    assert len(together) >= 2, "their timers meet every 31 s"
    for ts in together:
        (row,) = sent["tickers"][ts]
        data = quotes[ts]
        assert [[row["bd"], row["bv"]], [row["ak"], row["av"]]] == [data["b"][0], data["a"][0]]


def test_every_book_can_be_and_levels_lie_on_the_tick() -> None:
    frames = virtually(partial(listen_all, channels=("depth_book15",), seconds=120.0))

    for frame in frames:
        message = wire.decode_frame(json.dumps(frame))
        assert isinstance(message, wire.DepthFrame)
        depth = wire.depth_of(message)
        assert isinstance(depth, Depth)
        assert check_depth(depth) is None
        assert all(round(price * 10) == pytest.approx(price * 10) for price, _ in (*depth.bids, *depth.asks))
    assert len(frames) > 380


def test_depth_comes_on_its_timer() -> None:
    frames = virtually(partial(listen_all, channels=("depth_book5",), seconds=31.0))
    stamps = [frame["ts"] for frame in frames[1:]]

    assert len(stamps) == pytest.approx(100, abs=2)
    assert {after - before for before, after in pairwise(stamps)} == {310}


def test_a_recording_without_sizes_has_books_of_one_step(tmp_path: Path) -> None:
    lines = [f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z,100.1,0,100.2,0" for second in range(300)]
    file = tmp_path / "quotes.csv"
    file.write_text("\n".join(["time,bid,bid_size,ask,ask_size", *lines]))

    venue = LocalVenue(recording=str(file), start_ns=START_NS)
    frames = simulate(
        partial(hosting, venue, partial(listen_all, channels=("depth_book1", "depth_book5"), seconds=3.0))
    )
    levels = [level for frame in frames for side in "ba" for level in frame["data"][side]]

    assert len(levels) > 40
    assert all(float(size) > 0 for _, size in levels)
    assert {frame["data"]["b"][0][0] for frame in frames} == {"100.1"}


def test_the_book_over_rest_begins_with_the_quote_of_its_moment() -> None:
    async def check(venue: LocalVenue) -> tuple[Any, Any]:
        data = (await rest(venue, "market/depth?symbol=BTCUSDT&limit=15")).json()["data"]
        market = venue.world.markets["BTCUSDT"]
        return data, market.quote_at(venue.now_ns())

    data, (bid, _, ask, _) = virtually(check)

    assert (float(data["bids"][0][0]), float(data["asks"][0][0])) == (bid, ask)


# -- faults -----------------------------------------------------------------------------------------------------------


def test_each_damage_makes_a_book_that_is_refused() -> None:
    bids = [[str(100 - place), "1"] for place in range(5)]
    asks = [[str(101 + place), "1"] for place in range(5)]
    for place, made in enumerate(BOOK_DAMAGES):
        spoilt = made((bids, asks))
        frame = {
            "ch": "depth_book5",
            "symbol": "BTCUSDT",
            "ts": 1_775_541_541_009,
            "data": dict(zip("ba", spoilt, strict=True)),
        }
        message = wire.decode_frame(json.dumps(frame))
        refused = isinstance(message, wire.Malformed) or (
            isinstance(message, wire.DepthFrame) and isinstance(wire.depth_of(message), str)
        )
        assert refused, f"damage {place} went unnoticed: {spoilt}"


def test_the_fault_strikes_frames_of_levels_and_no_others() -> None:
    async def check(venue: LocalVenue) -> tuple[list[Any], int]:
        frames = await listen_all(venue, ("depth_book5", "market_kline_1min", "price"), 30.0)
        return frames, venue.counters.faults["levels"]

    clean, none = virtually(check)
    frames, struck = virtually(check, "levels=0.5")

    assert none == 0
    changed = [one["ch"] for one, other in zip(frames, clean, strict=True) if one != other]
    assert set(changed) == {"depth_book5"}
    assert len(changed) == struck
    assert 30 < struck < 70


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(
    "faults", ["levels=0.5", "malformed=0.3", "late=0.3:7", "reorder=0.3,duplicate=0.3", "mute=depth_book5@20+4"]
)
def test_only_sound_depth_of_the_present_comes_through_whatever_the_venue_sends(faults: str) -> None:
    async def main() -> tuple[RecordingSink, Bitunix]:
        async with anyio.create_task_group() as tasks:
            provider, sink = Bitunix(venue="local", faults=faults), RecordingSink()
            await provider.start(Runtime(clock=_Clock(), seed=1, tasks=tasks, speed="max"))
            tasks.start_soon(provider.stream, [Subscription("BTCUSDT", MINUTE_NS)], sink)
            await anyio.sleep(60)
            await provider.stop()
            tasks.cancel_scope.cancel()
        return sink, provider

    sink, _ = simulate(main)

    assert len(sink.depths) > 60
    assert FeedState.LIVE in sink.states
    assert {check_depth(one) for one in sink.depths} == {None}
    newest_ns = 0
    for one in sink.depths:
        assert one.time_ns >= newest_ns - 5_000_000_000
        newest_ns = max(newest_ns, one.time_ns)
    assert bool(sink.faults) == ("levels" in faults or "malformed" in faults)
    if "late" in faults:
        assert any("more than 5 s late" in words for _, words, _ in sink.feeds)


class _Clock:
    def monotonic(self) -> float:
        return anyio.current_time()

    def wall_ns(self) -> int:
        return START_NS
