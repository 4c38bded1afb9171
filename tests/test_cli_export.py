"""`lab export` writes what the journal holds, and `lab compare` shows runs beside each other."""

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

BACKTEST = ("backtest", "btcusd-1m", "--symbol", "BTCUSD")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.behaviour("D4")
def test_tables_hold_what_the_journal_holds_to_the_last_digit(lab: Any) -> None:
    lab(*BACKTEST)
    written = lab("export")
    assert written.code == 0
    folder = lab.run().folder / "export"
    assert [Path(line).name for line in written.out.splitlines()] == [
        "trades.csv", "fills.csv", "orders.csv", "equity.csv", "candles.csv",
    ]  # fmt: skip
    fills = [body["fill"] for _, _, body in lab.run().rows("order_filled")]
    rows = read(folder / "fills.csv")
    assert [(row["quantity"], row["price"], row["fee"]) for row in rows] == [
        tuple(format(Decimal(fill[key]).normalize(), "f") for key in ("quantity", "price", "fee")) for fill in fills
    ]
    report = lab.run().report()
    assert sum(Decimal(row["fee"]) for row in rows) == Decimal(report["fees_paid"])
    profits = [Decimal(row["profit"]) for row in read(folder / "trades.csv")]
    assert (len(profits), sum(profits)) == (report["trades"], Decimal(report["statistics"]["profit"]))
    assert float(read(folder / "equity.csv")[-1]["equity"]) == float(report["ending_equity"])
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.behaviour("D4")
def test_exported_candles_are_read_by_a_backtest_and_give_the_same_run(lab: Any) -> None:
    lab(*BACKTEST)
    first = lab.run().report()
    lab("export", "--table", "candles", "--out", "again")
    assert sorted(path.name for path in (lab.folder / "again").iterdir()) == ["candles.csv"]
    lab("backtest", "again/candles.csv", "--symbol", "BTCUSD", "--set", "replay.tick=0.1", "--set", "replay.lot=0.0001")
    assert lab.run().report()["ending_equity"] == first["ending_equity"]


def test_a_session_exports_the_candles_it_took(lab: Any) -> None:
    lab.mock(minutes=30)
    assert lab("export", "--table", "candles", "--table", "equity").code == 0
    candles = read(lab.run().folder / "export" / "candles.csv")
    report = lab.run().report()
    assert sum(row["status"] != "backfilled" for row in candles) == report["candles"]
    assert sum(row["status"] == "backfilled" for row in candles) == report["backfilled"]


def test_parquet_has_numbers_and_times_of_its_own(lab: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    lab(*BACKTEST)
    assert lab("export", "--format", "parquet", "--table", "trades").code == 0
    table = parquet.read_table(lab.run().folder / "export" / "trades.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (kinds["entry"], kinds["profit"], kinds["side"]) == ("timestamp[ns, tz=UTC]", "double", "string")
    assert table.num_rows == lab.run().report()["trades"]


def test_what_cannot_be_exported_is_said_in_one_line(lab: Any, one_line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab(*BACKTEST)
    (lab.folder / "file").write_text("")
    one_line(lab("export", "--out", "file/below"), 74, "file/below: cannot be written: ")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    one_line(lab("export", "--format", "parquet"), 78, "parquet needs pyarrow: pip install")


@pytest.mark.behaviour("D4")
def test_several_runs_are_compared_with_their_settings_and_figures_side_by_side(lab: Any) -> None:
    for fast in (5, 7, 9):
        lab(*BACKTEST, "--set", f"sma.fast={fast}")
    names = [path.name for path in sorted((lab.folder / "runs").iterdir()) if path.name != "latest"]
    result = lab("compare", *names, "--page", "beside.html", "--json")
    assert result.code == 1
    found = result.json()
    assert found["side_by_side"]["settings"] == {"sma.fast": ["5", "7", "9"]}
    figures = found["side_by_side"]["figures"]
    assert len(set(figures["ending_equity"])) > 1
    assert figures["trades"] == [str(report["trades"]) for report in reports(lab, names)]
    assert len(found["others"]) == 1
    page = (lab.folder / "beside.html").read_text(encoding="utf-8")
    assert page.count('class="line line-') == 3
    assert all(name in page for name in names)
    assert "http" not in page.replace("http-equiv", "")
    shown = lab("compare", *names[:2]).out
    assert "sma.fast" in shown
    assert "pnl_absolute" in shown


def reports(lab: Any, names: list[str]) -> list[Any]:
    return [lab("report", name, "--json").json() for name in names]
