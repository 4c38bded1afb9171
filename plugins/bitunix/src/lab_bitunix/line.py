"""One connection in use: read, written to and watched for silence, from its opening to its end."""

from collections.abc import Callable, Sequence
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field
from lab.ports import FeedState, Sink
from websockets.exceptions import ConnectionClosed, WebSocketException

from lab_bitunix.frames import FloodError, FrameConnection
from lab_bitunix.liveness import Action, ChannelKey, ChannelMonitor, Ping, Replace, Subscribe
from lab_bitunix.pacing import Pacer
from lab_bitunix.wire import (
    SAMPLE_BYTES,
    Control,
    DataFrame,
    DepthFrame,
    KlineFrame,
    Malformed,
    Other,
    TradeFrame,
    decode_frame,
    ping_frame,
    refusal,
    subscribe_frame,
)

Outgoing = str | None
"""A frame to be sent, or ``None`` for the answer to the newest ping of the venue's."""
Receive = Callable[[DataFrame, bytes, float, int], ChannelKey | None]
"""Takes a decoded data frame, its bytes, the monotonic time and the number of the connection that brought it; returns
its channel when it could be used."""
_DATA: Final = (DepthFrame, KlineFrame, TradeFrame)
FRAME_EVERY_S: Final = 0.26
"""At most four frames in any second: the venue closes at more than five, and may block the address."""


@define(kw_only=True, eq=False)
class Line:
    """A connection with its channels, and the tasks that serve it.

    ``changed`` hears of each state the connection enters, ``subscribing`` of the channels just before they are asked
    for. ``live`` is set once all wanted channels spoke, ``ended`` when the connection is over, and ``reason`` says why.
    """

    number: int
    socket: FrameConnection
    monitor: ChannelMonitor
    sink: Sink
    receive: Receive
    subscribing: Callable[["Line", Sequence[ChannelKey]], None]
    changed: Callable[["Line", FeedState, str], None]
    wall_ns: Callable[[], int]
    pace: float = 1.0
    reason: str = field(init=False, default="")
    live: anyio.Event = field(init=False, factory=anyio.Event)
    ended: anyio.Event = field(init=False, factory=anyio.Event)
    _scope: anyio.CancelScope = field(init=False, factory=anyio.CancelScope)
    _outgoing: MemoryObjectSendStream[Outgoing] = field(init=False)
    _queue: MemoryObjectReceiveStream[Outgoing] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._outgoing, self._queue = anyio.create_memory_object_stream[Outgoing](8)

    async def run(self) -> None:
        """Use the connection until it is lost, or until `end`; then close it."""
        try:
            with self._scope, self._outgoing, self._queue:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._read)
                    tasks.start_soon(self._write)
                    await self._keep_alive()
        finally:
            self.ended.set()
            with anyio.move_on_after(0.7 * self.pace, shield=True):
                await self.socket.close()
            self.socket.transport.abort()

    def end(self, reason: str) -> None:
        """Give the connection up. The first reason counts."""
        self.reason = self.reason or reason
        self._scope.cancel()

    async def _read(self) -> None:
        """Decode, check, hand on: each frame reaches the sink in the callback that brought its bytes."""
        receive, malformed, monitor, number = self.receive, self.sink.malformed, self.monitor, self.number

        def take(frame: bytes, now: float) -> None:
            monitor.frame(now)
            message = decode_frame(frame)
            if isinstance(message, _DATA):
                channel = receive(message, frame, now, number)
                if channel is not None:
                    monitor.data(channel, now)
            elif isinstance(message, Control):
                self._control(message, frame, now)
            elif isinstance(message, Malformed):
                malformed(message.reason, frame[:SAMPLE_BYTES])
            else:
                assert isinstance(message, Other)  # a channel nobody asked for: not ours to judge
            if monitor.changes:
                self._tell()

        try:
            await self.socket.hand_to(take, lambda: self._send(None))
        except ConnectionClosed as error:
            received = error.rcvd
            how = f"code {received.code} {received.reason}".rstrip() if received else "no close frame (1006)"
            self.end(f"connection closed: {how}")
        except FloodError as error:
            self.end(f"given up: {error}")
        except WebSocketException as error:
            self.end(f"connection broken: {error}")

    def _control(self, message: Control, frame: bytes, now: float) -> None:
        refused = refusal(message)
        if refused is not None:
            self.sink.malformed(refused, frame[:SAMPLE_BYTES])  # counted and sampled, however many come
        elif message.op == "connect":
            self._do(self.monitor.hello(now))

    async def _write(self) -> None:
        pacer = Pacer(FRAME_EVERY_S)
        try:
            async for text in self._queue:
                await pacer.wait()
                if text is not None:
                    await self.socket.send(text)
                elif (ping := self.socket.take_ping()) is not None:
                    await self.socket.pong(ping)
        except ConnectionClosed:
            self.end("connection closed while sending")

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
                self._send(subscribe_frame(action.channels))
            elif isinstance(action, Ping):
                self._send(ping_frame(self.wall_ns() // 10**9))
            elif isinstance(action, Replace):
                self.end(action.reason)

    def _send(self, frame: Outgoing) -> None:
        try:
            self._outgoing.send_nowait(frame)
        except anyio.WouldBlock:
            self.end("nothing can be sent")

    def _tell(self) -> None:
        changes, self.monitor.changes = self.monitor.changes, []
        for state, detail in changes:
            if state is FeedState.LIVE:
                self.live.set()
            self.changed(self, state, detail)
