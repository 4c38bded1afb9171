"""Names the columns of a file that is plain but for its header, so that it is read by columns, as fast as others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen
from lab.domain.batches import CandleColumns

from lab_recordings.dialects.choosing import choose_volume, looks_like_prices
from lab_recordings.dialects.layout import Layout, layout_of
from lab_recordings.dialects.moments import is_calendar_number
from lab_recordings.dialects.rows import open_rows
from lab_recordings.errors import RecordingError
from lab_recordings.table import Named

_PRICES: Final = ("open", "high", "low", "close")


@frozen
class Shown:
    """The names of a file's columns, and what is to be said of its form."""

    named: Named
    said: tuple[str, ...]
    bare: bool
    """Whether the file has no header: what its columns are is known by their figures alone."""

    def check(self, path: Path, columns: CandleColumns, *, first: bool) -> None:
        """Raise `RecordingError` where the figures of a file without a header are not those of its columns.

        The ``first`` block shows whether the volumes look like prices: a shorter one may by chance.
        """
        if not self.bare:
            return
        opens, highs, lows, closes, volumes = columns.figures
        if not all(low <= price <= high for price, high, low in zip(opens, highs, lows, strict=True)):
            raise RecordingError(path, None, "no header, and an open outside of low and high")
        if first and looks_like_prices(volumes, closes):
            raise RecordingError(path, None, "no header, and a volume like a price")


def shown_by(path: Path) -> Shown | None:
    """Return the names of a file's columns; ``None`` where it is not plain, as far as its first rows show.

    Raises `RecordingError` for a file that can't be read, or has no columns of candles.
    """
    with open_rows(path, None) as rows:
        if rows.separator != "," or rows.header or not {"zip", "gzip"}.issuperset(rows.said):
            return None
        layout = choose_volume(layout_of(path, rows), rows.first)
        after = rows.first[layout.skipped :]
        said = (*rows.said, *layout.said)
    if layout.symbol is not None or len(layout.times[0]) > 1 or not after:
        return None
    line, cells = after[0]
    if len(cells) <= max(layout.times[0][0], *layout.prices, *layout.volumes):
        return None
    if is_calendar_number(cells[layout.times[0][0]].strip()):
        return None
    return Shown(Named(_header(layout, len(cells)), line - 1), said, "no header" in layout.said)


def reads_others(path: Path, time: int, prices: Sequence[int], volume: int | None) -> bool:
    """Return whether the dialects would take a plain file's candles from other columns than these.

    The same rows are to be the same candles in every form: with a title above them, or with other separators.
    """
    with open_rows(path, None) as rows:
        if rows.separator != "," or rows.header:
            return False
        layout = choose_volume(layout_of(path, rows), rows.first)
    volumes = () if volume is None else (volume,)
    return (layout.times[0], layout.prices, tuple(layout.volumes[:1])) != ((time,), tuple(prices), volumes)


def _header(layout: Layout, width: int) -> list[str]:
    header = [f"column {place}" for place in range(1, width + 1)]
    header[layout.times[0][0]] = "time"
    for place, name in zip(layout.prices, _PRICES, strict=True):
        header[place] = name
    if layout.volumes:
        header[layout.volumes[0]] = "volume"
    return header
