"""Brackets and groups on candles: what comes first inside one candle, and who guards an entry inside it."""

import pytest
from lab import Ended
from lab.ports import Amended
from lab_paper_broker.broker import PaperBroker
from msgspec.structs import replace
from paper import BUY, SELL, at, brief, broker, candle, order, seen, send, works

NARROW = {"high": 101.0, "low": 99.0, "close": 100.0}

# -- one cancels the other inside a candle ---------------------------------------------------------------------------


def guarded(paper: PaperBroker, *, target_first: bool = False) -> None:
    both = [
        order(SELL, oid="stop", stop="95", group="g", reduce_only=True),
        order(SELL, oid="target", limit="105", group="g", reduce_only=True),
    ]
    send(paper, *(reversed(both) if target_first else both))


@pytest.mark.behaviour("O7")
@pytest.mark.parametrize("target_first", [False, True])
def test_inside_one_candle_that_touches_both_the_stop_comes_first(target_first: bool) -> None:
    paper = broker()
    guarded(paper, target_first=target_first)
    assert seen(paper, candle(0)) == ["stop triggered", "stop fill 1 @ 95", "target cancelled"]
    assert not works(paper, "target")


@pytest.mark.parametrize("target_first", [False, True])
def test_where_the_open_is_beyond_the_target_already_the_target_comes_first(target_first: bool) -> None:
    paper = broker()
    guarded(paper, target_first=target_first)
    assert seen(paper, candle(0, opened=106.0)) == ["target fill 1 @ 106", "stop cancelled"]


def test_of_a_short_the_target_below_the_open_comes_first_too() -> None:
    paper = broker()
    send(paper, order(oid="stop", stop="105", group="g"), order(oid="target", limit="95", group="g"))
    assert seen(paper, candle(0, opened=94.0)) == ["target fill 1 @ 94", "stop cancelled"]


def test_an_open_beyond_the_target_says_nothing_where_the_candle_does_not_count_whole() -> None:
    paper = broker()
    guarded(paper, target_first=True)
    assert seen(paper, candle(-1, opened=106.0, close=94.0)) == [
        "stop triggered",
        "stop fill 1 @ 94",
        "target cancelled",
    ]


def test_of_two_stops_of_a_group_the_first_submitted_comes_first() -> None:
    paper = broker()
    send(paper, order(SELL, oid="a", stop="94", group="g"), order(SELL, oid="b", stop="95", group="g"))
    assert seen(paper, candle(0)) == ["a triggered", "a fill 1 @ 94", "b cancelled"]


def test_a_group_that_only_reduces_shares_the_volume_and_the_quantity() -> None:
    paper = broker()
    send(
        paper,
        order(SELL, "4", oid="stop", stop="95", group="g", reduce_only=True),
        order(SELL, "4", oid="target", limit="105", group="g", reduce_only=True),
    )
    reports = paper.observe(candle(0, volume=3.0))
    assert brief(reports) == ["stop triggered", "stop fill 3 @ 95", "target amended 1"]
    assert isinstance(reports[2], Amended)
    assert reports[2].reason == "stop of its group filled 3.0000"
    assert seen(paper, candle(60_000, volume=9.0, low=99.0)) == ["stop fill 1 @ 100", "target cancelled"]


# -- brackets --------------------------------------------------------------------------------------------------------


def bracket(
    fills: str, entry: dict[str, str], stop: str = "95", target: str = "104", **settings: object
) -> PaperBroker:
    """Return a broker with an entry that buys, a stop and a target."""
    paper = broker(fills=fills)
    send(
        paper,
        order(oid="e", **entry),  # type: ignore[arg-type]
        order(SELL, oid="stop", stop=stop, parent="e", group="e", reduce_only=True),
        order(SELL, oid="target", limit=target, parent="e", group="e", reduce_only=True),
    )
    return paper


STOPPED = ["stop triggered", "stop fill 1 @ 95", "target cancelled"]
TARGETED = ["target fill 1 @ 104", "stop cancelled"]


