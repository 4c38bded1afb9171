"""Connections of the REST client: kept while they are good, released where they may be lost."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Final

import anyio
from attrs import define, field
from lab.domain.time import SECOND_NS

from lab_bitunix.lean_httpx import httpx

CONNECT_S: Final = 5.0
BODY_LIMIT: Final = 8 * 1024 * 1024
_HEADERS: Final = {
    # The venue has answered 403 to other user agents.
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json",
    "language": "en-US",
}


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
    _ssl: object = field(init=False, default=None)

    async def fetch(self, path: str, params: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes | None]:
        """Return status, headers and body; ``None`` for a body over the limit, which is not read to its end.

        Raises what httpx raises, and ``OSError``.
        """
        body = bytearray()
        async with self._lease() as client, client.stream("GET", path, params=params) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > BODY_LIMIT:
                    return response.status_code, response.headers, None
        return response.status_code, response.headers, bytes(body)

    async def aclose(self) -> None:
        """Close them."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.client.aclose()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[httpx.AsyncClient]:
        """Lend the client, and never again after a cancellation or a full pool: its slots may be lost for ever then."""
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
        except (httpx.HTTPError, OSError):
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
            trust_env=False,
            verify=self._ssl or False,  # type: ignore[arg-type]
            limits=httpx.Limits(max_connections=4),
            timeout=httpx.Timeout(self.timeout_s * self.pace, connect=CONNECT_S * self.pace),
        )


def date_ns(headers: httpx.Headers) -> int | None:
    """Return the ``Date`` header in UTC nanoseconds (whole seconds), or ``None`` where there is no such date."""
    try:
        return int(parsedate_to_datetime(headers["date"]).timestamp()) * SECOND_NS
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
