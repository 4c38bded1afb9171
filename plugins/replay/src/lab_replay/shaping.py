"""Candles of a part of a file, and longer candles made of its own."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from math import fsum
from typing import Final

from attrs import define, field, frozen
from lab.domain.batches import CandleColumns
from lab.domain.calendar import AS_RECORDED, open_ns
from lab.domain.time import DAY_NS, format_time
from lab_recordings import RecordingError, Survey

from lab_replay.source import length

_ROWS: Final = 512
_WEEK_NS: Final = 7 * DAY_NS
_MONDAY_NS: Final = 4 * DAY_NS  # 1970-01-05
_NO_END: Final = 1 << 63


@frozen
class Span:
    """The time from ``since_ns`` on and before ``until_ns``."""

    since_ns: int = 0
    until_ns: int = _NO_END

    @property
    def is_all(self) -> bool:
        """Whether it leaves nothing out."""
        return not self.since_ns and self.until_ns == _NO_END

    def __str__(self) -> str:
        """Return it as text."""
        since = f"from {format_time(self.since_ns)}" if self.since_ns else ""
        return f"{since} {f'to {format_time(self.until_ns)}' if self.until_ns != _NO_END else ''}".strip()


@define
class Shape:
    """Cuts candles of ``own_ns`` to a span, and makes candles of ``interval_ns`` of them, a multiple of it.

    Long candles begin on the grid from 1970-01-01 UTC, weeks on Mondays. A candle at either end is given only where the
    file's own fill it from its beginning, or to its end, as far as the market is open by the calendar; one between them
    is made of the candles that are there.
    """

    name: str
    own_ns: int
    interval_ns: int
    span: Span
    calendar: str = ""
    rows: int = field(default=0, init=False)
    left_out: int = field(default=0, init=False)
    """How many long candles at the ends were not whole."""
    short: int = field(default=0, init=False)
    """How many long candles lack some of the file's own, of times at which the market is open."""
    _begun: bool = field(default=False, init=False)

    def columns(self, own: Iterable[CandleColumns], survey: Survey | None = None) -> Iterator[CandleColumns]:
        """Yield the candles in blocks; the survey takes in their gaps, prices and nothing else."""
        self.rows = self.left_out = self.short = 0
        self._begun = False
        blocks: Iterator[CandleColumns] = self._cut(own)
        if self.interval_ns != self.own_ns:
            blocks = self._made(blocks)
        before_ns = None
        for block in blocks:
            self.rows += len(block)
            if survey is not None:
                survey.see_openings(before_ns, block.opens_ns, self.interval_ns, self.calendar)
            before_ns = block.opens_ns[-1]
            yield block
        if not self.rows:
            what = "no whole candle" if self.interval_ns != self.own_ns else "no candle"
            raise RecordingError(self.name, None, f"{what} {f'of {length(self.interval_ns)} '}{self.span}".rstrip())

    def said(self) -> str:
        """Return what was made of the file's own candles, after `columns` came to its end."""
        if self.interval_ns == self.own_ns:
            return ""
        made = f"made {length(self.interval_ns)} of {length(self.own_ns)} candles"
        if self.left_out:
            made += f", {self.left_out} at the ends left out, not whole"
        of_fewer = "than the market is open for" if self.calendar else f"than {self.interval_ns // self.own_ns:,}"
        return made + (f", {self.short:,} of fewer {of_fewer}" if self.short else "")

    def _cut(self, own: Iterable[CandleColumns]) -> Iterator[CandleColumns]:
        last_ns = self.span.until_ns - self.own_ns  # the last opening of a candle that ends in time
        for block in own:
            opens_ns = block.opens_ns
            if opens_ns[-1] < self.span.since_ns:
                continue
            if opens_ns[0] > last_ns:
                return
            begin, end = bisect_left(opens_ns, self.span.since_ns), bisect_right(opens_ns, last_ns)
            if begin or end < len(opens_ns):
                if begin < end:
                    yield CandleColumns(opens_ns[begin:end], [column[begin:end] for column in block.figures])
            else:
                yield block

    def _made(self, own: Iterable[CandleColumns]) -> Iterator[CandleColumns]:
        phase_ns = _MONDAY_NS if self.interval_ns % _WEEK_NS == 0 else 0
        bucket, rows = _Bucket(), _Rows()
        for block in own:
            opens_ns, begin = block.opens_ns, 0
            if (opens_ns[0] - phase_ns) % self.own_ns:
                first = format_time(opens_ns[0])
                reason = f"its {length(self.own_ns)} candles open at {first}: no longer ones can be made of them"
                raise RecordingError(self.name, None, reason)
            while begin < len(opens_ns):
                start_ns = opens_ns[begin] - (opens_ns[begin] - phase_ns) % self.interval_ns
                if start_ns != bucket.start_ns:
                    self._close(bucket, rows, last=False)
                    bucket = _Bucket(start_ns, opens_ns[begin])
                end = bisect_left(opens_ns, start_ns + self.interval_ns, begin)
                bucket.take(block, begin, end)
                begin = end
            if len(rows.opens_ns) >= _ROWS:
                yield rows.columns()
                rows = _Rows()
        self._close(bucket, rows, last=True)
        if rows.opens_ns:
            yield rows.columns()

    def _close(self, bucket: "_Bucket", rows: "_Rows", *, last: bool) -> None:
        if not bucket.count:
            return
        end_ns = bucket.start_ns + self.interval_ns
        cut_off = not self._begun and self._is_open(bucket.start_ns, bucket.first_ns)
        if last:
            cut_off = cut_off or self._is_open(bucket.last_ns + self.own_ns, end_ns)
        self._begun = True
        if cut_off:
            self.left_out += 1
            return
        if bucket.count * self.own_ns != self.interval_ns:
            self.short += bucket.count * self.own_ns < open_ns(self.calendar, bucket.start_ns, end_ns)
        rows.add(bucket)

    def _is_open(self, begin_ns: int, end_ns: int) -> bool:
        """Return whether a stretch beyond the ends of the data lacks candles; those of the data do not tell of it."""
        return open_ns("" if self.calendar == AS_RECORDED else self.calendar, begin_ns, end_ns) > 0


