"""How long candles are, by the times at which they open."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from lab.domain.time import DAY_NS

_WEEK_NS: Final = 7 * DAY_NS
_WEEKEND: Final = frozenset({2, 3})  # days of the week from 1970-01-01 on, which was a Thursday


def intervals_of(opens_ns: Sequence[int]) -> tuple[int, ...]:
    """Return how long candles may be that open at two times or more, in ns: one length, or two where that is in doubt.

    It is the most common distance of neighbours, of equally common ones the shortest. Candles of two to six days lie
    on weekends too, in time. Where none does, they are single days of which some are missing (Mondays and Fridays, say)
    if they do not lie on their own grid, and may be such if they do.
    """
    steps = Counter(later - earlier for earlier, later in pairwise(opens_ns))
    found_ns = min(steps, key=lambda step: (-steps[step], step))
    if not DAY_NS < found_ns < _WEEK_NS or any(step % DAY_NS for step in steps):
        return (found_ns,)
    if any(open_ns // DAY_NS % 7 in _WEEKEND for open_ns in opens_ns):
        return (found_ns,)
    return (DAY_NS,) if any(step % found_ns for step in steps) else (DAY_NS, found_ns)
