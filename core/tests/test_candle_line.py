"""The order of candles behind an outage, without a session around it."""

import pytest
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.live.candle_line import CandleLine
from lab.ports import FeedState
from lab.testing import START_NS
from lab.testing.builders import candles

SOME = candles([100.0] * 10)


def after_outage(*, whole: bool = False) -> CandleLine:
    line = CandleLine(MINUTE_NS, whole)
    line.feed(FeedState.LIVE, START_NS)
    assert line.take(SOME[0])
    line.feed(FeedState.DOWN, START_NS)
    line.feed(FeedState.LIVE, START_NS)
    return line


@pytest.mark.behaviour("F8")
def test_a_candle_behind_an_outage_waits_and_so_do_those_behind_it_until_it_is_let_go() -> None:
    line = after_outage()
    assert not line.take(SOME[3])
    assert not line.take(SOME[4])
    assert line.wanted
    line.passed(SOME[2])
    assert line.settle() == [SOME[3], SOME[4]]
    assert not line.waits
    assert line.take(SOME[5])


@pytest.mark.behaviour("F8")
def test_recorded_data_may_have_gaps_of_its_own_and_a_venue_has_none() -> None:
    for whole in (False, True):
        line = CandleLine(MINUTE_NS, whole)
        line.feed(FeedState.LIVE, 0)
        assert line.take(SOME[0])
        assert line.take(SOME[3]) is not whole


def test_let_go_in_any_case_the_first_candle_goes_with_those_that_follow_it_and_no_further() -> None:
    line = after_outage(whole=True)
    for candle in (SOME[3], SOME[4], SOME[7]):
        assert not line.take(candle)
    assert line.release() == [SOME[3], SOME[4]]
    assert line.wanted
    assert line.release() == [SOME[7]]
    assert line.release() == []


def test_what_ended_less_than_ten_seconds_ago_the_stream_may_still_bring() -> None:
    line = after_outage()
    ended_ns = SOME[1].open_ns + MINUTE_NS
    line.look(ended_ns + 9 * SECOND_NS)
    assert not line.behind
    line.look(ended_ns + 10 * SECOND_NS)
    assert line.behind
    assert line.missing(ended_ns + MINUTE_NS + 10 * SECOND_NS) == 2


def test_while_the_past_is_handed_over_every_candle_waits_and_then_those_go_on_that_follow() -> None:
    line = CandleLine(MINUTE_NS)
    line.handing_over = True
    line.passed(SOME[0])
    assert not line.take(SOME[1])
    assert line.settle() == []
    line.handing_over = False
    assert line.settle() == [SOME[1]]


def test_a_candle_that_is_late_known_or_off_the_grid_is_the_engines_to_judge() -> None:
    line = after_outage(whole=True)
    for candle in (SOME[0], SOME[2]._replace(open_ns=SOME[2].open_ns + 1)):
        assert line.take(candle)


@pytest.mark.behaviour("T2")
def test_when_the_venues_clock_steps_back_candles_of_the_wrong_time_are_forgotten() -> None:
    line = after_outage(whole=True)
    assert not line.take(SOME[3])
    assert not line.take(SOME[9])
    line.set_back(SOME[3].time_ns)
    assert list(line.held) == [SOME[3]]
    line = CandleLine(MINUTE_NS, whole=True)
    line.set_back(START_NS)
    assert line.next_ns == 0, "none has passed"
    assert line.take(SOME[9])
    line.set_back(SOME[2].time_ns - 10 * SECOND_NS)
    assert line.next_ns == SOME[2].open_ns
    assert line.take(SOME[2])
    assert line.take(SOME[3])
