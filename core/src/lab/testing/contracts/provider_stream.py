"""What a provider streams, and how its stream ends or goes on: P8 to P11, and P13 to P15."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise

import anyio

from lab.domain.guard import InputGuard
from lab.domain.market import FINAL, UNCONFIRMED, Candle, Quote, check_depth, check_quote
from lab.domain.time import SECOND_NS
from lab.ports import Channel, FeedState, Provider, Realm, Subscription
from lab.ports.provider import CHANNEL_OF
from lab.testing.contracts.base import rule
from lab.testing.contracts.listening import stream_for, stream_in_group
from lab.testing.contracts.provider_harness import AHEAD_S, Make, ProviderHarness
from lab.testing.recording_sink import RecordingSink

Listen = Callable[[float, Provider, Sequence[Subscription], RecordingSink], Awaitable[bool]]


class StreamRules(ProviderHarness):
    """What a live session relies on while it trades."""

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
        self.check_candles(sink.candles, {FINAL, UNCONFIRMED})
        quoted_ns = 0
        for event in sink.events:
            if isinstance(event, Quote):
                quoted_ns = event.time_ns
            elif isinstance(event, Candle) and quoted_ns:
                ahead_s = (event.open_ns + self.interval_ns - quoted_ns) / SECOND_NS
                assert ahead_s <= AHEAD_S, f"its bucket ends {ahead_s:.0f} s after the newest quote: {event} is open"

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
        "P13",
        "a run that did not ask for a channel has no use for it, and a channel that never speaks leaves a run waiting.",
        "put an event only where its channel is in Subscription.channels; declare in channels() what can be given.",
    )
    def test_streams_the_channels_that_are_wanted(self, make: Make) -> None:
        offered = make().channels()
        for channel in sorted(offered & {Channel.CANDLES, Channel.QUOTES, Channel.DEPTH}):
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

    @rule(
        "P15",
        "orders are filled against the levels that are displayed: a book that cannot be gives money away.",
        "give each side from its best level outwards, sizes above 0, best bid < best ask, in the order of their time.",
    )
    def test_streams_books_that_can_be_in_order(self, make: Make) -> None:
        if Channel.DEPTH not in make().channels():
            return
        sink = self.listen(make)
        assert sink.depths, f"channels() has depth, but none came in {self.stream_s} s"
        for depth in sink.depths:
            assert depth.symbol == self.symbol, f"asked for {self.symbol!r}: {depth}"
            trouble = check_depth(depth)
            assert trouble is None, f"{trouble}: {depth}"
            met = depth.bids and depth.asks and depth.bids[0][0] >= depth.asks[0][0]
            assert not met, f"the best bid meets the best ask, which would have traded: {depth}"
        for before, after in pairwise(sink.depths):
            assert before.time_ns <= after.time_ns, f"depth went back in time: {before}, then {after}"
