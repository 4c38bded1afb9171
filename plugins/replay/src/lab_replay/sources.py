"""Sources of a replay: candles and ticks in CSV, and tapes of runs. Reads files, waits for nothing.

Errors are `RecordingError` (files), `JournalError` (runs, see `lab_replay.tape`) and `ProviderError` (what is wanted
does not fit); each names the culprit.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from attrs import define, field
from lab.domain.batches import CandleBuilder, CandleColumns, TickColumns
from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED, Candle, MarketData
from lab.domain.time import SECOND_NS, format_interval
from lab.errors import ProviderError
from lab.ports import Channel, Subscription
from lab_recordings import (
    RecordingError,
    Survey,
    infer_interval,
    locate,
    names,
    read_candles,
    read_columns,
    read_ticks,
    sha256_of,
)
from lab_recordings.table import Table

Batch = Sequence[Input]
_Read = TypeVar("_Read")
_HELD_CANDLES: Final = 128 * 1024 * 1024  # bytes of text; packed columns take about as many
_HELD_TICKS: Final = 32 * 1024 * 1024  # objects take five times as many
_PACKED: Final = 4  # how much smaller prices are under gzip


class Source(ABC):
    """Recorded data, read anew by each call."""

    name: str
    channels: frozenset[Channel]
    """What it may hold."""

    @abstractmethod
    def fits(self, wanted: Sequence[Subscription]) -> None:
        """Raise `ProviderError` when the data can't serve what is wanted."""

    @abstractmethod
    def scan(self) -> Iterator[None]:
        """Read all of it, pausing at each batch, and raise the first error found."""

    @abstractmethod
    def past(self, wanted: Subscription) -> list[Candle]:
        """Return the candles that lie before the data that is played live, marked back-filled, ascending."""

    @abstractmethod
    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Batch]:
        """Return everything, the past first. The call reads all of it once, so errors come before the first batch."""

    @abstractmethod
    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        """Yield what comes after the past, as it is read."""

    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """Return what names the data, with its SHA-256; under ``notes``, line by line, what is to be known of it."""


@define(eq=False)
class PriceFile(Source):
    """A file of one symbol's prices, which shows by them on which steps it is traded."""

    name: str
    """A recording's name, or the last part of the path."""
    path: Path
    _survey: Survey | None = field(default=None, init=False, repr=False)

    def surveyed(self) -> Survey:
        """Return what the whole file shows; read it, unless it was read to its end before."""
        if self._survey is None:
            exhaust(self.scan())
        assert self._survey is not None
        return self._survey

    def identity(self) -> Mapping[str, str]:
        notes = "\n".join(self.notes())
        return {"file": self.name, "sha256": sha256_of(self.path), **({"notes": notes} if notes else {})}

    def notes(self) -> list[str]:
        """Return what a user is to know of the data; each is one line that begins with a word for it."""
        return []


@define(eq=False)
class CandleFile(PriceFile):
    """Candles in CSV; the first ``warmup`` are the past."""

    interval_ns: int
    warmup: int
    channels: frozenset[Channel] = field(default=frozenset({Channel.CANDLES}), init=False)

    def fits(self, wanted: Sequence[Subscription]) -> None:
        _one_symbol(self.name, wanted)
        for one in wanted:
            if one.interval_ns != self.interval_ns:
                raise other_interval(self.name, self.interval_ns, one)

    def scan(self) -> Iterator[None]:
        total, survey = 0, Survey()
        for columns in read_columns(self.path, self.interval_ns, survey):
            total += len(columns)
            yield
        self._survey = survey
        if total <= self.warmup:
            raise RecordingError(self.name, None, f"{total} candles; with warmup={self.warmup} none is left to play")

    def past(self, wanted: Subscription) -> list[Candle]:
        rows = (candle for batch in read_candles(self.path, wanted.symbol, self.interval_ns) for candle in batch)
        return [candle._replace(status=BACKFILLED) for candle in islice(rows, self.warmup)]

    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Batch]:
        survey = Survey()

        def read(survey: Survey | None) -> Iterator[CandleColumns]:
            return read_columns(self.path, self.interval_ns, survey)

        # A file that is kept is kept packed: objects of it all would be many, and each would be looked at by the
        # garbage collector again and again.
        held = _checked(self.path, read, survey, _HELD_CANDLES, CandleColumns.packed)
        self._survey = survey
        return self._marked(columns.candles(wanted[0].symbol, self.interval_ns) for columns in held)

    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        left = self.warmup
        for batch in read_candles(self.path, wanted[0].symbol, self.interval_ns):
            yield batch[left:]
            left = max(0, left - len(batch))

    def notes(self) -> list[str]:
        survey, notes = self.surveyed(), []
        if survey.gaps:
            notes.append(
                f"gaps {survey.gaps}: {self.name} has candles missing, the longest stretch {survey.longest_gap()}; "
                "a market order that waits over a gap expires"
            )
        if not survey.has_volume:
            notes.append(f"no_volume: {self.name} has no column volume, so the volume of every candle is 0")
        return notes

    def _marked(self, batches: Iterable[Sequence[Candle]]) -> Iterator[Batch]:
        left = self.warmup
        for batch in batches:
            yield (*(candle._replace(status=BACKFILLED) for candle in batch[:left]), *batch[left:]) if left else batch
            left = max(0, left - len(batch))


