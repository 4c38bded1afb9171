"""A file of candles as people have it: in the plain form, which is read fast, or in a dialect that all of it shows."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.domain.batches import CandleColumns
from lab.domain.time import SECOND_NS, format_interval, parse_time

from lab_recordings.candles import infer_interval, read_columns
from lab_recordings.dialects.loading import Loaded, Reading, in_blocks, load
from lab_recordings.errors import RecordingError, UnclearError
from lab_recordings.opening import Digest
from lab_recordings.survey import Survey
from lab_recordings.table import BATCH, Table
from lab_recordings.times import TIME_NAMES

_PLAIN: Final = ("open", "high", "low", "close")
_AS_MILLISECONDS: Final = parse_time("1980-01-01")  # 202401311530, a date and time, would be a time before this


class CandleFileReader:
    """Reads a file of candles.

    A plain file (commas, a header of plain names, times as `read_columns` has them) is read by it. Any other is read
    whole into memory, in the one dialect that all of its rows agree with. `fall_back` makes a file that looked plain,
    and was not, one of the others.
    """

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        """Look at the file's first rows. Raises `RecordingError` for a file that is missing."""
        self.path = path
        self.reading = reading or Reading()
        self._loaded: Loaded | None = None
        self._interval_ns = self.reading.interval_ns or 0
        self._refused: RecordingError | None = None
        try:
            self._look()
        except RecordingError as error:
            self._refused = error

    @property
    def is_plain(self) -> bool:
        """Whether the file is read fast, as far as is known."""
        return self._refused is None

    @property
    def interval_ns(self) -> int:
        """The length of the file's candles. Raises `RecordingError`."""
        return self._interval_ns if self.is_plain else self.loaded().interval_ns

    def said(self) -> str:
        """Return what was inferred of a file that is not plain, in one line; else an empty text."""
        if self.is_plain:
            return ""
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
        self._refused = refused
        self.loaded()

    def columns(self, survey: Survey | None = None, digest: Digest | None = None) -> Iterator[CandleColumns]:
        """Yield the candles in blocks, ascending. A ``survey`` takes in what was read, a ``digest`` the bytes."""
        if self.is_plain:
            yield from read_columns(self.path, self._interval_ns, survey, digest)
            return
        loaded, before_ns = self.loaded(), None
        survey = survey or Survey()
        survey.has_volume, survey.said, survey.interval_ns = loaded.has_volume, self.said(), loaded.interval_ns
        for columns in in_blocks(loaded, BATCH):
            survey.see_openings(before_ns, columns.opens_ns, loaded.interval_ns)
            survey.see_prices(columns.figures[:4], columns.lowest, columns.highest)
            before_ns = columns.opens_ns[-1]
            yield columns
        if digest is not None:
            self._digest(loaded, digest)

    def _look(self) -> None:
        table = Table(self.path)
        table.place(*TIME_NAMES)
        table.places(_PLAIN)
        if not self._interval_ns:
            self._interval_ns = infer_interval(self.path, since_ns=_AS_MILLISECONDS)
            if self._interval_ns % SECOND_NS:
                raise RecordingError(self.path, None, "its candles are no whole seconds apart")

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
