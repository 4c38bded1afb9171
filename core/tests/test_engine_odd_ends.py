"""An end whose outcome only looks like a text can't be journalled: it is the broker's failure."""

from decimal import Decimal
from typing import Any

import pytest
from lab.domain.events import BrokerFailed, OrderEnded
from lab.domain.orders import Ended, OrderRequest
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.journal.codec import encode
from lab.testing.builders import candles, instrument
from lab.testing.harness import ScriptedStrategy
from lab.testing.scripted_broker import ScriptedBroker

X = "BTCUSDT"


class Text(str):
    """A text that no encoder takes."""

    __slots__ = ()


class Anything:
    """Equals whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("expired")


@pytest.mark.behaviour("P7", "O13")
@pytest.mark.parametrize("outcome", [Text("expired"), Anything()], ids=["subclass", "anything"])
def test_an_end_whose_outcome_only_looks_like_one_ends_the_run_as_the_brokers_failure(outcome: Any) -> None:
    def script(broker: ScriptedBroker, event: Any) -> Any:
        return [Ended(oid, outcome, "x") for oid in broker.orders]

    strategy = ScriptedStrategy(plan={0: [OrderRequest.buy(X, Decimal(1))]})
    made = Engine({X: instrument(X)}, MINUTE_NS, ScriptedBroker(script=script), (), [("s", strategy, Decimal(10_000))],
                  config_hash="l")  # fmt: skip
    made.begin()
    outputs = [output for event in candles([50_000.0] * 3) for output in made.step(event)]
    assert [output.error for output in outputs if isinstance(output, BrokerFailed)]
    assert [output.outcome for output in outputs if isinstance(output, OrderEnded)] == ["cancelled"]
    assert all(encode(output) for output in outputs)
