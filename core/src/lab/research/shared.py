"""Prices that several processes share: packed columns in one mapped file, of which each makes its events."""

import mmap
import os
import pickle
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from attrs import define, field, frozen

from lab.backtesting.data import BatchData, HeldData
from lab.composition.declared import Declared
from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import BACKFILLED, Candle
from lab.domain.packed import dump_events, load_events, part_of
from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.ports import Subscription
from lab.research.prices import Prices

_HELD_MOST: Final = 100_000  # events a process keeps, of some 350 bytes; of more it makes them anew for each run


@frozen
class Window:
    """A part of the prices: events known after ``start_ns`` and up to ``end_ns``; ``None`` is without a bound."""

    start_ns: int | None = None
    end_ns: int | None = None


ALL: Final = Window()


@frozen
class Facts:
    """What is known of prices beside their events."""

    subscriptions: Sequence[Subscription]
    declared: Declared
    instruments: Mapping[str, Instrument]
    identity: Mapping[str, str]

    @classmethod
    def of(cls, prices: Prices) -> "Facts":
        """Return what is known of prices."""
        data: Any = prices.data
        return cls(data.subscriptions, data.declared, data.instruments, data.identity)


@frozen
class Block:
    """A stretch of events: when its first and last is known, and where its bytes are."""

    first_ns: int
    last_ns: int
    offset: int
    length: int
    packed: bool


@define
class Events:
    """The events of prices in stretches; those of a mapped file are made when they are asked for."""

    blocks: Sequence[Block]
    _buffer: "memoryview[Any] | None" = None
    _held: list[Sequence[Input] | None] = field(factory=list)

    @classmethod
    def held(cls, batches: Iterable[Sequence[Input]]) -> "Events":
        """Return events that are in memory as they are."""
        kept = [batch for batch in batches if batch]
        return cls([Block(one[0].time_ns, one[-1].time_ns, 0, 0, packed=False) for one in kept], None, list(kept))

    @classmethod
    def mapped(cls, blocks: Sequence[Block], buffer: Any, rows: int) -> "Events":
        """Return the events of packed bytes; few are kept once they were made."""
        return cls(blocks, memoryview(buffer), [None] * len(blocks) if rows <= _HELD_MOST else [])

    def stretch(self, place: int) -> Sequence[Input]:
        """Return the events of one block."""
        if self._held and (kept := self._held[place]) is not None:
            return kept
        block = self.blocks[place]
        assert self._buffer is not None, "what is not held is in the buffer"
        data = self._buffer[block.offset : block.offset + block.length]
        made: Sequence[Input] = load_events(data) if block.packed else pickle.loads(data)
        if self._held:
            self._held[place] = made
        return made

    def within(self, window: Window, lookback: int, symbols: Sequence[str] = ()) -> Iterator[Sequence[Input]]:
        """Yield the events of a window, and before them the last ``lookback`` candles of each symbol, as history."""
        start_ns, end_ns = window.start_ns, window.end_ns
        if start_ns is not None and (history := self._before(start_ns, dict.fromkeys(symbols, lookback))):
            yield history
        for place, block in enumerate(self.blocks):
            if (start_ns is not None and block.last_ns <= start_ns) or (end_ns is not None and block.first_ns > end_ns):
                continue
            events = self.stretch(place)
            begin = 0 if start_ns is None else bisect_right(events, start_ns, key=_known_ns)
            end = len(events) if end_ns is None else bisect_right(events, end_ns, key=_known_ns)
            if (begin, end) == (0, len(events)):
                yield events
            elif begin < end:
                yield part_of(events, begin, end)

    def _before(self, start_ns: int, left: dict[str, int]) -> list[Candle]:
        """Return the last candles before a time; ``left`` is how many of each symbol."""
        found: list[Candle] = []
        for place in reversed(range(len(self.blocks))):
            if not any(left.values()):
                break
            if self.blocks[place].first_ns > start_ns:
                continue
            for event in reversed(self.stretch(place)):
                if isinstance(event, Candle) and event.time_ns <= start_ns and left[event.symbol]:
                    left[event.symbol] -= 1
                    found.append(event if event.status == BACKFILLED else event._replace(status=BACKFILLED))
        return found[::-1]


