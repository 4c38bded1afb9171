"""The page of a walk: the equity out of sample over all windows, each window's metric in both parts, the warnings."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from lab.domain.time import format_time
from lab.research.pages import against, document, shown, table

_WIDTH: Final = 960
_HEIGHT: Final = 300
_LEFT: Final = 80
_BELOW: Final = 24
_POINTS_MOST: Final = 2_000


class Walked(Protocol):
    """What the page needs of a `lab.research.walk.WalkForward`."""

    metric: str
    direction: str
    windows: Any
    equity: Any
    warnings: tuple[str, ...]

    @property
    def profit(self) -> Any: ...


def page_of(walk: Walked) -> str:
    """Return the page, whole in one file, without scripts."""
    head = f"Walk-forward: {len(walk.windows)} windows, {walk.direction} {walk.metric} in sample"
    parts = [f"<p>Profit out of sample: <b>{walk.profit:,.2f}</b></p>", against(walk.warnings)]
    parts += ["<h2>Equity out of sample</h2>", _chart(walk)]
    header = (
        "window", "in sample from", "out of sample from", "to", "settings", "tried", f"{walk.metric} in sample",
        "out of sample", "profit", "trades", "equity at the end", "error",
    )  # fmt: skip
    rows = [
        (
            row.number, *map(_minute, (row.in_sample_from_ns, row.out_of_sample_from_ns, row.out_of_sample_to_ns)),
            " ".join(f"{key}={value}" for key, value in (row.settings or {}).items()) or "none", row.trials,
            shown(row.in_sample), shown(row.out_of_sample), f"{row.profit:,.2f}", row.trades,
            f"{row.ending_equity:,.2f}", row.error,
        )
        for row in walk.windows
    ]  # fmt: skip
    return document(head, [*parts, "<h2>Windows</h2>", table(header, rows)])


def _chart(walk: Walked) -> str:
    """Return the equity as a line, with an edge where each window begins to trade."""
    points = _thinned(walk)
    if len(points) < 2:
        return "<p>Nothing was traded.</p>"
    begin_ns, end_ns = points[0][0], points[-1][0]
    low, high = min(value for _, value in points), max(value for _, value in points)
    across, up = (_WIDTH - _LEFT) / max(1, end_ns - begin_ns), (_HEIGHT - 2 * _BELOW) / (high - low or 1.0)

    def at(time_ns: int, value: float) -> str:
        return f"{_LEFT + (time_ns - begin_ns) * across:.1f},{_HEIGHT - _BELOW - (value - low) * up:.1f}"

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="equity out of sample">']
    for row in walk.windows:
        x = at(row.out_of_sample_from_ns, low).partition(",")[0]
        parts.append(f'<line class="edge" x1="{x}" x2="{x}" y1="0" y2="{_HEIGHT - _BELOW}"/>')
    parts.append(f'<polyline class="line" points="{" ".join(at(*point) for point in points)}"/>')
    for value in sorted({low, high}):
        y = at(begin_ns, value).partition(",")[2]
        parts.append(f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{value:,.2f}</text>')
    for time_ns, anchor in ((begin_ns, "start"), (end_ns, "end")):
        x = at(time_ns, low).partition(",")[0]
        parts.append(f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{_minute(time_ns)}</text>')
    return "".join([*parts, "</svg>"])


def _thinned(walk: Walked) -> Sequence[tuple[int, float]]:
    """Return the equity from the money it began with on: of many candles each so-many-th, and the last."""
    if not len(walk.windows):
        return []
    first = walk.windows[0]
    points = [(first.out_of_sample_from_ns, float(first.starting_equity))]
    points += [(row.time_ns, row.equity) for row in walk.equity]
    step = -(-len(points) // _POINTS_MOST)
    return points if step == 1 else [*points[:-1:step], points[-1]]


def _minute(time_ns: int) -> str:
    return format_time(time_ns - time_ns % 60_000_000_000)
