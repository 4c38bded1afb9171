"""Prices that are read once, for as many runs as you like."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import chain
from os import PathLike, fspath
from typing import Any, Final

from attrs import define, field, frozen

from lab.backtesting.data import BatchData, HeldData
from lab.composition.assembly import Part
from lab.composition.config import RunSettings
from lab.composition.declared import Declared, declared
from lab.composition.subscription import run_instrument, run_subscriptions, with_interval
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.ledger import own_context
from lab.domain.market import Candle
from lab.domain.time import SECOND_NS, format_time
from lab.errors import (
    ConfigError,
    PluginError,
    ProviderError,
    RunError,
    class_name,
    describe_error,
    message_of,
    text_of,
)
from lab.exit_codes import EndReason
from lab.plugins.references import alias_of, is_reference
from lab.plugins.settings import Effective, build
from lab.ports import Provider
from lab.research.frames import HeldCandles, candles_of, is_by_symbol
from lab.research.offered import Offered
from lab.research.words import said_in_python

Time = str | date
"""A time that a program gives: ISO 8601 text, or a ``date`` or ``datetime``, whose class derives from ``date``."""
NOTHING: Final[Mapping[str, HeldCandles]] = {}
_HELD_MOST: Final = 500_000  # events, of some 350 bytes; more are read again from the columns that are kept of a file


@frozen(repr=False, eq=False)
class Prices:
    """Recorded prices, read and checked once. Make them with `load`; give them to any number of runs."""

    symbol: str
    """The symbol, or several with commas between them."""
    interval: str
    """Length of a candle: ``1m``."""
    instruments: Mapping[str, Instrument]
    """Tick, lot, fees and margin tiers of each symbol."""
    rows: int
    """Candles, quotes and trades in all."""
    first_ns: int
    """UTC nanoseconds of the first event."""
    last_ns: int
    """UTC nanoseconds of the last one."""
    notes: tuple[str, ...]
    """What is to be known of the data, a line each: how a file was read, holes, a volume that is missing."""
    part: Part[Provider]
    data: BatchData

    def __repr__(self) -> str:
        span = f"known from {format_time(self.first_ns)} to {format_time(self.last_ns)}"
        return f"<Prices of {self.symbol}, {self.interval}: {self.rows} rows, {span}>"

    def candles(self) -> Iterator[Candle]:
        """Yield the candles, in order."""
        for event in chain.from_iterable(self.data.batches() or ()):
            if isinstance(event, Candle):
                yield event


@define
class _ReadAgain:
    """Data of too many events to hold: its provider, which is open, reads it again for each run."""

    subscriptions: Sequence[Any]
    declared: Declared
    instruments: Mapping[str, Instrument]
    identity: Mapping[str, str]
    provider: Provider = field(repr=False)
    seed: int

    def wanted(self) -> Sequence[Any]:
        return self.subscriptions

    def batches(self) -> Iterator[Sequence[Input]] | None:
        return self.provider.batches(self.subscriptions, seed=self.seed)

    def instrument(self, symbol: str) -> Instrument | None:
        return self.instruments.get(symbol)

    def source(self) -> Mapping[str, str]:
        return self.identity


@said_in_python()
@own_context()
def load(
    data: "str | PathLike[str] | Provider | Iterable[Candle] | Mapping[str, Any] | Any",
    *,
    symbol: str | None = None,
    interval: str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | PathLike[str] | None = None,
) -> Prices:
    """Read prices once: a file, a recording's name, a provider with recorded data, a frame, columns or candles.

    A frame (pandas or polars) or a mapping of columns has a time of opening, open, high, low, close and, optionally,
    volume. A mapping of symbols, ``{"BTCUSDT": "btc.csv", "ETHUSDT": "eth.csv"}``, has several of these. ``symbol`` is
    what the prices of one are called, BTCUSDT by default. ``interval`` is the length of a candle: by default what their
    times say; a longer one is made of them. ``since`` and ``until`` leave out what begins before
    the one and what ends after the other: ISO 8601 text (``"2024-01-31"`` is its first moment), a ``datetime`` or a
    ``date``, of UTC where no zone is said. ``settings`` are those of the provider: ``{"replay.tick": 0.01}``. Up to
    500,000 events stay in memory; of more, the provider reads again what it keeps of the file.

    Frames are taken as they are: nothing of them is left out, guessed or sorted, as it is of files. A provider is an
    instance, ``MockProvider(minutes=600)``.

    Raises `LabError` naming file or row, what is wrong with it, and the cure.
    """
    offered = Offered(config, settings)
    offered.run(symbol=symbol, interval=interval, seed=seed, no_write=True)
    held = _described(offered, data, symbol, interval)
    _cut(offered, data, since=since, until=until)
    run, in_force = build("run", RunSettings, offered.layers)
    offer = offered.registry.get("provider", run.provider)
    name = alias_of(offer.cls.__name__) if is_reference(offer.name) else offer.name
    component, _ = build(name, offer.cls, offered.layers)
    component.leave_no_file()
    return read_prices(Part(name, offer, component), run, in_force, held)


def read_prices(
    part: Part[Provider], run: RunSettings, in_force: Sequence[Effective], held: Mapping[str, HeldCandles] = NOTHING
) -> Prices:
    """Read the prices of a provider that is ready, or those held for it, by their symbol. Raises `LabError`."""
    name: str = part.name
    component: Any = part.component
    call = "hold"
    try:
        for of_symbol, one in held.items():
            component.hold(one.blocks, one.interval_ns, one.name, has_volume=one.has_volume, symbol=of_symbol)
        call = "own_interval"
        own_ns = component.own_interval() if _is_default(in_force, "run.interval") else None
        if own_ns is not None:
            run = with_interval(run, name, own_ns)
        call = "batches"
        wanted = run_subscriptions(name, component, run.symbols, run.interval_ns)
        batches = component.batches(wanted, seed=run.seed)
        call = "batch_instrument"
        found = {symbol: component.batch_instrument(symbol) for symbol in run.symbols}
        if batches is None or None in found.values():
            raise ConfigError(f"provider {name} has no recorded data; give a file, a frame, or the provider mock")
        instruments = {symbol: run_instrument(name, symbol, call, one) for symbol, one in found.items()}
        call = "source"
        identity = {str(key): text_of(str, value, 10_000) for key, value in component.source().items()}
        facts = (wanted, declared(name, component), instruments, identity)
        call = "batches"
        return _prices(run, part, facts, batches)
    except (RunError, PluginError, ConfigError):
        raise
    except ProviderError as error:
        raise RunError(EndReason.CONFIG, message_of(error)) from None
    except Exception as error:
        raise RunError(EndReason.PLUGIN, f"provider {name} failed in {call}: {describe_error(error)}") from error


def _described(offered: Offered, data: Any, symbol: str | None, interval: str | None) -> dict[str, HeldCandles]:
    """Set what the run is to read; return what is in memory, by its symbol, which is empty for one without a name."""
    if isinstance(data, Provider | type):
        offered.run(provider=offered.component("provider", data, "").rpartition("=")[2])
        return {}
    offered.run(provider="replay")
    if isinstance(data, str | PathLike):
        offered.put("replay", "file", fspath(data), "data")
        return {}
    if not is_by_symbol(data):
        return {"": _whole(candles_of(data, interval))}
    if symbol is not None:
        raise ConfigError(f"symbol = {symbol!r:.40}: the data names its symbols already; leave symbol out")
    offered.run(symbol=",".join(map(str, data)))
    paths = {key: fspath(one) for key, one in data.items() if isinstance(one, str | PathLike)}
    if not paths:
        return {str(key): _whole(candles_of(one, interval)) for key, one in data.items()}
    if len(paths) < len(data):
        other = next(key for key in data if key not in paths)
        raise ConfigError(f"data: {next(iter(paths))} is a file and {other} is not; give files for all, or none")
    offered.put("replay", "files", [f"{key}={path}" for key, path in paths.items()], "data")
    return {}


def _cut(offered: Offered, data: Any, **times: Time | None) -> None:
    """Leave out what lies outside of two times. Raises `ConfigError` for made-up data, which has none to leave out."""
    for key, time in times.items():
        if time is None:
            continue
        if isinstance(data, Provider):
            shown = class_name(data)
            raise ConfigError(
                f"{key} goes with a file, a frame or candles; of {shown} give it the settings that it has"
            )
        offered.put("replay", key, time.isoformat() if isinstance(time, date) else str(time), key)


def _whole(held: HeldCandles) -> HeldCandles:
    if held.interval_ns % SECOND_NS:
        raise ConfigError(f"{held.name}: {held.interval_ns} ns apart; candles of whole seconds are expected")
    return held


def _is_default(in_force: Sequence[Effective], key: str) -> bool:
    return any(one.key == key and one.origin == "default" for one in in_force)


def _prices(
    run: RunSettings, part: Part[Provider], facts: tuple[Any, Any, Any, Any], batches: Iterator[Sequence[Input]]
) -> Prices:
    kept: list[Sequence[Input]] = []
    rows = first_ns = last_ns = 0
    for batch in batches:
        if batch:
            first_ns, last_ns = first_ns or batch[0].time_ns, batch[-1].time_ns
            rows += len(batch)
            if rows <= _HELD_MOST:
                kept.append(batch)
    if not rows:
        raise RunError(EndReason.CONFIG, f"{part.component.origin()}: holds no data for {run.symbol}")
    data: BatchData = HeldData(*facts, kept) if rows <= _HELD_MOST else _ReadAgain(*facts, part.component, run.seed)
    notes = tuple(line for key in ("form", "notes") for line in facts[3].get(key, "").splitlines())
    return Prices(run.symbol, run.interval, facts[2], rows, first_ns, last_ns, notes, part, data)
