"""What its margin no longer backs is closed by the engine: when, of whom, at what cost, and with what left."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from lab.domain.control import Command, CommandAction
from lab.domain.events import (
    AmendRefused,
    BrokerFailed,
    Liquidated,
    LiquidationSettled,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderRefused,
)
from lab.domain.instrument import Instrument, MarginTier
from lab.domain.market import Candle, Quote
from lab.domain.orders import (
    Accepted,
    AmendRequest,
    CancelRequest,
    Ended,
    Feature,
    Order,
    OrderRequest,
    OrderType,
    Rejected,
    Side,
)
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"


def free(symbol: str = X, **more: Any) -> Instrument:
    return instrument(symbol, taker_fee_rate=D(0), **more)


def engine(
    plan: dict[int, Sequence[Any]],
    *,
    known: Sequence[Instrument] = (),
    deposit: int = 10_000,
    leverage: int = 10,
    broker: SimpleBroker | None = None,
    **more: Any,
) -> Engine:
    return engine_with(
        [ScriptedStrategy(plan=plan)],
        broker=broker or SimpleBroker(latency_ms=0),
        instruments=known or [free()],
        deposit=D(deposit),
        leverage=D(leverage),
        **more,
    )


def path(*closes: float, start: int = 0, symbol: str = X) -> list[Candle]:
    return candles(closes, start_ns=START_NS + start * MINUTE_NS, symbol=symbol)


# -- cross ------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize(("last", "liquidated"), [(90.46, False), (90.45, True)])
def test_a_book_is_liquidated_when_its_equity_is_down_to_the_maintenance_margin(last: float, liquidated: bool) -> None:
    """1,000 coins at 100 on 10,000: equity 10,000 - 1,000 x (100 - p) = 0.005 x 1,000 x p, at p = 90,000 / 995."""
    made = engine({0: [OrderRequest.buy(X, D(1_000))]})
    run(made, path(100.0, 100.0))
    view = made.strategies[0].view
    price = view.liquidation_price(X)
    assert price is not None
    assert abs(price - D(90_000) / 995) < D("1e-9")
    assert (view.margin_in_use, view.maintenance_margin, view.margin_mode) == (10_000, 500, "cross")
    outputs = run(made, path(95.0, last, start=2))
    assert len(only(Liquidated, outputs)) == int(liquidated)
    for one in only(Liquidated, outputs):
        [call] = one.positions
        assert (one.strategy, one.scope) == ("s0", "account")
        assert (one.balance, one.maintenance) == (D("450"), D("452.25"))
        assert (call.quantity, call.mark, call.notional) == (1_000, D("90.45"), 90_450)


@pytest.mark.behaviour("O11")
def test_a_liquidation_cancels_closes_and_settles_and_what_is_left_stays() -> None:
    """Closed at 90.4, 400 are left of 10,000; the venue takes 0.1 % of 90,400 of it."""
    resting = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))
    made = engine({0: [OrderRequest.buy(X, D(600)), OrderRequest.buy(X, D(400)), resting]},
                  known=[free(liquidation_fee_rate=D("0.001"), quantity_max=D(600))])  # fmt: skip
    outputs = run(made, path(100.0, 100.0, 90.4, 90.4, 200.0))
    place = outputs.index(only(Liquidated, outputs)[0])
    kinds = [type(one).__name__ for one in outputs[place:] if not isinstance(one, Candle)]
    assert kinds == [
        "Liquidated", "OrderEnded", "OrderAccepted", "OrderAccepted", "EquityExhausted", "OrderFilled", "OrderFilled",
        "LiquidationSettled",
    ]  # fmt: skip
    assert [(one.quantity, one.reduce_only, one.reason) for one in only(OrderAccepted, outputs[place:])] == [
        (600, True, "liquidated"),
        (400, True, "liquidated"),
    ]
    [settled] = only(LiquidationSettled, outputs)
    assert (settled.fee, settled.insurance, settled.symbols) == (D("90.4"), 0, (X,))
    assert sum(amount for _, amount in settled.postings) == 0
    assert made.valuation.equity() == 400 - D("90.4")
    totals = made.counters
    assert (totals.liquidations, totals.liquidation_fees, totals.insurance_paid) == (1, D("90.4"), 0)
    made.strategies[0].book.ledger.check_balance()


@pytest.mark.behaviour("O11")
def test_a_fee_takes_no_more_than_is_left_and_a_loss_beyond_all_money_is_the_insurance_funds() -> None:
    known = [free(liquidation_fee_rate=D("0.01"))]
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, known=known)
    [settled] = only(LiquidationSettled, run(made, path(100.0, 100.0, 90.3, 90.3)))
    assert (settled.fee, settled.insurance) == (300, 0)
    assert made.valuation.equity() == 0
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, known=known)
    [settled] = only(LiquidationSettled, run(made, path(100.0, 100.0, 80.0, 80.0)))
    assert (settled.fee, settled.insurance) == (0, 10_000)
    assert made.valuation.equity() == 0
    assert made.counters.insurance_paid == 10_000


@pytest.mark.behaviour("O11")
def test_the_middle_of_the_quote_decides_and_not_its_bid() -> None:
    made = engine({0: [OrderRequest.buy(X, D(1_000))]})
    run(made, path(100.0, 100.0))
    wide = Quote(X, START_NS + 3 * MINUTE_NS, 80.0, 1.0, 101.0, 1.0)
    assert not only(Liquidated, made.step(wide))
    assert only(Liquidated, made.step(wide._replace(time_ns=wide.time_ns + 1, bid=79.0)))


@pytest.mark.behaviour("O11")
def test_a_short_is_liquidated_on_the_way_up() -> None:
    """10,000 - 1,000 x (p - 100) = 5 p, at p = 110,000 / 1,005 = 109.4527."""
    made = engine({0: [OrderRequest.sell(X, D(1_000))]})
    run(made, path(100.0, 100.0))
    assert not only(Liquidated, run(made, path(109.4, 50.0, 109.4, start=2)))
    assert only(Liquidated, run(made, path(109.5, start=5)))


@pytest.mark.behaviour("O11")
def test_a_position_in_a_higher_tier_needs_that_tiers_margin() -> None:
    """From 50,000 on 5 %: 1,000 coins at 100 on 10,000 are liquidated at 90,000 / 950 = 94.7, not at 90.5."""
    tiers = (
        MarginTier(notional_to=D(50_000), leverage_max=100, maintenance_rate=D("0.005")),
        MarginTier(notional_from=D(50_000), leverage_max=10, maintenance_rate=D("0.05")),
    )
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, known=[free(tiers=tiers)])
    assert not only(Liquidated, run(made, path(100.0, 100.0, 94.8)))
    [one] = only(Liquidated, run(made, path(94.7, start=3)))
    assert (one.balance, one.maintenance) == (4_700, 4_735)


@pytest.mark.behaviour("O11")
def test_a_short_is_liquidated_at_a_fall_that_is_not_the_deepest_of_the_run() -> None:
    """400 short fall by 8,000 and come back; 500 short need 10 % from 50,000 on: 10,000 - 500 x (p - 100) at 109.1."""
    tiers = (
        MarginTier(notional_to=D(50_000), maintenance_rate=D(0)),
        MarginTier(notional_from=D(50_000), maintenance_rate=D("0.1")),
    )
    made = engine({0: [OrderRequest.sell(X, D(400))], 3: [OrderRequest.sell(X, D(100))]}, known=[free(tiers=tiers)])
    assert not only(Liquidated, run(made, path(100.0, 100.0, 120.0, 100.0, 100.0, 109.0)))
    [one] = only(Liquidated, run(made, path(109.1, start=6)))
    assert (one.balance, one.maintenance) == (5_450, 5_455)


@pytest.mark.behaviour("O11")
def test_an_inverse_book_is_liquidated_in_coins() -> None:
    """60,000 contracts of 1 USD at 50,000 on 0.12 coins: 60,300 / 1.32 = 45,681.8, Bybit's formula."""
    known = free(contract="inverse", base="BTC", quote="USD", lot=D(1), quantity_min=D(1))
    made = engine_with(
        [ScriptedStrategy(plan={0: [OrderRequest.buy(X, D(60_000))]})], broker=SimpleBroker(latency_ms=0),
        instruments=[known], deposit=D("0.12"), leverage=D(10),
    )  # fmt: skip
    run(made, path(50_000.0, 50_000.0, 60_000.0))
    view = made.strategies[0].view
    assert abs(view.equity - (D("0.12") + D("1.2") - 1)) < D("1e-12")
    assert abs(view.entry_price(X) - 50_000) < D("1e-9")
    outputs = run(made, path(45_682.0, start=3))
    assert not only(Liquidated, outputs)
    [one] = only(Liquidated, run(made, path(45_681.5, start=4)))
    assert D("0.0065") < one.balance <= one.maintenance < D("0.0066")
    run(made, path(40_000.0, start=5))
    assert made.valuation.equity() == 0
    assert made.counters.insurance_paid > D("0.17")


