"""One account of all strategies: what it backs, when it is liquidated, what each strategy's book says of it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import FunctionType
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.events import (
    Deposited,
    EquityExhausted,
    Liquidated,
    LiquidationSettled,
    OrderAccepted,
    OrderFilled,
    OrderRefused,
    StrategyStopped,
)
from lab.domain.instrument import Instrument, MarginTier
from lab.domain.market import Candle
from lab.domain.orders import Accepted, Ended, Order, OrderRequest, OrderType, Rejected, Side
from lab.domain.time import MINUTE_NS, SECOND_NS
from lab.engine.engine import Engine
from lab.engine.sizing import size_by_equity
from lab.engine.view import View
from lab.ports import RiskGate, Strategy
from lab.testing.builders import START_NS, candles, instrument, quotes
from lab.testing.engines import engine_with, only, run
from lab.testing.harness import ScriptedStrategy
from lab.testing.simple_broker import SimpleBroker
from msgspec.structs import replace

D = Decimal
X, Y = "BTCUSDT", "ETHUSDT"
Plan = Mapping[int, Sequence[Any]]


def free(symbol: str = X, **more: Any) -> Instrument:
    return instrument(symbol, taker_fee_rate=D(0), **more)


def buy(quantity: int, symbol: str = X, **more: Any) -> OrderRequest:
    return OrderRequest.buy(symbol, D(quantity), **more)


def sell(quantity: int, symbol: str = X, **more: Any) -> OrderRequest:
    return OrderRequest.sell(symbol, D(quantity), **more)


def path(*closes: float, start: int = 0, symbol: str = X) -> list[Candle]:
    return candles(closes, start_ns=START_NS + start * MINUTE_NS, symbol=symbol)


def engine(
    a: Plan | Strategy,
    b: Plan | Strategy,
    *,
    known: Sequence[Instrument] = (),
    account: str = "shared",
    broker: SimpleBroker | None = None,
    gates: Sequence[RiskGate] = (),
    deposit: int = 5_000,
    **more: Any,
) -> Engine:
    """Return an engine with two strategies that bring 5,000 each: with a shared account 10,000 in all."""
    return engine_with(
        {name: one if isinstance(one, Strategy) else ScriptedStrategy(plan=one) for name, one in (("a", a), ("b", b))},
        broker=broker or SimpleBroker(latency_ms=0),
        instruments=known or [free()],
        gates=gates,
        deposit=D(deposit),
        leverage=more.pop("leverage", D(10)),
        account_mode=account,
        **more,
    )


def views(made: Engine) -> list[View]:
    return [one.view for one in made.strategies]


def sound(made: Engine) -> Engine:
    """Return an engine whose books each sum to zero."""
    for one in made.strategies:
        one.book.ledger.check_balance()
    return made


# -- what the strategies see ------------------------------------------------------------------------------------------


@pytest.mark.behaviour("P6")
def test_the_deposit_of_a_shared_account_is_paid_in_once_and_every_view_shows_it() -> None:
    broker = SimpleBroker()
    broker.open({X: free()}, 0)
    both = [(name, ScriptedStrategy(), D(5_000)) for name in "ab"]
    made = Engine({X: free()}, MINUTE_NS, broker, [], both, config_hash="", account_mode="shared")
    [paid] = only(Deposited, made.begin())
    assert (paid.strategy, paid.amount) == ("a", 10_000)
    assert [(one.cash, one.equity, one.account_mode) for one in views(made)] == [(10_000, 10_000, "shared")] * 2
    assert [one.book.ledger.cash for one in made.strategies] == [10_000, 0]
    assert (made.valuation.starting_equity, made.valuation.equity()) == (10_000, 10_000)
    sound(made)


@pytest.mark.behaviour("P6")
def test_profit_of_one_is_equity_of_both_and_positions_orders_and_postings_stay_with_their_strategy() -> None:
    """10 coins from 100 to 110 are 100, to the account and to a's book."""
    resting = buy(3, type=OrderType.LIMIT, limit=D(1))
    made = engine({0: [buy(10)], 2: [sell(10)]}, {0: [sell(4), resting]})
    run(made, path(100.0, 100.0, 110.0))
    a, b = views(made)
    assert (a.equity, b.equity, a.session_equity, a.cash) == (10_060, 10_060, 10_060, 10_000)
    assert (a.position(X).quantity, b.position(X).quantity) == (10, -4)
    assert (a.account_position(X).quantity, b.account_position(X).cost) == (6, 600)
    assert list(a.account_held()) == list(b.account_held()) == [(X, 6, 110)]
    assert (list(a.held()), list(b.held())) == ([(X, 10, 110)], [(X, -4, 110)])
    assert [one.strategy for one in b.orders()] == ["b"]
    assert [(one.strategy, one.quantity) for one in a.account_orders()] == [("a", 10), ("b", 3)]
    assert a.account_position(Y) == b.position(Y)
    assert (a.margin_in_use, b.margin_in_use, a.maintenance_margin) == (66, 66, D("3.3"))
    run(made, path(110.0, start=3))
    assert [one.book.ledger.cash for one in sound(made).strategies] == [10_100, 0]
    assert (a.cash, b.cash, b.equity) == (10_100, 10_100, 10_060)


