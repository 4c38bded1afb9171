"""The gates, before a stand-in for the engine's view."""

from decimal import Decimal
from typing import Any, Literal, cast

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from lab import PASS, Instrument, Order, OrderRequest, OrderType, Quote, Refuse, Shrink, Side, View
from lab.domain.ledger import Ledger
from lab.domain.position import Position
from lab.domain.time import DAY_NS, MINUTE_NS
from lab.testing import candles, instrument
from lab.testing.builders import START_NS
from lab_risk_limits.daily_loss import MaxDailyLoss
from lab_risk_limits.margin import Margin
from msgspec.structs import replace

BTC = instrument(lot=Decimal("0.001"), quantity_min=Decimal("0.01"))


@define
class Book:
    """What a gate sees: one book with real money in it, at one price."""

    leverage: Decimal = Decimal(5)
    price: Decimal | None = Decimal(100)
    newest_quote: Quote | None = None
    ledger: Ledger = field(factory=Ledger)
    working: list[Order] = field(factory=list)
    session_starting_equity: Decimal = Decimal(10_000)
    day_starting_equity: Decimal = Decimal(10_000)
    session_equity: Decimal = Decimal(10_000)
    strategy: str = "sma"
    margin_mode: str = "cross"

    def __attrs_post_init__(self) -> None:
        self.ledger.deposit(Decimal(1_000))

    @property
    def view(self) -> View:
        return cast("View", self)

    @property
    def cash(self) -> Decimal:
        return self.ledger.cash

    @property
    def equity(self) -> Decimal:
        held = self.ledger.positions.items()
        return self.cash + sum((one.quantity * self.mark(symbol) - one.cost for symbol, one in held), Decimal(0))

    def instrument(self, symbol: str) -> Instrument:
        return BTC

    def quote(self, symbol: str) -> Quote | None:
        return self.newest_quote

    def mark(self, symbol: str) -> Decimal:
        if self.price is None:
            raise LookupError(f"no price of {symbol} yet")
        return self.price

    def position(self, symbol: str) -> Position:
        return self.ledger.position(symbol)

    def orders(self, symbol: str | None = None) -> list[Order]:
        return [order for order in self.working if symbol in (None, order.symbol)]

    def notional(self, symbol: str, quantity: Decimal, price: Decimal) -> Decimal:
        return self.instrument(symbol).notional(quantity, price)

    def held(self) -> list[tuple[str, Decimal, Decimal]]:
        held = self.ledger.positions.items()
        return [(symbol, one.quantity, self.mark(symbol)) for symbol, one in held if one.quantity]

    account_position, account_orders, account_held = position, orders, held

    def hold(self, quantity: str, price: str = "100", symbol: str = "BTCUSDT") -> "Book":
        self.ledger.fill(symbol, Decimal(quantity), Decimal(price), Decimal(0))
        return self

    def stand(self, quantity: str, stop: str) -> "Book":
        """Let a buy rest at a stop."""
        amount = Decimal(quantity)
        order = Order("o-2", "sma", "BTCUSDT", Side.BUY, amount, OrderType.STOP, None, False, 0, amount)
        self.working.append(replace(order, stop=Decimal(stop)))
        return self

    def work(
        self, side: Side, quantity: str, *, reduce_only: bool, limit: str | None = None, symbol: str = "BTCUSDT"
    ) -> "Book":
        amount, price = Decimal(quantity), None if limit is None else Decimal(limit)
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        self.working.append(Order("o-1", "sma", symbol, side, amount, kind, price, reduce_only, 0, amount))
        return self


def buy(quantity: str, **more: Any) -> OrderRequest:
    return OrderRequest.buy("BTCUSDT", Decimal(quantity), **more)


def sell(quantity: str, **more: Any) -> OrderRequest:
    return OrderRequest.sell("BTCUSDT", Decimal(quantity), **more)


# -- daily loss ------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R1")
def test_the_default_refuses_at_a_loss_of_500_and_not_a_cent_before() -> None:
    gate = MaxDailyLoss()
    assert gate.review(buy("1"), Book(session_equity=Decimal("9500.01")).view) == PASS
    assert gate.review(buy("1"), Book(session_equity=Decimal("9500.00")).view) == Refuse(
        "the day's loss 500 reached the limit 500: no entries in this session any more",
        {"loss": "500", "limit": "500", "day_starting_equity": "10000", "equity": "9500"},
    )


