"""What walking forward came to: its windows, the equity out of sample, and what speaks against it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define

from lab.domain.time import DAY_NS
from lab.research.found import Sweep
from lab.research.metrics import SUMS
from lab.research.pages import written
from lab.research.result import Result
from lab.research.rows import Equity
from lab.research.tables import Table
from lab.research.walk_page import page_of


class WindowRow(NamedTuple):
    """One step of a walk. Times are UTC nanoseconds; ``in_sample`` and ``out_of_sample`` are the metric."""

    number: int
    in_sample_from_ns: int
    out_of_sample_from_ns: int
    out_of_sample_to_ns: int
    settings: Mapping[str, Any] | None
    """The best of the in-sample sweep; ``None`` where no trial had the metric, and nothing was traded."""
    trials: int
    in_sample: float | None
    out_of_sample: float | None
    profit: Decimal
    """Out of sample: ending less starting equity."""
    trades: int
    starting_equity: Decimal
    ending_equity: Decimal
    error: str


@define(eq=False, repr=False)
class WalkForward:
    """What a walk came to: its windows, and the equity out of sample, put together to one."""

    metric: str
    """What was optimized in sample: the name of the figure, or of the function."""
    direction: str
    """``maximize`` or ``minimize``."""
    windows: Table[WindowRow]
    """A row a window: ``number``, the times ``in_sample_from_ns``, ``out_of_sample_from_ns``, ``out_of_sample_to_ns``,
    ``settings``, ``trials``, the metric ``in_sample`` and ``out_of_sample``, and of what was traded ``profit``,
    ``trades``, ``starting_equity``, ``ending_equity`` and ``error``. Money in ``Decimal``, times in UTC nanoseconds.
    """
    equity: Table[Equity]
    """The equity after each candle out of sample: each window begins with what the one before it ended with."""
    warnings: tuple[str, ...]
    """What speaks against it: what was lost out of sample, windows in which nothing was traded, ..."""
    interrupted: bool
    """Whether it was ended before all windows were walked: the same call goes on, where it has a storage."""
    sweeps: tuple[Sweep, ...]
    """The sweep of each window."""
    results: tuple[Result | None, ...]
    """The run out of sample of each window; ``None`` where nothing was traded."""

    def __repr__(self) -> str:
        return f"<WalkForward of {len(self.windows)} windows: profit {self.profit:f} out of sample>"

    @property
    def profit(self) -> Decimal:
        """What all windows made out of sample."""
        return sum((row.profit for row in self.windows), Decimal(0))

    @property
    def in_sample(self) -> float | None:
        """The mean of the metric in sample, over the windows that have it in both parts; of a sum of money, a day."""
        rows = self._whole()
        return _mean([self._scaled(row.in_sample, row.in_sample_from_ns, row.out_of_sample_from_ns) for row in rows])

    @property
    def out_of_sample(self) -> float | None:
        """The mean of the metric out of sample, over the same windows."""
        rows = self._whole()
        return _mean(
            [self._scaled(row.out_of_sample, row.out_of_sample_from_ns, row.out_of_sample_to_ns) for row in rows]
        )

    def plot(self, path: str | PathLike[str]) -> Path:
        """Write a page with the equity out of sample, the windows and the warnings, whole in one file.

        Raises `RunError`.
        """
        return written(path, page_of(self))

    def _scaled(self, value: float | None, from_ns: int, to_ns: int) -> float | None:
        """Return a figure that grows with the time as one of a day: the two parts are not of one length."""
        return value if value is None or self.metric not in SUMS else value * DAY_NS / (to_ns - from_ns)

    def _whole(self) -> list[WindowRow]:
        return [row for row in self.windows if row.in_sample is not None and row.out_of_sample is not None]


def stitched(windows: Sequence[WindowRow], results: Sequence[Result | None]) -> Iterator[Equity]:
    """Yield the equity of all windows, its drawdown measured over all of them."""
    peak = 0.0
    for window, result in zip(windows, results, strict=True):
        for row in result.equity if result is not None else ():
            if row.time_ns <= window.out_of_sample_from_ns:
                continue  # history
            peak = max(peak, row.equity)
            yield Equity(row.time_ns, row.equity, row.equity / peak - 1.0 if peak > 0 else 0.0)


def warnings_of(walk: WalkForward, windows: int) -> Iterator[str]:
    """Yield what speaks against the walk, a line each."""
    rows = list(walk.windows)
    if walk.interrupted:
        yield f"interrupted: {len(rows)} of {windows} windows were walked"
    elif len(rows) < windows:
        yield f"ruin: nothing was left of the equity after {len(rows)} of {windows} windows"
    inside, outside = walk.in_sample, walk.out_of_sample
    if inside is not None and outside is not None:
        what = f"{walk.metric} a day" if walk.metric in SUMS else walk.metric
        left = _left(walk.direction, inside, outside)
        yield f"drop: {what} is {inside:.4g} in sample and {outside:.4g} out of sample on average: {left}"
    if rows:
        won = sum(row.profit > 0 for row in rows)
        yield f"windows: {won} of {len(rows)} made a profit out of sample"
    empty = [row for row in rows if row.settings is None]
    if empty:
        yield f"idle: in {len(empty)} of {len(rows)} windows no trial in sample had the metric, and nothing was traded"
    chosen = {tuple(sorted((row.settings or {}).items(), key=str)) for row in rows if row.settings is not None}
    if len(rows) > 2 and len(chosen) == len(rows):
        yield "settings: every window chose others, so what is best does not last"


def _left(direction: str, inside: float, outside: float) -> str:
    """Return what is left out of sample of what there was in sample, in words."""
    if inside == outside:
        return "as good as in sample"
    if (outside > inside) is (direction == "maximize"):
        return "better than in sample"
    if direction == "maximize" and inside > 0:
        return f"{outside / inside:.0%} of it is left" if outside > 0 else "nothing of it is left"
    return f"worse by {abs(inside - outside):.4g}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