def test_with_separate_accounts_the_account_is_the_strategys_book() -> None:
    made = engine({0: [buy(10)], 1: [buy(1, type=OrderType.LIMIT, limit=D(1))]}, {0: [sell(4)]}, account="separate")
    run(made, path(100.0, 100.0, 110.0))
    a, b = views(made)
    assert (a.equity, b.equity, a.account_mode) == (5_100, 4_960, "separate")
    assert (a.account_position(X), list(a.account_held())) == (a.position(X), a.held())
    assert (list(a.account_orders()), list(b.account_orders())) == (a.orders(), [])
    assert (a.margin_in_use, b.margin_in_use) == (110, 44)


@define(kw_only=True, eq=False)
class Sizing(Strategy):
    """Buys for all its equity at the third candle."""

    def on_candle(self, candle: Candle, view: View) -> Sequence[OrderRequest]:
        if len(view.candles(X)) != 3:
            return ()
        return [OrderRequest.buy(X, size_by_equity(view, X, Side.BUY, D(1)))]


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize(("account", "quantity"), [("shared", D("90.9090")), ("separate", D("45.4545"))])
def test_sizes_go_by_the_equity_of_the_account(account: str, quantity: Decimal) -> None:
    """At 110: 10,000 / 110 with the account, 5,000 / 110 alone. A loss of a's 10 coins is added below."""
    made = engine({}, Sizing(), account=account)
    [order] = only(OrderAccepted, run(made, path(100.0, 100.0, 110.0)))
    assert order.quantity == quantity
    made = engine({0: [buy(10)]}, Sizing(), account=account)
    order = only(OrderAccepted, run(made, path(100.0, 100.0, 90.0)))[-1]
    assert order.quantity == (D("110") if account == "shared" else D("55.5555"))  # (10,000 - 100) / 90, 5,000 / 90


# -- liquidation ------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O11", "P6")
@pytest.mark.parametrize(("last", "liquidated"), [(90.46, False), (90.45, True)])
def test_long_and_short_of_two_strategies_net_and_are_liquidated_together(last: float, liquidated: bool) -> None:
    """2,000 less 1,000 coins at 100 on 10,000: 10,000 - 1,000 x (100 - p) = 5 p, at p = 90,000 / 995 = 90.4523."""
    made = engine({0: [buy(2_000)]}, {0: [sell(1_000)]})
    run(made, path(100.0, 100.0))
    for view in views(made):
        price = view.liquidation_price(X)
        assert price is not None
        assert abs(price - D(90_000) / 995) < D("1e-9")
        assert (view.margin_in_use, view.maintenance_margin) == (10_000, 500)
    outputs = run(made, path(95.0, last, start=2))
    rows = only(Liquidated, outputs)
    assert [one.strategy for one in rows] == (["a", "b"] if liquidated else [])
    for row, held in zip(rows, (2_000, -1_000), strict=bool(rows)):
        assert (row.scope, row.balance, row.maintenance) == ("account", 450, D("452.25"))
        [call] = row.positions
        assert (call.quantity, call.notional, call.maintenance) == (
            held,
            abs(held) * D("90.45"),
            abs(held) * D("0.45225"),
        )
    if liquidated:
        assert made.counters.liquidations == 2
        assert made.state.exhausted
        assert only(EquityExhausted, outputs)
        assert [(one.strategy, one.side, one.quantity) for one in only(OrderAccepted, outputs)] == [
            ("a", Side.SELL, 2_000), ("b", Side.BUY, 1_000),
        ]  # fmt: skip


