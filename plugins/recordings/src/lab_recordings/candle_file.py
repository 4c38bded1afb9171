"""A file of candles as people have it: in the plain form, which is read fast, or in a dialect that all of it shows."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.domain.batches import CandleColumns
from lab.domain.time import SECOND_NS, format_interval, parse_time

from lab_recordings.candles import infer_interval, read_columns
from lab_recordings.dialects.loading import Loaded, Reading, in_blocks, load
from lab_recordings.dialects.named import Shown, reads_others, shown_by
from lab_recordings.errors import RecordingError, UnclearError
from lab_recordings.opening import Digest
from lab_recordings.survey import Survey
from lab_recordings.table import BATCH, Named, Table
from lab_recordings.times import TIME_NAMES

_PLAIN: Final = ("open", "high", "low", "close")
_AS_MILLISECONDS: Final = parse_time("1980-01-01")  # 202401311530, a date and time, would be a time before this


class CandleFileReader:
    """Reads a file of candles.

    A plain file (commas, numbers with points, times as `read_columns` has them) is read by it, also where it has no
    header or one of other names. Any other is read whole into memory, in the one dialect that all of its rows agree
    with. Both take the same columns. `fall_back` makes a file that looked plain, and was not, one of the others.
    """

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        """Look at the file's first rows."""
        self.path = path
        self.reading = reading or Reading()
        self._loaded: Loaded | None = None
        self._interval_ns = self.reading.interval_ns or 0
        self._refused: RecordingError | None = None
        self._shown: Shown | None = None
        try:
            self._look(None)
            self._compare()
        except RecordingError as error:
            self._refused = error
            self._look_closer()

    @property
    def is_plain(self) -> bool:
        """Whether the file is read by columns, as far as is known."""
        return self._refused is None

    @property
    def interval_ns(self) -> int:
        """The length of the file's candles. Raises `RecordingError`."""
        return self._interval_ns if self.is_plain else self.loaded().interval_ns

    def check(self) -> None:
        """Raise `RecordingError` for what is wrong with a plain file whatever is in it, such as its name."""
        if self.is_plain:
            Table(self.path, self._named())

    def said(self) -> str:
        """Return what was inferred of the file's form, in one line; an empty text where it is as expected."""
        if self.is_plain:
            said = () if self._shown is None else self._shown.said
            return f"{', '.join(said)}; {_length(self._interval_ns)} candles" if said else ""
        loaded = self.loaded()
        return "; ".join([*([", ".join(loaded.said)] if loaded.said else []), f"{_length(loaded.interval_ns)} candles"])

    def loaded(self) -> Loaded:
        """Return the candles of a file that is not plain, read when they are first asked for."""
        if self._loaded is None:
            try:
                self._loaded = load(self.path, self.reading)
            except UnclearError:
                raise
            except RecordingError as error:
                raise self._better(error) from None
        return self._loaded

    def fall_back(self, refused: RecordingError) -> None:
        """Read a file in a dialect that was refused as a plain one. Raises the better of the two errors."""
        if isinstance(refused, UnclearError):
            raise refused
        self._refused = refused
        self.loaded()

    def columns(self, survey: Survey | None = None, digest: Digest | None = None) -> Iterator[CandleColumns]:
        """Yield the candles in blocks, ascending. A ``survey`` takes in what was read, a ``digest`` the bytes."""
        survey = survey or Survey()
        if self.is_plain:
            blocks = read_columns(self.path, self._interval_ns, survey, digest, self._named())
            if self._shown is None:
                yield from blocks
                return
            survey.said = self.said()
            for number, columns in enumerate(blocks):
                self._shown.check(self.path, columns, first=not number)
                yield columns
            return
        loaded, before_ns = self.loaded(), None
        survey.has_volume, survey.said, survey.interval_ns = loaded.has_volume, self.said(), loaded.interval_ns
        for columns in in_blocks(loaded, BATCH):
            survey.see_openings(before_ns, columns.opens_ns, loaded.interval_ns)
            survey.see_prices(columns.figures[:4], columns.lowest, columns.highest)
            before_ns = columns.opens_ns[-1]
            yield columns
        if digest is not None:
            self._digest(loaded, digest)

    def _named(self) -> Named | None:
        return None if self._shown is None else self._shown.named

    def _look(self, named: Named | None) -> None:
        table = Table(self.path, named)
        table.place(*TIME_NAMES)
        table.places(_PLAIN)
        if not self.reading.interval_ns:
            self._interval_ns = infer_interval(self.path, since_ns=_AS_MILLISECONDS, named=named)
            if self._interval_ns % SECOND_NS:
                raise RecordingError(self.path, None, "its candles are no whole seconds apart")

    def _compare(self) -> None:
        """Raise `RecordingError` for a file whose plain names are not those of the columns that dialects would take."""
        table = Table(self.path)
        time, prices = table.place(*TIME_NAMES), table.places(_PLAIN)
        volume = table.place("volume") if "volume" in table.header else None
        if len(table.header) == len({time, *prices, volume} - {None}):
            return
        if reads_others(self.path, time, prices, volume):
            raise RecordingError(self.path, None, "it has columns that say more of its times or volume")

    def _look_closer(self) -> None:
        """Find names for the columns of a file that is plain but for its header."""
        try:
            shown = shown_by(self.path)
            if shown is not None:
                self._look(shown.named)
                self._shown, self._refused = shown, None
        except RecordingError:
            pass  # it is read in a dialect, or refused, when it is read

    def _better(self, error: RecordingError) -> RecordingError:
        """Return the error of the reader that got further: the plain one's own, or that of the dialects."""
        plain = self._refused
        if plain is None or error.line is None or (plain.line or 0) <= 1 or error.line > (plain.line or 0):
            return error
        return plain

    def _digest(self, loaded: Loaded, digest: Digest) -> None:
        own = hashlib.sha256()
        with self.path.open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
                own.update(data)
        if own.hexdigest() != loaded.sha256:
            raise RecordingError(self.path, None, "it was changed while it was read")


def _length(length_ns: int) -> str:
    return format_interval(length_ns) if length_ns % SECOND_NS == 0 else f"{length_ns} ns"
