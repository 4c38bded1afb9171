"""Loads a file of candles of any dialect: one pass for the dialect that all rows agree with, one for the figures."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from attrs import define, field, frozen
from lab.domain.batches import CandleColumns
from lab.domain.market import Candle, check_candle
from lab.domain.spacing import intervals_of
from lab.domain.time import DAY_NS, SECOND_NS, format_interval, format_time

from lab_recordings.dialects.choosing import Times, choose_times, choose_volume
from lab_recordings.dialects.layout import Layout, layout_of
from lab_recordings.dialects.moments import Dates, TimeJudge
from lab_recordings.dialects.numbers import EMPTY, Decimals, NumberJudge, NumberStyle, cleaned
from lab_recordings.dialects.rows import Rows, open_rows
from lab_recordings.errors import ONE_CANDLE, RecordingError, UnclearError, excerpt, one_interval, several_symbols

_BLOCK: Final = 2048
_PRICES: Final = ("open", "high", "low", "close")


@frozen
class Reading:
    """What is said of a file that it may not show itself."""

    dates: Dates = "auto"
    decimals: Decimals = "auto"
    interval_ns: int | None = None


@define
class Loaded:
    """Candles in memory, ascending, and how they were found."""

    interval_ns: int
    opens_ns: "array[int]"
    figures: "list[array[float]]"
    """Open, high, low, close, volume."""
    has_volume: bool
    said: tuple[str, ...]
    sha256: str


def load(path: Path, reading: Reading) -> Loaded:
    """Read the candles of a file. Raises `RecordingError` with line and cure for what is not read without a doubt."""
    judged, digest = _Judged(path, reading), hashlib.sha256()
    with open_rows(path, digest) as rows:
        judged.take(rows)
    times = choose_times(path, judged.times, judged.lines)
    style = judged.style()
    sha256, digest = digest.hexdigest(), hashlib.sha256()
    figures: list[array[float]] = [array("d") for _ in range(5)]
    with open_rows(path, digest) as rows:
        for block in judged.blocks(rows):
            found = _figures(path, judged.layout, style, block, first=not figures[0])
            for column, values in zip(figures, found, strict=True):
                column.extend(values)
    if digest.hexdigest() != sha256 or len(figures[0]) != len(times.opens_ns):
        raise RecordingError(path, None, "it was changed while it was read")
    return _made(path, judged, times, figures, sha256)


class _Block:
    """Rows with figures: their lines, and their columns."""

    def __init__(self, lines: Sequence[int], rows: Sequence[Sequence[str]]) -> None:
        self.lines = lines
        self.columns = list(zip(*rows, strict=True))


@define
class _Judged:
    """The layout of a file and the styles that all its rows fit."""

    path: Path
    reading: Reading
    layout: Layout = field(init=False)
    times: list[TimeJudge] = field(init=False, factory=list)
    lines: "array[int]" = field(init=False, factory=lambda: array("q"))
    left_out: int = field(init=False, default=0)
    said: tuple[str, ...] = field(init=False, default=())
    _numbers: NumberJudge = field(init=False)
    _symbols: set[str] = field(init=False, factory=set)
    _volume_empty: int = field(init=False, default=0)

    def take(self, rows: Rows) -> None:
        """Go through all rows once."""
        self.layout = choose_volume(layout_of(self.path, rows), rows.first)
        self.said = rows.said
        points = "," if self.layout.trusts_points or rows.header else rows.separator
        self._numbers = NumberJudge(points, self.reading.decimals)
        self.times = [TimeJudge(self.reading.dates, self.layout.names_times) for _ in self.layout.times]
        for block in self.blocks(rows):
            self.lines.extend(block.lines)
            for judge, places in zip(self.times, self.layout.times, strict=True):
                judge.take(block.lines, _joined([block.columns[place] for place in places]))
            self._take_numbers(block)
            if self.layout.symbol is not None:
                self._take_symbols(block, self.layout.symbol)
        if not self.lines:
            raise RecordingError(self.path, 1, "empty; expected rows with figures")
        if self._volume_empty == len(self.lines):
            self.layout = choose_volume(self.layout, (), none=True)
        elif self._volume_empty:
            reason = f"{self._volume_empty} rows have prices and no volume; write 0 there, or leave the column out"
            raise RecordingError(self.path, None, reason)

    def style(self) -> NumberStyle:
        """Return how the numbers are written."""
        style = self._numbers.style()
        if style is None:
            raise UnclearError(
                self.path,
                None,
                "its numbers may have decimal points, or commas, or groups of thousands: they fit several; "
                "give --set replay.decimals=point or --set replay.decimals=comma",
            )
        return style

    def blocks(self, rows: Rows) -> Iterator[_Block]:
        """Yield the rows with figures, all as wide as they need to be."""
        layout = self.layout
        volume = layout.volumes[:1]
        symbol = () if layout.symbol is None else (layout.symbol,)
        width = 1 + max(*layout.prices, *volume, *symbol, *(place for places in layout.times for place in places))
        header, first = list(layout.header), layout.prices[0]
        self.left_out = 0
        widest = len(header or rows.header or rows.first[0][1])
        source = islice(rows.rows, layout.skipped, None)
        while taken := list(islice(source, _BLOCK)):
            lines, kept = [], []
            for line, cells in taken:
                if cells == header:
                    continue  # files that were put one behind the other
                if len(cells) < width or any(cells[widest:]):
                    raise RecordingError(self.path, line, f"{len(cells)} fields; expected {widest}")
                if not cells[first][:1].isdigit() and all(
                    cells[place].strip().lower() in EMPTY for place in layout.prices
                ):
                    self.left_out += 1
                    continue
                lines.append(line)
                kept.append(cells[:width])
            if kept:
                yield _Block(lines, kept)

    def _take_numbers(self, block: _Block) -> None:
        for place in (*self.layout.prices, *self.layout.volumes[:1]):
            cells = cleaned(block.columns[place])
            if place not in self.layout.prices:
                filled = [cell for cell in cells if cell.lower() not in EMPTY]
                self._volume_empty += len(cells) - len(filled)
                cells = filled
            elif not all(cells) or not EMPTY.isdisjoint(map(str.lower, cells)):
                at = next(at for at, cell in enumerate(cells) if cell.lower() in EMPTY)
                raise RecordingError(self.path, block.lines[at], "a price is missing, and others are there; repair it")
            before = self._numbers
            if cells:
                before.take(cells)
            if before.lost:
                self._refuse_number(block, place, cells)

    def _refuse_number(self, block: _Block, place: int, cells: Sequence[str]) -> None:
        style = NumberJudge(",", self.reading.decimals)
        misfit = style.misfit(cells)
        if misfit is None:
            reason = f"numbers are written in several ways, as {excerpt(cells[0])}; write all of a file alike"
            raise RecordingError(self.path, block.lines[0], reason)
        at = cleaned(block.columns[place]).index(misfit)
        raise RecordingError(self.path, block.lines[at], f"{excerpt(block.columns[place][at])} is not a number")

    def _take_symbols(self, block: _Block, place: int) -> None:
        self._symbols.update(block.columns[place])
        if len(self._symbols) > 1:
            raise several_symbols(self.path, block.lines[0], self._symbols)


def _joined(columns: Sequence[Sequence[str]]) -> list[str]:
    """Return times, or dates and times of day put together."""
    if len(columns) == 1:
        return [cell.strip() for cell in columns[0]]
    return [f"{date.strip()} {_clock(clock.strip())}" for date, clock in zip(*columns, strict=True)]


def _clock(text: str) -> str:
    return "000000" if text == "0" else text


def _figures(path: Path, layout: Layout, style: NumberStyle, block: _Block, *, first: bool) -> list[list[float]]:
    """Return the figures of a block, each row of which is a candle.

    The ``first`` block shows whether the volumes look like prices: a shorter one may by chance.
    """
    figures = [style.floats(cleaned(block.columns[place])) for place in layout.prices]
    volume = layout.volumes[:1]
    figures += [style.floats(cleaned(block.columns[place])) for place in volume]
    if not volume:
        figures.append([0.0] * len(block.lines))
    bare = "no header" in layout.said
    try:
        CandleColumns(range(len(block.lines)), figures)
    except ValueError:
        sound = False
    else:
        sound = not bare or all(low <= price <= high for price, high, low in zip(*figures[:3], strict=True))
    if not sound:
        _refuse(path, block.lines, figures, bare=bare)
    if (
        bare
        and volume
        and first
        and all(close / 2 < size < close * 2 for close, size in zip(*figures[3:], strict=True))
    ):
        reason = "no header, and the sixth column looks like a price, not a volume; put a line of column names above it"
        raise RecordingError(path, block.lines[0], reason)
    return figures


def _refuse(path: Path, lines: Sequence[int], figures: Sequence[Sequence[float]], *, bare: bool) -> None:
    for line, row in zip(lines, zip(*figures, strict=True), strict=True):
        reason = check_candle(Candle("", 0, 0, *row))
        if bare and reason is None and not row[2] <= row[0] <= row[1]:
            reason = f"open {row[0]:g} outside of low and high"
        if reason is not None:
            cure = "; without a header the columns are time, open, high, low, close, volume: name them" if bare else ""
            raise RecordingError(path, line, reason + cure)


def _made(path: Path, judged: _Judged, times: Times, figures: "list[array[float]]", sha256: str) -> Loaded:
    opens_ns, said = array("q", times.opens_ns), [*judged.said, *judged.layout.said]
    if judged.style().point == ",":
        said.append("decimal comma")
    if times.newest_first:
        opens_ns.reverse()
        for column in figures:
            column.reverse()
        said.append("newest first")
    said += [times.said] if times.said else []
    if judged.left_out:
        said.append(f"{judged.left_out:,} row{'s' * (judged.left_out > 1)} without figures left out")
    repeated = _without_repeats(path, opens_ns, figures)
    if repeated:
        said.append(f"{repeated:,} repeated row{'s' * (repeated > 1)} left out")
    interval_ns = judged.reading.interval_ns or _interval(path, opens_ns)
    phase_ns = _phase(path, opens_ns, interval_ns, named=judged.reading.interval_ns is not None)
    if phase_ns and interval_ns <= DAY_NS:
        said.append(f"candles open {_length(phase_ns)} into each {_length(interval_ns)}")
    return Loaded(interval_ns, opens_ns, figures, bool(judged.layout.volumes), tuple(said), sha256)


def _without_repeats(path: Path, opens_ns: "array[int]", figures: "list[array[float]]") -> int:
    """Take out rows that repeat the one before to the last digit. Raises `RecordingError` where they do not."""
    repeats = [at for at, (earlier, later) in enumerate(pairwise(opens_ns), 1) if earlier == later]
    for at in reversed(repeats):
        if any(column[at] != column[at - 1] for column in figures):
            reason = f"{format_time(opens_ns[at])} has two candles that differ; keep one of them"
            raise RecordingError(path, None, reason)
        opens_ns.pop(at)
        for column in figures:
            column.pop(at)
    return len(repeats)


def _interval(path: Path, opens_ns: Sequence[int]) -> int:
    if len(opens_ns) < 2:
        raise RecordingError(path, None, ONE_CANDLE)
    interval_ns = one_interval(path, intervals_of(opens_ns))
    if interval_ns % SECOND_NS:
        raise RecordingError(path, None, f"its candles are {interval_ns} ns apart; expected whole seconds")
    return interval_ns


def _phase(path: Path, opens_ns: Sequence[int], interval_ns: int, *, named: bool) -> int:
    """Return where the candles lie on their grid; all at one place. Raises `RecordingError` where they do not."""
    phase_ns = opens_ns[0] % interval_ns
    for open_ns in opens_ns:
        if open_ns % interval_ns != phase_ns:
            first = format_time(opens_ns[0])
            reason = f"{format_time(open_ns)} is not on the {_length(interval_ns)} grid that begins at {first}"
            cure = "candles of months, or with summer time in them, can't be read"
            if named:
                cure = "its own interval is another one: leave replay.interval out"
            raise RecordingError(path, None, f"{reason}; {cure}")
    return phase_ns


def _length(length_ns: int) -> str:
    return format_interval(length_ns) if length_ns % SECOND_NS == 0 else f"{length_ns} ns"


def in_blocks(loaded: Loaded, rows: int) -> Iterator[CandleColumns]:
    """Yield the candles as columns."""
    for begin in range(0, len(loaded.opens_ns), rows):
        part = slice(begin, begin + rows)
        yield CandleColumns(loaded.opens_ns[part], [column[part] for column in loaded.figures])