@pytest.mark.behaviour("O11", "P6")
def test_separate_accounts_of_the_same_trades_are_liquidated_each_by_itself() -> None:
    """a has 5,000 behind 2,000 coins: 5,000 - 2,000 x (100 - p) = 10 p, at 97.99. b's short gains."""
    made = engine({0: [buy(2_000)]}, {0: [sell(1_000)]}, account="separate")
    outputs = run(made, path(100.0, 100.0, 97.9))
    assert [one.strategy for one in only(Liquidated, outputs)] == ["a"]
    assert not made.state.exhausted


@pytest.mark.behaviour("O11", "P6")
@pytest.mark.parametrize(
    ("close", "rate", "fees", "insurance", "cash"),
    [
        (D("90.4"), D("0.001"), (D("180.8"), D("90.4")), 0, (-D("9380.8"), D("9509.6"))),
        (D("90.4"), D("0.002"), (D("361.6"), D("38.4")), 0, (-D("9561.6"), D("9561.6"))),
        (D("80"), D("0.001"), (0, 0), 10_000, (-20_000, 20_000)),
    ],
)
def test_fees_are_each_strategys_and_the_insurance_fund_pays_the_account(
    close: Decimal, rate: Decimal, fees: Any, insurance: int, cash: Any
) -> None:
    """Net 1,000 coins from 100 on 10,000: at 90.4 400 are left, at 80 10,000 are missing."""
    made = engine({0: [buy(2_000)]}, {0: [sell(1_000)]}, known=[free(liquidation_fee_rate=rate)])
    outputs = run(made, path(100.0, 100.0, float(close), float(close)))
    settled = only(LiquidationSettled, outputs)
    assert [(one.strategy, one.symbols) for one in settled] == [("a", (X,)), ("b", (X,))]
    assert tuple(one.fee for one in settled) == fees
    assert [one.insurance for one in settled] == [insurance, 0]
    assert all(sum(amount for _, amount in one.postings) == 0 for one in settled)
    assert tuple(one.book.ledger.cash for one in sound(made).strategies) == cash
    assert made.valuation.equity() == sum(cash) >= 0


@pytest.mark.behaviour("O11", "P6")
def test_a_hedged_account_is_liquidated_at_no_price_until_one_leg_is_closed() -> None:
    """Closed at 500, b's short of 1,000 has 10,000 + 1,000 x (500 - p) behind it: 5 p at p = 507.46."""
    made = engine({0: [buy(1_000)], 4: [sell(1_000)]}, {0: [sell(1_000)]})
    outputs = run(made, path(100.0, 100.0, 1.0, 500.0, 500.0))
    assert [one.liquidation_price(X) for one in views(made)] == [None, None]
    assert [(one.margin_in_use, one.maintenance_margin, one.equity) for one in views(made)] == [(0, 0, 10_000)] * 2
    outputs += run(made, path(500.0, 507.4, start=5))
    assert not only(Liquidated, outputs)
    price = views(made)[1].liquidation_price(X)
    assert price is not None
    assert abs(price - D(510_000) / D(1_005)) < D("1e-9")
    rows = only(Liquidated, run(made, path(507.5, start=7)))
    assert [(one.strategy, len(one.positions)) for one in rows] == [("a", 0), ("b", 1)]


@pytest.mark.behaviour("O11", "P6")
def test_a_hedge_that_locks_in_more_than_there_is_ends_the_account_at_once() -> None:
    """a bought at 100, b sold at 89: 1,000 x 11 are lost of 10,000, whatever the price does."""
    made = engine({0: [buy(1_000)]}, {1: [sell(1_000)]})
    outputs = run(made, path(100.0, 100.0, 89.0))
    rows = only(Liquidated, outputs)
    assert [(one.strategy, one.balance, one.maintenance) for one in rows] == [("a", -1_000, 0), ("b", -1_000, 0)]
    outputs = run(made, path(150.0, start=3))
    assert [one.insurance for one in only(LiquidationSettled, outputs)] == [1_000, 0]
    assert sound(made).valuation.equity() == 0