@pytest.mark.behaviour("O11")
def test_an_inverse_short_is_liquidated_on_the_way_up_too() -> None:
    """59,700 / 1.08 = 55,277.8."""
    known = free(contract="inverse", base="BTC", quote="USD", lot=D(1), quantity_min=D(1))
    made = engine_with(
        [ScriptedStrategy(plan={0: [OrderRequest.sell(X, D(60_000))]})], broker=SimpleBroker(latency_ms=0),
        instruments=[known], deposit=D("0.12"), leverage=D(10),
    )  # fmt: skip
    outputs = run(made, path(50_000.0, 50_000.0, 45_000.0, 55_277.5))
    assert not only(Liquidated, outputs)
    assert only(Liquidated, run(made, path(55_278.0, start=4)))


# -- isolated ---------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O11")
def test_an_isolated_position_is_liquidated_alone_and_loses_no_more_than_its_margin() -> None:
    """100 coins at 100, 10 times: margin 1,000, liquidated at 9,000 / 99.5 = 90.45. Closed at 85 it lost 1,500."""
    made = engine({0: [OrderRequest.buy(X, D(100))]}, margin_mode="isolated")
    outputs = run(made, path(100.0, 100.0))
    view = made.strategies[0].view
    price = view.liquidation_price(X)
    assert price is not None
    assert abs(price - D(9_000) / D("99.5")) < D("1e-9")
    assert view.margin_in_use == 1_000
    outputs = run(made, path(90.5, 90.4, 85.0, 100.0, start=2))
    [one] = only(Liquidated, outputs)
    assert (one.scope, one.balance, one.maintenance) == ("position", 40, D("45.2"))
    [settled] = only(LiquidationSettled, outputs)
    assert (settled.fee, settled.insurance) == (0, 500)
    assert view.equity == 9_000
    assert not made.state.exhausted
    assert made.counters.decisions == 6  # its strategy goes on


