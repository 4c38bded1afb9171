"""The provider ``replay``: recorded data, on the session's clock or as fast as it can be read."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

import anyio
from attrs import Attribute, define, evolve, field
from lab.domain.batches import CandleColumns
from lab.domain.calendar import check_calendar
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import BACKFILLED, Candle, MarketData
from lab.domain.time import MILLISECOND_NS, SECOND_NS, parse_interval, parse_time
from lab.errors import JournalError, ProviderError
from lab.ports import Channel, FeedState, Provider, Realm, Runtime, Sink, Subscription
from lab.ports.provider import CHANNEL_OF
from lab_recordings import Reading, RecordingError, names

from lab_replay.files import Files
from lab_replay.funding_file import FundingFile
from lab_replay.memory import HeldCandles
from lab_replay.price_file import PriceFile
from lab_replay.shaping import Span
from lab_replay.source import Source
from lab_replay.sources import AROUND_THE_CLOCK, AUTO, CandleFile, CandleSource, TickFile, open_file
from lab_replay.steps import label_note, steps_of
from lab_replay.tape import RunTape

_KEPT: Final = 10_000  # candles remembered for `history`, per subscription
_COARSEST: Final = Decimal("1e12")
_FINEST: Final = {"tick": Decimal("1e-12"), "lot": Decimal("1e-8"), "quantity_min": Decimal("1e-8")}
_LATEST_MS: Final = 60_000
_YIELD_EVERY: Final = 500  # events given without a wait between two looks at the loop


def _is_step(_: object, attribute: "Attribute[Any]", value: Decimal | None) -> None:
    if value is not None and not _FINEST[attribute.name] <= value <= _COARSEST:
        raise ValueError(f"{attribute.name} must lie between {_FINEST[attribute.name]} and {_COARSEST}, not {value}")


def _is_fee(_: object, attribute: "Attribute[Any]", value: Decimal) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be a fraction from 0 to 1, not {value}")


def _not_negative(_: object, attribute: "Attribute[Any]", value: int) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must be 0 or more, not {value}")


def _is_delay(_: object, attribute: "Attribute[Any]", value: int) -> None:
    if not 0 <= value <= _LATEST_MS:
        raise ValueError(f"{attribute.name} must be milliseconds from 0 to {_LATEST_MS}, not {value}")


def _absolute(text: str) -> str:
    """Return a path from the root, so that it is found from every folder; a recording's name stays as it is."""
    return str(Path(text).absolute()) if text and text not in names() else text


def _by_symbol(texts: list[str]) -> list[str]:
    """Return the files of several symbols with their paths from the root."""
    found: dict[str, str] = {}
    for text in texts:
        symbol, equals, file = (part.strip() for part in text.partition("="))
        if not (symbol and equals and file):
            raise ValueError(f"files: {text[:80]!r}: expected SYMBOL=FILE")
        if symbol in found:
            raise ValueError(f"files gives {symbol[:80]} twice; give each symbol one file")
        found[symbol] = f"{symbol}={_absolute(file)}"
    return list(found.values())


def _is_interval(_: object, attribute: "Attribute[Any]", value: str) -> None:
    if value:
        try:
            parse_interval(value)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None


def _is_time(_: object, attribute: "Attribute[Any]", value: str) -> None:
    if value:
        try:
            parse_time(value)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None


def _is_calendar(_: object, attribute: "Attribute[Any]", value: str) -> None:
    if value not in (AUTO, AROUND_THE_CLOCK):
        try:
            check_calendar(value)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None
        if not value:
            raise ValueError(f"{attribute.name} is empty; expected auto, 24/7, weekdays, file or days and hours")


