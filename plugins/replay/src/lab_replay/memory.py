"""Candles that a program holds in memory, played like those of a file."""

import hashlib
from collections.abc import Generator, Iterator, Sequence

from attrs import define, field
from lab.domain.batches import CandleColumns
from lab_recordings import Survey
from lab_recordings.opening import Digest

from lab_replay.sources import CandleSource


@define(eq=False)
class HeldCandles(CandleSource):
    """Checked columns of candles, ascending and on the grid of their interval. They have no path and leave no file."""

    interval_ns: int = field(kw_only=True)
    columns: Sequence[CandleColumns] = field(kw_only=True, repr=False)
    has_volume: bool = field(kw_only=True)

    def own_interval_ns(self) -> int:
        return self.interval_ns

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

    def _read(self, survey: Survey | None, digest: Digest | None) -> Iterator[CandleColumns]:
        return iter(self.columns)

    def _how(self) -> str:
        raise AssertionError("candles in memory are never kept")
