"""What the rules of providers share: a session around one provider, what it streams and what it gives of the past."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Final, TypeVar

import anyio

from lab.domain.market import Candle, check_candle
from lab.domain.time import MINUTE_NS
from lab.ports import Channel, Provider, Realm, Runtime, Subscription
from lab.testing.builders import START_NS
from lab.testing.contracts.base import Contract
from lab.testing.contracts.listening import stream_for
from lab.testing.recording_sink import RecordingSink

Make = Callable[[], Provider]
T = TypeVar("T")

AHEAD_S: Final = 5.0
"""How far the end of a closed candle may lie ahead of the newest quote."""


class ProviderHarness(Contract):
    """The settings of `ProviderContract`, and what its rules do with a provider; each set of rules derives from it."""

    simulated: ClassVar[bool] = True
    symbol: ClassVar[str] = "BTCUSDT"
    other_symbol: ClassVar[str] = ""
    """A second symbol, of a provider that has several; empty where it has one."""
    unknown_symbol: ClassVar[str] = "NO-SUCH-COIN"
    interval_ns: ClassVar[int] = MINUTE_NS
    stream_s: ClassVar[float] = 200.0
    """How long a stream is listened to, in the session's seconds: at least two candles close in it."""

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function, in virtual or real time."""
        if not self.simulated:
            return anyio.run(main)
        from lab.testing.simulation import simulate

        return simulate(main, limit_s=10 * self.stream_s + 600.0)

    @asynccontextmanager
    async def started(self, provider: Provider, seed: int = 0) -> AsyncIterator[Provider]:
        """Start a provider as a session does, and stop it afterwards."""
        from lab.simulation.clocks import LoopClock

        async with anyio.create_task_group() as tasks:
            clock, speed = LoopClock(START_NS), "max" if self.simulated else 1.0
            await provider.start(Runtime(clock=clock, seed=seed, tasks=tasks, speed=speed))  # type: ignore[arg-type]
            try:
                yield provider
            finally:
                with anyio.CancelScope(shield=True):
                    await provider.stop()
                tasks.cancel_scope.cancel()

    def wanted(self, provider: Provider) -> Subscription:
        """Return a subscription to all the channels the provider has."""
        return Subscription(self.symbol, self.interval_ns, provider.channels())

    def listen(self, make: Make, *channels: Channel) -> RecordingSink:
        """Return what a fresh provider streams in ``stream_s``, of some channels or of all it has."""

        async def main() -> RecordingSink:
            sink = RecordingSink()
            async with self.started(make()) as provider:
                wanted = Subscription(self.symbol, self.interval_ns, frozenset(channels) or provider.channels())
                returned = await stream_for(self.stream_s, provider, [wanted], sink)
                real = provider.realm() is Realm.REAL
                assert not (returned and real), "stream() returned, but the data of a real venue has no end"
            return sink

        return self.run(main)

    def read(self, make: Make, count: int, end_ns: int | None = None) -> Sequence[Candle]:
        """Return a fresh provider's history."""

        async def main() -> Sequence[Candle]:
            async with self.started(make()) as provider:
                return await provider.history(self.symbol, self.interval_ns, end_ns=end_ns, count=count)

        return self.run(main)

    def check_candles(self, candles: Iterable[Candle], statuses: set[str]) -> None:
        """Assert that candles are the symbol's, closed, plausible, ascending on the grid and of one of the statuses."""
        before = None
        for one in candles:
            assert one.symbol == self.symbol, f"asked for {self.symbol!r}: {one}"
            assert one.open_ns % self.interval_ns == 0, f"open_ns {one.open_ns} is not on the grid: {one}"
            ended = one.open_ns + self.interval_ns
            assert one.time_ns >= ended, f"known {ended - one.time_ns} ns before its bucket ended: {one}"
            assert one.status in statuses, f"status {one.status!r} is not {' or '.join(sorted(statuses))}: {one}"
            trouble = check_candle(one)
            assert trouble is None, f"{trouble}: {one}"
            assert before is None or before.open_ns < one.open_ns, f"{one} came after {before}"
            before = one
