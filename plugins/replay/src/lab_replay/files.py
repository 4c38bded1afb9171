"""Several files of prices as one source: a symbol each, merged by time."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice
from math import lcm
from operator import attrgetter
from typing import Any, Final, TypeVar

from attrs import define, field
from lab.domain.market import Candle, MarketData
from lab.errors import ProviderError
from lab.ports import Channel, Subscription

from lab_replay.price_file import PriceFile
from lab_replay.source import Batch, Source, length
from lab_replay.sources import CandleSource

_BATCH: Final = 512
_time_ns: Final = attrgetter("time_ns")
_Event = TypeVar("_Event")


@define(eq=False)
class Files(Source):
    """Files of one kind, by symbol. Events come by their times; at one time in the order in which files were given."""

    files: Mapping[str, PriceFile[Any]]
    name: str = field(init=False)
    channels: frozenset[Channel] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.name = ", ".join(one.name for one in self.files.values())
        first, *others = self.files.values()
        self.channels = first.channels
        for other in others:
            if other.channels != self.channels:
                text = f"replay: {first.name} and {other.name} are not of one kind: give files of candles, or of ticks"
                raise ProviderError(text)

    def of(self, symbol: str) -> PriceFile[Any]:
        """Return the file of a symbol. Raises `ProviderError` where there is none."""
        found = self.files.get(symbol)
        if found is None:
            has = ", ".join(self.files)
            raise ProviderError(f"replay: no file is given for {symbol[:80]}; replay.files has {has}")
        return found

    def fits(self, wanted: Sequence[Subscription]) -> None:
        lengths = {one.name: one.own_interval_ns() for one in self.files.values() if isinstance(one, CandleSource)}
        if len(set(lengths.values())) > 1 and any(one.interval_ns % own for one in wanted for own in lengths.values()):
            each = ", ".join(f"{name} holds {length(own)}" for name, own in lengths.items())
            cure = f"give --interval {length(lcm(*lengths.values()))}, or a multiple of it"
            raise ProviderError(f"replay: the files' intervals differ: {each}; {cure}")
        for one in wanted:
            self.of(one.symbol).fits((one,))

    def scan(self) -> Iterator[None]:
        for one in self.files.values():
            yield from one.scan()

    def past(self, wanted: Subscription) -> list[Candle]:
        return self.of(wanted.symbol).past(wanted)

    def batches(self, wanted: Sequence[Subscription]) -> Iterator[Batch]:
        return _merged([self.of(one.symbol).batches((one,)) for one in self._in_order(wanted)])

    def live(self, wanted: Sequence[Subscription]) -> Iterator[Sequence[MarketData]]:
        return _merged([self.of(one.symbol).live((one,)) for one in self._in_order(wanted)])

    def identity(self) -> Mapping[str, str]:
        each = {symbol: one.identity() for symbol, one in self.files.items()}
        notes = "\n".join(one["notes"] for one in each.values() if "notes" in one)
        digests = {f"sha256_{symbol}": one["sha256"] for symbol, one in each.items()}
        return {"file": self.name, **digests, **({"notes": notes} if notes else {})}

    def _in_order(self, wanted: Sequence[Subscription]) -> Iterator[Subscription]:
        """Yield what is wanted in the order in which the files were given."""
        return (one for symbol in self.files for one in wanted if one.symbol == symbol)


def _merged(streams: "Sequence[Iterator[Sequence[_Event]]]") -> "Iterator[list[_Event]]":
    events = merge(*map(chain.from_iterable, streams), key=_time_ns)
    while batch := list(islice(events, _BATCH)):
        yield batch
