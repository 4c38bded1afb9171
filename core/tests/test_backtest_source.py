"""Recorded data on its way to the engine: nothing sound is lost, wherever a batch ends."""

from collections.abc import Sequence
from typing import Any

import pytest
from lab.backtesting.source import GuardedSource
from lab.domain.time import MINUTE_NS
from lab.ports import Channel, Subscription
from lab.testing import candles, quotes

WANTED = [Subscription("BTCUSDT", MINUTE_NS, frozenset({Channel.CANDLES, Channel.QUOTES}))]
EVENTS: Sequence[Any] = [*quotes([100.0, 101.0, 102.0]), *candles([100.0, 101.0])]


@pytest.mark.parametrize("size", range(1, 7))
def test_every_event_of_recorded_data_goes_on_once_and_in_order_the_last_one_too(size: int) -> None:
    batches = [EVENTS[place : place + size] for place in range(0, len(EVENTS), size)]
    source = GuardedSource("replay", WANTED, iter(batches))
    assert [event for batch in source for event in batch] == EVENTS
    assert source.held_out == 0


@pytest.mark.behaviour("F13")
def test_an_event_far_before_all_others_shows_none_of_them_to_be_from_the_future() -> None:
    first, second, old = quotes([100.0, 101.0, 102.0], step_ns=MINUTE_NS)
    old = old._replace(time_ns=first.time_ns - MINUTE_NS)
    source = GuardedSource("replay", WANTED, iter([[first, second, old]]))
    assert [event for batch in source for event in batch] == [first, second, old]
