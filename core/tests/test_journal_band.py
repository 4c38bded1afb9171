"""The band of the profit: the same fills at other prices, while no account loses more than it has."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from lab.domain.events import Fill, Liquidated, LiquidationSettled, MarginCall, OrderFilled
from lab.domain.orders import Side
from lab.journal.band import profit_band
from lab.journal.store import Journal
from lab.records.run import BookState, RunState, SessionState, Totals
from lab.testing.builders import instrument
from lab.testing.sample_runs import run_started

X, Y = "BTCUSDT", "ETHUSDT"
D = Decimal
ZERO = D(0)


def filled(
    position: int, price: int, worst: int | None = None, best: int | None = None, *, of: str = "a", quantity: int = 1,
    symbol: str = X, buys: bool = True,
) -> OrderFilled:  # fmt: skip
    """Return a fill at its reference price, after which this is held."""
    other = (None if one is None else D(one) for one in (best, worst))
    fill = Fill(
        "o", D(quantity), D(price), ZERO, ZERO, "taker", "r", D(price), None, ZERO, 1, 0, None, None, *other
    )  # fmt: skip
    return OrderFilled("o.1", of, symbol, Side.BUY if buys else Side.SELL, ZERO, D(position), fill, ())


def called(scope: str, *symbols: str, of: str = "a") -> Liquidated:
    return Liquidated(of, scope, ZERO, ZERO, tuple(MarginCall(one, D(1), D(1), D(1), D(1)) for one in symbols))


def settled(insurance: int, *symbols: str, of: str = "a") -> LiquidationSettled:
    return LiquidationSettled(of, symbols, ZERO, D(insurance), ())


def band(rows: Sequence[Any], *, deposit: int, insured: int = 0, **changes: Any) -> list[Decimal]:
    """Return the band of a run of these rows. ``equities`` is what the strategies' books end with."""
    equities: dict[str, int] = changes.pop("equities")
    instruments = {X: instrument(X), Y: instrument(Y)} | changes.pop("of", {})
    started = run_started(equity=D(deposit), instruments=instruments, **changes)
    journal = Journal(None, durable=False, labels={})
    journal.append_record(started, 0, 0)
    for number, row in enumerate(rows, 1):
        journal.append([row], number, number)
    journal.commit()
    fills = [row for row in rows if isinstance(row, OrderFilled)]
    notional = started.instruments[X].notional
    lost, gained = (
        sum((abs(notional(one.fill.quantity, one.fill.reference) - notional(one.fill.quantity, price))
             for one in fills if (price := getattr(one.fill, name)) is not None), ZERO)
        for name in ("worst", "best")
    )  # fmt: skip
    books = {
        name: BookState(cash=D(one), equity=D(one), pnl=ZERO, fills=0, trades=0, balances={}, positions={},
                        stopped=False)
        for name, one in equities.items()
    }  # fmt: skip
    equity = D(sum(equities.values()))
    totals = Totals(loss_at_worst=lost, gain_at_best=gained, insurance_paid=D(insured))
    end = RunState(totals=totals, equity=equity, day_starting_equity=equity, books=books, session=SessionState())
    found = profit_band(journal.reader(), started, end, D(deposit) * (1 if started.account == "shared" else len(books)))
    return [found.pessimistic, found.expected, found.optimistic]


@pytest.mark.behaviour("O15")
def test_where_nobody_is_short_of_money_the_fills_are_moved_to_their_other_prices() -> None:
    """Bought at 100, perhaps at 103 or 98."""
    assert band([filled(1, 100, 103, 98)], deposit=1_000, equities={"a": 1_007}) == [4, 7, 9]


BOUGHT, SOLD = filled(1, 100, 104, 95), filled(0, 80, 78, 83, buys=False)
BROKEN = (BOUGHT, called("account", X), SOLD, settled(10, X))
"""Bought at 100 with 10 of money and sold at 80: the fund paid 10 of the 20 that were lost."""


@pytest.mark.behaviour("O11", "O15")
def test_an_account_that_the_fund_paid_for_loses_nothing_more_at_worse_prices() -> None:
    """At best it would have lost 100 - 95 + 83 - 80 = 8 less: the fund would have paid 2, and the account still all."""
    assert band(BROKEN, deposit=10, insured=10, equities={"a": 0}) == [-10, -10, -10]


@pytest.mark.behaviour("O11", "O15")
def test_better_prices_gain_what_is_beyond_the_payment_of_the_fund() -> None:
    """Bought at 91 and sold at 83 it loses 8 of the 10."""
    rows = [filled(1, 100, 104, 91), *BROKEN[1:]]
    assert band(rows, deposit=10, insured=10, equities={"a": 0}) == [-10, -10, -8]


@pytest.mark.behaviour("O11", "O15")
def test_an_account_that_was_not_liquidated_ends_with_nothing_at_the_worst() -> None:
    assert band([filled(1, 100, 115)], deposit=10, equities={"a": 9}) == [-10, -1, -1]


