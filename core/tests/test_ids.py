"""Ids are derived, never drawn: the same decision has the same id on every machine, before and after a crash."""

from hypothesis import given
from hypothesis import strategies as st
from lab.domain.ids import config_hash, order_id

DECIDED_NS = 1_723_161_255_088_000_000


def test_a_lineage_is_eight_hex_digits_of_the_configuration() -> None:
    assert config_hash("provider=bitunix seed=7") == "35701655"
    assert config_hash("provider=bitunix seed=8") != config_hash("provider=bitunix seed=7")


def test_an_order_id_names_run_strategy_symbol_moment_and_leg() -> None:
    assert order_id("35701655", "sma", "BTCUSDT", DECIDED_NS, "1") == "35701655-sma-BTCUSDT-1723161255088-1"


@given(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 10**13), st.sampled_from("123")),
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 10**13), st.sampled_from("123")),
)
def test_different_decisions_have_different_ids(one: tuple[str, int, str], other: tuple[str, int, str]) -> None:
    first, second = (
        order_id("35701655", strategy, "BTCUSDT", millisecond * 10**6, leg)
        for strategy, millisecond, leg in (one, other)
    )
    assert (first == second) == (one == other)
