"""The assembler: one bucket from many pushes, closed once, confirmed by its REST row."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.market import BACKFILLED, FINAL, UNCONFIRMED, Candle
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.feed.candles import CandleAssembler

T0 = 29_800_000 * MINUTE_NS  # the start of some minute
MS = 1_000_000


def push(seconds: float, close: float = 100.0, volume: float = 1.0, *, open_: float = 100.0) -> Candle:
    """A push sent so many seconds after T0."""
    sent_ns = T0 + int(seconds * SECOND_NS)
    opened_ns = sent_ns - sent_ns % MINUTE_NS
    high, low = max(open_, close), min(open_, close)
    return Candle("X", opened_ns, sent_ns, open_, high, low, close, volume, UNCONFIRMED)


def row(minute: int, close: float = 100.0, volume: float = 1.0, *, open_: float = 100.0) -> Candle:
    opened_ns = T0 + minute * MINUTE_NS
    high, low = max(open_, close), min(open_, close)
    return Candle("X", opened_ns, opened_ns + MINUTE_NS, open_, high, low, close, volume, BACKFILLED)


def fed(*pushes: Candle) -> CandleAssembler:
    """An assembler that got these pushes; its monotonic clock runs with the venue's, from 0 at T0."""
    assembler = CandleAssembler("X", MINUTE_NS)
    for one in pushes:
        assembler.push(one, mono(one))
    return assembler


def mono(candle: Candle) -> float:
    return (candle.time_ns - T0) / SECOND_NS


@pytest.mark.behaviour("F7")
def test_cumulative_pushes_are_one_candle_closed_by_a_push_of_the_next_bucket_and_confirmed_by_its_row() -> None:
    assembler = fed(push(1, 101, 1), push(30, 102, 5), push(59.8, 103, 9))
    assert assembler.next_due() is None
    assert assembler.push(push(60.3, 104, 0.1, open_=103), 60.3)
    assert assembler.next_due() == 62.3
    assert assembler.ask(62.2) is None
    assert assembler.ask(62.3) == T0
    venue_ns = T0 + 63 * SECOND_NS
    confirmed = assembler.rows([row(0, 103, 9)], venue_ns)
    assert confirmed == [row(0, 103, 9)._replace(time_ns=venue_ns, status=FINAL)]
    assert assembler.rows([row(0, 103, 9)], venue_ns) == []
    assert assembler.next_due() is None


@pytest.mark.behaviour("F7")
def test_the_rest_row_wins_where_it_differs() -> None:
    assembler = fed(push(59, 103, 9), push(60.5, 104, 0.1, open_=103))
    (candle,) = assembler.rows([row(0, 103.5, 11)], 0)
    assert (candle.close, candle.volume, candle.status) == (103.5, 11, FINAL)
    assert candle.time_ns == T0 + 60_500 * MS
    assert assembler.take_revisions() == []


@pytest.mark.behaviour("F7")
def test_without_a_row_it_goes_out_unconfirmed_after_five_seconds() -> None:
    assembler = fed(push(59, 103, 9), push(60.5, 104, 0.1, open_=103))
    asked = [second for second in (62.5, 63, 63.5, 64.5) if assembler.ask(second) is not None]
    assert asked == [62.5, 63.5, 64.5]
    assert assembler.tick(65.4, 0) == []
    (candle,) = assembler.tick(65.5, T0 + 65 * SECOND_NS)
    assert (candle.close, candle.volume, candle.status) == (103, 9, UNCONFIRMED)
    assert candle.time_ns == T0 + 65 * SECOND_NS
    assert assembler.next_due() is None


@pytest.mark.behaviour("F7")
def test_a_later_difference_is_told_once_and_changes_nothing() -> None:
    assembler = fed(push(59, 103, 9), push(60.5, 104, 0.1, open_=103))
    (given_out,) = assembler.tick(65.5, 0)
    for _ in range(2):
        assert assembler.rows([row(0, 103, 9.5)], 0) == []
    (revision,) = assembler.take_revisions()
    assert (revision.given, revision.row.volume) == (given_out, 9.5)
    assert assembler.take_revisions() == []


@pytest.mark.behaviour("F7")
def test_the_first_push_after_a_resubscription_closes_nothing_by_itself() -> None:
    assembler = fed(push(50, 103, 9))
    assembler.subscribed()
    assert not assembler.push(push(80, 104, 3, open_=103), 80)  # 20 s into the next: the old one is history's business
    assert assembler.tick(200, 0) == []
    assert assembler.push(push(120.2, 105, 0.2, open_=104), 120.2)
    (candle,) = assembler.tick(126, 0)
    assert candle.open_ns == T0 + MINUTE_NS


