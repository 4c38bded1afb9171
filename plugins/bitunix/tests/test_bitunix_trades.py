"""Trades of the venue: what the decoder makes of their frames, which reach the sink, and what the local venue sends."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from fake_venue import MINUTE, FakeVenue, depth, in_virtual_time, kline_push, started
from fake_venue import trades as frame_of_trades
from lab.domain.market import Trade
from lab.domain.orders import Side
from lab.domain.time import MINUTE_NS
from lab.ports import Channel, FeedState, Subscription
from lab.testing import RecordingSink
from lab_bitunix import wire
from lab_bitunix.provider import Bitunix
from lab_bitunix.venue import LocalVenue
from lab_bitunix.venue.intervals import SOCKET_INTERVALS
from venue_client import START_NS, client, hear, listen_all, subscribe, virtually
from websockets.asyncio.server import ServerConnection

SAMPLES = Path(__file__).parent / "samples"
MS = 1_000_000
TS = 1_775_541_541_009


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return in_virtual_time()


def frame(data: Any, ts: Any = TS) -> str:
    return json.dumps({"ch": "trade", "symbol": "BTCUSDT", "ts": ts, "data": data})


def row(price: Any = "100", size: Any = "1", side: Any = "buy") -> dict[str, Any]:
    return {"t": "2026-04-07T05:59:01Z", "p": price, "v": size, "s": side}


def read(text: bytes | str) -> Any:
    message = wire.decode_frame(text)
    if isinstance(message, wire.Malformed):
        return message.reason
    assert isinstance(message, wire.TradeFrame)
    return wire.trades_of(message)


# -- the decoder ------------------------------------------------------------------------------------------------------


def test_the_documented_frame_becomes_trades_of_the_taker_s_side_at_the_time_of_sending() -> None:
    assert read((SAMPLES / "ws-trade-push-docs-2026-04.json").read_bytes()) == [
        Trade("BTCUSDT", 1775540872598 * MS, 68621.4, 0.7142, Side.BUY),
        Trade("BTCUSDT", 1775540872598 * MS, 68621.4, 0.0018, Side.SELL),
    ]


@pytest.mark.parametrize("stamp", ["2026-04-07T05:59:01.123456789Z", 7, None])
def test_numbers_and_texts_mean_the_same_and_the_trade_s_own_time_does_not_count(stamp: Any) -> None:
    found = read(frame([{**row(100.5, 2), "t": stamp}]))
    assert found == read(frame([row("100.5", "2")])) == [Trade("BTCUSDT", TS * MS, 100.5, 2.0, Side.BUY)]
    assert [type(figure) for figure in found[0][2:4]] == [float, float]
    assert type(found[0].side) is Side
    assert read(frame([])) == []


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(
    ("data", "ts", "said"),
    [
        ([row(), row(price="0")], TS, "price 0.0 is not a price"),
        ([row(price="-1")], TS, "price -1.0 is not a price"),
        ([row(price="NaN")], TS, "price nan is not a price"),
        ([row(size="-1")], TS, "size -1.0 is not a size"),
        ([row(size="0")], TS, "size 0.0 is not a size"),
        ([row(size="inf")], TS, "size inf is not a size"),
        ([row(price="")], TS, "Expected `float`"),
        ([row(side="hold")], TS, "Invalid enum value 'hold'"),
        ([row(side=1)], TS, "Expected `str`"),
        ([{"p": "1", "v": "1"}], TS, "missing required field `s`"),
        (row(), TS, "Expected `array`"),
        (None, TS, "Expected `array`"),
        ([row()], TS // 1000, "is not a time in ms"),
        ([row()], "later", "Expected `int`"),
    ],
)
def test_a_frame_of_which_one_row_is_no_trade_gets_a_reason_that_names_its_channel(
    data: Any, ts: Any, said: str
) -> None:
    found = read(frame(data, ts))
    assert isinstance(found, str)
    assert found.startswith("trade: ")
    assert said in found


# -- the stream -------------------------------------------------------------------------------------------------------


async def given(session: Any, venue: FakeVenue, *wanted: Subscription, **settings: Any) -> RecordingSink:
    """Return what the sink was given once the session's last frame, one of candles, came."""
    async with started(venue, **settings) as provider, anyio.create_task_group() as tasks:
        sink = RecordingSink()
        tasks.start_soon(provider.stream, wanted or MINUTE, sink)
        await sink.until(lambda: FeedState.LIVE in sink.states)
        tasks.cancel_scope.cancel()
    return sink


def sending(*texts: Any) -> tuple[FakeVenue, Any]:
    """Return a venue that sends these frames, a quote before them and a candle after."""

    async def session(socket: ServerConnection, number: int) -> bool:
        await socket.send('{"op":"connect","data":{"result":true}}')
        await socket.recv()
        await socket.send(depth(venue.now_ms()))
        for text in texts:
            await socket.send(text(venue.now_ms()) if callable(text) else text)
        await socket.send(kline_push(venue.now_ms()))
        await anyio.sleep(5)
        return True

    venue = FakeVenue(start_s=5, session=session)
    return venue, session


