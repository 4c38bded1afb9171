"""Brackets and groups on quotes: children sleep, wake for what their entry filled, and cancel each other."""

import pytest
from lab import Ended, Fill
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace
from paper import BUY, SELL, D, at, broker, order, quote, seen, send, timer, trade, works


def bracket(paper: PaperBroker, quantity: str = "1", **entry: object) -> None:
    """Submit an entry that buys, with a stop at 95 and a target at 105."""
    send(
        paper,
        order(BUY, quantity, oid="e", **entry),  # type: ignore[arg-type]
        order(SELL, quantity, oid="stop", stop="95", parent="e", group="e", reduce_only=True),
        order(SELL, quantity, oid="target", limit="105", parent="e", group="e", reduce_only=True),
    )


@pytest.mark.behaviour("O6", "O7")
def test_children_sleep_until_their_entry_fills_and_do_not_meet_the_event_that_filled_it() -> None:
    paper = broker()
    bracket(paper, limit="99")
    assert paper.observe(quote(250, 110.0, 110.1)) == []  # beyond the target
    assert paper.observe(trade(260, 110.0, 50.0, BUY)) == []
    assert seen(paper, quote(300, 90.0, 90.1)) == ["e fill 1 @ 99"]  # the stop's level is passed, but it slept
    assert seen(paper, quote(350, 94.0, 94.1)) == ["stop triggered", "stop fill 1 @ 94", "target cancelled"]
    assert not paper._desk.working.orders  # noqa: SLF001 - nothing may be kept


def test_a_target_that_fills_cancels_the_stop_and_names_the_reason() -> None:
    paper = broker()
    bracket(paper)
    assert seen(paper, quote(250)) == ["e fill 1 @ 100.1"]
    paper.observe(quote(300, 104.0, 104.1))
    fill, ended = paper.observe(quote(350, 105.0, 105.1))
    assert isinstance(fill, Fill)
    assert (fill.price, fill.liquidity) == (D(105), "maker")
    assert ended == Ended("stop", "cancelled", "target of its group filled")


def test_a_target_that_is_marketable_when_it_wakes_takes() -> None:
    paper = broker()
    bracket(paper)
    paper.observe(quote(250))
    (fill, _) = paper.observe(quote(300, 106.0, 106.1))
    assert isinstance(fill, Fill)
    assert (fill.price, fill.liquidity) == (D(106), "taker")


def test_an_entry_that_met_the_book_of_its_arrival_has_its_children_meet_the_quote_after_it() -> None:
    paper = broker()
    bracket(paper)
    assert paper.observe(quote(150)) == []
    found = seen(paper, quote(300, 94.0, 94.1))
    assert found == ["e fill 1 @ 100.1", "stop triggered", "stop fill 1 @ 94", "target cancelled"]


@pytest.mark.behaviour("O5", "O6")
def test_children_work_for_what_filled_of_their_entry_and_grow_with_it() -> None:
    paper = broker()
    bracket(paper, "5")
    assert seen(paper, quote(250, ask_size=2.0)) == ["e fill 2 @ 100.1"]
    # The stop guards the 2 while the entry goes on: it gets 1, and 5 - 1 are left for the target in all.
    assert seen(paper, quote(300, 94.0, 100.2, 1.0, 0.5)) == [
        "e fill 0.5 @ 100.2", "stop triggered", "stop fill 1 @ 94", "target amended 4",
    ]  # fmt: skip
    # 1 + 1.5 more: what is bought and not sold
    assert seen(paper, quote(350, 93.0, 120.0, 50.0, 1.0)) == [
        "e fill 1 @ 120", "stop fill 2.5 @ 93", "target amended 1.5",
    ]  # fmt: skip
    # Nothing was left to guard: the stop wakes again for the last 1.5.
    assert seen(paper, quote(400, 93.0, 120.0, 50.0, 9.0)) == ["e fill 1.5 @ 120"]
    assert seen(paper, quote(450, 92.0, 120.0)) == ["stop fill 1.5 @ 92", "target cancelled"]


def test_where_an_entry_ends_unfilled_its_children_end_with_it() -> None:
    paper = broker(cancel_latency_ms=100)
    bracket(paper, limit="99")
    paper.observe(quote(250))
    paper.cancel("e", at(300))
    assert seen(paper, timer(500)) == ["e cancelled"]  # who gave the children knows what that means for them
    assert not paper._desk.working.orders  # noqa: SLF001
    at_once = broker()
    bracket(at_once, limit="99")
    at_once.observe(quote(250))
    at_once.cancel("e", at(300))
    assert at_once.observe(timer(301)) == []
    assert not at_once._desk.working.orders  # noqa: SLF001


