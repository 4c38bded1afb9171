"""Chooses among what a file may mean: which column and style its times have, and which column is the volume."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from attrs import evolve, frozen
from lab.domain.time import DAY_NS, format_time

from lab_recordings.dialects import names
from lab_recordings.dialects.layout import Layout
from lab_recordings.dialects.moments import SAID, SERIAL_OF_1970, TimeJudge, ordered, plainly
from lab_recordings.dialects.numbers import PLAIN, cleaned
from lab_recordings.dialects.rows import Row
from lab_recordings.errors import RecordingError, UnclearError, excerpt

_ALIKE: Final = (0.5, 2.0)


@frozen
class Times:
    """The times of all rows, in the order of the file."""

    opens_ns: Sequence[int]
    newest_first: bool
    said: str


def choose_times(path: Path, judges: Sequence[TimeJudge], lines: Sequence[int]) -> Times:
    """Return the times of the first column that has one meaning and one direction. Raises `RecordingError`."""
    for judge in judges:
        found = {name: (times, way) for name, times in judge.found.items() if (way := ordered(times))}
        if not found:
            continue
        if "local" in found and "iso" in found and found["local"][0] == found["iso"][0]:
            del found["local"]  # midnights of UTC
        if "dmy" in found and "mdy" in found and found["dmy"][0] != found["mdy"][0]:
            if plainly(found["dmy"][0], found["mdy"][0]):
                del found["mdy"]
            elif plainly(found["mdy"][0], found["dmy"][0]):
                del found["dmy"]
            else:
                raise UnclearError(
                    path,
                    lines[0],
                    "its dates may have the day first or the month first, and no row shows which; "
                    "give --set replay.dates=day-first or --set replay.dates=month-first",
                )
        name, (times, way) = next(iter(found.items()))
        if name == "serial" and not judge.named and not any(time_ns % DAY_NS for time_ns in times):
            raise _row_number(path, lines[0], str(times[0] // DAY_NS + SERIAL_OF_1970))
        return Times(times, way < 0, SAID[name])
    raise _refusal(path, judges, lines)


def _refusal(path: Path, judges: Sequence[TimeJudge], lines: Sequence[int]) -> RecordingError:
    for judge in judges:
        for times in judge.found.values():
            newest_first = times[0] > times[-1]
            for place in range(1, len(times)):
                earlier, later = times[place - 1 : place + 1]
                if later < earlier if not newest_first else later > earlier:
                    way = "descend" if newest_first else "ascend"
                    reason = f"{format_time(later)} comes after {format_time(earlier)}; times must {way} throughout"
                    return RecordingError(path, lines[place], reason)
    line, text = judges[0].lost or (lines[0], "")
    if text.replace(".", "", 1).isdigit() and len(text) < 8:
        return _row_number(path, line, text)
    cure = "expected for example 2024-01-31 15:30, 31.01.2024 15:30 or a number of s, ms, µs or ns"
    return RecordingError(path, line, f"not a time as those above, or none at all: {excerpt(text)}; {cure}")


def _row_number(path: Path, line: int, text: str) -> RecordingError:
    cure = "save times too, or, if it is a day of a spreadsheet, name the column time"
    return RecordingError(path, line, f"{excerpt(text)} is the number of a row, not a time; {cure}")


def choose_volume(layout: Layout, first: Sequence[Row], *, none: bool = False) -> Layout:
    """Return a layout with one column of volume at most: the one in coins, as far as the first rows show it."""
    if none:
        return evolve(layout, volumes=())
    rows = [cells for _, cells in first[layout.skipped :]]
    plain = [names.plain(cell) for cell in layout.header]
    alike = [place for place, name in enumerate(plain) if name.startswith(("volume", "vol", "turnover", "quote"))]
    for place in dict.fromkeys([*layout.volumes, *alike]):
        if len(alike) > 1 and any(_is_turnover(rows, layout, place, other) for other in alike if other != place):
            return evolve(layout, volumes=(place,))
    if layout.tick_volume is not None and not _any_figure(rows, layout.volumes):
        return evolve(layout, volumes=(layout.tick_volume,), said=(*layout.said, "volume counts ticks"))
    if len(layout.volumes) > 1:
        return evolve(layout, volumes=(), said=(*layout.said, "volume left out, for there are several"))
    return layout


def _any_figure(rows: Sequence[Sequence[str]], places: Sequence[int]) -> bool:
    return any(cell.strip("0. ") for row in rows for place in places if place < len(row) for cell in (row[place],))


def _is_turnover(rows: Sequence[Sequence[str]], layout: Layout, volume: int, turnover: int) -> bool:
    """Return whether one column is about another one times the price."""
    ratios = []
    for row in rows:
        if len(row) > max(volume, turnover, layout.prices[3]):
            cells = cleaned([row[place] for place in (turnover, volume, layout.prices[3])])
            if not all(map(PLAIN.fits_one, cells)):
                return False
            paid, size, price = PLAIN.floats(cells)
            if paid and size and price:
                ratios.append(paid / size / price)
    return bool(ratios) and _ALIKE[0] < median(ratios) < _ALIKE[1]


def looks_like_prices(volumes: Sequence[float], closes: Sequence[float]) -> bool:
    """Return whether all volumes are about as large as the prices beside them."""
    return all(close / 2 < size < close * 2 for close, size in zip(closes, volumes, strict=True))
