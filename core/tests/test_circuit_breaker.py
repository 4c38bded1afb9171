"""The circuit breaker that any provider can use, and how much the failures of its calls weigh."""

import asyncio
from collections.abc import Callable

import pytest
from attrs import define, field
from lab.domain.circuit_breaker import CircuitBreaker, weight_of
from lab.errors import AuthenticationFailed, ProviderError, ProviderUnavailable, RateLimited


@define
class Source:
    """A source that answers as it is told, behind a breaker, with a clock that the test moves."""

    now: float = 100.0
    calls: int = 0
    breaker: CircuitBreaker = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.breaker = CircuitBreaker(lambda: self.now)

    def call(self, error: BaseException | None = None, meanwhile: Callable[[], object] = str) -> str:
        """Call it, and return what the caller is told: an empty text for an answer."""
        try:
            with self.breaker.call():
                self.calls += 1
                meanwhile()
                if error is not None:
                    raise error
        except (ProviderError, asyncio.CancelledError) as told:
            return str(told) or type(told).__name__
        return ""

    def fail(self, times: int) -> None:
        for _ in range(times):
            assert self.call(ProviderUnavailable("x: HTTP 502")) == "x: HTTP 502"


@pytest.mark.behaviour("F11")
def test_four_failures_leave_it_closed_and_the_fifth_opens_it_for_thirty_seconds() -> None:
    source = Source()
    source.fail(4)
    assert source.breaker.refusal() == ""
    source.fail(1)
    assert source.call() == "not called for 30 s more: 5 failures in a row, the last: x: HTTP 502"
    source.now += 29.9
    assert source.call().startswith("not called for 0 s more")
    assert source.calls == 5
    source.now += 0.1
    assert source.call() == ""
    assert source.calls == 6


@pytest.mark.behaviour("F11")
def test_one_probe_goes_out_at_a_time_and_a_failed_one_opens_it_again() -> None:
    source = Source()
    source.fail(5)
    source.now += 30
    refused: list[str] = []
    source.call(ProviderUnavailable("x: HTTP 503"), meanwhile=lambda: refused.append(source.call()))
    assert refused == [
        "not called while one call finds out whether it answers again: 5 failures in a row, the last: x: HTTP 502"
    ]
    assert source.call() == "not called for 30 s more: 6 failures in a row, the last: x: HTTP 503"
    source.now += 30
    assert source.call() == ""
    source.fail(4)
    assert source.call() == "", "after an answer it counts from the beginning"


@pytest.mark.behaviour("F11")
def test_a_cancelled_probe_says_nothing_and_the_next_call_is_the_probe() -> None:
    source = Source()
    source.fail(5)
    source.now += 30
    assert source.call(asyncio.CancelledError()) == "CancelledError"
    assert source.breaker.refusal() == ""
    source.fail(1)
    assert source.breaker.refusal() != ""


@pytest.mark.behaviour("F11")
def test_a_call_that_began_before_it_opened_neither_lengthens_the_pause_nor_counts_as_the_probe() -> None:
    source = Source()

    def others_fail() -> None:
        source.fail(5)
        source.now += 20

    assert source.call(ProviderUnavailable("late"), meanwhile=others_fail) == "late"
    assert source.call() == "not called for 10 s more: 5 failures in a row, the last: x: HTTP 502"


@pytest.mark.behaviour("F11", "F12")
def test_an_answer_that_is_not_the_one_asked_for_shows_that_the_source_works() -> None:
    source = Source()
    source.fail(4)
    assert source.call(ProviderError("no such symbol")) == "no such symbol"
    source.fail(4)
    assert source.breaker.refusal() == ""


@pytest.mark.behaviour("F12")
def test_a_rate_limit_weighs_two_and_what_is_no_failure_nothing() -> None:
    assert [weight_of(error) for error in (
        ProviderUnavailable("x"), RateLimited("x"), ProviderError("x"), AuthenticationFailed("x"), KeyError("x"),
    )] == [1, 2, 0, 0, 0]  # fmt: skip
    source = Source()
    for _ in range(2):
        source.call(RateLimited("x: HTTP 429"))
    assert source.breaker.refusal() == ""
    source.fail(1)
    assert source.breaker.refusal().startswith("not called for 30 s more: 3 failures in a row")
