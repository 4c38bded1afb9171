"""The local venue against every sample payload: the same keys and the same wire types."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from lab.domain.time import parse_time
from lab.simulation.loop import SimLoop
from lab_bitunix.venue import LocalVenue
from venue_client import Check, hosting
from websockets.asyncio.client import ClientConnection, connect

SAMPLES = Path(__file__).parent / "samples"
START_NS = parse_time("2026-10-05T12:00:20Z")

REST = {
    "rest-kline-2026-09-15.json": ("market/kline?symbol=BTCUSDT&interval=1m&limit=5", "volume=old"),
    "rest-kline-2026-09-20.json": ("market/kline?symbol=BTCUSDT&interval=4h&limit=1", ""),
    "rest-kline-docs-2026-10.json": ("market/kline?symbol=BTCUSDT&interval=1m", "kline=docs"),
    "rest-kline-docs-2025.json": ("market/kline?symbol=BTCUSDT&interval=1m", "kline=docs2025"),
    "rest-tickers-2026-09-29.json": ("market/tickers?symbols=BTCUSDT", ""),
    "rest-tickers-docs.json": ("market/tickers?symbols=BTCUSDT,ETHUSDT", ""),
    "rest-depth-2026-06.json": ("market/depth?symbol=BTCUSDT&limit=5", ""),
    "rest-depth-docs.json": ("market/depth?symbol=BTCUSDT&limit=5", "numbers=number"),
    "rest-trading-pairs-2026-02.json": ("market/trading_pairs?symbols=BTCUSDT", "no_optional=2026"),
    "rest-trading-pairs-docs.json": ("market/trading_pairs?symbols=BTCUSDT", "pairs=docs"),
    "rest-funding-rate-2026-02.json": ("market/funding_rate?symbol=BTCUSDT", "no_optional=2026"),
    "rest-funding-rate-docs.json": ("market/funding_rate?symbol=BTCUSDT", "funding=list"),
    "rest-funding-rate-docs-2025.json": ("market/funding_rate?symbol=BTCUSDT", "funding=list,no_optional=2025"),
    "rest-funding-rate-history-docs.json": ("market/get_funding_rate_history?symbol=BTCUSDT", ""),
    "rest-position-tiers-docs.json": ("position/get_position_tiers?symbol=BTCUSDT", ""),
    "rest-error-20015-unknown-symbol.json": ("market/kline?symbol=NONEUSDT&interval=1m", ""),
    "rest-error-1-missing-symbol.json": ("market/funding_rate", ""),
}
SUBSCRIBED = {
    "ws-kline-push-1min-a.json": ("market_kline_1min", "BTCUSDT"),
    "ws-kline-push-1min-b.json": ("market_kline_1min", "btcusdt"),
    "ws-kline-push-docs-2024.json": ("mark_kline_1min", "BTCUSDT"),
    "ws-depth-book15-btcusdt.json": ("depth_book15", "BTCUSDT"),
    "ws-depth-book1-docs.json": ("depth_book1", "BTCUSDT"),
    "ws-price-push.json": ("price", "BTCUSDT"),
    "ws-ticker-push.json": ("ticker", "BTCUSDT"),
    "ws-tickers-push-docs.json": ("tickers", "BTCUSDT"),
    "ws-trade-push-docs-2026-04.json": ("trade", "BTCUSDT"),
}
REPLIES = {
    "ws-ping-reply.json": "ws-ping-request.json",
    "ws-ping-reply-docs.json": "ws-ping-request.json",
    "ws-unsubscribe-reply.json": "ws-unsubscribe-request.json",
}
OTHERS = {
    "ws-connect.json",  # see test_the_first_frame_is_the_sample
    "ws-subscribe-request.json",  # see test_the_sample_subscription_brings_both_channels
    "ws-login-request-docs.json",  # see test_a_login_on_the_public_socket_is_ignored
    "rest-sign-vector.json",  # private calls: the venue has none
}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


def shape(value: Any) -> Any:
    """Return keys, nesting and wire types; of a list the shapes there are in it."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        shapes = [shape(inner) for inner in value]
        return [one for place, one in enumerate(shapes) if one not in shapes[:place]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def with_venue(faults: str, check: Check) -> Any:
    venue, options = LocalVenue(faults=faults, start_ns=START_NS), {"loop_factory": partial(SimLoop, 1, limit_s=600)}
    return anyio.run(hosting, venue, check, backend_options=options)


async def get(path: str, venue: LocalVenue) -> Any:
    async with httpx.AsyncClient(verify=False) as client:
        response = await client.get(f"{venue.rest_url}/api/v1/futures/{path}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def next_frame(socket: ClientConnection, **wanted: Any) -> Any:
    while True:
        frame = json.loads(await socket.recv())
        if wanted.items() <= frame.items():
            return frame


def test_every_sample_has_a_counterpart() -> None:
    covered = {*REST, *SUBSCRIBED, *REPLIES, *REPLIES.values(), *OTHERS}

    assert {path.name for path in SAMPLES.glob("*.json")} == covered


@pytest.mark.parametrize("name", REST)
def test_rest_answers_have_the_shape_of_the_sample(name: str) -> None:
    path, faults = REST[name]

    answer = with_venue(faults, partial(get, path))

    assert shape(answer) == shape(sample(name))
    assert answer["code"] == sample(name)["code"]
    assert answer["msg"] == sample(name)["msg"]


@pytest.mark.parametrize("name", SUBSCRIBED)
def test_pushes_have_the_shape_of_the_sample(name: str) -> None:
    channel, symbol = SUBSCRIBED[name]

    async def push(venue: LocalVenue) -> Any:
        async with connect(venue.ws_url, ping_interval=None) as socket:
            await socket.send(json.dumps({"op": "subscribe", "args": [{"symbol": symbol, "ch": channel}]}))
            return await next_frame(socket, ch=channel)

    frame = with_venue("", push)

    assert shape(frame) == shape(sample(name))
    assert frame.get("symbol", "BTCUSDT") == "BTCUSDT"
    if not isinstance(frame["data"], list):
        assert list(frame["data"]) == list(sample(name)["data"])


@pytest.mark.parametrize("name", REPLIES)
def test_replies_have_the_shape_of_the_sample(name: str) -> None:
    request = sample(REPLIES[name])

    async def reply(venue: LocalVenue) -> Any:
        async with connect(venue.ws_url, ping_interval=None) as socket:
            await socket.send(json.dumps(request))
            return await next_frame(socket, op=request["op"])

    answer = with_venue("", reply)

    assert shape(answer) == shape(sample(name))
    if request["op"] == "ping":
        assert answer["pong"] == request["ping"]
        assert answer["ping"] == START_NS // 10**9


def test_the_first_frame_is_the_sample() -> None:
    async def first(venue: LocalVenue) -> Any:
        async with connect(venue.ws_url, ping_interval=None) as socket:
            return json.loads(await socket.recv())

    assert with_venue("", first) == sample("ws-connect.json")


def test_the_sample_subscription_brings_both_channels() -> None:
    async def both(venue: LocalVenue) -> set[str]:
        async with connect(venue.ws_url, ping_interval=None) as socket:
            await socket.recv()
            await socket.send(json.dumps(sample("ws-subscribe-request.json")))
            return {json.loads(await socket.recv())["ch"] for _ in range(2)}

    assert with_venue("", both) == {"market_kline_1min", "depth_books"}


def test_a_login_on_the_public_socket_is_ignored() -> None:
    async def login(venue: LocalVenue) -> Any:
        async with connect(venue.ws_url, ping_interval=None) as socket:
            await socket.recv()
            await socket.send(json.dumps(sample("ws-login-request-docs.json")))
            await socket.send('{"op":"ping","ping":7}')
            return json.loads(await socket.recv())

    assert with_venue("", login)["pong"] == 7
