"""What an audit finds, and what its parts have in common."""

from decimal import Decimal
from typing import Final

_FOUND_MOST: Final = 100


class Findings:
    """Where an audit is, and what it found so far: their number, and the first hundred as lines."""

    def __init__(self) -> None:
        self.where = ""
        self.seq = self.time_ns = self.input_n = self.found = 0
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Take a finding about the row that is looked at."""
        self.found += 1
        if len(self.lines) < _FOUND_MOST:
            self.lines.append(f"{self.where}: {text}")


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
        return ", ".join(f"{account} {amount:f}" for account, amount in value)
    return format(value, "f") if isinstance(value, Decimal) else f"{value!s:.200}"