@pytest.mark.behaviour("O11")
def test_an_isolated_position_whose_balance_equals_its_maintenance_margin_is_liquidated() -> None:
    known = [free(tiers=(MarginTier(maintenance_rate=D(0)),))]
    made = engine({0: [OrderRequest.buy(X, D(95))]}, known=known, margin_mode="isolated")
    assert not only(Liquidated, run(made, path(100.0, 100.0, 90.1)))
    [one] = only(Liquidated, run(made, path(90.0, start=3)))
    assert (one.balance, one.maintenance) == (0, 0)


@pytest.mark.behaviour("O11")
def test_the_fees_of_the_close_are_part_of_what_the_margin_covers() -> None:
    """Closed at 90.4: the loss is 960, the fill's fee 9.04, and of the other 30.96 the venue takes its 0.2 %."""
    known = instrument(taker_fee_rate=D("0.001"), liquidation_fee_rate=D("0.002"))
    made = engine({0: [OrderRequest.buy(X, D(100))]}, known=[known], margin_mode="isolated")
    [settled] = only(LiquidationSettled, run(made, path(100.0, 100.0, 90.4, 90.4)))
    assert (settled.fee, settled.insurance) == (D("18.08"), 0)
    assert made.valuation.equity() == 10_000 - 10 - 960 - D("9.04") - D("18.08")


@pytest.mark.behaviour("O11")
def test_the_other_position_of_the_book_stays_where_margin_is_isolated() -> None:
    made = engine(
        {0: [OrderRequest.buy(X, D(100)), OrderRequest.buy(Y, D(10))]}, known=[free(), free(Y)], margin_mode="isolated"
    )
    run(made, [*path(100.0), *path(100.0, symbol=Y), *path(100.0, start=1), *path(100.0, start=1, symbol=Y)])
    view = made.strategies[0].view
    assert view.maintenance_margin == 50 + 5
    outputs = run(made, path(80.0, 80.0, start=2))
    assert [one.positions[0].symbol for one in only(Liquidated, outputs)] == [X]
    assert [(symbol, quantity) for symbol, quantity, _ in view.held()] == [(Y, 10)]
    assert view.equity == 9_000


