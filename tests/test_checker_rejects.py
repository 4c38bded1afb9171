"""The checker rejects journals with one thing wrong and a chain that follows, each for the right reason."""

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from checker import check
from checker_flow import FLOW, MARKET
from checker_runs import TWO, Change, Row, again, cut, edit, held, inputs_of, put, rows_of, sets, where

Rows = list[Row]

D = Decimal


def order_of(body: Any, rows: Rows) -> Any:
    """Return the acceptance of the order that a row is about."""
    order_id = body.get("fill", body).get("order_id")
    return next(row["body"] for row in rows if row["kind"] == "order_accepted" and row["body"]["order_id"] == order_id)


def more(by: str) -> Any:
    return lambda value: format(D(value) + D(by), "f")


def is_(**wanted: Any) -> Any:
    """Return whether the order of a row is such."""
    return lambda body, rows: all(
        order_of(body, rows).get(name, "gtc" if "force" in name else "") == one for name, one in wanted.items()
    )


def rule(name: str, **wanted: Any) -> Any:
    return lambda body, rows: body["fill"]["rule"] == name and is_(**wanted)(body, rows)


def price(by: str, kind: Any) -> Change:
    """Fill at another price, with the fee that belongs to it."""

    def change(rows: Rows) -> int:
        row = rows[where("order_filled", kind)(rows)]
        fill = row["body"]["fill"]
        fill["price"] = more(by)(fill["price"])
        fill["fee"] = str(D(fill["price"]) * D(fill["quantity"]) * D(fill["fee_rate"]))
        return rows.index(row) + 1

    return change


def rate(rows: Rows) -> int:
    """Take the maker's fee from a taker."""
    row = rows[where("order_filled", lambda body, _: body["fill"]["liquidity"] == "taker")(rows)]
    fill = row["body"]["fill"]
    fill["fee_rate"], fill["fee"] = "0.0002", str(D(fill["price"]) * D(fill["quantity"]) * D("0.0002"))
    return rows.index(row) + 1


def role(name: str, by: str, pick: Any) -> Change:
    """Fill as maker or taker what was the other: by its rule, at the limit, with the fee that belongs to it."""

    def change(rows: Rows) -> int:
        row = rows[where("order_filled", pick)(rows)]
        fill, limit = row["body"]["fill"], order_of(row["body"], rows)["limit"]
        fill |= {"liquidity": name, "rule": by, "price": limit, "reference": limit, "slippage": "0"}
        fill["fee_rate"] = {"maker": "0.0002", "taker": "0.0006"}[name]
        fill["fee"] = str(D(limit) * D(fill["quantity"]) * D(fill["fee_rate"]))
        return rows.index(row) + 1

    return change


def decided_late(rows: Rows) -> int:
    """Let an order be decided on the input that fills it."""
    filled = rows[where("order_filled", rule("quote"))(rows)]
    order = rows[where("order_accepted", lambda body, _: body["order_id"] == filled["body"]["fill"]["order_id"])(rows)]
    rows.remove(order)
    rows.insert(rows.index(filled), order)
    order |= {"time_ns": filled["time_ns"], "input_n": filled["input_n"]}
    return rows.index(filled) + 1


def ordered(pick: Any, **changes: Any) -> Change:
    """Let the order of a fill have been another one."""

    def change(rows: Rows) -> int:
        row = rows[where("order_filled", pick)(rows)]
        order = order_of(row["body"], rows)
        order |= {name: value(order[name]) for name, value in changes.items()}
        return rows.index(row) + 1

    return change


def arrives(body: Any, rows: Rows) -> bool:
    """Return whether an order takes at the time of its arrival, up to its limit."""
    order = order_of(body, rows)
    return order["type"] == "limit" and body["fill"]["time_ns"] == order["eligible_ns"]


