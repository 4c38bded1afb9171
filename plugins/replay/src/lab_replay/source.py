"""What a replay plays: recorded data that is read anew by each call. Reads files, waits for nothing.

Errors are `RecordingError` (files), `JournalError` (runs, see `lab_replay.tape`) and `ProviderError` (what is wanted
does not fit); each names the culprit.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from lab.domain.inputs import Input
from lab.domain.market import Candle, MarketData
from lab.domain.time import SECOND_NS, format_interval
from lab.errors import ProviderError
from lab.ports import Channel, Subscription

Batch = Sequence[Input]


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


def other_interval(name: str, held_ns: int, wanted: Subscription, cure: str = "") -> ProviderError:
    """Return the error for candles of another interval than is wanted."""
    held, asked = length(held_ns), length(wanted.interval_ns)
    return ProviderError(f"replay: {name} holds {held} candles, {asked} is wanted; give --interval {held}{cure}")


def length(length_ns: int) -> str:
    """Return the length of a candle as text."""
    return format_interval(length_ns) if length_ns % SECOND_NS == 0 else f"{length_ns} ns"


def exhaust(read: Iterator[object]) -> None:
    """Read to the end, for the errors on the way."""
    deque(read, maxlen=0)
