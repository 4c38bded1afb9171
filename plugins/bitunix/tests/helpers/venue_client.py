"""A real client on the local venue: it asks, subscribes and listens, in virtual time or on real sockets."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import httpx
from lab.domain.time import parse_time
from lab.simulation.loop import SimLoop
from lab_bitunix.venue import LocalVenue
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

START_NS = parse_time("2026-10-05T12:00:20Z")
MINUTE_MS = 60_000
Check = Callable[[LocalVenue], Awaitable[Any]]


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


async def listen_all(venue: LocalVenue, channels: tuple[str, ...], seconds: float) -> list[Any]:
    return await listen(venue, *channels, seconds=seconds)
