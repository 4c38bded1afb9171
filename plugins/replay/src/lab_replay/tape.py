"""A run of lab, replayed from its tape."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from attrs import define, field
from lab.domain.control import SymbolState
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import BACKFILLED, Backfill, Candle, MarketData, Quote
from lab.errors import ProviderError
from lab.ports import Channel, Subscription
from lab_recordings import sha256_of

from lab_replay.source import Batch, Source, exhaust, other_interval

_BATCH: Final = 512
_SYMBOLS_MOST: Final = 1_000
_STEPS_MOST: Final = 1_000  # different distances between candles that are counted, per symbol
_PAST_MOST: Final = 10_000
_Event = TypeVar("_Event")


@define(eq=False)
class RunTape(Source):
    """The inputs of a recorded session, in the order it took them.

    In a backtest that is every input, also the session's commands, timers and trading states: the same assembly then
    decides the same. A live replay has its own session, and gets the market data only. The past is what was back-filled
    before the first candle that was not.
    """

    name: str
    directory: Path
    channels: frozenset[Channel] = field(init=False)
    instruments: dict[str, Instrument] = field(factory=dict, init=False)
    """What the run recorded of its instruments, by symbol."""
    _intervals: dict[str, int] = field(factory=dict, init=False)
    """Symbol to the interval of its candles; 0 where there is one candle at most. Empty before `scan`."""

    def __attrs_post_init__(self) -> None:
        from lab.journal.reader import read_run_started

        self.instruments = dict(read_run_started(self.directory).instruments)
        quoted = any(isinstance(event, Quote) for event in self._read())
        self.channels = frozenset(Channel) if quoted else frozenset(Channel) - {Channel.QUOTES}

    def fits(self, wanted: Sequence[Subscription]) -> None:
        if not self._intervals:
            exhaust(self.scan())
        for one in wanted:
            held = self._intervals.get(one.symbol)
            if held is None:
                symbols = ", ".join(sorted(self._intervals))
                raise ProviderError(f"replay: {self.name} holds no {one.symbol}; it has {symbols}")
            if held and held != one.interval_ns:
                raise other_interval(self.name, held, one)

    def scan(self) -> Iterator[None]:
        opened: dict[str, int] = {}
        steps: dict[str, Counter[int]] = {}
        for number, event in enumerate(_market_of(self._read())):
            if isinstance(event, Candle | Quote) and event.symbol not in steps:
                if len(steps) == _SYMBOLS_MOST:
                    raise ProviderError(f"replay: {self.name}: its tape holds more than {_SYMBOLS_MOST} symbols")
                steps[event.symbol] = Counter()
            if isinstance(event, Candle):
                counted, step = steps[event.symbol], event.open_ns - opened.get(event.symbol, event.open_ns)
                if step and (step in counted or len(counted) < _STEPS_MOST):
                    counted[step] += 1
                opened[event.symbol] = event.open_ns
            if number % _BATCH == 0:
                yield
        if not steps:
            raise ProviderError(f"replay: {self.name}: its tape holds no quote and no candle")
        self._intervals = {symbol: next(iter(dict(each.most_common(1))), 0) for symbol, each in steps.items()}

    def past(self, wanted: Subscription) -> list[Candle]:
        found: deque[Candle] = deque(maxlen=_PAST_MOST)
        for event in _market_of(self._read()):
            if isinstance(event, Candle) and event.symbol == wanted.symbol:
                if event.status != BACKFILLED:
                    break
                found.append(event)
        return sorted({candle.open_ns: candle for candle in found}.values(), key=lambda candle: candle.open_ns)

    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Batch]:
        exhaust(self.scan())
        return _in_batches(self._inputs(wanted))

    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        return _in_batches(self._after_past(wanted))

    def identity(self) -> Mapping[str, str]:
        digest = hashlib.sha256()
        for segment in sorted(self.directory.glob("tape-*.jsonl.zst")):
            digest.update(sha256_of(segment).encode())
        return {"run": self.name, "sha256": digest.hexdigest()}

    def _read(self) -> Iterator[Input]:
        from lab.journal.tape import read_tape

        return read_tape(self.directory)

    def _inputs(self, wanted: Sequence[Subscription]) -> Iterator[Input]:
        symbols = {one.symbol for one in wanted}
        for event in self._read():
            if not isinstance(event, Backfill | MarketData | SymbolState) or event.symbol in symbols:
                yield event

    def _market(self, wanted: Sequence[Subscription]) -> Iterator[MarketData]:
        symbols = {one.symbol for one in wanted}
        for event in _market_of(self._read()):
            if event.symbol in symbols:
                yield event

    def _after_past(self, wanted: Sequence[Subscription]) -> Iterator[MarketData]:
        begun: set[str] = set()
        for event in self._market(wanted):
            if isinstance(event, Candle):
                if event.status != BACKFILLED:
                    begun.add(event.symbol)
                elif event.symbol not in begun:
                    continue
            yield event


def _market_of(events: Iterator[Input]) -> Iterator[MarketData]:
    """Yield the market data among inputs, back-filled candles one by one."""
    for event in events:
        if isinstance(event, Backfill):
            yield from event.candles
        elif isinstance(event, MarketData):
            yield event


def _in_batches(events: Iterator[_Event]) -> Iterator[list[_Event]]:
    while batch := list(islice(events, _BATCH)):
        yield batch
