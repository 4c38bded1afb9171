"""The socket client: connects, subscribes, watches for silence and reconnects, for ever; renews a socket in time."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.abc
from attrs import define, field
from lab.errors import AuthenticationFailed, describe_error
from lab.ports import FeedState, Sink
from websockets.exceptions import InvalidStatus

from lab_bitunix.doubles import Doubles
from lab_bitunix.frames import FRAME_LIMIT, Connect, FrameConnection
from lab_bitunix.line import Line, Receive
from lab_bitunix.liveness import ChannelKey, ChannelMonitor, Paces
from lab_bitunix.pacing import Backoff, CoolDown

OPEN_S: Final = 5.0
RENEWED_WITHIN_S: Final = 20.0
"""How long the second socket may take to bring all that is wanted, before it is given up and the first one kept."""
LINGER_S: Final = 3.0
"""How long the first socket is read after that: what it brings late, the second one may have missed."""
RENEWAL_RETRY_S: Final = 1800.0
_RENEWAL_HOURS: Final = (12.0, 20.0)


@define(kw_only=True)
class SocketClient:
    """One connection at a time, with the wanted and the optional channels subscribed on it.

    ``receive`` takes each decoded data frame; ``subscribing`` hears of the channels just before they are asked for,
    because their data had a gap. Opening and closing a connection may take so many real seconds, by ``pace`` (see
    `lab.ports.Runtime`); silence is judged by the clock the data has.

    After ``renew_hours``, drawn between 12 and 20 if it is 0, another connection opens beside the first and takes its
    place once all wanted channels spoke on it: before the venue ends the first, and without a gap. Until then both are
    read, and ``doubles`` knows it.
    """

    url: str
    wanted: Sequence[ChannelKey]
    optional: Sequence[ChannelKey] = ()
    sink: Sink
    contacted: Callable[[str], None]
    seed: int
    wall_ns: Callable[[], int]
    receive: Receive
    subscribing: Callable[[Sequence[ChannelKey]], None]
    cool_down: CoolDown = field(factory=CoolDown)
    doubles: Doubles = field(factory=Doubles)
    renew_hours: float = 0.0
    pace: float = 1.0
    state: FeedState = field(init=False, default=FeedState.DOWN)
    backoff: Backoff = field(init=False)
    _renewals: Random = field(init=False)
    _paces: Paces = field(init=False, factory=Paces)
    _line: Line | None = field(init=False, default=None)
    _opened: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.backoff = Backoff(Random(self.seed))
        self._renewals = Random(f"{self.seed}/renewals")

    def say(self, detail: str) -> None:
        """Report something about the feed that changes no state."""
        self.sink.feed(self.state, detail)

    def _enter(self, state: FeedState, detail: str) -> None:
        self.state = state
        now = anyio.current_time()
        if state is FeedState.LIVE:
            self.backoff.live(now)
        else:
            self.backoff.not_live(now)
        self.sink.feed(state, detail)

    def renewal_s(self) -> float:
        """Return how long the next connection is used before another one takes over."""
        return 3600.0 * (self.renew_hours or self._renewals.uniform(*_RENEWAL_HOURS))

    async def run(self) -> None:
        """Keep a connection up until cancelled. Never gives up: the waits grow to 36 s and stay there."""
        while True:
            left = self.cool_down.remaining(anyio.current_time())
            if left:
                self._enter(FeedState.DOWN, f"cooling down for {left:.0f} s after {self.cool_down.reason}")
                await anyio.sleep(left)
            self._enter(FeedState.CONNECTING, self.url)
            line = await self._open()
            reason = line if isinstance(line, str) else await self._use(line)
            wait_s = self.backoff.wait_s(anyio.current_time())
            self._enter(FeedState.DOWN, f"{reason}; next try in {wait_s:.1f} s")
            await anyio.sleep(wait_s)

    async def _open(self) -> Line | str:
        """Open a socket, or return why there is none."""
        try:
            socket = await Connect(
                self.url,
                create_connection=FrameConnection,
                compression=None,
                ping_interval=None,  # the venue drops a socket whose first frame is a protocol ping
                open_timeout=OPEN_S * self.pace,
                close_timeout=0.5 * self.pace,
                max_size=FRAME_LIMIT,
                proxy=None,
            )
        except InvalidStatus as error:
            return self._refused(error.response.status_code)
        except TimeoutError:
            return f"no connection within {OPEN_S:g} s"
        except Exception as error:  # whatever the other side makes of it is one more failed try
            return f"can't connect: {describe_error(error)[:200].rstrip(': ')}"
        assert isinstance(socket, FrameConnection)
        self.contacted(urlsplit(self.url).netloc)
        self._opened += 1
        return Line(
            number=self._opened,
            socket=socket,
            monitor=ChannelMonitor(self.wanted, anyio.current_time(), self._paces, self.optional),
            sink=self.sink,
            receive=self.receive,
            subscribing=self._subscribing,
            changed=self._changed,
            wall_ns=self.wall_ns,
            pace=self.pace,
        )

    def _refused(self, status: int) -> str:
        if status == 401:
            raise AuthenticationFailed(f"{urlsplit(self.url).netloc}: HTTP 401 for the socket, which needs no key")
        if status in {403, 429}:
            self.cool_down.begin(anyio.current_time(), f"HTTP {status} for the socket")
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        return f"refused with HTTP {status}{redirect}"

    def _changed(self, line: Line, state: FeedState, detail: str) -> None:
        if line is self._line:
            self._enter(state, detail)

    def _subscribing(self, line: Line, channels: Sequence[ChannelKey]) -> None:
        if line is self._line:
            self.subscribing(channels)

    async def _use(self, line: Line) -> str:
        """Use a connection up, and those that take its place in time; return why the last one ended."""
        self._line = line
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.run)
            while (successor := await self._successor(line, tasks)) is not None:
                tasks.start_soon(self._let_go, line)
                self._line = line = successor
                self._enter(FeedState.LIVE, f"moved to socket {line.number}, opened beside the one before as planned")
            tasks.cancel_scope.cancel()
        self._line = None
        return line.reason

    async def _let_go(self, line: Line) -> None:
        try:
            await anyio.sleep(LINGER_S)
        finally:
            self.doubles.end(anyio.current_time())
            line.end("renewed")

    async def _successor(self, line: Line, tasks: anyio.abc.TaskGroup) -> Line | None:
        """Return the connection that takes over, all its channels flowing, or ``None`` when ``line`` was lost."""
        wait_s = self.renewal_s()
        while True:
            with anyio.move_on_after(wait_s):
                await line.ended.wait()
                return None
            found: Line | str | None = None
            async with anyio.create_task_group() as watch:
                watch.start_soon(_cancel_after, line.ended, watch.cancel_scope)
                found = await self._open_beside(tasks)
                watch.cancel_scope.cancel()
            if isinstance(found, Line) or line.ended.is_set():
                return found if isinstance(found, Line) else None
            wait_s = RENEWAL_RETRY_S
            self.say(f"the socket is kept, a second one is tried again in {wait_s / 60:g} min: {found}")

    async def _open_beside(self, tasks: anyio.abc.TaskGroup) -> Line | str:
        """Return a second connection, live, or why there is none."""
        left = self.cool_down.remaining(anyio.current_time())
        if left:
            return f"cooling down for {left:.0f} s after {self.cool_down.reason}"
        self.doubles.begin()
        line: Line | str = "cancelled"
        live = False
        try:
            line = await self._open()
            if isinstance(line, str):
                return line
            tasks.start_soon(line.run)
            with anyio.move_on_after(RENEWED_WITHIN_S):
                await _either(line.live, line.ended)
            live = line.live.is_set() and not line.ended.is_set()
            return line if live else line.reason or f"not all channels spoke within {RENEWED_WITHIN_S:g} s"
        finally:
            if not live:
                self.doubles.end(anyio.current_time())
                if isinstance(line, Line):
                    line.end("not needed")


async def _cancel_after(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _either(first: anyio.Event, second: anyio.Event) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_after, second, tasks.cancel_scope)
        await first.wait()
        tasks.cancel_scope.cancel()
