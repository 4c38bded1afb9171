"""Makes candles of trades."""

from collections.abc import Iterable, Iterator

from lab.domain.market import FINAL, Candle, Quote

from lab_recordings.tick_csv import Tick


class Aggregator:
    """Collects trades, ascending by time, into candles of one symbol.

    A candle is whole or not given: the bucket the data begins in is cut off, unless the first tick lies exactly on its
    start, and the one it ends in always is. ``open`` is the first trade's price. A bucket without a trade gives no
    candle.
    """

    def __init__(self, symbol: str, interval_ns: int) -> None:
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._end_ns: int | None = None  # of the open bucket
        self._whole = True
        self._high = self._low = self._first = self._last = self._volume = 0.0

    def tick(self, tick: Tick) -> Candle | None:
        """Take a quote or trade; return the candle that its time closes, if any. ``time_ns`` is the bucket's end."""
        closed = None
        if self._end_ns is None or tick.time_ns >= self._end_ns:
            closed = self._roll(tick.time_ns)
        if not isinstance(tick, Quote):
            price = tick.price
            if not self._first:
                self._first = self._high = self._low = price
            self._high, self._low, self._last = max(self._high, price), min(self._low, price), price
            self._volume += tick.size
        return closed

    def _roll(self, now_ns: int) -> Candle | None:
        closed = None
        start_ns = now_ns - now_ns % self._interval_ns
        if self._end_ns is None:
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
        candle = aggregator.tick(tick)
        if candle is not None:
            yield candle
