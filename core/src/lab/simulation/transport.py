"""The two ends of a TCP connection in memory, as asyncio's protocols see them.

Modelled on what asyncio's selector transports do over Linux sockets: bytes keep their order; a sender is paused once
the receiver's window is full; ``close`` sends what is left and then FIN; data sent to an end that is gone is answered
with RST; bytes under a black hole are not lost but late, because TCP sends them again.
"""

import asyncio
import errno
from collections import deque
from typing import Any, Protocol

from lab.simulation.link import End, Link, Network, SimSocket, SimulationUnsupported

MAX_READ = 256 * 1024
"""Most bytes one ``data_received`` gets: asyncio's own limit of one ``recv``."""


class ConnectedNetwork(Network, Protocol):
    """A network that knows its connections."""

    def forget(self, end: "SimTransport") -> None: ...


class Acceptor(Protocol):
    """The server that accepted a connection."""

    def detach(self, transport: "SimTransport") -> None: ...


class SimTransport(asyncio.Transport):
    """One end of a connection in memory."""

    def __init__(
        self, net: ConnectedNetwork, number: int, link: Link, sock: SimSocket, server: Acceptor | None = None
    ) -> None:
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "peername": sock.getpeername()})
        sock.transport = self
        self.number = number
        self.link = link
        self.peer: SimTransport
        self.lost = False
        self._net = net
        self._server = server
        self._protocol = asyncio.Protocol()
        self._inbox: deque[bytes | End] = deque()
        self._reading = True
        self._wrote = self._eof = self._closing = self._losing = self._rst = False
        self._outstanding = 0
        self._write_paused = False
        self._low, self._high = 16 * 1024, 64 * 1024

    def open(self, protocol: asyncio.BaseProtocol) -> None:
        """Take the protocol and call its ``connection_made``."""
        self.set_protocol(protocol)
        protocol.connection_made(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, asyncio.Protocol):
            raise SimulationUnsupported(f"{type(protocol).__name__} in virtual time: only asyncio.Protocol is served")
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # Reading

    @property
    def readable(self) -> bool:
        """True while bytes or an end wait to be read."""
        return bool(self._inbox)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._inbox:
            self._net.loop.call_soon(self._drain)

    def arrived(self, item: bytes | End) -> None:
        """Take what the network brings."""
        if item is End.RST:
            self.reset()
        elif self._closing:
            if isinstance(item, bytes):
                self._refuse(item)
        else:
            self._inbox.append(item)
            self._drain()

    def _refuse(self, data: bytes) -> None:
        """Discard what came after the own close; a socket that is gone answers with RST."""
        self._net.loop.call_soon(self.peer.taken, len(data))
        if self.lost and not self._rst:
            self._rst = True
            self.link.send(End.RST)

    def _drain(self) -> None:
        while self._inbox and self.is_reading():
            if self._inbox[0] is End.FIN:
                self._inbox.clear()
                self._guarded(self._end_of_file)
                return
            data = self._take()
            self._net.loop.call_soon(self.peer.taken, len(data))
            self._guarded(self._protocol.data_received, data)

    def _take(self) -> bytes:
        """Return all the bytes that wait, up to one read, as ``recv`` would."""
        pieces, size = [], 0
        while self._inbox and size < MAX_READ and isinstance(item := self._inbox[0], bytes):
            piece, rest = item[: MAX_READ - size], item[MAX_READ - size :]
            self._inbox.popleft()
            if rest:
                self._inbox.appendleft(rest)
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def _end_of_file(self) -> None:
        if not self._protocol.eof_received():
            self.close()

    def _guarded(self, call: Any, *args: Any) -> None:
        """Call into the protocol; as in asyncio, one that raises loses its connection, with a report."""
        try:
            call(*args)
        except Exception as error:
            context = {"message": f"protocol.{call.__name__}() failed", "exception": error, "transport": self}
            self._net.loop.call_exception_handler(context | {"protocol": self._protocol})
            self._force_close(error)

    # Writing

    def write(self, data: Any) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        chunk = bytes(data)
        if not self._wrote and self._server is None and chunk[:2] == b"\x16\x03":
            raise SimulationUnsupported("TLS in virtual time: use a plain http:// or ws:// URL")
        self._wrote = True
        self._outstanding += len(chunk)
        self.link.send(chunk)
        self._maybe_pause()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that are neither with the receiver nor fit into its window."""
        return max(0, self._outstanding - self._net.window)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        high = high if high is not None else 64 * 1024 if low is None else 4 * low
        low = low if low is not None else high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._low, self._high = low, high
        self._maybe_pause()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def _maybe_pause(self) -> None:
        if not self._write_paused and self.get_write_buffer_size() > self._high:
            self._write_paused = True
            self._protocol.pause_writing()

    def taken(self, count: int) -> None:
        """Learn that the peer took ``count`` bytes out of its window."""
        self._outstanding -= count
        if self._losing:
            return
        if self._closing and not self.get_write_buffer_size():
            self._lose_soon(None)
        elif self._write_paused and self.get_write_buffer_size() <= self._low:
            self._write_paused = False
            self._protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing and not self._eof:
            self._eof = True
            self.link.send(End.FIN)

    # Closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Send what is buffered, then end; ``connection_lost(None)`` follows once the buffer is empty."""
        if not self._closing:
            self._finish()
            if not self.get_write_buffer_size():
                self._lose_soon(None)

    def abort(self) -> None:
        """End at once."""
        self._force_close(None)

    def reset(self) -> None:
        """Lose the connection as by an RST: nothing under way arrives, the protocol gets ConnectionResetError."""
        self.link.clear()
        self._inbox.clear()
        self._closing = True
        self._lose_soon(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _finish(self) -> None:
        # Linux answers with RST instead of FIN when bytes were left unread at close.
        unread = any(isinstance(item, bytes) for item in self._inbox)
        self._closing = True
        self._inbox.clear()
        if unread or not self._eof:
            self.link.send(End.RST if unread else End.FIN)

    def _force_close(self, error: Exception | None) -> None:
        if not self._closing:
            self._finish()
        self._lose_soon(error)

    def _lose_soon(self, error: Exception | None) -> None:
        if not self._losing:
            self._losing = True
            self._net.loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        self.lost = True
        try:
            self._protocol.connection_lost(error)
        finally:
            self._net.forget(self)
            if self._server is not None:
                self._server.detach(self)
