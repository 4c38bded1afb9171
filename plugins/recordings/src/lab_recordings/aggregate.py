"""Makes candles of trades."""

from collections.abc import Iterable, Iterator
from typing import Final

from lab.domain.market import FINAL, Candle, Quote

from lab_recordings.tick_csv import Tick

_NEVER: Final = -(2**63)  # before the first tick


class Aggregator:
    """Collects trades, ascending by time, into candles of one symbol.

    A candle is whole or not given: the bucket the data begins in is cut off, unless the first tick lies exactly on its
    start, and the one it ends in always is. ``open`` is the first trade's price. A bucket without a trade gives no
    candle.
    """

    def __init__(self, symbol: str, interval_ns: int) -> None:
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._end_ns = _NEVER  # of the open bucket
        self._whole = True
        self._high = self._low = self._first = self._last = self._volume = 0.0

    def take(self, ticks: Iterable[Tick]) -> list[Candle | Quote]:
        """Return the quotes among the ticks and, before the tick whose time closes it, each candle.

        A candle's ``time_ns`` is the end of its bucket.
        """
        events: list[Candle | Quote] = []
        for tick in ticks:
            if tick.time_ns >= self._end_ns:
                closed = self._roll(tick.time_ns)
                if closed is not None:
                    events.append(closed)
            if isinstance(tick, Quote):
                events.append(tick)
                continue
            price = tick.price
            if not self._first:
                self._first = self._high = self._low = price
            elif price > self._high:
                self._high = price
            elif price < self._low:
                self._low = price
            self._last = price
            self._volume += tick.size
        return events

    def _roll(self, now_ns: int) -> Candle | None:
        closed = None
        start_ns = now_ns - now_ns % self._interval_ns
        if self._end_ns == _NEVER:
            self._whole = now_ns == start_ns
        else:
            if self._first and self._whole:
                volume = round(self._volume, 8)
                closed = Candle(
                    self._symbol, self._end_ns - self._interval_ns, self._end_ns,
                    self._first, self._high, self._low, self._last, volume, FINAL,
                )  # fmt: skip
            self._whole = True
        self._end_ns = start_ns + self._interval_ns
        self._first = self._volume = 0.0
        return closed


def aggregate(ticks: Iterable[Tick], interval_ns: int, symbol: str = "BTCUSDT") -> Iterator[Candle]:
    """Yield the whole candles of ticks ascending by time, each as soon as a tick of a later bucket is there."""
    aggregator = Aggregator(symbol, interval_ns)
    for tick in ticks:
        for event in aggregator.take((tick,)):
            if isinstance(event, Candle):
                yield event
