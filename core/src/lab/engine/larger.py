"""Candles of larger intervals, made of the closed candles that are kept: whole ones only."""

from typing import Final

from lab.domain.market import BACKFILLED, FINAL, UNCONFIRMED, Candle
from lab.domain.time import parse_interval
from lab.engine.history import History

_INTERVALS_MOST: Final = 32


class Larger:
    """One history's candles of one larger interval, ascending.

    A candle is there from the candle on that closes it. It begins at a whole multiple of its interval since 1970, and
    every candle in it is there: one that lacks any is left out until that one was filled in. What is there follows
    from the candles kept now alone, whenever and however often it is asked for.
    """

    __slots__ = ("_changes", "_count", "_history", "_length_ns", "_parts", "candles")

    def __init__(self, history: History, length_ns: int) -> None:
        self._history = history
        self._length_ns = length_ns
        self._parts = length_ns // history.interval_ns
        self.candles: list[Candle] = []
        self._count = 0
        self._changes = -1

    def follow(self) -> None:
        """Make what has closed since the last call."""
        history = self._history
        kept, candles = history.candles, self.candles
        if history.changes != self._changes:  # its past is another one now
            self._changes, self._count = history.changes, 0
            candles.clear()
        first = max(len(kept) - (history.count - self._count), 0)
        self._count = history.count
        step_ns, length_ns, parts = history.interval_ns, self._length_ns, self._parts
        for place in range(max(first, parts - 1), len(kept)):
            end_ns = kept[place].open_ns + step_ns
            begin = place - parts + 1
            if end_ns % length_ns == 0 and kept[begin].open_ns == end_ns - length_ns:
                candles.append(_joined(kept[begin : place + 1]))
        gone = 0
        while gone < len(candles) and candles[gone].open_ns < kept[0].open_ns:
            gone += 1
        del candles[:gone]


class LargerCandles:
    """The candles of larger intervals of one history, made when they are first asked for."""

    __slots__ = ("_history", "_made", "_named")

    def __init__(self, history: History) -> None:
        self._history = history
        self._made: dict[int, Larger] = {}
        self._named: dict[str, Larger | None] = {}

    def of(self, interval: str) -> list[Candle]:
        """Return the candles of an interval such as ``5m``; the list stays the same and is changed in place.

        Raises ``ValueError`` for an interval that is no multiple of the run's.
        """
        if interval not in self._named:
            self._named[interval] = self._make(interval)
        larger = self._named[interval]
        if larger is None:
            return self._history.candles
        larger.follow()
        return larger.candles

    def _make(self, interval: str) -> Larger | None:
        length_ns, own_ns = parse_interval(interval), self._history.interval_ns
        if length_ns % own_ns:
            raise ValueError(f"{interval} candles cannot be made of the run's: it is no multiple of their interval")
        if length_ns == own_ns:
            return None
        if length_ns not in self._made:
            if len(self._made) >= _INTERVALS_MOST:
                raise ValueError(f"{interval}: {_INTERVALS_MOST} intervals of a symbol are in use, which is the most")
            self._made[length_ns] = Larger(self._history, length_ns)
        return self._made[length_ns]


def _joined(parts: list[Candle]) -> Candle:
    """Return the candle of those that make it up."""
    high, low, volume, time_ns, status = 0.0, parts[0].low, 0.0, 0, FINAL
    for one in parts:
        high, low = max(high, one.high), min(low, one.low)
        volume += one.volume
        time_ns = max(time_ns, one.time_ns)
        if one.status == UNCONFIRMED or (one.status == BACKFILLED and status == FINAL):
            status = one.status
    first, last = parts[0], parts[-1]
    return Candle(first.symbol, first.open_ns, time_ns, first.open, high, low, last.close, round(volume, 8), status)
