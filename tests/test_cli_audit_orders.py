"""`lab audit` finds what is wrong with stops, brackets, amendments, cancels and the labels of fills."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from checker_flow import FLOW, MARKET
from wrong_journals import Rows, Wrongs, body, missed, more, nth, rows_of, twice, without

PLANNER = """
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, OrderType, Side, Strategy, hookimpl
from lab.domain.orders import AmendRequest, CancelRequest

@define(kw_only=True)
class Planner(Strategy):
    "Asks for a bracket, for orders that it amends and takes back, and for what is refused."
    _seen: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        self._seen += 1
        return list(self._asks(candle.symbol, {order.limit: order.id for order in view.orders()}))

    def _asks(self, symbol, ids):
        d, seen = Decimal, self._seen
        if seen == 1:
            yield OrderRequest.buy(symbol, d(3), stop_loss=d(95), take_profit=d(130))
        elif seen == 4:
            yield OrderRequest.buy(symbol, d(1), type=OrderType.LIMIT, limit=d(50))
            yield OrderRequest.buy(symbol, d(1), type=OrderType.LIMIT, limit=d(20))
        elif seen == 5:
            yield AmendRequest(ids[d(50)], quantity=d(2), limit=d(60))
            yield AmendRequest(ids[d(20)])
            yield CancelRequest(ids[d(20)], "enough")
        elif seen == 9:
            yield OrderRequest.sell(symbol, d(50), type=OrderType.LIMIT, limit=d(90))
        elif seen == 12:
            yield CancelRequest(ids[d(90)])

@hookimpl
def lab_strategies():
    return {"planner": Planner}
