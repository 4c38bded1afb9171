"""The error of a recording: what is wrong, and where."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from lab.domain.time import format_interval

LONGEST: Final = 80
"""Characters of a file that a message repeats."""
_SYMBOLS_SHOWN: Final = 5

ONE_CANDLE: Final = "one candle only: its interval can't be inferred; give --set replay.interval=1d, say"


class RecordingError(ValueError):
    """A recording that can't be used. The text begins with ``file:line:``, without a line where none is to blame."""

    def __init__(self, file: object, line: int | None, reason: str) -> None:
        self.file = str(file)
        self.line = line
        self.reason = reason
        super().__init__(f"{self.file}:{line}: {reason}" if line is not None else f"{self.file}: {reason}")


class UnclearError(RecordingError):
    """A recording that has several meanings. The text says what settles which one is meant."""


def excerpt(text: str) -> str:
    """Return what was found in a file, quoted for a message, cut at 80 characters."""
    return repr(text) if len(text) <= LONGEST else f"{text[:LONGEST]!r}… ({len(text):,} characters)"


def listed(names: Iterable[str]) -> str:
    """Return names from a file, joined for a message, cut at 80 characters."""
    text = ", ".join(islice(names, LONGEST))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def one_interval(file: object, intervals_ns: Sequence[int]) -> int:
    """Return the only length that candles may have. Raises `UnclearError` naming those that they may have."""
    if len(intervals_ns) > 1:
        lengths = [format_interval(one) for one in intervals_ns]
        what = f"none of its candles is of a weekend: they are of {lengths[1]}, or of {lengths[0]} and some are missing"
        cure = " or ".join(f"--set replay.interval={one}" for one in lengths)
        raise UnclearError(file, None, f"{what}; give {cure}")
    return intervals_ns[0]


def several_symbols(file: object, line: int, symbols: Iterable[str]) -> UnclearError:
    """Return the error of a file that has the prices of more than one symbol."""
    found = listed(sorted(symbols)[:_SYMBOLS_SHOWN])
    return UnclearError(file, line, f"several symbols ({found}); save each to a file of its own")
