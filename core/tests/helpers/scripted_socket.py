"""A venue without a network: its connections speak as a test says, in virtual time."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import anyio
from attrs import define, field
from lab.feed.habits import Habits
from lab.feed.socket_feed import SocketFeed
from lab.feed.venue import HELLO, ChannelKey, Lost, Pinged, Take
from lab.testing import RecordingSink
from lab.testing.simulation import simulate

QUOTES = ("BTC", "quotes")
CANDLES = ("BTC", "candles")
TRADES = ("BTC", "trades")
STEP_S = 0.25


class Dialect:
    """A frame is ``SYMBOL CHANNEL``, ``hello``, ``pong``, or words that mean nothing."""

    def __init__(self, *, pings: bool = True) -> None:
        self.pings = pings
        self.got: list[tuple[float, str, int]] = []

    def receive(self, frame: bytes, now: float, line: int) -> ChannelKey | None:
        words = frame.decode()
        self.got.append((now, words, line))
        if words == "hello":
            return HELLO
        symbol, _, channel = words.partition(" ")
        return (symbol, channel) if channel else None

    def subscribe_frame(self, channels: Sequence[ChannelKey]) -> str:
        return "ask " + ", ".join(" ".join(channel) for channel in channels)

    def ping_frame(self) -> str | None:
        return "ping" if self.pings else None


@define(eq=False)
class Wire:
    """One connection of the venue."""

    venue: "Venue"
    number: int
    opened_at: float
    sent: list[tuple[float, str]] = field(factory=list)
    closed_at: float = -1.0
    aborted: bool = False
    _take: Take | None = field(init=False, default=None)
    _pinged: Pinged | None = field(init=False, default=None)
    _over: anyio.Event = field(init=False, factory=anyio.Event)
    _why: str = field(init=False, default="")
    waiting: bool = field(init=False, default=False)

    @property
    def age(self) -> float:
        return anyio.current_time() - self.opened_at

    def asked(self, channel: ChannelKey) -> int:
        """Return how often a channel was asked for."""
        return sum(" ".join(channel) in words for _, words in self.sent if words.startswith("ask "))

    def give(self, *frames: str) -> None:
        if self._take is not None:
            for words in frames:
                self._take(words.encode(), anyio.current_time())

    def ping(self) -> None:
        """Send a ping; the newest one is answered, and told once until it is."""
        waits, self.waiting = self.waiting, True
        if self._pinged is not None and not waits:
            self._pinged()

    def lose(self, why: str) -> None:
        self._why = why
        self._over.set()

    async def read(self, take: Take, pinged: Pinged) -> None:
        self._take, self._pinged = take, pinged
        try:
            if self.venue.greets:
                self.give("hello")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._speak)
                await self._over.wait()
                tasks.cancel_scope.cancel()
        finally:
            self._take = self._pinged = None
        if self._why:
            raise Lost(self._why)

    async def _speak(self) -> None:
        while True:
            self.give(*self.venue.speaks(self, self.age))
            await anyio.sleep(STEP_S)

    async def send(self, text: str) -> None:
        await self.venue.takes(self)
        self.sent.append((anyio.current_time(), text))
        if text == "ping" and self.venue.answers:
            self.give("pong")

    async def answer_ping(self) -> None:
        await self.venue.takes(self)
        self.waiting = False
        self.sent.append((anyio.current_time(), "pong"))

    async def close(self) -> None:
        self.closed_at = anyio.current_time()
        await anyio.sleep(self.venue.closing_s)

    def abort(self) -> None:
        self.aborted = True


async def _at_once(wire: Wire) -> None:
    """Take what is sent at once."""


def everything(wire: Wire, age: float) -> Iterable[str]:
    """Speak on every channel that was asked for."""
    return [" ".join(channel) for channel in (QUOTES, CANDLES, TRADES) if wire.asked(channel)]


@define(eq=False)
class Venue:
    """``speaks`` says what a connection sends, each quarter of a second of its age; ``opens`` what becomes of a try."""

    speaks: Callable[[Wire, float], Iterable[str]] = everything
    greets: bool = True
    answers: bool = True
    closing_s: float = 0.0
    opens: Callable[[int], Any] = lambda _try: None
    takes: Callable[[Wire], Any] = _at_once
    wire: type[Wire] = Wire
    tries: list[float] = field(factory=list)
    wires: list[Wire] = field(factory=list)

    async def connect(self, url: str) -> Wire:
        self.tries.append(anyio.current_time())
        outcome = self.opens(len(self.tries))
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome is not None:
            await anyio.sleep(outcome)
        self.wires.append(self.wire(self, len(self.wires) + 1, anyio.current_time()))
        return self.wires[-1]


def make(venue: Venue, sink: RecordingSink, **options: Any) -> SocketFeed:
    """Return a feed that wants quotes and candles of a venue, unless ``options`` say otherwise."""
    given: dict[str, Any] = {
        "url": "ws://venue.test/", "connect": venue.connect, "dialect": Dialect(), "wanted": [QUOTES, CANDLES],
        "sink": sink, "contacted": lambda _host: None, "seed": 7, "habits": Habits(),
    }  # fmt: skip
    return SocketFeed(**{**given, **options})


def follow(venue: Venue, seconds: float, during: Callable[[SocketFeed], Any] | None = None, **options: Any) -> Any:
    """Run a feed for so long and return its sink; ``during`` is a coroutine function that runs beside it."""

    async def main() -> RecordingSink:
        sink = RecordingSink()
        feed = make(venue, sink, **options)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.run)
            if during is not None:
                tasks.start_soon(during, feed)
            await anyio.sleep(seconds)
            tasks.cancel_scope.cancel()
        return sink

    return simulate(main, limit_s=10 * 86_400)


@define(eq=False)
class ProbedWire(Wire):
    """A connection whose library sends the socket's own ping; the venue answers as it answers its ping frame."""

    async def probe(self) -> None:
        await self.venue.takes(self)
        self.sent.append((anyio.current_time(), "probe"))
        await (anyio.sleep(0.05) if self.venue.answers else anyio.sleep_forever())