def _known_ns(event: Input) -> int:
    return event.time_ns


@frozen
class WindowData(BatchData):
    """What one run is fed: a window of prices, with history before it."""

    facts: Facts
    events: Events
    window: Window = ALL
    lookback: int = 0
    most: int | None = None
    """Events in one batch, at most."""

    def wanted(self) -> Sequence[Subscription]:
        """Return the subscriptions the data was read for."""
        return self.facts.subscriptions

    def batches(self) -> Iterator[Sequence[Input]]:
        """Return the batches of the window from their beginning."""
        for batch in self.events.within(self.window, self.lookback, tuple(self.facts.instruments)):
            if self.most is None or len(batch) <= self.most:
                yield batch
            else:
                for begin in range(0, len(batch), self.most):
                    yield part_of(batch, begin, begin + self.most)

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument as the provider described it."""
        return self.facts.instruments.get(symbol)

    def source(self) -> Mapping[str, str]:
        """Return what identified the data when it was read, and the window where it is not all of it."""
        bounds = {"after_ns": self.window.start_ns, "up_to_ns": self.window.end_ns}
        return {**self.facts.identity, **{key: str(value) for key, value in bounds.items() if value is not None}}


def write_blocks(prices: Prices, file: IO[bytes]) -> list[Block]:
    """Write the events of prices into a file as packed columns; what has none (funding rates) is pickled."""
    blocks, offset = [], 0
    for batch in prices.data.batches() or ():
        if not batch:
            continue
        data = dump_events(batch)
        packed = data is not None
        data = pickle.dumps(tuple(batch)) if data is None else data
        file.write(data)
        blocks.append(Block(batch[0].time_ns, batch[-1].time_ns, offset, len(data), packed))
        offset += len(data)
    return blocks


class PriceFile:
    """A temporary file with the packed events of prices. Use it as a context manager: it is gone at the end.

    Where the system allows it the file has no name from the beginning, so that a killed process leaves none behind:
    ``place`` is then an open descriptor, which other processes inherit, else the file's path.
    """

    def __init__(self, prices: Prices) -> None:
        self.rows = prices.rows
        try:
            descriptor, path = tempfile.mkstemp(prefix="lab-prices-")
            self._path = Path(path)
            with os.fdopen(descriptor, "wb") as file:
                self.blocks = write_blocks(prices, file)
            self.place: int | str = path
            if os.name == "posix":
                self.place = os.open(path, os.O_RDONLY)
                self._path.unlink()
        except OSError as error:
            where = error.filename or tempfile.gettempdir()
            text = f"{where}: the prices cannot be written for the workers: {error.strerror or error}; free some room"
            raise RunError(EndReason.STORAGE, text) from None

    def __enter__(self) -> "PriceFile":
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self.place, int):
            os.close(self.place)
        else:
            with suppress(OSError):
                self._path.unlink()

    def content(self) -> bytes:
        """Return all of its bytes, to be sent to another machine."""
        with open(self.place, "rb", closefd=isinstance(self.place, str)) as file:
            return file.read()


def open_events(place: int | str, blocks: Sequence[Block], rows: int) -> Events:
    """Map the file of a `PriceFile`; its pages are shared by all who do."""
    with open(place, "rb", closefd=isinstance(place, str)) as file:
        return Events.mapped(blocks, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), rows)


def events_of(prices: Prices) -> Events:
    """Return the events of prices: those in memory, else of a file that is mapped, and gone when nobody needs it."""
    if isinstance(prices.data, HeldData):
        return Events.held(prices.data.held)
    with PriceFile(prices) as file:
        return open_events(file.place, file.blocks, file.rows)