def moved(kind: str, pick: Any, by: int) -> Change:
    """Move a row to another input."""

    def change(rows: Rows) -> int:
        place = where(kind, pick)(rows)
        row = rows.pop(place)
        row["input_n"] += by
        after = next(n for n, one in enumerate(rows) if one["input_n"] > row["input_n"])
        if rows[after - 1]["input_n"] == row["input_n"]:
            row["time_ns"] = rows[after - 1]["time_ns"]
        rows.insert(after, row)
        return (place if by > 0 else after) + 1

    return change


def child_first(rows: Rows) -> int:
    """Let a stop of a bracket fill where its entry does not fill until later."""
    place = where("order_accepted", lambda body, _: bool(body.get("parent")) and body["type"] == "stop")(rows)
    child = rows[place]["body"]
    copy = json.loads(json.dumps(rows[where("order_filled", lambda body, _: body["side"] == child["side"])(rows)]))
    copy["body"] |= {"fill_id": child["order_id"] + ".1", "strategy": child["strategy"]}
    copy["body"]["fill"]["order_id"] = child["order_id"]
    after = next(n for n, row in enumerate(rows) if row["input_n"] > rows[place]["input_n"])
    copy |= {"key": f"fill:{child['order_id']}.1", "time_ns": rows[after]["time_ns"], "input_n": rows[after]["input_n"]}
    rows.insert(after, copy)
    return after + 1


of_group = lambda body, _: "of its group filled" in body["reason"]  # noqa: E731
taker = lambda body, _: body["fill"]["liquidity"] == "taker"  # noqa: E731
buys = rule("quote", side="buy")

