"""Committed rows on their way to reporters: nobody waits for a slow one, and no row is left out."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import anyio
import anyio.lowlevel

from lab.ports import Record

_RECENT: Final = 4096
_PAGE: Final = 500


class Publisher:
    """Keeps the newest committed rows; each `stream` reads them, and older ones from the journal when it has lagged."""

    def __init__(self, since: Callable[[int, int], Sequence[Record]]) -> None:
        """``since(seq, limit)`` reads committed rows after ``seq`` from the journal."""
        self._since = since
        self._recent: deque[Record] = deque(maxlen=_RECENT)
        self._ended = False
        self._wake = anyio.Event()

    def publish(self, records: Sequence[Record]) -> None:
        """Make committed rows known."""
        if records:
            self._recent.extend(records)
            self._rouse()

    def end(self) -> None:
        """Say that no more will come."""
        self._ended = True
        self._rouse()

    def _rouse(self) -> None:
        wake, self._wake = self._wake, anyio.Event()
        wake.set()

    async def stream(self) -> AsyncIterator[Record]:
        """Yield every committed row from the first, in order, until the end."""
        seq = 0
        while True:
            wake = self._wake
            recent = self._recent
            if recent and recent[-1].seq > seq:
                if recent[0].seq > seq + 1:
                    page = self._since(seq, _PAGE)
                else:
                    page = [record for record in recent if record.seq > seq]
                for record in page:
                    yield record
                    seq = record.seq
                await anyio.lowlevel.checkpoint()  # a long backlog must not keep others waiting
                continue
            if self._ended:
                return
            await wake.wait()