@pytest.mark.behaviour("R1")
def test_a_profit_and_a_loss_of_the_day_before_do_not_count() -> None:
    gate = MaxDailyLoss()
    assert gate.review(buy("1"), Book(session_equity=Decimal(20_000)).view) == PASS
    new_day = Book(day_starting_equity=Decimal(9_000), session_equity=Decimal(8_600))
    assert gate.review(buy("1"), new_day.view) == PASS
    assert not gate.tripped(new_day.view)


@pytest.mark.behaviour("R4")
def test_once_a_day_lost_the_limit_the_next_day_and_a_recovery_are_refused_too() -> None:
    gate, day, calm = MaxDailyLoss(), Book(session_equity=Decimal(9_500)), Book()
    assert not gate.tripped(calm.view)
    reason = gate.tripped(day.view)
    assert reason == "the day's loss 500 reached the limit 500: no entries in this session any more"
    assert gate.tripped(calm.view) == reason
    verdict = gate.review(buy("1"), calm.view)
    assert isinstance(verdict, Refuse)
    assert verdict.reason == reason
    asked_first = MaxDailyLoss()
    assert isinstance(asked_first.review(buy("1"), day.view), Refuse)
    assert asked_first.tripped(calm.view) == reason


@pytest.mark.behaviour("R1", "R4")
@pytest.mark.parametrize("interval_ns", [MINUTE_NS, DAY_NS], ids=["1m", "1d"])
@pytest.mark.parametrize(("lasts", "refused"), [("session", [3, 4]), ("day", [3])])
def test_a_days_last_candle_loses_and_decides_on_that_day(
    play: Any, interval_ns: int, lasts: Literal["session", "day"], refused: list[int]
) -> None:
    """The candle that ends at midnight takes 600 of a limit of 500: its own decision does not meet a fresh limit."""
    start_ns = START_NS + DAY_NS - 4 * interval_ns
    inputs = candles([9_000.0, 9_000.0, 9_000.0, 8_400.0, 8_400.0], start_ns=start_ns, interval_ns=interval_ns)
    gates = {"max_daily_loss": MaxDailyLoss(lasts=lasts)}
    played = play(inputs, {0: [buy("1")], 3: [buy("1")], 4: [buy("1")]}, gates=gates, interval_ns=interval_ns, fee="0")
    assert list(played.refused()) == refused
    assert list(played.halted()) == ([3] if lasts == "session" else [])


def test_a_limit_that_lasts_a_day_refuses_while_the_loss_is_there_and_never_trips() -> None:
    gate, day = MaxDailyLoss(lasts="day"), Book(session_equity=Decimal(9_500))
    assert gate.review(buy("1"), day.view) == Refuse(
        "the day's loss 500 reached the limit 500",
        {"loss": "500", "limit": "500", "day_starting_equity": "10000", "equity": "9500"},
    )
    assert not gate.tripped(day.view)
    assert not gate.snapshot()
    assert gate.review(buy("1"), Book().view) == PASS
    assert gate.describe(Book().view)["lasts"] == "until the UTC day ends"


@pytest.mark.behaviour("R1")
@pytest.mark.parametrize(
    ("usd", "percent", "limit"),
    [
        (Decimal(300), None, "300"),
        (None, Decimal(2), "200"),
        (Decimal(300), Decimal(2), "200"),
        (Decimal(150), Decimal(2), "150"),
    ],
)
def test_the_tighter_of_amount_and_percent_of_the_sessions_start_applies(
    usd: Decimal | None, percent: Decimal | None, limit: str
) -> None:
    gate = MaxDailyLoss(usd=usd, percent=percent)
    book = Book(day_starting_equity=Decimal(5_000), session_equity=5_000 - Decimal(limit) + Decimal("0.01"))
    assert gate.review(buy("1"), book.view) == PASS
    book.session_equity -= Decimal("0.01")
    verdict = gate.review(buy("1"), book.view)
    assert isinstance(verdict, Refuse)
    assert Decimal(verdict.numbers["limit"]) == Decimal(limit)


@pytest.mark.behaviour("R1")
def test_the_limits_are_described_with_their_origin() -> None:
    assert MaxDailyLoss(percent=Decimal(2)).describe(Book().view) == {
        "limit": "200 a UTC day",
        "usd": "500",
        "percent": "2 % of 10000",
    }


