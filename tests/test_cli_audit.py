"""`lab audit` finds what is wrong in a journal whose hashes follow one another, and takes what is sound."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from wrong_journals import Rows, Wrongs, body, column, missed, more, nth, put, rows_of, twice, without


def gap(rows: Rows) -> None:
    for row in rows[5:]:
        row["seq"] += 1


def last_first(rows: Rows) -> None:
    rows.insert(1, rows.pop())
    for seq, row in enumerate(rows, 1):
        row["seq"] = seq


def other_side(value: str) -> str:
    return "sell" if value == "buy" else "buy"


WRONG: Wrongs = {
    "a number is missing": (gap, "its number is"),
    "a row goes back in time": (column("order_filled", time_ns=1), "is before that of the row above"),
    "a row goes back to an earlier input": (column("order_filled", 1, input_n=1), "its input 1 is before"),
    "a row follows the end": (last_first, "it comes after the end of the run"),
    "a kind is unknown": (column("order_filled", kind="order_vanished"), "rows of this kind are not known"),
    "a body is of another kind": (column("order_filled", kind="order_accepted"), "it cannot be read"),
    "a key is another one": (column("order_filled", key="fill:other"), "its key is fill:other"),
    "a fill is booked twice": (twice("order_filled"), "it happened twice"),
    "an order is placed twice": (twice("order_accepted"), "it happened twice"),
    "the start is missing": (without("run_started"), "how the run was started is missing"),
    "a deposit is larger": (body("deposit", amount=more("1")), "its postings is"),
    "a posting's exponent has nine digits": (
        body("deposit", postings=[["cash", "1e-999999999"], ["capital", "-10000"]]), "cash 1E-999999999, capital",
    ),
    "a deposit is missing": (without("deposit"), "has no deposit"),
    "an order was never accepted": (without("order_accepted"), "does not work"),
    "a fill is missing": (without("order_filled"), "the position after it is"),
    "an order is for nothing": (body("order_accepted", quantity="0"), "is not above 0"),
    "an order is for less": (body("order_accepted", quantity="0.0001"), "more is filled than was ordered"),
    "an order arrives before it was sent": (body("order_accepted", eligible_ns=0), "before it was placed"),
    "an order arrives after its fill": (body("order_accepted", eligible_ns=2**62), "the order arrives at"),
    "an order is on the other side": (body("order_accepted", side=other_side), "its side is"),
    "an order had a better limit": (body("order_accepted", 1, limit="1"), "is worse than the limit 1"),
    "an order is of another symbol": (body("order_accepted", symbol="ETHUSDT"), "its symbol is"),
    "an order is of another strategy": (body("order_accepted", strategy="other"), "its strategy is"),
    "a price is better": (body("order_filled", fill__price=more("-1")), "its fee is"),
    "a fee is lower": (body("order_filled", fill__fee=more("-0.01")), "its fee is"),
    "a rate is lower": (body("order_filled", fill__fee_rate="0.0001"), "its fee is"),
    "a fill is stamped before its order arrived": (body("order_filled", fill__time_ns=1), "it is stamped 1, before"),
    "a fill is larger than what was displayed": (body("order_filled", fill__displayed="0.0001"), "what was displayed"),
    "a slippage is left out": (body("order_filled", fill__slippage="0"), "its slippage is"),
    "a reference is another one": (body("order_filled", fill__reference=more("1")), "its slippage is"),
    "a fill has another number": (body("order_filled", fill_id=lambda one: one[:-1] + "7"), "its id is"),
    "something remains": (body("order_filled", remaining="0.1"), "what remains is 0.1"),
    "a position is another one": (body("order_filled", position=more("0.1")), "the position after it is"),
    "a fill is off the tick": (body("order_filled", fill__price=more("0.001")), "is not on the tick"),
    "a rate is 0": (body("order_filled", fill__fee_rate="0"), "its fee rate is 0, it should be 0.0006"),
    "postings do not sum to 0": (
        body("order_filled", postings=lambda all_: [[all_[0][0], more("1")(all_[0][1])], *all_[1:]]),
        "its postings do not sum to 0",
    ),
    "an order decided on the input that fills it": (
        lambda rows: column("order_accepted", input_n=nth(rows, "order_filled")["input_n"])(rows),
        "the order was decided on input",
    ),
    "an exit opens": (body("order_accepted", reduce_only=True), "a reduce-only order took the position from 0"),
    "orders are counted wrong": (body("run_ended", totals__orders=lambda count: count + 1), "orders is"),
    "trades are counted wrong": (body("run_ended", totals__trades=lambda count: count - 1), "trades is"),
    "refusals are counted wrong": (body("run_ended", totals__refusals=5), "refusals is 5"),
    "the trades of a book are counted wrong": (body("run_ended", books__sma__trades=9999), "the trades of sma is"),
    "the fills of a book are counted wrong": (body("run_ended", books__sma__fills=9999), "the fills of sma is"),
    "the profit of a book is more": (body("run_ended", books__sma__pnl=more("1")), "the profit of sma is"),
    "fees are added up wrong": (body("run_ended", totals__fees_paid=more("0.01")), "fees_paid is"),
    "the best is better": (body("run_ended", totals__gain_at_best="999"), "gain_at_best is 999"),
    "the worst is not as bad": (body("run_ended", totals__loss_at_worst="0"), "loss_at_worst is 0"),
    "a rule has more fills": (body("run_ended", totals__fill_rules__candle_open__fills=7), "fill_rules is"),
    "a balance is another one": (
        body("run_ended", books__sma__balances__realised=more("1")), "the balances of sma is",
    ),
    "the cash is more": (body("run_ended", books__sma__cash=more("100")), "the cash of sma is"),
    "the equity of a book is more": (body("run_ended", books__sma__equity=more("100")), "the equity of sma is"),
    "the equity is more": (body("run_ended", equity=more("100")), "the equity is"),
    "a position is left out": (body("run_ended", books__sma__positions={}), "what sma holds is"),
    "a position is larger": (
        body("run_ended", books__sma__positions__BTCUSDT__quantity=more("1")), "the BTCUSDT of sma is",
    ),
    "a cost is lower": (
        body("run_ended", books__sma__positions__BTCUSDT__cost=more("-1")), "the cost of BTCUSDT of sma is",
    ),
    "a book is invented": (
        body("run_ended", books=lambda books: {**books, "other": books["sma"]}), "the books is",
    ),
}  # fmt: skip


def backtest(lab: Any) -> Path:
    settings = (
        "--set",
        "sma.fast=5",
        "--set",
        "sma.slow=12",
        "--set",
        "sma.stop_percent=0",
        "--set",
        "sma.target_percent=0",
        "--set",
        "sma.quantity=0.1",
        "--reporter",
        "none",
    )
    assert lab("backtest", "btcusd-1m", "--strategy", "sma", *settings).code == 0
    path: Path = lab.run().folder / "journal.db"
    return path


@pytest.mark.behaviour("J7")
def test_a_wrong_journal_with_a_chain_that_follows_is_rejected_with_the_row(lab: Any) -> None:
    path = backtest(lab)
    rows = rows_of(path)
    assert nth(rows, "run_ended")["body"]["books"]["sma"]["positions"], "a position must be open at its end"
    result = lab("audit")
    assert (result.code, result.err) == (0, "")
    assert f"sound: {len(rows)} rows, " in result.out
    put(path, rows)
    assert lab("audit").code == 0, "written anew without a change it is sound still"
    assert not missed(lab, path, WRONG)


WRONG_MONEY: Wrongs = {
    "funding is less": (body("funding_paid", amount=more("-0.01")), "its amount is"),
    "funding is paid at another mark": (body("funding_paid", mark="1"), "its amount is"),
    "funding is paid of more": (body("funding_paid", quantity="1"), "what is held is 1"),
    "funding is paid early": (body("funding_paid", window_ns=2**62), "before it is due"),
    "funding is paid twice": (twice("funding_paid"), "it happened twice"),
    "funding is left out": (without("funding_paid"), "funding_paid is"),
    "funding is posted for less": (
        body("funding_paid", postings=lambda all_: [[all_[0][0], "-0.01"], all_[1]]), "its postings do not sum to 0",
    ),
    "a liquidation is too early": (body("liquidated", balance="99999999"), "is above the maintenance margin"),
    "a liquidation is of more": (body("liquidated", positions__0__quantity=lambda _: "1"), "held is 1"),
    "a notional is lower": (body("liquidated", positions__0__notional=lambda _: "1"), "its notional is 1"),
    "a maintenance margin is lower": (
        body("liquidated", positions__0__maintenance=lambda _: "1"), "its maintenance margin is",
    ),
    "a liquidation is left out": (without("liquidated"), "liquidations is"),
    "the insurance pays more": (body("liquidation_settled", insurance=more("5")), "its postings is"),
    "a fee is given": (body("liquidation_settled", fee="-1"), "is below 0"),
    "a settlement comes while something is held": (body("order_filled", 1, fill__quantity="0.005"), "held is"),
    "a settlement is left out": (without("liquidation_settled"), "insurance_paid is"),
}  # fmt: skip


def falling_prices(lab: Any, prices: list[float]) -> None:
    lines = [f"{1_704_067_200 + 60 * n},{p},{p},{p},{p},5" for n, p in enumerate(prices)]
    (lab.folder / "fall.csv").write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n")


@pytest.mark.behaviour("J7", "O10", "O11")
def test_wrong_funding_and_wrong_liquidations_are_found(lab: Any, holder: Any) -> None:
    falling_prices(lab, [10_000.01] * 500 + [8_000] * 5)
    (lab.folder / "rates.csv").write_text("time,rate\n2024-01-01T08:00:00Z,0.0001\n")
    settings = ("--strategy", "holder", "--equity", "10", "--leverage", "20", "--set", "replay.lot=0.0001")
    assert lab("backtest", "fall.csv", *settings, "--set", "replay.funding=rates.csv", "--gate", "none").code == 2
    assert "sound" in lab("audit").out
    assert not missed(lab, lab.run().folder / "journal.db", WRONG_MONEY)


WRONG_ACCOUNT: Wrongs = {
    "the deposit is less": (body("deposit", amount="9"), "its amount is 9, it should be 10"),
    "the deposit is another's": (body("deposit", strategy="two"), "whose book has the deposit is two"),
    "the balance is less": (body("liquidated", 1, balance=more("-0.01")), "the account's balance is"),
    "the maintenance margin is of one": (
        body("liquidated", 1, maintenance=lambda _: "0.4"), "the account's maintenance margin is 0.4",
    ),
    "the insurance is another's": (body("liquidation_settled", 1, insurance="1"), "its postings is"),
    "the equity of a book is more": (body("run_ended", books__two__equity=more("1")), "the equity of two is"),
}  # fmt: skip


@pytest.mark.behaviour("J7", "O11", "P6")
def test_wrong_figures_of_a_shared_account_are_found(lab: Any, holder: Any) -> None:
    falling_prices(lab, [10_000.01] * 5 + [8_000] * 5)
    both = ("--strategy", "one=holder", "--strategy", "two=holder", "--account", "shared", "--gate", "none")
    money = ("--equity", "10", "--leverage", "20", "--set", "replay.lot=0.0001")
    assert lab("backtest", "fall.csv", *both, *money).code == 2
    assert "sound" in lab("audit").out
    assert not missed(lab, lab.run().folder / "journal.db", WRONG_ACCOUNT)


@pytest.mark.behaviour("J7")
def test_a_row_that_was_changed_without_its_hash_is_named(lab: Any) -> None:
    path = backtest(lab)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE event SET body = replace(body, 'buy', 'sell') WHERE kind = 'order_filled' AND seq < 20")
    result = lab("audit")
    assert result.code == 1
    assert "its hash does not follow from the row above and what it says: it was changed" in result.out


@pytest.mark.behaviour("J7")
@pytest.mark.parametrize(
    "command",
    [
        ("run", "--provider", "mock", "--strategy", "sma", "--strategy", "second=sma", "--speed", "max"),
        ("backtest", "--provider", "mock", "--set", "mock.minutes=3000", "--set", "sma.stop_percent=0.2"),
        ("backtest", "btcusdt-ticks", "--set", "sma.fast=1", "--set", "sma.slow=2", "--set", "sma.confirmation=1"),
    ],
    ids=["two strategies live", "stops", "ticks"],
)
def test_runs_of_every_kind_are_sound(lab: Any, command: tuple[str, ...]) -> None:
    assert lab(*command, "--reporter", "none").code == 0
    found = json.loads(lab("audit", "--json").out)
    assert (found["kind"], found["found"], found["findings"]) == ("audit", 0, [])
    report = lab.run().report()
    assert (found["orders"], found["fills"]) == (report["orders"], report["fills"])


@pytest.mark.behaviour("J7")
def test_a_run_that_was_killed_is_audited_as_far_as_its_last_commit(lab: Any) -> None:
    path = backtest(lab)
    rows = rows_of(path)
    put(path, rows[: len(rows) // 2])  # a backtest writes no state before its end
    result = lab("audit")
    assert (result.code, "sound" in result.out) == (0, True)


def test_a_run_that_is_not_there_is_named(lab: Any, one_line: Any) -> None:
    one_line(lab("audit", "nothing"), 78, "no run 'nothing'")
