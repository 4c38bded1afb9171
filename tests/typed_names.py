"""What a type checker knows of lab from outside: read by mypy and by pyright, and never run."""

from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import lab
from lab.research.rows import Equity, FillRow, OrderRow, PriceRow, Trade


def backtests(strategy: lab.Strategy, gate: lab.RiskGate, prices: lab.Prices) -> None:
    result = lab.backtest(strategy, "prices.csv", equity=10_000, gates=[gate, "margin"], fees=(0, Decimal("0.0006")))
    assert_type(result, lab.Result)
    assert_type(lab.backtest({"a": strategy, "b": "sma"}, prices), lab.Result)
    assert_type(lab.backtest(["sma", "./mine.py:Mine"], Path("prices.csv")), lab.Result)
    assert_type(result.trades, lab.Table[Trade])
    assert_type(result.trades[0].profit, Decimal)
    assert_type(result.fills, lab.Table[FillRow])
    assert_type(result.orders, lab.Table[OrderRow])
    assert_type(result.equity, lab.Table[Equity])
    assert_type(result.prices, lab.Table[PriceRow])
    assert_type(result.equity[-1].equity, float)
    assert_type(result.fills[1:], lab.Table[FillRow])
    assert_type(result.fills.columns(), dict[str, list[Any]])
    assert_type(result.plot("page.html"), Path)
    assert_type(result.report.pnl_absolute, Decimal)
    assert_type(result.directory, Path | None)


def data(candles: list[lab.Candle]) -> None:
    assert_type(lab.load(candles, symbol="ETHUSDT"), lab.Prices)
    assert_type(lab.load({"time": [1], "open": [1.0]}), lab.Prices)
    assert_type(lab.load({"BTCUSDT": "btc.csv", "ETHUSDT": "eth.csv"}), lab.Prices)
    assert_type(lab.open_run("latest", state_dir="state"), lab.Result)


async def sessions(strategy: lab.Strategy, provider: lab.Provider) -> None:
    session = lab.session(strategy, provider=provider, minutes=10, speed="max")
    assert_type(session, lab.Session)
    assert_type(await session, lab.Result)
    assert_type(session.wait(10), lab.Result)
    assert_type(session.running, bool)
    session.stop()


def wrong(strategy: lab.Strategy) -> None:
    lab.backtest(strategy)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    lab.backtest(strategy, "prices.csv", equtiy=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    lab.session(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lab.nothing  # type: ignore[attr-defined]  # pyright: ignore  # noqa: B018