def test_a_setting_that_is_the_limit_is_not_said_a_second_time() -> None:
    assert MaxDailyLoss().describe(Book().view) == {"limit": "500 a UTC day"}
    assert MaxDailyLoss(usd=None, percent=Decimal(2)).describe(Book().view) == {
        "limit": "200 a UTC day",
        "percent": "2 % of 10000",
    }


@pytest.mark.behaviour("R6")
def test_100_refusals_are_100_refusals_with_their_figures() -> None:
    gate, book = MaxDailyLoss(), Book(session_equity=Decimal(9_000))
    verdicts = [gate.review(buy("1"), book.view) for _ in range(100)]
    assert all(isinstance(verdict, Refuse) and verdict.numbers["loss"] == "1000" for verdict in verdicts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"usd": None}, "max_daily_loss limits nothing"),
        ({"usd": Decimal(0)}, "usd must be above 0, not 0"),
        ({"percent": Decimal(-1)}, "percent must be above 0, not -1"),
    ],
)
def test_a_senseless_daily_limit_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaxDailyLoss(**settings)


# -- margin ----------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("R2")
def test_an_order_fits_up_to_nine_tenths_of_the_free_equity() -> None:
    gate, book = Margin(), Book()
    # 1000 of equity: 900 of margin, times 5 is 4500 of notional, at 100 a coin.
    assert gate.review(buy("45"), book.view) == PASS
    verdict = gate.review(buy("45.001"), book.view)
    assert isinstance(verdict, Refuse)
    assert verdict.reason == "margin 900.02 of 45.001 at 100 exceeds 900.00, 0.9 of what is free"
    assert {name: Decimal(text) for name, text in verdict.numbers.items()} == {
        "notional": Decimal("4500.1"),
        "leverage": 5,
        "margin": Decimal("900.02"),
        "allowed": 900,
        "fraction": Decimal("0.9"),
        "equity": 1_000,
        "cash": 1_000,
        "unrealised": 0,
        "margin_in_use": 0,
        "price": 100,
        "quantity": Decimal("45.001"),
    }
    assert not any("E" in text for text in verdict.numbers.values())


@pytest.mark.behaviour("R2")
def test_margin_in_use_lessens_what_fits() -> None:
    gate, book = Margin(), Book().hold("20")
    # 20 × 100 / 5 = 400 in use: 0.9 × 600 × 5 = 2700.
    assert gate.review(buy("27"), book.view) == PASS
    assert isinstance(gate.review(buy("27.001"), book.view), Refuse)
    assert isinstance(gate.review(buy("27"), book.hold("0.1", symbol="ETHUSDT").view), Refuse)


@pytest.mark.behaviour("R2")
def test_a_large_unrealised_loss_blocks_new_orders() -> None:
    gate, book = Margin(on_excess="shrink"), Book().hold("20", price="148")
    # Lost 960 of 1000 while 400 are bound: less than nothing is free.
    verdict = gate.review(buy("0.01"), book.view)
    assert isinstance(verdict, Refuse)
    assert Decimal(verdict.numbers["unrealised"]) == -960
    assert Decimal(verdict.numbers["allowed"]) < 0


@pytest.mark.parametrize(
    ("request_", "price"),
    [
        (buy("50"), "110.1"),
        (sell("50"), "109.9"),
        (buy("50", limit=Decimal(105), type=OrderType.LIMIT), "105"),
        (sell("50", limit=Decimal(115), type=OrderType.LIMIT), "115"),
        (buy("50", limit=Decimal(120), type=OrderType.LIMIT), "110.1"),
        (sell("50", limit=Decimal(10), type=OrderType.LIMIT), "109.9"),
        (buy("50", limit=Decimal(1)), "110.1"),
        (sell("50", limit=Decimal(1000)), "109.9"),
        (buy("50", stop=Decimal(130), type=OrderType.STOP), "130"),
        (buy("50", stop=Decimal(90), type=OrderType.STOP), "110.1"),
        (sell("50", stop=Decimal(90), type=OrderType.STOP), "109.9"),
        (buy("50", stop=Decimal(130), limit=Decimal(131), type=OrderType.STOP_LIMIT), "131"),
        (sell("50", stop=Decimal(100), limit=Decimal(99), type=OrderType.STOP_LIMIT), "109.9"),
    ],
)
def test_the_notional_is_at_the_touch_or_at_the_limit_of_an_order_that_would_rest(
    request_: OrderRequest, price: str
) -> None:
    book = Book(newest_quote=Quote("BTCUSDT", 1, 109.9, 1.0, 110.1, 1.0))
    verdict = Margin().review(request_, book.view)
    assert isinstance(verdict, Refuse)
    assert verdict.numbers["price"] == price


