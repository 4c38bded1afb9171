"""The candles that are still missing in the engine's history: open questions, asked again and again. Pure."""

from collections.abc import Collection
from typing import Final

from attrs import define, field

from lab.engine.history import History
from lab.live.retry import Retry

_FAILED_S: Final = (2.0, 5.0, 15.0, 30.0, 60.0)
_UNANSWERED_S: Final = (2.0, 5.0, 15.0, 60.0, 300.0)
_SAID_AFTER: Final = 3
_RANGES: Final = 1000


@define
class Gaps:
    """The gaps that the engine found, as far back as its history reaches; what lies further back is nobody's question.

    At most 1,000 gaps are kept, the newest.
    """

    history: History
    count: int = field(init=False, default=0)
    """How many candles were missing when that was last looked at."""
    unavailable: Retry = field(init=False, factory=lambda: Retry(_FAILED_S))
    unanswered: Retry = field(init=False, factory=lambda: Retry(_UNANSWERED_S))
    _ranges: list[tuple[int, int]] = field(init=False, factory=list)

    @property
    def oldest_ns(self) -> int:
        """The open time of the oldest candle that history has a place for."""
        return self.history.next_ns - self.history.keep * self.history.interval_ns

    @property
    def due(self) -> float:
        """The monotonic time of the next try; infinite while nothing is missing."""
        return max(self.unavailable.due, self.unanswered.due) if self._ranges else float("inf")

    def add(self, first_ns: int, last_ns: int) -> None:
        """Note a gap, by the open times of its first and last candle. It is asked for at once."""
        self._ranges = [*self._ranges[1 - _RANGES :], (first_ns, last_ns)]
        self.count += (last_ns - first_ns) // self.history.interval_ns + 1
        self.unavailable.at_once()
        self.unanswered.at_once()

    def recovered(self) -> None:
        """Let what is missing be asked for at once: the feed is there again, and so may the provider's answers be."""
        self.unavailable.at_once()
        self.unanswered.due = float("-inf")

    def missing(self) -> list[int]:
        """Return the open times of what is still missing, ascending, and forget the gaps that are closed."""
        known = {candle.open_ns for candle in self.history.candles}
        oldest_ns, step = self.oldest_ns, self.history.interval_ns
        found: set[int] = set()
        ranges = []
        for first_ns, last_ns in self._ranges:
            begin_ns = first_ns + max(0, -((first_ns - oldest_ns) // step)) * step
            lost = [open_ns for open_ns in range(begin_ns, last_ns + 1, step) if open_ns not in known]
            if lost:
                ranges.append((lost[0], lost[-1]))
                found.update(lost)
        self._ranges = ranges
        self.count = len(found)
        return sorted(found)

    def answered(self, missing: Collection[int], now: float) -> bool:
        """Note an answer that lacked these; return whether it is time to say that they stay missing, which is once."""
        if not missing:
            return False
        self.unavailable.at_once()
        self.unanswered.later(now)
        return self.unanswered.tries == _SAID_AFTER

    def forget(self) -> None:
        """Ask no more: the provider will never answer."""
        self._ranges.clear()
