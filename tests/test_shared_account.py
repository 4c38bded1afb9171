"""`--account shared` through the command line: deposit, journal, report, terminal, audit, verify, replay, restart."""

import subprocess
import time
from decimal import Decimal
from typing import Any

import pytest
from lab.errors import JournalError
from lab.journal.reader import JournalReader

D = Decimal
BEGIN_S = 1_704_067_200  # 2024-01-01T00:00:00Z

SIDED = """
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True)
class Sided(Strategy):
    \"\"\"Buys once and holds; sells where the quantity is below 0. Fails where it is 0.\"\"\"
    quantity: Decimal = field(default=Decimal(10), metadata={"help": "coins"})
    _asked: bool = field(init=False, default=False)

    @property
    def lookback(self):
        return 1

    def on_candle(self, candle, view):
        if not self.quantity:
            raise RuntimeError("no quantity")
        if self._asked:
            return []
        self._asked = True
        ask = OrderRequest.buy if self.quantity > 0 else OrderRequest.sell
        return [ask(candle.symbol, abs(self.quantity))]

@hookimpl
def lab_strategies():
    return {"sided": Sided}
"""
BOTH = ("--strategy", "one=sided", "--strategy", "two=sided")
FREE = (
    "--latency-ms", "0", "--set", "paper.taker_fee=0", "--set", "paper.slippage_bps=0", "--set",
    "paper.liquidity=unlimited", "--gate", "none",
)  # fmt: skip


@pytest.fixture
def sided(site: Any) -> None:
    site.install("their_sided", SIDED)


def backtest(lab: Any, closes: list[float], *options: str) -> Any:
    lines = [f"{BEGIN_S + 60 * n},{p},{p},{p},{p},10" for n, p in enumerate(closes)]
    (lab.folder / "prices.csv").write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n")
    return lab("backtest", "prices.csv", *BOTH, *FREE, "--reporter", "terminal", *options)


@pytest.mark.behaviour("P6", "J7")
def test_a_shared_account_has_one_deposit_and_each_book_its_own_part(lab: Any, sided: None) -> None:
    """10 long and 4 short of 100 on 10,000 in all; at 110 one has 100 more and the other 40 less."""
    prices = [100.01, 100.01, 110.01]
    result = backtest(lab, prices, "--account", "shared", "--set", "two.quantity=-4", "--reporter", "html")
    assert result.code == 0, result.err
    assert "10,000.00, one account of all strategies" in result.out
    run = lab.run()
    report = run.report()
    assert (report["account"], report["settings"]["run"]["account"]) == ("shared", "shared")
    assert (D(report["starting_equity"]), D(report["ending_equity"])) == (10_000, 10_060)
    assert {name: D(book["equity"]) for name, book in report["books"].items()} == {"one": 10_100, "two": -40}
    [(_, _, deposit)] = run.rows("deposit")
    assert (deposit["strategy"], D(deposit["amount"])) == ("one", 10_000)
    assert "sound" in lab("audit").out
    assert "identical" in lab("verify").out
    assert "one account of all strategies" in (run.folder / "summary.html").read_text(encoding="utf-8")
    [(_, _, shared)] = run.rows("run_started")
    assert backtest(lab, prices, "--set", "two.quantity=-4").code == 0
    [(_, _, separate)] = lab.run().rows("run_started")
    assert shared["config_hash"] != separate["config_hash"]
    report = lab.run().report()
    assert (report["account"], D(report["starting_equity"])) == ("separate", 20_000)
    assert {name: D(book["equity"]) for name, book in report["books"].items()} == {"one": 10_100, "two": 9_960}


