"""Reduce-only orders take no more from the market than their position has, and end with it."""

import pytest
from lab import Ended
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace
from paper import BUY, SELL, at, broker, candle, order, quote, seen, send, trade, works


def holding(quantity: str = "1", **settings: object) -> PaperBroker:
    """Return a broker whose strategy bought."""
    paper = broker(**settings)
    send(paper, order(BUY, quantity, oid="entry"))
    assert seen(paper, quote(250)) == [f"entry fill {quantity} @ 100.1"]
    return paper


@pytest.mark.behaviour("O2", "O6")
def test_what_a_second_exit_cannot_reduce_any_more_is_left_for_the_others() -> None:
    paper = holding()
    other = replace(order(SELL, "10", oid="other", stop="99"), strategy="other")
    for one in ("x-1", "x-2"):
        send(paper, order(SELL, "1", oid=one, stop="99", reduce_only=True), at_ms=260)
    send(paper, other, at_ms=260)
    assert seen(paper, quote(500, 98.5, 98.6, bid_size=5.0)) == [
        "x-1 triggered", "x-1 fill 1 @ 98.5", "x-2 cancelled", "other triggered",
        "other fill 4 @ 98.5",
    ]  # fmt: skip


def test_an_exit_that_is_larger_than_its_position_fills_for_that_and_ends() -> None:
    paper = holding()
    send(paper, order(SELL, "3", oid="x", reduce_only=True), at_ms=260)
    reports = paper.observe(quote(500))
    assert reports[1:] == [Ended("x", "cancelled", "nothing left to reduce")]
    assert not works(paper, "x")
    send(paper, order(SELL, "2", oid="later"), at_ms=510)
    assert seen(paper, quote(800, bid_size=9.0)) == ["later fill 2 @ 100"]


@pytest.mark.parametrize("kind", ["ioc", "fok"])
def test_an_exit_at_once_is_whole_when_it_closes_its_position(kind: str) -> None:
    paper = holding()
    send(paper, order(SELL, "3", oid="x", limit="99", reduce_only=True, time_in_force=kind), at_ms=260)
    assert seen(paper, quote(500, bid_size=1.0)) == ["x fill 1 @ 100", "x cancelled"]


def test_of_a_group_that_closed_its_position_nothing_goes_on() -> None:
    paper = holding()
    for oid, price in (("low", {"stop": "95"}), ("high", {"limit": "105"})):
        send(paper, order(SELL, "2", oid=oid, group="g", reduce_only=True, **price), at_ms=260)  # type: ignore[arg-type]
    assert seen(paper, quote(500, 94.0, 94.1)) == [
        "low triggered",
        "low fill 1 @ 94",
        "high cancelled",
        "low cancelled",
    ]


def test_an_exit_that_arrives_after_its_position_was_turned_ends() -> None:
    paper = holding()
    send(paper, order(SELL, "3", oid="turn"), order(SELL, "1", oid="x", reduce_only=True), at_ms=260)
    assert seen(paper, quote(500)) == ["turn fill 3 @ 100", "x cancelled"]
    send(paper, order(BUY, "5", oid="y", reduce_only=True), at_ms=510)
    assert seen(paper, quote(800)) == ["y fill 2 @ 100.1", "y cancelled"]


def test_an_exit_does_not_reduce_what_was_bought_anew_on_the_event_that_closed_its_position() -> None:
    """The engine ended it when the position was closed, before it knew of the second entry."""
    paper = holding()
    sent = (order(SELL, oid="close"), order(BUY, oid="again"), order(SELL, oid="x", reduce_only=True))
    send(paper, *sent, at_ms=260)
    assert seen(paper, quote(500)) == ["close fill 1 @ 100", "again fill 1 @ 100.1", "x cancelled"]
    send(paper, order(SELL, oid="next", reduce_only=True), at_ms=510)
    assert seen(paper, quote(800)) == ["next fill 1 @ 100"]


def test_trades_and_candles_leave_what_a_reduce_only_order_cannot_fill() -> None:
    paper = holding()
    for one, quantity in (("x-1", "4"), ("x-2", "4")):
        send(paper, order(SELL, quantity, oid=one, limit="101", reduce_only=True), at_ms=260)
    send(paper, replace(order(SELL, "9", oid="other", limit="101"), strategy="other"), at_ms=260)
    assert seen(paper, quote(500)) == []
    assert seen(paper, trade(510, 101.5, 3.0, BUY)) == [
        "x-1 fill 1 @ 101",
        "x-1 cancelled",
        "x-2 cancelled",
        "other fill 2 @ 101",
    ]

    paper = broker()
    send(paper, order(BUY, "1", oid="entry"))
    assert seen(paper, candle(0)) == ["entry fill 1 @ 100"]
    send(
        paper,
        order(SELL, "4", oid="x-1", reduce_only=True),
        order(SELL, "4", oid="x-2", reduce_only=True),
        at_ms=60_000,
    )
    send(paper, replace(order(SELL, "9", oid="other"), strategy="other"), at_ms=60_000)
    assert seen(paper, candle(60_000, volume=3.0)) == [
        "x-1 fill 1 @ 105", "x-1 cancelled", "x-2 cancelled", "other fill 2 @ 105",
    ]  # fmt: skip


def test_a_guard_with_nothing_to_reduce_waits_while_its_entry_goes_on_filling() -> None:
    paper = broker()
    send(paper, order(BUY, "5", oid="e", limit="100.1"))
    send(paper, order(SELL, "5", oid="stop", stop="99", parent="e", group="e", reduce_only=True))
    assert seen(paper, quote(250, ask_size=2.0)) == ["e fill 2 @ 100.1"]
    send(paper, order(SELL, "2", oid="close"), at_ms=260)
    assert seen(paper, quote(500, 99.5, 100.5)) == ["close fill 2 @ 100"]
    assert seen(paper, quote(600, 98.9, 100.5)) == []  # its level is reached, and nothing is held
    assert works(paper, "stop")
    assert seen(paper, quote(700, 99.5, 100.0, ask_size=1.0)) == ["e fill 1 @ 100.1"]
    assert seen(paper, quote(800, 98.8, 100.5)) == ["stop triggered", "stop fill 1 @ 98.8"]


@pytest.mark.behaviour("O6", "O7")
def test_stop_and_target_of_an_entry_work_in_the_candle_whose_open_also_closed_the_position_before() -> None:
    """A crossing leaves and enters at one open: what guards the new position is not idle because the old one ended."""
    paper = broker()
    send(paper, order(BUY, oid="entry"))
    assert seen(paper, candle(0)) == ["entry fill 1 @ 100"]
    guards = {"reduce_only": True, "parent": "turned", "group": "turned"}
    sent = (
        order(SELL, oid="exit", reduce_only=True), order(SELL, oid="turned"),
        order(BUY, oid="stop", stop="108", **guards), order(BUY, oid="target", limit="80", **guards),  # type: ignore[arg-type]
    )  # fmt: skip
    send(paper, *(replace(one, placed_ns=at(60_000)) for one in sent), at_ms=60_000)
    assert seen(paper, candle(60_000)) == [
        "exit fill 1 @ 100", "turned fill 1 @ 100", "stop triggered", "stop fill 1 @ 108", "target cancelled",
    ]  # fmt: skip
