"""Hands committed rows from the trading thread to the reporters' threads."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from lab.ports import Record

PAGE: Final = 500
KEPT_BESIDE_A_FILE: Final = PAGE  # half a megabyte: who is further behind reads the journal as fast
KEPT_WITHOUT: Final = 20_000


class RowFeed:
    """Keeps the newest committed rows in memory; `after` reads older ones from the journal's file.

    The trading thread calls `add` and `end`, which never wait; every other method may be called from any thread.
    Without ``read`` (a live run under ``--no-write``) only the newest 20,000 rows are available: a reporter that is
    further behind misses the oldest.
    """

    def __init__(self, read: Callable[[int, int], Sequence[Record]] | None) -> None:
        """``read(seq, limit)`` gives up to ``limit`` committed rows after ``seq``, whichever thread calls it."""
        self._read = read
        self._keep = KEPT_WITHOUT if read is None else KEPT_BESIDE_A_FILE
        self._newest: list[Record] = []
        self._reading = threading.Lock()
        self._closed = False
        self.ended = False

    def add(self, records: Sequence[Record]) -> None:
        """Take rows that were committed."""
        # A list that only grows is read without a lock; one that has grown too long is replaced, never cut.
        self._newest.extend(records)
        if len(self._newest) > 2 * self._keep:
            self._newest = self._newest[-self._keep :]

    def end(self) -> None:
        """Announce that no more rows will come."""
        self.ended = True

    def after(self, seq: int) -> Sequence[Record]:
        """Return the next rows after ``seq``, at most a page of them; none where none are there yet."""
        newest = self._newest
        if newest and newest[0].seq <= seq + 1:
            start = seq + 1 - newest[0].seq
            return newest[start : start + PAGE]
        if self._read is None:
            return newest[:PAGE]
        if not newest and not self.ended:
            return ()
        with self._reading:
            return () if self._closed else self._read(seq, PAGE)

    def close(self) -> None:
        """Read nothing from the journal any more: it is about to be closed. Waits for a read that has begun."""
        self._closed = True
        if self._reading.acquire(timeout=1.0):
            self._reading.release()
