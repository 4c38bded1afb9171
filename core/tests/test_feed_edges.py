"""Every edge of the feed's state machine, walked over connections that do as the test says, in virtual time."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import anyio
import lab.feed
import pytest
from attrs import evolve
from lab.errors import AuthenticationFailed
from lab.feed import CoolDown, Habits, Lost, Refused
from lab.ports import FeedState
from lab.testing import RecordingSink
from scripted_socket import TRADES, Dialect, ProbedWire, Venue, Wire, everything, follow

DOWN, CONNECTING, SUBSCRIBED, WARM, LIVE, DEGRADED, SUSPECT = FeedState
Test = Callable[..., None]
WALKED: dict[str, str] = {}
"""Edge to the test that walks it."""


def edge(*names: str) -> Callable[[Test], Test]:
    def note(test: Test) -> Test:
        WALKED.update(dict.fromkeys(names, test.__name__))
        return test

    return note


def test_each_edge_of_the_table_is_walked_by_a_test() -> None:
    named = re.findall(r"^\| (E\d+) \|", lab.feed.__doc__ or "", re.MULTILINE)
    assert named == [f"E{number}" for number in range(1, len(named) + 1)]
    assert set(named) == set(WALKED)


def walked(sink: RecordingSink) -> Sequence[tuple[FeedState, FeedState]]:
    return list(pairwise(sink.states))


def at(sink: RecordingSink, state: FeedState, number: int = 0) -> float:
    """Return when a state was entered for the n-th time."""
    return [when for entered, _, when in sink.feeds if entered is state][number]


def words(sink: RecordingSink, state: FeedState) -> Sequence[str]:
    return [told for entered, told, _ in sink.feeds if entered is state]


def asked(wire: Wire) -> Sequence[tuple[float, str]]:
    """Return what was asked for on a connection, and how long after it was opened."""
    return [(round(when - wire.opened_at, 2), text) for when, text in wire.sent if text.startswith("ask ")]


def silent(*names: str, since: float, until: float = 1e9) -> Callable[[Wire, float], Iterable[str]]:
    """Speak on everything but these channels for a time; ``"*"`` says nothing at all."""

    def speaks(wire: Wire, age: float) -> Iterable[str]:
        quiet = names if since <= age < until else ()
        return [] if "*" in quiet else [one for one in everything(wire, age) if one.split()[1] not in quiet]

    return speaks


ALL = "ask BTC quotes, BTC candles"
ODD = Habits(ping_every_s=7.1)
"""Its pings fall between what else is sent, which then goes out at once."""


# -- no connection -----------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F1")
@edge("E1", "E2")
@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (6.0, "no connection within 5 s"),
        (Refused(503), "refused with HTTP 503"),
        (Refused(302), "refused with HTTP 302; redirects are not followed"),
        (OSError("no route"), "can't connect: OSError: no route"),
        (RecursionError(), "can't connect: RecursionError"),
    ],
    ids=["slow", "refused", "redirect", "error", "recursion"],
)
def test_a_try_that_fails_is_told_and_followed_by_another_after_a_growing_wait(outcome: Any, told: str) -> None:
    venue = Venue(opens=lambda number: outcome if number <= 6 else None)
    sink = follow(venue, 120)
    assert {one.rpartition(";")[0] for one in words(sink, DOWN)} == {told}
    assert sink.states[:4] == [CONNECTING, DOWN, CONNECTING, DOWN]
    assert sink.states[-1] is LIVE
    took_s = 5.0 if outcome == 6.0 else 0.0
    for number, (earlier, later) in enumerate(pairwise(venue.tries)):
        wait_s = later - earlier - took_s
        assert 0.8 * 0.5 * 2**number <= wait_s + 1e-6
        assert wait_s - 1e-6 <= 1.2 * 0.5 * 2**number


@pytest.mark.behaviour("F6", "F11")
@edge("E3")
@pytest.mark.parametrize("status", [403, 429])
def test_a_venue_that_asks_for_fewer_calls_is_left_alone_for_half_a_minute_and_then_a_whole_one(status: int) -> None:
    cool_down = CoolDown()
    venue = Venue(opens=lambda number: Refused(status) if number <= 2 else None)
    sink = follow(venue, 150, cool_down=cool_down)
    assert (DOWN, DOWN) in walked(sink)
    first, second = (later - earlier for earlier, later in pairwise(venue.tries))
    assert (round(first), round(second)) == (30, 60)
    assert f"cooling down for 30 s after HTTP {status} for the socket" in words(sink, DOWN)
    assert cool_down.until > 60, "whoever else calls the venue waits too"
    assert sink.states[-1] is LIVE


@pytest.mark.behaviour("F12")
@edge("E4")
def test_a_venue_that_does_not_accept_who_asks_ends_the_stream() -> None:
    venue = Venue(opens=lambda _: Refused(401))
    with pytest.RaisesGroup(
        pytest.RaisesExc(AuthenticationFailed, match=r"venue\.test: HTTP 401"), flatten_subgroups=True
    ):
        follow(venue, 60)
    told = AuthenticationFailed("the key is not accepted")
    with pytest.RaisesGroup(pytest.RaisesExc(AuthenticationFailed, match="the key"), flatten_subgroups=True):
        follow(Venue(opens=lambda _: told), 60)
    assert len(venue.tries) == 1


# -- a connection that is to bring everything --------------------------------------------------------------------------


@pytest.mark.behaviour("F5")
@edge("E5", "E7")
def test_after_the_greeting_all_channels_are_asked_for_in_one_frame_and_live_means_that_each_spoke() -> None:
    venue = Venue(speaks=silent("candles", since=0, until=1.0))
    sink = follow(venue, 3)
    assert sink.states == [CONNECTING, SUBSCRIBED, WARM, LIVE]
    assert asked(venue.wires[0]) == [(0.0, ALL)]
    assert (at(sink, SUBSCRIBED), at(sink, WARM), at(sink, LIVE)) == (0.0, 1.0, 1.0)


@edge("E6")
def test_a_venue_that_does_not_greet_is_asked_after_two_seconds() -> None:
    venue = Venue(greets=False)
    assert follow(venue, 5).states[:2] == [CONNECTING, SUBSCRIBED]
    assert asked(venue.wires[0]) == [(2.0, ALL)]
    at_once = Venue(greets=False)
    follow(at_once, 5, habits=Habits(hello_within_s=0))
    assert asked(at_once.wires[0]) == [(0.0, ALL)]


@edge("E8")
def test_a_feed_that_wants_nothing_is_live_once_it_has_asked() -> None:
    sink = follow(Venue(), 3, wanted=(), optional=(TRADES,))
    assert sink.states == [CONNECTING, SUBSCRIBED, LIVE]


@pytest.mark.behaviour("F5")
@edge("E9", "E10")
def test_a_channel_that_does_not_begin_is_asked_for_once_more_then_the_connection_is_replaced() -> None:
    venue = Venue(speaks=silent("candles", since=0))
    sink = follow(venue, 6.2)
    assert asked(venue.wires[0]) == [(0.0, ALL), (3.0, "ask BTC candles")]
    assert walked(sink)[1] == (SUBSCRIBED, SUBSCRIBED)
    assert at(sink, DOWN) == 6.0
    assert words(sink, DOWN)[0].startswith("BTC candles silent for 3.0 s, also after it was asked for again; next try")
    assert (venue.wires[0].closed_at, venue.wires[0].aborted) == (6.0, True)


# -- silence -----------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F2", "F5")
@edge("E11", "E13")
def test_a_channel_that_falls_silent_is_asked_for_again_and_the_feed_is_live_when_it_speaks() -> None:
    venue = Venue(speaks=silent("candles", since=10.0, until=17.0))
    sink = follow(venue, 30, habits=ODD)
    assert sink.states == [CONNECTING, SUBSCRIBED, WARM, LIVE, DEGRADED, LIVE]
    assert (at(sink, DEGRADED), at(sink, LIVE, 1)) == (15.25, 17.0)
    assert asked(venue.wires[0])[1:] == [(15.25, "ask BTC candles")]
    assert words(sink, LIVE)[1] == "BTC candles flows again"


@edge("E12")
def test_of_two_silent_channels_each_is_asked_for_and_both_must_speak_again() -> None:
    def speaks(wire: Wire, age: float) -> Iterable[str]:
        quotes, candles = not 10.0 <= age < 18.0, not 11.0 <= age < 17.5
        return ["heartbeat", *["BTC quotes"] * quotes, *["BTC candles"] * candles]

    venue = Venue(speaks=speaks)
    sink = follow(venue, 30, habits=ODD)
    assert sink.states[3:] == [LIVE, DEGRADED, DEGRADED, DEGRADED, LIVE]
    assert [when for _, _, when in sink.feeds[4:]] == [15.25, 16.25, 17.5, 18.0]
    assert asked(venue.wires[0])[1:] == [(15.25, "ask BTC quotes"), (16.25, "ask BTC candles")]


@pytest.mark.behaviour("F2")
@edge("E14")
def test_a_channel_that_stays_silent_costs_the_connection_within_ten_seconds_and_the_next_gives_it_longer() -> None:
    venue = Venue(speaks=silent("candles", since=10.0))
    sink = follow(venue, 80)
    assert at(sink, DOWN) == 9.75 + 9.5
    assert (DEGRADED, DOWN) in walked(sink)
    lasted = [wire.closed_at - wire.opened_at for wire in venue.wires[:2]]
    assert lasted == pytest.approx([19.25, 9.75 + 2.5 * 9.5])


@pytest.mark.behaviour("F2")
@edge("E15", "E17")
def test_a_connection_without_any_frame_is_pinged_after_five_seconds_and_replaced_after_eight() -> None:
    venue = Venue(speaks=silent("*", since=11.0), answers=False)
    sink = follow(venue, 20)
    assert sink.states[3:7] == [LIVE, SUSPECT, DOWN, CONNECTING]
    assert (at(sink, SUSPECT), at(sink, DOWN)) == (15.75, 18.75)
    assert [when for when, text in venue.wires[0].sent if text == "ping"][-1] == 15.75
    assert words(sink, DOWN)[0].startswith("no frame for 8.0 s, ping unanswered")


@edge("E15", "E17")
def test_silence_is_noticed_before_anything_was_said_also_by_a_venue_without_a_ping() -> None:
    venue = Venue(greets=False, speaks=silent("*", since=0.0), answers=False)
    sink = follow(venue, 7.9, dialect=Dialect(pings=False), habits=Habits(hello_within_s=100))
    assert sink.states == [CONNECTING, SUSPECT]
    venue = Venue(greets=False, speaks=silent("*", since=0.0), answers=False)
    sink = follow(venue, 8.1, dialect=Dialect(pings=False), habits=Habits(hello_within_s=100))
    assert sink.states == [CONNECTING, SUSPECT, DOWN]
    assert venue.wires[0].sent == []


@pytest.mark.behaviour("F2")
@edge("E16", "E17")
@pytest.mark.parametrize("answers", [True, False])
def test_a_venue_without_a_ping_frame_is_probed_by_the_ping_of_the_socket_itself(answers: bool) -> None:
    def speaks(wire: Wire, age: float) -> Iterable[str]:
        return [] if 10 < age < 30 else everything(wire, age)

    venue = Venue(speaks=speaks, answers=answers, wire=ProbedWire)
    habits = Habits(ping_every_s=60, degraded_s=40, dead_s=50)
    sink = follow(venue, 27, dialect=Dialect(pings=False), habits=habits)
    assert next(when for when, text in venue.wires[0].sent if text == "probe") == 15.0
    assert (DOWN in sink.states) is not answers
    assert sink.feeds[sink.states.index(SUSPECT) + 1][:2] == (
        (LIVE, "the socket answered") if answers else (DOWN, words(sink, DOWN)[0])
    )
    assert answers or words(sink, DOWN)[0].startswith("no frame for 8.0 s, ping unanswered")


def test_a_probe_that_its_library_fails_at_is_no_answer_and_ends_no_stream() -> None:
    class Broken(ProbedWire):
        async def probe(self) -> None:
            raise KeyError("of the library")

    venue = Venue(speaks=silent("*", since=11.0), wire=Broken)
    sink = follow(venue, 20, dialect=Dialect(pings=False))
    assert words(sink, DOWN)[0].startswith("no frame for 8.0 s, ping unanswered")


@pytest.mark.behaviour("F2")
@edge("E16")
@pytest.mark.parametrize("was", [CONNECTING, SUBSCRIBED, DEGRADED, LIVE], ids=str)
def test_any_frame_brings_a_suspect_connection_back_to_what_it_was(was: FeedState) -> None:
    begins = {CONNECTING: 0.0, SUBSCRIBED: 0.0, DEGRADED: 16.0, LIVE: 10.0}[was]

    def speaks(wire: Wire, age: float) -> Iterable[str]:
        if was is SUBSCRIBED and age < 2:
            return ["BTC quotes"]
        if was is DEGRADED and 10 <= age < 16:
            return ["BTC quotes"]
        return [] if age >= begins else everything(wire, age)

    venue = Venue(greets=was is not CONNECTING, speaks=speaks)
    habits = Habits(ping_every_s=8.3, hello_within_s=60, first_data_s=60, dead_s=60)
    sink = follow(venue, begins + 7.5, habits=habits)
    first = sink.states.index(SUSPECT)
    assert sink.states[first - 1 : first + 2] == [was, SUSPECT, was]
    assert sink.feeds[first + 1][1] == "the socket answered"
    assert sink.feeds[first + 1][2] == sink.feeds[first][2], "the ping is answered at once"


@pytest.mark.behaviour("F5")
@edge("E18")
def test_an_optional_channel_that_says_nothing_is_told_once_and_asked_for_at_a_falling_pace() -> None:
    venue = Venue(speaks=silent("trades", since=0.0))
    sink = follow(venue, 800, optional=(TRADES,), habits=ODD)
    assert asked(venue.wires[0])[1:] == [(when, "ask BTC trades") for when in (30.0, 90.0, 210.0, 450.0, 750.0)]
    assert sink.states[3:] == [LIVE, LIVE]
    assert words(sink, LIVE)[1] == "BTC trades silent for 30 s: the run goes on without"


# -- renewal -----------------------------------------------------------------------------------------------------------

SOON = Habits(renew_after_hours=(0.1, 0.1))


@pytest.mark.behaviour("F1")
@edge("E19")
def test_a_second_connection_takes_over_once_it_brings_everything_and_the_first_is_read_a_moment_longer() -> None:
    async def during(feed: Any) -> None:
        await anyio.sleep(360.5)
        assert feed.doubles.until == float("inf"), "both are read"

    venue = Venue(speaks=lambda wire, age: [] if wire.number == 2 and age < 1 else everything(wire, age))
    sink = follow(venue, 400, during, habits=SOON)
    assert sink.states == [CONNECTING, SUBSCRIBED, WARM, LIVE, LIVE]
    assert words(sink, LIVE)[1] == "moved to socket 2, opened beside the one before as planned"
    first, second = venue.wires
    assert (second.opened_at, at(sink, LIVE, 1), first.closed_at, second.closed_at) == (360.0, 361.0, 364.0, 400.0)


@edge("E20")
@pytest.mark.parametrize("refused", [True, False], ids=["refused", "mute"])
def test_where_the_second_connection_is_no_good_the_first_is_kept_and_another_is_tried_later(refused: bool) -> None:
    venue = Venue(
        opens=lambda number: Refused(503) if refused and number == 2 else None,
        speaks=lambda wire, age: ["heartbeat"] if wire.number == 2 and not refused else everything(wire, age),
    )
    sink = follow(venue, 560, habits=evolve(SOON, renewal_retry_s=120.0, first_data_s=30.0))
    assert set(sink.states[3:]) == {LIVE}
    why = "refused with HTTP 503" if refused else "not all channels spoke within 20 s"
    assert words(sink, LIVE)[1:] == [
        f"the socket is kept, a second one is tried again in 2 min: {why}",
        f"moved to socket {2 if refused else 3}, opened beside the one before as planned",
    ]
    assert venue.tries == [0.0, 360.0, 480.0 if refused else 500.0]
    assert venue.wires[0].closed_at == venue.tries[2] + 0.25 + 3.0, "it is read a moment longer"
    assert refused or venue.wires[1].closed_at == 380.0


def test_a_connection_lost_while_the_second_one_opens_is_replaced_as_ever() -> None:
    venue = Venue(speaks=lambda wire, age: ["heartbeat"] if wire.number == 2 else everything(wire, age))

    async def during(feed: Any) -> None:
        await anyio.sleep(365)
        venue.wires[0].lose("gone")

    sink = follow(venue, 380, during, habits=SOON)
    assert (LIVE, DOWN) in walked(sink)
    assert venue.wires[1].closed_at == 365.0, "the second one goes with it"
    assert sink.states[-1] is LIVE
    assert len(venue.wires) == 3


# -- loss --------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("F1", "F5")
@edge("E21")
@pytest.mark.parametrize("why", ["connection closed: code 1001", ""], ids=["lost", "ended"])
def test_a_lost_connection_is_replaced_and_everything_asked_for_again(why: str) -> None:
    venue = Venue()

    async def during(feed: Any) -> None:
        await anyio.sleep(10)
        venue.wires[0].lose(why)

    sink = follow(venue, 20, during)
    assert sink.states == [CONNECTING, SUBSCRIBED, WARM, LIVE, DOWN, CONNECTING, SUBSCRIBED, WARM, LIVE]
    assert words(sink, DOWN)[0].startswith((why or "connection closed") + "; next try in 0.")
    assert [asked(wire) for wire in venue.wires] == [[(0.0, ALL)]] * 2
    assert venue.wires[0].aborted


@edge("E21")
def test_a_connection_that_takes_no_more_frames_is_given_up() -> None:
    async def never(wire: Wire) -> None:
        if wire.number == 1:
            await anyio.sleep_forever()

    sink = follow(Venue(takes=never, speaks=lambda _wire, _age: ["BTC quotes", "BTC candles"]), 60)
    assert words(sink, DOWN)[0].startswith("nothing can be sent"), "though data flows"
    assert at(sink, DOWN) == 45.0
    assert sink.states[-1] is LIVE


@edge("E21")
def test_a_connection_that_fails_while_sending_is_replaced() -> None:
    async def fails(wire: Wire) -> None:
        if wire.number == 1 and wire.age > 4:
            raise Lost("connection closed while sending")

    sink = follow(Venue(takes=fails), 10)
    assert words(sink, DOWN)[0].startswith("connection closed while sending")
    assert at(sink, DOWN) == 5.0
