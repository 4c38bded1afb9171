"""What a feed needs of a venue: a connection, a dialect, and how to open one. A provider brings all three."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from lab.errors import ProviderUnavailable

ChannelKey = tuple[str, str]
"""A channel of market data: symbol and channel, both as the venue names them."""

HELLO: Final[ChannelKey] = ("", "hello")
"""What `Dialect.receive` returns for the frame with which a venue says that it takes subscriptions now."""

Take = Callable[[bytes, float], object]
"""Takes a frame's bytes, and the loop's time at which they came. What it raises is the provider's own error."""
Pinged = Callable[[], object]
"""Hears that a ping of the venue's waits for its answer."""


class Lost(ProviderUnavailable):
    """A connection is over: the message says how it ended, in words for the journal."""


class Refused(ProviderUnavailable):
    """A venue answered the request for a connection with an HTTP status other than that of a socket."""

    def __init__(self, status: int) -> None:
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        super().__init__(f"refused with HTTP {status}{redirect}")
        self.status = status


class Connection(Protocol):
    """An open socket, read by one task and written to by another.

    Whatever its methods raise means that it is lost: another one takes its place. `Lost` has the words to be told.
    """

    async def read(self, take: Take, pinged: Pinged) -> None:
        """Give every message to ``take`` in order, in the callback that brought it where the library can.

        ``pinged`` is called when a ping came, once until `answer_ping`; never where the library answers by itself.
        Ends, or raises, when the connection has ended, and raises whatever ``take`` raised.
        """

    async def send(self, text: str) -> None:
        """Send one text frame."""

    async def answer_ping(self) -> None:
        """Answer the newest ping, if one waits."""

    async def close(self) -> None:
        """Say farewell and close. It may take its time: the caller has a time-out."""

    def abort(self) -> None:
        """Close at once, also a connection that is closed. Never raises."""


@runtime_checkable
class Probed(Protocol):
    """What a `Connection` has besides, where its venue knows no ping frame: the ping of the socket's own protocol."""

    async def probe(self) -> None:
        """Send the socket's own ping, and return once it is answered."""


class Dialect(Protocol):
    """The language of a venue's frames."""

    def receive(self, frame: bytes, now: float, line: int) -> ChannelKey | None:
        """Decode and check a frame, hand on what it brings, and return its channel where it brought usable data.

        Returns `HELLO` for the greeting after which channels are asked for, ``None`` for what is of no channel and for
        what could not be used. ``now`` is the monotonic time, ``line`` the number of the connection. Called for every
        frame: it must not wait. What is malformed goes to the sink. `Lost` has the connection replaced; anything else
        that this raises ends the stream.
        """

    def subscribe_frame(self, channels: Sequence[ChannelKey]) -> str:
        """Return the one frame that asks for these channels; there is at least one."""

    def ping_frame(self) -> str | None:
        """Return the frame that the venue answers while it is there, or ``None`` where it knows no such frame.

        Then the socket's own ping is sent, by a connection that is `Probed`.
        """


Connect = Callable[[str], Awaitable[Connection]]
"""Opens a connection to a URL. Raises `Refused` for an HTTP status, `AuthenticationFailed` where nothing helps; all
else that it raises is one failed try. The caller has the time-out."""
