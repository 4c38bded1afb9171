"""When a market is open: days, hours, and a recording's own candles; what is missing then, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.calendar import AS_RECORDED, WEEKDAYS, check_calendar, missing_candles, open_ns
from lab.domain.instrument import check_instrument
from lab.domain.time import DAY_NS, MINUTE_NS, parse_time
from lab.testing.builders import instrument

HOUR_NS = 60 * MINUTE_NS
FRIDAY_NS = parse_time("2024-01-05")


@pytest.mark.parametrize(
    "text", ["", "file", "weekdays", "Mon-Fri", "sun", "Sun-Thu 22:00-24:00", "fri-mon 00:00-00:01"]
)
def test_a_calendar_is_days_and_hours_of_utc(text: str) -> None:
    check_calendar(text)


@pytest.mark.parametrize(
    "text",
    [
        "24/7",
        "Mon-Foo",
        "Foo",
        "Mon-Fri 9-17",
        "Mon 21:00-14:30",
        "Mon 14:30-14:30",
        "Mon 00:60-01:00",
        "Mon 00:00-24:01",
    ],
)
def test_what_is_no_calendar_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=f"not a calendar: '{text}'; "):
        check_calendar(text)


@pytest.mark.parametrize(
    ("calendar", "hours"),
    [("", 96), (WEEKDAYS, 48), ("Fri", 24), ("Sat-Sun 22:00-24:00", 4), ("Mon-Fri 14:30-21:00", 13), (AS_RECORDED, 0)],
)
def test_the_hours_of_a_stretch_in_which_the_market_is_open_are_counted(calendar: str, hours: int) -> None:
    assert open_ns(calendar, FRIDAY_NS, FRIDAY_NS + 4 * DAY_NS) == hours * HOUR_NS
    assert open_ns(calendar, FRIDAY_NS + 1, FRIDAY_NS) == 0


@pytest.mark.parametrize(
    ("calendar", "days", "hours"),
    [("", 2, 48), (WEEKDAYS, 0, 0), ("Mon-Sat", 1, 24), ("Sun 22:00-24:00", 1, 2), (AS_RECORDED, 0, 0)],
)
def test_of_a_weekend_the_candles_are_missing_in_which_the_market_was_open(
    calendar: str, days: int, hours: int
) -> None:
    begin_ns, end_ns = FRIDAY_NS + DAY_NS, FRIDAY_NS + 3 * DAY_NS
    assert missing_candles(calendar, begin_ns, end_ns, DAY_NS) == days
    assert missing_candles(calendar, begin_ns, end_ns, HOUR_NS) == hours


@given(st.integers(0, 40 * 1440), st.integers(0, 20 * 1440), st.integers(0, 20 * 1440))
def test_what_is_open_in_two_stretches_is_what_is_open_in_both_together(begin: int, first: int, second: int) -> None:
    begin_ns, middle_ns = begin * MINUTE_NS, (begin + first) * MINUTE_NS
    end_ns = middle_ns + second * MINUTE_NS
    for calendar in ("", WEEKDAYS, "Fri-Mon 09:30-16:00"):
        parts = open_ns(calendar, begin_ns, middle_ns) + open_ns(calendar, middle_ns, end_ns)
        assert open_ns(calendar, begin_ns, end_ns) == parts


@pytest.mark.parametrize(
    ("calendar", "problem"), [("sometimes", "not a calendar: 'sometimes'; "), ("Mon\n", "is no printable text")]
)
def test_an_instrument_of_no_calendar_is_refused(calendar: str, problem: str) -> None:
    assert check_instrument(instrument(calendar="Mon-Fri 14:30-21:00")) is None
    assert problem in (check_instrument(instrument(calendar=calendar)) or "")