@pytest.mark.behaviour("O11")
def test_orders_and_fills_of_another_symbol_go_on_while_an_isolated_position_is_liquidated() -> None:
    resting = OrderRequest.buy(Y, D(1), type=OrderType.LIMIT, limit=D(90))
    made = engine(
        {0: [OrderRequest.buy(X, D(100)), resting], 3: [OrderRequest.sell(Y, D(1), reduce_only=True)]},
        known=[free(), free(Y)],
        margin_mode="isolated",
        broker=SimpleBroker(latency_ms=30_000),
    )
    run(made, path(100.0, 100.0))
    outputs = run(made, [*path(90.0, start=2), *path(90.0, start=2, symbol=Y), *path(90.0, start=3)])
    assert [(one.symbol, one.position) for one in only(OrderFilled, outputs)] == [(Y, 1), (X, 0)]
    assert not only(OrderEnded, outputs)
    [settled] = only(LiquidationSettled, outputs)
    assert settled.symbols == (X,)
    run(made, [*path(95.0, 95.0, start=3, symbol=Y)])
    view = made.strategies[0].view
    assert (view.margin_in_use, view.maintenance_margin) == (0, 0)
    assert view.equity == 9_000 + 5


@pytest.mark.behaviour("O11")
def test_with_cross_margin_a_gain_elsewhere_keeps_a_position_open() -> None:
    made = engine(
        {0: [OrderRequest.buy(X, D(100)), OrderRequest.buy(Y, D(100))]}, known=[free(), free(Y)], deposit=2_000
    )
    run(made, [*path(100.0), *path(100.0, symbol=Y), *path(100.0, start=1), *path(100.0, start=1, symbol=Y)])
    run(made, path(115.0, start=2, symbol=Y))
    view = made.strategies[0].view
    price = view.liquidation_price(X)
    assert price is not None
    assert abs(price - (D(10_000) - 2_000 - 1_500 + D("57.5")) / D("99.5")) < D("1e-9")
    assert not only(Liquidated, run(made, path(80.0, 66.0, start=2)))
    [one] = only(Liquidated, run(made, path(65.8, start=4)))
    assert {call.symbol for call in one.positions} == {X, Y}
    assert one.balance == 2_000 - 3_420 + 1_500 == D(80)
    assert one.maintenance == D("32.9") + D("57.5")


def test_a_book_whose_cash_is_gone_is_liquidated_whole_though_margin_is_isolated() -> None:
    """Two positions of 1,000 margin each on 1,500: nothing is left when both lost 750, before either is at 95 %."""
    made = engine(
        {0: [OrderRequest.buy(X, D(100)), OrderRequest.buy(Y, D(100))]},
        known=[free(), free(Y)],
        deposit=1_500,
        margin_mode="isolated",
    )
    run(made, [*path(100.0), *path(100.0, symbol=Y), *path(100.0, start=1), *path(100.0, start=1, symbol=Y)])
    assert not only(Liquidated, run(made, path(92.5, start=2)))
    [one] = only(Liquidated, run(made, path(92.5, start=2, symbol=Y)))
    assert (one.scope, one.balance, one.maintenance) == ("account", 0, 0)
    assert made.state.exhausted


# -- the run ends first ----


@pytest.mark.behaviour("O9", "O11")
@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_the_insurance_fund_pays_what_is_missing_where_the_run_ends_before_a_liquidation(mode: str) -> None:
    """1,000 coins at 100 on 10,000, 10 times: at 85, 5,000 more are lost than there were. The position stays open."""
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, margin_mode=mode)
    outputs = run(made, path(100.0, 100.0, 85.0))
    assert only(Liquidated, outputs)
    assert made.valuation.equity() == -5_000
    assert made.state.liquidating
    outputs = run(made, [Command(made.state.now_ns, CommandAction.STOP, "backtest", "the data ended")])
    [settled] = only(LiquidationSettled, outputs)
    assert (settled.symbols, settled.fee, settled.insurance) == ((), 0, 5_000)
    assert sum(amount for _, amount in settled.postings) == 0
    assert (made.valuation.equity(), made.counters.insurance_paid) == (0, 5_000)
    assert made.strategies[0].view.position(X).quantity == 1_000