@pytest.mark.behaviour("O11", "P6")
def test_a_gain_in_one_symbol_backs_anothers_position_of_another_strategy() -> None:
    known = [free(), free(Y)]
    made = engine({0: [buy(1_000)]}, {1: [buy(100, Y)]}, known=known)
    run(made, [*path(100.0), *path(100.0, symbol=Y), *path(100.0, start=1), *path(100.0, start=1, symbol=Y)])
    assert not only(Liquidated, run(made, [*path(150.0, start=2, symbol=Y), *path(86.0, start=2)]))
    price = views(made)[0].liquidation_price(X)
    assert price is not None
    assert abs(price - (D(100_000) - 10_000 - 5_000 + 75) / 995) < D("1e-9")  # b's gain of 5,000 less its maintenance
    assert [one.strategy for one in only(Liquidated, run(made, path(85.0, start=3)))] == ["a", "b"]


@pytest.mark.behaviour("O11", "P6")
def test_isolated_positions_of_two_strategies_stay_each_on_their_own_margin() -> None:
    """100 coins at 100, 10 times: 1,000 each. a's long goes at 9,000 / 99.5 = 90.4523, b's short stays."""
    made = engine({0: [buy(100)]}, {0: [sell(100)]}, margin_mode="isolated")
    run(made, path(100.0, 100.0))
    assert [(one.margin_in_use, one.maintenance_margin) for one in views(made)] == [(2_000, 100)] * 2
    assert not only(Liquidated, run(made, path(90.46, start=2)))
    outputs = run(made, path(90.45, 90.45, start=3))
    [row] = only(Liquidated, outputs)
    assert (row.strategy, row.scope, row.balance) == ("a", "position", 45)
    [settled] = only(LiquidationSettled, outputs)
    assert (settled.strategy, settled.symbols) == ("a", (X,))
    assert views(made)[1].position(X).quantity == -100
    assert not any(one.book.stopped for one in made.strategies)
    assert views(made)[1].equity == 9_995  # closed on the tick, at 90.4


@pytest.mark.behaviour("O11", "P6")
def test_isolated_positions_end_with_the_account_when_nothing_is_left_in_it() -> None:
    """Twice 1,000 margin on 1,500: at 92.5 both lost 750, before either is at 90.45."""
    made = engine({0: [buy(100)]}, {0: [buy(100)]}, margin_mode="isolated", deposit=750)
    assert not only(Liquidated, run(made, path(100.0, 100.0, 92.6)))
    rows = only(Liquidated, run(made, path(92.5, start=3)))
    assert [(one.strategy, one.scope, one.balance, one.maintenance) for one in rows] == [
        ("a", "account", 0, 0), ("b", "account", 0, 0),
    ]  # fmt: skip


@pytest.mark.behaviour("O11", "P6")
def test_an_isolated_position_that_is_being_closed_when_the_account_ends_is_settled_with_it() -> None:
    """a sold 77 coins at 40 that it bought at 170: 10 are missing while b's coin, worth 130 less, is being closed."""
    made = engine({0: [buy(77)], 1: [sell(78)]}, {0: [buy(1)]}, margin_mode="isolated")
    outputs = run(made, path(40.0, 170.0, 40.0))
    assert [(one.strategy, one.scope) for one in only(Liquidated, outputs)] == [
        ("b", "position"), ("a", "account"), ("b", "account"),
    ]  # fmt: skip
    outputs = run(made, path(154.0, 40.0, start=3))
    assert [(one.strategy, one.symbols, one.insurance) for one in only(LiquidationSettled, outputs)] == [
        ("a", (X,), 140), ("b", (X,), 0),
    ]  # fmt: skip
    assert sound(made).valuation.equity() == 0


