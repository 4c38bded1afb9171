"""A WebSocket connection that hands each message on the moment its bytes are there, without a task between."""

from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

Take = Callable[[bytes, float], object]
"""Takes a message's bytes, and the loop's time at which they came."""

FRAME_LIMIT: Final = 256 * 1024
"""Bytes of the longest message; ``max_size`` of the connection, which is to be the same."""

_TEXT: Final = 0x81  # the first byte of a text message in one frame, without extensions
_MASKED: Final = 0x80
_LONG: Final = {126: 2, 127: 8}  # how many bytes hold the length, by the byte that stands in its place
_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_HEAD_END: Final = b"\r\n\r\n"


class FrameConnection(ClientConnection):
    """A connection for one reader that never waits: it calls `hand_to`, not ``recv``.

    Messages of one short frame, as a venue sends them, are cut out of the bytes here. All else goes to websockets, a
    whole frame at a time: handshake, fragments, pings, the close. A frame that is masked or too long goes there as far
    as it has come, to break the connection. Nothing is kept but an unfinished frame, an unfinished message, and what
    one read brought before `hand_to` was called: until then reading is paused.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._take: Take = self._keep
        self._early: list[bytes] = []
        self._parts: list[bytes] = []
        self._rest = b""
        self._head_end = b""
        self._shaken = False
        self._over = self.loop.create_future()

    async def hand_to(self, take: Take) -> None:
        """Give every message to ``take``, those that came before first, until the connection has ended.

        Raises ``ConnectionClosed``, or what ``take`` raised. After either, and after a cancellation, ``take`` is not
        called any more.
        """
        try:
            now, early = self.loop.time(), self._early
            self._early, self._take = [], take
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

    def process_event(self, event: Event) -> None:
        """Take what websockets found in the bytes it was given."""
        if not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
            return
        self._parts.append(bytes(event.data))
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
            else:
                end = self._pass_on(data, at)
                if not end:
                    break
                awaited = _TEXT if not self._parts else None
            at = end
        self._rest = data[at:]

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
