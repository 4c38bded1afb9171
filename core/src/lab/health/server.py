"""A small HTTP server on loopback, in a thread of its own. What clients do costs the trading thread nothing.

Each connection is one request of at most 8 KiB and five seconds. Sixteen may be open; one more ends the oldest. At
most fifty a second are taken; the others wait in the system's queue.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.health.answers import answer, refusal
from lab.records.health import Health

HOST: Final = "127.0.0.1"
HEAD_MOST: Final = 8192
OPEN_MOST: Final = 16
_CONNECTION_S: Final = 5.0
_PACE_S: Final = 0.02
_PIECE: Final = 4096
_REST_MOST: Final = 65536
_AGAIN_S: Final = 0.5
_JOIN_S: Final = 1.0


class HealthServer:
    """Answers from ``read``, which is called in the server's thread. ``failed`` is given what goes wrong there."""

    def __init__(self, port: int, read: Callable[[], Health], failed: Callable[[BaseException], None]) -> None:
        """Take the port, 0 for a free one. Raises `RunError` where it can't be had."""
        self._read = read
        self._failed = failed
        self._listener = _listening(port)
        self.port: int = self._listener.getsockname()[1]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._open: dict[asyncio.Task[None], None] = {}
        self._thread = threading.Thread(target=self._run, name="lab health", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and give the port back. Connections that are open are cut."""
        self._closed = True
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        self._listener.close()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except asyncio.CancelledError:
            return
        except BaseException as error:
            self._failed(error)

    async def _serve(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        while not self._closed:
            await self._called()
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:  # who called has left
                continue
            except OSError:  # no descriptor is free, say
                await asyncio.sleep(_AGAIN_S)
                continue
            connection.setblocking(False)
            if len(self._open) >= OPEN_MOST:
                next(iter(self._open)).cancel()
            task = self._loop.create_task(self._take(connection))
            self._open[task] = None
            task.add_done_callback(partial(self._ended, connection))
            await asyncio.sleep(_PACE_S)

    async def _called(self) -> None:
        """Wait for a caller. The loop's own ``sock_accept`` loses the connection where it is cancelled just then."""
        called = asyncio.Event()
        _loop().add_reader(self._listener, called.set)
        try:
            await called.wait()
        finally:
            _loop().remove_reader(self._listener)

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        connection.close()
        del self._open[task]

    async def _take(self, connection: socket.socket) -> None:
        """Answer one request."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CONNECTION_S):
                response = await self._respond(connection)
                if response:
                    await _loop().sock_sendall(connection, response)
                    await self._let_go(connection)

    async def _respond(self, connection: socket.socket) -> bytes:
        """Read a request and return its response; an empty one where the client left before the end."""
        came, head, end = b"", b"", b""
        while not end and len(head) <= HEAD_MOST:
            piece = await _loop().sock_recv(connection, _PIECE)
            if not piece:
                return b""
            came += piece
            head, end, _ = came.partition(b"\r\n\r\n")
        if len(head) + len(end) > HEAD_MOST:
            return refusal(431, f"at most {HEAD_MOST} bytes")
        try:
            return answer(head, self.port, self._read)
        except Exception as error:
            self._failed(error)
            return refusal(500, "lab has a defect; standard error has the lines to report")

    async def _let_go(self, connection: socket.socket) -> None:
        """Read on for a moment: a socket that is closed with bytes unread takes its own answer back."""
        connection.shutdown(socket.SHUT_WR)
        left = _REST_MOST
        while left > 0 and (piece := await _loop().sock_recv(connection, _PIECE)):
            left -= len(piece)


@contextmanager
def serving(
    port: int, read: Callable[[], Health], *, say: Callable[[str], None], failed: Callable[[BaseException], None]
) -> Iterator[None]:
    """Serve as long as the block runs, and say where. Raises `RunError` where the port can't be had."""
    server = HealthServer(port, read, failed)
    try:
        server.start()
        say(f"health: http://{HOST}:{server.port}/health and /metrics")
        yield
    finally:
        server.close()


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _listening(port: int) -> socket.socket:
    try:
        listener = socket.create_server((HOST, port), backlog=64)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        text = f"--health-port {port}: {why}; choose another port, or 0 for any that is free"
        raise RunError(EndReason.CONFIG, text) from None
    listener.setblocking(False)
    return listener
