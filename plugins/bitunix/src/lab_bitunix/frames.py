"""A WebSocket connection that hands each message on the moment its bytes are there, without a task between."""

from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

Take = Callable[[bytes, float], object]
"""Takes a message's bytes, and the loop's time at which they came."""
Pinged = Callable[[], object]
"""Hears that a ping waits for its answer."""

FRAME_LIMIT: Final = 256 * 1024
"""Bytes of the longest message; ``max_size`` of the connection, which is to be the same."""

_TEXT: Final = 0x81  # the first byte of a text message in one frame, without extensions
_MASKED: Final = 0x80
_LONG: Final = {126: 2, 127: 8}  # how many bytes hold the length, by the byte that stands in its place
_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_HEAD_END: Final = b"\r\n\r\n"
_PING: Final = 0x89
_PONG: Final = 0x8A
_BEATS_MOST: Final = 100
_BEATS_S: Final = 10.0
_PARTS_MOST: Final = 1_024


class FloodError(Exception):
    """The venue sends what costs time or memory and means nothing: no connection is to be kept with it."""


class Connect(connect):
    """Opens a connection to the address that was given, and to no other: a redirect is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the error itself: websockets would follow to any host, ten times."""
        return exc


class FrameConnection(ClientConnection):
    """A connection for one reader that never waits: it calls `hand_to`, not ``recv``.

    Messages of one short frame, as a venue sends them, are cut out of the bytes here, and so are pings and pongs: the
    newest ping is kept for whoever sends (`take_ping`), in time with all else that is sent. More than 100 of them in
    10 s, or more than 1,024 parts of a message, break the connection. All else goes to websockets, a
    whole frame at a time: handshake, fragments, the close. A frame that is masked or too long goes there as far
    as it has come, to break the connection. Nothing is kept but an unfinished frame, an unfinished message, and what
    one read brought before `hand_to` was called: until then reading is paused.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._take: Take = self._keep
        self._pinged: Pinged = _nobody
        self._ping: bytes | None = None
        self._beats = 0
        self._beats_since = 0.0
        self._early: list[bytes] = []
        self._parts: list[bytes] = []
        self._rest = b""
        self._head_end = b""
        self._shaken = False
        self._over = self.loop.create_future()

    def take_ping(self) -> bytes | None:
        """Return what the newest ping says, to be sent back, or ``None`` where none came since the last answer."""
        ping, self._ping = self._ping, None
        return ping

    async def hand_to(self, take: Take, pinged: Pinged | None = None) -> None:
        """Give every message to ``take``, those that came before first, until the connection has ended.

        ``pinged`` is called when a ping came and none waited for its answer. Raises ``ConnectionClosed``, `FloodError`,
        or what ``take`` raised. After either, and after a cancellation, ``take`` is not
        called any more.
        """
        try:
            now, early = self.loop.time(), self._early
            self._early, self._take = [], take
            self._pinged = pinged or _nobody
            if self._ping is not None:
                self._pinged()
            for message in early:
                take(message, now)
            if early and not self.transport.is_closing():
                self.transport.resume_reading()
            await self._over
            raise self.protocol.close_exc
        finally:
            self._take = _drop

    def _keep(self, message: bytes, now: float) -> None:
        if not self._early and not self.transport.is_closing():
            self.transport.pause_reading()
        self._early.append(message)

    # -- called by the transport and by websockets -------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the reader know."""
        super().connection_lost(exc)
        if not self._over.done():
            self._over.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Cut messages out of the bytes; see the class."""
        if not self._shaken:
            data = self._shake_hands(data)
            if not data:
                return
        if self._rest:
            data, self._rest = self._rest + data, b""
        try:
            self._cut(data)
        except Exception as error:  # the reader's: asyncio would log it and close
            self._take = _drop
            if not self._over.done():
                self._over.set_exception(error)
            if isinstance(error, FloodError):
                self.transport.abort()

    def process_event(self, event: Event) -> None:
        """Take what websockets found in the bytes it was given."""
        if not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
            return
        self._parts.append(bytes(event.data))
        if len(self._parts) > _PARTS_MOST:
            raise FloodError(f"a message in more than {_PARTS_MOST} parts")
        if event.fin:
            message, self._parts = b"".join(self._parts), []
            self._take(message, self.loop.time())

    # -- the bytes ---------------------------------------------------------------------------------------------------

    def _shake_hands(self, data: bytes) -> bytes:
        """Give websockets the bytes as far as the response's head goes, and return those after it."""
        seen = self._head_end
        place = (seen + data).find(_HEAD_END)
        if place < 0:
            self._head_end = (seen + data)[1 - len(_HEAD_END) :]
            super().data_received(data)
            return b""
        self._shaken = True
        end = place + len(_HEAD_END) - len(seen)
        super().data_received(data[:end])
        return data[end:]

    def _cut(self, data: bytes) -> None:
        """Hand on every whole frame, and keep the beginning of one that is not."""
        if self.protocol.state is not State.OPEN:
            super().data_received(data)
            return
        at, have, now, take = 0, len(data), self.loop.time(), self._take
        awaited = _TEXT if not self._parts else None
        while have - at >= 2:
            length, body = data[at + 1], at + 2
            if length == 126 and have - at >= 4:
                length, body = data[at + 2] << 8 | data[at + 3], at + 4
            elif length > 125:
                body = 0
            if data[at] == awaited and body:
                end = body + length
                if end > have:
                    break
                take(data[body:end], now)
            elif (data[at] == _PING or data[at] == _PONG) and length < 126:
                end = body + length
                if end > have:
                    break
                self._beat(data[at], data[body:end], now)
            else:
                end = self._pass_on(data, at)
                if not end:
                    break
                awaited = _TEXT if not self._parts else None
            at = end
        self._rest = data[at:]

    def _beat(self, kind: int, payload: bytes, now: float) -> None:
        """Keep the newest ping, and count: a pong answers nothing, as no ping of the protocol's is ever sent."""
        if now >= self._beats_since + _BEATS_S:
            self._beats, self._beats_since = 0, now
        self._beats += 1
        if self._beats > _BEATS_MOST:
            raise FloodError(f"more than {_BEATS_MOST} pings and pongs within {_BEATS_S:g} s")
        if kind == _PING:
            waits, self._ping = self._ping is not None, payload
            if not waits:
                self._pinged()

    def _pass_on(self, data: bytes, at: int) -> int:
        """Give websockets the frame that begins there; return where it ends, 0 where it is not whole yet."""
        if self.transport.is_closing():  # an answer to a ping could not be sent, and asyncio would say so each time
            return len(data)
        length, body = data[at + 1], at + 2
        if length in _LONG:
            body += _LONG[length]
            length = int.from_bytes(data[at + 2 : body], "big")
        if data[at + 1] & _MASKED or (length > FRAME_LIMIT and body <= len(data)):
            super().data_received(data[at:])  # which breaks the connection, whatever follows
            return len(data)
        end = body + length
        if end > len(data):
            return 0
        super().data_received(data[at:end])
        if self.protocol.state is State.OPEN:
            return end
        super().data_received(data[end:])
        return len(data)


def _drop(message: bytes, now: float) -> None:
    """Take a message that nobody waits for any more."""


def _nobody() -> None:
    """Hear of a ping that nobody answers yet."""