"""
PATH = [100, 100, 101, 94, 90, 80, 70, 55, 60, 70, 91, 91, 92, 92]


@pytest.fixture
def planned(lab: Any, site: Any) -> Path:
    """The journal of a run with triggers, amendments, cancels, a bracket, and an order that filled in part."""
    return carry_out(lab, site)


def carry_out(lab: Any, site: Any, *more: str, code: str = PLANNER) -> Path:
    """Run the planner over its prices; return the journal."""
    site.install("their_planner", code)
    rows, last = ["time,open,high,low,close,volume"], PATH[0]
    for minute, price in enumerate(PATH):
        rows.append(f"{1_704_067_200 + 60 * minute},{last},{max(last, price)},{min(last, price)},{price},10")
        last = price
    (lab.folder / "prices.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    settings = ("--set", "replay.tick=0.01", "--set", "replay.lot=0.001", "--reporter", "none", "--equity", "100000")
    result = lab("backtest", "prices.csv", "--strategy", "planner", "--gate", "none", *settings, *more)
    assert result.code == 0, result.err
    path: Path = lab.run().folder / "journal.db"
    return path


def of_order(rows: Rows, kind: str, of: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    found: dict[str, Any] = next(row["body"] for row in rows if row["kind"] == kind and of(row["body"]))
    return found


def cancel_of_what_fills(rows: Rows) -> None:
    """Let the cancel be of the order that was amended, and fills later."""
    sent = nth(rows, "cancel_sent")["body"]
    sent["order_id"] = nth(rows, "order_amended")["body"]["order_id"]


def first_the_stop(rows: Rows) -> None:
    """Let the stop fill on the candle of its entry, before it."""
    entry, stop = nth(rows, "order_filled", 0), nth(rows, "order_filled", 1)
    rows.remove(stop)
    rows.insert(rows.index(entry), stop)
    stop["time_ns"], stop["input_n"] = entry["time_ns"], entry["input_n"]
    for seq, row in enumerate(rows, 1):
        row["seq"] = seq


def rejected_in_part(rows: Rows) -> None:
    of_order(rows, "order_ended", lambda end: Decimal(end["remaining"]) not in {1, 3})["outcome"] = "rejected"


def guard_that_grows(rows: Rows) -> None:
    """Let the stop become larger once its entry has filled."""
    filled, stop = nth(rows, "order_filled"), nth(rows, "order_accepted", 1)["body"]["order_id"]
    amended = {**nth(rows, "order_amended"), "time_ns": filled["time_ns"], "input_n": filled["input_n"]}
    amended["body"] = {**amended["body"], "order_id": stop, "quantity": "4", "remaining": "4", "limit": None}
    amended["body"]["stop"] = "95"
    rows.insert(rows.index(filled) + 1, amended)
    for seq, row in enumerate(rows, 1):
        row["seq"] = seq


def bought_with(**terms: Any) -> Callable[[Rows], None]:
    """Let the limit orders that made liquidity have been of other terms."""

    def change(rows: Rows) -> None:
        made = [row["body"]["fill"]["order_id"] for row in rows if row["kind"] == "order_filled"]
        for row in rows:
            if row["kind"] == "order_accepted" and row["body"]["order_id"] in made and row["body"]["limit"]:
                row["body"].update(terms)

    return change


def taker_that_rested(rows: Rows) -> None:
    of_order(rows, "order_filled", lambda one: one["fill"]["rule"] == "candle_through")["fill"]["liquidity"] = "taker"


WRONG_ORDERS: Wrongs = {
    "a trigger that had not been reached": (
        body("order_triggered", reference="95.1"), "the price 95.1 had not reached the level 95",
    ),
    "a trigger of another level": (body("order_triggered", level="94.5"), "its level is 94.5, the stop of"),
    "an outcome is none": (body("order_ended", outcome="vanished"), "what it says cannot be: 'vanished' is not"),
    "a trigger twice": (twice("order_triggered"), "cannot become triggered: it is triggered"),
    "a trigger is missing": (without("order_triggered"), "it fills before the price reached its level"),
    "a trigger of a limit order": (
        lambda rows: body("order_triggered", order_id=nth(rows, "order_accepted", 2)["body"]["order_id"])(rows),
        "a limit order has no level to reach",
    ),
    "a trigger of nothing": (body("order_triggered", order_id="nobody"), "order nobody does not work"),
    "a stop that fills before its entry": (first_the_stop, "has not filled"),
    "a guard of another entry": (body("order_accepted", 1, parent="nobody"), "its entry nobody has not filled"),
    "an amended quantity that does not add up": (body("order_amended", quantity=more("1")), "what remains is 2"),
    "a remainder that does not add up": (body("order_amended", remaining=more("1")), "what remains is 3"),
    "an amendment to nothing": (body("order_amended", quantity="0", remaining="0"), "nothing remains of it: 0"),
    "an amendment of nothing": (body("order_amended", order_id="nobody"), "order nobody does not work"),
    "an amendment is missing": (without("order_amended"), "more is filled than was ordered: 1"),
    "a fill beyond an amended limit": (body("order_amended", limit="55"), "is worse than the limit 55"),
    "an amendment that nobody asked for": (
        without("amend_sent"), "it has quantity 2, limit 60 now and had quantity 1, limit 50; asked for was nothing",
    ),
    "an amended limit that nobody asked for": (
        body("order_amended", limit="61"),
        "it has quantity 2, limit 61 now and had quantity 1, limit 50; asked for was quantity 2, limit 60",
    ),
    "an amended quantity that nobody asked for": (
        body("order_amended", quantity="3", remaining="3"), "it has quantity 3, limit 60 now",
    ),
    "a smaller order, though no other is in its group": (
        body("order_amended", quantity="0.5", remaining="0.5", limit="50"), "it has quantity 0.5, limit 50 now",
    ),
    "a guard that grows, though its entry does not": (
        guard_that_grows, "it has quantity 4, stop 95 now and had quantity 3, stop 95; asked for was nothing",
    ),
    "a guard of an entry that is not there": (
        body("order_accepted", 1, parent="nobody"), "its entry nobody does not work",
    ),
    "a guard of an entry of another symbol": (body("order_accepted", symbol="ETHUSDT"), "its symbol is BTCUSDT"),
    "a market order that makes": (
        body("order_filled", fill__liquidity="maker"), "it made liquidity at 100.02, and it has no limit",
    ),
    "a maker that slipped": (
        lambda rows: of_order(rows, "order_filled", lambda one: one["fill"]["rule"] == "candle_through")["fill"].update(
            reference="59", slippage="1",
        ),
        "it made liquidity at 60, and its limit is 60, its slippage 1",
    ),
    "a taker by the rule of makers": (
        taker_that_rested, "it is called taker, and its rule candle_through makes it maker",
    ),
    "a maker by the rule of takers": (
        lambda rows: of_order(rows, "order_filled", lambda one: one["fill"]["rule"] == "candle_through")["fill"].update(
            rule="stop_level",
        ),
        "it is called maker, and its rule stop_level makes it taker",
    ),
    "a taker that waited in a queue": (body("order_filled", fill__queue="5"), "waited behind 5 in a queue"),
    "a taker of an order that must make": (body("order_accepted", post_only=True), "a post-only order took liquidity"),
    "neither maker nor taker": (body("order_filled", fill__liquidity="both"), "its liquidity is both"),
    "a rule that the broker does not have": (
        body("order_filled", fill__rule="guess"), "the paper broker has no rule guess",
    ),
    "a cancel of an order that does not work": (body("cancel_sent", order_id="nobody"), "order nobody does not work"),
    "a cancel of another strategy": (body("cancel_sent", strategy="other"), "its strategy is other"),
    "a cancel that arrives before it is sent": (body("cancel_sent", eligible_ns=1), "it arrives at 1, and was sent"),
    "an amendment that arrives before it is sent": (body("amend_sent", eligible_ns=1), "it arrives at 1, and was sent"),
    "an amendment sent after an order that does not work": (
        body("amend_sent", request__order_id="nobody"), "order nobody does not work",
    ),
    "a fill after a cancel took effect": (cancel_of_what_fills, "its cancel took effect at"),
    "a rejected end after a partial fill": (rejected_in_part, "cannot become rejected: it is partially_filled"),
    "refusals leave an amendment out": (body("run_ended", totals__refusals=0), "refusals is 0, it should be 1"),
    "a refusal is missing": (without("amend_refused"), "refusals is 1, it should be 0"),
    "amendments are counted wrong": (body("run_ended", totals__amended=0), "amended is 0, it should be 1"),
    "refused amendments are counted wrong": (
        body("run_ended", totals__amendments_refused=0), "amendments_refused is 0, it should be 1",
    ),
    "an order that expired before it filled": (
        bought_with(time_in_force="gtd", expires_ns=1_704_067_500_000_000_000), "the order was good till 17040675",
    ),
    "an immediate order that rested": (bought_with(time_in_force="ioc"), "an ioc order does not rest"),
    "an immediate order that filled twice": (bought_with(time_in_force="ioc"), "an ioc order fills again, after input"),
    "an order that fills whole or not, in part": (
        bought_with(time_in_force="fok"), "a fok order filled in part: ",
    ),
    "two of one group that both fill whole": (
        lambda rows: [row["body"].update(group="planner/oco") for row in rows if row["kind"] == "order_accepted"],
        "another of its group filled 3.000, and it is no smaller",
    ),
    "an end is missing": (without("order_ended"), "has no end"),
    "an end is counted otherwise": (body("order_ended", outcome="expired"), "expired is 0, it should be 1"),
}  # fmt: skip


@pytest.mark.behaviour("J7", "O13", "O16")
def test_a_wrong_journal_of_stops_brackets_amendments_and_cancels_is_rejected_with_the_row(
    lab: Any, planned: Path
) -> None:
    rows = rows_of(planned)
    kinds = {row["kind"] for row in rows}
    assert {"order_triggered", "order_amended", "amend_sent", "amend_refused", "cancel_sent", "order_ended"} <= kinds
    result = lab("audit")
    assert (result.code, result.err) == (0, ""), result.out
    assert not missed(lab, planned, WRONG_ORDERS)


@pytest.mark.behaviour("J7", "J4")
def test_a_run_of_stops_brackets_amendments_and_cancels_proves_itself(lab: Any, planned: Path) -> None:
    assert lab("verify").code == 0


@pytest.mark.behaviour("J7", "O16")
def test_an_amendment_that_arrives_at_once_was_asked_for_too(lab: Any, site: Any) -> None:
    path = carry_out(lab, site, "--set", "paper.latency_ms=0", "--set", "paper.jitter_ms=0")
    rows = rows_of(path)
    sent, amended = nth(rows, "amend_sent"), nth(rows, "order_amended")
    assert (sent["body"]["eligible_ns"], amended["seq"]) == (amended["time_ns"], sent["seq"] + 1)
    assert lab("audit").code == 0
    wrong: Wrongs = {"it was not": (without("amend_sent"), "asked for was nothing")}
    assert not missed(lab, path, wrong)


CLOCKWORK = """
from attrs import define, field
from decimal import Decimal
from lab import AmendRequest, CancelRequest, OrderRequest, OrderType, Strategy, hookimpl

