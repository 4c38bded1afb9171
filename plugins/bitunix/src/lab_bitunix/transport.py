"""What httpx sends the REST calls through: connections on which an answer is bounded before it is read."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import httpcore

from lab_bitunix.bounded import BoundedNetwork, BoundedStream
from lab_bitunix.lean_httpx import httpx

ERRORS: Final = (
    httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol
)  # fmt: skip
_LEFT_OUT: Final = frozenset({b"location", b"set-cookie", b"set-cookie2"})
"""Headers that httpx reads, and fails over, although it is to follow no redirect and to keep no cookie."""


class BoundedTransport(httpx.AsyncBaseTransport):
    """A pool of connections through no proxy, each a `BoundedStream`: httpx's own takes no network of ours.

    The client hears of no redirect's address and of no cookie. Raises httpx's errors, and ``OSError`` and
    ``UnicodeError`` as the name's resolution does.
    """

    def __init__(self, *, tls: ssl.SSLContext | None, most: int, kept_s: float) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, max_connections=most, keepalive_expiry=kept_s, network_backend=BoundedNetwork()
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer, its body unread."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _httpx_errors():
            answer = await self._pool.handle_async_request(sent)
        connection = answer.extensions["network_stream"]
        assert isinstance(connection, BoundedStream)
        connection.head_is_over()
        headers = [(name, value) for name, value in answer.headers if name.lower() not in _LEFT_OUT]
        return httpx.Response(answer.status, headers=headers, stream=_Body(answer), extensions=answer.extensions)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise httpx's error in place of httpcore's: the names are the same."""
    try:
        yield
    except ERRORS as error:
        raise getattr(httpx, type(error).__name__)(_text_of(error)) from error


def _text_of(error: BaseException) -> str:
    """Return what an error, or the first of its causes that says anything, says; a stream that ended says nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return "the other side closed the connection"
