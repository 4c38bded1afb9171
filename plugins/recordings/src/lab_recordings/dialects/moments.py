"""How times are written: which style all times of a file fit, and which of several is meant."""

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal

from attrs import define, field
from lab.domain.time import DAY_NS, SECOND_NS

from lab_recordings.times import TimeColumn

Dates = Literal["auto", "day-first", "month-first"]
_TIME_MOST: Final = 1 << 62
_CACHE_SIZE: Final = 100_000
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
         "november", "december"), 1,
    )
    for name in (names, names[:3])
} | {"sept": 9}  # fmt: skip
_DATE: Final = re.compile(
    r"(?:(?P<ymd>(\d{4})([-/.])(\d{1,2})\3(\d{1,2}))|(?P<xyy>(\d{1,2})([-/.])(\d{1,2})\8(\d{4}))"
    r"|(?P<named>(\d{1,2})[-/ ]([A-Za-z]{3,9})\.?[-/ ,]+(\d{4}))|(?P<us>([A-Za-z]{3,9})\.? (\d{1,2}),? +(\d{4})))"
    r"(?P<rest>.*)",
    re.DOTALL,
)
_CLOCK: Final = re.compile(
    r"(?:(?:[T,]| |, ) *(\d{1,2})(?::(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?(?:[ -]?([AaPp])\.?[Mm]\.?)?"
    r"\s*(Z|UTC|GMT|(?:UTC|GMT)?[+-]\d{2}:?\d{2})?)?"
)
_COMPACT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[ T]?(\d{2}):?(\d{2}):?(\d{2})?)?")
_SERIAL: Final = re.compile(r"\d{5}(?:\.\d+)?")
SERIAL_OF_1970: Final = 25_569
"""The day of a spreadsheet that is 1970-01-01."""
_SERIAL_MOST: Final = 80_000
_LOCAL: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]00:00(?::00(?:\.0+)?)?([+-]\d{2}:?\d{2})")


def _date_ns(year: int, month: int, day: int) -> int:
    time_ns = int(datetime(year, month, day, tzinfo=UTC).timestamp()) * SECOND_NS
    if not 0 <= time_ns < _TIME_MOST:
        raise ValueError("outside of the years 1970 to 2116")
    return time_ns


def _clock_ns(text: str) -> int:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time of day: {text!r}")
    hour, minute, second, fraction, half, zone = match.groups()
    if hour is None:
        return 0
    hours, minutes, seconds = int(hour), int(minute or 0), int(second or 0)
    if half:
        if not 1 <= hours <= 12:
            raise ValueError("no hour of twelve")
        hours = hours % 12 + (12 if half in "pP" else 0)
    elif minute is None:
        raise ValueError("an hour alone")
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("no time of day")
    time_ns = ((hours * 60 + minutes) * 60 + seconds) * SECOND_NS + int((fraction or "").ljust(9, "0"))
    if zone and zone[-1].isdigit():
        zone = zone.replace(":", "")
        offset = (int(zone[-4:-2]) * 60 + int(zone[-2:])) * 60 * SECOND_NS
        time_ns += offset if zone[-5] == "-" else -offset
    return time_ns


