"""The HTTP side: REST answers and refused handshakes, with the faults that strike on the way."""

from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from random import Random
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import anyio
from attrs import define, field
from lab.domain.time import SECOND_NS
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from lab_bitunix.venue.connection import VenueSocket
from lab_bitunix.venue.counters import REST_PER_SECOND, Counters
from lab_bitunix.venue.rest import Rest
from lab_bitunix.venue.text import to_json
from lab_bitunix.venue.world import World

SOCKET_PATHS: Final = ("/public/", "/public")
CHALLENGE: Final = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking</body></html>"
_SORRY: Final = b"<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"


@define(eq=False)
class Gateway:
    """Answers HTTP requests; ``None`` from `handle` lets a socket's handshake go on.

    ``pause`` waits until its time is over or the venue stops.
    """

    world: World
    counters: Counters
    now_ns: Callable[[], int]
    pause: Callable[[float], Awaitable[None]]
    rest: Rest = field(init=False)
    _random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rest = Rest(self.world)
        self._random = Random(f"{self.world.seed}/gateway")

    async def handle(self, socket: VenueSocket, request: Request) -> Response | None:
        """Answer a request, or let the handshake go on."""
        await self._blackhole()
        if "websocket" in request.headers.get("Upgrade", "").lower():
            return await self._handshake(socket, request.path)
        self.counters.rest_calls += 1
        url = urlsplit(request.path)
        self.counters.rest_by_path[url.path] += 1
        too_fast = self.counters.rest_per_second.add(anyio.current_time()) > REST_PER_SECOND
        await self.pause(self.world.faults.value("slow", self.world.elapsed_s(self.now_ns()), 0.0))
        return await self._rest(socket, url.path, dict(parse_qsl(url.query)), too_fast)

    async def _blackhole(self) -> None:
        at_s = self.world.elapsed_s(self.now_ns())
        hole = self.world.faults.active("blackhole", at_s)
        if hole is not None:
            self.counters.faults["blackhole"] += 1
            await self.pause(hole.end_s - at_s + 0.01)  # timers may fire a hair early

    async def _handshake(self, socket: VenueSocket, path: str) -> Response | None:
        self.counters.connects_per_minute.add(anyio.current_time())
        at_s, faults = self.world.elapsed_s(self.now_ns()), self.world.faults
        status, share = faults.value("connect", at_s, (0, 0.0))
        if status and self._random.random() < share:
            self.counters.faults["connect"] += 1
            return self._page(status)
        if faults.strikes("handshake", at_s, self._random):
            self.counters.faults["handshake"] += 1
            return await self._break(socket, self._response(101, b"")[:40])
        return None if urlsplit(path).path in SOCKET_PATHS else self._page(404)

    async def _rest(self, socket: VenueSocket, path: str, params: dict[str, str], too_fast: bool) -> Response:
        now_ns = self.now_ns()
        at_s, faults, random = self.world.elapsed_s(now_ns), self.world.faults, self._random
        status, share = faults.value("rest", at_s, (0, 0.0))
        if status and random.random() < share:
            self.counters.faults["rest"] += 1
            return self._page(status)
        if faults.strikes("html", at_s, random):
            self.counters.faults["html"] += 1
            return self._made(200, CHALLENGE, "text/html; charset=UTF-8")
        answer = (
            self.rest.error(10006, "request too frequently", now_ns)
            if too_fast
            else self.rest.answer(path, params, now_ns)
        )
        body = to_json(answer)
        if faults.strikes("truncated", at_s, random):
            self.counters.faults["truncated"] += 1
            body = body[: len(body) * 2 // 3]
        if faults.strikes("cut", at_s, random):
            self.counters.faults["cut"] += 1
            whole = self._response(200, body)
            return await self._break(socket, whole[: len(whole) - len(body) // 2 - 1])
        return self._made(200, body)

    async def _break(self, socket: VenueSocket, sent: bytes) -> Response:
        """Send a part of an answer, then reset the connection. What is returned is not sent any more."""
        socket.transport.write(sent)
        await self.pause(0.01)
        socket.cut("reset", reset=True)
        await socket.wait_closed()
        return self._made(200, b"")

    def _page(self, status: int) -> Response:
        if status == 403:
            response = self._made(status, CHALLENGE, "text/html; charset=UTF-8")
            response.headers["cf-mitigated"] = "challenge"
            return response
        if status == 429:
            return self._made(status, b"", "text/plain")
        return self._made(status, _SORRY, "text/html")

    def _response(self, status: int, body: bytes) -> bytes:
        return self._made(status, body).serialize()

    def _made(self, status: int, body: bytes, kind: str = "application/json") -> Response:
        known = status in HTTPStatus.__members__.values()
        headers = Headers(
            [
                ("Date", self.date()),
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
                ("cf-cache-status", "DYNAMIC"),
            ]
        )
        return Response(status, HTTPStatus(status).phrase if known else "Unknown Error", headers, body)

    def date(self) -> str:
        """Return the venue's time for the HTTP header ``Date``."""
        return formatdate(self.now_ns() // SECOND_NS, usegmt=True)

    def stamp(self, _socket: object, _request: Request, response: Response) -> None:
        """Put the venue's time into an answer that the library made."""
        del response.headers["Date"]
        response.headers["Date"] = self.date()
