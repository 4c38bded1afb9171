"""Reads candles from CSV, whole columns at a time."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import lt, mod
from pathlib import Path
from typing import Final

from lab.domain.batches import CandleColumns, CheckedBatch
from lab.domain.market import FINAL, Candle, check_candle
from lab.domain.spacing import intervals_of
from lab.domain.time import DAY_NS, format_interval, format_time

from lab_recordings.columns import Columns, ExactColumns
from lab_recordings.dialects.names import SYMBOLS, find, plain
from lab_recordings.errors import ONE_CANDLE, RecordingError, excerpt, one_interval, several_symbols
from lab_recordings.opening import Digest
from lab_recordings.survey import Survey
from lab_recordings.table import Named, Table
from lab_recordings.times import TIME_NAMES, TimeColumn

_PRICES: Final = ("open", "high", "low", "close")


def read_candles(
    path: Path, symbol: str, interval_ns: int, *, status: str = FINAL, survey: Survey | None = None
) -> Iterator[CheckedBatch[Candle]]:
    """Yield the file's candles in batches of 4,096, ascending.

    Columns, in any order and case: a time of opening (``time``, ``timestamp``, ``datetime``, ``date`` or ``open_time``;
    anything `lab.domain.time.parse_time` reads, in one form and unit), ``open``, ``high``, ``low``, ``close`` and,
    optionally, ``volume`` (0 without it). Others are ignored, but one of symbols has to name the same one throughout. A
    candle's ``time_ns`` is its opening plus ``interval_ns``. Missing candles are not made up.

    Each candle is checked: prices above 0 and finite, the close within ``[low, high]``, openings strictly ascending and
    on the interval's grid (from 1970-01-01 UTC; from the first candle where the interval is longer than a day). Raises
    `RecordingError` naming file and line, at the latest when the row to blame is reached.
    """
    for columns in read_columns(path, interval_ns, survey):
        yield columns.candles(symbol, interval_ns, status)


def read_columns(
    path: Path, interval_ns: int, survey: Survey | None = None, digest: Digest | None = None, named: Named | None = None
) -> Iterator[CandleColumns]:
    """Yield what `read_candles` does, as columns. A ``survey`` takes in what was read, a ``digest`` the file's bytes.

    Both are complete after the last block. With ``named`` the file has no header, or another one.
    """
    if interval_ns <= 0:
        raise ValueError(f"interval_ns must be above 0, not {interval_ns}")
    table = Table(path, named)
    reader = _Reader(table, interval_ns, survey)
    for block in table.blocks(digest):
        yield block.read(reader.read, reader.refuse)


def check_candles(path: Path, interval_ns: int) -> int:
    """Read the whole file and return the number of its candles. Raises `RecordingError` as `read_candles` does."""
    return sum(map(len, read_columns(path, interval_ns)))


def infer_interval(path: Path, since_ns: int = 0, named: Named | None = None) -> int:
    """Return how long the candles are by the first 512 of them, in ns: see `lab.domain.spacing.intervals_of`.

    Raises `RecordingError` for fewer than two candles, times that do not ascend, or a first one before ``since_ns``,
    and `UnclearError` for candles that may be of either of two lengths. ``named`` as in `read_columns`.
    """
    table = Table(path, named)
    openings = _Openings(table, 1)
    block = next(table.blocks())
    opens_ns = block.read(openings.read, openings.refuse)
    if len(opens_ns) < 2:
        raise RecordingError(path, block.line, ONE_CANDLE)
    if opens_ns[0] < since_ns:
        raise RecordingError(path, block.line, f"{format_time(opens_ns[0])} lies before {format_time(since_ns)}")
    return one_interval(path, intervals_of(opens_ns))


class _Openings:
    """The times of opening; remembers the last one from block to block."""

    def __init__(self, table: Table, interval_ns: int) -> None:
        self._path = table.path
        self._place = table.place(*TIME_NAMES)
        self._times = TimeColumn()
        self._interval_ns = interval_ns
        self._phase_ns = 0 if interval_ns <= DAY_NS else None
        self._before_ns: int | None = None

    def read(self, columns: Columns) -> Sequence[int]:
        """Return the openings. Raises ``ValueError`` where one is refused."""
        opens_ns = columns.times(self._place, self._times, self._interval_ns)
        if self._before_ns is not None and self._before_ns >= opens_ns[0]:
            raise ValueError("not ascending")
        if isinstance(opens_ns, range):  # one interval apart: where one is on the grid, all are
            phases = {opens_ns[0] % self._interval_ns}
        elif all(map(lt, opens_ns, opens_ns[1:])):
            phases = set(map(mod, opens_ns, repeat(self._interval_ns)))
        else:
            raise ValueError("not ascending")
        if phases != {self._phase(opens_ns)}:
            raise ValueError("not on the grid")
        return opens_ns

    def passed(self, opens_ns: Sequence[int], survey: Survey) -> None:
        """Remember that these were read."""
        survey.see_openings(self._before_ns, opens_ns, self._interval_ns)
        self._phase_ns, self._before_ns = self._phase(opens_ns), opens_ns[-1]

    def refuse(self, line: int, columns: ExactColumns) -> None:
        """Raise the `RecordingError` for the first opening that `read` refuses."""
        texts, before_ns, interval_ns = columns.texts(self._place), self._before_ns, self._interval_ns
        try:
            opens_ns = self._times.parse(texts)
        except ValueError:
            place, reason = self._times.why_not(texts)
            raise RecordingError(self._path, line + place, reason) from None
        for number, open_ns in enumerate(opens_ns, line):
            if before_ns is not None and open_ns <= before_ns:
                reason = f"{format_time(open_ns)} comes after {format_time(before_ns)}; times must ascend"
                raise RecordingError(self._path, number, reason)
            before_ns = open_ns
        for number, open_ns in enumerate(opens_ns, line):
            if open_ns % interval_ns != self._phase(opens_ns):
                grid = format_interval(interval_ns) if interval_ns % 10**9 == 0 else f"{interval_ns} ns"
                raise RecordingError(self._path, number, f"{format_time(open_ns)} is not on the {grid} grid")

    def _phase(self, opens_ns: Sequence[int]) -> int:
        return opens_ns[0] % self._interval_ns if self._phase_ns is None else self._phase_ns


class _Reader:
    """Turns blocks of rows into candles."""

    def __init__(self, table: Table, interval_ns: int, survey: Survey | None) -> None:
        self._path = table.path
        self._survey = survey or Survey()
        self._openings = _Openings(table, interval_ns)
        self._survey.has_volume = "volume" in table.header
        names = (*_PRICES, "volume") if self._survey.has_volume else _PRICES
        self._places = {name: table.place(name) for name in names}
        self._symbol_place = find(list(map(plain, table.header)), SYMBOLS)
        self._symbol: str | None = None

    def read(self, columns: Columns) -> CandleColumns:
        symbol = None
        if self._symbol_place is not None:
            symbol, *others = self._symbols(columns.texts(self._symbol_place))
            if others:
                raise ValueError("several symbols")
        opens_ns = self._openings.read(columns)
        figures = [columns.floats(place) for place in self._places.values()]
        if len(figures) == len(_PRICES):
            figures.append([0.0] * len(opens_ns))
        candles = CandleColumns(opens_ns, figures)  # raises where one is no candle
        self._openings.passed(opens_ns, self._survey)
        self._symbol = symbol
        self._survey.see_prices(figures[:4], candles.lowest, candles.highest)
        return candles

    def refuse(self, line: int, columns: ExactColumns) -> None:
        """Raise the `RecordingError` for what `read` refuses: symbols, times, what is no number, then the figures."""
        if self._symbol_place is not None:
            symbols = columns.texts(self._symbol_place)
            found = self._symbols(symbols)
            if len(found) > 1:
                place = next(at for at, each in enumerate(symbols) if each != found[0])
                raise several_symbols(self._path, line + place, found)
        self._openings.refuse(line, columns)
        texts = [columns.texts(place) for place in self._places.values()]
        for number, row in enumerate(zip(*texts, strict=True), line):
            for name, text in zip(self._places, row, strict=True):
                try:
                    float(text)
                except ValueError:
                    raise RecordingError(self._path, number, f"{name} {excerpt(text)} is not a number") from None
        for number, row in enumerate(zip(*texts, strict=True), line):
            price, high, low, close, volume = (*map(float, row), 0.0)[:5]
            if (reason := check_candle(Candle("", 0, 0, price, high, low, close, volume))) is not None:
                raise RecordingError(self._path, number, reason)

    def _symbols(self, texts: Sequence[str]) -> list[str]:
        """Return each symbol of a column once, that of the rows before it first."""
        return list(dict.fromkeys(texts if self._symbol is None else (self._symbol, *texts)))
