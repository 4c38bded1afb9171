"""Assembles closed, confirmed candles from pushes without open time and closed flag. Pure: no I/O, no clock."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from attrs import define, field

from lab.domain.market import FINAL, Candle
from lab.domain.time import MILLISECOND_NS, SECOND_NS

_CARRY_NS: Final = 2000 * MILLISECOND_NS
"""How long after a boundary a push may still describe the candle before it (nobody has shown that none does)."""
_KEPT: Final = 20
_NEWEST: Final = 1000
"""How many intervals back a row is awaited of a candle that went out without."""
_ANSWERS: Final = 3
"""How many answers that lack a row, and have those around it, say that there is none."""
_FIGURES: Final = slice(3, 8)  # open, high, low, close, volume


class Revision(NamedTuple):
    """A change that the venue made to a candle that was already given out. It is reported, never applied."""

    given: Candle
    row: Candle


@define
class _Unproved:
    candle: Candle
    answers: int = 0  # that had rows of its time, but none of it


@define
class _Closed:
    candle: Candle
    give_up_at: float
    ask_at: float
    whole: bool  # False: the socket was down when it ended, so only a REST row can confirm it


@define
class CandleAssembler:
    """One symbol's closed candles, each once, ascending.

    Pushes (status ``unconfirmed``) are cumulative: the newest one is the open bucket. It closes when a push of a later
    bucket arrives, unless that is the first one after a (re)subscription. A closed bucket waits for its REST row, asked
    about 2 s later, which wins; after 5 s it goes out ``unconfirmed``, and while it is one of the newest 1,000 its row
    is still to be seen. Candles that were never seen open are not invented: the session finds the gap.

    ``now`` is monotonic seconds, ``venue_ns`` the newest venue time known.
    """

    symbol: str
    interval_ns: int
    ask_after_s: float = 2.0
    give_up_s: float = 5.0
    ask_again_s: float = 1.0
    _open: Candle | None = field(init=False, default=None)
    _newest_ns: int = field(init=False, default=0)
    _snapshot: bool = field(init=False, default=True)
    _closed: deque[_Closed] = field(init=False, factory=deque)
    _given: deque[Candle] = field(init=False, factory=lambda: deque(maxlen=_KEPT))
    _unproved: dict[int, _Unproved] = field(init=False, factory=dict)
    _revisions: list[Revision] = field(init=False, factory=list)
    _told: dict[int, Candle] = field(init=False, factory=dict)
    _last_open_ns: int = field(init=False, default=0)

    def subscribed(self) -> None:
        """Note a subscription: the next push is a snapshot, which closes no candle."""
        self._snapshot = True

    def clock_changed(self) -> None:
        """Forget what was judged by a venue time that turned out wrong. What was given out stays given out."""
        self._open = None
        self._newest_ns = 0
        self._snapshot = True
        self._closed.clear()
        self._last_open_ns = self._given[-1].open_ns if self._given else 0

    def push(self, candle: Candle, now: float) -> bool:
        """Take the open candle so far, its ``time_ns`` being the time of sending. Return whether a bucket closed.

        A push older than the newest (late, repeated, reordered) is ignored.
        """
        snapshot, self._snapshot = self._snapshot, False
        if candle.time_ns <= self._newest_ns:
            self._snapshot = snapshot
            return False
        self._newest_ns = candle.time_ns
        bucket = self._open
        if bucket is None:
            if candle.open_ns > self._last_open_ns:
                self._open = candle
            return False
        if candle.open_ns == bucket.open_ns:
            if not (self._closed and _carried_over(self._closed[-1].candle, candle, self.interval_ns)):
                self._open = candle
            return False
        if not snapshot and _carried_over(bucket, candle, self.interval_ns):
            self._open = candle._replace(open_ns=bucket.open_ns)
            return False
        self._open = candle
        return self._close(bucket, now, whole=not snapshot)

    def _close(self, bucket: Candle, now: float, *, whole: bool) -> bool:
        if bucket.open_ns <= self._last_open_ns:
            return False
        since_end_s = (self._newest_ns - bucket.open_ns - self.interval_ns) / SECOND_NS
        if not whole and since_end_s > self.give_up_s:
            return False  # too old: the session fetches it as history
        self._closed.append(_Closed(bucket, now + self.give_up_s, now + self.ask_after_s, whole))
        self._last_open_ns = bucket.open_ns
        return True

    def rows(self, rows: Sequence[Candle], venue_ns: int) -> list[Candle]:
        """Take closed REST rows, in any order, and return the candles that may go out now."""
        by_open = {row.open_ns: row for row in rows}
        for given in self._given:
            self._compare(given, by_open.get(given.open_ns))
        self._prove(by_open)
        out: list[Candle] = []
        # Order is kept: a confirmed candle waits for an earlier one that is not, at most until that one's limit.
        for closed in self._closed:
            row = by_open.get(closed.candle.open_ns)
            if row is not None and closed.candle.status != FINAL:
                closed.candle = row._replace(symbol=self.symbol, status=FINAL)
        while self._closed and self._closed[0].candle.status == FINAL:
            out.append(self._give(self._closed.popleft().candle, venue_ns))
        return out

    def _compare(self, given: Candle, row: Candle | None) -> None:
        if row is None or row[_FIGURES] == given[_FIGURES]:
            return
        told = self._told.get(given.open_ns)
        if told is None or told[_FIGURES] != row[_FIGURES]:
            self._told[given.open_ns] = row
            self._revisions.append(Revision(given, row))
            if len(self._told) > _NEWEST + _KEPT:
                del self._told[min(self._told)]

    def _prove(self, by_open: Mapping[int, Candle]) -> None:
        """Compare candles that went out unconfirmed with their rows; one that has none in three answers has none."""
        oldest_ns, newest_ns = min(by_open, default=0), max(by_open, default=0)
        for open_ns, unproved in [*self._unproved.items()]:
            row = by_open.get(open_ns)
            self._compare(unproved.candle, row)
            unproved.answers += row is None and oldest_ns <= open_ns <= newest_ns
            if row is not None or unproved.answers == _ANSWERS:
                del self._unproved[open_ns]

    def unproved(self) -> tuple[int, int] | None:
        """Return the open times of the oldest and the newest candle that went out and may still be confirmed."""
        return (min(self._unproved), max(self._unproved)) if self._unproved else None

    def tick(self, now: float, venue_ns: int) -> list[Candle]:
        """Return the candles whose confirmation took too long, and what waited behind them."""
        out: list[Candle] = []
        while self._closed:
            head = self._closed[0]
            if head.candle.status != FINAL and now < head.give_up_at:
                break
            self._closed.popleft()
            if head.candle.status == FINAL or head.whole:
                out.append(self._give(head.candle, venue_ns))
        return out

    def _give(self, candle: Candle, venue_ns: int) -> Candle:
        known_ns = max(venue_ns, self._newest_ns, candle.open_ns + self.interval_ns)
        candle = candle._replace(time_ns=known_ns)
        self._given.append(candle)
        if candle.status != FINAL:
            self._unproved[candle.open_ns] = _Unproved(candle)
            oldest_ns = next(iter(self._unproved))
            if oldest_ns <= candle.open_ns - _NEWEST * self.interval_ns:
                del self._unproved[oldest_ns]
        return candle

    def take_revisions(self) -> list[Revision]:
        """Return the revisions found since the last call, each once."""
        revisions, self._revisions = self._revisions, []
        return revisions

    def ask(self, now: float) -> int | None:
        """Return the open time of the newest candle to be asked about now, if any; the others are older.

        Each is asked about after 2 s and then every second until it is confirmed or given out.
        """
        newest = None
        for closed in self._closed:
            if closed.candle.status != FINAL and now >= closed.ask_at:
                closed.ask_at = now + self.ask_again_s
                newest = closed.candle.open_ns
        return newest

    def next_due(self) -> float | None:
        """Return when `ask` or `tick` next has something to do."""
        waiting = [c for c in self._closed if c.candle.status != FINAL]
        return min((min(c.ask_at, c.give_up_at) for c in waiting), default=None)


def _carried_over(old: Candle, push: Candle, interval_ns: int) -> bool:
    """Return whether a push stamped just after the boundary still describes the candle before it.

    Its figures then continue that candle's: same open, and neither volume nor range smaller. A new candle begins with a
    small volume, so that this can hardly be one; if it is, the REST row puts it right.
    """
    return (
        push.open_ns == old.open_ns + interval_ns
        and push.time_ns - push.open_ns < _CARRY_NS
        and push.open == old.open
        and push.volume >= old.volume > 0.0
        and push.high >= old.high
        and push.low <= old.low
    )
