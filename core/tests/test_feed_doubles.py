"""What two connections bring while one takes the other's place reaches a strategy once."""

from collections import Counter

from lab.feed.doubles import _ROWS_MOST, KEPT_S, Doubles


def test_levels_that_are_not_newer_than_the_newest_of_their_channel_were_there_already() -> None:
    doubles = Doubles()
    doubles.begin()
    assert [doubles.newer("a", time_ns) for time_ns in (5, 5, 4, 6)] == [True, False, False, True]
    assert doubles.newer("b", 5)
    doubles.begin()
    assert doubles.newer("a", 5), "what was known is forgotten when the next one opens"


def test_trades_that_are_alike_on_one_socket_are_not_taken_for_repeats() -> None:
    doubles = Doubles()
    doubles.begin()
    assert doubles.new_rows(["a", "a", "b"], 1) == [True, True, True]
    assert doubles.new_rows(["a", "b", "a", "a"], 2) == [False, False, False, True]
    assert doubles.new_rows(["a", "b"], 1) == [False, True]
    assert doubles.new_rows(["b"], 2) == [False]


def test_what_is_known_of_repeats_is_bounded_and_forgotten_ten_seconds_after_the_change() -> None:
    doubles = Doubles()
    assert doubles.until < 0
    doubles.begin()
    for row in range(_ROWS_MOST + 500):
        doubles.new_rows([row], 1)
    assert Counter(doubles.new_rows(range(500, _ROWS_MOST + 500), 2)) == {False: _ROWS_MOST}
    assert doubles.new_rows([0], 2) == [True]
    doubles.end(100.0)
    assert doubles.until == 100.0 + KEPT_S
    doubles.begin()
    assert doubles.new_rows([_ROWS_MOST], 2) == [True]
