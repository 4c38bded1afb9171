"""A feed over a socket: connects, subscribes, watches for silence and reconnects, for ever; renews a socket in time."""

from collections.abc import Callable, Sequence
from random import Random
from urllib.parse import urlsplit

import anyio
import anyio.abc
from attrs import define, field

from lab.domain.venue_clock import VenueClock
from lab.errors import AuthenticationFailed, describe_error
from lab.feed.candles import CandleAssembler
from lab.feed.chain import CandleChain, FetchCandles
from lab.feed.doubles import Doubles
from lab.feed.habits import Habits
from lab.feed.line import Line
from lab.feed.liveness import ChannelMonitor, Paces
from lab.feed.pacing import Backoff, CoolDown
from lab.feed.stamps import Stamps
from lab.feed.venue import ChannelKey, Connect, Dialect, Refused
from lab.ports import FeedState, Sink


@define(kw_only=True)
class SocketFeed:
    """One connection at a time, with the wanted and the optional channels subscribed on it, and the candles made of it.

    The feed is live once every ``wanted`` channel has sent data; ``optional`` ones may have nothing to say. Every
    state goes to ``sink``, ``contacted`` gets the host of each connection, and ``seed`` decides the waits. Opening and
    closing a connection may take so many real seconds, by ``pace`` (see `lab.ports.Runtime`); silence is judged by the
    clock the data has. The ``cool_down`` after HTTP 403 or 429 is best shared with the calls of the same venue.

    After some hours, see `Habits`, another connection opens beside the first and takes its place once all wanted
    channels spoke on it: before the venue ends the first, and without a gap. Until then both are read, and ``doubles``
    knows it: while ``now < doubles.until`` the dialect asks it what is new. ``clock`` is the venue's: the dialect asks
    ``stamps`` whether a frame's time is one of now.
    """

    url: str
    connect: Connect
    dialect: Dialect
    wanted: Sequence[ChannelKey]
    optional: Sequence[ChannelKey] = ()
    sink: Sink
    contacted: Callable[[str], None]
    seed: int
    habits: Habits = field(factory=Habits)
    cool_down: CoolDown = field(factory=CoolDown)
    doubles: Doubles = field(factory=Doubles)
    clock: VenueClock = field(factory=lambda: VenueClock(anyio.current_time))
    pace: float = 1.0
    state: FeedState = field(init=False, default=FeedState.DOWN)
    chains: dict[ChannelKey, CandleChain] = field(init=False, factory=dict)
    stamps: Stamps = field(init=False)
    backoff: Backoff = field(init=False)
    _renewals: Random = field(init=False)
    _paces: Paces = field(init=False)
    _line: Line | None = field(init=False, default=None)
    _opened: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.backoff = Backoff(Random(self.seed))
        self._renewals = Random(f"{self.seed}/renewals")
        self._paces = Paces(self.habits)
        self.stamps = Stamps(clock=self.clock, sink=self.sink, chains=self.chains, say=self.say)

    def assemble(self, channel: ChannelKey, assembler: CandleAssembler, *, rows: FetchCandles) -> CandleChain:
        """Make closed candles of a channel's pushes: the dialect gives those to `CandleChain.push`.

        ``rows`` fetches the venue's own candles, which confirm them. To be called before `run`.
        """
        chain = CandleChain(
            assembler=assembler, rows=rows, sink=self.sink, venue_ns=lambda: self.clock.newest_ns, say=self.say
        )
        self.chains[channel] = chain
        return chain

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
        return 3600.0 * self._renewals.uniform(*self.habits.renew_after_hours)

    async def run(self) -> None:
        """Keep a connection up, and its candles coming, until cancelled. Never gives up.

        The waits between tries grow to 36 s and stay there. Raises `AuthenticationFailed`, which retrying can't help.
        """
        async with anyio.create_task_group() as tasks:
            for chain in self.chains.values():
                tasks.start_soon(chain.run)
            await self._stay_connected()

    async def _stay_connected(self) -> None:
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
        open_s = self.habits.open_s
        try:
            with anyio.fail_after(open_s * self.pace):
                connection = await self.connect(self.url)
        except AuthenticationFailed:
            raise
        except Refused as error:
            return self._refused(error)
        except TimeoutError:
            return f"no connection within {open_s:g} s"
        except Exception as error:  # whatever the other side makes of it is one more failed try
            return f"can't connect: {describe_error(error)[:200].rstrip(': ')}"
        self.contacted(urlsplit(self.url).netloc)
        self._opened += 1
        return Line(
            number=self._opened,
            connection=connection,
            dialect=self.dialect,
            monitor=ChannelMonitor(self.wanted, anyio.current_time(), self._paces, self.optional),
            habits=self.habits,
            subscribing=self._subscribing,
            changed=self._changed,
            pace=self.pace,
        )

    def _refused(self, error: Refused) -> str:
        if error.status == 401:
            raise AuthenticationFailed(f"{urlsplit(self.url).netloc}: HTTP 401 for the socket") from error
        if error.status in {403, 429}:
            self.cool_down.begin(anyio.current_time(), f"HTTP {error.status} for the socket")
        return str(error)

    def _changed(self, line: Line, state: FeedState, detail: str) -> None:
        if line is self._line:
            self._enter(state, detail)

    def _subscribing(self, line: Line, channels: Sequence[ChannelKey]) -> None:
        """Note that what comes next of these channels is a snapshot: there was a gap, and it closes no candle."""
        if line is self._line:
            for channel in channels:
                if channel in self.chains:
                    self.chains[channel].assembler.subscribed()

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
            await anyio.sleep(self.habits.linger_s)
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
            wait_s = self.habits.renewal_retry_s
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
            within_s = self.habits.renewed_within_s
            with anyio.move_on_after(within_s):
                await _either(line.live, line.ended)
            live = line.live.is_set() and not line.ended.is_set()
            return line if live else line.reason or f"not all channels spoke within {within_s:g} s"
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
