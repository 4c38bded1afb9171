"""TCP and TLS for the REST client, where what a server sends before its answer is bounded.

An HTTP server may send any number of informational answers (100 Continue) first, and httpcore reads them all.
"""

import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore

HEAD_LIMIT: Final = 32 * 1024
"""Bytes that may come between a request and the end of its answer's head."""


class BoundedStream(httpcore.AsyncNetworkStream):
    """A connection that reads no more than `HEAD_LIMIT` bytes after each request, until `head_is_over` is called."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left: int | None = HEAD_LIMIT

    def head_is_over(self) -> None:
        """Note that the head of the answer has come: whoever reads the body bounds it."""
        self._left = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read. Raises ``httpcore.RemoteProtocolError`` where too much came before the answer."""
        if self._left is None:
            return await self._stream.read(max_bytes, timeout)
        if not self._left:
            raise httpcore.RemoteProtocolError(f"more than {HEAD_LIMIT} bytes came before an answer")
        data = await self._stream.read(min(max_bytes, self._left), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send a part of a request; an answer is awaited from now on."""
        self._left = HEAD_LIMIT
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection with TLS in it, bounded as this one is."""
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection itself says."""
        return self._stream.get_extra_info(info)


class BoundedNetwork(httpcore.AsyncNetworkBackend):
    """The network, with each connection a `BoundedStream`."""

    def __init__(self) -> None:
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host."""
        return BoundedStream(await self._network.connect_tcp(host, port, timeout, local_address, socket_options))