@pytest.mark.parametrize("fills", ["pessimistic", "expected", "optimistic"])
def test_an_entry_at_the_open_is_guarded_by_the_whole_candle(fills: str) -> None:
    paper = bracket(fills, {})
    price = {"pessimistic": "105", "expected": "100", "optimistic": "100"}[fills]
    assert seen(paper, candle(0)) == [f"e fill 1 @ {price}", *STOPPED]
    target = bracket(fills, {})
    assert seen(target, candle(0, low=99.0))[1:] == TARGETED


def test_an_entry_at_the_close_is_guarded_from_the_next_candle_on() -> None:
    paper = bracket("pessimistic", {})
    assert seen(paper, candle(-1)) == ["e fill 1 @ 105"]
    assert seen(paper, candle(60_000, low=94.0, high=101.0, close=101.0)) == STOPPED


@pytest.mark.parametrize(
    ("fills", "close", "expected"),
    [
        # A buy limit at 98 is met by a falling price: the stop at 95 lies on its way, the target behind it.
        ("pessimistic", 100.0, STOPPED),
        ("expected", 100.0, STOPPED),
        ("optimistic", 100.0, STOPPED),
    ],
)
def test_a_limit_entry_inside_a_candle_is_stopped_by_the_price_that_went_on_falling(
    fills: str, close: float, expected: list[str]
) -> None:
    paper = bracket(fills, {"limit": "98"})
    assert seen(paper, candle(0, close=close)) == ["e fill 1 @ 98", *expected]


@pytest.mark.parametrize(
    ("fills", "close", "expected"),
    [
        ("pessimistic", 100.0, []),  # the high may have been before the entry
        ("expected", 100.0, []),
        ("optimistic", 100.0, TARGETED),
        ("pessimistic", 104.0, TARGETED),  # the close lies there: it came after
        ("expected", 104.5, TARGETED),
    ],
)
def test_a_limit_entry_inside_a_candle_meets_its_target_only_where_that_is_certain_or_hoped_for(
    fills: str, close: float, expected: list[str]
) -> None:
    paper = bracket(fills, {"limit": "98"})
    assert seen(paper, candle(0, low=96.0, close=close)) == ["e fill 1 @ 98", *expected]


@pytest.mark.parametrize(
    ("fills", "close", "expected"),
    [
        ("pessimistic", 100.0, STOPPED),  # the low of 90 may have come after the entry at 102
        ("expected", 100.0, []),
        ("optimistic", 100.0, []),
        ("expected", 95.0, STOPPED),  # the close lies there
        ("optimistic", 94.0, STOPPED),
    ],
)
def test_a_stop_entry_inside_a_candle_is_stopped_only_where_that_is_certain_or_feared(
    fills: str, close: float, expected: list[str]
) -> None:
    paper = bracket(fills, {"stop": "102"})
    found = seen(paper, candle(0, high=103.0, close=close))
    assert found == ["e triggered", "e fill 1 @ 102", *expected]


@pytest.mark.parametrize("fills", ["pessimistic", "expected", "optimistic"])
def test_a_stop_entry_inside_a_candle_meets_the_target_that_the_price_went_on_to(fills: str) -> None:
    paper = bracket(fills, {"stop": "102"})
    assert seen(paper, candle(0, low=99.0, close=100.0)) == ["e triggered", "e fill 1 @ 102", *TARGETED]


def test_children_of_an_entry_inside_a_candle_need_more_than_a_touch_of_the_target() -> None:
    paper = bracket("expected", {"stop": "102"}, target="110")
    assert seen(paper, candle(0, low=99.0, close=100.0)) == ["e triggered", "e fill 1 @ 102"]
    far = bracket("optimistic", {"stop": "102"}, target="111", stop="80")
    assert seen(far, candle(0, close=100.0)) == ["e triggered", "e fill 1 @ 102"]


