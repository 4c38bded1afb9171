"""Statistics of a run: round trips from fills, daily returns from equities, and the figures of both.

Pure: no file and no clock. Money is exact in ``Decimal`` until it is divided; what follows from returns is in float.

- `RoundTrips` makes round trips out of fills, `trade_figures` says what they came to.
- `daily_returns`, `volatility`, `sharpe`, `sortino`, `cagr`, `calmar` and `max_drawdown` take plain sequences, as the
  field defines them, and give fractions. Each raises ``ValueError`` with the reason where it means nothing.
- `RunStatistics` takes the rows of a journal one by one, for the report.
"""

from lab.statistics.returns import (
    cagr,
    calmar,
    daily_returns,
    max_drawdown,
    sharpe,
    sortino,
    volatility,
)
from lab.statistics.round_trips import RoundTrip, RoundTrips
from lab.statistics.run import RunStatistics
from lab.statistics.tally import trade_figures

__all__ = [
    "RoundTrip", "RoundTrips", "RunStatistics", "cagr", "calmar", "daily_returns", "max_drawdown", "sharpe", "sortino",
    "trade_figures", "volatility",
]  # fmt: skip
