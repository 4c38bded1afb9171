"""Times and intervals are parsed once, at the edge, into UTC nanoseconds; what is not one is refused by name."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.time import (
    DAY_NS,
    MILLISECOND_NS,
    MINUTE_NS,
    SECOND_NS,
    format_duration,
    format_interval,
    format_time,
    parse_interval,
    parse_time,
)

MOMENT = 1_723_161_255_088_000_000  # 2024-08-08T23:54:15.088Z
WHOLE = 1_723_161_255 * SECOND_NS
MIDNIGHT = WHOLE - WHOLE % DAY_NS

pytestmark = pytest.mark.behaviour("T1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-08-08T23:54:15.088Z", MOMENT),
        ("2024-08-08T23:54:15.088z", MOMENT),
        ("2024-08-08T23:54:15.088", MOMENT),
        ("2024-08-08 23:54:15.088", MOMENT),
        ("2024-08-08T23:54:15,088Z", MOMENT),
        ("  2024-08-08T23:54:15.088Z\n", MOMENT),
        ("2024-08-09T01:54:15.088+02:00", MOMENT),
        ("2024-08-09T05:24:15.088+0530", MOMENT),
        ("2024-08-08T18:54:15.088 -05:00", MOMENT),
        ("2024-08-08T23:54:15", WHOLE),
        ("2024-08-08T23:54", WHOLE - 15 * SECOND_NS),
        ("2024-08-08", MIDNIGHT),
        ("1969-12-31T23:59:59.999999999Z", -1),
    ],
)
def test_iso_text_with_or_without_a_zone_is_read(text: str, expected: int) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize("digits", range(1, 10))
def test_every_fraction_down_to_a_nanosecond_is_kept(digits: int) -> None:
    fraction = "123456789"[:digits]
    assert parse_time(f"2024-08-08T23:54:15.{fraction}Z") == WHOLE + int(fraction.ljust(9, "0"))


def test_a_fraction_of_a_minute_is_never_taken_for_one_of_a_second() -> None:
    """In ISO 8601 ``12:30.5`` is half a minute past; refusing it would do as well."""
    try:
        read = parse_time("2024-08-08T12:30.5Z")
    except ValueError:
        return
    assert read == parse_time("2024-08-08T12:30:30Z")


@pytest.mark.parametrize(
    "number",
    [
        1_723_161_255_088_000_000,
        1_723_161_255_088_000,
        1_723_161_255_088,
        1_723_161_255.088,
        1_723_161_255_088.0,
        1.723161255088e18,
        "1723161255088000000",
        "1723161255088000",
        "1723161255088",
        "1723161255.088",
        " 1723161255.088 ",
    ],
)
def test_a_number_of_any_unit_is_the_same_moment(number: object) -> None:
    assert parse_time(number) == MOMENT


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2024-13-01",
        "2024-02-30T00:00:00Z",
        "2024-08-08T25:00:00Z",
        "2024-08-08T23:54:15.0880000001Z",
        "2024-08-08T23:54:15+25:00",
        "2024-08-08T23:54:15 UTC",
        "9999-12-31T00:00:00Z",
        "08/08/2024",
        "-1723161255",
        "12345",
        0,
        -1,
        99_999_999,
        2**63,
        10**30,
        0.5,
        1e-5,
        -1_723_161_255.5,
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        True,
        None,
        b"2024-08-08",
        [],
        datetime(2024, 8, 8, tzinfo=UTC),
    ],
)
def test_anything_else_is_refused_with_the_value_in_the_message(value: object) -> None:
    with pytest.raises(ValueError, match="not a time") as caught:
        parse_time(value)
    assert repr(value) in str(caught.value)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_every_moment_survives_being_written_and_read(time_ns: int) -> None:
    assert parse_time(format_time(time_ns)) == time_ns


@given(st.integers(min_value=-(10**18), max_value=2**63 - 1), st.integers(min_value=-1439, max_value=1439))
def test_a_moment_is_the_same_in_every_zone(time_ns: int, minutes: int) -> None:
    shift = timedelta(minutes=minutes)
    seconds, rest = divmod(time_ns, SECOND_NS)
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(timezone(shift))
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    assert parse_time(f"{local:%Y-%m-%dT%H:%M:%S}.{rest:09d}{zone}") == time_ns


@given(st.integers(min_value=10**8, max_value=9 * 10**9))
def test_a_second_is_the_same_in_every_unit(seconds: int) -> None:
    values: list[object] = [seconds * unit for unit in (1, 10**3, 10**6, 10**9)]
    values += [str(value) for value in values]
    assert {parse_time(value) for value in values} == {seconds * SECOND_NS}


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none()))
def test_no_value_does_anything_but_parse_or_be_refused(value: object) -> None:
    try:
        answer = repr(type(parse_time(value)))
    except ValueError as error:
        answer = str(error)
    assert answer == "<class 'int'>" or "not a time" in answer


def test_the_zone_of_the_machine_changes_nothing() -> None:
    program = (
        "from lab.domain.time import format_time, parse_time\n"
        "print(parse_time('2024-08-08T23:54:15.088'), parse_time('2024-03-31T02:30'), parse_time(1723161255.088),"
        " format_time(1723161255088000000))"
    )

    def run(zone: str) -> str:
        environment = {**os.environ, "TZ": zone}
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout

    answers = {run(zone) for zone in ("UTC", "America/New_York", "Asia/Kolkata", "XYZ-13")}
    assert answers == {f"{MOMENT} {parse_time('2024-03-31T02:30:00Z')} {MOMENT} 2024-08-08T23:54:15.088Z\n"}


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (WHOLE, "2024-08-08T23:54:15Z"),
        (MOMENT, "2024-08-08T23:54:15.088Z"),
        (WHOLE + 1_000, "2024-08-08T23:54:15.000001Z"),
        (WHOLE + 1, "2024-08-08T23:54:15.000000001Z"),
        (WHOLE + 120 * MILLISECOND_NS, "2024-08-08T23:54:15.120Z"),
    ],
)
def test_a_time_is_written_with_as_many_digits_as_it_needs(time_ns: int, text: str) -> None:
    assert format_time(time_ns) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", SECOND_NS),
        ("1m", MINUTE_NS),
        (" 15m ", 15 * MINUTE_NS),
        ("4h", 240 * MINUTE_NS),
        ("1d", DAY_NS),
        ("2w", 14 * DAY_NS),
    ],
)
def test_an_interval_is_a_number_and_a_unit(text: str, expected: int) -> None:
    assert parse_interval(text) == expected


@pytest.mark.parametrize("text", ["", "m", "0m", "-1m", "1.5h", "1M", "1 m", "60", "10000s", "1min"])
def test_what_is_no_interval_is_refused_with_the_text_in_the_message(text: str) -> None:
    with pytest.raises(ValueError, match="not an interval") as caught:
        parse_interval(text)
    assert repr(text) in str(caught.value)


@given(st.integers(min_value=1, max_value=9999), st.sampled_from("smhdw"))
def test_an_interval_survives_being_written_and_read(number: int, unit: str) -> None:
    interval_ns = parse_interval(f"{number}{unit}")
    text = format_interval(interval_ns)
    assert parse_interval(text) == interval_ns
    assert len(text) <= len(f"{number}{unit}")


def test_an_interval_of_broken_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="not a whole number of seconds: 1500000000 ns"):
        format_interval(1_500_000_000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0:00"), (59.99, "0:59"), (599, "9:59"), (3_723, "1:02:03"), (86_399, "23:59:59"), (183_845, "2 d 3:04:05")],
)
def test_a_duration_is_written_in_the_units_it_needs(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
