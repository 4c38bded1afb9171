"""The contract of providers: P1 to P14."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from itertools import islice, pairwise
from typing import ClassVar, Final, TypeVar

import anyio

from lab.domain.guard import InputGuard
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import BACKFILLED, FINAL, UNCONFIRMED, Candle, Quote, check_candle, check_quote
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.errors import ProviderError, ProviderUnavailable
from lab.ports import Channel, FeedState, PriceSource, Provider, Realm, Runtime, Subscription
from lab.ports.provider import CHANNEL_OF
from lab.testing.builders import START_NS
from lab.testing.contracts.base import Contract, rule
from lab.testing.contracts.listening import QUICK_S, stream_for, stream_in_group
from lab.testing.contracts.shared import SETTINGS_CURE, SETTINGS_WHY, check_numbers, check_same, check_settings
from lab.testing.recording_sink import RecordingSink

Make = Callable[[], Provider]
Listen = Callable[[float, Provider, Sequence[Subscription], RecordingSink], Awaitable[bool]]
T = TypeVar("T")

_START_S: Final = 10.0
_BATCH_INPUTS: Final = 3_000
_DEPTH_TRIED: Final = 2_000
_AHEAD_S: Final = 5.0


class ProviderContract(Contract):
    """What lab relies on in every provider. Inherit it, give the fixture ``make``, and run pytest.

        class TestMyVenue(ProviderContract):
            @pytest.fixture
            def make(self):
                return MyVenue

    ``make`` gives a fresh instance each time. With ``simulated`` the rules run in virtual time, with the network in
    memory: a provider needs a counterpart inside the simulation, or no network at all. A fixture runs outside the
    simulated loop and can't start one; a subclass of the provider can, in its own ``start``::

        class WithVenue(MyVenue):
            async def start(self, runtime):
                await runtime.tasks.start(serve_my_venue)
                await super().start(runtime)

    Without ``simulated`` the rules run in real time and take ``stream_s`` each.
    """

    simulated: ClassVar[bool] = True
    symbol: ClassVar[str] = "BTCUSDT"
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

    @rule(
        "P1",
        SETTINGS_WHY,
        SETTINGS_CURE,
    )
    def test_settings_have_defaults_and_help(self, make: Make) -> None:
        check_settings(make(), Provider)

    @rule(
        "P2",
        "real, recorded and synthetic prices never meet in a session, and the report says where they came from.",
        "let realm() return a Realm, channels() a frozenset of Channel, origin() the host, file or seed.",
    )
    def test_says_what_it_is_and_what_it_can_give(self, make: Make) -> None:
        provider = make()
        realm, channels, depth = provider.realm(), provider.channels(), provider.history_depth()
        assert isinstance(realm, Realm), f"realm() gave {realm!r}"
        known = isinstance(channels, frozenset) and all(isinstance(one, Channel) for one in channels)
        assert known, f"channels() gave {channels!r}"
        assert channels, f"channels() gave {channels!r}"
        assert depth is None or (type(depth) is int and depth >= 0), f"history_depth() gave {depth!r}"
        source = provider.price_source()
        assert isinstance(source, PriceSource), f"price_source() gave {source!r}"
        if source is PriceSource.QUOTE:
            assert Channel.QUOTES in channels, "price_source() is quote, but channels() has no quotes"
        silence_s = provider.quote_silence_s()
        assert silence_s > 0, f"quote_silence_s() gave {silence_s!r}"
        origin = provider.origin()
        named = isinstance(origin, str) and origin.strip()
        assert named, f"origin() gave {origin!r}"
        check_numbers(provider.source(), "source()")

    @rule(
        "P3",
        "a session stops in five seconds, after a failed start too; a provider that hangs or leaks takes it all.",
        "let stop() accept a provider that never started or stopped already, and bound every wait in it.",
    )
    def test_starts_and_stops_quickly_and_stops_twice(self, make: Make) -> None:
        async def main() -> None:
            unstarted = make()
            with anyio.move_on_after(QUICK_S) as scope:
                await unstarted.stop()
            assert not scope.cancelled_caught, f"stop() without start() took over {QUICK_S} s"
            began = anyio.current_time()
            async with self.started(make()) as provider:
                took = anyio.current_time() - began
                assert took <= _START_S, f"start() took {took:.1f} s"
                for what in ("stop()", "a second stop()"):
                    began = anyio.current_time()
                    await provider.stop()
                    took = anyio.current_time() - began
                    assert took <= QUICK_S, f"{what} took {took:.1f} s"

        self.run(main)

    @rule(
        "P4",
        "orders are floored to the lot and priced on the tick: wrong steps make every order wrong.",
        "build the Instrument from the venue's own figures, as Decimal made from text.",
    )
    def test_the_instrument_is_plausible(self, make: Make) -> None:
        async def main() -> Instrument:
            async with self.started(make()) as provider:
                return await provider.instrument(self.symbol)

        found = self.run(main)
        assert isinstance(found, Instrument), f"instrument() gave {found!r}"
        assert found.symbol == self.symbol, f"asked for {self.symbol!r}, got {found.symbol!r}"
        assert all((found.base, found.quote)), f"base {found.base!r}, quote {found.quote!r}"
        for name in ("tick", "lot", "quantity_min", "maker_fee_rate", "taker_fee_rate"):
            value = getattr(found, name)
            assert isinstance(value, Decimal), f"{name} {value!r} is {type(value).__name__}, not Decimal"
        for name in ("maker_fee_rate", "taker_fee_rate"):
            rate = getattr(found, name)
            assert abs(rate) < Decimal("0.05"), f"{name} {rate} is no fraction (0.0006 is 0.06 %)"
        assert found.quantity_min > 0, f"quantity_min is {found.quantity_min}"
        assert found.quantity_min % found.lot == 0, f"quantity_min {found.quantity_min} is not on the lot {found.lot}"

    @rule(
        "P5",
        "strategies warm up on history: the open candle, or one off the grid, falsifies every average.",
        "sort ascending, drop the open candle and duplicates, mark each backfilled, cut to the newest count.",
    )
    def test_history_is_closed_ascending_and_marked(self, make: Make) -> None:
        for count in (20, 3):
            candles = self.read(make, count)
            assert candles, "history() gave no candle (make a provider that has some, or excuse the rule)"
            assert len(candles) <= count, f"asked for at most {count} candles, got {len(candles)}"
            self._check_candles(candles, {BACKFILLED})
        assert not self.read(make, 0), "asked for 0 candles, got some"
        if Channel.QUOTES in make().channels():
            quotes = self.listen(make, Channel.QUOTES).quotes
            quoted_ns = quotes[0 if self.simulated else -1].time_ns if quotes else candles[-1].time_ns
            ahead_s = (candles[-1].open_ns + self.interval_ns - quoted_ns) / SECOND_NS
            at_once = f"is {ahead_s:.0f} s ahead of the quotes that came at the same time"
            assert ahead_s <= _AHEAD_S, f"the end of the newest candle {at_once}: it is open: {candles[-1]}"
        depth = make().history_depth()
        if depth is not None and depth < _DEPTH_TRIED:
            found = len(self.read(make, depth + 1))
            assert found <= depth, f"history_depth() is {depth}, but history() gave {found} candles"

    @rule(
        "P6",
        "gaps are filled page by page from the end: a page that does not end where it should repeats or loses candles.",
        "give the newest candles whose open_ns is below end_ns; never more than count.",
    )
    def test_history_ends_before_end_ns(self, make: Make) -> None:
        candles = self.read(make, 12)
        assert len(candles) >= 4, f"history() gave {len(candles)} candles of 12 (make a provider that has more)"
        end = candles[len(candles) // 2 + 1]
        older = [one for one in candles if one.open_ns < end.open_ns]
        page = self.read(make, 2, end.open_ns)
        over = [one.open_ns for one in page if one.open_ns >= end.open_ns]
        assert not over, f"end_ns={end.open_ns} is exclusive, but {over} came"
        check_same(list(page), older[-2:], "the page before end_ns", "the same candles of a longer history")

    @rule(
        "P7",
        "a misspelt symbol must end with a message, not with a session that waits for ever.",
        "raise ProviderError (not ProviderUnavailable) whose text has the symbol as it was asked for.",
    )
    def test_an_unknown_symbol_is_named(self, make: Make) -> None:
        async def main() -> str:
            async with self.started(make()) as provider:
                try:
                    found = await provider.instrument(self.unknown_symbol)
                except ProviderUnavailable as error:
                    raise AssertionError(f"it raised ProviderUnavailable, which is tried again: {error}") from error
                except ProviderError as error:
                    return str(error)
                raise AssertionError(f"instrument({self.unknown_symbol!r}) gave {found}")

        said = self.run(main)
        assert self.unknown_symbol.lower() in said.lower(), f"{self.unknown_symbol!r} is not in the message {said!r}"

    @rule(
        "P8",
        "nothing is traded until the feed says LIVE, and orders are filled at these quotes.",
        "call sink.feed(FeedState.LIVE) once data flows; give quotes with 0 < bid <= ask, in the order of their time.",
    )
    def test_streams_live_quotes_in_order(self, make: Make) -> None:
        sink = self.listen(make)
        assert FeedState.LIVE in sink.states, f"the feed was never LIVE, only {', '.join(sink.states) or 'silent'}"
        if Channel.QUOTES in make().channels():
            assert sink.quotes, f"no quote in {self.stream_s} s"
        for quote in sink.quotes:
            assert quote.symbol == self.symbol, f"asked for {self.symbol!r}: {quote}"
            trouble = check_quote(quote)
            assert trouble is None, f"{trouble}: {quote}"
        for before, after in pairwise(sink.quotes):
            assert before.time_ns <= after.time_ns, f"a quote went back in time: {before}, then {after}"
        past = self.read(make, 3)
        if sink.quotes and past:
            first, newest = sink.quotes[0], past[-1]
            late_ns = first.time_ns - newest.open_ns - self.interval_ns
            apart = f"the first quote's time_ns {first.time_ns} and the end of the newest candle of history"
            assert abs(late_ns) <= 3 * self.interval_ns, f"{apart} lie {late_ns / SECOND_NS:.0f} s apart: {first}"

    @rule(
        "P9",
        "a strategy decides once on each closed candle: an open, repeated or misplaced one is a decision on nothing.",
        "give a candle when its bucket has ended, each once, ascending, with open_ns on the interval's grid.",
    )
    def test_streams_closed_candles_in_order(self, make: Make) -> None:
        sink = self.listen(make)
        assert len(sink.candles) >= 2, f"{len(sink.candles)} candles in {self.stream_s} s"
        self._check_candles(sink.candles, {FINAL, UNCONFIRMED})
        quoted_ns = 0
        for event in sink.events:
            if isinstance(event, Quote):
                quoted_ns = event.time_ns
            elif isinstance(event, Candle) and quoted_ns:
                ahead_s = (event.open_ns + self.interval_ns - quoted_ns) / SECOND_NS
                assert ahead_s <= _AHEAD_S, f"its bucket ends {ahead_s:.0f} s after the newest quote: {event} is open"

    @rule(
        "P10",
        "the hot path takes figures as they are: a Decimal, a text or a numpy scalar breaks columns, tape and journal.",
        "convert once, at the edge: prices and sizes to float, times to int nanoseconds, symbol to str.",
    )
    def test_figures_are_plain_floats_and_ints(self, make: Make) -> None:
        sink = self.listen(make)
        guard = InputGuard([self.symbol], self.interval_ns, phase_ns=None)
        for one in [*self.read(make, 5), *sink.events]:
            trouble = guard.foreign(one) or guard.malformed(one)
            assert trouble is None, f"{trouble}: {one}"

    @rule(
        "P11",
        "a session ends by cancelling the stream; one that lingers or goes on talking holds up the orderly end.",
        "let the cancellation through: catch no BaseException, wait for nothing unbounded in finally.",
    )
    def test_a_cancelled_stream_ends(self, make: Make) -> None:
        async def main(listen: Listen) -> None:
            async with self.started(make()) as provider:
                sink = RecordingSink()
                await listen(self.stream_s / 4, provider, [self.wanted(provider)], sink)
                given = len(sink.given)
                await anyio.sleep(5.0 if self.simulated else 0.2)
                late = sink.events[given:]
                assert not late, f"after its end the stream gave {late[0]}"

        for listen in (stream_for, stream_in_group):
            self.run(partial(main, listen))

    @rule(
        "P12",
        "a backtest reads batches as they come: out of order they are another market.",
        "give ascending time_ns over all batches, an instrument by batch_instrument(), its identity by source().",
    )
    def test_batches_ascend_and_repeat(self, make: Make) -> None:
        wanted = [self.wanted(make())]
        first = self._batch_inputs(make(), wanted)
        if first is None:
            return
        assert first, "batches() gave nothing"
        for before, after in pairwise(first):
            assert before.time_ns <= after.time_ns, f"a batch went back in time: {before}, then {after}"
        check_same(first, self._batch_inputs(make(), wanted) or [], "batches() of one instance", "another's")
        provider = make()
        found = provider.batch_instrument(self.symbol)
        assert isinstance(found, Instrument), f"batches() gives data, but batch_instrument() gives {found!r}"
        assert provider.source(), "batches() gives data, but source() does not say which"

    @rule(
        "P13",
        "a run that did not ask for a channel has no use for it, and a channel that never speaks leaves a run waiting.",
        "put an event only where its channel is in Subscription.channels; declare in channels() what can be given.",
    )
    def test_streams_the_channels_that_are_wanted(self, make: Make) -> None:
        offered = make().channels()
        for channel in sorted(offered & {Channel.CANDLES, Channel.QUOTES}):
            came = {CHANNEL_OF[type(event)] for event in self.listen(make, channel).events}
            assert came == {channel}, f"asked for {channel} only, got {', '.join(sorted(came)) or 'nothing'}"

    @rule(
        "P14",
        "connections are lost every day: a stream that ends with one ends the run, after three minutes of ninety.",
        "catch what the socket raises, say FeedState.DOWN, and connect again after a growing, jittered wait.",
    )
    def test_a_stream_survives_lost_connections(self, make: Make) -> None:
        if not self.simulated:
            return

        async def main() -> None:
            from lab.testing.simulation import current_net

            async with self.started(make()) as provider, anyio.create_task_group() as tasks:
                sink, ended = RecordingSink(), anyio.Event()

                async def stream() -> None:
                    await provider.stream([self.wanted(provider)], sink)
                    ended.set()

                tasks.start_soon(stream)
                await anyio.sleep(self.stream_s / 4)
                lost = current_net().reset_all()
                given = sink.count
                await anyio.sleep(self.stream_s)
                over = ended.is_set() and provider.realm() is not Realm.REAL and not lost
                assert not ended.is_set() or over, f"stream() returned after {lost} connections were reset"
                assert over or sink.count > given, f"nothing came in {self.stream_s} s after {lost} resets"
                tasks.cancel_scope.cancel()

        self.run(main)

    @staticmethod
    def _batch_inputs(provider: Provider, wanted: Sequence[Subscription]) -> list[Input] | None:
        batches = provider.batches(wanted, seed=7)
        return None if batches is None else list(islice((one for batch in batches for one in batch), _BATCH_INPUTS))

    def _check_candles(self, candles: Iterable[Candle], statuses: set[str]) -> None:
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
