"""Closed candles of one symbol, bounded, with columns of contiguous doubles made when they are asked for."""

from array import array
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from lab.domain.market import Candle

_open_ns: Final = itemgetter(1)
_COLUMNS: Final = {"open": 3, "high": 4, "low": 5, "close": 6, "volume": 7}


class Column:
    """The newest values of one candle field, without a gap in memory. Follows its candle list lazily.

    A view handed out stays valid and keeps its values: when the buffer is full a new one is begun.
    """

    __slots__ = ("_buffer", "_end", "_field", "_keep", "_seen")

    def __init__(self, field: int, keep: int) -> None:
        self._field = field
        self._keep = keep
        self._buffer = array("d", bytes(16 * keep))
        self._end = 0
        self._seen = 0

    def view(self, candles: list[Candle], count: int) -> memoryview:
        """Return up to ``keep`` newest values; ``count`` is how many candles were ever appended."""
        new = count - self._seen
        if new:
            if new > self._keep:  # a fresh buffer: those handed out keep their values
                new, self._end, self._buffer = self._keep, 0, array("d", bytes(16 * self._keep))
            if self._end + new > 2 * self._keep:
                kept = self._buffer[self._end - self._keep : self._end]
                self._buffer = kept + array("d", bytes(8 * self._keep))
                self._end = self._keep
            field, buffer, end = self._field, self._buffer, self._end
            for candle in candles[-new:]:
                buffer[end] = candle[field]  # type: ignore[assignment]
                end += 1
            self._end = end
            self._seen = count
        return memoryview(self._buffer)[max(0, self._end - min(self._keep, count)) : self._end].toreadonly()

    def forget(self) -> None:
        """Read every value again at the next call, because the history has changed."""
        self._seen = 0
        self._end = 0
        self._buffer = array("d", bytes(16 * self._keep))


class History:
    """The newest ``keep`` to ``2 * keep`` closed candles of one symbol, ascending by open time, each once.

    The engine appends in line. ``count`` counts every candle ever added. ``next_ns`` is the open time the next candle
    has when none is missing.
    """

    __slots__ = (
        "_columns", "_dropped", "backfilled", "candles", "changes", "count", "dropped", "dropped_ns", "full",
        "interval_ns", "keep", "next_ns", "trim_at",
    )  # fmt: skip

    def __init__(self, interval_ns: int, keep: int) -> None:
        self.interval_ns = interval_ns
        self.keep = keep
        self.full = 2 * keep
        self.trim_at = self.full
        self.backfilled = 0
        self.candles: list[Candle] = []
        self.count = 0
        self.changes = 0
        """How often the past became another one: candles were put into it, or dropped."""
        self.next_ns = 0
        self._columns: dict[str, Column] = {}
        self.dropped = 0
        """How many candles were dropped; ``count`` is without them."""
        self.dropped_ns = -1
        """The newest open time of those."""
        self._dropped: set[int] = set()

    def drop_after(self, time_ns: int) -> int:
        """Drop the candles that end after a time, because it is the present one; return how many there were."""
        candles = self.candles
        interval_ns = self.interval_ns
        late = [candle.open_ns for candle in candles if candle.open_ns + interval_ns > time_ns]
        if late:
            self.changes += 1
            del candles[-len(late) :]
            self.count -= len(late)
            self.dropped += len(late)
            self.next_ns = candles[-1].open_ns + interval_ns if candles else 0
            self._dropped.update(late)
            self.dropped_ns = max(self._dropped)
            for column in self._columns.values():
                column.forget()
        return len(late)

    def was_dropped(self, open_ns: int) -> bool:
        """Return whether a candle of this time was dropped: the journal has its row, and a second one it takes not."""
        return open_ns in self._dropped

    def trim(self) -> None:
        """Drop the oldest candles; called when ``count`` reaches ``trim_at``."""
        del self.candles[: -self.keep]
        self.trim_at = self.count + self.full - self.keep

    def merge(self, older: Sequence[Candle]) -> list[str]:
        """Put candles from before ``next_ns`` where their times say, in one pass over what is kept.

        Return what became of each: ``placed``, ``same``, ``differs`` or ``too old``.
        """
        candles = self.candles
        known = {candle.open_ns: candle for candle in candles}
        oldest_ns = candles[0].open_ns if len(candles) >= self.keep else 0
        outcomes = []
        for candle in older:
            there = known.get(candle.open_ns)
            if there is not None:
                outcomes.append("same" if there[3:8] == candle[3:8] else "differs")
            elif candle.open_ns < oldest_ns:
                outcomes.append("too old")
            else:
                known[candle.open_ns] = candle
                outcomes.append("placed")
        placed = len(known) - len(candles)
        if placed:
            self.changes += 1
            candles[:] = sorted(known.values(), key=_open_ns)  # in place: views hold the list
            self.count += placed
            self.backfilled += placed
            if self.count >= self.trim_at:
                self.trim()
            for column in self._columns.values():
                column.forget()
        return outcomes

    def mean_volume(self, most: int) -> float:
        """Return the mean volume of up to ``most`` newest candles, to eight decimals; 0 where there is none."""
        candles = self.candles
        count = min(most, len(candles))
        if not count:
            return 0.0
        total = 0.0
        for place in range(len(candles) - count, len(candles)):
            total += candles[place][7]
        return round(total / count, 8)

    def column(self, name: str) -> memoryview:
        """Return the newest values of ``open``, ``high``, ``low``, ``close`` or ``volume`` as read-only doubles.

        Raises ``LookupError`` for another name.
        """
        column = self._columns.get(name)
        if column is None:
            if name not in _COLUMNS:
                raise LookupError(f"{name!r} is no column of candles; known: {', '.join(_COLUMNS)}")
            column = self._columns[name] = Column(_COLUMNS[name], self.keep)
        return column.view(self.candles, self.count)