Wrongs = dict[str, tuple[Change, str]]
# What is wrong, what makes it so, and what the checker must say of the row that it names.
WRONG: Wrongs = {
    "a buy one tick better": (price("-0.01", buys), "not at what the market gives"),
    "a sale one tick better": (price("0.01", rule("quote", side="sell")), "not at what the market gives"),
    "a limit better than the market": (
        price("-0.05", rule("limit_touched", side="buy")),
        "not at what the market gives",
    ),
    "a stop better than the touch": (price("-0.01", rule("stop", side="buy")), "not at what the market gives"),
    "a size above what was displayed": (
        edit("order_filled", rule("quote"), fill__quantity=more("5")),
        "not for all that it could",
    ),
    "more than was ordered": (ordered(rule("quote"), quantity=lambda _: "0.1"), "not within its quantity"),
    "a price beyond the limit": (
        ordered(rule("quote", type="limit", side="sell"), limit=more("1")),
        "not within its limit",
    ),
    "a fill on the input of its decision": (decided_late, "not after its decision"),
    "what was displayed is more": (edit("order_filled", rule("quote"), fill__displayed=more("1")), "not displayed"),
    "a fee": (edit("order_filled", fill__fee=more("-0.0001")), "its fee is"),
    "a rate": (rate, "its fee_rate is"),
    "a rule": (edit("order_filled", rule("quote"), fill__rule="stop"), "its rule is"),
    "what takes on its arrival as a maker": (role("maker", "limit_touched", arrives), "its rule is"),
    "what rested as a taker": (role("taker", "quote", rule("limit_touched")), "its rule is"),
    "taker as maker": (edit("order_filled", taker, fill__liquidity="maker"), "its liquidity is"),
    "a reference": (edit("order_filled", rule("quote"), fill__reference=more("0.01")), "not displayed"),
    "a slippage": (edit("order_filled", fill__slippage="0.5"), "its slippage is"),
    "a time of a fill": (edit("order_filled", fill__time_ns=lambda at: at - 1), "its time_ns is"),
    "eligible too early": (edit("order_accepted", eligible_ns=lambda at: at - 100_000_000), "its eligible_ns is"),
    "eligible too late": (edit("order_accepted", eligible_ns=lambda at: at + 100_000_000), "its eligible_ns is"),
    "placed at another time": (edit("order_accepted", placed_ns=lambda at: at - 1), "its placed_ns is"),
    "an id of another configuration": (
        edit("order_accepted", order_id=lambda one: "00000000" + one[8:]),
        "not of this run",
    ),
    "a missing fill": (cut("order_filled", rule("quote")), "not the best displayed"),
    "a double fill": (again("order_filled", rule("quote")), "its fill_id is"),
    "a fill one input late": (moved("order_filled", rule("quote"), 1), "not the best displayed"),
    "a fill one input early": (moved("order_filled", rule("stop"), -1), "its time_ns is"),
    "a side": (edit("order_filled", side=lambda one: "sell" if one == "buy" else "buy"), "its side is"),
    "a child before its entry": (child_first, "not after its entry"),
    "a child larger than its entry": (
        edit("order_accepted", lambda body, _: bool(body.get("parent")), quantity=more("1")),
        "not within its entry",
    ),
    "a group that is not cancelled": (cut("order_ended", of_group), "its uncut is"),
    "a cancel before its latency": (edit("cancel_sent", eligible_ns=lambda at: at - 1), "its eligible_ns is"),
    "an amendment before its latency": (edit("amend_sent", eligible_ns=lambda at: at - 1), "its eligible_ns is"),
    "a stop without its trigger": (cut("order_triggered"), "not after its trigger"),
    "a stop triggered before its level": (edit("order_triggered", reference=more("-0.01")), "not at its level"),
    "fill or kill in parts": (
        edit("order_filled", is_(time_in_force="fok"), fill__quantity=more("-0.1")),
        "not for all that it could",
    ),
    "good till date after its time": (cut("order_ended", lambda body, _: body["outcome"] == "expired"), "its late is"),
    "immediate or cancel that rests": (cut("order_ended", is_(time_in_force="ioc")), "not the end of every order"),
    "a post-only order that takes": (
        cut("order_ended", lambda body, _: body["outcome"] == "rejected"),
        "not the end of every order",
    ),
    "an outcome": (
        edit("order_ended", lambda body, _: body["outcome"] == "expired", outcome="cancelled"),
        "its cancelled is",
    ),
    "an end nobody asked for": (
        again("order_ended", lambda body, _: "asked" in body["reason"]),
        "not of an order that works",
    ),
    "something remains": (edit("order_ended", remaining=more("0.1")), "its remaining is"),
    "funding left out": (cut("funding_paid"), "not paid all funding"),
    "funding of the other sign": (edit("funding_paid", amount=lambda one: str(-D(one))), "its amount is"),
    "funding at another rate": (edit("funding_paid", rate="0.0004"), "its rate is"),
    "funding at another mark": (edit("funding_paid", mark="500"), "its mark is"),
    "funding twice": (again("funding_paid", window_ns=1), "it should be nothing"),
    "postings": (
        edit("order_filled", postings=lambda all_: [[all_[0][0], more("1")(all_[0][1])], *all_[1:]]),
        "its postings is",
    ),
    "a position": (edit("order_filled", position=more("0.1")), "its position is"),
    "a deposit": (edit("deposit", amount="10001"), "its amount is"),
    "the fees": (edit("run_ended", totals__fees_paid=more("0.01")), "its fees_paid is"),
    "the trades": (edit("run_ended", totals__trades=lambda one: one + 1), "its trades is"),
    "the cash": (edit("run_ended", books__flow__cash=more("1")), "its cash is"),
    "the equity": (edit("run_ended", equity=more("1")), "its equity is"),
}

WRONG_MONEY: Wrongs = {
    "a candle's price without its slippage": (price("-0.02", taker), "not at what the market gives"),
    "a price that no candle had": (edit("order_filled", fill__reference=more("-1")), "its reference is"),
    "more than a candle's volume": (edit("order_filled", fill__quantity="9000.001"), "not of what is left"),
    "a liquidation too late": (cut("liquidated"), "not liquidated"),
    "a liquidation at another balance": (edit("liquidated", balance=more("-1")), "its balance is"),
    "a maintenance margin": (edit("liquidated", maintenance=more("1")), "its maintenance is"),
    "a tier's margin of a position": (edit("liquidated", positions__0__maintenance=more("1")), "its positions is"),
    "a liquidated notional": (edit("liquidated", positions__0__notional=more("1")), "its positions is"),
    "the insurance": (edit("liquidation_settled", insurance=more("-1")), "its insurance is"),
    "the fee of a liquidation": (edit("liquidation_settled", fee="1"), "its fee is"),
    "a settlement left out": (cut("liquidation_settled"), "not settled"),
    "what the insurance paid": (edit("run_ended", totals__insurance_paid=more("1")), "its insurance_paid is"),
    "how many were liquidated": (edit("run_ended", totals__liquidations=0), "its liquidations is"),
}


