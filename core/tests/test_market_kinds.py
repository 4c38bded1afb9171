"""One table names the kinds of market data. What reads it knows them all, so a new kind cannot be half there."""

from decimal import Decimal
from typing import get_args, get_type_hints

from lab.domain.guard import InputGuard
from lab.domain.inputs import INPUTS, Input
from lab.domain.market import MARKET_DATA, MARKET_KINDS, Funding, MarketData
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.journal.codec import read_tape_line, tape_line
from lab.ports.provider import CHANNEL_OF, Channel
from lab.testing import START_NS, ScriptedStrategy, SimpleBroker, instrument


def test_each_kind_of_market_data_has_a_name_a_channel_and_a_check() -> None:
    assert set(get_args(MarketData)) == set(MARKET_DATA) == set(CHANNEL_OF)
    assert set(CHANNEL_OF.values()) == set(Channel)
    assert len(set(MARKET_KINDS.values())) == len(MARKET_KINDS)
    guard = InputGuard(["BTCUSDT"], MINUTE_NS)
    for kind, name in MARKET_KINDS.items():
        empty = kind(*[None] * len(get_type_hints(kind)))
        assert str(guard.malformed(empty)).startswith(f"{name}: "), kind


def test_every_input_is_listed_once() -> None:
    assert set(get_args(Input)) == set(INPUTS)
    assert len(INPUTS) == len(set(INPUTS))


def test_a_kind_that_the_engine_only_keeps_reaches_the_views_and_the_tape() -> None:
    funding = Funding("BTCUSDT", START_NS, 0.0001, START_NS + MINUTE_NS, 50_000.0)
    engine = Engine(
        {"BTCUSDT": instrument()}, MINUTE_NS, SimpleBroker(), [], [("probe", ScriptedStrategy(), Decimal(1000))],
        config_hash="0",
    )  # fmt: skip
    assert engine.step(funding) == (funding,)
    assert engine.strategies[0].view.funding("BTCUSDT") == funding
    assert read_tape_line(tape_line(funding)) == funding
