"""Decoders and readers take whatever comes: from samples that were damaged, nothing makes them raise what they may not.

A failing seed is shrunk by Hypothesis, or named with what to type to see it again.
"""

import time
from typing import Final

import pytest
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import Mutations, mutated

COUNTS: Final = {
    "frame": 20_000, "rest": 3_000, "line": 4_000, "body": 500, "journal": 200, "tape": 200, "prices": 300,
    "rates": 300, "settings": 300,
}  # fmt: skip
AT_NIGHT: Final = 50
"""How many times as many there are with ``--night``: a million frames."""
SLOWEST_S: Final = 5.0


def _take(name: str, count: int, seed: int) -> None:
    target = TARGETS[name]
    mutations = Mutations(target.samples(), seed)
    for number in range(count):
        data, begun = mutations.next(), time.monotonic()
        try:
            target.take(data)
        except BaseException as error:
            error.add_note(f"damage {number} of seed {seed}; python tools/fuzz.py {name} --bytes {data.hex()}"[:4000])
            raise
        assert time.monotonic() - begun < SLOWEST_S, (name, seed, number, data[:1000])


@pytest.mark.behaviour("F13", "J2", "M2")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_samples_are_taken_or_refused_in_a_few_words(name: str) -> None:
    for sample in TARGETS[name].samples():
        TARGETS[name].take(sample)
    _take(name, COUNTS[name], seed=1)


@pytest.mark.night
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TARGETS)
def test_many_more_damaged_samples_are_taken_or_refused_in_a_few_words(name: str) -> None:
    for seed in range(2, 2 + AT_NIGHT):
        _take(name, COUNTS[name], seed)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_bytes_come_are_taken_or_refused_in_a_few_words(name: str) -> None:
    target = TARGETS[name]
    samples = target.samples()

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.one_of(st.binary(max_size=200), st.randoms(use_true_random=False).map(lambda draw: mutated(draw, samples)))
    )
    def take(data: bytes) -> None:
        target.take(data)

    take()