@define(eq=False)
class TickFile(PriceFile):
    """Quotes and trades in CSV. Quotes are played; trades become candles, each given before the next bucket's ticks."""

    channels: frozenset[Channel] = field(default=frozenset({Channel.CANDLES, Channel.QUOTES}), init=False)

    def fits(self, wanted: Sequence[Subscription]) -> None:
        _one_symbol(self.name, wanted)

    def scan(self) -> Iterator[None]:
        survey = Survey()
        for _ in read_ticks(self.path, survey=survey):
            yield
        self._survey = survey

    def past(self, wanted: Subscription) -> list[Candle]:
        return []

    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        symbol, survey = wanted[0].symbol, Survey()

        def read(survey: Survey | None) -> Iterator[TickColumns]:
            return read_ticks(self.path, symbol, survey)

        held = _checked(self.path, read, survey, _HELD_TICKS)
        self._survey = survey
        return self._with_candles(held, wanted)

    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        return self._with_candles(read_ticks(self.path, wanted[0].symbol), wanted)

    def _with_candles(
        self, batches: Iterable[TickColumns], wanted: Sequence[Subscription]
    ) -> Iterator[Sequence[MarketData]]:
        maker = CandleBuilder(wanted[0].symbol, wanted[0].interval_ns)
        return map(maker.take, batches)


def open_file(file: str, kind: str, interval_ns: int | None, warmup: int) -> PriceFile:
    """Return the file as a source: its kind by the header, where ``kind`` is ``auto``; its interval by its times."""
    path = locate(file)
    name = file if file in names() else path.name
    if kind == "auto":
        kind = _kind_of(path)
    if kind == "ticks":
        return TickFile(name, path)
    return CandleFile(name, path, interval_ns or infer_interval(path), warmup)


def _kind_of(path: Path) -> str:
    table = Table(path)
    if "bid" in table.header:
        return "ticks"
    if "close" in table.header:
        return "candles"
    what = table.described()
    raise RecordingError(path, 1, f"neither ticks (column bid) nor candles (column close); {what}")


def other_interval(name: str, held_ns: int, wanted: Subscription) -> ProviderError:
    """Return the error for candles of another interval than is wanted."""
    held, asked = (
        format_interval(length_ns) if length_ns % SECOND_NS == 0 else f"{length_ns} ns"
        for length_ns in (held_ns, wanted.interval_ns)
    )
    return ProviderError(f"replay: {name} holds {held} candles, {asked} is wanted; give --interval {held}")


def _one_symbol(name: str, wanted: Sequence[Subscription]) -> None:
    if len(set(wanted)) > 1:
        several = ", ".join(f"{one.symbol} {format_interval(one.interval_ns)}" for one in dict.fromkeys(wanted))
        raise ProviderError(f"replay: {name} holds one symbol, wanted are {several}; name one with one interval")


def _checked(
    path: Path,
    read: Callable[[Survey | None], Iterator[_Read]],
    survey: Survey,
    held_bytes: int,
    pack: Callable[[_Read], _Read] | None = None,
) -> Iterator[_Read]:
    """Return the batches of a file that was read to its end once: kept in memory where it is small, else read again.

    The survey is complete when this returns.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if path.stat().st_size * (_PACKED if packed else 1) <= held_bytes:
        return iter(list(map(pack, read(survey)) if pack else read(survey)))
    exhaust(read(survey))
    return read(None)


def exhaust(read: Iterator[object]) -> None:
    """Read to the end, for the errors on the way."""
    deque(read, maxlen=0)
