"""A server that speaks Bitunix's protocol and floods: ``python flooding_venue.py --rate 5000 --seconds 60 --speed 10``.

It prints its port. Two seconds after a client subscribed it sends ``rate`` messages in each real second, one in ten of
them a trade, as evenly as a loop can; before and after that twenty quotes a second. Quotes and trades carry their
numbers as sizes: a quote's bid, and its ask is 3 once the flood is over. The venue's time runs ``speed`` times as fast
as the machine's, and is 42 s past a minute when the first client calls: a candle ends soon after the flood began.
"""

import argparse
import asyncio
import json
import time
from http import HTTPStatus
from itertools import count
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

MINUTE_MS = 60_000
STEP_S = 0.002


class Market:
    """The venue's time, and the numbers given so far."""

    def __init__(self, speed: float) -> None:
        self.speed, self.began = speed, 0.0
        self.t0_ms = time.time_ns() // 60_000_000_000 * 60_000 + 42_000
        self.quotes, self.trades = count(1), count(1)

    def now_ms(self) -> int:
        self.began = self.began or time.monotonic()
        return self.t0_ms + int((time.monotonic() - self.began) * 1000 * self.speed)

    def frame(self, channel: str, data: Any) -> dict[str, Any]:
        return {"ch": channel, "symbol": "BTCUSDT", "ts": self.now_ms(), "data": data}

    def quote(self, ask_size: int) -> dict[str, Any]:
        number = next(self.quotes)
        price = 43_000 + number % 7 / 10
        return self.frame(
            "depth_book1", {"b": [[f"{price:.1f}", f"{number}"]], "a": [[f"{price + 0.1:.1f}", ask_size]]}
        )

    def trade(self) -> dict[str, Any]:
        row = {"p": "43000.1", "v": str(next(self.trades)), "s": "buy", "t": "2026-01-01T00:00:00Z"}
        return self.frame("trade", [row])

    def push(self) -> dict[str, Any]:
        figures = {"o": "43000", "h": "43000.9", "l": "43000", "c": "43000.1", "q": "8600.1"}
        return self.frame("market_kline_1min", {**figures, "b": f"{self.now_ms() % MINUTE_MS / 1000:.3f}"})

    def answer(self, path: str) -> Any:
        if "trading_pairs" in path:
            steps = {"minTradeVolume": "0.0001", "basePrecision": 4, "quotePrecision": 1, "symbolStatus": "OPEN"}
            return [{"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", **steps}]
        if "kline" in path:
            newest = self.now_ms() // MINUTE_MS * MINUTE_MS
            prices = {"open": "43000", "high": "43000.9", "low": "43000", "close": "43000.1"}
            volumes = {"quoteVol": "2580000", "baseVol": "60"}
            return [{**prices, **volumes, "time": newest - n * MINUTE_MS} for n in range(200)]
        return [{"symbol": "BTCUSDT", "markPrice": "43000", "fundingRate": "0.0005", "fundingInterval": 8}]


async def flood(socket: ServerConnection, market: Market, rate: float, seconds: float) -> None:
    """Write what is due past the library's work for each frame, which would be the slower one."""
    began, sent = time.monotonic(), 0
    while (age := time.monotonic() - began) < seconds:
        due = int(age * rate) - sent
        messages = [market.trade() if n % 10 == 9 else market.quote(2) for n in range(sent, sent + due)]
        sent += due
        texts = [json.dumps(one).encode() for one in messages]
        socket.transport.write(b"".join(Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts))
        await socket.drain()
        await asyncio.sleep(STEP_S)


async def talk(socket: ServerConnection, market: Market, rate: float, seconds: float) -> None:
    async def trickle(least_s: float, ask_size: int) -> None:
        until = time.monotonic() + least_s
        while time.monotonic() < until:
            await socket.send(json.dumps(market.quote(ask_size)))
            await asyncio.sleep(0.05)

    await trickle(2.0, 2)
    await flood(socket, market, rate, seconds)
    await trickle(3600.0, 3)


async def pushes(socket: ServerConnection, market: Market) -> None:
    while True:
        await socket.send(json.dumps(market.push()))
        await asyncio.sleep(0.5 / market.speed)


async def main(rate: float, seconds: float, speed: float) -> None:
    market = Market(speed)

    def http(connection: ServerConnection, request: Request) -> Response | None:
        if not request.path.startswith("/api/"):
            return None
        code = 1 if "position" in request.path else 0
        body = {"code": code, "msg": "none", "data": market.answer(request.path)}
        return connection.respond(HTTPStatus.OK, json.dumps(body))

    async def client(socket: ServerConnection) -> None:
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.send('{"op":"connect","data":{"result":true}}')
            async for text in socket:
                frame = json.loads(text)
                if frame["op"] == "ping":
                    await socket.send(json.dumps({"op": "ping", "pong": frame["ping"], "ping": frame["ping"]}))
                elif not tasks:
                    talking = talk(socket, market, rate, seconds)
                    tasks += [asyncio.create_task(one) for one in (talking, pushes(socket, market))]
        except ConnectionClosed:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async with serve(client, "127.0.0.1", 0, compression=None, process_request=http, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("rate", "seconds", "speed"):
        parser.add_argument(f"--{name}", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(main(given.rate, given.seconds, given.speed))
