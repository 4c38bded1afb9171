"""What a provider of several symbols gives where a run has two of them: P16."""

from collections.abc import Sequence
from itertools import islice, pairwise

from lab.domain.market import Candle, MarketData, Quote
from lab.ports import Channel, Subscription
from lab.testing.contracts.base import rule
from lab.testing.contracts.listening import stream_for
from lab.testing.contracts.provider_harness import Make, ProviderHarness
from lab.testing.recording_sink import RecordingSink

_BATCH_INPUTS = 3_000


class SymbolRules(ProviderHarness):
    """What a run of several symbols relies on; kept by a provider of one."""

    @rule(
        "P16",
        "a run may have several symbols on one stream: one that is left out or named as another is traded on nothing.",
        "serve every subscription of wanted, name each event by its symbol, and merge batches() by time_ns.",
    )
    def test_two_symbols_come_side_by_side(self, make: Make) -> None:
        if not self.other_symbol:
            return
        channels = make().channels()
        wanted = [Subscription(one, self.interval_ns, channels) for one in (self.symbol, self.other_symbol)]
        self._check_both(self._streamed(make, wanted), f"in {self.stream_s} s", 2, channels)
        provider = make()
        batches = provider.batches(wanted, seed=7)
        if batches is not None:
            inputs = list(islice((one for batch in batches for one in batch), _BATCH_INPUTS))
            for before, after in pairwise(inputs):
                assert before.time_ns <= after.time_ns, f"a batch went back in time: {before}, then {after}"
            self._check_both([one for one in inputs if isinstance(one, MarketData)], "in batches()", 1, channels)
            for one in wanted:
                found = provider.batch_instrument(one.symbol)
                assert found is not None, f"batch_instrument({one.symbol!r}) gave None"
                assert found.symbol == one.symbol, f"asked for {one.symbol!r}, got {found.symbol!r}"

    def _streamed(self, make: Make, wanted: Sequence[Subscription]) -> Sequence[MarketData]:
        async def main() -> Sequence[MarketData]:
            sink = RecordingSink()
            async with self.started(make()) as provider:
                provider.check(wanted)
                for one in wanted:
                    found = await provider.instrument(one.symbol)
                    assert found.symbol == one.symbol, f"asked for {one.symbol!r}, got {found.symbol!r}"
                await stream_for(self.stream_s, provider, wanted, sink)
            return sink.events

        return self.run(main)

    def _check_both(self, events: Sequence[MarketData], where: str, least: int, channels: frozenset[Channel]) -> None:
        both = {self.symbol, self.other_symbol}
        for event in events:
            assert event.symbol in both, f"asked for {' and '.join(sorted(both))}: {event}"
        for symbol in sorted(both):
            candles = [one for one in events if isinstance(one, Candle) and one.symbol == symbol]
            assert len(candles) >= least, f"{len(candles)} candles of {symbol} {where}"
            for before, after in pairwise(candles):
                assert before.open_ns < after.open_ns, f"{after} came after {before}"
            quotes = [one for one in events if isinstance(one, Quote) and one.symbol == symbol]
            assert quotes or Channel.QUOTES not in channels, f"no quote of {symbol} {where}"
