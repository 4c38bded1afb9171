"""Files of prices as sources of a replay: candles and ticks in CSV."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from attrs import define, field
from lab.domain.batches import CandleBuilder, CandleColumns, TickColumns
from lab.domain.market import BACKFILLED, Candle, MarketData
from lab.domain.time import format_interval
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
    read_tick_columns,
)
from lab_recordings.opening import Digest
from lab_recordings.table import Table

from lab_replay.price_file import PriceFile
from lab_replay.source import Batch, other_interval


@define(eq=False)
class CandleFile(PriceFile[CandleColumns]):
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
        yield from self.checked(hold=False)
        self._check_warmup()

    def past(self, wanted: Subscription) -> list[Candle]:
        rows = (candle for batch in read_candles(self.path, wanted.symbol, self.interval_ns) for candle in batch)
        return [candle._replace(status=BACKFILLED) for candle in islice(rows, self.warmup)]

    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Batch]:
        held = self.held()
        self._check_warmup()
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

    def _check_warmup(self) -> None:
        if self.rows <= self.warmup:
            reason = f"{self.rows} candles; with warmup={self.warmup} none is left to play"
            raise RecordingError(self.name, None, reason)

    def _read(self, survey: Survey | None, digest: Digest | None) -> Iterator[CandleColumns]:
        return read_columns(self.path, self.interval_ns, survey, digest)

    def _how(self) -> str:
        return f"candles-{self.interval_ns}"

    def _load(self, data: bytes) -> CandleColumns:
        return CandleColumns.loaded(data)

    def _marked(self, batches: Iterable[Sequence[Candle]]) -> Iterator[Batch]:
        left = self.warmup
        for batch in batches:
            yield (*(candle._replace(status=BACKFILLED) for candle in batch[:left]), *batch[left:]) if left else batch
            left = max(0, left - len(batch))


@define(eq=False)
class TickFile(PriceFile[TickColumns]):
    """Quotes and trades in CSV: both are played, and trades become candles, each known ``confirm_ns`` after its end."""

    confirm_ns: int
    channels: frozenset[Channel]
    """Candles and quotes, and the trades where they are to be played."""

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

    def _with_candles(
        self, batches: Iterable[TickColumns], wanted: Sequence[Subscription]
    ) -> Iterator[Sequence[MarketData]]:
        maker = CandleBuilder(wanted[0].symbol, wanted[0].interval_ns, self.confirm_ns)
        trades_too = any(Channel.TRADES in one.channels & self.channels for one in wanted)
        return map(partial(maker.take_columns, trades_too=trades_too), batches)


def open_file(
    file: str,
    kind: str,
    interval_ns: int | None,
    warmup: int,
    confirm_ns: int,
    *,
    trades: bool,
    keep: bool,
    writes: bool,
) -> CandleFile | TickFile:
    """Return the file as a source: its kind by the header, where ``kind`` is ``auto``; its interval by its times.

    ``interval_ns`` and ``warmup`` are for files of candles, ``confirm_ns`` and ``trades`` for files of ticks; ``keep``
    and ``writes`` are those of `PriceFile`.
    """
    path = locate(file)
    name = file if file in names() else path.name
    if kind == "auto":
        kind = _kind_of(path)
    if kind == "ticks":
        channels = {Channel.CANDLES, Channel.QUOTES, *([Channel.TRADES] if trades else [])}
        return TickFile(name, path, confirm_ns, frozenset(channels), keep=keep, writes=writes)
    return CandleFile(name, path, interval_ns or infer_interval(path), warmup, keep=keep, writes=writes)


def _kind_of(path: Path) -> str:
    table = Table(path)
    if "bid" in table.header:
        return "ticks"
    if "close" in table.header:
        return "candles"
    what = table.described()
    raise RecordingError(path, 1, f"neither ticks (column bid) nor candles (column close); {what}")


def _one_symbol(name: str, wanted: Sequence[Subscription]) -> None:
    if len(set(wanted)) > 1:
        several = ", ".join(f"{one.symbol} {format_interval(one.interval_ns)}" for one in dict.fromkeys(wanted))
        raise ProviderError(f"replay: {name} holds one symbol, wanted are {several}; name one with one interval")
