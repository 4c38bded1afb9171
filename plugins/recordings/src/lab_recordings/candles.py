"""Reads candles from CSV, whole columns at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, repeat
from operator import le, lt
from pathlib import Path
from typing import Final

from lab.domain.market import FINAL, Candle, candle_from_row, check_candle
from lab.domain.time import DAY_NS, format_interval, format_time

from lab_recordings.errors import RecordingError
from lab_recordings.table import TIME_NAMES, Row, TimeColumn, column_of, places, read_table

_PRICES: Final = ("open", "high", "low", "close")
_PRICE_LIMIT: Final = 1e15
_VOLUME_LIMIT: Final = 1e18
_SAMPLE: Final = 4096


def read_candles(path: Path, symbol: str, interval_ns: int, *, status: str = FINAL) -> Iterator[list[Candle]]:
    """Yield the file's candles in batches of 4,096, ascending.

    Columns, in any order and case: a time of opening (``time``, ``timestamp``, ``datetime``, ``date`` or ``open_time``;
    anything `lab.domain.time.parse_time` reads), ``open``, ``high``, ``low``, ``close`` and, optionally, ``volume`` (0
    without it). Others are ignored. A candle's ``time_ns`` is its opening plus ``interval_ns``. Missing candles are not
    made up.

    Each candle is checked: prices above 0 and finite, the close within ``[low, high]``, openings strictly ascending and
    on the interval's grid (from 1970-01-01 UTC; from the first candle where the interval is longer than a day). Raises
    `RecordingError` naming file and line, at the latest when the row to blame is reached.
    """
    if interval_ns <= 0:
        raise ValueError(f"interval_ns must be above 0, not {interval_ns}")
    table = read_table(path)
    _, (header,) = next(table)
    reader = _Reader(path, header, symbol, interval_ns, status)
    for line, rows in table:
        yield reader.candles(line, rows)


def check_candles(path: Path, symbol: str, interval_ns: int) -> int:
    """Read the whole file and return the number of its candles. Raises `RecordingError` as `read_candles` does."""
    return sum(map(len, read_candles(path, symbol, interval_ns)))


def infer_interval(path: Path) -> int:
    """Return the most common distance between neighbouring openings of the first 4,096 candles, in ns.

    The shortest one where several are equally common. Raises `RecordingError` for fewer than two candles, or times that
    do not ascend.
    """
    table = read_table(path)
    _, (header,) = next(table)
    place = column_of(path, header, TIME_NAMES)
    line, rows = next(table)
    times = _parse_times(path, line, [row[place] for row in rows[:_SAMPLE]], TimeColumn())
    if len(times) < 2:
        raise RecordingError(path, line, "one candle only: its interval can't be told; name it")
    _refuse_order(path, line, times)
    steps = Counter(later - earlier for earlier, later in pairwise(times))
    return min(steps, key=lambda step: (-steps[step], step))


class _Reader:
    """Turns batches of rows into candles; remembers the last opening from batch to batch."""

    def __init__(self, path: Path, header: Sequence[str], symbol: str, interval_ns: int, status: str) -> None:
        self._path = path
        self._time = column_of(path, header, TIME_NAMES)
        self._figures = tuple(places(path, header, {name: (name,) for name in _PRICES}).values())
        self._volume = header.index("volume") if "volume" in header else None
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._status = status
        self._times = TimeColumn()
        self._before_ns: int | None = None
        self._phase_ns: int | None = None if interval_ns > DAY_NS else 0

    def candles(self, line: int, rows: Sequence[Row]) -> list[Candle]:
        columns = list(zip(*rows, strict=True))
        opens_ns = _parse_times(self._path, line, columns[self._time], self._times)
        self._check_times(line, opens_ns)
        try:
            figures = [list(map(float, columns[place])) for place in self._figures]
            volume = list(map(float, columns[self._volume])) if self._volume is not None else [0.0] * len(rows)
        except ValueError:
            self._refuse_number(line, rows)
            raise
        closes_ns = [open_ns + self._interval_ns for open_ns in opens_ns]
        symbol, status = repeat(self._symbol, len(rows)), repeat(self._status, len(rows))
        batch = list(map(candle_from_row, zip(symbol, opens_ns, closes_ns, *figures, volume, status, strict=True)))
        # Column by column first, in C; row by row only to find out which one is to blame.
        if not _sound(figures, volume):
            for number, candle in enumerate(batch, line):
                if (reason := check_candle(candle)) is not None:
                    raise RecordingError(self._path, number, reason)
        return batch

    def _check_times(self, line: int, opens_ns: Sequence[int]) -> None:
        before, interval_ns = self._before_ns, self._interval_ns
        if self._phase_ns is None:
            self._phase_ns = opens_ns[0] % interval_ns
        if (before is not None and before >= opens_ns[0]) or not all(map(lt, opens_ns, opens_ns[1:])):
            _refuse_order(self._path, line, opens_ns, before)
        phase = self._phase_ns
        for number, open_ns in enumerate(opens_ns, line):
            if open_ns % interval_ns != phase:
                grid = format_interval(interval_ns) if interval_ns % 10**9 == 0 else f"{interval_ns} ns"
                raise RecordingError(self._path, number, f"{format_time(open_ns)} is not on the {grid} grid")
        self._before_ns = opens_ns[-1]

    def _refuse_number(self, line: int, rows: Sequence[Row]) -> None:
        wanted = (*self._figures, *(() if self._volume is None else (self._volume,)))
        names = (*_PRICES, "volume")
        for number, row in enumerate(rows, line):
            for name, place in zip(names, wanted, strict=False):
                try:
                    float(row[place])
                except ValueError:
                    raise RecordingError(self._path, number, f"{name} {row[place]!r} is not a number") from None


def _sound(figures: Sequence[Sequence[float]], volume: Sequence[float]) -> bool:
    """Say whether every row passes `check_candle`. Comparisons with NaN are false, so NaN does not pass."""
    opens, highs, lows, closes = figures
    return (
        all(map(lt, repeat(0.0), lows))
        and all(map(le, lows, closes))
        and all(map(le, closes, highs))
        and all(map(lt, highs, repeat(_PRICE_LIMIT)))
        and all(map(lt, repeat(0.0), opens))
        and all(map(lt, opens, repeat(_PRICE_LIMIT)))
        and all(map(le, repeat(0.0), volume))
        and all(map(lt, volume, repeat(_VOLUME_LIMIT)))
    )


def _parse_times(path: Path, line: int, column: Sequence[str], times: TimeColumn) -> list[int]:
    try:
        return times.parse(column)
    except ValueError as error:
        raise times.blame(path, line, column, error) from None


def _refuse_order(path: Path, line: int, opens_ns: Sequence[int], before_ns: int | None = None) -> None:
    for number, open_ns in enumerate(opens_ns, line):
        if before_ns is not None and open_ns <= before_ns:
            reason = f"{format_time(open_ns)} comes after {format_time(before_ns)}; times must ascend"
            raise RecordingError(path, number, reason)
        before_ns = open_ns
