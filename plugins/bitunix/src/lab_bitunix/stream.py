"""The socket client: connects, subscribes, reads, watches for silence and reconnects, for ever."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final
from urllib.parse import urlsplit

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field
from lab.errors import AuthenticationFailed, describe_error
from lab.ports import FeedState, Sink
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from lab_bitunix.frames import FRAME_LIMIT, Connect, FloodError, FrameConnection
from lab_bitunix.liveness import Action, ChannelKey, ChannelMonitor, Paces, Ping, Replace, Subscribe
from lab_bitunix.pacing import Backoff, CoolDown, Pacer
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
OPEN_S: Final = 5.0
_DATA: Final = (DepthFrame, KlineFrame, TradeFrame)
FRAME_EVERY_S: Final = 0.26
"""At most four frames in any second: the venue closes at more than five, and may block the address."""


@define(kw_only=True)
class SocketClient:
    """One connection at a time, with the wanted and the optional channels subscribed on it.

    ``receive`` takes each decoded data frame, its bytes and the monotonic time, and returns its channel when it could
    be used; ``subscribing`` hears of the channels just before they are asked for. Opening and closing a connection may
    take so many real seconds, by ``pace`` (see `lab.ports.Runtime`); silence is judged by the clock the data has.
    """

    url: str
    wanted: Sequence[ChannelKey]
    optional: Sequence[ChannelKey] = ()
    sink: Sink
    contacted: Callable[[str], None]
    seed: int
    wall_ns: Callable[[], int]
    receive: Callable[[DataFrame, bytes, float], ChannelKey | None]
    subscribing: Callable[[Sequence[ChannelKey]], None]
    cool_down: CoolDown = field(factory=CoolDown)
    pace: float = 1.0
    state: FeedState = field(init=False, default=FeedState.DOWN)
    backoff: Backoff = field(init=False)
    _reason: str = field(init=False, default="")
    _paces: Paces = field(init=False, factory=Paces)

    def __attrs_post_init__(self) -> None:
        self.backoff = Backoff(Random(self.seed))

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

    async def run(self) -> None:
        """Keep a connection up until cancelled. Never gives up: the waits grow to 36 s and stay there."""
        while True:
            left = self.cool_down.remaining(anyio.current_time())
            if left:
                self._enter(FeedState.DOWN, f"cooling down for {left:.0f} s after {self.cool_down.reason}")
                await anyio.sleep(left)
            self._enter(FeedState.CONNECTING, self.url)
            reason = await self._connection()
            wait_s = self.backoff.wait_s(anyio.current_time())
            self._enter(FeedState.DOWN, f"{reason}; next try in {wait_s:.1f} s")
            await anyio.sleep(wait_s)

    async def _connection(self) -> str:
        """Open a socket, use it up, and return why it ended."""
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
        try:
            self.contacted(urlsplit(self.url).netloc)
            return await self._use(socket)
        finally:
            with anyio.move_on_after(0.7 * self.pace, shield=True):
                await socket.close()
            socket.transport.abort()

    def _refused(self, status: int) -> str:
        if status == 401:
            raise AuthenticationFailed(f"{urlsplit(self.url).netloc}: HTTP 401 for the socket, which needs no key")
        if status in {403, 429}:
            self.cool_down.begin(anyio.current_time(), f"HTTP {status} for the socket")
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        return f"refused with HTTP {status}{redirect}"

    async def _use(self, socket: FrameConnection) -> str:
        monitor = ChannelMonitor(self.wanted, anyio.current_time(), self._paces, self.optional)
        self._reason = ""
        outgoing, queue = anyio.create_memory_object_stream[Outgoing](8)
        async with anyio.create_task_group() as tasks:
            with outgoing, queue:
                tasks.start_soon(self._read, socket, monitor, outgoing, tasks.cancel_scope)
                tasks.start_soon(self._write, socket, queue, tasks.cancel_scope)
                await self._keep_alive(monitor, outgoing, tasks.cancel_scope)
        return self._reason

    def _end(self, reason: str, scope: anyio.CancelScope) -> None:
        self._reason = self._reason or reason
        scope.cancel()

    async def _read(
        self,
        socket: FrameConnection,
        monitor: ChannelMonitor,
        outgoing: MemoryObjectSendStream[Outgoing],
        scope: anyio.CancelScope,
    ) -> None:
        """Decode, check, hand on: each frame reaches the sink in the callback that brought its bytes."""
        receive, malformed = self.receive, self.sink.malformed

        def take(frame: bytes, now: float) -> None:
            monitor.frame(now)
            message = decode_frame(frame)
            if isinstance(message, _DATA):
                channel = receive(message, frame, now)
                if channel is not None:
                    monitor.data(channel, now)
            elif isinstance(message, Control):
                self._control(message, frame, monitor, outgoing, now, scope)
            elif isinstance(message, Malformed):
                malformed(message.reason, frame[:SAMPLE_BYTES])
            else:
                assert isinstance(message, Other)  # a channel nobody asked for: not ours to judge
            if monitor.changes:
                self._tell(monitor)

        try:
            await socket.hand_to(take, lambda: self._send(None, outgoing, scope))
        except ConnectionClosed as error:
            received = error.rcvd
            how = f"code {received.code} {received.reason}".rstrip() if received else "no close frame (1006)"
            self._end(f"connection closed: {how}", scope)
        except FloodError as error:
            self._end(f"given up: {error}", scope)
        except WebSocketException as error:
            self._end(f"connection broken: {error}", scope)

    def _control(
        self,
        message: Control,
        frame: bytes,
        monitor: ChannelMonitor,
        outgoing: MemoryObjectSendStream[Outgoing],
        now: float,
        scope: anyio.CancelScope,
    ) -> None:
        refused = refusal(message)
        if refused is not None:
            self.sink.malformed(refused, frame[:SAMPLE_BYTES])  # counted and sampled, however many come
        elif message.op == "connect":
            self._do(monitor.hello(now), outgoing, scope)

    async def _write(
        self, socket: FrameConnection, queue: MemoryObjectReceiveStream[Outgoing], scope: anyio.CancelScope
    ) -> None:
        pacer = Pacer(FRAME_EVERY_S)
        try:
            async for text in queue:
                await pacer.wait()
                if text is not None:
                    await socket.send(text)
                elif (ping := socket.take_ping()) is not None:
                    await socket.pong(ping)
        except ConnectionClosed:
            self._end("connection closed while sending", scope)

    async def _keep_alive(
        self, monitor: ChannelMonitor, outgoing: MemoryObjectSendStream[Outgoing], scope: anyio.CancelScope
    ) -> None:
        """Notice silence, outside the reader, by deadlines: sleeping until the next one could pass."""
        while True:
            self._do(monitor.due(anyio.current_time()), outgoing, scope)
            self._tell(monitor)
            await anyio.sleep_until(monitor.next_due())

    def _do(
        self, actions: Sequence[Action], outgoing: MemoryObjectSendStream[Outgoing], scope: anyio.CancelScope
    ) -> None:
        for action in actions:
            if isinstance(action, Subscribe):
                self.subscribing(action.channels)
                self._send(subscribe_frame(action.channels), outgoing, scope)
            elif isinstance(action, Ping):
                self._send(ping_frame(self.wall_ns() // 10**9), outgoing, scope)
            elif isinstance(action, Replace):
                self._end(action.reason, scope)

    def _send(self, frame: Outgoing, outgoing: MemoryObjectSendStream[Outgoing], scope: anyio.CancelScope) -> None:
        try:
            outgoing.send_nowait(frame)
        except anyio.WouldBlock:
            self._end("nothing can be sent", scope)

    def _tell(self, monitor: ChannelMonitor) -> None:
        changes, monitor.changes = monitor.changes, []
        for state, detail in changes:
            self._enter(state, detail)
