"""The venue's clock stepped: the paper broker begins anew, and an order meets the first quote of the new time."""

from decimal import Decimal

import pytest
from lab import Depth, OrderRequest, Quote
from lab.domain.control import ClockStepped
from lab.domain.events import OrderAccepted, OrderEnded, OrderFilled
from lab.domain.time import SECOND_NS
from lab.testing import START_NS
from lab.testing.builders import candles
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab_paper_broker.broker import PaperBroker

pytestmark = pytest.mark.behaviour("T2")
X = "BTCUSDT"


def at(second: float) -> int:
    return START_NS + int(second * SECOND_NS)


def quote(second: float, price: float = 100.0, size: float = 5.0) -> Quote:
    return Quote(X, at(second), price, size, price, size)


def back(second: float) -> ClockStepped:
    return ClockStepped(at(second), -600 * SECOND_NS, "venue", "said a test")


class Buys(ScriptedStrategy):
    """Buys one on every quote whose size is 5."""

    def on_quote(self, quote: Quote, view: object) -> list[OrderRequest]:
        return [OrderRequest.buy(X, Decimal(1))] if quote.ask_size == 5.0 else []


def test_an_order_of_the_new_time_arrives_in_it_and_meets_its_first_fresh_quote() -> None:
    made = engine_with([Buys(plan={})], broker=PaperBroker(latency_ms=200, jitter_ms=0))
    out = run(made, [quote(600), quote(600.1, size=1.0)])
    assert len(only(OrderAccepted, out)) == 1
    out = run(made, [back(2)])
    assert [(end.outcome, end.reason) for end in only(OrderEnded, out)] == [("expired", "the venue's clock stepped")]
    out = run(made, [quote(3, 101.0), quote(3.1, 102.0, 1.0), quote(3.3, 103.0, 1.0), quote(601, 104.0, 1.0)])
    [accepted], [filled] = only(OrderAccepted, out), only(OrderFilled, out)
    assert accepted.eligible_ns == at(3.2)
    assert (filled.fill.price, filled.fill.time_ns) == (102, at(3.2))


def test_an_order_sent_before_the_first_new_quote_waits_for_it() -> None:
    made = engine_with(
        [ScriptedStrategy(plan={0: (OrderRequest.buy(X, Decimal(1)),)})],
        broker=PaperBroker(latency_ms=200, jitter_ms=0),
    )
    [candle] = candles([100.0])
    run(made, [quote(600, 90.0), Depth(X, at(600), ((90.0, 5.0),), ((90.0, 5.0),)), back(58)])
    out = run(made, [candle, quote(61, 110.0)])
    assert [one.fill.price for one in only(OrderFilled, out)] == [110]


def test_what_was_taken_of_a_level_and_what_was_due_are_forgotten() -> None:
    made = engine_with([Buys(plan={})], broker=PaperBroker(latency_ms=0, jitter_ms=0))
    out = run(made, [quote(600), quote(600.1), quote(600.2, size=2.0), back(2), quote(2.5, size=1.0)])
    assert len(only(OrderFilled, out)) == 2
    assert not made.state.working


def test_a_step_before_anything_else_is_nothing() -> None:
    broker = PaperBroker()
    made = engine_with([Buys(plan={})], broker=broker)
    assert run(made, [back(0)]) == [back(0)]
    assert len(only(OrderAccepted, run(made, [quote(1)]))) == 1
