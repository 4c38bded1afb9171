"""The gate ``margin`` counts what the account has free: shared or separate, with cross or with isolated margin."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from lab import OrderRequest, OrderType
from lab.domain.events import OrderAccepted, OrderRefused
from lab.testing import instrument
from lab.testing.builders import START_NS, candles, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker
from lab_risk_limits.margin import Margin

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"
Plan = Mapping[int, Sequence[Any]]


def buy(quantity: int, symbol: str = X, **more: Any) -> OrderRequest:
    return OrderRequest.buy(symbol, D(quantity), **more)


def sell(quantity: int, symbol: str = X, **more: Any) -> OrderRequest:
    return OrderRequest.sell(symbol, D(quantity), **more)


def asked(
    a: Plan,
    b: Plan,
    *closes: float,
    account: str = "shared",
    latency_ms: int = 0,
    symbols: Sequence[str] = (X,),
    **more: Any,
) -> tuple[list[tuple[str, Decimal]], list[OrderRefused]]:
    """Run two strategies of 5,000 each, 10 times; return what was accepted of whom, and what was refused."""
    made = engine_with(
        {"a": ScriptedStrategy(plan=a), "b": ScriptedStrategy(plan=b)},
        gates=[Margin(**more.pop("gate", {}))],
        broker=SimpleBroker(latency_ms=latency_ms),
        instruments=[instrument(symbol, taker_fee_rate=D(0)) for symbol in symbols],
        deposit=D(5_000),
        leverage=D(10),
        account_mode=account,
        **more,
    )
    inputs = [one for n, price in enumerate(closes) for symbol in symbols
              for one in candles([price], start_ns=START_NS + 60_000_000_000 * n, symbol=symbol)]  # fmt: skip
    outputs = run(made, inputs)
    return [(one.strategy, one.quantity) for one in only(OrderAccepted, outputs)], only(OrderRefused, outputs)


@pytest.mark.behaviour("R2", "P6")
@pytest.mark.parametrize(
    ("account", "order", "passes"),
    [
        ("shared", buy(360), True),  # 0.9 x (100,000 - 60,000) = 36,000
        ("shared", buy(361), False),
        ("separate", buy(361), True),  # 0.9 x 50,000 of its own
        ("separate", buy(451), False),
        ("shared", sell(1_500), True),  # 600 close what a holds, 0.9 x 100,000 open 900
        ("shared", sell(1_501), False),
        ("separate", sell(451), False),
    ],
)
def test_what_another_strategy_holds_is_bound_in_a_shared_account_and_its_other_side_is_free(
    account: str, order: OrderRequest, passes: bool
) -> None:
    """a holds 600 coins at 100 with 10,000 in all; alone its 5,000 carry 450."""
    size = 600 if account == "shared" else 450
    accepted, refused = asked({0: [buy(size)]}, {2: [order]}, 100.0, 100.0, 100.0, account=account)
    assert accepted == [("a", size), *([("b", order.quantity)] if passes else [])]
    assert len(refused) == int(not passes)


@pytest.mark.behaviour("R2", "P6")
def test_the_refusal_has_the_figures_of_the_account() -> None:
    """At 110 a's 600 coins gained 6,000, and bind 6,600."""
    _, [refused] = asked({0: [buy(600)]}, {2: [buy(1_000)]}, 100.0, 100.0, 110.0)
    numbers = refused.numbers
    names = ("equity", "cash", "unrealised", "margin_in_use", "allowed", "margin")
    assert [D(numbers[name]) for name in names] == [16_000, 10_000, 6_000, 6_600, 8_460, 11_000]


@pytest.mark.behaviour("R2", "P6")
def test_working_orders_of_another_strategy_bind_margin_of_the_account() -> None:
    resting = buy(600, type=OrderType.LIMIT, limit=D(90))  # 54,000
    accepted, refused = asked({0: [resting]}, {0: [buy(414)], 1: [buy(415)]}, 100.0, 100.0)
    assert (accepted, len(refused)) == ([("a", 600), ("b", 414)], 1)  # 0.9 x (100,000 - 54,000)


@pytest.mark.behaviour("R2", "P6")
@pytest.mark.parametrize(("quantity", "passes"), [(900, True), (901, False)])
def test_what_a_strategy_is_closing_frees_margin_for_the_others(quantity: int, passes: bool) -> None:
    """a sells its 600 coins: when they are gone 0.9 x 100,000 are free."""
    plan = {0: [buy(600)], 2: [sell(600, reduce_only=True)]}
    accepted, _ = asked(plan, {2: [buy(quantity)]}, 100.0, 100.0, 100.0)
    assert (("b", D(quantity)) in accepted) is passes


@pytest.mark.behaviour("R2", "P6")
@pytest.mark.parametrize(
    ("order", "passes"), [(sell(270), True), (sell(271), False), (buy(1_600), True), (buy(1_601), False)]
)
def test_what_closes_one_leg_of_a_hedge_leaves_the_other(order: OrderRequest, passes: bool) -> None:
    """a closes 700 coins beside b's short of 700: 70,000 are bound, and 30,000 free. b may buy 700 and 900 more."""
    plan = {0: [buy(700)], 3: [sell(700, reduce_only=True)]}
    accepted, _ = asked(plan, {1: [sell(700)], 3: [order]}, 100.0, 100.0, 100.0, 100.0)
    assert (("b", order.quantity) in accepted) is passes