@define(kw_only=True)
class Halving(SimpleBroker):
    """Fills half of the first order that only reduces, and the rest never."""

    halved: bool = False

    def observe(self, event: Any) -> Any:
        orders = {order.id: order for order, _ in self._working.values()}
        fills = []
        for fill in super().observe(event):
            halve = orders[fill.order_id].reduce_only and not self.halved
            self.halved |= halve
            fills.append(replace(fill, quantity=fill.quantity / 2) if halve else fill)
        return fills


@pytest.mark.behaviour("O11", "P6")
def test_the_fee_of_what_was_closed_before_the_account_ended_is_taken_with_the_rest() -> None:
    """1,200 in all. 50 of b's 100 coins from 100 go at 90; at 88 a's 100 coins from 95 lost the 700 that were left.

    At 100 the rest is closed: 1,200 are left, and 1 % of 10,000, and of 4,500 and 5,000, are taken.
    """
    made = engine(
        {1: [buy(100)]}, {0: [buy(100)]}, known=[free(liquidation_fee_rate=D("0.01"))], broker=Halving(latency_ms=0),
        margin_mode="isolated", deposit=600,
    )  # fmt: skip
    outputs = run(made, path(100.0, 100.0, 95.0, 90.4, 90.0, 88.0))
    assert [(one.strategy, one.scope, one.balance) for one in only(Liquidated, outputs)] == [
        ("b", "position", 40), ("a", "account", 0), ("b", "account", 0),
    ]  # fmt: skip
    settled = only(LiquidationSettled, run(made, path(100.0, start=6)))
    assert [(one.strategy, one.fee, one.insurance) for one in settled] == [("a", 100, 0), ("b", 95, 0)]
    assert sound(made).valuation.equity() == 1_200 - 195


