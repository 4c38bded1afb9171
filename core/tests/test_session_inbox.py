"""The inbox of a live session: what replaces what, what is counted, and how old the price is."""

from typing import Any

import pytest
from attrs import define
from lab import BACKFILLED, Backfill, Candle, Depth, Funding, Notice, Quote, Side, Trade
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.live.inbox import Inbox
from lab.ports import FeedState
from lab.testing import START_NS

QUOTE = Quote("BTCUSDT", START_NS, 49_999.9, 1.0, 50_000.1, 2.0)
TRADE = Trade("BTCUSDT", START_NS, 50_000.0, 0.1, Side.BUY)
DEPTH = Depth("BTCUSDT", START_NS, ((10.0, 1.0),), ((11.0, 1.0),))
CANDLE = Candle("BTCUSDT", START_NS - MINUTE_NS, START_NS, 1.0, 2.0, 0.5, 1.5, 3.0)
FUNDING = Funding("BTCUSDT", START_NS, 0.0001, START_NS + 10, 50_000.0)


@define
class Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return START_NS + int(self.now * SECOND_NS)


def inbox(clock: Clock) -> Inbox:
    return Inbox(["BTCUSDT", "ETHUSDT"], MINUTE_NS, clock)


def events(made: Inbox) -> list[Any]:
    return [event for event in made.take() if not isinstance(event, Notice)]


@pytest.mark.behaviour("F4")
def test_quotes_and_depth_conflate_by_symbol_and_nothing_else_is_ever_dropped() -> None:
    made = inbox(Clock())
    newer = QUOTE._replace(time_ns=START_NS + 1)
    other = QUOTE._replace(symbol="ETHUSDT")
    for event in (QUOTE, TRADE, DEPTH, CANDLE, newer, TRADE, other, FUNDING, DEPTH, CANDLE):
        made.put(event)
    assert made.conflated == 2
    assert events(made) == [TRADE, CANDLE, TRADE, FUNDING, CANDLE, newer, DEPTH, other]
    assert events(made) == []


@pytest.mark.behaviour("F4")
def test_only_what_a_newer_one_replaced_counts_as_conflated() -> None:
    made = inbox(Clock())
    for event in (QUOTE._replace(bid=9e9), QUOTE, QUOTE._replace(symbol="X"), QUOTE._replace(bid=float("nan"))):
        made.put(event)
    assert (made.conflated, made.malformed_count) == (0, 3)
    assert events(made) == [QUOTE]


def test_a_quote_older_than_the_one_that_waits_does_not_replace_it() -> None:
    made = inbox(Clock())
    newer = QUOTE._replace(time_ns=START_NS + SECOND_NS, bid=49_000.0)
    made.put(newer)
    made.put(QUOTE)
    assert made.conflated == 1
    assert events(made) == [newer]


def test_a_quote_that_came_late_is_as_old_as_its_stamp_says() -> None:
    clock = Clock()
    made = inbox(clock)
    made.put(QUOTE)
    clock.now = 30.0
    made.put(QUOTE._replace(time_ns=START_NS + 10 * SECOND_NS))
    assert made.quote_at["BTCUSDT"] == 10.0, "twenty seconds old when it came"
    made.put(QUOTE._replace(time_ns=START_NS + 30 * SECOND_NS))
    assert made.quote_at["BTCUSDT"] == 30.0


def test_a_quote_older_than_the_one_before_it_makes_no_price_fresh() -> None:
    clock = Clock()
    made = inbox(clock)
    made.put(QUOTE)
    clock.now = 2.0
    made.put(QUOTE._replace(time_ns=START_NS - 1))
    assert made.quote_at["BTCUSDT"] == 0.0


def test_history_comes_in_as_one_input_of_its_sound_candles() -> None:
    made = inbox(Clock())
    past = [
        CANDLE._replace(open_ns=START_NS - n * MINUTE_NS, time_ns=START_NS - (n - 1) * MINUTE_NS, status=BACKFILLED)
        for n in (4, 3, 2, 1)
    ]
    rotten = past[1]._replace(close=None)  # type: ignore[arg-type]
    assert made.backfill("BTCUSDT", [past[0], rotten, *past[2:]]) == [past[0], *past[2:]]
    assert events(made) == [Backfill("BTCUSDT", START_NS, (past[0], *past[2:]))]
    assert made.malformed_count == 1
    assert made.backfill("BTCUSDT", []) == []
    assert events(made) == []


def test_the_streams_own_candles_are_no_history_even_while_they_wait_for_a_second_stamp() -> None:
    clock = Clock(now=1e6)
    made = Inbox(["BTCUSDT"], MINUTE_NS, clock)
    made.put(CANDLE)  # eleven days before what the machine says
    assert events(made) == []
    past = [CANDLE._replace(open_ns=CANDLE.open_ns - n * MINUTE_NS) for n in (2, 1, 0)]
    assert made.history_of("BTCUSDT", past) == past[:2]
    made.end()
    assert events(made) == [CANDLE]
    assert made.history_of("BTCUSDT", past) == past[:2]
    assert made.state is FeedState.DOWN


@pytest.mark.behaviour("F4")
def test_a_state_that_is_not_journalled_any_more_still_shuts_the_gate() -> None:
    clock = Clock()
    made = inbox(clock)
    for _ in range(100):
        made.feed(FeedState.LIVE, "here")
        made.feed(FeedState.DOWN, "gone")
    assert (made.state, len(made.take())) == (FeedState.DOWN, 40)
    made.tell_left_out()
    assert made.take() == [], "the minute is not over"
    clock.now = 60.0
    made.tell_left_out()
    (notice,) = made.take()
    assert isinstance(notice, Notice)
    assert notice.detail == {"state": "down", "detail": "160 more messages of the feed within a minute"}
