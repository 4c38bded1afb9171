"""The load: a server in a process of its own that speaks as much of Bitunix's protocol as a stream needs.

``python -m benchmarks.server --rate 500 --count 5000`` sends 5,000 quotes evenly, each with the monotonic time it was
sent at, in ns, as its bid size: both ends run on one machine. ``--rate 0`` sends them as fast as the socket takes them;
then only the last one has a time, that of the first one's sending. Without ``--count`` it goes on for ever. The last
quote has an ask size of 0. Sending begins when a client has subscribed, anew for each client.

It prints its port. Not a stand-in for the venue: it only measures.
"""

import argparse
import asyncio
import json
import time
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

FRAMES_A_WRITE: Final = 50
_BUFFERED: Final = 1 << 20
_MINUTE_MS: Final = 60_000


def quote(bid_size: int, number: int, ask_size: int) -> bytes:
    """Return a depth frame as the venue writes it; the sizes carry what is measured with."""
    price = 43_000 + number % 7 * 0.1
    now_ms = time.time_ns() // 1_000_000
    data = f'{{"b":[["{price:.1f}","{bid_size}"]],"a":[["{price + 0.1:.1f}","{ask_size}"]]}}'
    return f'{{"ch":"depth_book1","symbol":"BTCUSDT","ts":{now_ms},"data":{data}}}'.encode()


def _candle() -> str:
    row = '"o":"43000","c":"43000.1","h":"43000.9","l":"43000","b":"0.2","q":"8600.0"'
    now_ms = time.time_ns() // 1_000_000
    return f'{{"ch":"market_kline_1min","symbol":"BTCUSDT","ts":{now_ms},"data":{{{row}}}}}'


def _answer(path: str) -> Any:
    if "trading_pairs" in path:
        return [{"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "minTradeVolume": "0.0001", "basePrecision": 4,
                 "quotePrecision": 1, "symbolStatus": "OPEN"}]  # fmt: skip
    if "kline" in path:
        newest = time.time_ns() // 1_000_000 // _MINUTE_MS * _MINUTE_MS
        prices = {"open": "43000", "high": "43000.9", "low": "43000", "close": "43000.1"}
        return [{**prices, "time": newest - n * _MINUTE_MS, "quoteVol": "8600.1", "baseVol": "0.2"} for n in range(200)]
    return [{"symbol": "BTCUSDT", "markPrice": "43000", "fundingRate": "0.0005", "fundingInterval": 8}]


def _http(connection: ServerConnection, request: Request) -> Response | None:
    if not request.path.startswith("/api/"):
        return None
    body = json.dumps({"code": 0, "msg": "Success", "data": _answer(request.path)})
    response = connection.respond(HTTPStatus.OK, body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


async def _even(socket: ServerConnection, rate: float, count: int) -> None:
    loop = asyncio.get_running_loop()
    due, number = loop.time(), 0
    while not count or number < count:
        number += 1
        await socket.send(quote(time.monotonic_ns(), number, 0 if number == count else 2).decode())
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - loop.time()))


async def _flood(socket: ServerConnection, count: int) -> None:
    """Write frames made beforehand, past the library's work for each: the receiver alone is to be the slower one."""
    blocks = []
    for first in range(0, count - 1, FRAMES_A_WRITE):
        frames = [quote(2, n, 2) for n in range(first, min(first + FRAMES_A_WRITE, count - 1))]
        blocks.append(b"".join(Frame(Opcode.TEXT, frame).serialize(mask=False) for frame in frames))
    await asyncio.sleep(0.5)  # the client asks for its history meanwhile
    transport = socket.transport
    transport.set_write_buffer_limits(_BUFFERED)
    began_ns = time.monotonic_ns()
    for block in blocks:
        transport.write(block)
        await socket.drain()
    await socket.send(quote(began_ns, count, 0).decode())


async def _candles(socket: ServerConnection) -> None:
    while True:
        await socket.send(_candle())
        await asyncio.sleep(1.0)


async def _client(socket: ServerConnection, *, rate: float, count: int) -> None:
    await socket.send('{"op":"connect","data":{"result":true}}')
    tasks: list[asyncio.Task[None]] = []
    try:
        async for text in socket:
            frame = json.loads(text)
            if frame.get("op") == "ping":
                await socket.send(json.dumps({"op": "ping", "pong": frame["ping"], "ping": frame["ping"]}))
            elif frame.get("op") == "subscribe" and not tasks:
                work = _even(socket, rate, count) if rate else _flood(socket, count)
                tasks += [asyncio.create_task(_candles(socket)), asyncio.create_task(work)]
    except ConnectionClosed:
        return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _main(rate: float, count: int) -> None:
    client = partial(_client, rate=rate, count=count)
    async with serve(client, "127.0.0.1", 0, compression=None, process_request=_http, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=3.0)
    parser.add_argument("--count", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(_main(given.rate, given.count))