@define(kw_only=True)
class Expiring(SimpleBroker):
    """Lets the first ``ends`` orders that only reduce expire, and never fills a's."""

    ends: int = 0
    _ended: list[Ended] = field(init=False, factory=list)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        if order.reduce_only and order.strategy == "a":
            return Accepted(now_ns)  # it works for ever
        if order.reduce_only and self.ends:
            self.ends -= 1
            self._ended.append(Ended(order.id, "expired", "no price"))
            return Accepted(now_ns)
        return super().submit(order, now_ns)

    def observe(self, event: Any) -> Any:
        ended, self._ended = self._ended, []
        return [*ended, *super().observe(event)]


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize("symbols", [[X], [X, Y]])
def test_the_closing_of_one_position_that_takes_long_does_not_keep_anothers_from_being_placed_again(
    symbols: list[str],
) -> None:
    known = [free(symbol) for symbol in symbols]
    made = engine({0: [buy(2_000)]}, {0: [sell(1_000)]}, broker=Expiring(latency_ms=0, ends=2), known=known)
    run(made, path(100.0, 100.0))
    start_ns = START_NS + 3 * MINUTE_NS
    outputs = run(made, quotes([90.0] * 8, start_ns=start_ns, step_ns=SECOND_NS // 2))
    placed = [(one.strategy, one.placed_ns - start_ns) for one in only(OrderAccepted, outputs)]
    assert placed == [("a", 0), ("b", 0), ("b", SECOND_NS), ("b", 2 * SECOND_NS)]
    assert [(one.strategy, one.position) for one in only(OrderFilled, outputs)] == [("b", 0)]


# -- who is called ----------------------------------------------------------------------------------------------------


@define(kw_only=True, eq=False)
class Failing(ScriptedStrategy):
    """Fails at its third candle."""

    def on_candle(self, candle: Candle, view: View) -> Sequence[Any]:
        if len(view.candles(X)) == 3:
            raise ZeroDivisionError("third")
        return super().on_candle(candle, view)


@pytest.mark.behaviour("P6")
def test_a_strategy_that_fails_is_stopped_alone_and_its_position_still_counts_in_the_account() -> None:
    made = engine({3: [buy(2_000)]}, Failing(plan={0: [sell(1_000)]}))
    outputs = run(made, path(100.0, 100.0, 100.0, 100.0, 100.0))
    assert [one.strategy for one in only(StrategyStopped, outputs)] == ["b"]
    assert [one.book.stopped for one in made.strategies] == [False, True]
    assert (views(made)[0].account_position(X).quantity, views(made)[0].margin_in_use) == (1_000, 10_000)
    assert not only(Liquidated, run(made, path(90.46, start=5)))
    assert [one.strategy for one in only(Liquidated, run(made, path(90.45, start=6)))] == ["a", "b"]


TIERS = (
    MarginTier(notional_to=D(50_000), leverage_max=20),
    MarginTier(notional_from=D(50_000), leverage_max=10),
)


@pytest.mark.behaviour("O11", "P6")
@pytest.mark.parametrize(
    ("account", "margin", "b", "refused"),
    [
        ("shared", "cross", buy(200), False),  # 500 x 100
        ("shared", "cross", buy(201), True),
        ("shared", "cross", sell(800), False),  # 300 - 800
        ("shared", "cross", sell(801), True),
        ("shared", "isolated", buy(201), False),
        ("separate", "cross", buy(201), False),
    ],
)
def test_the_tiers_allow_what_the_account_holds_and_works_at(
    account: str, margin: Any, b: OrderRequest, refused: bool
) -> None:
    plan = {0: [buy(200)], 2: [buy(100, type=OrderType.LIMIT, limit=D(1))]}
    if b.side is Side.SELL:
        plan = {0: [buy(300)]}
    made = engine(plan, {2: [b]}, known=[free(tiers=TIERS)], leverage=D(20), account=account, margin_mode=margin)
    found = only(OrderRefused, run(made, path(100.0, 100.0, 100.0)))
    assert [one.strategy for one in found] == (["b"] if refused else [])
    if refused:
        assert found[0].numbers["position_after"] == ("501")


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(40, 200), st.integers(-300, 300), st.integers(-300, 300)), min_size=3, max_size=25),
    st.sampled_from(["cross", "isolated"]),
    st.booleans(),
)
def test_an_account_is_liquidated_exactly_when_its_equity_is_down_to_the_maintenance_margin(
    steps: list[tuple[int, int, int]], margin: Any, quoted: bool
) -> None:
    def plan(which: int) -> Plan:
        orders = [(n, step[which]) for n, step in enumerate(steps) if step[which]]
        return {n: [OrderRequest(X, Side.BUY if q > 0 else Side.SELL, D(abs(q)))] for n, q in orders}

    made = engine(plan(1), plan(2), margin_mode=margin)
    view = views(made)[0]
    outputs: list[Any] = []
    for place, (price, _, _) in enumerate(steps):
        events: list[Any] = path(float(price), start=place)
        if quoted and place:
            events = quotes([float(price)], start_ns=START_NS + place * MINUTE_NS) + events
        for event in events:
            outputs += made.step(event)
            if margin == "cross" and not made.state.exhausted and (view.account_held() or view.cash <= 0):
                net = view.account_position(X)
                backing = view.cash + net.quantity * view.margin_mark(X) - net.cost
                assert backing > view.maintenance_margin
    rows = only(Liquidated, outputs)
    assert all(one.balance <= one.maintenance for one in rows)
    if margin == "cross":
        assert len(rows) == 2 * int(made.state.exhausted)
    sound(made)
    assert made.valuation.equity() >= 0 or any(view.held() for view in views(made))


# -- several markets --------------------------------------------------------------------------------------------------

