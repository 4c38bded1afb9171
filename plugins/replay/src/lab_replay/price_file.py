"""A file of prices: read to its end once, and its columns kept in the user's cache for the next time."""

import hashlib
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar

from attrs import define, field
from lab.domain.batches import CandleColumns, TickColumns
from lab_recordings import RecordingError, Survey, sha256_of
from lab_recordings.cache import LEAST_BYTES, ColumnCache, name_of
from lab_recordings.kept import DamagedError, KeptColumns
from lab_recordings.opening import Digest
from lab_recordings.table import Table

from lab_replay.source import Source, exhaust

_Columns = TypeVar("_Columns", CandleColumns, TickColumns)
_HELD: Final = 48 * 1024 * 1024  # bytes of packed columns
_PACKED_AS: Final = (b"\x1f\x8b", b"PK\x03\x04", b"PAR1")
_PACKED: Final = 4  # how much smaller prices are under gzip


@define(eq=False)
class PriceFile(Source, Generic[_Columns]):
    """A file of one symbol's prices, which shows by them on which steps it is traded.

    Its columns are kept in the user's cache, so that they are read and checked once, and not at every run.
    """

    name: str
    """A recording's name, or the last part of the path."""
    path: Path
    keep: bool = field(kw_only=True)
    """Whether columns are kept, and kept ones used."""
    writes: bool = field(kw_only=True)
    """Whether anything may be written; without, kept columns are used where there are some."""
    rows: int = field(default=0, init=False)
    _survey: Survey | None = field(default=None, init=False, repr=False)
    _sha256: str = field(default="", init=False)

    def surveyed(self) -> Survey:
        """Return what the whole file shows; read it, unless it was read to its end before."""
        if self._survey is None:
            exhaust(self.scan())
        assert self._survey is not None
        return self._survey

    def identity(self) -> Mapping[str, str]:
        notes = "\n".join(self.notes())
        sha256 = self._sha256 or sha256_of(self.path)
        form = self.form()
        found = {"file": self.name, "sha256": sha256, "notes": notes, "form": form}
        return {key: text for key, text in found.items() if text}

    def form(self) -> str:
        """Return in one line what was inferred of the file's form, and what was left out; empty for a plain file."""
        return self.surveyed().said

    def notes(self) -> list[str]:
        """Return what a user is to know of the data; each is one line that begins with a word for it."""
        return []

    def scan(self) -> Iterator[None]:
        yield from self.checked(hold=False)

    def held(self) -> Iterator[_Columns]:
        """Return the columns of the file, which was read to its end once and is what `identity` names."""
        reading = self.checked()
        while True:
            try:
                next(reading)
            except StopIteration as end:
                columns: Iterator[_Columns] = end.value
                return columns

    def checked(self, *, hold: bool = True) -> Generator[None, None, Iterator[_Columns]]:
        """Read the file to its end once, pausing at each block, then return its columns.

        They come from the kept ones, else from memory where they are few (and are to be held), else from the file once
        more.
        """
        try:
            return (yield from self._checked(hold))
        except RecordingError as error:
            if not self._fell_back(error):
                raise
        return (yield from self._checked(hold))

    def _checked(self, hold: bool) -> Generator[None, None, Iterator[_Columns]]:
        self._begin()
        kept = yield from self._kept()
        if kept is not None:
            self._survey, self.rows = kept.survey, kept.rows
            return self._played(kept)
        survey, digest, rows, held, left = Survey(), hashlib.sha256(), 0, [], _HELD if hold else 0
        for columns in self._read(survey, digest):
            rows += len(columns)
            left -= len(columns.dumped())
            if left >= 0:
                held.append(columns)
            else:
                held.clear()
            yield
        self._survey, self.rows, self._sha256 = survey, rows, digest.hexdigest()
        return iter(held) if left >= 0 else self._again()

    def _begin(self) -> None:
        """Raise for what is wrong with a file whatever is in it, such as its name."""
        Table(self.path)

    def _fell_back(self, refused: RecordingError) -> bool:
        """Return whether a file that was refused is to be read in another way. Raises the better of two errors."""
        return False

    @abstractmethod
    def _read(self, survey: Survey | None, digest: Digest | None) -> Iterator[_Columns]:
        """Read the file. Both are complete at its end."""

    @abstractmethod
    def _how(self) -> str:
        """Return as what the file is read, for the name of what is kept of it."""

    @abstractmethod
    def _load(self, data: bytes) -> _Columns:
        """Return kept columns."""

    def _kept(self) -> Generator[None, None, KeptColumns[_Columns] | None]:
        """Return the kept columns, which are made of the file where there are none; ``None`` where it is not kept."""
        if not self.keep or _length(self.path) < LEAST_BYTES:
            return None
        cache = ColumnCache(writes=self.writes)
        sha256 = sha256_of(self.path)
        name = name_of(sha256, self._how())
        kept = cache.find(name, self._load)
        if kept is None and _length(self.path) <= cache.most_bytes:
            with cache.draft(name) as draft:
                if draft is not None:
                    survey, digest = Survey(), hashlib.sha256()
                    for columns in self._read(survey, digest):
                        draft.add(columns)
                        yield
                    if digest.hexdigest() == sha256:  # else the file is another one by now
                        draft.end(survey)
            if draft is not None and draft.complete:
                kept = cache.find(name, self._load)
        if kept is not None:
            self._sha256 = sha256
        return kept

    def _played(self, kept: KeptColumns[_Columns]) -> Iterator[_Columns]:
        try:
            yield from kept.columns()
        except (DamagedError, OSError) as error:
            reason = f"its kept columns were damaged while they were played ({error}); run it again"
            raise RecordingError(self.name, None, reason) from None

    def _again(self) -> Iterator[_Columns]:
        digest = hashlib.sha256()
        yield from self._read(None, digest)
        if digest.hexdigest() != self._sha256:
            raise RecordingError(self.name, None, "it was changed while it was played")


def _length(path: Path) -> int:
    """Return about how many bytes of text a file has."""
    with path.open("rb") as file:
        packed = file.read(4).startswith(_PACKED_AS)
    return path.stat().st_size * (_PACKED if packed else 1)
