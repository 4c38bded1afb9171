"""What the page tells of trades and settings."""

import re
from decimal import Decimal

import pytest
from lab_reporters.summary import Html
from msgspec.structs import replace

D = Decimal
MINUTE = 60 * 10**9


async def test_the_page_lists_fills_as_fills_and_trades_as_round_trips(rows, run, drive, tmp_path):
    rows.everything()
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page = (tmp_path / "summary.html").read_text("utf-8")
    assert "<h2>Fills (2)</h2>" in page
    assert "<h2>Trades (1)</h2>" in page
    row = re.search(r"<caption class=\"hidden\">Trades</caption>.*?<tbody><tr>(.*?)</tr>", page, re.DOTALL)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row[1])
    assert cells == [
        "2027-01-15T08:03:00Z", "2027-01-15T08:20:00Z", "sma", "long", "0.01", "BTCUSDT", "43,010.5", "43,030.5",
        "0.52", "0.00", "-0.32",
    ]  # fmt: skip


# -- what a run was set to --------------------------------------------------------------------------------------------


@pytest.mark.behaviour("N3")
async def test_the_page_shows_the_settings_in_force_and_where_they_came_from(rows, run, drive, tmp_path):
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page = (tmp_path / "summary.html").read_text("utf-8")
    assert '<th scope="row">sma.fast</th><td>7</td><td>--set</td>' in page
    assert '<th scope="row">paper.latency_ms</th><td>50</td><td>lab.toml</td>' in page
    assert "sma: fast 7 (--set), slow 21" in page
    assert "paper: latency_ms 50 (lab.toml)" in page
    assert "tick 0.1, lot 0.0001" in page
    assert "seconds 600" not in page


async def test_the_page_of_a_backtest_shows_the_span_of_its_data_and_the_computing_time(rows, run, drive, tmp_path):
    run.report = replace(run.report, kind="backtest", data_seconds=86_340.0, duration_seconds=0.123)
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page = (tmp_path / "summary.html").read_text("utf-8")
    assert "<span>Data</span><b>23:59:00</b>" in page
    assert "<span>Computed in</span><b>0.12 s</b>" in page
    assert "Duration" not in page
