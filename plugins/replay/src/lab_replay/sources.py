"""Files of prices as sources of a replay: candles and ticks."""

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from attrs import define, evolve, field
from lab.domain.batches import CandleBuilder, CandleColumns, TickColumns
from lab.domain.calendar import WEEKDAYS
from lab.domain.market import BACKFILLED, Candle, MarketData
from lab.domain.time import DAY_NS, format_interval
from lab.errors import ProviderError
from lab.ports import Channel, Subscription
from lab_recordings import (
    CandleFileReader,
    Reading,
    RecordingError,
    Survey,
    locate,
    names,
    read_tick_columns,
)
from lab_recordings.opening import Digest
from lab_recordings.table import Table

from lab_replay.price_file import PriceFile
from lab_replay.shaping import Shape, Span
from lab_replay.source import Batch, exhaust, other_interval

AUTO: Final = "auto"
AROUND_THE_CLOCK: Final = "24/7"
_UNDECLARED: Final = (AUTO, AROUND_THE_CLOCK)
_FORTNIGHT: Final = 10  # weekdays without a weekend between them: enough to know


@define(eq=False)
class CandleSource(PriceFile[CandleColumns]):
    """Candles, cut to a span and made longer ones where those are wanted; the first ``warmup`` of them are the past."""

    warmup: int
    span: Span = field(default=Span(), kw_only=True)
    calendar: str = field(default=AROUND_THE_CLOCK, kw_only=True)
    """When the market is open: a calendar of `lab.domain.calendar`, ``24/7``, or ``auto``."""
    channels: frozenset[Channel] = field(default=frozenset({Channel.CANDLES}), init=False)
    _shape: Shape | None = field(default=None, init=False)
    _shaped: Survey | None = field(default=None, init=False)

    @abstractmethod
    def own_interval_ns(self) -> int:
        """Return the length of the candles as they were recorded."""

    def fits(self, wanted: Sequence[Subscription]) -> None:
        _one_symbol(self.name, wanted)
        own_ns, asked_ns = self.own_interval_ns(), wanted[0].interval_ns
        if asked_ns % own_ns:
            raise other_interval(self.name, own_ns, wanted[0], ", or a multiple of it")
        if self._shape is None or self._shape.interval_ns != asked_ns:
            calendar = self._known_calendar(longer=asked_ns != own_ns)
            changes = asked_ns != own_ns or not self.span.is_all or calendar
            self._shape = Shape(self.name, own_ns, asked_ns, self.span, calendar) if changes else None
            self._shaped = None

    def calendar_in_force(self) -> str:
        """Return when the market is open: as it was declared, else Monday to Friday for days none of which is another.

        The data was read before.
        """
        if self.calendar not in _UNDECLARED:
            return self.calendar
        if self._shape is not None and self._shape.calendar:
            return self._shape.calendar
        return self._inferred(self._shaped or self.surveyed(), self.rows if self._shape is None else self._shape.rows)

    def _known_calendar(self, *, longer: bool) -> str:
        """Return the calendar by which candles are cut and made longer; days tell of it before they are made longer."""
        if self.calendar not in _UNDECLARED:
            return self.calendar
        if not longer or self.own_interval_ns() != DAY_NS:
            return ""
        return self._inferred(self.surveyed(), self.rows)

    def _inferred(self, survey: Survey, rows: int) -> str:
        no_weekends = survey.daily and not survey.weekends and rows >= _FORTNIGHT
        return WEEKDAYS if self.calendar == AUTO and no_weekends else ""

    def scan(self) -> Iterator[None]:
        yield from self.checked(hold=False)
        self._check_rows()

    def past(self, wanted: Subscription) -> list[Candle]:
        rows = (candle for batch in self._candles(wanted) for candle in batch)
        return [candle._replace(status=BACKFILLED) for candle in islice(rows, self.warmup)]

    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Batch]:
        held = self.held()
        self._check_rows()
        if self._shape is not None:
            held = self._shape.columns(held)
        return self._marked(columns.candles(wanted[0].symbol, wanted[0].interval_ns) for columns in held)

    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        left = self.warmup
        for batch in self._candles(wanted[0]):
            yield batch[left:]
            left = max(0, left - len(batch))

    def form(self) -> str:
        parts = [self.surveyed().said, self._shape.said() if self._shape is not None else ""]
        if self.calendar == AUTO and self.calendar_in_force():
            parts.append("no weekends, so the market is closed then (calendar weekdays)")
        return "; ".join(part for part in parts if part)

    def notes(self) -> list[str]:
        survey, notes = self._gaps_surveyed(), []
        if survey.gaps:
            cure = "; with replay.calendar=file the market is closed there" if self.calendar_in_force() else ""
            notes.append(
                f"gaps {survey.gaps}: {self.name} has candles missing, the longest stretch {survey.longest_gap()}; "
                f"a market order that waits over a gap expires{cure}"
            )
        if not self.surveyed().has_volume:
            notes.append(f"no_volume: {self.name} has no column volume, so the volume of every candle is 0")
        return notes

    def _gaps_surveyed(self) -> Survey:
        """Return a survey of what is played, in which nothing that the calendar explains is a gap."""
        survey, calendar = self._shaped or self.surveyed(), self.calendar_in_force()
        if not survey.gaps or not calendar or (self._shape is not None and self._shape.calendar == calendar):
            return survey
        own_ns = self.own_interval_ns()
        shape = self._shape or Shape(self.name, own_ns, own_ns, self.span)
        explained = Survey()
        exhaust(evolve(shape, calendar=calendar).columns(self.held(), explained))
        return explained

    def _check_rows(self) -> None:
        rows = self.rows
        if self._shape is not None:
            if self._shaped is None:
                self._shaped = Survey()
                exhaust(self._shape.columns(self.held(), self._shaped))
            rows = self._shape.rows
        if rows <= self.warmup:
            raise RecordingError(self.name, None, f"{rows} candles; with warmup={self.warmup} none is left to play")

    def _candles(self, wanted: Subscription) -> Iterator[Sequence[Candle]]:
        columns = self._read(None, None)
        if self._shape is not None:
            columns = self._shape.columns(columns)
        return (block.candles(wanted.symbol, wanted.interval_ns) for block in columns)

    def _load(self, data: bytes) -> CandleColumns:
        return CandleColumns.loaded(data)

    def _marked(self, batches: Iterable[Sequence[Candle]]) -> Iterator[Batch]:
        left = self.warmup
        for batch in batches:
            yield (*(candle._replace(status=BACKFILLED) for candle in batch[:left]), *batch[left:]) if left else batch
            left = max(0, left - len(batch))