class _Bucket:
    """The file's own candles within one long candle."""

    def __init__(self, start_ns: int = -1, first_ns: int = 0) -> None:
        self.start_ns, self.first_ns, self.last_ns, self.count = start_ns, first_ns, first_ns, 0
        self.open = self.high = self.low = self.close = 0.0
        self.volumes: list[float] = []

    def take(self, block: CandleColumns, begin: int, end: int) -> None:
        """Take in some candles, after those before."""
        opens, highs, lows, closes, volumes = (column[begin:end] for column in block.figures)
        if not self.count:
            self.open, self.high, self.low = opens[0], max(highs), min(lows)
        else:
            self.high, self.low = max(self.high, *highs), min(self.low, *lows)
        self.close, self.last_ns = closes[-1], block.opens_ns[end - 1]
        self.volumes.extend(volumes)
        self.count += end - begin


class _Rows:
    """Long candles on their way into a block."""

    def __init__(self) -> None:
        self.opens_ns: list[int] = []
        self._figures: list[list[float]] = [[], [], [], [], []]

    def add(self, bucket: _Bucket) -> None:
        self.opens_ns.append(bucket.start_ns)
        # Exact in every version of Python; decimals that come from adding are taken off.
        row = (bucket.open, bucket.high, bucket.low, bucket.close, round(fsum(bucket.volumes), 8))
        for column, figure in zip(self._figures, row, strict=True):
            column.append(figure)

    def columns(self) -> CandleColumns:
        return CandleColumns(self.opens_ns, self._figures)
