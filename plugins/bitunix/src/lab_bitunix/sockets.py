"""The venue's socket as `lab.feed` wants it: opened without ping, compression and proxy, its errors translated."""

from typing import Final
from urllib.parse import urlsplit

from attrs import frozen
from lab.errors import AuthenticationFailed
from lab.feed.habits import Habits
from lab.feed.venue import Lost, Pinged, Refused, Take
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from lab_bitunix.frames import FRAME_LIMIT, Connect, FloodError, FrameConnection

HABITS: Final = Habits()
"""The venue's are the ones assumed: it closes at more than five frames a second and may block the address, sends no
acknowledgement of a subscription, takes all channels in one frame, and pushes candles every 0.5 to 2 s."""


@frozen
class Socket:
    """An open socket of the venue."""

    connection: FrameConnection

    async def read(self, take: Take, pinged: Pinged) -> None:
        """Give every message to ``take`` in the callback that brought its bytes. Raises `Lost`."""
        try:
            await self.connection.hand_to(take, pinged)
        except ConnectionClosed as error:
            raise Lost(_how_it_ended(error)) from None
        except FloodError as error:
            raise Lost(f"given up: {error}") from None
        except WebSocketException as error:
            raise Lost(f"connection broken: {error}") from None

    async def send(self, text: str) -> None:
        """Send one text frame. Raises `Lost`."""
        try:
            await self.connection.send(text)
        except ConnectionClosed:
            raise Lost("connection closed while sending") from None

    async def answer_ping(self) -> None:
        """Answer the newest ping, if one waits. Raises `Lost`."""
        ping = self.connection.take_ping()
        try:
            if ping is not None:
                await self.connection.pong(ping)
        except ConnectionClosed:
            raise Lost("connection closed while sending") from None

    async def close(self) -> None:
        """Close with a close frame."""
        await self.connection.close()

    def abort(self) -> None:
        """Close at once."""
        self.connection.transport.abort()


async def open_socket(url: str, pace: float = 1.0) -> Socket:
    """Open a socket; ``pace`` as `lab.ports.Runtime.pace`. Raises as `lab.feed.venue.Connect` says."""
    try:
        connection = await Connect(
            url,
            create_connection=FrameConnection,
            compression=None,
            ping_interval=None,  # the venue drops a socket whose first frame is a protocol ping
            open_timeout=None,  # the feed has one
            close_timeout=0.5 * pace,
            max_size=FRAME_LIMIT,
            proxy=None,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        if status == 401:
            host = urlsplit(url).netloc
            raise AuthenticationFailed(f"{host}: HTTP 401 for the socket, which needs no key") from None
        raise Refused(status) from None
    assert isinstance(connection, FrameConnection)
    return Socket(connection)


def _how_it_ended(error: ConnectionClosed) -> str:
    if error.rcvd is not None:
        return f"connection closed: code {error.rcvd.code} {error.rcvd.reason}".rstrip()
    if error.sent is not None and error.sent.reason:  # what came broke the protocol, or one of our limits
        return f"given up: {error.sent.reason} (code {error.sent.code})"
    return "connection closed: no close frame (1006)"
