"""Statistics of a run: round trips from fills, daily returns from equities, and the figures of both.

Pure: no file and no clock. Money is exact in ``Decimal`` until it is divided; what follows from returns is in float.

- `round_trips.RoundTrips` makes round trips out of fills, `tally.trade_figures` says what they came to.
- `returns` has `daily_returns`, `volatility`, `sharpe`, `sortino`, `cagr`, `calmar` and `max_drawdown` over plain
  sequences, as the field defines them, in fractions. Each raises ``ValueError`` with the reason where it means nothing.
- `run.RunStatistics` takes the rows of a journal one by one, for the report; `wording` says its figures in words.
"""
