"""Funding and liquidation through the command line: settings, journal, report, page and audit."""

import json
from decimal import Decimal
from typing import Any

import pytest

D = Decimal
MINUTE_MS = 60_000
BEGIN_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z

BUYER = """
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True)
class Buyer(Strategy):
    \"\"\"Buys once and holds.\"\"\"
    quantity: Decimal = field(default=Decimal(10), metadata={"help": "coins"})
    _bought: bool = field(init=False, default=False)

    @property
    def lookback(self):
        return 1

    def on_candle(self, candle, view):
        if self._bought:
            return []
        self._bought = True
        return [OrderRequest.buy(candle.symbol, self.quantity)]

@hookimpl
def lab_strategies():
    return {"buyer": Buyer}
"""


@pytest.fixture
def buyer(site: Any) -> None:
    site.install("their_buyer", BUYER)


def prices(lab: Any, *closes: float, minutes: int = 1) -> str:
    """Write candles of one minute whose closes last ``minutes`` each; return the file's name."""
    lines = ["time,open,high,low,close,volume"]
    for place, close in enumerate(close for close in closes for _ in range(minutes)):
        lines.append(f"{BEGIN_MS + place * MINUTE_MS},{close},{close + 0.01:.2f},{close},{close},10")
    (lab.folder / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "prices.csv"


def rates(lab: Any, text: str) -> str:
    (lab.folder / "rates.csv").write_text(text, encoding="utf-8")
    return "replay.funding=rates.csv"


RATES = (
    "time,rate,mark\n2023-12-31T16:00:00Z,0.01,100\n2024-01-01T08:00:00Z,0.0001,102.0\n2024-01-01T16:00:00Z,-0.0003,\n"
)


@pytest.mark.behaviour("O10", "J7")
def test_a_backtest_pays_the_rates_of_a_file_and_says_it(lab: Any, buyer: None) -> None:
    """10 coins: 10 x 102 x 0.01 % = 0.102 paid, 10 x 100 x 0.03 % = 0.3 received."""
    file = prices(lab, 100.0, minutes=1_000)
    options = ("--strategy", "buyer", "--set", rates(lab, RATES), "--latency-ms", "0", "--reporter", "html")
    result = lab("backtest", file, *options, "--reporter", "terminal")
    assert result.code == 0, result.err
    assert "funding paid 0.10 for 10 BTCUSDT at 102, rate 0.01 % [buyer]" in result.out
    assert "funding received 0.30 for 10 BTCUSDT at 100, rate -0.03 % [buyer]" in result.out
    run = lab.run()
    report = run.report()
    assert D(report["funding_paid"]) == D("0.102") - D("0.3")
    assert D(report["books"]["buyer"]["balances"]["funding"]) == D("-0.198")
    assert not [one for one in report["degradations"] if one.startswith("funding")]
    assert len(run.rows("funding_paid")) == 2
    assert lab("audit").code == 0
    assert "identical" in lab("verify").out
    page = (run.folder / "summary.html").read_text(encoding="utf-8")
    assert "funding paid 0.10" in page
    assert "Funding" in result.out


@pytest.mark.behaviour("O11", "O15")
def test_the_report_says_nothing_of_worse_fills_that_the_fund_would_have_paid(lab: Any, buyer: None) -> None:
    """1,000 bought at 100 on a candle that closes at 101, and sold at 89 on one that closes at 88."""
    candles = ("100,100,100,100", "100,101,100,101", "101,101,90,90", "89,89,88,88", "88,88,88,88")
    rows = [f"{1_704_067_200 + 60 * minute},{prices},10" for minute, prices in enumerate(candles)]
    (lab.folder / "prices.csv").write_text("\n".join(["time,open,high,low,close,volume", *rows]) + "\n")
    options = ("--strategy", "buyer", "--set", "buyer.quantity=1000", "--gate", "none", "--set", "paper.slippage_bps=0")
    options += ("--set", "paper.liquidity=unlimited", "--set", "paper.taker_fee=0", "--set", "replay.tick=0.01")
    assert lab("backtest", "prices.csv", *options).code == 2
    report = lab.run().report()
    assert D(report["insurance_paid"]) == 1_000
    assert {D(profit) for profit in report["pnl_band"].values()} == {D(-10_000)}
    [(_, _, state)] = lab.run().rows("run_ended")
    assert D(state["totals"]["loss_at_worst"]) == 2_000  # 1 more at the entry, 1 less at the exit


@pytest.mark.behaviour("O10")
def test_a_backtest_without_rates_says_which_windows_went_by(lab: Any, buyer: None) -> None:
    file = prices(lab, 100.0, minutes=1_000)
    assert lab("backtest", file, "--strategy", "buyer").code == 0
    report = lab.run().report()
    assert D(report["funding_paid"]) == 0
    why = "no rate was fetched, and the broker gives none"
    assert f"funding_skipped 2 buyer: 10 BTCUSDT, from 2024-01-01T08:00:00Z on: {why}" in report["degradations"]
    assert [row["why"] for _, _, row in lab.run().rows("funding_skipped")] == [why] * 2
    assert lab("audit").code == 0


SILENT = """
    class Nothing:
        def rate(self, symbol, fetched, window_ns):
            return None
"""


@pytest.mark.behaviour("O10")
@pytest.mark.parametrize("rates", ["", "time,rate\n2024-01-01T08:00:00Z,0.001\n2024-01-01T16:00:00Z,0.001\n"])
def test_a_model_of_funding_that_gives_none_is_the_reason_that_is_told(
    lab: Any, buyer: None, site: Any, rates: str
) -> None:
    site.install("their_silence", SILENT)
    args = ("--strategy", "buyer", "--set", "paper.funding_model=their_silence:Nothing")
    if rates:
        (lab.folder / "rates.csv").write_text(rates, encoding="utf-8")
        args += ("--set", "replay.funding=rates.csv")
    assert lab("backtest", prices(lab, 100.0, minutes=1_000), *args).code == 0
    [told] = [one for one in lab.run().report()["degradations"] if one.startswith("funding_skipped")]
    assert told.endswith("the broker's funding model gives none" if rates else "and the broker gives none")


@pytest.mark.behaviour("O10", "O14")
def test_models_of_funding_and_margin_decide_what_is_paid_and_what_is_liquidated(lab: Any, buyer: None) -> None:
    """10 coins x 100 x 0.1 % = 1 in each of two windows; then 450 coins fall from 100 to 91."""
    models = "lab_paper_broker.models"
    file, funding = prices(lab, 100.0, minutes=1_000), f"paper.funding_model={models}:FixedFunding(each=0.001)"
    assert lab("backtest", file, "--strategy", "buyer", "--set", funding, "--latency-ms", "0").code == 0
    report = lab.run().report()
    assert D(report["funding_paid"]) == 2
    assert not [one for one in report["degradations"] if one.startswith("funding")]
    assert (lab("audit").code, lab("verify").code) == (0, 0)
    margin = ("--set", f"paper.margin_model={models}:FlatMargin(maintenance=0.2, leverage_max=10)")
    options = ("--strategy", "buyer", "--set", "buyer.quantity=450", "--gate", "none", *margin, "--latency-ms", "0")
    options += ("--set", "paper.liquidity=unlimited", "--set", "paper.taker_fee=0", "--set", "paper.slippage_bps=0")
    # 10,000 - 450 x 9 = 5,950 are left, 450 x 91 x 0.2 = 8,190 are needed; by the assumed tiers 205 would be enough.
    assert lab("backtest", prices(lab, 100.0, 100.0, 91.0, 91.0), *options, "--set", "replay.tick=0.01").code in {0, 2}
    [(_, _, row)] = lab.run().rows("liquidated")
    assert (D(row["maintenance"]), lab.run().report()["liquidations"]) == (D("8190"), 1)
    assert (lab("audit").code, lab("verify").code) == (0, 0)
    refused = lab("backtest", file, *options, "--leverage", "11")
    assert (refused.code, refused.err.count("\n")) == (78, 1)
    assert "BTCUSDT has at most 10; give --leverage 10" in refused.err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("[MarginTier(notional_from=Decimal(5))]", "gave what cannot be used"),
        ("7", "its margin_tiers fails: TypeError"),
        ("1 / 0", "its margin_tiers fails: ZeroDivisionError"),
    ],
)
def test_a_broker_whose_margin_table_cannot_be_used_is_named_before_anything_is_written(
    lab: Any, site: Any, buyer: None, one_line: Any, answer: str, said: str
) -> None:
    site.install("their_broker", MARGINS.replace("ANSWER", answer))
    result = lab("backtest", prices(lab, 100.0, 101.0), "--strategy", "buyer", "--broker", "margins")
    one_line(result, 69, "margins", said)
    assert not list(lab.folder.glob("runs/*/journal.db"))


