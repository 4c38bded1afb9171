"""Answers one HTTP request: ``/health`` and ``/metrics``, to who calls this server by a name of loopback."""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from lab.health.metrics import CONTENT_TYPE, metrics_text
from lab.records.base import as_data
from lab.records.health import Health

_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_REQUEST: Final = re.compile(r"([!-~]{1,32}) ([!-~]+) HTTP/1\.[01]")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_TEXT: Final = "text/plain; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def answer(head: bytes, port: int, read: Callable[[], Health]) -> bytes:
    """Return the whole response to a request; ``head`` is all of it up to the empty line. Nothing of it is echoed."""
    lines = head.decode("latin-1").split("\r\n")
    request = _REQUEST.fullmatch(lines[0])
    fields = [_HEADER.fullmatch(line) for line in lines[1:] if line]
    if request is None or None in fields:
        return refusal(400, "this is no HTTP request")
    hosts = [field[2].lower() for field in fields if field is not None and field[1].lower() == "host"]
    if len(hosts) > 1:
        return refusal(400, "give one Host")
    if not hosts or hosts[0] not in _allowed(port):
        # A page in a browser that calls this address by a name of its own must learn nothing.
        return refusal(403, f"call this server as 127.0.0.1:{port} or localhost:{port}")
    if request[1] != "GET":
        return refusal(405, "GET only", "Allow: GET")
    path = request[2].partition("?")[0]
    if path == "/health":
        health = read()
        return response(200 if health.status == "trading" else 503, "application/json", _json(health))
    if path == "/metrics":
        return response(200, CONTENT_TYPE, metrics_text(read()).encode())
    return refusal(404, "/health and /metrics are here")


def refusal(status: int, text: str, *headers: str) -> bytes:
    """Return a response with one line of text."""
    return response(status, _TEXT, f"{text}\n".encode(), *headers)


def response(status: int, content_type: str, body: bytes, *headers: str) -> bytes:
    """Return a response, after which the connection is closed."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *headers,
    )
    return "\r\n".join((*head, "", "")).encode() + body


def _allowed(port: int) -> frozenset[str]:
    names = {f"{name}:{port}" for name in _NAMES}
    return frozenset(names | set(_NAMES) if port == 80 else names)


def _json(health: Health) -> bytes:
    return msgspec.json.format(msgspec.json.encode(as_data(health)), indent=2) + b"\n"
