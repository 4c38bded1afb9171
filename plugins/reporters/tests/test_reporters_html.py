"""``summary.html``: one page, whole, offline, escaped, bounded."""

import logging
import re
import sys
from decimal import Decimal
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.control import TradingState
from lab.domain.events import (
    FundingPaid,
    FundingSkipped,
    Liquidated,
    LiquidationSettled,
    MarginCall,
    OrderRefused,
    Signal,
    StrategyStopped,
)
from lab.domain.market import Candle, check_candle
from lab.domain.orders import OrderRequest, Side
from lab.records.report import ProfitBand
from lab.records.run import BookState, FillTotals
from lab.records.statistics import MonthFigures, TradeFigures
from lab_reporters.series import Candles, Fills, Moves, drawdown_curve, equity_curve, held_curve
from lab_reporters.summary import Html, replace_file
from lab_reporters.svg import ticks
from msgspec.structs import replace

D = Decimal
VOID = {"meta", "br", "hr", "img", "link", "input"}
MINUTE = 60 * 10**9
START = 1_800_000_000 * 10**9  # 2027-01-15T08:00:00Z


class Checker(HTMLParser):
    """Notes tags left open, and everything that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href", "action", "data", "poster"}]
        self.wrong += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def checked(path):
    page = path.read_text("utf-8")
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.wrong == []
    assert checker.open == []
    assert checker.fetched == []
    return page, checker


@pytest.mark.behaviour("V2")
async def test_page_tells_the_whole_run_and_needs_nothing_from_outside(rows, run, drive, tmp_path):
    rows.everything()
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, checker = checked(tmp_path / "summary.html")
    assert "script" not in checker.tags
    assert not re.search(r"https?:|//[a-z]|url\(|@import", page)
    assert page.count("<svg") == 3  # price, equity, drawdown
    assert 'class="body up"' in page
    assert page.count('class="fill buy"') == page.count('class="fill sell"') == 1
    for part in (
        "BTCUSDT 1m",
        "completed",
        "+12.34 (+0.12 %)",
        "43,010.5",
        "+0.20",
        "daily loss reached",
        "loss 501.20 USD, limit 500 USD",
        "halted: no quote yet; seed_incomplete 37/100",
        "order expired BTCUSDT",
        "2 candles of BTCUSDT missing",
        "strategy sma stopped: ZeroDivisionError",
        "gate: no quote yet",
        "maker 0.02 %, taker 0.06 %",
        "30 candles of BTCUSDT, 2027-01-15T08:00:00Z to 2027-01-15T08:30:00Z",
        "prefers-color-scheme:dark",
    ):
        assert part in page, part
    assert [path.name for path in tmp_path.iterdir()] == ["summary.html"]


def table_of(page, title):
    """Return the cells of a table, row by row."""
    body = page.partition(f"<h2>{title}")[2].partition("</table>")[0].partition("<tbody>")[2]
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in body.split("</tr>") if row.startswith("<tr>")]


@pytest.mark.behaviour("O15", "V2")
async def test_the_page_shows_the_band_and_how_fills_were_made(rows, run, drive, tmp_path):
    band = ProfitBand(pessimistic=D("-3.5"), expected=D("12.34"), optimistic=D(14))
    rules = {
        "limit_traded": FillTotals(fills=1, late=0, fees=D("0.1"), slippage=D(0)),
        "a <rule>": FillTotals(fills=1_200, late=3, fees=D("7.25"), slippage=D("1.5")),
    }
    run.report = replace(run.report, pnl_band=band, fill_rules=rules)
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    assert '<div class="card"><span>P&amp;L band</span><b>-3.50 to +14.00</b></div>' in page
    assert table_of(page, "How fills were made") == [
        ["a &lt;rule&gt;", "1,200", "3", "7.25", "1.50"], ["limit_traded", "1", "0", "0.10", "0.00"],
    ]  # fmt: skip


@pytest.mark.behaviour("O15", "V2")
async def test_a_band_of_no_width_and_fills_that_never_were_are_not_shown(rows, run, drive, tmp_path):
    band = ProfitBand(pessimistic=D(1), expected=D(1), optimistic=D(1))
    run.report = replace(run.report, pnl_band=band, fill_rules={})
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    for part in ("P&amp;L band", "How fills were made", "Funding and liquidations", "<h2>Strategies"):
        assert part not in page


@pytest.mark.behaviour("P6", "V2")
async def test_the_page_shows_the_result_of_each_of_several_strategies(rows, run, drive, tmp_path):
    book = BookState(
        cash=D(9_990), equity=D(9_995), pnl=D(-5), fills=7, trades=3, balances={"fees": D("1.5"), "funding": D("-0.2")},
        positions={}, stopped=False,
    )  # fmt: skip
    other = replace(book, equity=D(10_008), pnl=D(8), fills=0, trades=0, balances={})
    run.report = replace(run.report, books={"sma": book, "other": other})
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    assert table_of(page, "Strategies") == [
        ["sma", "-5.00", "3", "7", "1.50", "-0.20", "9,995.00"],
        ["other", "+8.00", "0", "0", "0.00", "0.00", "10,008.00"],
    ]  # fmt: skip


@pytest.mark.behaviour("O10", "O11", "V2")
async def test_funding_and_liquidations_have_a_table_of_their_own_where_there_are_any(rows, run, drive, tmp_path):
    paid = FundingPaid("sma", "BTCUSDT", D("0.0001"), D(102), D(10), D("0.102"), START, (("cash", D("-0.102")),))
    rows.add("funding_paid", paid)
    rows.add(
        "funding_skipped",
        FundingSkipped("sma", "BTCUSDT", D(10), START, 2, "no rate was fetched, and the broker gives none"),
    )
    call = MarginCall("BTCUSDT", D(10), D(90), D(900), D("3.6"))
    rows.add("liquidated", Liquidated("sma", "account", D("3.5"), D("3.6"), (call,)))
    rows.add("liquidation_settled", LiquidationSettled("sma", ("BTCUSDT",), D(2), D(0), (("cash", D(-2)),)))
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    found = table_of(page, "Funding and liquidations")
    assert [(kind, strategy, cash) for _, kind, strategy, _, cash in found] == [
        ("funding paid", "sma", "-0.10"), ("funding skipped", "sma", "–"), ("liquidated", "sma", "–"),
        ("liquidation settled", "sma", "-2.00"),
    ]  # fmt: skip
    assert "no rate was fetched" in found[1][3]
    assert "10 BTCUSDT at 90" in found[2][3]


@pytest.mark.behaviour("V2")
async def test_backtest_without_candle_rows_draws_the_candles_of_its_source(rows, run, drive, tmp_path):
    run.candles = [Candle("ETHUSDT", i * MINUTE, i * MINUTE, 100.0, 102.0, 99.0, 101.0, 1.0) for i in range(50)]
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    assert "50 candles of ETHUSDT" in page
    assert page.count("<svg") == 2  # nothing was traded, so nothing fell


@pytest.mark.parametrize("charts", ["plain", "auto"])
async def test_the_axis_of_a_cheap_coin_has_its_prices_written_out(rows, run, drive, tmp_path, charts):
    run.candles = [
        Candle("SHIBUSDT", i * MINUTE, i * MINUTE, 0.00002, 0.000022, 0.00002, 0.0000214, 1.0) for i in range(9)
    ]
    await drive(Html(charts=charts), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    if charts == "plain":
        assert ">0.000021<" in page
        assert not re.search(r">[\d.]+e-", page)
    else:
        pytest.importorskip("plotly")
        assert '"yaxis":{"anchor":"x"' in page
        assert page.count('"exponentformat":"none"') >= 2, "not 21.4µ, either"


async def test_an_incident_has_the_time_it_happened_at_and_degradations_are_apart(rows, run, drive, tmp_path):
    rows.add("trading_state", TradingState(START + 90 * 10**9, ("quote stale",)), time_ns=START)
    run.report = replace(run.report, degradations=("gaps 3: a, b", "feed_down 1"))
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, checker = checked(tmp_path / "summary.html")
    assert "2027-01-15T08:01:30Z" in checker.cells
    assert "gaps 3: a, b; feed_down 1" in page


async def test_a_run_in_which_nothing_happened_still_has_a_page(rows, run, drive, tmp_path):
    run.report = replace(run.report, status="stopped", no_trade_reason="no quote came", orders=0, fills=0, trades=0)
    await drive(Html(), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    assert "no quote came" in page
    assert "There were no candles" in page


async def test_everything_that_came_in_is_escaped(rows, run, drive, tmp_path):
    evil = "<script>alert('\"&')</script>"
    rows.everything()
    rows.candle(1, 5.0, symbol=evil)
    rows.add("trading_state", TradingState(1, (evil,)))
    rows.add("strategy_stopped", StrategyStopped(evil, evil))
    request = OrderRequest.buy(evil, 1, reason=evil)
    rows.add("order_refused", OrderRefused(evil, evil, request, evil, evil, {evil: evil}))
    rows.add("signal", Signal(evil, request, evil))
    run.header = filled_with(run.header, evil)
    run.report = filled_with(run.report, evil)
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, checker = checked(tmp_path / "summary.html")
    assert "script" not in checker.tags
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def filled_with(record, evil):
    """Return a record in which every text is ``evil``, also inside its mappings and sequences."""
    if isinstance(record, str):
        return evil
    if isinstance(record, tuple):
        return tuple(filled_with(one, evil) for one in record) or (evil,)
    if isinstance(record, dict):
        return dict.fromkeys([evil], filled_with(next(iter(record.values()), evil), evil))
    if isinstance(record, msgspec.Struct):
        kept = {"kind"}
        changes = {name: filled_with(getattr(record, name), evil) for name in record.__struct_fields__}
        return replace(record, **{name: value for name, value in changes.items() if name not in kept and value != ()})
    return record


@pytest.mark.behaviour("V6")
async def test_malformed_rows_leave_debug_lines_and_a_whole_page(rows, run, drive, tmp_path, caplog):
    rows.everything()
    rows.malformed()
    with caplog.at_level(logging.DEBUG, "lab.reporters"):
        await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    assert len(caplog.records) > 80
    assert "Fills (2)" in page
    assert "Trades (1)" in page
    assert "30 candles" in page
    assert not re.search(r"\b(nan|inf)\b", page)


async def test_a_long_run_gives_a_bounded_page_that_says_the_totals(rows, run, drive, tmp_path):
    for minute in range(5000):
        rows.candle(minute, 43000.0 + minute % 100)
    for minute in range(1500):
        rows.fill(minute, Side.BUY, "43000", "1")
    await drive(Html(charts="plain", candles_max=200, rows_max=50), run.info(tmp_path), rows.rows)
    page, checker = checked(tmp_path / "summary.html")
    assert "Fills (1,500)" in page
    assert "The newest 50 of 1,500." in page
    assert checker.cells.count("2027-01-16T08:59:00Z") == 1
    assert "5,000 candles of BTCUSDT" in page
    assert "each one drawn joins 32" in page
    assert "1,000 of 1,500 fills of BTCUSDT are marked" in page
    bodies = sum(len(re.findall("M", d)) for d in re.findall(r'class="body \w+" d="([^"]*)"', page))
    assert 100 <= bodies <= 200
    assert len(page) < 400_000


async def test_same_rows_give_the_same_bytes(rows, run, drive, tmp_path):
    rows.everything()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        await drive(Html(), run.info(tmp_path / name), rows.rows)
    assert (tmp_path / "a/summary.html").read_bytes() == (tmp_path / "b/summary.html").read_bytes()


def test_a_folder_that_somebody_removed_is_not_made_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "gone" / "summary.html", "page")
    assert list(tmp_path.iterdir()) == []


async def test_without_plotly_the_charts_are_plain(rows, run, drive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    rows.everything()
    await drive(Html(charts="auto"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    assert page.count("<svg") == 3  # price, equity, drawdown


async def test_with_plotly_its_javascript_is_in_the_page(rows, run, drive, tmp_path):
    pytest.importorskip("plotly", reason="extra 'charts' is not installed")
    rows.everything()
    rows.candle(1, 5.0, symbol="</script><b>")
    await drive(Html(), run.info(tmp_path), rows.rows)
    page, checker = checked(tmp_path / "summary.html")
    assert "script" in checker.tags
    assert "Plotly.newPlot" in page
    assert 'id="chart"' in page
    assert "</script><b>" not in page
    assert len(page) > 1_000_000


async def test_nothing_is_written_without_a_directory(rows, run, drive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows.everything()
    await drive(Html(), run.info(None), rows.rows)
    assert list(tmp_path.iterdir()) == []


async def test_of_many_rows_only_those_that_are_shown_become_text(rows, run, drive, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("lab_reporters.page_model.describe_request", lambda request: made.append(request) or "buy")
    for _ in range(300):
        rows.refusal()
    await drive(Html(charts="plain", rows_max=7), run.info(tmp_path), rows.rows)
    assert len(made) == 7
    assert "Refusals (300)" in (tmp_path / "summary.html").read_text("utf-8")


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "summary.html"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["summary.html"]


@pytest.mark.parametrize("total", [1, 7, 20, 21, 41, 80, 81, 999, 1000])
def test_joined_candles_keep_every_extreme_and_the_ends(total):
    candles = Candles(10, MINUTE)
    for i in range(total):
        level = 100.0 + i * 37 % 101
        candles.add(Candle("B", i * MINUTE, 0, level, level + 1, level - 1, level, 2.0))
    drawn, joined = candles.drawn()
    assert len(drawn) <= 10
    assert len(drawn) == -(-total // joined)
    assert sum(candle.volume for candle in drawn) == 2.0 * total
    assert max(candle.high for candle in drawn) == max(101.0 + i * 37 % 101 for i in range(total))
    assert min(candle.low for candle in drawn) == min(99.0 + i * 37 % 101 for i in range(total))
    assert (drawn[0].open_ns, drawn[-1].time_ns) == (0, total * MINUTE)
    assert [candle.open_ns for candle in drawn] == [i * joined * MINUTE for i in range(len(drawn))]


@given(st.lists(st.floats() | st.sampled_from([0.0, 1.0, 2.0, 1e15, 1e18]), min_size=5, max_size=5))
def test_candles_that_are_none_are_not_drawn(figures):
    candle, candles = Candle("B", MINUTE, 0, *figures), Candles(10, MINUTE)
    candles.add(candle)
    assert candles.total == (check_candle(candle) is None)


def test_late_history_is_put_in_its_place():
    candles = Candles(10, MINUTE)
    for minute in (5, 6, 1, 2, 7):
        candles.add(Candle("B", minute * MINUTE, 0, 1.0, 1.0, 1.0, 1.0, 1.0))
    assert [candle.open_ns // MINUTE for candle in candles.drawn()[0]] == [1, 2, 5, 6, 7]


def test_the_line_of_buy_and_hold_begins_with_the_run_and_shares_the_money_between_the_symbols():
    def some(symbol, *closes):
        return [
            Candle(symbol, i * MINUTE, (i + 1) * MINUTE, one, one, one, one, 1.0) for i, one in enumerate(closes)
        ]  # fmt: skip

    both = {"B": some("B", 90.0, 100.0, 110.0), "E": some("E", 9.0, 10.0, 9.0), "none": some("none", 5.0)}
    first = {"B": 100.0, "E": 10.0, "gone": 0.0}
    found = held_curve(1000.0, both, first, 2 * MINUTE, inverse=False)
    assert found == [(2 * MINUTE, 1000.0), (3 * MINUTE, 1000.0)]  # +10 % and −10 %
    coins = held_curve(2.0, {"B": some("B", 100.0, 125.0)}, {"B": 100.0}, 0, inverse=True)
    assert coins == [(MINUTE, 2.0), (2 * MINUTE, pytest.approx(2.4))]
    assert held_curve(1.0, both, {}, 0, inverse=False) == []


def test_the_drawdown_is_how_far_the_equity_is_below_its_highest():
    points = [(1, 990.0), (2, 1100.0), (3, 1045.0), (4, 1200.0)]
    assert drawdown_curve(points, 1000.0) == [(1, -1.0), (2, 0.0), (3, -5.0), (4, 0.0)]
    assert drawdown_curve([(1, -5.0)], 0.0) == [(1, 0.0)]


@pytest.mark.behaviour("V2")
async def test_the_page_has_statistics_months_symbols_and_buy_and_hold(rows, run, drive, tmp_path):
    rows.everything()
    trades = TradeFigures(trades=2, profit=D("3.5"), win_rate_percent=50.0, fees=D("0.1"))
    months = tuple(
        MonthFigures(
            month=f"2024-{month:02}", days=3, profit=D(month), return_percent=month + 0.5, trades=1,
            buy_and_hold_percent=None,
        )
        for month in (1, 2)
    )  # fmt: skip
    statistics = replace(
        run.report.statistics, first_prices={"BTCUSDT": D(43000)}, by_month=months, sharpe=1.25, left_out={},
        by_symbol={"BTCUSDT": trades, "ETHUSDT": replace(trades, win_rate_percent=None)},
    )  # fmt: skip
    run.report = replace(run.report, statistics=statistics, first_event=None)
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page, _ = checked(tmp_path / "summary.html")
    assert "<span>Sharpe</span><b>+1.25</b>" in page
    assert "<h2>Months (2)</h2>" in page
    assert '<td>2024-02</td><td class="n">+2.50 %</td><td class="n">+2.00</td><td class="n">1</td>' in page
    assert "<h2>Symbols (2)</h2>" in page
    assert '<td>ETHUSDT</td><td class="n">2</td><td class="n">–</td>' in page
    assert "<h2>Equity, and buy and hold</h2>" in page
    assert page.count('<path class="held"') == 1
    assert page.count('<path class="fall"') == 1


def test_equity_is_cash_plus_what_is_held_at_the_newest_price():
    fills = Fills()
    for column, values in ((fills.time_ns, [90, 190]), (fills.quantity, [2.0, -1.0]), (fills.price, [10.0, 13.0])):
        column.extend(values)
    fills.fee.extend([0.5, 0.25])
    candles = [Candle("B", 0, end, 0.0, 0.0, 0.0, close, 0.0) for end, close in ((50, 9.0), (100, 11.0), (200, 14.0))]
    curve = equity_curve(1000.0, {"B": candles}, {"B": fills}, Moves(), 100)
    assert curve == [(50, 1000.0), (90, 997.5), (100, 1001.5), (190, 1003.25), (200, 1006.25 - 1 + 1.0)]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (42990.0, 43050.0), (1e-7, 3e-7), (9999.9, 10000.1)])
def test_axis_values_are_round_and_inside(low, high):
    values = ticks(low, high, 5)
    assert 2 <= len(values) <= 6
    assert all(low <= value <= high for value in values)