@define(kw_only=True)
class Clockwork(Strategy):
    "Decides in the middle of candles."
    timer_ns = 45_000_000_000
    _seen: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        return []

    def on_timer(self, now_ns, view):
        self._seen += 1
        symbol, (d, seen) = view.symbols[0], (Decimal, self._seen)
        held = view.position(symbol).quantity
        orders = view.orders()
        if seen % 2:
            yield OrderRequest.sell(symbol, held) if held else OrderRequest.buy(symbol, d(1))
        for order in [one for one in orders if one.limit == d(20)]:
            yield CancelRequest(order.id)
        for order in [one for one in orders if one.limit == d(10)]:
            yield AmendRequest(order.id, limit=d(20))
        if seen % 5 == 1:
            yield OrderRequest.buy(symbol, d(1), type=OrderType.LIMIT, limit=d(10))

@hookimpl
def lab_strategies():
    return {"planner": Clockwork}
"""


@pytest.mark.behaviour("J7")
def test_orders_cancels_and_amendments_that_a_timer_decides_inside_a_candle_are_sound(lab: Any, site: Any) -> None:
    path = carry_out(lab, site, code=CLOCKWORK)
    rows = rows_of(path)
    decided = {row["body"]["order_id"]: row["input_n"] for row in rows if row["kind"] == "order_accepted"}
    filled = [(row["body"]["fill"]["order_id"], row["input_n"]) for row in rows if row["kind"] == "order_filled"]
    assert any(decided[oid] == input_n for oid, input_n in filled)
    assert {"amend_sent", "cancel_sent"} <= {row["kind"] for row in rows}
    result = lab("audit")
    assert result.code == 0, result.out


FLOWS = {
    "candles": ("btcusd-1m",),
    "candles, no latency": ("btcusd-1m", "--latency-ms", "0"),
    "depth": ("--provider", "market", "--set", "flow.every=8", "--set", "flow.coins=3"),
}


@pytest.mark.behaviour("J7", "O13", "O16")
@pytest.mark.parametrize("name", FLOWS)
def test_orders_of_every_type_amended_and_taken_back_at_random_are_sound(lab: Any, site: Any, name: str) -> None:
    site.install("their_flow", FLOW)
    site.install("their_market", MARKET)
    plain = ("--strategy", "flow", "--gate", "none", "--reporter", "none", "--equity", "1000000")
    assert lab("backtest", *FLOWS[name], *plain).code == 0
    assert lab.run().report()["amended"] > 100
    result = lab("audit")
    assert result.code == 0, result.out