@pytest.mark.behaviour("R2")
@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize(
    "disguised",
    [sell("60", limit=Decimal(10), type=OrderType.LIMIT), buy("60", limit=Decimal(1)), sell("60", limit=Decimal(1))],
)
def test_a_limit_that_is_no_price_to_fill_at_hides_no_margin(disguised: OrderRequest, quoted: bool) -> None:
    book = Book(newest_quote=Quote("BTCUSDT", 1, 99.9, 1.0, 100.1, 1.0) if quoted else None)
    plain = OrderRequest(disguised.symbol, disguised.side, disguised.quantity)
    verdict = Margin().review(disguised, book.view)
    assert isinstance(verdict, Refuse)
    assert verdict == Margin().review(plain, book.view)


def test_before_the_first_price_nothing_passes() -> None:
    verdict = Margin().review(buy("1"), Book(price=None).view)
    assert verdict == Refuse("no price of BTCUSDT yet: the margin cannot be computed", {})


@pytest.mark.behaviour("R2")
def test_other_working_entries_bind_margin_already() -> None:
    gate = Margin()
    working = Book().work(Side.BUY, "20", reduce_only=False)
    assert gate.review(buy("27"), working.view) == PASS
    assert isinstance(gate.review(buy("27.001"), working.view), Refuse)
    limited = Book().work(Side.BUY, "20", reduce_only=False, limit="50")
    assert gate.review(buy("36"), limited.view) == PASS
    assert isinstance(gate.review(buy("36.001"), limited.view), Refuse)


@pytest.mark.behaviour("R2")
def test_working_entries_of_other_symbols_bind_margin_too_and_their_exits_release_none() -> None:
    gate = Margin()
    elsewhere = Book().work(Side.SELL, "20", reduce_only=False, limit="100", symbol="ETHUSDT")
    assert gate.review(buy("27"), elsewhere.view) == PASS
    assert isinstance(gate.review(buy("27.001"), elsewhere.view), Refuse)
    at_the_market = Book().work(Side.BUY, "20", reduce_only=False, symbol="ETHUSDT")
    assert isinstance(gate.review(buy("27.001"), at_the_market.view), Refuse)
    leaving = Book().hold("20", symbol="ETHUSDT").work(Side.SELL, "20", reduce_only=True, symbol="ETHUSDT")
    assert isinstance(gate.review(buy("27.001"), leaving.view), Refuse)
    assert gate.review(buy("27"), leaving.view) == PASS


def test_an_exit_under_way_frees_what_the_other_side_needs() -> None:
    gate = Margin()
    stuck = Book().hold("40")
    assert isinstance(gate.review(buy("40"), stuck.view), Refuse)
    leaving = Book().hold("40").work(Side.SELL, "40", reduce_only=True)
    assert gate.review(sell("45"), leaving.view) == PASS
    assert isinstance(gate.review(sell("45.001"), leaving.view), Refuse)


@pytest.mark.behaviour("R2")
def test_an_exit_that_rests_leaves_the_position_to_be_closed_by_another() -> None:
    """40 held at 100 on 1,000 with leverage 5; a target rests beside them."""
    resting = Book().hold("40").work(Side.SELL, "40", reduce_only=True, limit="120")
    assert Margin().review(sell("85"), resting.view) == PASS  # 40 close, and 45 × 100 open: 0.9 × 1000 × 5
    assert isinstance(Margin().review(sell("85.001"), resting.view), Refuse)