def missed(tmp_path: Path, folder: Path, inputs: Any, wrong: Wrongs) -> dict[str, list[str]]:
    """Return the wrong journals that the checker takes, or of whose row or input it does not say what it must."""
    rows, found = rows_of(folder), {}
    journal = tmp_path / "wrong.db"
    put(journal, rows)
    assert check(journal, inputs)[0] == [], "written anew without a change it is sound"
    for what, (change, says) in wrong.items():
        copy = json.loads(json.dumps(rows))
        row = change(copy)
        put(journal, copy)
        findings = check(journal, inputs)[0]
        inputs_n = {of[min(row, len(of)) - 1]["input_n"] for of in (rows, copy)}
        places = (f"row {row} ", "(run_ended)", *(f"input {n}:" for n in inputs_n))
        if not any(says in one and any(place in one for place in places) for one in findings):
            found[what] = [f"row {row}", *findings[:4]]
    return found


@pytest.fixture(autouse=True)
def _plugins(site: Any) -> None:
    site.install("their_flow", FLOW)
    site.install("their_market", MARKET)


@pytest.mark.behaviour("J7")
@pytest.mark.parametrize("part", range(4))
def test_every_wrong_journal_of_orders_is_rejected_for_the_right_reason(lab: Any, tmp_path: Path, part: int) -> None:
    busy = sets(market__seed=3, market__seconds=1800, flow__every=8, second__every=8, flow__coins=3)
    assert lab("backtest", "--provider", "market", *TWO, *busy).code == 0
    inputs, _ = inputs_of(lab.run().folder, None)
    wrong = dict(list(WRONG.items())[part::4])
    assert missed(tmp_path, lab.run().folder, inputs, wrong) == {}


@pytest.mark.behaviour("J7", "O11")
def test_every_wrong_journal_of_a_liquidation_is_rejected_for_the_right_reason(
    lab: Any, site: Any, tmp_path: Path
) -> None:
    files = held(lab, site, *sets(once__coins=900))
    inputs, _ = inputs_of(lab.run().folder, *files)
    assert missed(tmp_path, lab.run().folder, inputs, WRONG_MONEY) == {}


def test_a_changed_row_a_gap_another_input_and_a_wrong_tape_are_rejected(lab: Any, tmp_path: Path) -> None:
    assert lab("run", "--provider", "mock", "--speed", "max", "--minutes", "5", "--reporter", "none").code == 0
    folder = lab.run().folder
    inputs, tape = inputs_of(folder, None)
    assert check(folder / "journal.db", inputs, tape)[0] == []
    assert any("tape_sha256" in one for one in check(folder / "journal.db", inputs, "0" * 64)[0])
    assert any("(run_ended): its inputs is" in one for one in check(folder / "journal.db", inputs[:-1], tape)[0])
    other = json.loads(json.dumps(inputs))
    next(fields for kind, fields in other if kind == "candle")[6] += 1.0
    assert any("(candle): not the input that came" in one for one in check(folder / "journal.db", other, tape)[0])
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("UPDATE event SET body = replace(body, '10000', '10001') WHERE kind = 'deposit'")
    assert any("row 2 (deposit): its hash is" in one for one in check(folder / "journal.db", inputs, tape)[0])
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("DELETE FROM event WHERE seq = 20")
    assert any("row 21 " in one and "its number" in one for one in check(folder / "journal.db", inputs, tape)[0])