@pytest.mark.behaviour("P6", "V2")
@pytest.mark.parametrize("account", ["separate", "shared"])
def test_the_result_of_each_strategy_is_in_report_summary_and_page(lab: Any, sided: None, account: str) -> None:
    options = ("--account", account, "--set", "two.quantity=-4", "--reporter", "html")
    result = backtest(lab, [100.01, 100.01, 110.01], *options)
    assert result.code == 0, result.err
    books = lab.run().report()["books"]
    assert {name: (D(one["pnl"]), one["fills"], one["trades"]) for name, one in books.items()} == {
        "one": (100, 1, 0), "two": (-40, 1, 0),
    }  # fmt: skip
    said = [" ".join(line.split()) for line in lab("report").out.splitlines() if line.startswith("result ")]
    equity = {"one": "10100", "two": "-40" if account == "shared" else "9960"}
    assert said == [
        f"result one pnl: 100, trades: 0, fills: 1, equity: {equity['one']}, holds: (BTCUSDT: 10)",
        f"result two pnl: -40, trades: 0, fills: 1, equity: {equity['two']}, holds: (BTCUSDT: -4)",
    ]
    assert "of which one +100.00, trades 0, fills 1, fees 0.00" in " ".join(result.out.split())
    assert "two -40.00, trades 0, fills 1, fees 0.00" in " ".join(result.out.split())
    assert "<td>two</td>" in (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    assert lab("backtest", "prices.csv", *BOTH[:2], *FREE).code == 0
    assert "result one" not in lab("report").out


@pytest.mark.behaviour("O11", "P6", "J7")
def test_a_shared_account_is_liquidated_in_a_row_and_a_line_for_each_strategy_and_audited(
    lab: Any, sided: None
) -> None:
    """2,000 less 1,000 coins at 100 on 10,000 are down to 5 p at 90.45; closed at 89, 1,000 are missing."""
    quantities = ("--account", "shared", "--set", "one.quantity=2000", "--set", "two.quantity=-1000")
    result = backtest(lab, [100.0, 100.0, 95.01, 90.4, 89.0, 89.0, 150.0], *quantities)
    assert result.code == 2, result.out + result.err
    for said in ("2,000 BTCUSDT at 90.4, 400.00 left", "-1,000 BTCUSDT at 90.4, 400.00 left", "margin 452.00 [two]"):
        assert said in result.out
    run = lab.run()
    report = run.report()
    assert (report["reason"], report["liquidations"], D(report["insurance_paid"])) == ("risk_halt", 2, 1_000)
    assert D(report["ending_equity"]) == 0
    assert sum(D(book["equity"]) for book in report["books"].values()) == 0
    assert [body["strategy"] for _, _, body in run.rows("liquidation_settled")] == ["one", "two"]
    assert "sound" in lab("audit").out
    assert "identical" in lab("verify").out


@pytest.mark.behaviour("P6")
def test_a_strategy_that_fails_leaves_its_part_of_a_shared_account_to_the_other(lab: Any, sided: None) -> None:
    assert backtest(lab, [100.0, 100.0, 110.01], "--account", "shared", "--set", "one.quantity=0").code == 0
    report = lab.run().report()
    assert [one for one in report["degradations"] if one.startswith("strategy_stopped one")]
    assert {name: D(book["equity"]) for name, book in report["books"].items()} == {"one": 10_000, "two": D("100.1")}
    assert "sound" in lab("audit").out


def test_an_account_that_is_neither_is_refused_with_those_there_are(lab: Any, sided: None) -> None:
    result = backtest(lab, [100.0, 100.0], "--account", "common")
    assert result.code == 78
    assert "separate" in result.err
    assert "shared" in result.err


@pytest.mark.behaviour("J6", "P6")
def test_a_session_with_a_shared_account_is_verified_and_replayed_with_it(lab: Any, trader: Any) -> None:
    both = ("--strategy", "one=trader", "--strategy", "two=trader", "--set", "two.quantity=0.03")
    assert lab.mock(*both, "--account", "shared", "--reporter", "none", minutes=3).code == 0
    report = lab.run().report()
    assert (D(report["starting_equity"]), report["account"]) == (10_000, "shared")
    assert lab("verify").code == 0
    session = lab.run().folder.name
    assert lab("replay", session).code == 0
    again = lab.run().report()
    assert (again["account"], again["ending_equity"]) == ("shared", report["ending_equity"])
    assert lab("replay", session, "--account", "separate").code == 0
    assert lab.run().report()["account"] == "separate"


@pytest.mark.behaviour("R1", "P6")
def test_a_killed_run_with_a_shared_account_is_restarted_by_one_with_it_and_by_no_other(lab: Any, trader: Any) -> None:
    session = (
        "run", "--provider", "mock", "--strategy", "one=trader", "--strategy", "two=trader", "--set", "one.need=1",
        "--set", "two.need=1",
    )  # fmt: skip
    command = lab.command(*session, "--account", "shared", "--speed", "300", "--minutes", "3000")
    environment, quiet = {**lab.environment, **lab.see(trader)}, subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=lab.folder, env=environment, stdout=quiet, stderr=quiet)
    try:
        folder, until = None, time.monotonic() + 30
        while folder is None and time.monotonic() < until:
            for found in lab.folder.glob("runs/2*/journal.db"):
                with_state = _state(found.parent)
                if with_state is not None and with_state.totals.trades:
                    folder = found.parent
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert folder is not None
    state = _state(folder)
    lost = state.day_starting_equity - state.equity
    assert lab(*session, "--speed", "max", "--minutes", "3").code == 0
    said = lab.run().report()["degradations"]
    assert f"not_restarted {folder.name}: it was cut off with other settings" in said
    lab.run().folder.rename(lab.folder / "another")
    assert lab(*session, "--account", "shared", "--speed", "max", "--minutes", "3").code == 0
    [(_, _, started)] = lab.run().rows("run_started")
    assert (started["account"], D(started["carried_loss"]["lost"])) == ("shared", lost)
    assert D(lab.run().report()["starting_equity"]) == 10_000
    assert lab("verify", "latest").code == 0


def _state(folder: Any) -> Any:
    """Return what a running session has committed, nothing before it began."""
    try:
        reader = JournalReader.open(folder)
    except JournalError:
        return None
    try:
        return reader.run_state()
    except JournalError:
        return None
    finally:
        reader.close()