class _Halves:
    """Reads dates in one order; dates and times of day repeat, so each is read once."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._dates: dict[str, int] = {}
        self._clocks: dict[str, int] = {}

    def __call__(self, cells: Sequence[str]) -> list[int]:
        return list(map(self._one, cells))

    def _one(self, cell: str) -> int:
        match = _DATE.fullmatch(cell)
        if match is None:
            raise ValueError("no date")
        rest = match["rest"]
        date = cell[: len(cell) - len(rest)]
        if len(self._dates) + len(self._clocks) > _CACHE_SIZE:
            self._dates.clear()
            self._clocks.clear()
        date_ns = self._dates.get(date)
        if date_ns is None:
            date_ns = self._dates[date] = self._date(match)
        clock_ns = self._clocks.get(rest)
        if clock_ns is None:
            clock_ns = self._clocks[rest] = _clock_ns(rest)
        time_ns = date_ns + clock_ns
        if not 0 <= time_ns < _TIME_MOST:
            raise ValueError("outside of the years 1970 to 2116")
        return time_ns

    def _date(self, match: "re.Match[str]") -> int:
        parts = match.groups()
        if match["ymd"]:
            if self._order != "ymd":
                raise ValueError("the year comes first")
            return _date_ns(int(parts[1]), int(parts[3]), int(parts[4]))
        if match["xyy"]:
            first, sign, second, year = int(parts[6]), parts[7], int(parts[8]), int(parts[9])
            if self._order == "ymd" or (sign == "." and self._order != "dmy"):
                raise ValueError("the year comes last")
            month, day = (second, first) if self._order == "dmy" else (first, second)
            return _date_ns(year, month, day)
        if self._order != "ymd":  # a month's name leaves nothing to decide: one order is enough
            raise ValueError("the month has a name")
        named, name, of_year = (
            (parts[11], parts[12], parts[13]) if match["named"] else (parts[16], parts[15], parts[17])
        )
        if name.lower() not in _MONTHS:
            raise ValueError(f"no month: {name!r}")
        return _date_ns(int(of_year), _MONTHS[name.lower()], int(named))


def _compact(cells: Sequence[str]) -> list[int]:
    return [_compact_one(cell) for cell in cells]


def _compact_one(cell: str) -> int:
    match = _COMPACT.fullmatch(cell)
    if match is None:
        raise ValueError("not compact")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no time of day")
    return _date_ns(year, month, day) + ((hour * 60 + minute) * 60 + second) * SECOND_NS


def _serial(cells: Sequence[str]) -> list[int]:
    if not all(map(_SERIAL.fullmatch, cells)):
        raise ValueError("no days of a spreadsheet")
    days = list(map(float, cells))
    if not all(SERIAL_OF_1970 <= day < _SERIAL_MOST for day in days):
        raise ValueError("no days of a spreadsheet")
    return [round((day - SERIAL_OF_1970) * 86_400) * SECOND_NS for day in days]


class _LocalMidnights:
    """Days of a place's own calendar, each written as its midnight there: they are taken as days of UTC.

    In winter London's midnights are those of UTC.
    """

    def __init__(self) -> None:
        self._times = TimeColumn()

    def __call__(self, cells: Sequence[str]) -> list[int]:
        matches = list(map(_LOCAL.fullmatch, cells))
        dates = [match[1] for match in matches if match]
        if len(dates) != len(cells):
            raise ValueError("not all are midnights of a place")
        return list(self._times.parse(dates))


def _iso(cells: Sequence[str], times: TimeColumn) -> list[int]:
    return list(times.parse(cells))


def is_calendar_number(cell: str) -> bool:
    """Return whether a number of 12 or 14 digits is a date and time written without signs, as 202401311530."""
    if len(cell) not in {12, 14}:
        return False
    try:
        _compact_one(cell)
    except ValueError:
        return False
    return True


def _styles() -> dict[str, Callable[[Sequence[str]], list[int]]]:
    times = TimeColumn()
    return {
        "compact": _compact,
        "local": _LocalMidnights(),
        "iso": lambda cells: _iso(cells, times),
        "ymd": _Halves("ymd"),
        "dmy": _Halves("dmy"),
        "mdy": _Halves("mdy"),
        "serial": _serial,
    }


SAID: Final = {
    "compact": "times as yyyymmdd", "local": "days of the exchange taken as days of UTC", "iso": "",
    "ymd": "", "dmy": "times with the day first", "mdy": "times with the month first",
    "serial": "times as days of a spreadsheet",
}  # fmt: skip


@define
class TimeJudge:
    """Reads the times of one column in each style that all of them fit so far."""

    dates: Dates = "auto"
    named: bool = True
    """Whether the column has a name: one without may hold the numbers of rows."""
    found: "dict[str, array[int]]" = field(init=False)
    """By style, the times so far."""
    lost: tuple[int, str] | None = field(init=False, default=None)
    """The line and the text at which no style was left."""
    _parse: dict[str, Callable[[Sequence[str]], list[int]]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        left_out = {"day-first": "mdy", "month-first": "dmy"}.get(self.dates)
        self._parse = {name: parse for name, parse in _styles().items() if name != left_out}
        self.found = {name: array("q") for name in self._parse}

    def take(self, lines: Sequence[int], cells: Sequence[str]) -> None:
        """Take in times, stripped, and the lines they stand in."""
        alive = list(self.found)
        for name in alive:
            try:
                self.found[name].extend(self._parse[name](cells))
            except (ValueError, OverflowError):
                del self.found[name]
        if alive and not self.found:
            place = max(_first_misfit(self._parse[name], cells) for name in alive)
            self.lost = lines[place], cells[place]


def _first_misfit(parse: Callable[[Sequence[str]], list[int]], cells: Sequence[str]) -> int:
    for place, cell in enumerate(cells):
        try:
            parse((cell,))
        except (ValueError, OverflowError):
            return place
    return 0


def ordered(times_ns: Sequence[int]) -> int:
    """Return 1 where times ascend, -1 where they descend, 0 where they do neither; equal neighbours do not count."""
    if all(earlier <= later for earlier, later in pairwise(times_ns)):
        return 1
    return -1 if all(earlier >= later for earlier, later in pairwise(times_ns)) else 0


def longest_step(times_ns: Iterable[int]) -> int:
    """Return the longest distance between neighbours."""
    return max((abs(later - earlier) for earlier, later in pairwise(times_ns)), default=0)


def plainly(first: Sequence[int], second: Sequence[int]) -> bool:
    """Return whether candles shorter than a day are close together in one reading, and months apart in the other.

    That is what a date shows although neither of its parts is above 12.
    """
    steps = [abs(later - earlier) for earlier, later in pairwise(first) if later != earlier]
    if not steps or min(steps) >= DAY_NS:
        return False
    return longest_step(first) < 7 * DAY_NS and longest_step(second) >= 27 * DAY_NS