def test_where_an_entry_ends_in_part_its_children_work_for_that_part_and_end_with_it() -> None:
    paper = broker()
    bracket(paper, "5")
    paper.observe(quote(250, ask_size=2.0))
    paper.cancel("e", at(300))
    assert paper.observe(timer(301)) == []  # who gave the order knows it
    assert seen(paper, quote(350, 94.0, 94.1)) == ["stop triggered", "stop fill 2 @ 94", "target cancelled"]
    assert not paper._desk.working.orders  # noqa: SLF001


def test_where_an_entry_ends_after_its_children_filled_a_part_they_guard_the_rest() -> None:
    paper = broker()
    bracket(paper, "5")
    paper.observe(quote(250, ask_size=2.0))
    assert seen(paper, quote(300, 105.0, 130.0, 0.5, 0.00001)) == ["target fill 0.5 @ 105", "stop amended 4.5"]
    paper.cancel("e", at(310))
    assert paper.observe(timer(320)) == []  # 2 were bought and 0.5 sold: both guard 1.5 now
    assert seen(paper, quote(330, 105.0, 130.0, 2.0, 0.00001)) == ["target fill 1.5 @ 105", "stop cancelled"]
    assert not paper._desk.working.orders  # noqa: SLF001


def test_a_child_that_filled_all_that_its_entry_ever_will_ends_with_the_entry() -> None:
    paper = broker()
    bracket(paper, "5")
    paper.observe(quote(250, ask_size=2.0))
    assert seen(paper, quote(300, 105.0, 130.0, 9.0, 0.00001)) == ["target fill 2 @ 105", "stop amended 3"]
    paper.cancel("e", at(310))
    assert paper.observe(timer(320)) == []
    assert not paper._desk.working.orders  # noqa: SLF001


def test_a_lone_child_needs_no_group() -> None:
    paper = broker()
    send(paper, order(oid="e"), order(SELL, oid="stop", stop="95", parent="e", reduce_only=True))
    paper.observe(quote(250))
    assert seen(paper, quote(300, 94.0, 94.1)) == ["stop triggered", "stop fill 1 @ 94"]


def test_a_child_amended_in_its_sleep_neither_wakes_nor_fills_more_than_its_entry() -> None:
    paper = broker()
    stop = order(SELL, "2", oid="stop", stop="95", parent="e", reduce_only=True)
    send(paper, order(BUY, "2", oid="e", limit="99"), stop)
    paper.observe(quote(250))
    paper.amend(replace(stop, stop=D(96)), at(260))
    assert paper.observe(quote(300, 90.0, 99.5)) == []
    assert seen(paper, quote(350, 97.0, 98.9)) == ["e fill 2 @ 99"]
    assert seen(paper, quote(400, 95.9, 98.9)) == ["stop triggered", "stop fill 2 @ 95.9"]
    assert not works(paper, "stop")


def test_children_become_larger_and_smaller_with_an_entry_that_is_amended() -> None:
    for latency_ms in (0, 100):
        for quantity in ("3", "1"):
            paper = broker(cancel_latency_ms=latency_ms)
            entry = order(BUY, "2", oid="e", limit="99")
            stop = order(SELL, "2", oid="stop", stop="95", parent="e", reduce_only=True)
            send(paper, entry, stop)
            paper.observe(quote(250))
            paper.amend(replace(entry, quantity=D(quantity)), at(260))
            assert seen(paper, quote(400, 97.0, 98.9, 9.0, 9.0))[-1] == f"e fill {quantity} @ 99"
            assert seen(paper, quote(450, 94.0, 98.9, 9.0))[-1] == f"stop fill {quantity} @ 94"
            assert not works(paper, "stop")


# -- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O6")
def test_orders_that_may_open_cancel_each_other_at_the_first_fill() -> None:
    paper = broker()
    send(paper, order(BUY, "5", oid="a", limit="99", group="g"), order(SELL, "5", oid="b", limit="101", group="g"))
    paper.observe(quote(250))
    assert seen(paper, quote(300, 98.0, 99.0, 1.0, 2.0)) == ["a fill 2 @ 99", "b cancelled"]
    assert seen(paper, quote(350, 98.0, 98.9)) == ["a fill 3 @ 99"]


