"""The table of an order's life: complete, with ends that are final."""

import pytest
from lab.domain.life_cycle import STEPS, OrderState, check_step

S = OrderState
FINAL = {S.FILLED, S.CANCELLED, S.EXPIRED, S.REJECTED}


@pytest.mark.behaviour("O13")
def test_every_state_says_what_may_follow_and_only_ends_are_followed_by_nothing() -> None:
    assert set(STEPS) == set(S)
    assert {state for state, following in STEPS.items() if not following} == FINAL


@pytest.mark.behaviour("O13")
def test_every_state_can_be_reached_and_reaches_an_end() -> None:
    reached = {S.WORKING}
    for _ in S:
        reached |= {following for state in reached for following in STEPS[state]}
    assert reached == set(S)
    for state in set(S) - FINAL:
        assert STEPS[state] & FINAL


@pytest.mark.behaviour("O13")
def test_nothing_goes_back() -> None:
    assert all(S.WORKING not in following for following in STEPS.values())
    assert {state for state, following in STEPS.items() if S.TRIGGERED in following} == {S.WORKING}
    assert S.REJECTED not in STEPS[S.PARTIALLY_FILLED]


@pytest.mark.behaviour("O13")
@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("following", S)
def test_a_step_that_is_not_in_the_table_is_refused_by_the_names_of_both(state: S, following: S) -> None:
    if following in STEPS[state]:
        check_step("o-1", state, following)
    else:
        with pytest.raises(ValueError, match=f"^order o-1 cannot become {following}: it is {state}$"):
            check_step("o-1", state, following)