@pytest.mark.behaviour("R2")
def test_a_stop_that_rests_counts_at_its_stop_or_at_the_price_where_that_is_higher() -> None:
    above = Book().stand("20", stop="150")  # 3,000 of 5,000 are bound: 0.9 × 2,000 are left
    assert Margin().review(buy("18"), above.view) == PASS
    assert isinstance(Margin().review(buy("18.001"), above.view), Refuse)
    below = Book().stand("20", stop="50")  # 2,000 are bound at the price of 100: 0.9 × 3,000 are left
    assert Margin().review(buy("27"), below.view) == PASS
    assert isinstance(Margin().review(buy("27.001"), below.view), Refuse)
    elsewhere = Book().stand("20", stop="150")
    assert isinstance(Margin().review(OrderRequest.buy("ETHUSDT", Decimal("18.001")), elsewhere.view), Refuse)


@pytest.mark.behaviour("R2")
def test_a_position_that_a_resting_order_guards_binds_its_margin_until_that_fills() -> None:
    gate = Margin()
    guarded = Book().hold("40").work(Side.SELL, "40", reduce_only=True, limit="120")
    assert gate.review(buy("9"), guarded.view) == PASS
    assert isinstance(gate.review(buy("9.001"), guarded.view), Refuse)
    assert gate.review(sell("85"), guarded.view) == PASS
    assert isinstance(gate.review(sell("85.001"), guarded.view), Refuse)


def test_of_an_order_that_turns_a_position_only_what_opens_counts() -> None:
    gate = Margin(on_excess="shrink")
    book = Book().hold("40")
    assert gate.review(sell("85"), book.view) == PASS
    verdict = gate.review(sell("90"), book.view)
    assert isinstance(verdict, Shrink)
    assert verdict.quantity == 85


def test_an_order_that_turns_a_position_is_refused_where_nothing_would_fit_beyond_the_closing() -> None:
    # Bought 40 at 124: 960 of 1000 are lost, and not even a lot at 100 fits into 0.9 × 40 × leverage of 0.001.
    book = Book(leverage=Decimal("0.001")).hold("40", price="124")
    assert isinstance(Margin(on_excess="shrink").review(sell("41"), book.view), Refuse)


@pytest.mark.behaviour("R6")
def test_shrinking_gives_what_fits_on_the_lot_or_refuses_below_the_minimum() -> None:
    gate = Margin(on_excess="shrink")
    verdict = gate.review(buy("50"), Book(price=Decimal("99.7")).view)
    assert isinstance(verdict, Shrink)
    assert verdict.quantity == Decimal("45.135")
    assert verdict.numbers["quantity"] == "50"
    assert isinstance(gate.review(buy("1"), Book(price=Decimal(1_000_000)).view), Refuse)


@pytest.mark.behaviour("R6")
@given(
    lots=st.integers(10, 10**6),
    held=st.integers(-50_000, 50_000),
    ticks=st.integers(1, 20_000),
    side=st.sampled_from(Side),
    leverage=st.integers(1, 100),
    on_excess=st.sampled_from(["refuse", "shrink"]),
)
def test_no_verdict_enlarges_or_turns_an_order_and_what_is_left_fits(
    lots: int, held: int, ticks: int, side: Side, leverage: int, on_excess: Literal["refuse", "shrink"]
) -> None:
    gate = Margin(on_excess=on_excess)
    book = Book(leverage=Decimal(leverage), price=ticks * BTC.tick)
    if held:
        book.hold(str(held * BTC.lot))
    request = OrderRequest("BTCUSDT", side, lots * BTC.lot)
    verdict = gate.review(request, book.view)
    if isinstance(verdict, Shrink):
        assert on_excess == "shrink"
        assert BTC.quantity_min <= verdict.quantity < request.quantity
        assert verdict.quantity % BTC.lot == 0
        smaller = OrderRequest("BTCUSDT", side, verdict.quantity)
        assert gate.review(smaller, book.view) == PASS
        larger = OrderRequest("BTCUSDT", side, verdict.quantity + BTC.lot)
        assert gate.review(larger, book.view) != PASS
    else:
        assert verdict == PASS or isinstance(verdict, Refuse)


def test_the_margin_rule_is_described_with_its_figures() -> None:
    assert Margin().describe(Book().view) == {
        "limit": "notional / 5 ≤ 0.9 × (equity − margin in use)",
        "on_excess": "refuse",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fraction": Decimal(0)}, "fraction"),
        ({"fraction": Decimal("1.1")}, "fraction"),
        ({"on_excess": "ignore"}, "on_excess.*ignore"),
    ],
)
def test_a_senseless_margin_setting_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Margin(**settings)