MARGINS = """
from decimal import Decimal
from lab import MarginTier, hookimpl
from lab_paper_broker.broker import PaperBroker

class Margins(PaperBroker):
    def margin_tiers(self, symbol):
        return ANSWER

@hookimpl
def lab_brokers():
    return {"margins": Margins}
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "rates.csv:1: expected the columns time, rate and, if known, mark; it has none"),
        ("time,rate\n", "rates.csv:1: it holds no rate"),
        ("time,rate\nnever,0.1\n", "rates.csv:2: time, rate and mark are not all there"),
        ("time,rate\n1704067200000\n", "rates.csv:2: time, rate and mark are not all there: 'rate'"),
        ("time,rate\n1704067200000,5\n", "rates.csv:2: rate 5.0 is no fraction"),
        (
            "time,rate\n1704067200000,0\n\n1704067200000,0\n",
            "rates.csv:4: its time is not after that of the line above",
        ),
        ("\udcff", "rates.csv: is no text in UTF-8"),
    ],
)
def test_a_file_of_rates_that_cannot_be_used_is_named_with_its_line(
    lab: Any, buyer: None, text: str, words: str
) -> None:
    file = prices(lab, 100.0, 100.0)
    (lab.folder / "rates.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    result = lab("backtest", file, "--strategy", "buyer", "--set", "replay.funding=rates.csv")
    assert result.code == 78, result.err
    assert words in result.err
    assert "Traceback" not in result.err


def test_rates_for_a_recorded_run_are_refused_and_a_file_that_is_not_there_is_named(lab: Any, buyer: None) -> None:
    file = prices(lab, 100.0, 100.0)
    result = lab("backtest", file, "--strategy", "buyer", "--set", "replay.funding=nowhere.csv")
    assert (result.code, "nowhere.csv" in result.err) == (78, True)


@pytest.mark.behaviour("O9", "O11", "J7")
@pytest.mark.parametrize("margin", ["cross", "isolated"])
def test_a_file_that_ends_inside_a_liquidation_leaves_no_debt(lab: Any, buyer: None, margin: str) -> None:
    """1,000 coins at 100 on 10,000: the last close, at 80, has lost 10,000 more, and no candle is left to close at."""
    file = prices(lab, 100.0, 100.0, 95.0, 80.0)
    options = ("--strategy", "buyer", "--set", "buyer.quantity=1000", "--gate", "none", "--set", "paper.slippage_bps=0")
    options += ("--set", "paper.liquidity=unlimited", "--set", "paper.taker_fee=0", "--margin", margin)
    result = lab("backtest", file, *options)
    assert result.code == (2 if margin == "cross" else 0), result.out + result.err  # isolated: the strategy went on
    report = lab.run().report()
    assert (D(report["ending_equity"]), D(report["insurance_paid"])) == (0, 10_000)
    assert {name: D(profit) for name, profit in report["pnl_band"].items()} == {
        "pessimistic": -10_000, "expected": -10_000, "optimistic": -10_000,
    }  # fmt: skip
    [(_, _, row)] = lab.run().rows("liquidation_settled")
    assert (row["symbols"], D(row["insurance"])) == ([], 10_000)
    audited = lab("audit")
    assert audited.code == 0, audited.out + audited.err
    assert "identical" in lab("verify").out


@pytest.mark.behaviour("O11", "J7")
@pytest.mark.parametrize("margin", ["cross", "isolated"])
def test_a_liquidation_is_a_row_a_line_a_figure_and_a_degradation(lab: Any, buyer: None, margin: str) -> None:
    """1,000 coins at 100 on 10,000, 10 times: margin 10,000, liquidated at 90, closed there, and over."""
    file = prices(lab, 100.0, 100.0, 95.0, 90.0, 89.0, 89.0, 150.0)
    options = ("--strategy", "buyer", "--set", "buyer.quantity=1000", "--gate", "none", "--set", "paper.slippage_bps=0")
    options += ("--set", "paper.liquidity=unlimited")
    free = ("--set", "paper.taker_fee=0", "--latency-ms", "0", "--margin", margin)
    result = lab("backtest", file, *options, *free, "--reporter", "terminal", "--reporter", "html")
    assert result.code == 2, result.out + result.err
    report = lab.run().report()
    times = 1 if margin == "cross" else 2  # the position, and then the book, whose whole money was its margin
    assert (report["reason"], report["liquidations"]) == ("risk_halt", times)
    assert D(report["ending_equity"]) == 0
    assert D(report["pnl_percent"]) == -100
    assert D(report["insurance_paid"]) == 1_000
    assert D(report["pnl_band"]["pessimistic"]) == D(report["pnl_band"]["expected"]) == -10_000
    (_, _, row), *_ = lab.run().rows("liquidated")
    scope = "account" if margin == "cross" else "position"
    assert (row["scope"], D(row["balance"])) == (scope, 0)
    assert any(one.startswith(f"liquidated buyer (the {scope}): 1000 BTCUSDT at 90") for one in report["degradations"])
    assert f"liquidated, the {scope}: 1,000 BTCUSDT at 90, 0.00 left" in result.out
    page = (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    assert f"Funding and liquidations ({2 * times})" in page
    assert "<td>liquidation settled</td><td>buyer</td>" in page
    assert '<td class="n">+1,000.00</td>' in page
    assert lab("audit").code == 0
    assert "identical" in lab("verify").out
    assert json.loads(lab("report", "--json").out)["liquidations"] == times


def test_a_margin_mode_that_is_none_is_refused_with_those_there_are(lab: Any, buyer: None) -> None:
    result = lab("backtest", prices(lab, 100.0, 100.0), "--strategy", "buyer", "--margin", "portfolio")
    assert result.code == 78
    assert "cross" in result.err
    assert "isolated" in result.err


def test_a_leverage_above_the_smallest_tier_is_refused(lab: Any, buyer: None) -> None:
    result = lab("backtest", prices(lab, 100.0, 100.0), "--strategy", "buyer", "--leverage", "101")
    assert result.code == 78
    assert "leverage = 101: BTCUSDT has at most 100; give --leverage 100" in result.err


def test_a_replay_has_the_margin_mode_of_the_session_unless_another_is_given(lab: Any) -> None:
    assert lab.mock("--margin", "isolated", "--reporter", "none", minutes=3).code == 0
    session = lab.run().folder.name
    assert lab.run().report()["settings"]["run"]["margin"] == "isolated"
    assert lab("replay", session).code == 0
    assert lab.run().report()["settings"]["run"]["margin"] == "isolated"
    assert lab("replay", session, "--margin", "cross").code == 0
    assert lab.run().report()["settings"]["run"]["margin"] == "cross"
