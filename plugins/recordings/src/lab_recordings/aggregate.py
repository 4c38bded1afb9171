"""Makes candles of trades."""

from collections.abc import Iterable, Iterator

from lab.domain.batches import CandleBuilder
from lab.domain.market import Candle

from lab_recordings.tick_csv import Tick


def aggregate(ticks: Iterable[Tick], interval_ns: int, symbol: str = "BTCUSDT") -> Iterator[Candle]:
    """Yield the whole candles of ticks ascending by time, each as soon as a tick of a later bucket is there."""
    builder = CandleBuilder(symbol, interval_ns)
    for tick in ticks:
        for event in builder.take((tick,)):
            if isinstance(event, Candle):
                yield event
