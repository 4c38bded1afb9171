"""What an audit finds, and what its parts have in common."""

from decimal import Decimal
from typing import Final

_FOUND_MOST: Final = 100
_LINE_MOST: Final = 600  # characters of a finding
_POSTINGS_MOST: Final = 8  # shown of a row
_PLACES_MOST: Final = 60  # of a figure that is written out


class Findings:
    """Where an audit is, and what it found so far: their number, and the first hundred as lines."""

    def __init__(self) -> None:
        self.where = ""
        self.seq = self.time_ns = self.input_n = self.found = 0
        self.before_ns = 0
        """The time of the newest row of an input before: a timer inside this one was called later."""
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Take a finding about the row that is looked at."""
        self.found += 1
        if len(self.lines) < _FOUND_MOST:
            self.lines.append(f"{self.where}: {text:.{_LINE_MOST}}")


class Checks:
    """A part of an audit. It notes what does not agree, at the row that is looked at."""

    def __init__(self, at: Findings) -> None:
        self._at = at

    def _note(self, text: str) -> None:
        self._at.note(text)

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._note(f"{what} is {_shown(found)}, it should be {_shown(expected)}")


def _shown(value: object) -> str:
    if isinstance(value, tuple):  # postings
        return ", ".join(f"{account:.60} {_shown(amount)}" for account, amount in value[:_POSTINGS_MOST])
    if isinstance(value, Decimal) and abs(value.adjusted()) < _PLACES_MOST:
        return f"{value:f}"
    return f"{value!s:.200}"