@pytest.mark.behaviour("O5")
def test_children_of_an_entry_that_filled_in_part_work_for_that_part_and_grow_with_it() -> None:
    paper = broker()
    send(
        paper,
        order(quantity="5", oid="e"),
        order(SELL, "5", oid="stop", stop="95", parent="e", group="e", reduce_only=True),
        order(SELL, "5", oid="target", limit="104", parent="e", group="e", reduce_only=True),
    )
    assert seen(paper, candle(0, volume=3.0, **NARROW)) == ["e fill 3 @ 100"]
    # 2 more at the open of the second candle leave 7 of its volume: the stop gets all 5.
    reports = paper.observe(candle(60_000, volume=9.0))
    assert brief(reports) == ["e fill 2 @ 100", "stop triggered", "stop fill 5 @ 95", "target cancelled"]
    assert isinstance(reports[-1], Ended)


def test_a_child_takes_no_more_than_the_entry_left_of_the_volume() -> None:
    paper = broker()
    send(
        paper,
        order(quantity="5", oid="e"),
        order(SELL, "5", oid="stop", stop="95", parent="e", group="e", reduce_only=True),
    )
    assert seen(paper, candle(0, volume=6.0)) == ["e fill 5 @ 100", "stop triggered", "stop fill 1 @ 95"]
    assert seen(paper, candle(60_000, opened=93.0)) == ["stop fill 4 @ 93"]


def test_a_marketable_target_of_an_entry_inside_the_candle_does_not_fill_at_its_open() -> None:
    paper = bracket("expected", {"limit": "98"}, target="99")
    assert seen(paper, candle(0, low=97.0, close=98.0)) == ["e fill 1 @ 98"]
    assert seen(paper, candle(60_000, low=97.0, close=98.0)) == ["target fill 1 @ 99", "stop cancelled"]


def test_a_target_that_an_entry_at_the_open_leaves_behind_comes_before_the_stop() -> None:
    paper = bracket("expected", {}, target="99")
    assert seen(paper, candle(0)) == ["e fill 1 @ 100", "target fill 1 @ 100", "stop cancelled"]


def test_a_stop_that_was_passed_before_its_entry_filled_inside_the_candle_fills_at_the_close() -> None:
    paper = broker()
    send(paper, order(oid="e", stop="102"), order(SELL, oid="stop", stop="112", parent="e", reduce_only=True))
    expected = ["e triggered", "e fill 1 @ 102", "stop triggered", "stop fill 1 @ 104"]
    assert seen(paper, candle(0, close=104.0)) == expected


def test_of_a_group_a_market_order_comes_before_a_stop_whichever_side_it_is_on() -> None:
    for side, stop in ((BUY, "105"), (SELL, "95")):
        paper = broker()
        send(paper, order(side, oid="stop", stop=stop, group="g"), order(side, oid="now", group="g"))
        assert seen(paper, candle(0, 100.0, 110.0, 90.0, 100.0)) == ["now fill 1 @ 100", "stop cancelled"]


@pytest.mark.behaviour("O3", "O7")
@pytest.mark.parametrize(
    ("opened", "expected"),
    [
        (100.0, ["exit fill 1 @ 100", "stop cancelled"]),
        (94.0, ["stop triggered", "stop fill 1 @ 94", "exit cancelled"]),
    ],
)
def test_an_exit_that_meets_the_open_comes_before_a_stop_that_the_candle_reached_later(
    opened: float, expected: list[str]
) -> None:
    paper = broker()
    stop = order(SELL, oid="stop", stop="95", parent="e", reduce_only=True)
    send(paper, order(oid="e"), stop)
    assert seen(paper, candle(0, low=96.0)) == ["e fill 1 @ 100"]
    send(paper, replace(order(SELL, oid="exit", reduce_only=True), placed_ns=at(60_000)), at_ms=60_000)
    assert seen(paper, candle(60_000, opened=opened)) == expected
