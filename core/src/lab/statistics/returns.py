"""The figures of daily returns and of equities, in float, as fractions: 0.12 is 12 %.

Each raises ``ValueError`` with the reason where it means nothing. Sums are exact in float (``math.fsum``), so that the
order of what is added does not matter. `quantstats` has the same definitions; where a figure of the report differs from
its, docs/reference/statistics.md says so.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

DAYS_A_YEAR: Final = 365
"""Days of trading in a year: these markets never close."""
RETURNS_LEAST: Final = 10
"""Fewer daily returns say nothing of how they vary: the standard error of a deviation of 10 is a quarter of it."""
CALENDAR_DAYS_LEAST: Final = 30
"""Growth over fewer calendar days is not made a year's: two weeks of +5 % would be +256 %."""


def daily_returns(equities: Sequence[float]) -> list[float]:
    """Return each equity / the one before it − 1.

    Raises ``ValueError`` where one before the last is not above 0: what follows is then no part of it.
    """
    for place, equity in enumerate(equities[:-1]):
        if not equity > 0.0:
            raise ValueError(f"the equity was {equity:.8g} at the end of day {place}, and returns begin above 0")
    return [later / before - 1.0 for before, later in pairwise(equities)]


def volatility(returns: Sequence[float], *, days_a_year: float = DAYS_A_YEAR) -> float:
    """Return the sample standard deviation (n − 1) of daily returns × √days a year.

    Raises ``ValueError`` for fewer than 10.
    """
    _check_number(returns)
    return _deviation(returns) * math.sqrt(days_a_year)


def sharpe(returns: Sequence[float], *, days_a_year: float = DAYS_A_YEAR) -> float:
    """Return mean / sample standard deviation of daily returns × √days a year, at a rate without risk of 0.

    Raises ``ValueError`` for fewer than 10, and where all are equal.
    """
    _check_number(returns)
    if min(returns) == max(returns):
        raise ValueError("the daily returns do not differ")
    return _mean(returns) / _deviation(returns) * math.sqrt(days_a_year)


def sortino(returns: Sequence[float], *, days_a_year: float = DAYS_A_YEAR) -> float:
    """Return mean / √(Σ min(return, 0)² / n) × √days a year: only days that lost count as risk.

    Raises ``ValueError`` for fewer than 10, and where no day lost.
    """
    _check_number(returns)
    downside = math.sqrt(math.fsum(min(one, 0.0) ** 2 for one in returns) / len(returns))
    if not downside > 0.0:
        raise ValueError("no day lost")
    return _mean(returns) / downside * math.sqrt(days_a_year)


def cagr(first: float, last: float, days: float, *, days_a_year: float = DAYS_A_YEAR) -> float:
    """Return the compound annual growth from one equity to another: (last / first) ^ (days a year / days) − 1.

    Raises ``ValueError`` for fewer than 30 calendar days, for equities that are not above 0, and for a growth beyond
    any float.
    """
    if days < CALENDAR_DAYS_LEAST:
        raise ValueError(f"{_counted(days, 'calendar day')}; at least {CALENDAR_DAYS_LEAST} are needed")
    if not (first > 0.0 and last > 0.0):
        raise ValueError(f"the equity went from {first:.8g} to {last:.8g}: growth is between figures above 0")
    try:
        growth = math.pow(last / first, days_a_year / days) - 1.0
    except OverflowError:
        growth = math.inf
    if math.isinf(growth):
        raise ValueError("it grew beyond any figure")
    return growth


def max_drawdown(equities: Sequence[float]) -> float:
    """Return the deepest fall from a highest equity before it, as a part of that; 0 where nothing fell.

    Raises ``ValueError`` where there is none, or the highest so far is not above 0.
    """
    if not equities:
        raise ValueError("there is no equity")
    peak, deepest = -math.inf, 0.0
    for equity in equities:
        peak = max(peak, equity)
        if not peak > 0.0:
            raise ValueError(f"the highest equity so far was {peak:.8g}, and falls begin above 0")
        deepest = max(deepest, (peak - equity) / peak)
    return deepest


def calmar(growth: float, deepest: float) -> float:
    """Return `cagr` / `max_drawdown`. Raises ``ValueError`` where nothing fell."""
    if not deepest > 0.0:
        raise ValueError("the equity never fell")
    return growth / deepest


def _check_number(returns: Sequence[float]) -> None:
    if len(returns) < RETURNS_LEAST:
        raise ValueError(f"{_counted(len(returns), 'daily return')}; at least {RETURNS_LEAST} are needed")


def _counted(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1))
