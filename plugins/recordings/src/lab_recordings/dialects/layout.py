"""Which column of a file is what: by its header, wherever that stands, or by the shape of its rows."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from lab_recordings.dialects import names
from lab_recordings.dialects.rows import Row, Rows
from lab_recordings.errors import RecordingError, listed, several_symbols

_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?|\d{4}|\d{6}|0")
_TIMELY: Final = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{8}( \d{4,6})?")
_NUMBER: Final = re.compile(r"[0-9.,' eE+-]+")
_INDEX: Final = "unnamed0"
_NAMELESS: Final = {"", _INDEX}
_CURE: Final = "put a line of column names above it: time,open,high,low,close,volume"


@frozen
class Layout:
    """The places of a file's columns, and where its rows begin."""

    times: Sequence[tuple[int, ...]]
    """The columns that may tell the time of opening, the likeliest first; two of them: date and time of day."""
    prices: tuple[int, int, int, int]
    """Open, high, low, close."""
    volumes: Sequence[int] = ()
    """The columns that may hold the volume, the likeliest first."""
    tick_volume: int | None = None
    symbol: int | None = None
    header: Sequence[str] = ()
    """The header's cells; none where there is no header."""
    skipped: int = 0
    """How many rows come before the first candle, the header among them."""
    said: tuple[str, ...] = ()
    names_times: bool = True
    """Whether the column of times has a name; an index that a data frame was saved with has none."""
    trusts_points: bool = False
    """Whether the program that writes such files always writes decimal points."""


def layout_of(path: Path, rows: Rows) -> Layout:
    """Return the layout that a file's first rows show. Raises `RecordingError` with the cure where they show none."""
    if rows.header:
        return _by_names(path, 1, list(rows.header), rows.first, 0)
    best: tuple[int, list[str]] | None = None
    for place, (line, cells) in enumerate(rows.first):
        plain = list(map(names.plain, cells))
        known = [names.find(plain, some) is not None for some in names.PRICES]
        if all(known):
            return _by_names(path, line, cells, rows.first, place + 1)
        if any(known) and best is None:
            best = line, cells
    if not rows.first:
        raise RecordingError(path, 1, "empty; expected a header line and rows")
    if best is not None:
        line, cells = best
        missing = [some[0] for some in names.PRICES if names.find(list(map(names.plain, cells)), some) is None]
        raise RecordingError(path, line, f"no column {' or '.join(missing)}; the header has {listed(cells)}")
    return _without_header(path, rows.first)


def _by_names(path: Path, line: int, cells: list[str], first: Sequence[Row], skipped: int) -> Layout:
    plain = list(map(names.plain, cells))
    places = [names.find(plain, some) for some in names.PRICES]
    if None in places:
        missing = [some[0] for some, place in zip(names.PRICES, places, strict=True) if place is None]
        raise RecordingError(path, line, f"no column {' or '.join(missing)}; the header has {listed(cells)}")
    prices = [place for place in places if place is not None]
    volumes = names.volumes(plain)
    said: tuple[str, ...] = ()
    for place in (*prices, *volumes[:1]):
        if plain.count(plain[place]) > 1:
            _refuse_twice(path, line, cells, first, skipped, place)
    times = _times(path, line, cells, plain, first[skipped : skipped + 3])
    if not times and skipped and len(first) > skipped + 1 and _is_second_header(first[skipped + 1][1]):
        _refuse_several(path, first[skipped])
        times, skipped, said = [(0,)], skipped + 2, ("header of three lines",)
    if not times:
        raise RecordingError(path, line, f"no column time or date; the header has {listed(cells)}")
    return Layout(
        times,
        (prices[0], prices[1], prices[2], prices[3]),
        volumes,
        names.find(plain, names.TICK_VOLUMES),
        names.find(plain, names.SYMBOLS),
        cells if skipped else (),
        skipped,
        said,
        names_times=any(plain[place] not in _NAMELESS for place in times[0]) or bool(said),
        trusts_points=any(cell.strip().startswith("<") for cell in cells),
    )


def _times(
    path: Path, line: int, cells: Sequence[str], plain: Sequence[str], rows: Sequence[Row]
) -> list[tuple[int, ...]]:
    date, clock = names.find(plain, ("date", "day", "dtyyyymmdd")), names.find(plain, ("time", "hour"))
    if date is not None and clock is not None and rows and all(_is_clock(row, clock) for _, row in rows):
        return [(date, clock)]
    found: list[tuple[int, ...]] = [(plain.index(name),) for name in names.TIMES if name in plain]
    if not found and plain.count("") == 1:  # the index of a data frame has no name
        found = [(plain.index(""),)]
    if not found and _INDEX in plain:
        found = [(plain.index(_INDEX),)]
    return found


def _is_clock(row: Sequence[str], place: int) -> bool:
    return place < len(row) and _CLOCK.fullmatch(row[place].strip()) is not None


def _is_second_header(cells: Sequence[str]) -> bool:
    """Return whether a line names the times only, as the third header line of yfinance does."""
    filled = [cell for cell in cells if cell.strip()]
    return len(filled) == 1 and names.plain(cells[0]) in names.TIMES


def _refuse_several(path: Path, row: Row) -> None:
    line, cells = row
    tickers = {cell.strip() for cell in cells[1:] if cell.strip()}
    if len(tickers) > 1:
        raise several_symbols(path, line, tickers)


def _refuse_twice(path: Path, line: int, cells: Sequence[str], first: Sequence[Row], skipped: int, place: int) -> None:
    if len(first) > skipped:
        _refuse_several(path, first[skipped])
    name = cells[place].strip().lower()[:80]
    fields = " and ".join(str(at) for at, cell in enumerate(cells, 1) if names.plain(cell) == names.plain(name))
    raise RecordingError(path, line, f"column {name} more than once (fields {fields}); rename one")


def _without_header(path: Path, first: Sequence[Row]) -> Layout:
    """Return the layout of rows that begin with a time and go on with open, high, low, close and volume."""
    line, cells = first[0]
    dated = len(cells) > 1 and _TIMELY.fullmatch(cells[0].strip()) is not None and _is_clock(cells, 1)
    begin = 2 if dated else 1
    have = listed(cells)
    numbers = cells[begin:]
    if not all(_NUMBER.fullmatch(cell.strip() or "0") for cell in numbers[:4]) or not any(map(str.isdigit, cells[0])):
        raise RecordingError(path, line, f"no header with open, high, low and close was found; the file begins {have}")
    if len(numbers) < 4:
        raise RecordingError(path, line, f"no header, and {len(cells)} columns only ({have}); {_CURE}")
    volumes = (begin + 4,) if len(numbers) > 4 else ()
    times = [(0, 1)] if dated else [(0,)]
    return Layout(times, (begin, begin + 1, begin + 2, begin + 3), volumes, said=("no header",), names_times=False)


def with_volume(layout: Layout, place: int | None, said: str = "") -> Layout:
    """Return a layout whose volume is in this column, or which has none."""
    return evolve(layout, volumes=() if place is None else (place,), said=(*layout.said, said) if said else layout.said)
