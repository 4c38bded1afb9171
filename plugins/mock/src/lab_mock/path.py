"""The seeded price path: a tick a second from the start on, and candles before it. Pure: no clock, no I/O.

Prices are whole numbers of ticks inside, so that each is on the instrument's step and no rounding error adds up.
"""

import math
from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

from lab.domain.market import BACKFILLED, FINAL, Candle, Depth, Level, Quote
from lab.domain.time import SECOND_NS

TICKS_PER_UNIT: Final = 10
"""Price ticks in one unit of the quote currency: the tick is 0.1."""
_VOLUME_DIGITS: Final = 4
_TICK_VOLUME: Final = 0.05  # mean coins traded in a second
_DISPLAYED: Final = 2.0  # mean coins displayed at the best price


class Shape(NamedTuple):
    """What the path of one symbol is made from. Equal shapes give equal paths, in any process."""

    seed: int
    symbol: str
    start_ns: int
    price: int
    """The price at the start, in price ticks."""
    volatility: float
    """Standard deviation of one tick's return, as a fraction."""
    spread: int
    """Ask minus bid, in price ticks."""

    def random(self, part: str) -> Random:
        # A text seeds through SHA-512, so the process's hash seed plays no part.
        return Random(f"{self.seed} {self.symbol} {part}")

    def moved(self, price: int, ret: float) -> int:
        """Return the price after a return, at least high enough for the bid to be above 0."""
        return max(round(price * math.exp(ret)), self.spread + 1)


class Tick(NamedTuple):
    """One second of the path: the last price in price ticks, the coins traded, and the quote."""

    price: int
    volume: float
    quote: Quote


def walk(shape: Shape) -> Iterator[Tick]:
    """Yield the ticks from the start on, for ever: tick ``k`` at ``start_ns`` plus ``k`` seconds."""
    rng, price, time_ns = shape.random("future"), shape.price, shape.start_ns
    while True:
        price = shape.moved(price, rng.gauss(0.0, shape.volatility))
        volume = _coins(rng, _TICK_VOLUME)
        bid = price - shape.spread // 2
        quote = Quote(
            shape.symbol, time_ns,
            bid / TICKS_PER_UNIT, _coins(rng, _DISPLAYED),
            (bid + shape.spread) / TICKS_PER_UNIT, _coins(rng, _DISPLAYED),
        )  # fmt: skip
        yield Tick(price, volume, quote)
        time_ns += SECOND_NS


class Book:
    """Makes each tick's depth of its quote: so many levels a side, fewer where prices end at 0.

    The best level is the quote's; those behind lie a price tick apart. Their sizes come from a random stream of their
    own, so the quotes are the same with and without.
    """

    def __init__(self, shape: Shape, levels: int) -> None:
        self._rng = shape.random("depth")
        self._levels = levels

    def depth(self, quote: Quote) -> Depth:
        """Return the depth of the next tick."""
        symbol, time_ns, bid, bid_size, ask, ask_size = quote
        return Depth(symbol, time_ns, self._side(bid, bid_size, -1), self._side(ask, ask_size, 1))

    def _side(self, price: float, size: float, step: int) -> tuple[Level, ...]:
        best, side = round(price * TICKS_PER_UNIT), [(price, size)]
        for place in range(1, self._levels):
            behind, size = best + place * step, _coins(self._rng, _DISPLAYED)
            if behind > 0:
                side.append((behind / TICKS_PER_UNIT, size))
        return tuple(side)


class Bucket:
    """Collects ticks into candles: each opens at the close before, the first at the price of the start."""

    def __init__(self, shape: Shape, interval_s: int, status: str = FINAL) -> None:
        self._symbol = shape.symbol
        self._interval_s = interval_s
        self._open_ns = shape.start_ns
        self._status = status
        self._volume = 0.0
        self._count = 0
        self._open = self._high = self._low = self._close = shape.price

    def tick(self, tick: Tick) -> Candle | None:
        """Take the next tick; return the candle when it was the bucket's last."""
        price = self._close = tick.price
        if price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._volume += tick.volume
        self._count += 1
        if self._count < self._interval_s:
            return None
        candle = _candle(
            self._symbol, self._open_ns, self._interval_s,
            (self._open, self._high, self._low, price), self._volume, self._status,
        )  # fmt: skip
        self._open_ns = candle.time_ns
        self._open = self._high = self._low = price
        self._volume, self._count = 0.0, 0
        return candle


class Past:
    """The candles before the start, newest first, made backwards so that the newest closes at the start's price.

    Made of one-minute steps (of one-second steps where the interval is no whole number of minutes), so that the
    candles of 5 minutes are those of 1 minute taken together.
    """

    def __init__(self, shape: Shape, interval_s: int) -> None:
        self._shape = shape
        self._interval_s = interval_s
        self._step_s = 60 if interval_s % 60 == 0 else 1
        self._rng = shape.random(f"past {self._step_s}")
        self._open_ns = shape.start_ns
        self._price = shape.price
        self.candles: list[Candle] = []

    def extend(self) -> None:
        """Add the next older candle."""
        close = high = low = self._price
        volume = 0.0
        for _ in range(self._interval_s // self._step_s):
            step_high, step_low, step_volume = self._step()
            high, low = max(high, step_high), min(low, step_low)
            volume += step_volume
        self._open_ns -= self._interval_s * SECOND_NS
        prices = (self._price, high, low, close)
        self.candles.append(_candle(self._shape.symbol, self._open_ns, self._interval_s, prices, volume, BACKFILLED))

    def _step(self) -> tuple[int, int, float]:
        shape, rng, close = self._shape, self._rng, self._price
        deviation = shape.volatility * math.sqrt(self._step_s)
        before = shape.moved(close, rng.gauss(0.0, deviation))
        high = shape.moved(max(before, close), abs(rng.gauss(0.0, deviation)) / 2)
        low = shape.moved(min(before, close), -abs(rng.gauss(0.0, deviation)) / 2)
        self._price = before
        return high, low, _coins(rng, _TICK_VOLUME * self._step_s)


def _coins(rng: Random, mean: float) -> float:
    return round(rng.expovariate(1.0 / mean) + 0.0001, _VOLUME_DIGITS)


def _candle(
    symbol: str, open_ns: int, interval_s: int, prices: tuple[int, int, int, int], volume: float, status: str
) -> Candle:
    first, high, low, last = (price / TICKS_PER_UNIT for price in prices)
    time_ns = open_ns + interval_s * SECOND_NS
    return Candle(symbol, open_ns, time_ns, first, high, low, last, round(volume, _VOLUME_DIGITS), status)
