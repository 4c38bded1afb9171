"""What a provider gives of the past, its history and its batches: P5, P6 and P12."""

from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Final

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import BACKFILLED
from lab.domain.time import SECOND_NS
from lab.ports import Channel, Provider, Subscription
from lab.testing.contracts.base import rule
from lab.testing.contracts.provider_harness import AHEAD_S, Make, ProviderHarness
from lab.testing.contracts.shared import check_same

_BATCH_INPUTS: Final = 3_000
_DEPTH_TRIED: Final = 2_000


class HistoryRules(ProviderHarness):
    """What warm-up, the filling of gaps and backtests rely on."""

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
            self.check_candles(candles, {BACKFILLED})
        assert not self.read(make, 0), "asked for 0 candles, got some"
        if Channel.QUOTES in make().channels():
            quotes = self.listen(make, Channel.QUOTES).quotes
            quoted_ns = quotes[0 if self.simulated else -1].time_ns if quotes else candles[-1].time_ns
            ahead_s = (candles[-1].open_ns + self.interval_ns - quoted_ns) / SECOND_NS
            at_once = f"is {ahead_s:.0f} s ahead of the quotes that came at the same time"
            assert ahead_s <= AHEAD_S, f"the end of the newest candle {at_once}: it is open: {candles[-1]}"
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
        "P12",
        "a backtest reads batches as they come: out of order they are another market.",
        "give ascending time_ns over all batches, an instrument by batch_instrument(), its identity by source().",
    )
    def test_batches_ascend_and_repeat(self, make: Make) -> None:
        wanted = [self.wanted(make())]
        first = _batch_inputs(make(), wanted)
        if first is None:
            return
        assert first, "batches() gave nothing"
        for before, after in pairwise(first):
            assert before.time_ns <= after.time_ns, f"a batch went back in time: {before}, then {after}"
        check_same(first, _batch_inputs(make(), wanted) or [], "batches() of one instance", "another's")
        provider = make()
        found = provider.batch_instrument(self.symbol)
        assert isinstance(found, Instrument), f"batches() gives data, but batch_instrument() gives {found!r}"
        assert provider.source(), "batches() gives data, but source() does not say which"


def _batch_inputs(provider: Provider, wanted: Sequence[Subscription]) -> list[Input] | None:
    batches = provider.batches(wanted, seed=7)
    return None if batches is None else list(islice((one for batch in batches for one in batch), _BATCH_INPUTS))
