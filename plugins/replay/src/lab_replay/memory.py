"""Candles that a program holds in memory, played like those of a file."""

import hashlib
from collections.abc import Generator, Iterator, Sequence

from attrs import define, field
from lab.domain.batches import CandleColumns
from lab.domain.market import BACKFILLED, Candle, MarketData
from lab.ports import Subscription
from lab_recordings import Survey

from lab_replay.sources import CandleFile


@define(eq=False)
class HeldCandles(CandleFile):
    """Checked columns of candles, ascending and on the grid of their interval. They have no path and leave no file."""

    columns: Sequence[CandleColumns] = field(kw_only=True, repr=False)
    has_volume: bool = field(kw_only=True)

    def checked(self, *, hold: bool = True) -> Generator[None, None, Iterator[CandleColumns]]:
        survey, digest, before_ns = Survey(has_volume=self.has_volume), hashlib.sha256(), None
        for columns in self.columns:
            survey.see_openings(before_ns, columns.opens_ns, self.interval_ns)
            survey.see_prices(columns.figures[:4], columns.lowest, columns.highest)
            digest.update(columns.dumped())
            before_ns = columns.opens_ns[-1]
            yield
        self.rows = sum(map(len, self.columns))
        self._survey, self._sha256 = survey, digest.hexdigest()
        return iter(self.columns)

    def past(self, wanted: Subscription) -> list[Candle]:
        found: list[Candle] = []
        for columns in self.columns:
            if len(found) < self.warmup:
                found += columns.candles(wanted.symbol, self.interval_ns, BACKFILLED)
        return found[: self.warmup]

    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        left = self.warmup
        for columns in self.columns:
            yield columns.candles(wanted[0].symbol, self.interval_ns)[left:]
            left = max(0, left - len(columns))