@pytest.mark.behaviour("O11", "O15", "P6")
def test_the_fund_pays_for_one_of_two_accounts_and_the_other_keeps_its_band() -> None:
    """The other bought at 50, perhaps at 53 or 49, and holds it at 52."""
    rows = [*BROKEN, filled(1, 50, 53, 49, of="b")]
    assert band(rows, deposit=10, insured=10, equities={"a": 0, "b": 12}) == [-10 - 1, -10 + 2, -10 + 3]


@pytest.mark.behaviour("O11", "O15", "P6")
def test_the_fund_pays_for_all_strategies_of_a_shared_account() -> None:
    """Together they lost 18 of the 10, and at best 1 + 5 + 3 = 9 less: 1 is left then."""
    other = filled(1, 50, 53, 49, of="b")
    rows = [other, BOUGHT, called("account", X), called("account", X, of="b"), SOLD, settled(8, X), settled(0, of="b")]
    assert band(rows, deposit=10, insured=8, equities={"a": -2, "b": 2}, account="shared") == [-10, -10, -9]


@pytest.mark.behaviour("O11", "O15")
def test_with_isolated_margin_the_fund_pays_for_the_position_since_it_was_opened() -> None:
    """Before, a position lost perhaps 2 more or 1 less; and another one, of another symbol, 4 more or 3 less."""
    rows = [
        filled(1, 100, 102), filled(0, 100, None, 101, buys=False),
        BOUGHT, filled(1, 100, 104, 97, symbol=Y), called("position", X), SOLD, settled(10, X),
    ]  # fmt: skip
    found = band(rows, deposit=1_000, insured=10, equities={"a": 990}, margin="isolated")
    assert found == [-10 - 2 - 4, -10, -10 + 1 + 3]


@pytest.mark.behaviour("O11", "O15")
def test_a_position_that_was_turned_is_insured_from_its_turn_on() -> None:
    """Sold 1 at 100 (perhaps 3 less), bought 2 at 100 (perhaps 4 more each), liquidated at 80."""
    turned = filled(1, 100, 104, quantity=2)
    rows = [filled(-1, 100, 97, buys=False), turned, called("position", X), SOLD, settled(10, X)]
    assert band(rows, deposit=1_000, insured=10, equities={"a": 990}, margin="isolated") == [-13, -10, -10]


@pytest.mark.behaviour("O11", "O15")
def test_a_run_that_ends_before_the_position_is_closed_is_insured_for_it_all_the_same() -> None:
    rows = [filled(1, 100, 104, 97, symbol=Y), BOUGHT, called("position", X), settled(10)]
    assert band(rows, deposit=1_000, insured=10, equities={"a": 990}, margin="isolated") == [-14, -10, -7]


@pytest.mark.behaviour("O11", "O15")
def test_a_liquidation_of_the_account_takes_over_one_of_a_position() -> None:
    rows = [filled(1, 50, 53, symbol=Y), BOUGHT, called("position", X), called("account", X, Y), settled(10)]
    assert band(rows, deposit=10, insured=10, equities={"a": 0}, margin="isolated") == [-10, -10, -10]


@pytest.mark.behaviour("O11", "O15")
def test_a_position_that_left_something_of_its_margin_keeps_its_band() -> None:
    """The fund paid for another one, which it bought at 50, perhaps at 53."""
    other = [filled(1, 50, 53, symbol=Y), called("position", Y), filled(0, 40, symbol=Y, buys=False), settled(1, Y)]
    rows = [BOUGHT, called("position", X), SOLD, settled(0, X), *other]
    assert band(rows, deposit=1_000, insured=1, equities={"a": 990}, margin="isolated") == [-16, -10, -2]


@pytest.mark.behaviour("O9", "O11", "O15")
def test_an_inverse_contract_that_could_have_lost_more_than_the_account_ends_with_nothing() -> None:
    """Contracts of 100 at 50,000, perhaps at 62,500: each is worth 0.002 - 0.0016 = 0.0004 coins less of the 1."""
    inverse = instrument(X, contract="inverse", contract_value=D(100))
    row = filled(100, 50_000, 62_500, quantity=100)
    assert band([row], deposit=1, of={X: inverse}, equities={"a": 1}) == [D("-0.04"), 0, 0]
    rows = [filled(10_000, 50_000, 62_500, quantity=10_000)]
    assert band(rows, deposit=1, of={X: inverse}, equities={"a": 1}) == [-1, 0, 0]


@pytest.mark.behaviour("O15")
def test_a_run_without_books_has_the_band_of_its_totals() -> None:
    """A backtest that was killed has rows and no state."""
    assert band([filled(1, 100, 103, 98)], deposit=1_000, equities={}) == [-3, 0, 2]