STEEP = (MarginTier(notional_to=D(5_000)), MarginTier(notional_from=D(5_000), maintenance_rate=D("0.08")))
COIN = instrument(
    "BTCUSD", base="BTC", quote="USD", contract="inverse", contract_value=D(100), tick=D("0.5"), lot=D(1),
    quantity_min=D(1), taker_fee_rate=D(0), tiers=TIERS,
)  # fmt: skip


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(40, 200), st.integers(-300, 300), st.integers(-300, 300), st.integers(0, 1)
        ),
        min_size=3,
        max_size=25,
    ),
    st.sampled_from(["cross", "isolated"]),
    st.sampled_from(["separate", "shared"]),
    st.booleans(),
)
def test_with_several_markets_the_exact_figures_are_looked_at_whenever_they_matter(
    steps: list[tuple[int, int, int, int, int]], margin: Any, account: str, quoted: bool
) -> None:
    """The same run, once with the exact figures at each event, once only where the floats say so, is the same."""
    symbols = (X, Y)

    def plan(which: int) -> Plan:
        orders = [(n, step[which], symbols[step[4]]) for n, step in enumerate(steps) if step[which]]
        return {n: [OrderRequest(s, Side.BUY if q > 0 else Side.SELL, D(abs(q)))] for n, q, s in orders}

    events: list[Any] = []
    for place, (which, price, *_) in enumerate(steps):
        if quoted and place % 2:
            events += quotes([float(price)], start_ns=START_NS + place * MINUTE_NS, symbol=symbols[which])
        events += path(float(price), start=place, symbol=symbols[which])

    def outputs(always: bool) -> list[Any]:
        known = [free(tiers=STEEP), free(Y)]
        made = engine(plan(2), plan(3), known=known, margin_mode=margin, account=account)
        found = []
        for event in events:
            found += made.step(event)
            if always:
                made._liquidation.check(found)  # noqa: SLF001 - what the floats spare
        sound(made)
        return found

    assert outputs(always=False) == outputs(always=True)


def test_an_event_far_from_any_liquidation_asks_for_no_exact_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    made = engine({0: [buy(100)]}, {1: [sell(100, Y)]}, known=[free(), free(Y)], account="separate")
    run(made, [*path(100.0), *path(100.0, symbol=Y), *path(100.0, start=1), *path(100.0, start=1, symbol=Y)])
    check = type(made._liquidation).check  # noqa: SLF001
    if not isinstance(check, FunctionType):
        pytest.skip("compiled code does not look a replaced method up")
    monkeypatch.setattr(type(made._liquidation), "check", lambda self, out: (asked.append(out), check(self, out))[1])  # noqa: SLF001
    run(made, [*path(90.0, start=2), *path(90.0, start=2, symbol=Y), *path(120.0, start=3)])
    assert not asked
    assert [one.strategy for one in only(Liquidated, run(made, path(50.2, start=4)))] == ["a"]
    assert asked


def test_an_inverse_contract_among_several_markets_is_liquidated_at_its_price() -> None:
    """1,000 contracts of 100 USD at 50,000 are 2 BTC on 1 BTC in all: 1 - 100,000 (1/p - 1/50,000) = 500 / p."""
    made = engine_with(
        [ScriptedStrategy(plan={0: [OrderRequest.buy("BTCUSD", D(1_000))]})], broker=SimpleBroker(latency_ms=0),
        instruments=[COIN, free()], deposit=D(1), leverage=D(10),
    )  # fmt: skip
    run(made, path(50_000.0, 50_000.0, symbol="BTCUSD"))
    price = made.strategies[0].view.liquidation_price("BTCUSD")
    assert price is not None
    above, below = float(price) + 0.5, float(price) - 0.5
    assert not only(Liquidated, run(made, path(above, start=2, symbol="BTCUSD")))
    assert only(Liquidated, run(made, path(below, start=3, symbol="BTCUSD")))


def test_with_several_markets_a_balance_equal_to_the_maintenance_margin_is_liquidated_whatever_floats_say() -> None:
    """One coin from 100 on 100 - 0.995 p is liquidated at p, and a tick above not."""
    for tenths in range(850, 950):
        price = D(tenths) / 10
        made = engine_with(
            [ScriptedStrategy(plan={0: [buy(1)]})], broker=SimpleBroker(latency_ms=0), instruments=[free(), free(Y)],
            deposit=100 - price * D("0.995"), leverage=D(10),
        )  # fmt: skip
        assert not only(Liquidated, run(made, path(100.0, 100.0, float(price + D("0.1")))))
        assert only(Liquidated, run(made, path(float(price), start=3)))


def test_with_several_markets_a_short_that_grows_into_a_tier_needs_its_margin() -> None:
    """45 short from 100 on 943: 403 left at 112, where 8 % of 5,040 are 403.2; at 111 0.5 % of 4,995 are needed."""
    made = engine({0: [sell(45)]}, {}, known=[free(tiers=STEEP), free(Y)], account="separate", deposit=943)
    assert not only(Liquidated, run(made, path(100.0, 100.0, 111.0)))
    assert only(Liquidated, run(made, path(112.0, start=3)))