@define(eq=False)
class CandleFile(CandleSource):
    """Candles of a file in any form that is read."""

    reader: CandleFileReader = field(kw_only=True)

    def own_interval_ns(self) -> int:
        return self.reader.interval_ns if self.reader.is_plain else self.surveyed().interval_ns

    def _begin(self) -> None:
        self.reader.check()

    def _fell_back(self, refused: RecordingError) -> bool:
        if not self.reader.is_plain:
            return False
        self.reader.fall_back(refused)
        return True

    def _read(self, survey: Survey | None, digest: Digest | None) -> Iterator[CandleColumns]:
        return self.reader.columns(survey, digest)

    def _how(self) -> str:
        reading = self.reader.reading
        if self.reader.is_plain:
            return f"candles-{self.reader.interval_ns}"
        return f"candles-{reading.interval_ns or 'own'}-{reading.dates}-{reading.decimals}"


@define(eq=False)
class TickFile(PriceFile[TickColumns]):
    """Quotes and trades in CSV: both are played, and trades become candles, each known ``confirm_ns`` after its end."""

    confirm_ns: int
    channels: frozenset[Channel]
    """Candles and quotes, and the trades where they are to be played."""
    span: Span = Span()

    def fits(self, wanted: Sequence[Subscription]) -> None:
        _one_symbol(self.name, wanted)

    def past(self, wanted: Subscription) -> list[Candle]:
        return []

    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        return self._with_candles(self.held(), wanted)

    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        return self._with_candles(self._read(None, None), wanted)

    def _read(self, survey: Survey | None, digest: Digest | None) -> Iterator[TickColumns]:
        return read_tick_columns(self.path, survey, digest)

    def _how(self) -> str:
        return "ticks"

    def _load(self, data: bytes) -> TickColumns:
        return TickColumns.loaded(data)

    def _cut(self, batches: Iterable[TickColumns]) -> Iterator[TickColumns]:
        found = False
        for block in batches:
            parts = []
            for columns in (block.quotes, block.trades):
                begin, end = (bisect_left(columns[0], at) for at in (self.span.since_ns, self.span.until_ns))
                parts.append([column[begin:end] for column in columns])
            if len(parts[0][0]) or len(parts[1][0]):
                found = True
                yield TickColumns(*parts)
        if not found:
            raise RecordingError(self.name, None, f"no tick {self.span}")

    def _with_candles(
        self, batches: Iterable[TickColumns], wanted: Sequence[Subscription]
    ) -> Iterator[Sequence[MarketData]]:
        if not self.span.is_all:
            batches = self._cut(batches)
        maker = CandleBuilder(wanted[0].symbol, wanted[0].interval_ns, self.confirm_ns)
        trades_too = any(Channel.TRADES in one.channels & self.channels for one in wanted)
        return map(partial(maker.take_columns, trades_too=trades_too), batches)


def open_file(
    file: str,
    kind: str,
    reading: Reading,
    span: Span,
    calendar: str,
    warmup: int,
    confirm_ns: int,
    *,
    trades: bool,
    keep: bool,
    writes: bool,
) -> CandleFile | TickFile:
    """Return the file as a source: its kind by the header, where ``kind`` is ``auto``; its interval by its times.

    ``reading`` and ``warmup`` are for files of candles, ``confirm_ns`` and ``trades`` for files of ticks; ``keep`` and
    ``writes`` are those of `PriceFile`.
    """
    path = locate(file)
    name = file if file in names() else path.name
    if kind == "auto":
        kind = _kind_of(path)
    if kind == "ticks":
        channels = {Channel.CANDLES, Channel.QUOTES, *([Channel.TRADES] if trades else [])}
        return TickFile(name, path, confirm_ns, frozenset(channels), span, keep=keep, writes=writes)
    return CandleFile(
        name, path, warmup, span=span, calendar=calendar, reader=CandleFileReader(path, reading), keep=keep,
        writes=writes,
    )  # fmt: skip


def _kind_of(path: Path) -> str:
    try:
        return "ticks" if "bid" in Table(path).header else "candles"
    except RecordingError:
        return "candles"  # whatever is wrong with it is said when it is read


def _one_symbol(name: str, wanted: Sequence[Subscription]) -> None:
    if len(set(wanted)) > 1:
        several = ", ".join(f"{one.symbol} {format_interval(one.interval_ns)}" for one in dict.fromkeys(wanted))
        raise ProviderError(
            f"replay: {name} holds one symbol, wanted are {several}; name one with one interval, or give each "
            "symbol a file: lab backtest BTCUSDT=btc.csv ETHUSDT=eth.csv"
        )
