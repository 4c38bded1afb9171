"""Floats as exact decimals, and figures on their steps."""

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st
from lab.domain.money import as_decimal, step_down, step_up

D = Decimal


def test_a_float_is_the_decimal_of_its_shortest_text_however_many_came_before() -> None:
    values = [number / 10 for number in range(1_000)]
    for _ in range(2):
        assert [str(as_decimal(value)) for value in values] == [repr(value) for value in values]


@given(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.builds(
            lambda number, places: float(f"{number}e-{places}"), st.integers(-(10**16), 10**16), st.integers(0, 9)
        ),
    )
)
@example(0.25)
@example(0.125)
@example(-0.5)
@example(-0.0)
@example(123456789012345.6)
def test_every_float_is_the_decimal_of_its_shortest_text_whether_a_text_was_made_or_not(value: float) -> None:
    assert as_decimal(value).as_tuple() == D(repr(value or 0.0)).as_tuple()


def test_a_whole_number_is_taken_as_a_float_whichever_came_first() -> None:
    assert str(as_decimal(7654321)) == str(as_decimal(7654321.0)) == "7654321.0"
    assert str(as_decimal(7654322.0)) == str(as_decimal(7654322)) == "7654322.0"


@given(st.integers(0, 10**9), st.integers(1, 10**4))
def test_the_steps_below_and_above_a_figure_are_the_nearest(value: int, step: int) -> None:
    one, tick = D(value).scaleb(-3), D(step).scaleb(-2)
    low, high = step_down(one, tick), step_up(one, tick)
    assert low % tick == high % tick == 0
    assert low <= one <= high
    assert high - low in {0, tick}
    assert (high == low) is (one % tick == 0)
