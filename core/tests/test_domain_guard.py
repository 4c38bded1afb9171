"""The guard in front of the engine: what it lets in, what it holds out and why, and whose clock it believes."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from lab import BACKFILLED, Candle, Depth, Funding, Quote, Side, Trade
from lab.domain.batches import CandleColumns, CheckedBatch
from lab.domain.control import ClockStepped
from lab.domain.guard import InputGuard
from lab.domain.live_guard import Judged, LiveGuard
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time
from lab.domain.venue_clock import VenueClock
from lab.testing import START_NS

FAR_NS = parse_time("2063-04-05")
QUOTE = Quote("BTCUSDT", START_NS, 49_999.9, 1.0, 50_000.1, 2.0)
CANDLE = Candle("BTCUSDT", START_NS, START_NS + MINUTE_NS, 1.0, 2.0, 0.5, 1.5, 3.0)
TRADE = Trade("BTCUSDT", START_NS, 50_000.0, 0.1, Side.BUY)
DEPTH = Depth("BTCUSDT", START_NS, ((10.0, 1.0), (9.0, 2.0)), ((11.0, 1.0), (12.0, 3.0)))
FUNDING = Funding("BTCUSDT", START_NS, 0.0001, START_NS + 10, 50_000.0)


class Subclassed(Quote):
    """Another class, though it looks like a quote."""


MALFORMED: list[tuple[Any, str]] = [
    (QUOTE._replace(bid=50_000), "figures (50000, 1.0, 50000.1, 2.0) are not all float"),
    (QUOTE._replace(ask=Decimal("50000.1")), "are not all float"),
    (QUOTE._replace(ask_size=True), "are not all float"),
    (QUOTE._replace(bid=float("nan")), "not prices"),
    (QUOTE._replace(bid=float("inf")), "not prices"),
    (QUOTE._replace(bid=1e-19), "not prices"),
    (TRADE._replace(price=1e-300), "is not a price"),
    (DEPTH._replace(bids=((1e-80, 1.0),)), "is not a price and a size"),
    (CANDLE._replace(open=5e-324), "is not a price"),
    (FUNDING._replace(mark=1e-300), "is not a price"),
    (QUOTE._replace(bid=50_001.0), "bid 50001.0 above ask 50000.1"),
    (QUOTE._replace(time_ns=1.7e18), "is no time in nanoseconds"),
    (QUOTE._replace(time_ns=None), "is no time in nanoseconds"),
    (QUOTE._replace(time_ns=-1), "is no time in nanoseconds"),
    (QUOTE._replace(time_ns=True), "is no time in nanoseconds"),
    (CANDLE._replace(close=None), "are not all float"),
    (CANDLE._replace(close=9.0), "close 9.0 outside [0.5, 2.0]"),
    (CANDLE._replace(status="closed"), "status 'closed' is unknown"),
    (CANDLE._replace(status=[]), "unhashable type"),
    (CANDLE._replace(open_ns="2024"), "not times in nanoseconds"),
    (CANDLE._replace(time_ns=START_NS + 1), "before its bucket ended"),
    (CANDLE._replace(open_ns=START_NS - 1), "is not on the grid"),
    (TRADE._replace(side="buy"), "side 'buy' is no Side"),
    (TRADE._replace(price=0.0), "price 0.0 is not a price"),
    (TRADE._replace(size=1), "are not all float"),
    (DEPTH._replace(bids=[(10.0, 1.0)]), "levels are a list, not a tuple"),
    (DEPTH._replace(bids=((10.0,),)), "is no (price, size) of two floats"),
    (DEPTH._replace(asks=((11.0, "1"),)), "is no (price, size) of two floats"),
    (DEPTH._replace(asks=((9.0, 1.0),)), "depth: "),
    (FUNDING._replace(rate=float("nan")), "rate nan is no fraction"),
    (FUNDING._replace(mark=None), "not float"),
    (FUNDING._replace(mark=-1.0), "mark -1.0 is not a price"),
    (FUNDING._replace(next_ns=None), "not times in nanoseconds"),
    (TRADE._replace(time_ns=0.5), "is no time in nanoseconds"),
    (DEPTH._replace(time_ns=None), "is no time in nanoseconds"),
]


def guard() -> InputGuard:
    return InputGuard(["BTCUSDT"], MINUTE_NS)


def live(*, wall_ns: int = 0, recorded: bool = False) -> LiveGuard:
    """Return a guard whose machine says another year than the venue, unless it is told the time."""
    return LiveGuard(["BTCUSDT"], MINUTE_NS, monotonic=lambda: 0.0, wall_ns=lambda: wall_ns, recorded=recorded)


def quote(second: float) -> Quote:
    return QUOTE._replace(time_ns=START_NS + int(second * SECOND_NS))


def candle(minute: int) -> Candle:
    open_ns = START_NS + minute * MINUTE_NS
    return CANDLE._replace(open_ns=open_ns, time_ns=open_ns + MINUTE_NS)


@pytest.mark.parametrize("event", [QUOTE, CANDLE, TRADE, DEPTH, FUNDING], ids=lambda one: type(one).__name__)
def test_sound_market_data_of_every_kind_is_let_in(event: Any) -> None:
    assert guard().foreign(event) is None
    assert guard().malformed(event) is None


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize(("event", "said"), MALFORMED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_field_of_another_type_or_out_of_bounds_is_named(event: Any, said: str) -> None:
    assert guard().foreign(event) is None
    problem = guard().malformed(event)
    assert problem is not None
    assert said in problem
    assert live(wall_ns=START_NS).judge(event, 0.0).let_in == ()


@pytest.mark.behaviour("F13")
@pytest.mark.parametrize("fields", [5, 7])
def test_a_quote_that_was_made_past_its_class_with_other_fields_is_held_out(fields: int) -> None:
    values = (*QUOTE, 0.0)[:fields]
    odd: Quote = tuple.__new__(Quote, values)
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    made.judge(quote(1), 0.5)
    assert made.follows(quote(1), 1.0)
    before = made.clock.now_ns()
    assert not made.follows(odd, 1.0)
    assert made.clock.now_ns() == before
    assert made.judge(odd, 1.0).let_in == ()


def test_a_fetched_funding_rate_is_let_in_whatever_its_stamp_and_sets_no_clock() -> None:
    made = live()
    assert made.judge(FUNDING._replace(time_ns=FAR_NS), 0.0).let_in == (FUNDING._replace(time_ns=FAR_NS),)
    assert made.clock.now_ns() is None


def test_a_venues_clock_goes_on_with_the_monotonic_one_and_an_older_stamp_does_not_take_its_newest_back() -> None:
    clock = VenueClock(lambda: 12.5)
    assert clock.now_ns() is None
    assert clock.admit(START_NS, 10.0)
    assert clock.now_ns() == START_NS + 5 * SECOND_NS // 2
    assert clock.admit(START_NS - SECOND_NS, 10.0)
    assert (clock.newest_ns, clock.at(10.0)) == (START_NS, START_NS - SECOND_NS)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (tuple(QUOTE), "tuple is no market data; expected Candle, Quote, Trade, Depth, Funding"),
        (Subclassed(*QUOTE), "Subclassed is no market data"),
        (None, "NoneType is no market data"),
        (QUOTE._replace(symbol="ETHUSDT"), "quote of 'ETHUSDT', which was not asked for"),
        (CANDLE._replace(symbol=None), "candle of None, which was not asked for"),
        (TRADE._replace(symbol=["BTCUSDT"]), "trade of ['BTCUSDT'], which was not asked for"),
    ],
)
def test_another_class_or_symbol_is_foreign(event: Any, said: str) -> None:
    found = guard().foreign(event)
    assert found is not None
    assert said in found


# --- the venue's clock -------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F13")
def test_a_candle_from_the_future_is_held_out_and_moves_no_clock() -> None:
    made = live(wall_ns=START_NS)
    assert made.judge(quote(0), 0.0).let_in == (quote(0),)
    far = CANDLE._replace(open_ns=FAR_NS, time_ns=FAR_NS + MINUTE_NS)
    judged = made.judge(far, 1.0)
    assert judged.let_in == ()
    assert "s ahead of the venue's clock" in judged.held_out[0][0]
    assert made.clock.at(1.0) == START_NS + SECOND_NS
    assert made.judge(candle(-1), 1.0).let_in == (candle(-1),)
    assert made.judge(quote(2), 2.0).let_in == (quote(2),)


@pytest.mark.behaviour("T2")
@pytest.mark.parametrize("first", [quote(10**9), candle(10**7)])
def test_a_first_frame_from_the_future_sets_no_clock(first: Any) -> None:
    made = live()
    assert made.judge(first, 0.0).let_in == ()
    for second in (0.5, 1.0, 3.0, 5.4):
        assert made.judge(quote(second), second).let_in == (), "nothing yet says which of the two is right"
    assert made.unsure_s(5.4) == 5.4
    judged = made.judge(quote(5.5), 5.5)
    assert judged.let_in == (quote(5.5),), "all agreed for five seconds; of what waited only the newest quote counts"
    assert [event for _, event in judged.held_out] == ([first] if isinstance(first, Candle) else [])
    assert made.clock.at(5.5) == START_NS + int(5.5 * SECOND_NS)
    assert made.unsure_s(5.5) == 0.0


@pytest.mark.behaviour("T2")
def test_candles_and_trades_that_wait_for_their_time_to_be_believed_are_not_lost() -> None:
    made = live()
    waited = [candle(-1), DEPTH, TRADE, quote(0), DEPTH]
    for event in waited:
        made.judge(event, 0.0)
    assert made.waiting == [candle(-1), TRADE, quote(0), DEPTH]
    assert made.judge(quote(5), 5.0).let_in == (candle(-1), TRADE, DEPTH, quote(5))


@pytest.mark.behaviour("T2")
def test_an_hour_ahead_for_the_first_second_and_a_half_never_reaches_the_engine() -> None:
    made = live(wall_ns=START_NS)
    early = [made.judge(quote(3600 + step / 10), step / 10) for step in range(15)]
    assert all(judged.let_in == () for judged in early)
    judged = made.judge(quote(1.5), 1.5)
    assert (judged.let_in, judged.stepped) == ((quote(1.5),), None)


def test_made_up_data_waits_for_a_second_stamp_only() -> None:
    made = LiveGuard(["BTCUSDT"], MINUTE_NS, monotonic=lambda: 0.0, wall_ns=lambda: 0, patience_s=0.0)
    assert made.judge(quote(0), 0.0).let_in == ()
    assert made.judge(quote(1), 1.0).let_in == (quote(1),)


def test_a_first_frame_that_agrees_with_the_machines_clock_is_believed_at_once() -> None:
    assert live(wall_ns=START_NS + 4 * SECOND_NS).judge(quote(0), 0.0).let_in == (quote(0),)


def test_the_only_frame_there_ever_was_is_let_in_at_the_end() -> None:
    made = live()
    assert made.judge(candle(0), 0.0).let_in == ()
    assert made.waiting == [candle(0)]
    assert made.end().let_in == (candle(0),)
    assert made.end().let_in == ()


def test_what_waits_for_its_time_to_be_believed_is_bounded() -> None:
    made = live()
    held_out = [len(made.judge(candle(1000 * number), 0.0).held_out) for number in range(70)]
    assert held_out == [0] * 64 + [1] * 6
    assert len(made.waiting) == 64


@pytest.mark.parametrize(("ahead_s", "let_in"), [(4.9, True), (5.1, False)])
def test_a_stamp_may_be_five_seconds_ahead_and_no_more(ahead_s: float, let_in: bool) -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    assert bool(made.judge(quote(1 + ahead_s), 1.0).let_in) is let_in
    past = candle(0)._replace(status=BACKFILLED)
    made = live(recorded=True)
    made.judge(quote(60 - ahead_s), 0.0)
    assert bool(made.judge(past, 0.0).let_in) is let_in, "a candle of the past has ended"


@pytest.mark.parametrize(("behind_s", "let_in"), [(59, True), (61, False)])
def test_a_quote_may_come_a_minute_late_and_says_how_old_it_is(behind_s: int, let_in: bool) -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    judged = made.judge(quote(100 - behind_s), 100.0)
    assert bool(judged.let_in) is let_in
    assert judged.behind_ns == (behind_s * SECOND_NS if let_in else 0)
    assert made.clock.at(100.0) == START_NS + 100 * SECOND_NS, "and it does not hold the clock back"


def test_a_candle_is_never_too_late() -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    assert made.judge(candle(0), 7_200.0).let_in == (candle(0),)


def test_without_quotes_a_candle_may_be_one_interval_ahead_of_those_before_it() -> None:
    made = live()
    late = [candle(0), candle(1), candle(2), candle(3)]
    for number, (event, delay_s) in enumerate(zip(late, (50.0, 1.0, 30.0, 2.0), strict=True)):
        made.judge(event, 60.0 * number + delay_s)
    assert made.judge(candle(4), 240.0).let_in == (candle(4),)
    assert made.judge(candle(6), 241.0).let_in == ()


@pytest.mark.behaviour("T2")
@pytest.mark.parametrize(("pace", "after_s"), [(1.0, 5), (5.0, 5), (60.0, 60)])
def test_at_another_pace_stamps_must_agree_for_a_real_second_as_a_busy_machine_is_no_step(
    pace: float, after_s: int
) -> None:
    """At sixty times real time, ten seconds are a sixth of a second in which another process had the processor."""
    made = LiveGuard(["BTCUSDT"], MINUTE_NS, monotonic=lambda: 0.0, wall_ns=lambda: START_NS, pace=pace)
    made.judge(quote(0), 0.0)
    steps = [made.judge(quote(second - 10), float(second)).stepped for second in range(1, 70)]
    assert next(n for n, step in enumerate(steps) if step is not None) == after_s


@pytest.mark.behaviour("T2")
@pytest.mark.parametrize(("by_s", "where"), [(3600, "ahead of"), (-30, "behind")])
def test_when_all_stamps_agree_on_another_time_for_five_seconds_the_venues_clock_stepped(by_s: int, where: str) -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    judged = [made.judge(quote(by_s + 1 + step), 1.0 + step) for step in range(8)]
    assert [one.stepped is not None for one in judged] == [False] * 5 + [True] + [False] * 2
    step = judged[5].stepped
    assert step is not None
    assert step == ClockStepped(
        quote(by_s + 6).time_ns, by_s * SECOND_NS, "venue", f"all stamps were {abs(by_s)}.0 s {where} its clock for 5 s"
    )
    assert [bool(one.let_in) for one in judged] == [by_s < 0] * 5 + [True] * 3
    assert made.clock.now_ns() == START_NS + by_s * SECOND_NS


@pytest.mark.behaviour("T2")
@pytest.mark.parametrize("by_s", [3, -3, 4.9])
def test_a_step_within_the_tolerance_is_told_too_and_its_stamps_are_used_at_once(by_s: float) -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    judged = [made.judge(quote(by_s + 1 + step), 1.0 + step) for step in range(8)]
    assert all(one.let_in for one in judged)
    assert [one.stepped.by_ns for one in judged if one.stepped] == [int(by_s * SECOND_NS)]


@pytest.mark.behaviour("T2")
def test_stamps_that_creep_back_little_by_little_are_a_step_too() -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    for step in range(1, 30):
        assert made.judge(quote(-step), step / 2).stepped is None
    assert made.unsure_s(14.5) > 5.0
    steps = [made.judge(quote(-29 + step), 14.5 + step).stepped for step in range(7)]
    assert [one.by_ns < 0 for one in steps if one] == [True]
    assert made.follows(quote(-22), 21.5)


@pytest.mark.behaviour("T2")
def test_one_stamp_that_agrees_ends_the_doubt() -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    made.judge(quote(600), 1.0)
    assert made.unsure_s(3.0) == 2.0
    assert made.follows(quote(4), 4.0)
    assert made.unsure_s(4.0) == 0.0
    assert not made.judge(quote(600), 7.0).let_in


@pytest.mark.behaviour("T2")
def test_a_source_of_candles_alone_may_step_back_too() -> None:
    made = live(wall_ns=candle(9).time_ns)
    assert made.judge(candle(9), 0.0).let_in == (candle(9),)
    assert made.judge(candle(10), 60.0).stepped is None
    assert made.judge(candle(1), 120.0).stepped is None, "late, it may be"
    step = made.judge(candle(2), 180.0).stepped
    assert step is not None
    assert (step.time_ns, step.by_ns) == (candle(2).time_ns, -600 * SECOND_NS)
    assert made.judge(candle(3), 240.0) == Judged((candle(3),))
    assert made.judge(candle(2), 241.0) == Judged((candle(2),)), "and a late one is no step"


@pytest.mark.behaviour("T2")
def test_a_candle_beside_quotes_is_no_clock() -> None:
    made = live(wall_ns=START_NS)
    made.judge(quote(0), 0.0)
    ahead = candle(-1)._replace(time_ns=START_NS + 4 * SECOND_NS)
    assert made.judge(ahead, 0.0).let_in == (ahead,)
    assert made.clock.newest_ns == START_NS
    assert made.unsure_s(1.0) == 0.0


@pytest.mark.behaviour("T2", "S11")
def test_a_session_that_goes_on_behind_the_time_it_had_come_to_says_so_with_its_first_stamp() -> None:
    for reached_s, steps in ((600, True), (1, False)):
        made = live(wall_ns=START_NS)
        made.resume_at(quote(reached_s).time_ns)
        judged = made.judge(quote(0), 0.0)
        assert judged.let_in == (quote(0),)
        assert (judged.stepped is not None) is steps
        if judged.stepped is not None:
            assert judged.stepped.by_ns == -600 * SECOND_NS
    made = live(wall_ns=candle(0).time_ns)
    made.judge(candle(5)._replace(status=BACKFILLED), 0.0)
    assert made.judge(candle(0), 0.0).stepped is None, "a candle may be one that is known already"


def test_frames_off_the_venues_clock_are_not_used_until_all_agree_for_five_seconds() -> None:
    clock = VenueClock(lambda: 0.0)
    base = 10**18

    def admit(venue_s: float, now: float) -> bool:
        return clock.admit(base + int(venue_s * SECOND_NS), now)

    assert admit(0, 0)
    assert admit(10, 10.4)
    assert not admit(10, 60)  # fifty seconds late, out of some buffer
    assert not admit(3600, 60)
    assert admit(60, 60.1)
    assert clock.newest_ns == base + 60 * SECOND_NS
    taken = [admit(3600 + step, 61 + step) for step in range(8)]
    assert taken == [False] * 5 + [True] * 3
    assert clock.changes == 1


def admitted(*stretches: tuple[float, float]) -> tuple[list[bool], VenueClock]:
    """Give a clock ten stamps a second, in stretches of so many seconds in which stamps go so fast; say what it used.

    A second of the monotonic clock is one of the venue at the pace 1; a jump is a stretch of no length.
    """
    clock, now, venue_s, used = VenueClock(lambda: 0.0), 100.0, 0.0, []
    for seconds, pace in stretches:
        if not seconds:
            venue_s += pace
        for _ in range(round(seconds * 10)):
            now, venue_s = now + 0.1, venue_s + 0.1 * pace
            used.append(clock.admit(START_NS + round(venue_s * SECOND_NS), now))
    return used, clock


@pytest.mark.behaviour("T2", "F2")
@pytest.mark.parametrize("pace", [0.2, 0.8, 0.95, 1.2, 2.0])
def test_stamps_that_run_away_little_by_little_are_followed_for_five_seconds_at_most(pace: float) -> None:
    used, clock = admitted((60, 1), (120, pace))
    apart_s = [abs((number - 599) / 10 * (1 - pace)) for number in range(len(used))]
    assert all(used[:600])
    for one, apart in zip(used[600:], apart_s[600:], strict=True):
        assert one == (apart < 5.05) or abs(apart - 5.05) < 0.1, apart
    assert not used[-1]
    assert clock.unsure_since is not None
    assert clock.changes == 0
    at_ns = clock.at(280.0)
    assert at_ns is not None
    assert abs(at_ns - START_NS - 180 * SECOND_NS) < SECOND_NS / 5, "the time that was steady goes on"


@pytest.mark.behaviour("T2")
def test_stamps_that_ran_away_are_believed_after_half_a_minute_of_keeping_pace_and_at_once_when_they_are_back() -> None:
    used, clock = admitted((60, 1), (30, 0.2), (40, 1))
    assert (used.index(False, 600), round(used.index(True, 700), -1)) == (662, 1200)
    assert (clock.changes, round(clock.stepped_ns / SECOND_NS)) == (1, -24)
    used, clock = admitted((60, 1), (30, 0.2), (0, 24), (1, 1))
    assert used[-10:] == [True] * 10
    assert (clock.changes, clock.unsure_since) == (0, None)


@pytest.mark.behaviour("T2")
def test_a_clock_that_drifts_as_clocks_do_is_followed_for_days() -> None:
    clock, used = VenueClock(lambda: 0.0), 0
    for second in range(0, 4 * 86_400, 7):
        used += clock.admit(START_NS + round(second * 1.0003 * SECOND_NS), float(second))
    assert used == len(range(0, 4 * 86_400, 7)), "three times what a bad crystal drifts, and two minutes in the end"


@pytest.mark.behaviour("T2")
def test_of_stamps_that_come_four_seconds_late_one_that_comes_later_is_left_out_alone() -> None:
    used, clock = admitted((60, 1), (40, 0.9), (30, 1), (0, -1.5), (0.1, 1), (0, 1.5), (1, 1))
    assert used.index(False) == 1300
    assert used.count(False) == 1
    assert clock.unsure_since is None


def test_a_first_stamp_that_came_late_takes_nothing_from_what_later_ones_may_be_late() -> None:
    used, _ = admitted((1, 1), (0, 1.9), (60, 1), (0, -4.9), (5, 1))
    assert all(used)


# --- whole columns -----------------------------------------------------------------------------------------------


def columns(**changes: Any) -> CandleColumns:
    figures = {"open": [1.0, 2.0], "high": [2.0, 3.0], "low": [0.5, 1.0], "close": [1.5, 2.0], "volume": [0.0, 1.0]}
    return CandleColumns([START_NS, START_NS + MINUTE_NS], tuple((figures | changes).values()))


def test_columns_become_events_that_need_no_second_check() -> None:
    made = columns().candles("BTCUSDT", MINUTE_NS)
    assert type(made) is CheckedBatch
    assert type(columns().candles("BTCUSDT", MINUTE_NS)) is CheckedBatch
    assert made.symbol == "BTCUSDT"
    assert [guard().malformed(one) for one in made] == [None, None]
    for before, after in pairwise(made):
        assert before.time_ns == after.open_ns


@pytest.mark.parametrize(
    "changes",
    [
        {"low": [1.0, 2.5]},
        {"high": [1.0, 3.0]},
        {"open": [0.0, 2.0]},
        {"open": [1e15, 2.0]},
        {"high": [1e15, 3.0]},
        {"low": [0.0, 1.0]},
        {"low": [-1.0, 1.0]},
        {"volume": [-1.0, 1.0]},
        {"volume": [1.0, 1e18]},
        {"close": [float("nan"), 2.0]},
        {"close": [1.5]},
    ],
)
def test_columns_with_a_row_that_is_no_candle_are_refused(changes: Any) -> None:
    with pytest.raises(ValueError, match="not all are candles"):
        columns(**changes)


def test_nobody_makes_a_checked_batch_by_hand() -> None:
    with pytest.raises(TypeError, match=r"made by CandleColumns\.candles\(\)"):
        CheckedBatch([CANDLE])  # type: ignore[misc]


@pytest.mark.behaviour("F13")
def test_a_quote_ends_the_patience_with_candles_that_began_the_clock() -> None:
    """A source of candles alone is as late as its interval; one that quotes says its time to the second."""
    for quoted in (False, True):
        made = live(recorded=True)
        assert made.judge(candle(0), 0.0).let_in
        if quoted:
            assert made.judge(quote(60), 0.0).let_in
        ahead = candle(1)._replace(open_ns=START_NS, time_ns=START_NS + MINUTE_NS + 20 * SECOND_NS)
        assert bool(made.judge(ahead, 0.0).held_out) == quoted


def test_after_a_quote_a_candle_ahead_of_its_clock_is_held_out_though_candles_came_first() -> None:
    guard = live(wall_ns=CANDLE.time_ns)
    assert guard.judge(CANDLE, 0.0).let_in == (CANDLE,)
    assert guard.follows(QUOTE._replace(time_ns=CANDLE.time_ns + SECOND_NS), 1.0)
    ahead = CANDLE._replace(open_ns=CANDLE.time_ns, time_ns=CANDLE.time_ns + MINUTE_NS)
    judged = guard.judge(ahead, 2.0)
    assert (judged.let_in, len(judged.held_out)) == ((), 1)


@pytest.mark.behaviour("T2")
def test_a_clock_says_for_how_long_all_stamps_agreed_on_another_time() -> None:
    clock = VenueClock(lambda: 0.0)
    clock.admit(START_NS, 0.0)
    assert clock.rival_s(1.0) == 0.0
    assert not clock.admit(START_NS + 600 * SECOND_NS, 1.0)
    assert clock.rival_s(3.0) == 2.0
    clock.begin(START_NS - SECOND_NS, 4.0)
    assert (clock.rival_s(5.0), clock.newest_ns, clock.at(4.0)) == (0.0, START_NS, START_NS - SECOND_NS)
