"""What two sockets bring while one takes the other's place: each event once. Pure."""

from collections.abc import Hashable, Sequence
from typing import Final

from attrs import define, field

KEPT_S: Final = 10.0
"""How long after the change a frame may come that the first socket brought before: later ones are late anyhow."""
_ROWS_MOST: Final = 50_000


@define
class Doubles:
    """Both sockets are read while both are open, so that nothing is lost between them; this leaves out the repeats.

    Levels have a time: one that is not newer than the newest was there already. Trades have neither number nor time to
    the second's part, and two alike may both be real. But each socket brings all of them: the second one that is alike
    on one socket is the second on the other, too.
    """

    until: float = field(init=False, default=float("-inf"))
    """The monotonic time until which there may be any."""
    _newest_ns: dict[Hashable, int] = field(init=False, factory=dict)
    _rows: dict[Hashable, dict[int, int]] = field(init=False, factory=dict)
    """How often each trade came, by the number of the socket."""

    def begin(self) -> None:
        """Note that a second socket opens."""
        self._newest_ns.clear()
        self._rows.clear()
        self.until = float("inf")

    def end(self, now: float) -> None:
        """Note that one is left."""
        self.until = now + KEPT_S

    def newer(self, channel: Hashable, time_ns: int) -> bool:
        """Return whether levels, or a push, are newer than the newest of the channel since `begin`."""
        if time_ns <= self._newest_ns.get(channel, 0):
            return False
        self._newest_ns[channel] = time_ns
        return True

    def new_rows(self, rows: Sequence[Hashable], line: int) -> Sequence[bool]:
        """Return of each trade that a socket brings whether it is new. The 50,000 newest that differ are known."""
        return [self._is_new(row, line) for row in rows]

    def _is_new(self, row: Hashable, line: int) -> bool:
        counts = self._rows.setdefault(row, {})
        if len(self._rows) > _ROWS_MOST:
            del self._rows[next(iter(self._rows))]
        before = max(counts.values(), default=0)
        counts[line] = counts.get(line, 0) + 1
        return counts[line] > before
