"""The statistics of runs on shipped data: equal to quantstats, the same from rows and on the way, on every face."""

import csv
import gzip
import json
import re
import sqlite3
import warnings
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lab.domain.time import DAY_NS
from lab.journal.reader import JournalReader
from lab.journal.report import build_report
from lab.records.base import as_data
from lab.statistics.returns import calmar, daily_returns, max_drawdown

D = Decimal
SHIPPED = Path(__file__).parents[1] / "plugins/recordings/src/lab_recordings/data/btcusd-1m-2020-01-01.csv.gz"
RUNS = {
    "sixty days of hours": (3_600, ("--set", "sma.fast=2", "--set", "sma.slow=5")),
    "half a year of three hours": (10_800, ("--set", "sma.fast=3", "--set", "sma.slow=8", "--equity", "2000")),
    "two strategies": (7_200, ("--strategy", "sma", "--strategy", "slow=sma", "--set", "slow.fast=5", "--set",
                               "slow.slow=20")),
}  # fmt: skip
INTERVALS = {3_600: "1h", 7_200: "2h", 10_800: "3h"}


@pytest.fixture(scope="module")
def stretched(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that writes the shipped minutes as candles of so many seconds."""

    def write(seconds: int) -> Path:
        path = tmp_path_factory.mktemp("data") / f"{seconds}.csv"
        with gzip.open(SHIPPED, "rt") as given, path.open("w", encoding="ascii", newline="") as made:
            rows, out = csv.reader(given), csv.writer(made)
            out.writerow(["time", *next(rows)[1:]])
            out.writerows([1_577_836_800 + number * seconds, *row[1:]] for number, row in enumerate(rows))
        return path

    return write


def backtest(lab: Any, stretched: Any, name: str) -> dict[str, Any]:
    seconds, how = RUNS[name]
    quick = ("--set", "sma.confirmation=1", "--set", "max_daily_loss.usd=100000")
    done = lab("backtest", str(stretched(seconds)), "--interval", INTERVALS[seconds], "--json", *quick, *how)
    assert done.code == 0, done.err
    return dict(done.json())


def equities_of(run: Any, report: dict[str, Any]) -> list[float]:
    """Return what the run began with, and had at the end of each day, from its rows alone."""
    ends = [float(body["equity"]) for _, _, body in run.rows("day_ended")]
    return [float(report["starting_equity"]), *ends, float(report["ending_equity"])]


def profits_of(run: Any) -> list[Decimal]:
    """Return the profit of each round trip: what the fills and the funding moved in cash from flat to flat."""
    open_, found = dict[tuple[str, str], Decimal](), list[Decimal]()
    for _, kind, body in run.rows("order_filled", "funding_paid"):
        key = body["strategy"], body["symbol"]
        open_[key] = open_.get(key, D(0)) + D(dict(body["postings"])["cash"])
        if kind == "order_filled" and not D(body["position"]):
            found.append(open_.pop(key))
    return found


@pytest.fixture(scope="module")
def quantstats() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantstats.stats", reason="quantstats is not installed: uv sync --group quantstats")


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize("name", RUNS)
def test_the_figures_of_a_run_equal_those_of_quantstats(lab: Any, stretched: Any, quantstats: Any, name: str) -> None:
    import pandas

    report = backtest(lab, stretched, name)
    found, run = report["statistics"], lab.run()
    equities, profits = equities_of(run, report), profits_of(run)
    returns = pandas.Series(daily_returns(equities), pandas.date_range("2020-01-01", periods=len(equities) - 1))
    trades = pandas.Series([float(one) for one in profits])
    assert found["days"] == len(returns) >= 60
    assert found["trades"] == len(trades) > 50
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "volatility_percent": quantstats.volatility(returns, periods=365) * 100,
            "sharpe": quantstats.sharpe(returns, periods=365),
            "sortino": quantstats.sortino(returns, periods=365),
            "cagr_percent": quantstats.cagr(returns, periods=365) * 100,
            "win_rate_percent": quantstats.win_rate(trades, prepare_returns=False) * 100,
            "profit_factor": quantstats.profit_factor(trades, prepare_returns=False),
            "average_win": quantstats.avg_win(trades, prepare_returns=False),
            "average_loss": quantstats.avg_loss(trades, prepare_returns=False),
            "expectancy": trades.mean(),
        }
        fall, ratio = -quantstats.max_drawdown(returns), quantstats.calmar(returns, periods=365)
    assert {key: float(found[key]) for key in expected} == pytest.approx(expected, rel=1e-9)
    # Of daily figures drawdown and Calmar are equal too; the report's are those of every event, which fall deeper.
    assert max_drawdown(equities) == pytest.approx(fall, rel=1e-9)
    assert calmar(found["cagr_percent"] / 100, max_drawdown(equities)) == pytest.approx(ratio, rel=1e-9)
    assert float(found["max_drawdown_percent"]) >= fall * 100
    assert abs(found["calmar"]) <= abs(ratio)


def test_the_figures_of_a_run_follow_from_its_rows(lab: Any, stretched: Any) -> None:
    """What quantstats is asked beside: here with nothing but sums, whether it is installed or not."""
    report = backtest(lab, stretched, "two strategies")
    found, run = report["statistics"], lab.run()
    equities, profits = equities_of(run, report), profits_of(run)
    assert sum(profits) == D(found["profit"])
    assert D(found["best_trade"]) == max(profits)
    assert found["wins"] == sum(one > 0 for one in profits)
    fills = [body["fill"] for _, _, body in run.rows("order_filled")]
    assert D(found["traded_notional"]) == sum(D(one["quantity"]) * D(one["price"]) for one in fills)
    assert D(found["fees"]) == D(report["fees_paid"]) == sum(D(one["fee"]) for one in fills)
    assert D(found["slippage"]) == sum(D(one["slippage"]) for one in report["fill_rules"].values())
    assert found["fills"] == report["fills"] == len(fills)
    assert found["trades"] == report["trades"] == sum(month["trades"] for month in found["by_month"])
    assert sum(month["days"] for month in found["by_month"]) == found["days"] == len(equities) - 1
    change = D(report["ending_equity"]) - D(report["starting_equity"])
    assert sum(D(month["profit"]) for month in found["by_month"]) == change
    assert D(found["lowest_equity"]) <= D(str(min(equities)))
    days = [body["day_ns"] for _, _, body in run.rows("day_ended")]
    assert [later - before for before, later in pairwise(days)] == [DAY_NS] * (len(days) - 1)
    assert set(found["by_strategy"]) == {"sma", "slow"}


def test_statistics_taken_on_the_way_are_those_of_the_journal_and_the_same_bytes_each_time(
    lab: Any, stretched: Any
) -> None:
    report = backtest(lab, stretched, "sixty days of hours")
    first = lab("report", "--json")
    assert first.json()["statistics"] == report["statistics"]
    assert lab("report", "--json").out == first.out
    with closing(JournalReader.open(lab.run().folder)) as reader:
        assert json.loads(json.dumps(as_data(build_report(reader).statistics))) == report["statistics"]
    assert lab("verify").code == lab("audit").code == 0


def test_report_and_backtest_say_the_important_figures_and_why_others_are_left_out(lab: Any) -> None:
    done = lab("backtest", "btcusd-1m", "--set", "sma.fast=2", "--set", "sma.slow=5")
    said = lab("report").out
    for text in ("win rate", "on average", "holding time", "exposure", "drawdown", "buy and hold", "turnover"):
        assert f"\n{text} " in said, text
        assert f"\n{text} " in done.out, text
    why = "volatility, Sharpe, Sortino: 1 daily return; at least 10 are needed"
    assert why in said
    assert why in done.out
    assert not re.search(r"\b(nan|inf)\b", said, re.IGNORECASE)


def test_a_journal_of_an_older_lab_still_gives_a_report(lab: Any) -> None:
    """Without the rows and the totals that version 3 added, as version 2 wrote it."""
    assert lab("backtest", "btcusd-1m", "--set", "sma.fast=2", "--set", "sma.slow=5", "--json").code == 0
    path = lab.run().folder / "journal.db"
    added = (
        "live_since_ns",
        "max_drawdown_percent",
        "longest_drawdown_ns",
        "lowest_equity",
        "first_prices",
        "last_prices",
    )
    with closing(sqlite3.connect(path)) as db, db:
        for kind in ("run_started", "run_ended"):
            [(body,)] = db.execute("SELECT body FROM event WHERE kind = ?", (kind,)).fetchall()
            data = json.loads(body)
            if kind == "run_started":
                data["schema_version"] = 2
            else:
                data["totals"] = {key: value for key, value in data["totals"].items() if key not in added}
            db.execute("UPDATE event SET body = ? WHERE kind = ?", (json.dumps(data), kind))
        db.execute("PRAGMA user_version=2")
    result = lab("report", "--json")
    found = json.loads(result.out)["statistics"]
    assert found["trades"] > 0
    assert found["profit_factor"] is not None
    assert found["lowest_equity"] is None
    assert "older lab" in found["left_out"]["lowest_equity"]
    assert "older lab" in found["left_out"]["sharpe"]