@pytest.mark.behaviour("O9", "O11")
def test_a_liquidation_that_closes_after_the_stop_is_settled_with_what_the_fund_paid_before() -> None:
    """Margin 1,000 of 100 coins at 100: 500 are missing at 85, 700 at 83 where it closes; 9,000 are left."""
    made = engine({0: [OrderRequest.buy(X, D(100))]}, margin_mode="isolated")
    run(made, path(100.0, 100.0, 85.0))
    [first] = only(LiquidationSettled, run(made, [Command(made.state.now_ns, CommandAction.STOP, "me", "over")]))
    run(made, [Command(made.state.now_ns, CommandAction.FLATTEN, "me", "over")])
    [second] = only(LiquidationSettled, run(made, path(83.0, start=3)))
    assert (first.insurance, second.insurance, second.symbols) == (500, 200, (X,))
    assert made.valuation.equity() == 9_000
    assert not made.state.liquidating


@pytest.mark.behaviour("O9", "O11")
def test_the_fund_pays_also_where_a_defect_ends_the_run() -> None:
    made = engine({0: [OrderRequest.buy(X, D(1_000))]})
    run(made, path(100.0, 100.0, 85.0))
    outputs = made.abandon("a defect")
    assert [type(one) for one in outputs] == [OrderEnded, LiquidationSettled]
    assert made.valuation.equity() == 0


@pytest.mark.behaviour("O9", "O11")
def test_nothing_is_paid_at_the_end_for_a_liquidation_that_has_margin_left() -> None:
    made = engine({0: [OrderRequest.buy(X, D(1_000))]})
    run(made, path(100.0, 100.0, 90.4))
    assert made.state.liquidating
    assert not only(LiquidationSettled, run(made, [Command(made.state.now_ns, CommandAction.STOP, "me", "over")]))
    assert made.valuation.equity() == 400


# -- nobody takes it back ---------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False)
class Struggling(ScriptedStrategy):
    """Tries to cancel whatever works, and to buy more."""

    def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
        if planned := super().on_candle(candle, view):
            return planned
        return [*(CancelRequest(order.id) for order in view.orders()), OrderRequest.buy(X, D(1))]


@define(kw_only=True)
class Amendable(SimpleBroker):
    """Says that it can amend orders."""

    def features(self) -> frozenset[Feature]:
        return frozenset({Feature.AMEND})


@define(kw_only=True)
class Unwilling(SimpleBroker):
    """Rejects, or lets expire, the first ``refusals`` orders that only reduce; cancels nothing where ``late``."""

    refusals: int = 0
    expires: bool = False
    late: bool = False
    _ends: list[Ended] = field(init=False, factory=list)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        if order.reduce_only and self.refusals:
            self.refusals -= 1
            if not self.expires:
                return Rejected("not now")
            self._ends.append(Ended(order.id, "expired", "no price"))
            return Accepted(now_ns)
        return super().submit(order, now_ns)

    def observe(self, event: Any) -> Any:
        ends, self._ends = self._ends, []
        return [*ends, *super().observe(event)]

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        return Rejected("too late") if self.late else super().cancel(order_id, now_ns)

    def forget(self, order_id: str) -> None:
        super().cancel(order_id, 0)


