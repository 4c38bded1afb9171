"""One connection in use: read, written to and watched for silence, from its opening to its end."""

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import anyio
import anyio.abc
from attrs import define, field

from lab.errors import describe_error
from lab.feed.habits import Habits
from lab.feed.liveness import Action, ChannelMonitor, Ping, Replace, Subscribe
from lab.feed.pacing import Pacer
from lab.feed.venue import HELLO, ChannelKey, Connection, Dialect, Lost, Probed
from lab.ports import FeedState

Send = Callable[[], Awaitable[object]]
_URGENT_MOST: Final = 8
"""How many pings and pongs may wait: more means that nothing goes out."""


@define(kw_only=True, eq=False)
class Line:
    """A connection with its channels, and the tasks that serve it.

    ``changed`` hears of each state the connection enters, ``subscribing`` of the channels just before they are asked
    for. ``live`` is set once all wanted channels spoke, ``ended`` when the connection is over, and ``reason`` says why.
    """

    number: int
    connection: Connection
    dialect: Dialect
    monitor: ChannelMonitor
    habits: Habits
    subscribing: Callable[["Line", Sequence[ChannelKey]], None]
    changed: Callable[["Line", FeedState, str], None]
    pace: float = 1.0
    reason: str = field(init=False, default="")
    live: anyio.Event = field(init=False, factory=anyio.Event)
    ended: anyio.Event = field(init=False, factory=anyio.Event)
    _scope: anyio.CancelScope = field(init=False, factory=anyio.CancelScope)
    _urgent: deque[Send] = field(init=False, factory=deque)
    _asking: deque[Send] = field(init=False, factory=deque)
    _asking_most: int = field(init=False)
    _more: anyio.Event = field(init=False, factory=anyio.Event)
    _tasks: anyio.abc.TaskGroup = field(init=False)

    def __attrs_post_init__(self) -> None:
        # All channels asked for twice.
        most = self.habits.channels_per_frame
        frames = 2 * (len(self.monitor.wanted) + len(self.monitor.optional)) // most if most else 0
        self._asking_most = 8 + frames

    async def run(self) -> None:
        """Use the connection until it is lost, or until `end`; then close it."""
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    self._tasks.start_soon(self._read)
                    self._tasks.start_soon(self._write)
                    await self._keep_alive()
        finally:
            self.ended.set()
            with anyio.move_on_after(0.7 * self.pace, shield=True), contextlib.suppress(Exception):
                await self.connection.close()
            self.connection.abort()

    def end(self, reason: str) -> None:
        """Give the connection up. The first reason counts."""
        self.reason = self.reason or reason
        self._scope.cancel()

    async def _read(self) -> None:
        """Hand each frame on in the callback that brought its bytes."""
        receive, monitor, number = self.dialect.receive, self.monitor, self.number
        lost, failed = "", False  # and no exception kept: it would keep all the frames it went through

        def take(frame: bytes, now: float) -> None:
            nonlocal lost, failed
            try:
                monitor.frame(now)
                channel = receive(frame, now, number)
                if channel is HELLO:
                    self._do(monitor.hello(now))
                elif channel is not None:
                    monitor.data(channel, now)
                if monitor.changes:
                    self._tell()
            except BaseException as error:
                failed = True
                lost = str(error) if isinstance(error, Lost) else ""
                raise

        try:
            await self.connection.read(take, lambda: self._send(self.connection.answer_ping, urgent=True))
        except Exception as error:
            if lost or isinstance(error, Lost):
                self.end(lost or str(error))
            elif not failed:  # whatever the library makes of it
                self.end(f"connection lost: {describe_error(error)[:200]}")
            else:  # the provider's mistake, or the sink's
                raise
        else:
            self.end("connection closed")

    async def _write(self) -> None:
        """Send what waits: pings and pongs before the frames that ask for channels, however many of those there are."""
        pacer = Pacer(self.habits.frame_every_s)
        try:
            while True:
                while not (self._urgent or self._asking):
                    self._more = anyio.Event()
                    await self._more.wait()
                await pacer.wait()
                await (self._urgent or self._asking).popleft()()
        except Exception as error:  # whatever the library makes of it
            self.end(str(error) if isinstance(error, Lost) else f"can't send: {describe_error(error)[:200]}")

    async def _keep_alive(self) -> None:
        """Notice silence, outside the reader, by deadlines: sleeping until the next one could pass."""
        while True:
            self._do(self.monitor.due(anyio.current_time()))
            self._tell()
            await anyio.sleep_until(self.monitor.next_due())

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Subscribe):
                self.subscribing(self, action.channels)
                self._send(partial(self.connection.send, self.dialect.subscribe_frame(action.channels)))
            elif isinstance(action, Ping):
                self._ping()
            elif isinstance(action, Replace):
                self.end(action.reason)

    def _ping(self) -> None:
        ping = self.dialect.ping_frame()
        if ping is not None:
            self._send(partial(self.connection.send, ping), urgent=True)
        elif isinstance(self.connection, Probed):
            self._send(partial(self._probe, self.connection.probe), urgent=True)

    async def _probe(self, probe: Send) -> None:
        """Send the socket's own ping, and let the answer come while other frames go out."""

        async def answered() -> None:
            try:
                await probe()
            except Exception:  # the reader learns of a connection that is lost
                return
            self.monitor.frame(anyio.current_time())
            self._tell()

        self._tasks.start_soon(answered)

    def _send(self, send: Send, *, urgent: bool = False) -> None:
        waiting, most = (self._urgent, _URGENT_MOST) if urgent else (self._asking, self._asking_most)
        if len(waiting) >= most:
            self.end("nothing can be sent")
            return
        waiting.append(send)
        self._more.set()

    def _tell(self) -> None:
        changes, self.monitor.changes = self.monitor.changes, []
        for state, detail in changes:
            if state is FeedState.LIVE:
                self.live.set()
            self.changed(self, state, detail)
