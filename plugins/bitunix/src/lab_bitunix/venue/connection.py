"""One client's socket: the venue's limits and behaviour below the level of messages."""

import socket as sockets
import struct
from typing import Any, Final, Protocol

from attrs import define, field
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from lab_bitunix.venue.counters import FRAMES_PER_SECOND, Counters, Window

BUFFER_MOST: Final = 1 << 20
"""Bytes that may wait for a client; one that lets more pile up is dropped."""
POISON_S: Final = 1.5
"""A socket whose first frame is a protocol ping dies after this time."""

_LINGER_0: Final = struct.pack("ii", 1, 0)


def text_frame(payload: bytes) -> bytes:
    """Return the bytes of a text frame. A server's frames are not masked, so that one serves every client."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


class Surroundings(Protocol):
    """What a socket needs of its venue."""

    counters: Counters
    sockets: "dict[VenueSocket, None]"

    def blackholed(self) -> bool:
        """Say whether bytes vanish at this moment."""


class VenueSocket(ServerConnection):
    """A server connection that counts, refuses protocol pings as first frame, and writes frames built elsewhere."""

    def __init__(self, *args: Any, venue: Surroundings, **options: Any) -> None:
        super().__init__(*args, **options)
        self._venue = venue
        self._spoke = self._poisoned = False
        self._frames = Window()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._venue.sockets[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._venue.sockets.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.protocol.state is State.OPEN and not self._spoke and data:
            # What follows the handshake begins with the first frame's head: no client may speak before the answer.
            self._spoke = True
            if data[0] & 0x0F == Opcode.PING:
                self._poisoned = True
                self._venue.counters.frames_received += 1
                self.loop.call_later(POISON_S, self.cut, "protocol ping first")
        if not self._poisoned:
            super().data_received(data)

    def send_data(self) -> None:
        if self._venue.blackholed():
            self.protocol.data_to_send()  # taken and lost
        else:
            super().send_data()

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode is not Opcode.CLOSE:
            counters = self._venue.counters
            counters.frames_received += 1
            recent = self._frames.add(self.loop.time())
            counters.most_received_per_second = max(counters.most_received_per_second, recent)
            if recent > FRAMES_PER_SECOND:
                self.cut("too fast")
                return
        super().process_event(event)

    def push(self, frames: bytes, count: int = 1) -> None:
        """Write finished frames, or nothing once the socket is closing. A client too slow to read is dropped."""
        transport = self.transport
        if self.protocol.state is not State.OPEN or transport.is_closing():
            return
        transport.write(frames)
        self._venue.counters.frames_sent += count
        if transport.get_write_buffer_size() > BUFFER_MOST:
            self.cut("slow")

    def cut(self, reason: str, *, reset: bool = False) -> None:
        """End the connection without a close frame, which the client sees as 1006; with ``reset`` by a TCP reset."""
        if self.transport.is_closing():
            return
        if self.protocol.state is State.OPEN:  # not a request of REST, nor a socket whose handshake goes on
            self._venue.counters.closed[reason] += 1
        raw = self.transport.get_extra_info("socket")
        if reset and raw is not None:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _LINGER_0)
        self.transport.abort()


Key = tuple[str | None, str]
"""Symbol (upper case, ``None`` where a subscription names none) and channel."""


@define(eq=False)
class ClientSession:
    """The venue's state of one socket, dropped when the connection ends."""

    socket: VenueSocket
    opened_s: int
    """Venue time at which the socket opened, in whole seconds: part of each ping's answer."""
    wanted: dict[Key, None] = field(factory=dict)
    asked: int = 0
    """Subscriptions asked for so far."""