@pytest.mark.behaviour("O11")
def test_a_strategy_neither_cancels_its_liquidation_nor_trades_against_it() -> None:
    struggling = Struggling(plan={0: [OrderRequest.buy(X, D(100))]})
    made = engine_with(
        [struggling],
        broker=SimpleBroker(latency_ms=90_000),
        instruments=[free()],
        leverage=D(10),
        margin_mode="isolated",
    )
    struggling.plan = {**struggling.plan, 1: [OrderRequest.sell(X, D(1), type=OrderType.LIMIT, limit=D(900))], 2: ()}
    outputs = run(made, path(100.0))
    outputs = run(made, path(100.0, 100.0, start=1))
    assert made.strategies[0].view.position(X).quantity == 100
    outputs = run(made, path(90.0, 200.0, 90.0, start=3))
    assert len(only(Liquidated, outputs)) == 1
    assert {one.reason for one in only(OrderRefused, outputs)} == {"the position is being liquidated"}
    [filled] = [one for one in only(OrderFilled, outputs) if one.side is Side.SELL]
    assert filled.position == 0
    assert only(LiquidationSettled, outputs)


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize("expires", [True, False])
def test_an_order_that_ends_without_closing_is_placed_again_at_most_once_a_second(expires: bool) -> None:
    broker = Unwilling(latency_ms=0, refusals=2, expires=expires)
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, broker=broker)
    run(made, path(100.0, 100.0))
    start_ns = START_NS + 3 * MINUTE_NS
    outputs = run(made, quotes([90.0, *[95.0] * 8], start_ns=start_ns, step_ns=SECOND_NS // 2))
    closing = [one.placed_ns - start_ns for one in only(OrderAccepted, outputs)]
    assert closing == [0, SECOND_NS, 2 * SECOND_NS]
    assert len(only(OrderEnded, outputs)) == 2
    assert len(only(Liquidated, outputs)) == 1
    [settled] = only(LiquidationSettled, outputs)
    assert settled.symbols == (X,)
    assert made.valuation.equity() == 10_000 - 1_000 * (100 - D("94.9"))


def test_whatever_works_ends_with_the_liquidation_though_a_cancel_would_come_too_late() -> None:
    broker = Unwilling(latency_ms=0, late=True)
    resting = OrderRequest.buy(X, D(10), type=OrderType.LIMIT, limit=D(85))
    made = engine({0: [OrderRequest.buy(X, D(1_000)), resting]}, broker=broker)
    outputs = run(made, path(100.0, 100.0, 90.0, 84.0, 84.0, 84.0))
    assert [one.position for one in only(OrderFilled, outputs)] == [1_000, 0]
    assert [one.reason for one in only(OrderEnded, outputs)] == ["liquidated"]
    assert len(only(LiquidationSettled, outputs)) == 1
    assert made.valuation.equity() == 0


def test_an_order_of_a_liquidation_cannot_be_amended() -> None:
    class Amending(ScriptedStrategy):
        def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
            planned = super().on_candle(candle, view)
            return planned or [AmendRequest(order.id, quantity=D(1)) for order in view.orders()]

    made = engine_with(
        [Amending(plan={0: [OrderRequest.buy(X, D(100))]})],
        broker=Amendable(latency_ms=90_000),
        instruments=[free()],
        leverage=D(10),
        margin_mode="isolated",
    )
    outputs = run(made, path(100.0, 100.0, 100.0, 90.0, 90.0))
    assert only(Liquidated, outputs)
    assert only(AmendRefused, outputs)[-1].reason == "the position is being liquidated"


def test_a_command_leaves_a_liquidation_alone() -> None:
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, broker=SimpleBroker(latency_ms=1_000))
    run(made, path(100.0, 100.0, 90.0))
    command = Command(START_NS + 3 * MINUTE_NS, CommandAction.KILL, "test", "enough")
    assert made.step(command) == [command]
    outputs = run(made, path(90.0, start=3))
    assert [one.position for one in only(OrderFilled, outputs)] == [0]


def test_a_run_that_ends_without_closing_takes_back_the_order_of_a_liquidation() -> None:
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, broker=SimpleBroker(latency_ms=1_000))
    run(made, path(100.0, 100.0, 90.0))
    actions = (CommandAction.CANCEL, CommandAction.FLATTEN, CommandAction.STOP)
    commands = [Command(START_NS + 3 * MINUTE_NS, action, "test", "over") for action in actions]
    for command in commands:
        ends = only(OrderEnded, made.step(command))
        assert len(ends) == int(command.action is CommandAction.STOP)
    assert not made.state.working


def test_a_command_that_closes_takes_care_of_a_liquidation_whose_order_has_ended() -> None:
    made = engine({0: [OrderRequest.buy(X, D(1_000))]}, broker=Unwilling(latency_ms=0, refusals=1))
    run(made, path(100.0, 100.0, 90.0))
    outputs = made.step(Command(START_NS + 3 * MINUTE_NS, CommandAction.FLATTEN, "test", "enough"))
    assert [one.quantity for one in only(OrderAccepted, outputs)] == [1_000]
    assert only(LiquidationSettled, run(made, path(90.0, start=3)))


