"""Ids are derived, never drawn: the same decision has the same id on every machine, before and after a crash."""

from hypothesis import given
from hypothesis import strategies as st
from lab.domain.ids import config_hash, order_id

DECISION = "c1723161255088000000"
DECISIONS = st.builds("{}{}".format, st.sampled_from("cqtdmx"), st.integers(0, 10**19))


def test_a_configuration_hash_is_eight_hex_digits_of_the_configuration() -> None:
    assert config_hash("provider=bitunix seed=7") == "35701655"
    assert config_hash("provider=bitunix seed=8") != config_hash("provider=bitunix seed=7")


def test_an_order_id_names_run_strategy_symbol_moment_and_leg() -> None:
    assert order_id("35701655", "sma", "BTCUSDT", DECISION, "1") == "35701655-sma-BTCUSDT-c1723161255088000000-1"


@given(
    st.tuples(st.sampled_from(["a", "b"]), DECISIONS, st.sampled_from("123")),
    st.tuples(st.sampled_from(["a", "b"]), DECISIONS, st.sampled_from("123")),
)
def test_different_decisions_have_different_ids(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    first, second = (
        order_id("35701655", strategy, "BTCUSDT", decision, leg) for strategy, decision, leg in (one, other)
    )
    assert (first == second) == (one == other)