def test_a_bucket_whose_end_was_missed_by_moments_goes_out_only_if_a_row_vouches_for_it() -> None:
    for rows_come in (True, False):
        assembler = fed(push(58, 103, 9))
        assembler.subscribed()
        assembler.push(push(61, 104, 0.3, open_=103), 61)
        assert assembler.ask(63) == T0
        out = assembler.rows([row(0, 103.5, 12)], 0) if rows_come else assembler.tick(70, 0)
        assert [c.volume for c in out] == ([12] if rows_come else [])


def test_the_bucket_seen_before_and_after_a_short_outage_is_whole() -> None:
    assembler = fed(push(20, 101, 2))
    assembler.subscribed()
    assembler.push(push(40, 102, 6), 40)
    assert assembler.push(push(60.1, 103, 0.1, open_=102), 60.1)
    (candle,) = assembler.tick(66, 0)
    assert (candle.volume, candle.close) == (6, 102)


def test_late_repeated_and_reordered_pushes_are_ignored() -> None:
    assembler = fed(push(58, 103, 9), push(60.5, 104, 0.1, open_=103))
    for late in (push(59.9, 90, 99), push(60.5, 90, 99), push(58, 103, 9)):
        assert not assembler.push(late, 60.6)
    (candle,) = assembler.tick(70, 0)
    assert (candle.close, candle.volume) == (103, 9)
    assembler.push(push(120, 106, 0.2, open_=105), 120)
    (candle,) = assembler.tick(130, 0)
    assert (candle.close, candle.volume) == (104, 0.1)


@pytest.mark.behaviour("F7")
def test_a_push_stamped_after_the_boundary_with_the_old_figures_belongs_to_the_old_candle() -> None:
    assembler = fed(push(59.5, 103, 9))
    assert not assembler.push(push(60.02, 104, 9.5), 60.02)
    assert assembler.push(push(60.5, 104.5, 0.2, open_=104), 60.5)
    assert not assembler.push(push(60.9, 104, 9.5), 60.9)  # and once more, reordered behind the first new one
    assembler.push(push(119, 105, 4, open_=104), 119)
    assembler.push(push(120.3, 106, 0.1, open_=105), 120.3)
    first, second = assembler.tick(130, 0)
    assert (first.close, first.volume) == (104, 9.5)
    assert (second.open, second.close, second.volume) == (104, 105, 4)


def test_order_is_kept_when_a_later_candle_is_confirmed_first() -> None:
    assembler = CandleAssembler("X", MINUTE_NS, ask_after_s=2, give_up_s=100)
    for one in (
        push(59, 101, 3),
        push(60.2, 102, 0.1, open_=101),
        push(119, 103, 4, open_=101),
        push(120.2, 104, 0.1, open_=103),
    ):
        assembler.push(one, mono(one))
    assert assembler.rows([row(1, 103, 4, open_=101)], 0) == []
    out = assembler.tick(160.2, 0)
    assert [(c.open_ns, c.status) for c in out] == [(T0, UNCONFIRMED), (T0 + MINUTE_NS, FINAL)]


def test_a_changed_venue_clock_starts_anew_without_giving_anything_twice() -> None:
    far = push(86_400, 100, 1)
    assembler = fed(far)
    assembler.clock_changed()
    for one in (push(59, 103, 9), push(60.5, 104, 0.1, open_=103)):
        assembler.push(one, mono(one))
    assert len(assembler.tick(66, 0)) == 1
    assembler.clock_changed()
    for one in (push(59.5, 103, 9), push(61, 104, 0.1, open_=103)):
        assembler.push(one, mono(one))
    assert assembler.tick(200, 0) == []


@pytest.mark.behaviour("F7")
@settings(max_examples=30)
@given(data=st.data())
def test_whatever_arrives_each_candle_goes_out_once_in_order_and_known_after_its_end(data: st.DataObject) -> None:
    assembler = CandleAssembler("X", MINUTE_NS)
    out: list[Candle] = []
    second = 0.0
    for _ in range(data.draw(st.integers(1, 60))):
        second += data.draw(st.floats(0.1, 25))
        what = data.draw(st.sampled_from(["push", "push", "push", "late", "rows", "subscribe"]))
        if what == "subscribe":
            assembler.subscribed()
        elif what == "rows":
            minute = int(second // 60)
            out += assembler.rows([row(m, 100 + m % 3, 2) for m in range(max(0, minute - 3), minute)], 0)
        else:
            lag = data.draw(st.floats(0, 90)) if what == "late" else 0.0
            one = push(max(0.1, second - lag), data.draw(st.floats(99, 101)), data.draw(st.floats(0, 9)))
            assembler.push(one, second)
        out += assembler.tick(second, 0)
    opens = [candle.open_ns for candle in out]
    assert opens == sorted(set(opens))
    assert all(candle.time_ns >= candle.open_ns + MINUTE_NS for candle in out)
    assert all(candle.open_ns % MINUTE_NS == 0 for candle in out)
