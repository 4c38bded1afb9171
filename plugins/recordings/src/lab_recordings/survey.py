"""Surveys a file's data while it is read, and infers an instrument's steps from its prices."""

import json
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise, repeat
from math import inf
from typing import Final

from attrs import define, field, fields
from lab.domain.calendar import missing_candles
from lab.domain.time import DAY_NS, format_time

_COUNTED: Final = 128  # rows of the first block whose decimals are counted
_DIGITS: Final = 9  # behind the first one: what lies further right in a float comes from arithmetic, not from a market
_FINEST: Final = 7  # decimal places between the lowest price and the finest tick
TICK_LIMIT: Final = 0.0005
"""The coarsest tick that makes sense, as a fraction of the price: 5 basis points."""
_WEEKEND: Final = frozenset({2, 3})  # days since 1970-01-01, a Thursday
_FINEST_LOT: Final = Decimal("0.0001")


@define
class Survey:
    """The survey of a file's data so far; complete once the file was read to its end.

    Decimals are counted in the prices of 128 rows or more of the first block, of all rows where it has no more, then of
    each block's last row: a price that ends in zeros hides some of them, and only one in ten does.
    """

    lowest: float = inf
    """The lowest price: a low, or a bid."""
    highest: float = 0.0
    """The highest price: a high, or an ask."""
    decimals: int = 0
    """The greatest number of decimals of a price, its first ten digits counted; zeros at its end do not count."""
    has_volume: bool = True
    """Whether a file of candles has a column of volumes."""
    gaps: int = 0
    """How often a candle does not open where the one before it closed."""
    longest_gap_ns: int = 0
    """The longest stretch without a candle."""
    longest_gap_open_ns: int = 0
    """When the longest stretch without a candle began."""
    said: str = ""
    """What was inferred of a file's form, in one line; empty for a plain one."""
    interval_ns: int = 0
    """The length of a file's own candles."""
    daily: bool = False
    """Whether the candles are days of UTC."""
    weekends: int = 0
    """How many of the days are Saturdays and Sundays."""
    _begun: bool = field(default=False, init=False)

    def dumped(self) -> bytes:
        """Return it as bytes, for `loaded`."""
        return json.dumps([getattr(self, one.name) for one in fields(Survey)]).encode()

    @classmethod
    def loaded(cls, data: bytes) -> "Survey":
        """Return the survey that `dumped` gave these bytes for."""
        survey = cls()
        for one, value in zip(fields(cls), json.loads(data), strict=True):
            setattr(survey, one.name, value)
        return survey

    def see_prices(self, columns: Sequence[Sequence[float]], lowest: float, highest: float) -> None:
        """Take in a block of sound prices, with the lowest and the highest of them."""
        if lowest < self.lowest:
            self.lowest = lowest
        if highest > self.highest:
            self.highest = highest
        if self._begun:
            some = [column[-1] for column in columns if column]
        else:
            some = [price for column in columns for price in column[:: max(1, len(column) // _COUNTED)]]
        # Rounding is done by C code: what it does not change has no more decimals than are known.
        if list(map(round, some, repeat(self.decimals))) != some:
            self.decimals = max(self.decimals, *map(_decimals, some))
        self._begun = True

    def see_openings(
        self, before_ns: int | None, opens_ns: Sequence[int], interval_ns: int, calendar: str = ""
    ) -> None:
        """Take in a block of openings that ascend on the grid; ``before_ns`` is the last one of the block before.

        What is missing while the market is closed by the calendar is no gap.
        """
        if interval_ns == DAY_NS:
            self.daily = not opens_ns[0] % DAY_NS
            self.weekends += sum(1 for open_ns in opens_ns if open_ns // DAY_NS % 7 in _WEEKEND)
        if before_ns is not None:
            self._step(before_ns, opens_ns[0], interval_ns, calendar)
        if opens_ns[-1] - opens_ns[0] != (len(opens_ns) - 1) * interval_ns:
            for earlier, later in pairwise(opens_ns):
                self._step(earlier, later, interval_ns, calendar)

    def _step(self, earlier_ns: int, later_ns: int, interval_ns: int, calendar: str) -> None:
        missing_ns = later_ns - earlier_ns - interval_ns
        if missing_ns > 0 and missing_candles(calendar, earlier_ns + interval_ns, later_ns, interval_ns):
            self.gaps += 1
            if missing_ns > self.longest_gap_ns:
                self.longest_gap_ns, self.longest_gap_open_ns = missing_ns, earlier_ns + interval_ns

    def tick(self) -> tuple[Decimal, str]:
        """Return the price step that the prices' decimals show, and a text on its origin.

        It is a power of ten, 1 at the most, and never finer than a ten-millionth of the lowest price: more digits than
        that are left over from arithmetic.
        """
        finest = _FINEST - Decimal(repr(self.lowest)).adjusted()
        if self.decimals > finest:
            return _power(-finest), f"{self.decimals} decimals in the file, {finest} of them used"
        plural = "decimal" if self.decimals == 1 else "decimals"
        return _power(-self.decimals), f"{self.decimals} {plural} in the file"

    def fine_tick(self) -> Decimal:
        """Return the price step that the decimals show, or a finer one where that is too coarse for the lowest price.

        It is the largest power of ten that is at most 5 basis points of the lowest price.
        """
        return min(self.tick()[0], _power(Decimal(repr(self.lowest * TICK_LIMIT)).adjusted()))

    def lot(self) -> tuple[Decimal, str]:
        """Return the quantity step, and a text on its origin.

        It is the largest power of ten of which one lot is worth less than 1 in the quote currency at the highest price,
        and 0.0001 at the least.
        """
        lot = _power(-1 - Decimal(repr(self.highest)).adjusted())
        if lot < _FINEST_LOT:
            return _FINEST_LOT, "the finest that is inferred"
        return lot, f"one is worth less than 1 at the file's highest price, {Decimal(repr(self.highest)):f}"

    def longest_gap(self) -> str:
        """Return the length and the beginning of the longest gap as text."""
        return f"{_duration(self.longest_gap_ns)} from {format_time(self.longest_gap_open_ns)}"


def _power(exponent: int) -> Decimal:
    return Decimal(f"1e{exponent}") if exponent <= 0 else Decimal(10**exponent)


def _decimals(price: float) -> int:
    digits, _, exponent = f"{price:.{_DIGITS}e}".partition("e")
    behind = len(digits.rstrip("0")) - len("1.")
    return max(0, behind - int(exponent))


def _duration(length_ns: int) -> str:
    seconds = length_ns // 10**9
    parts = ((seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return " ".join(f"{number}{unit}" for number, unit in parts if number)[:40] or f"{length_ns} ns"
