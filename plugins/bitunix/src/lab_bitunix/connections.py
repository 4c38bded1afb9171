"""Connections of the REST client: kept while they are good, released where they may be lost.

They are httpcore's: it keeps no cookies, follows no redirect, inflates nothing and knows no proxy.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import anyio
import certifi
import httpcore
from attrs import define, field
from lab.domain.time import SECOND_NS

from lab_bitunix.bounded import BoundedNetwork, BoundedStream

CONNECT_S: Final = 5.0
BODY_LIMIT: Final = 2 * 1024 * 1024
"""Bytes of the longest body; the longest there is, the list of all pairs, has some 300,000."""
_PARTS_MOST: Final = 8_192
"""Parts that a body may come in: each costs time, however short it is."""
_KEPT_S: Final = 5.0
_HEADERS: Final[Mapping[bytes | str, bytes | str]] = {
    # The venue has answered 403 to other user agents.
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # a few compressed bytes may become gigabytes
    "language": "en-US",
}
CALL_ERRORS: Final = (
    httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol, OSError,
    UnicodeError,
)  # fmt: skip
"""What a call may fail with. The last is what Python makes of some host names."""


class Answer(NamedTuple):
    """An HTTP answer. ``headers`` have lower-case names; ``body`` is ``None`` where it was not read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


@define
class _Pool:
    connections: httpcore.AsyncConnectionPool
    users: int = 0
    retired: bool = False


@define(kw_only=True)
class Connections:
    """At most four connections to one host, made when they are needed, through no proxy."""

    base_url: str
    timeout_s: float
    pace: float = 1.0
    """As `lab.ports.Runtime.pace`: time-outs are real seconds."""
    _pool: _Pool | None = field(init=False, default=None)
    _ssl: ssl.SSLContext | None = field(init=False, default=None)

    async def fetch(self, path: str, params: Mapping[str, str]) -> Answer:
        """Make one call. A body that is compressed is not read at all, one over `BODY_LIMIT` not to its end.

        Raises one of `CALL_ERRORS`.
        """
        base = urlsplit(self.base_url)
        target = base.path.rstrip("/") + path + (f"?{urlencode(params)}" if params else "")
        url = httpcore.URL(
            scheme=base.scheme.encode(), host=_ascii(base.hostname or ""), port=base.port, target=target.encode()
        )
        limit_s = self.timeout_s * self.pace
        timeouts = {"connect": CONNECT_S * self.pace, "read": limit_s, "write": limit_s, "pool": limit_s}
        async with (
            self._lease() as pool,
            pool.stream("GET", url, headers=_HEADERS, extensions={"timeout": timeouts}) as response,
        ):
            stream = response.extensions["network_stream"]
            assert isinstance(stream, BoundedStream)
            stream.head_is_over()
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status, headers, None if encoding_of(headers) else await _read(response))

    async def aclose(self) -> None:
        """Close them."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.connections.aclose()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[httpcore.AsyncConnectionPool]:
        """Lend the pool, and never again after a cancellation or when it is full: its slots may be lost for ever then.

        Other failures leave it as good as it was.
        """
        pool = self._pool
        if pool is None:
            pool = self._pool = _Pool(self._new_pool())
        pool.users += 1
        broken = True
        try:
            yield pool.connections
            broken = False
        except httpcore.PoolTimeout:
            raise
        except CALL_ERRORS:
            broken = False
            raise
        finally:
            pool.users -= 1
            if broken:
                pool.retired = True
                if self._pool is pool:
                    self._pool = None
            if pool.retired and not pool.users:
                with anyio.move_on_after(self.pace, shield=True):
                    await pool.connections.aclose()

    def _new_pool(self) -> httpcore.AsyncConnectionPool:
        if self._ssl is None and self.base_url.startswith("https"):
            self._ssl = ssl.create_default_context(cafile=certifi.where())
        return httpcore.AsyncConnectionPool(
            ssl_context=self._ssl, max_connections=4, keepalive_expiry=_KEPT_S, network_backend=BoundedNetwork()
        )


async def _read(response: httpcore.Response) -> bytes | None:
    body, parts = bytearray(), 0
    async for part in response.aiter_stream():
        body += part
        parts += 1
        if len(body) > BODY_LIMIT or parts > _PARTS_MOST:
            return None
    return bytes(body)


def _ascii(host: str) -> bytes:
    return host.encode("ascii" if host.isascii() else "idna")


def encoding_of(headers: Mapping[str, str]) -> str:
    """Return how the body is encoded, or an empty text where it is not."""
    encoding = headers.get("content-encoding", "").strip()
    return "" if encoding.lower() == "identity" else encoding


def date_ns(headers: Mapping[str, str]) -> int | None:
    """Return the ``Date`` header in UTC nanoseconds (whole seconds), or ``None`` where there is no such date."""
    try:
        return int(parsedate_to_datetime(headers["date"]).timestamp()) * SECOND_NS
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