async def test_the_trades_of_a_frame_reach_the_sink_in_order_and_those_of_other_symbols_do_not() -> None:
    venue, session = sending(frame_of_trades, lambda now_ms: frame_of_trades(now_ms).replace("BTCUSDT", "ETHUSDT"))
    sink = await given(session, venue)
    assert [trade[2:] for trade in sink.trades] == [(60000.1, 0.5, Side.SELL), (60000.2, 0.25, Side.BUY)]
    assert {trade.symbol for trade in sink.trades} == {"BTCUSDT"}
    assert sink.trades[0].time_ns >= sink.quotes[0].time_ns, "one clock stamps both"
    assert sink.faults == []


async def test_a_frame_that_comes_twice_counts_once_and_one_like_it_at_another_time_counts() -> None:
    kept: list[str] = []

    def first(now_ms: int) -> str:
        kept.append(frame_of_trades(now_ms))
        return kept[0]

    venue, session = sending(first, lambda _: kept[0], lambda now_ms: frame_of_trades(now_ms + 1000), lambda _: kept[0])
    assert len((await given(session, venue)).trades) == 6, "the last one is no repetition of the frame before it"


@pytest.mark.behaviour("F13")
async def test_trades_that_cannot_be_are_counted_and_late_ones_left_out() -> None:
    venue, session = sending(
        lambda now_ms: frame([row(price="0")], now_ms),
        frame_of_trades,
        lambda now_ms: frame([row()], now_ms + 60_000),
        lambda now_ms: frame([row()], now_ms - 30_000),
        lambda now_ms: frame([], now_ms),
    )
    sink = await given(session, venue)
    assert len(sink.trades) == 2
    assert len(sink.faults) == 2
    assert sink.faults[0] == "trade: price 0.0 is not a price"
    assert sink.faults[1].endswith("ahead of the venue's clock")
    assert [words for _, words, _ in sink.feeds if "late" in words] == [
        "frames left out because they came more than 5 s late: 1 so far"
    ]


async def test_trades_are_asked_for_where_they_are_wanted_and_switched_on() -> None:
    venue = FakeVenue(start_s=5)
    assert (await given(None, venue, trades=False)).trades == []
    only_quotes = Subscription("BTCUSDT", MINUTE_NS, frozenset({Channel.QUOTES}))
    other = FakeVenue(start_s=5)
    await given(None, other, only_quotes)
    asked = [[arg["ch"] for arg in one.frames[0][0][1]["args"]] for one in (venue, other)]
    assert asked == [["depth_book1", "market_kline_1min", "depth_book5"], ["depth_book1"]]
    assert Channel.TRADES in Bitunix().channels()
    assert Channel.TRADES not in Bitunix(trades=False).channels()


# -- the local venue --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_whoever_trades_at_the_bid_sells_whoever_trades_at_the_ask_buys_and_the_candle_is_the_trades(
    symbol: str,
) -> None:
    async def check(venue: LocalVenue) -> tuple[list[Any], Any]:
        async with client(venue) as socket:
            await subscribe(socket, "trade", symbol=symbol)
            frames = [one for one in await hear(socket, 130) if "ch" in one]
        return frames, venue.world

    frames, world = virtually(check)
    market = world.markets[symbol]
    open_ns = START_NS + 40 * 10**9  # the first whole minute
    begin_ns, end_ns = START_NS + 10**9, open_ns + 60 * 10**9
    known = market.trades_between(begin_ns, end_ns)
    sides: dict[str, set[str]] = {"bid": set(), "ask": set()}
    for at_ns, price, _, side in known:
        bid, _, ask, _ = market.quote_at(at_ns - 1)
        if price <= bid:
            sides["bid"].add(side)
        if price >= ask:
            sides["ask"].add(side)
    assert sides == {"bid": {"sell"}, "ask": {"buy"}}

    told = [(at_ns // MS, price, side) for at_ns, price, _, side in known]
    sent = [(one["ts"], row["p"], row["v"], row["s"]) for one in frames for row in one["data"]]
    assert [(ts, float(price), side) for ts, price, _, side in sent if told[0][0] <= ts <= told[-1][0]] == told
    stamps = [ts for ts, *_ in sent]
    assert stamps == sorted(stamps)
    assert all(float(size) > 0 for _, _, size, _ in sent)
    inside = [(float(price), float(size)) for ts, price, size, _ in sent if open_ns <= ts * MS < end_ns]
    bar = world.bar(market, SOCKET_INTERVALS["1min"], open_ns, end_ns)
    assert len(inside) > 500
    assert (max(price for price, _ in inside), min(price for price, _ in inside)) == (bar.high, bar.low)
    assert sum(size for _, size in inside) == pytest.approx(bar.coins, rel=1e-3)


def test_trades_can_be_muted_late_doubled_and_damaged_as_any_channel_can() -> None:
    async def check(venue: LocalVenue) -> tuple[list[Any], dict[str, int]]:
        return await listen_all(venue, ("trade",), 20.0), dict(venue.counters.faults)

    clean, _ = virtually(check)
    for fault in ("mute=trade", "late=0.3:1", "duplicate=0.3", "reorder=0.3"):
        frames, struck = virtually(check, fault)
        assert struck[fault.partition("=")[0]] > 5
        assert frames != clean
    assert virtually(check, "mute=trade")[0] == []
    assert len(virtually(partial(listen_all, channels=("trade",), seconds=20.0), "levels=1")) == len(clean)
