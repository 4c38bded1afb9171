"""When a market is open, as a text of an instrument: what it has no candle for while it is closed is not missing.

``""`` is around the clock, ``weekdays`` Monday to Friday by days of UTC, ``Mon-Fri 14:30-21:00`` hours (UTC) of days.
``file`` says that a recording's own candles are the calendar: the market was closed wherever it has none.
"""

import re
from functools import lru_cache
from typing import Final

from lab.domain.time import DAY_NS, MINUTE_NS

AS_RECORDED: Final = "file"
WEEKDAYS: Final = "weekdays"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_THURSDAY: Final = 3  # 1970-01-01
_HOURS: Final = re.compile(r"([A-Za-z]{3})(?:-([A-Za-z]{3}))?(?: (\d{2}):(\d{2})-(\d{2}):(\d{2}))?")
_EXPECTED: Final = "expected 24/7, weekdays, file, or days and hours of UTC such as Mon-Fri 14:30-21:00"
_Hours = tuple[frozenset[int], int, int]
"""Weekdays (Monday is 0), and from when until when on each of them, in ns."""


def check_calendar(text: str) -> None:
    """Raise ``ValueError`` for a text that is no calendar."""
    if text not in ("", AS_RECORDED):
        _hours(text)


@lru_cache(maxsize=16)
def _hours(text: str) -> _Hours:
    if text == WEEKDAYS:
        text = "Mon-Fri"
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f"not a calendar: {text!r:.80}; {_EXPECTED}")
    first, last = match[1].lower(), (match[2] or match[1]).lower()
    if first not in _DAYS or last not in _DAYS:
        raise ValueError(f"not a calendar: {text!r:.80}; {_EXPECTED}")
    begin, count = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % 7 + 1
    days = frozenset((begin + day) % 7 for day in range(count))
    if match[3] is None:
        return days, 0, DAY_NS
    opens_ns, closes_ns = (
        (int(match[place]) * 60 + int(match[place + 1])) * MINUTE_NS if int(match[place + 1]) < 60 else -1
        for place in (3, 5)
    )
    if not 0 <= opens_ns < closes_ns <= DAY_NS:
        raise ValueError(f"not a calendar: {text!r:.80}; the hours of a day rise, from 00:00 to 24:00")
    return days, opens_ns, closes_ns


def open_ns(calendar: str, begin_ns: int, end_ns: int) -> int:
    """Return for how many ns of a stretch the market is open; 0 for an empty one, and by a recording's own candles."""
    if not calendar:
        return max(0, end_ns - begin_ns)
    if calendar == AS_RECORDED:
        return 0
    days, opens_ns, closes_ns = _hours(calendar)
    total = 0
    day_ns = begin_ns - begin_ns % DAY_NS
    while day_ns < end_ns:
        if (day_ns // DAY_NS + _THURSDAY) % 7 in days:
            total += max(0, min(end_ns, day_ns + closes_ns) - max(begin_ns, day_ns + opens_ns))
        day_ns += DAY_NS
    return total


def missing_candles(calendar: str, begin_ns: int, end_ns: int, interval_ns: int) -> int:
    """Return how many candles of a stretch without any are missing: those in which the market was open at some time."""
    if not calendar:
        return (end_ns - begin_ns) // interval_ns
    if calendar == AS_RECORDED:
        return 0
    return sum(1 for at_ns in range(begin_ns, end_ns, interval_ns) if open_ns(calendar, at_ns, at_ns + interval_ns))
