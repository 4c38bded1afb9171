"""Connections of the REST client: kept while they are good, released where they may be lost.

The client is httpx's. It keeps no cookie, follows no redirect, inflates nothing and knows no proxy.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, NamedTuple

import anyio
from attrs import define, field
from lab.domain.time import SECOND_NS

from lab_bitunix.lean_httpx import httpx
from lab_bitunix.transport import BoundedTransport

CONNECT_S: Final = 5.0
BODY_LIMIT: Final = 2 * 1024 * 1024
"""Bytes of the longest body; the longest there is, the list of all pairs, has some 300,000."""
_PARTS_MOST: Final = 8_192
"""Parts that a body may come in: each costs time, however short it is."""
_KEPT_S: Final = 5.0
_HEADERS: Final = {
    # The venue has answered 403 to other user agents.
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # a few compressed bytes may become gigabytes
    "language": "en-US",
}
_CONNECTIONS_MOST: Final = 4
CALL_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)
"""What a call may fail with. The last is what Python makes of some host names."""


class Answer(NamedTuple):
    """An HTTP answer. ``headers`` have lower-case names; ``body`` is ``None`` where it was not read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


@define
class _Pool:
    client: httpx.AsyncClient
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
        async with self._lease() as client, client.stream("GET", path, params=params) as response:
            headers = response.headers
            return Answer(response.status_code, headers, None if encoding_of(headers) else await _read(response))

    async def aclose(self) -> None:
        """Close them."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.client.aclose()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[httpx.AsyncClient]:
        """Lend the client, and never again after a cancellation or when it is full: slots may be lost for ever then.

        Other failures leave it as good as it was.
        """
        pool = self._pool
        if pool is None:
            pool = self._pool = _Pool(self._new_client())
        pool.users += 1
        broken = True
        try:
            yield pool.client
            broken = False
        except httpx.PoolTimeout:
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
                    await pool.client.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        if self._ssl is None and self.base_url.startswith("https"):
            self._ssl = httpx.create_ssl_context(trust_env=False)
        return httpx.AsyncClient(
            base_url=self.base_url,
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none at all
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(self.timeout_s * self.pace, connect=CONNECT_S * self.pace),
            transport=BoundedTransport(tls=self._ssl, most=_CONNECTIONS_MOST, kept_s=_KEPT_S),
        )


async def _read(response: httpx.Response) -> bytes | None:
    body, parts = bytearray(), 0
    async for part in response.aiter_raw():
        body += part
        parts += 1
        if len(body) > BODY_LIMIT or parts > _PARTS_MOST:
            return None
    return bytes(body)


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