@pytest.mark.behaviour("R2", "P6")
@pytest.mark.parametrize(("quantity", "passes"), [(360, True), (361, False)])
def test_positions_of_other_symbols_and_strategies_are_bound(quantity: int, passes: bool) -> None:
    accepted, _ = asked({1: [buy(600, Y)]}, {4: [buy(quantity)]}, 100.0, 100.0, 100.0, symbols=(X, Y))
    assert (("b", D(quantity)) in accepted) is passes


@pytest.mark.behaviour("R2", "P6")
@pytest.mark.parametrize("side", [1, -1])
def test_a_net_position_is_bound_at_the_price_it_would_be_left_at(side: int) -> None:
    """Quotes of 100 and 102: 600 long are worth 60,000 and 600 short 61,200."""
    ask = OrderRequest.buy if side > 0 else OrderRequest.sell
    made = engine_with(
        {"a": ScriptedStrategy(plan={0: [ask(X, D(600))]}), "b": ScriptedStrategy(plan={1: [ask(X, D(1_000))]})},
        gates=[Margin()], broker=SimpleBroker(latency_ms=0), instruments=[instrument(taker_fee_rate=D(0))],
        deposit=D(5_000), leverage=D(10), account_mode="shared",
    )  # fmt: skip
    run(made, candles([101.0]))
    run(made, quotes([101.0], start_ns=START_NS + 61_000_000_000, spread=2.0))
    [refused] = only(OrderRefused, run(made, candles([101.0], start_ns=START_NS + 60_000_000_000)))
    equity = 10_000 - 600 * 2
    assert D(refused.numbers["equity"]) == equity
    assert D(refused.numbers["margin_in_use"]) == (6_000 if side > 0 else 6_120)


@pytest.mark.behaviour("R2", "P6")
def test_what_turns_the_net_position_is_bound_at_the_price_of_its_new_side() -> None:
    """70 long and 60 short; when the 70 are closed 60 short are left, worth 102 each where 100 is bid."""
    a = ScriptedStrategy(plan={0: [buy(70)], 1: [sell(70, reduce_only=True)]})
    b = ScriptedStrategy(plan={0: [sell(60)], 1: [sell(1_000)]})
    made = engine_with(
        {"a": a, "b": b}, gates=[Margin()], broker=SimpleBroker(latency_ms=0),
        instruments=[instrument(taker_fee_rate=D(0))], deposit=D(5_000), leverage=D(10), account_mode="shared",
    )  # fmt: skip
    run(made, candles([101.0]))
    run(made, quotes([101.0], start_ns=START_NS + 61_000_000_000, spread=2.0))
    [refused] = only(OrderRefused, run(made, candles([101.0], start_ns=START_NS + 60_000_000_000)))
    assert D(refused.numbers["margin_in_use"]) == 612


# -- isolated ---------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R2", "O11")
@pytest.mark.parametrize(
    ("account", "close", "order", "passes"),
    [
        ("separate", 120.0, buy(150), True),  # 0.9 x (50,000 - 30,000) = 18,000, whatever the position gained
        ("separate", 120.0, buy(151), False),
        ("separate", 95.0, buy(189), True),
        ("separate", 95.0, buy(190), False),
        ("shared", 120.0, buy(525), True),  # 0.9 x (100,000 - 30,000) = 63,000
        ("shared", 120.0, buy(526), False),
        ("separate", 100.0, sell(300 + 450), True),  # all of it is closed
        ("separate", 100.0, sell(300 + 451), False),
    ],
)
def test_free_with_isolated_margin_is_the_cash_that_no_position_was_given(
    account: str, close: float, order: OrderRequest, passes: bool
) -> None:
    """a holds 300 coins bought at 100: 3,000 of its 5,000 are their margin."""
    plan = {0: [buy(300)], 2: [order]}
    accepted, refused = asked(plan, {}, 100.0, 100.0, close, account=account, margin_mode="isolated")
    assert (("a", order.quantity) in accepted) is passes
    assert len(accepted) + len(refused) == 2


@pytest.mark.behaviour("R2", "O11", "P6")
@pytest.mark.parametrize(("order", "passes"), [(sell(630), True), (sell(631), False)])
def test_isolated_positions_of_two_strategies_do_not_net(order: OrderRequest, passes: bool) -> None:
    """a's 300 coins bind 30,000 beside b's short: 0.9 x 70,000."""
    accepted, _ = asked({0: [buy(300)]}, {2: [order]}, 100.0, 100.0, 100.0, margin_mode="isolated")
    assert (("b", order.quantity) in accepted) is passes


@pytest.mark.behaviour("R2", "O11", "P6")
@pytest.mark.parametrize(("who", "passes"), [("a", True), ("b", False)])
def test_what_is_being_closed_frees_the_margin_of_its_own_isolated_position_alone(who: str, passes: bool) -> None:
    plan = {0: [buy(300)], 2: [sell(300, reduce_only=True), *([buy(900)] if who == "a" else [])]}
    accepted, _ = asked(plan, {2: [buy(900)]} if who == "b" else {}, 100.0, 100.0, 100.0, margin_mode="isolated")
    assert ((who, D(900)) in accepted) is passes


@pytest.mark.parametrize(("margin", "money"), [("cross", "equity"), ("isolated", "cash")])
def test_the_rule_is_described_with_what_is_free(margin: Any, money: str) -> None:
    made = engine_with([ScriptedStrategy()], leverage=D(10), margin_mode=margin)
    limit = Margin().describe(made.strategies[0].view)["limit"]
    assert limit == f"notional / 10 ≤ 0.9 × ({money} − margin in use)"
