"""Amendments of a bracket's orders while its entry changes: whatever is on its way, the guards guard what there is."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from lab import AmendRequest, CancelRequest, OrderRequest, OrderType, Quote
from lab.domain.events import BrokerFailed, OrderAccepted, OrderFilled, OrderRefused
from lab.testing import ScriptedStrategy, engine_with, only, run
from lab.testing.builders import START_NS, candles
from lab_paper_broker.broker import PaperBroker
from paper import broker as paper_broker
from paper import candle, order, quote, seen, send

D = Decimal
X = "BTCUSDT"
ENTRY = f"l-s-{X}-c{START_NS}-1"
STOP = f"{ENTRY}/stop"
BRACKET = OrderRequest.buy(X, D(5), type=OrderType.LIMIT, limit=D(90), stop_loss=D(80))


def played(plan: dict[int, Sequence[Any]], closes: list[float], volume: float = 1_000.0) -> tuple[Any, list[Any]]:
    """Return the engine and what it gave, with the latencies that are the default."""
    made = engine_with({"s": ScriptedStrategy(plan=plan)}, broker=PaperBroker(), deposit=D(100_000))
    return made, run(made, candles(closes, volume=volume))


@pytest.mark.behaviour("O6", "O16")
@pytest.mark.parametrize("quantity", [2, 9])
def test_a_stop_that_is_moved_while_its_entry_is_amended_guards_the_new_size(quantity: int) -> None:
    changes = [AmendRequest(ENTRY, quantity=D(quantity)), AmendRequest(STOP, stop=D(85))]
    made, outputs = played({0: [BRACKET], 2: changes}, [100.0] * 5 + [88.0, 70.0, 70.0])
    assert not only(BrokerFailed, outputs)
    assert [(one.fill.quantity, one.position) for one in only(OrderFilled, outputs)] == [
        (quantity, quantity),
        (quantity, 0),
    ]
    assert not made.state.working


@pytest.mark.behaviour("O6", "O16")
def test_a_stop_that_is_moved_while_the_rest_of_its_entry_is_cancelled_guards_what_filled() -> None:
    changes = [CancelRequest(ENTRY), AmendRequest(STOP, stop=D(85))]
    made, outputs = played({0: [BRACKET], 3: changes}, [100.0] * 3 + [88.0, 88.0, 70.0, 70.0, 70.0], volume=2.0)
    assert not only(BrokerFailed, outputs)
    assert [one.position for one in only(OrderFilled, outputs)] == [2, 0]
    assert not made.state.working


@pytest.mark.behaviour("O5")
def test_what_is_left_of_a_marketable_limit_takes_what_comes_and_not_its_limit() -> None:
    paper = paper_broker(liquidity="displayed")
    send(paper, order(quantity="5", limit="110"))
    assert seen(paper, candle(0, 100.0, 101.0, 99.0, 100.0, 1.0)) == ["o-1 fill 1 @ 100"]
    assert seen(paper, candle(60_000, 102.0, 103.0, 99.0, 100.0, 50.0)) == ["o-1 fill 4 @ 102"]
    quoted = paper_broker()
    send(quoted, order(quantity="5", limit="110"))
    assert seen(quoted, quote(250, ask_size=1.0)) == ["o-1 fill 1 @ 100.1"]
    (fill,) = quoted.observe(quote(300, 101.0, 101.1, ask_size=9.0))
    assert (str(fill.price), fill.liquidity) == ("101.1", "taker")  # type: ignore[union-attr]


def test_once_the_market_has_left_it_the_rest_of_a_limit_rests() -> None:
    paper = paper_broker()
    send(paper, order(quantity="5", limit="110"))
    assert seen(paper, quote(250, ask_size=1.0)) == ["o-1 fill 1 @ 100.1"]
    assert paper.observe(quote(300, 111.0, 111.1)) == []
    (fill,) = paper.observe(quote(350, 104.0, 104.1))
    assert (str(fill.price), fill.liquidity) == ("110", "maker")  # type: ignore[union-attr]


def test_a_book_has_a_thousand_working_orders_at_most_and_an_exit_is_placed_beside_them() -> None:
    far = OrderRequest.buy(X, D("0.01"), type=OrderType.LIMIT, limit=D(1))
    plan: dict[int, Sequence[Any]] = {0: [OrderRequest.buy(X, D(1))], **{n: [far] * 100 for n in range(1, 13)}}
    plan[14] = [OrderRequest.sell(X, D(1))]
    _, outputs = played(plan, [100.0] * 17)
    assert len(only(OrderAccepted, outputs)) == 1_002
    refused = only(OrderRefused, outputs)
    assert len(refused) == 200
    assert (refused[0].reason, refused[0].numbers) == (
        "too many orders work already", {"working": "1000", "most": "1000"},
    )  # fmt: skip
    assert [one.position for one in only(OrderFilled, outputs)] == [1, 0]


def test_quotes_far_from_what_rests_are_not_shown_to_the_broker() -> None:
    made = engine_with(
        {"s": ScriptedStrategy(plan={0: [BRACKET]})}, broker=(paper := PaperBroker()), deposit=D(100_000)
    )
    run(made, candles([100.0]))
    start_ns = START_NS + 120 * 10**9
    for number in range(50):
        made.step(Quote(X, start_ns + number * 10**9, 100.0, 5.0, 100.1, 5.0))
    assert paper._desk._event_n < 5  # noqa: SLF001 - how often it was asked is not seen outside
