"""The text of faults: what it says, and what is said about a wrong one."""

import math

import pytest
from lab_bitunix.venue.faults import FAULTS, FaultError, Faults, help_text


def test_the_example_text_is_read() -> None:
    faults = Faults.parse(
        "reset@30, mute=depth_book1@60+20,rest=429:0.5@10+30,late=0.1:3,volume=old,newbucket_old_values"
    )

    assert [(f.kind, f.value, f.start_s, f.duration_s) for f in faults] == [
        ("reset", None, 30, math.inf),
        ("mute", "depth_book1", 60, 20),
        ("rest", (429, 0.5), 10, 30),
        ("late", (0.1, 3.0), -math.inf, math.inf),
        ("volume", "old", -math.inf, math.inf),
        ("newbucket_old_values", 1, -math.inf, math.inf),
    ]


def test_a_fault_holds_in_its_window_only() -> None:
    faults = Faults.parse("silence@60+20")

    assert [faults.active("silence", at) is not None for at in (59.9, 60, 79.9, 80)] == [False, True, True, False]


def test_a_fault_without_a_time_always_holds_even_before_the_start() -> None:
    faults = Faults.parse("hole=3")

    assert faults.active("hole", -1e6) is not None
    assert faults.active("hole", 1e9) is not None


def test_the_last_of_two_faults_in_force_wins() -> None:
    faults = Faults.parse("slow=1,slow=9@10+5")

    assert [faults.value("slow", at, 0) for at in (5, 12, 20)] == [1, 9, 1]


def test_no_text_means_no_fault() -> None:
    assert not list(Faults.parse(" , "))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rset@30", ["'rset@30'", "did you mean 'reset'?"]),
        ("qqqq", ["there are", "reset"]),
        ("late=2", ["'late=2'", "a share from 0 to 1"]),
        ("late=0.1:soon", ["seconds, 0 or more"]),
        ("late=nan", ["a share from 0 to 1"]),
        ("volume=odd", ["old or new"]),
        ("silence=yes", ["expected no value"]),
        ("rest", ["rest=429"]),
        ("rest=200", ["400 to 599"]),
        ("reset", ["needs a time", "reset@30"]),
        ("reset@-3", ["kind[=value][@start[+duration]]"]),
        ("reset@1.2.3", ["the times are seconds"]),
        ("hole=0", ["1 to 1000000"]),
    ],
)
def test_a_bad_text_is_an_error_naming_part_and_cure(text: str, words: list[str]) -> None:
    with pytest.raises(FaultError) as raised:
        Faults.parse(f"duplicate,{text}")

    for word in words:
        assert word in str(raised.value)


def test_every_fault_can_be_given_with_its_default_and_has_a_line_of_help() -> None:
    lines = help_text().splitlines()

    for (name, kind), line in zip(FAULTS.items(), lines, strict=True):
        text = name + ("=429" if kind.needs == "value" else "@1" if kind.needs == "time" else "")
        assert Faults.parse(text).active(name, 1.0) is not None
        assert line.split()[0] == name
        assert len(line) <= 110
