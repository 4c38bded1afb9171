"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 07  Ask a run in SQL                                                         │
│                                                                              │
│ The point: tables of a result become a polars or pandas frame in one line,   │
│ and `lab export --format parquet` writes files that DuckDB reads as they     │
│ are.                                                                         │
│                                                                              │
│ Run it:   pip install polars duckdb 'lab-trading[parquet]'                   │
│           python 07_query_a_run_with_sql.py                                  │
└──────────────────────────────────────────────────────────────────────────────┘
"""

from pathlib import Path

import duckdb
import lab
import polars
from lab.research.export import export


def main() -> None:
    result = lab.backtest("sma", "btcusd-1m", symbol="BTCUSD", settings={"sma.fast": 5})

    trades = result.trades.to_polars()
    print(trades.group_by("side").agg(polars.len().alias("trades"), polars.col("profit").sum().round(2)).sort("side"))

    export(result, Path("tables"), "parquet", ("fills", "equity"))
    print(
        duckdb.sql("""
        SELECT rule, count(*) AS fills, round(sum(fee), 2) AS fees, round(sum(slippage * quantity), 2) AS slippage
        FROM 'tables/fills.parquet' GROUP BY rule ORDER BY fills DESC
    """)
    )
    lowest = duckdb.sql("SELECT min(drawdown) * 100 FROM 'tables/equity.parquet'").fetchall()[0][0]
    print(f"deepest drawdown at a close: {lowest:.2f} %")


if __name__ == "__main__":
    main()