class Broken(SimpleBroker):
    def cancel(self, order_id: str) -> bool:
        raise RuntimeError("no")


def test_a_broker_that_fails_at_a_liquidation_ends_the_run_and_is_asked_no_more() -> None:
    resting = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))
    made = engine({0: [OrderRequest.buy(X, D(1_000)), resting]}, broker=Broken(latency_ms=0))
    outputs = run(made, path(100.0, 100.0, 90.0, 80.0))
    assert len(only(BrokerFailed, outputs)) == 1
    assert len(only(Liquidated, outputs)) == 1
    assert made.state.failure is not None


@define(kw_only=True, eq=False)
class Told(ScriptedStrategy):
    ends: list[str] = field(init=False, factory=list)

    def on_end(self, ended: OrderEnded, view: View) -> None:
        self.ends.append(ended.reason)


def test_gates_and_strategies_that_go_on_are_told_of_the_ends() -> None:
    resting = OrderRequest.buy(X, D(1), type=OrderType.LIMIT, limit=D(1))
    told = Told(plan={0: [OrderRequest.buy(X, D(100)), resting]})
    made = engine_with(
        [told], broker=SimpleBroker(latency_ms=0), instruments=[free()], leverage=D(10), margin_mode="isolated"
    )
    run(made, path(100.0, 100.0, 90.0))
    assert told.ends == ["liquidated"]


# -- what the tiers allow ---------------------------------------------------------------------------------------------

TIERS = (
    MarginTier(notional_to=D(50_000), leverage_max=20),
    MarginTier(notional_from=D(50_000), leverage_max=10),
)


@pytest.mark.behaviour("O11")
def test_a_position_larger_than_its_leverage_is_given_for_is_refused_with_the_figures() -> None:
    asks = [
        OrderRequest.buy(X, D(400)),
        OrderRequest.buy(X, D(100)),
        OrderRequest.buy(X, D(1)),
        OrderRequest.sell(X, D(500)),
    ]
    made = engine({0: asks}, known=[free(tiers=TIERS)], leverage=20)
    outputs = run(made, path(100.0))
    [refused] = only(OrderRefused, outputs)
    assert refused.reason == "larger than the margin tiers allow at this leverage"
    assert dict(refused.numbers) == {
        "notional_after": "50100", "notional_most": "50000", "position_after": "501", "mark": "100",
    }  # fmt: skip
    assert len(only(OrderAccepted, outputs)) == 3
    made = engine({0: asks}, known=[free(tiers=TIERS)], leverage=10)
    assert not only(OrderRefused, run(made, path(100.0)))


@pytest.mark.behaviour("O11")
def test_what_closes_a_position_is_never_too_large_for_the_tiers() -> None:
    plan = {0: [OrderRequest.buy(X, D(400))], 2: [OrderRequest.sell(X, D(400))], 4: [OrderRequest.sell(X, D(1_000))]}
    made = engine(plan, known=[free(tiers=TIERS)], leverage=20)
    outputs = run(made, path(100.0, 100.0, 200.0, 200.0, 200.0))
    assert [one.quantity for one in only(OrderAccepted, outputs)] == [400, 400]
    assert len(only(OrderRefused, outputs)) == 1


def test_before_the_first_price_nothing_is_too_large() -> None:
    plan = {0: [OrderRequest.buy(Y, D(10**6))]}
    made = engine(plan, known=[free(), free(Y, tiers=TIERS)], leverage=20)
    assert only(OrderAccepted, run(made, path(100.0)))


def test_the_views_margin_figures_of_a_flat_book_are_nothing() -> None:
    made = engine({})
    view = made.strategies[0].view
    assert (view.margin_in_use, view.maintenance_margin, view.liquidation_price(X), view.entry_price(X)) == (
        0,
        0,
        None,
        0,
    )
    with pytest.raises(LookupError, match="no price of BTCUSDT yet"):
        view.margin_mark(X)
    with pytest.raises(LookupError, match="is no market of this run"):
        view.liquidation_price("nope")
    [quote] = quotes([100.0])
    made.step(quote)
    assert view.margin_mark(X) == 100
