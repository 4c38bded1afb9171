"""Many inputs at once are the same steps, numbered through all calls."""

from decimal import Decimal
from typing import Any

import pytest
from lab.domain.orders import OrderRequest
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.testing.builders import candles, instrument, quotes
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker

X = "BTCUSDT"


def made() -> Engine:
    strategy = ScriptedStrategy(plan={1: [OrderRequest.buy(X, Decimal(1))]})
    engine = Engine({X: instrument(X)}, MINUTE_NS, ScriptedBroker(), (), [("s", strategy, Decimal(10_000))],
                    config_hash="l")  # fmt: skip
    engine.begin()
    return engine


def test_all_at_once_come_to_what_each_by_itself_comes_to() -> None:
    """Of quotes nothing comes here, so that nothing is appended for them."""
    shown = candles([50_000.0] * 6)
    events = [*shown, *quotes([50_000.0] * 3, start_ns=shown[-1].time_ns)]
    one, all_ = made(), made()
    single = [(out, one.state.now_ns, number) for number, event in enumerate(events, 1) if (out := one.step(event))]
    taken: list[Any] = []
    for part in (events[:4], events[4:]):
        all_.step_all(part, lambda *row: taken.append(row))
    assert taken == single
    assert 0 < len(taken) <= len(shown)
    assert all_.stepped == len(events)


def test_the_number_of_the_input_that_failed_is_known() -> None:
    engine = made()

    def broken() -> Any:
        yield from candles([50_000.0] * 3)
        raise OSError("the file ends here")

    with pytest.raises(OSError, match="the file ends here"):
        engine.step_all(broken(), lambda *row: None)
    assert engine.stepped == 3


def test_an_input_that_a_step_refuses_is_counted() -> None:
    engine = made()
    with pytest.raises(KeyError, match="UNKNOWN"):
        engine.step_all([*candles([50_000.0] * 2), *candles([1.0], symbol="UNKNOWN")], lambda *row: None)
    assert engine.stepped == 3