@define(kw_only=True, eq=False)
class ReplayProvider(Provider):
    """Plays a file of candles or ticks, or the market data of a run of lab, at the spacing it was recorded with.

    A file or run is read to its end before anything is played: a missing, empty or malformed one raises
    `ProviderError` with file and line from `start` and from `batches`. Candles of a file are known at their end, those
    made of its ticks ``confirm_ms`` later, as in a session, and after the quotes up to then. A file holds one symbol
    and does not say which: it is taken for the symbol that is wanted. Where its name says another one, the origin of
    the instrument tells it.
    """

    file: str = field(
        default="",
        converter=_absolute,
        metadata={"help": "candles or ticks: a path, or a recording's name"},
    )
    files: list[str] = field(
        factory=list,
        converter=_by_symbol,
        metadata={"help": "several symbols instead of one: SYMBOL=FILE each, files as for file"},
    )
    run: str = field(default="", converter=_absolute, metadata={"help": "directory of a run of lab, instead of a file"})
    format: Literal["auto", "candles", "ticks"] = field(
        default="auto", metadata={"help": "what the file holds: auto (by its header), candles or ticks"}
    )
    interval: str = field(
        default="", validator=_is_interval, metadata={"help": "interval of a file's candles; empty: by its times"}
    )
    since: str = field(
        default="",
        validator=_is_time,
        metadata={"help": "play what begins at this time (ISO, UTC) or later"},
    )
    until: str = field(default="", validator=_is_time, metadata={"help": "play what has ended by this time (ISO, UTC)"})
    dates: Literal["auto", "day-first", "month-first"] = field(
        default="auto",
        metadata={"help": "what comes first in dates such as 01/02/2024; auto: as the file shows"},
    )
    decimals: Literal["auto", "point", "comma"] = field(
        default="auto", metadata={"help": "the decimal sign of a file's numbers; auto: as the whole file shows"}
    )
    calendar: str = field(
        default="auto",
        validator=_is_calendar,
        metadata={
            "help": "when the market is open: 24/7, weekdays, file (whenever it has a candle), days and hours such as "
            "Mon-Fri 14:30-21:00 (UTC); auto: weekdays for days without weekends, else 24/7"
        },
    )
    warmup: int = field(
        default=0, validator=_not_negative, metadata={"help": "candles at a file's beginning that are history"}
    )
    confirm_ms: int = field(
        default=2070,
        validator=_is_delay,
        metadata={"help": "milliseconds from a candle's end until it is known, where it is made of ticks"},
    )
    trades: bool = field(
        default=True, metadata={"help": "play a tick file's trades too, for resting limits and on_trade"}
    )
    tick: Decimal | None = field(
        default=None,
        validator=_is_step,
        metadata={"help": "a file's price step; none: a recording's own, else by the decimals of the file's prices"},
    )
    lot: Decimal | None = field(
        default=None,
        validator=_is_step,
        metadata={"help": "a file's quantity step, in coins; none: a recording's own, else by the file's prices"},
    )
    quantity_min: Decimal | None = field(
        default=None,
        validator=_is_step,
        metadata={"help": "smallest quantity of an order on a file, in coins; none: one lot"},
    )
    maker_fee: Decimal = field(
        default=Decimal("0.0002"), validator=_is_fee, metadata={"help": "maker fee, a fraction of the notional"}
    )
    taker_fee: Decimal = field(
        default=Decimal("0.0006"), validator=_is_fee, metadata={"help": "taker fee, a fraction of the notional"}
    )
    funding: str = field(
        default="",
        converter=_absolute,
        metadata={"help": "CSV of funding rates for a file: time (of settlement), rate (a fraction), mark if known"},
    )
    keep: bool = field(
        default=True,
        metadata={"help": "keep what was read of a file of 2 MiB or more in the user's cache, for the next run"},
    )

    _leaves_no_file: bool = field(init=False, default=False, repr=False)
    _held: dict[str, HeldCandles] = field(init=False, factory=dict, repr=False)
    _source: Source | None = field(init=False, default=None, repr=False)
    _rates: FundingFile | None = field(init=False, default=None, repr=False)
    _known: dict[str, deque[Candle]] = field(init=False, factory=dict, repr=False)

    def realm(self) -> Realm:
        """Return ``recorded``."""
        return Realm.RECORDED

    def channels(self) -> frozenset[Channel]:
        """Return what a file or run of this kind may hold. Raises `ProviderError`."""
        channels = self._open().channels
        return channels if self._rates is None else channels | {Channel.FUNDING}

    def origin(self) -> str:
        """Return the file or run; once a file of ticks is open, also when its candles are known."""
        if self._held and self._source is not None:
            return self._source.name
        if self.files:
            return ", ".join(Path(text.partition("=")[2]).name for text in self.files)
        if not self.file:
            return f"run {Path(self.run).name}"
        name = Path(self.file).name
        if self.confirm_ms and isinstance(self._source, TickFile):
            return f"{name}, candles known {self.confirm_ms} ms after their end"
        return name

    def hold(
        self,
        columns: Sequence[CandleColumns],
        interval_ns: int,
        name: str,
        *,
        has_volume: bool = True,
        symbol: str = "",
    ) -> None:
        """Play candles that are in memory, instead of a file: checked columns, ascending, on the interval's grid.

        ``name`` is what reports and errors call them. Of several symbols each is held by a call with its ``symbol``. A
        run of them can be verified only by whoever has them still. Raises ``ValueError`` where a file or run is set.
        """
        if self.file or self.files or self.run:
            raise ValueError("candles in memory are played instead of a file or a run, and one is set")
        path = Path(name.replace("/", "_"))
        self._held[symbol] = HeldCandles(
            name, path, self.warmup, interval_ns=interval_ns, span=self._span(), calendar=self.calendar,
            columns=columns, has_volume=has_volume, keep=False, writes=False,
        )  # fmt: skip
        self._source = Files(dict(self._held)) if symbol else self._held[symbol]
        with _named():
            self._rates = FundingFile(Path(self.funding)) if self.funding else None

    def leave_no_file(self) -> None:
        """Keep nothing of the file; what was kept before may be used."""
        self._leaves_no_file = True

    async def start(self, runtime: Runtime) -> None:
        """Read the file or run to its end. Raises `ProviderError` naming file and line."""
        source = self._open()
        with _named():
            for _ in source.scan():
                await anyio.sleep(0)

    def own_interval(self) -> int | None:
        """Return the length of a file's candles. Raises `ProviderError`."""
        source = self._open()
        files = source.files.values() if isinstance(source, Files) else (source,)
        with _named():
            lengths = {one.own_interval_ns() if isinstance(one, CandleSource) else None for one in files}
        return lengths.pop() if len(lengths) == 1 else None

    async def instrument(self, symbol: str) -> Instrument:
        """Return the instrument: a run's own, else as settings and prices have it, with where its steps come from.

        Raises `ProviderError` for a tick of more than 5 basis points of the file's lowest price.
        """
        return self.batch_instrument(symbol)

    def batch_instrument(self, symbol: str) -> Instrument:
        """Return what `instrument` does."""
        source = self._open()
        if isinstance(source, RunTape):
            if symbol in source.instruments:
                return source.instruments[symbol]
            has = ", ".join(source.instruments) or "none"
            raise ProviderError(f"replay: {source.name} holds no {symbol}; it has {has}")
        if isinstance(source, Files):
            source = source.of(symbol)
        assert isinstance(source, PriceFile)
        with _named():
            steps = steps_of(source, self.tick, self.lot, self.quantity_min)
        calendar = ""
        if isinstance(source, CandleSource):
            with _named():
                calendar = source.calendar_in_force()
        quote = next((end for end in ("USDT", "USDC", "USD") if symbol.endswith(end) and symbol != end), None)
        return Instrument(
            symbol=symbol,
            base=symbol.removesuffix(quote) if quote else symbol,
            quote=quote or "USDT",
            tick=steps.tick,
            lot=steps.lot,
            quantity_min=steps.quantity_min,
            maker_fee_rate=self.maker_fee,
            taker_fee_rate=self.taker_fee,
            calendar=calendar,
            origin=steps.origin + label_note(source, symbol),
        )

    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Return the candles before the stream's first event, and those played.

        Before it lie the ``warmup`` of a file of candles, or what was back-filled at the beginning of a run.
        """
        wanted = Subscription(symbol, interval_ns)
        source = self._open()
        with _named():
            source.fits((wanted,))
            if symbol not in self._known:
                self._known[symbol] = deque(source.past(wanted), maxlen=_KEPT)
        candles = [one for one in self._known[symbol] if end_ns is None or one.open_ns < end_ns]
        return [one._replace(status=BACKFILLED) for one in candles[-count:]] if count > 0 else []

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        """Give the events at the spacing they were recorded with, the first one at once; return after the last.

        Raises `ProviderError` when the data does not fit what is wanted.
        """
        source = self._open()
        with _named():
            source.fits(wanted)
            self._known = {one.symbol: deque(source.past(one), maxlen=_KEPT) for one in wanted}
            sink.feed(FeedState.LIVE, self.origin())
            channels = {one.symbol: one.channels for one in wanted}
            origin, first_ns = anyio.current_time(), 0
            for number, event in enumerate(_flat(self._funded(source.live(wanted), wanted)), 1):
                first_ns = first_ns or event.time_ns
                wait = origin + (event.time_ns - first_ns) / SECOND_NS - anyio.current_time()
                if wait > 0 or number % _YIELD_EVERY == 0:
                    await anyio.sleep(max(0.0, wait))
                if isinstance(event, Candle):
                    self._known[event.symbol].append(event)
                if CHANNEL_OF[type(event)] in channels[event.symbol]:
                    sink.put(event)

    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]]:
        """Return all the data; history comes first, marked back-filled.

        Raises `ProviderError` when called, not later.
        """
        source = self._open()
        with _named():
            source.fits(wanted)
            return _named_batches(self._funded(source.batches(wanted), wanted))

    def source(self) -> Mapping[str, str]:
        """Return the file or run and its SHA-256."""
        source = self._open()
        with _named():
            return {**source.identity(), **({"funding_sha256": self._rates.sha256} if self._rates else {})}

    def _funded(self, batches: Iterator[Any], wanted: Sequence[Subscription]) -> Iterator[Any]:
        return batches if self._rates is None else self._rates.between(batches, wanted[0].symbol)

    def _span(self) -> Span:
        span = Span()
        if self.since:
            span = evolve(span, since_ns=parse_time(self.since))
        if self.until:
            span = evolve(span, until_ns=parse_time(self.until))
        if span.since_ns >= span.until_ns:
            raise ProviderError(f"replay: since {self.since} is not before until {self.until}")
        return span

    def _open(self) -> Source:
        if self._source is None:
            if bool(self.file) + bool(self.files) + bool(self.run) != 1:
                text = "set one of file (a path or a recording's name), files (SYMBOL=FILE each) and run (a directory)"
                raise ProviderError(f"replay: {text}")
            if not self.file and self.funding:
                text = "funding goes with file: a run has its own rates, and several files would share one's"
                raise ProviderError(f"replay: {text}; leave one of them out")
            with _named():
                self._rates = FundingFile(Path(self.funding)) if self.funding else None
                if self.run:
                    self._source = RunTape(Path(self.run).name, Path(self.run))
                elif self.files:
                    named = (text.partition("=") for text in self.files)
                    self._source = Files({symbol: self._open_file(file) for symbol, _, file in named})
                else:
                    self._source = self._open_file(self.file)
        return self._source

    def _open_file(self, file: str) -> CandleFile | TickFile:
        interval_ns = parse_interval(self.interval) if self.interval else None
        return open_file(
            file,
            self.format,
            Reading(self.dates, self.decimals, interval_ns),
            self._span(),
            self.calendar,
            self.warmup,
            self.confirm_ms * MILLISECOND_NS,
            trades=self.trades,
            keep=self.keep,
            writes=not self._leaves_no_file,
        )


@contextmanager
def _named() -> Iterator[None]:
    """Turn what is wrong with the data into the error of a provider; the text names file and line already."""
    try:
        yield
    except (RecordingError, JournalError) as error:
        raise ProviderError(f"replay: {error}") from error
    except OSError as error:  # of a name that is none, or a device that can't be read
        raise ProviderError(f"replay: {str(error.filename or 'the file')[:200]}: {error.strerror or error}") from error


def _named_batches(batches: Iterator[Sequence[Input]]) -> Iterator[Sequence[Input]]:
    with _named():
        yield from batches


def _flat(batches: Iterator[Sequence[MarketData]]) -> Iterator[MarketData]:
    for batch in batches:
        yield from batch