def test_of_orders_that_only_reduce_what_one_filled_is_taken_from_the_others_and_never_more_in_sum() -> None:
    paper = broker()
    names = ("a", "b", "c")
    for number, oid in enumerate(names):
        send(paper, order(SELL, "3", oid=oid, limit=str(101 + number), group="g", reduce_only=True))
    paper.observe(quote(250))
    assert seen(paper, quote(300, 101.0, 101.1, 1.0)) == ["a fill 1 @ 101", "b amended 2", "c amended 2"]
    reports = seen(paper, quote(350, 103.0, 103.1, 2.5))
    assert reports == ["a fill 2 @ 101", "b cancelled", "c cancelled"]
    assert not paper._desk.working.orders  # noqa: SLF001


def test_a_trade_that_fills_one_of_a_group_leaves_nothing_to_the_others() -> None:
    paper = broker()
    send(paper, *(order(BUY, oid=oid, limit="100", group="g") for oid in ("a", "b")))
    paper.observe(quote(250, 99.0, 101.0))
    assert seen(paper, trade(300, 99.9, 5.0)) == ["a fill 1 @ 100", "b cancelled"]


def test_an_order_of_a_group_that_ends_by_itself_leaves_the_others_alone() -> None:
    paper = broker()
    send(paper, order(oid="a", limit="99", group="g"), order(SELL, oid="b", limit="101", group="g"))
    paper.observe(quote(250))
    paper.cancel("a", at(300))
    assert seen(paper, quote(350, 101.0, 101.1)) == ["b fill 1 @ 101"]
    assert paper._desk.working.families._groups == {}  # noqa: SLF001 - memory is not seen from outside


def test_an_amendment_on_its_way_gives_an_order_nothing_back_of_what_its_group_took() -> None:
    paper = broker(cancel_latency_ms=100)
    stop = order(SELL, "4", oid="stop", stop="95", group="g", reduce_only=True)
    send(paper, stop, order(SELL, "4", oid="target", limit="105", group="g", reduce_only=True))
    paper.observe(quote(250))
    assert seen(paper, quote(260, 105.0, 105.1, 1.0)) == ["target fill 1 @ 105", "stop amended 3"]
    paper.amend(replace(stop, quantity=D(3), stop=D(96)), at(300))
    assert seen(paper, quote(350, 105.1, 105.2, 2.0)) == ["target fill 2 @ 105", "stop amended 1"]
    assert seen(paper, timer(450)) == ["stop amended 1"]
    assert seen(paper, quote(500, 95.9, 96.0)) == ["stop triggered", "stop fill 1 @ 95.9", "target cancelled"]


def test_an_amendment_to_what_the_group_has_taken_meanwhile_cancels() -> None:
    paper = broker(cancel_latency_ms=100)
    stop = order(SELL, "4", oid="stop", stop="95", group="g", reduce_only=True)
    send(paper, stop, order(SELL, "4", oid="target", limit="105", group="g", reduce_only=True))
    paper.observe(quote(250))
    paper.amend(replace(stop, quantity=D(2)), at(300))
    paper.observe(quote(350, 105.0, 105.1, 3.0))
    assert seen(paper, timer(450)) == ["stop cancelled"]


def test_children_of_an_entry_that_its_group_cancels_end_with_it() -> None:
    paper = broker()
    send(
        paper,
        order(oid="a", limit="99", group="g"),
        order(SELL, oid="a/stop", stop="90", parent="a", group="a"),
        order(SELL, oid="b", limit="101", group="g"),
    )
    paper.observe(quote(250))
    assert seen(paper, quote(300, 101.0, 101.1)) == ["b fill 1 @ 101", "a cancelled"]
    assert not paper._desk.working.orders  # noqa: SLF001


def test_a_child_does_not_meet_the_book_of_its_entrys_arrival_where_that_was_the_first_quote_of_all() -> None:
    paper = broker()
    send(paper, order(oid="e"), order(SELL, oid="stop", stop="105", parent="e", reduce_only=True))
    paper.observe(quote(100))
    assert seen(paper, timer(300)) == ["e fill 1 @ 100.1"]
    assert seen(paper, quote(400, 99.0, 99.1)) == ["stop triggered", "stop fill 1 @ 99"]


def test_a_child_amended_as_its_entry_fills_does_not_meet_the_book_that_filled_it() -> None:
    paper = broker()
    stop = order(SELL, oid="stop", stop="95", parent="e", reduce_only=True)
    send(paper, order(oid="e"), stop)
    paper.observe(quote(100))
    paper.amend(replace(stop, stop=D(105)), at(150))  # both arrive at 200
    assert seen(paper, timer(300)) == ["e fill 1 @ 100.1", "stop amended 1"]
    assert seen(paper, quote(400, 99.0, 99.1)) == ["stop triggered", "stop fill 1 @ 99"]
