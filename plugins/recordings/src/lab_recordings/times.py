"""Columns of times."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, repeat
from operator import add, itemgetter
from typing import Final

import msgspec
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS, format_time, parse_time

from lab_recordings.errors import LONGEST, excerpt

TIME_NAMES: Final = ("time", "timestamp", "datetime", "date", "open_time")
_NUMBERS: Final = msgspec.json.Decoder(list[int])
_TO_HOUR: Final = itemgetter(slice(13))
_FROM_HOUR: Final = itemgetter(slice(13, None))
_DATE_TEXT: Final = re.compile(r"(\d{4}-\d{2}-\d{2})([T ])(\d{2}:\d{2}(?::\d{2})?)([^\d:].*|)")
_CACHE_SIZE: Final = 200_000
_EXACT_BELOW: Final = 2**53  # whole numbers read as floats are exact up to here
_DATE: Final = 0
_TIME_MOST: Final = 1 << 62  # the year 2116
_FORMS: Final = {_DATE: "a date", 10**9: "of s", 10**6: "of ms", 10**3: "of µs", 1: "of ns"}


class TimeColumn:
    """Turns the times of one file, block by block, into nanoseconds. Reads what `parse_time` reads, far faster.

    A file's times are dates, or numbers of one unit. A number's unit follows from its size, so a file in which
    it changes is refused.

    Dates are split after the hour. Both halves repeat, so each is parsed once: the time is their sum, because the zone
    and everything below the hour only add.
    """

    def __init__(self) -> None:
        self._hours = _Hours()
        self._rests = _Rests()
        self._unit: int | None = None
        self._style: tuple[object, ...] = ()
        self._clocks: list[str] = []

    def parse(self, column: Sequence[str], step_ns: int = 0) -> Sequence[int]:
        """Return the nanoseconds of each text, perhaps as a range where they are ``step_ns`` apart.

        Raises ``ValueError`` if one is refused, without saying which.
        """
        try:
            if "-" in column[0]:
                even = self._even(column, step_ns)
                if even is not None:
                    self._settle((_DATE,))
                    return even
                hours = map(self._hours.__getitem__, map(_TO_HOUR, column))
                parsed = list(map(add, hours, map(self._rests.__getitem__, map(_FROM_HOUR, column))))
                if parsed[0] < 0:  # a zone took it there
                    raise ValueError("before 1970")
                self._settle((_DATE,))
                return parsed
            numbers = _whole_numbers(column)
        except ValueError:
            parsed = list(map(_time_of, column))
            self._settle(map(_unit_of, column))
            return parsed
        unit = self._settle((_unit(min(numbers)), _unit(max(numbers))))
        return [number * unit for number in numbers]

    def numbers(self, column: Sequence[float], step_ns: int) -> Sequence[int]:
        """Return the nanoseconds of each number; as a range where they are ``step_ns`` apart.

        Raises ``ValueError`` if one is refused, or may have lost digits as a float.
        """
        start, rows = int(column[0]), len(column)
        unit = _unit(start)
        step, rest = divmod(step_ns, unit)
        if step and not rest and column[-1] < _EXACT_BELOW:
            # Sums of whole floats, exact below that: they are compared faster than whole numbers with floats.
            even = list(accumulate(repeat(float(step), rows - 1), initial=float(start)))
            if column == even:
                stop = start + step * rows
                self._settle((unit, _unit(stop - step)))
                return range(start * unit, stop * unit, step * unit)
        whole = list(map(int, column))
        low, high = min(whole), max(whole)
        if high >= _EXACT_BELOW or whole != column:
            raise ValueError("not surely whole numbers")
        unit = self._settle((_unit(low), _unit(high)))
        return [number * unit for number in whole]

    def _even(self, column: Sequence[str], step_ns: int) -> range | None:
        """Return the times of dates that are written alike, one step after the other; ``None`` for any others.

        The texts of such a column are known from its first: to make and compare them takes a fifth of parsing them.
        """
        match = _DATE_TEXT.fullmatch(column[0])
        if match is None or not step_ns or DAY_NS % step_ns or DAY_NS // step_ns > 4 * len(column):
            return None
        date, sign, clock, rest = match.groups()
        if step_ns % (SECOND_NS if len(clock) == len("00:00:00") else MINUTE_NS):
            return None
        day_ns = _time_of(date)
        inside_ns = parse_time(f"{date}T{clock}") - day_ns
        style = (step_ns, inside_ns % step_ns, sign, len(clock), rest)
        if style != self._style:
            times = map(format_time, range(inside_ns % step_ns, DAY_NS, step_ns))
            self._style, self._clocks = style, [f"{sign}{text[11 : 11 + len(clock)]}{rest}" for text in times]
        texts: list[str] = []
        place = inside_ns // step_ns
        while len(texts) < len(column):
            date = format_time(day_ns)[:10]
            texts += [date + clock for clock in self._clocks[place : place + len(column) - len(texts)]]
            day_ns, place = day_ns + DAY_NS, 0
        if texts != column:
            return None
        return range(_time_of(column[0]), _time_of(column[-1]) + step_ns, step_ns)

    def why_not(self, column: Sequence[str]) -> tuple[int, str]:
        """Return the place of the first text that makes `parse` refuse a column, and the reason."""
        first = self._unit
        for place, text in enumerate(column):
            try:
                unit = _unit_of(text)
            except ValueError as error:
                if len(text) <= LONGEST:
                    return place, str(error)
                return place, f"not a time: {excerpt(text)}"
            first = unit if first is None else first
            if unit != first:
                form = _FORMS[unit] if unit == _DATE else f"a number {_FORMS[unit]}"
                above = f"a number {_FORMS[first]}" if unit == _DATE else _FORMS[first]
                return place, f"time {excerpt(text)} is {form}, not {above} as above; write all times of a file alike"
        raise AssertionError("nothing is wrong with these times")

    def _settle(self, units: Iterable[int]) -> int:
        """Return the unit that all times have so far. Raises ``ValueError`` where they have several."""
        found = set(units) if self._unit is None else {self._unit, *units}
        if len(found) > 1:
            raise ValueError("times of several units")
        self._unit = found.pop()
        return self._unit


def _whole_numbers(column: Sequence[str]) -> list[int]:
    """Return whole numbers that are all written as JSON has them. Raises ``ValueError`` if one is not."""
    with suppress(msgspec.DecodeError):
        numbers = _NUMBERS.decode(f"[{','.join(column)}]")
        if len(numbers) == len(column):
            return numbers
    raise ValueError("not all are plain whole numbers")


def _unit(number: int) -> int:
    """Return the nanoseconds in 1 of a number. Raises ``ValueError`` for what is no time."""
    return _time_of(number) // number


def _time_of(value: str | int) -> int:
    """Return what `parse_time` does. Raises ``ValueError`` also for a time that a session cannot have."""
    time_ns = parse_time(value)
    if not 0 <= time_ns < _TIME_MOST:
        raise ValueError(f"{format_time(time_ns)} is outside of the years 1970 to 2116")
    return time_ns


def _unit_of(text: str) -> int:
    """Return what `_unit` does, and `_DATE` for a date."""
    _time_of(text)
    return _DATE if "-" in text else _unit(int(text.strip().partition(".")[0]))


class _Hours(dict[str, int]):
    def __missing__(self, text: str) -> int:
        if len(self) > _CACHE_SIZE:
            self.clear()
        value = self[text] = _time_of(f"{text}:00")
        return value


class _Rests(dict[str, int]):
    def __missing__(self, text: str) -> int:
        if len(self) > _CACHE_SIZE:
            self.clear()
        value = self[text] = parse_time(f"2000-01-01T00{text}") - parse_time("2000-01-01")
        return value
