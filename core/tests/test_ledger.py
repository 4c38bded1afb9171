"""Money is exact: postings sum to zero, and equity is what the fills say, to the last digit."""

from decimal import Context, Decimal, getcontext, localcontext
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.domain.ledger import ZERO, Ledger, own_context
from lab.domain.position import Position

D = Decimal
pytestmark = pytest.mark.behaviour("O14")

# A trade is one number, which hypothesis draws ten times faster than a tuple of decimals.
RATES = (D("0.0006"), D("0.0002"), ZERO, D("-0.0001"))
COINS = ((D("0.0001"), D("0.1")), (D(1), D("1e-8")), (D("0.5"), D("0.25")))  # lot, tick
FILLS = st.tuples(st.sampled_from(COINS), st.lists(st.integers(0, 2**36 - 1), max_size=25))
Drawn = tuple[tuple[Decimal, Decimal], list[int]]
Trade = tuple[Decimal, Decimal, Decimal]  # signed quantity, price, fee


def trades_of(drawn: Drawn) -> list[Trade]:
    """Return fills on the steps of a coin: up to 8 lots, so that many close, close in part or turn, or up to 16,384."""
    (lot, tick), numbers = drawn
    trades = []
    for number in numbers:
        ticks, rest = divmod(number, 2**17)
        lots = (rest & 0x3FFF if rest & 0x10000 else rest & 7) + 1
        quantity, price = lot * (-lots if rest & 0x8000 else lots), tick * (ticks + 1)
        trades.append((quantity, price, abs(quantity) * price * RATES[number % 4]))
    return trades


def naive_equity(deposit: Decimal, trades: list[Trade], mark: Decimal) -> Decimal:
    """Recompute equity from the fills alone, without positions and without a division, in 100 digits."""
    with localcontext(Context(prec=100)):
        paid = sum((quantity * price + fee for quantity, price, fee in trades), ZERO)
        return deposit - paid + sum((quantity for quantity, _, _ in trades), ZERO) * mark


def equity(ledger: Ledger, mark: Decimal) -> Decimal:
    """Value a book of one symbol as the engine does: cash, and what is held at the mark less its cost."""
    held = ledger.position("X")
    return ledger.cash + held.quantity * mark - held.cost


def check_books(trades: list[Trade], mark: Decimal) -> None:
    """Book the fills and compare every balance with what the fills alone say."""
    ledger = Ledger()
    ledger.deposit(D(10_000))
    for quantity, price, fee in trades:
        postings = ledger.fill("X", quantity, price, fee)
        assert sum(amount for _, amount in postings) == 0
    assert equity(ledger, mark) == naive_equity(D(10_000), trades, mark)
    assert sum(ledger.balances.values()) == 0
    assert ledger.balances["cash"] == ledger.cash
    assert ledger.balances["fees"] == sum((fee for _, _, fee in trades), ZERO)


@settings(max_examples=400)
@given(FILLS, st.integers(1, 10**6))
def test_equity_equals_a_recomputation_from_the_fills_to_the_last_digit(drawn: Drawn, ticks: int) -> None:
    check_books(trades_of(drawn), D(ticks) * D("1e-4"))


def test_equity_equals_a_recomputation_for_five_thousand_seeded_lives_of_a_book() -> None:
    random = Random(14)
    for _ in range(5_000):
        numbers = [random.randrange(2**36) for _ in range(random.randrange(40))]
        check_books(trades_of((random.choice(COINS), numbers)), D(random.randrange(1, 10**6)) * D("1e-4"))


@settings(max_examples=200)
@given(FILLS)
def test_a_position_that_was_closed_leaves_nothing_behind(drawn: Drawn) -> None:
    ledger = Ledger()
    ledger.deposit(D(10_000))
    for quantity, price, _ in trades_of(drawn):
        ledger.fill("X", quantity, price, ZERO)
    left = ledger.position("X").quantity
    if left:
        ledger.fill("X", -left, D("1.5"), ZERO)
    assert ledger.position("X") == Position(ZERO, ZERO)
    assert ledger.cash == D(10_000) - ledger.balances["realised"]


def test_a_deposit_is_cash_owed_to_the_owner() -> None:
    ledger = Ledger()
    assert ledger.deposit(D(100)) == (("cash", D(100)), ("capital", D(-100)))
    balances = {account: amount for account, amount in ledger.balances.items() if amount}
    assert balances == {"cash": D(100), "capital": D(-100)}


def test_funding_and_what_a_liquidation_adds_are_accounts_of_their_own() -> None:
    ledger = Ledger()
    ledger.deposit(D(100))
    assert ledger.pay_funding(D("1.5")) == (("cash", D("-1.5")), ("funding", D("1.5")))
    assert ledger.pay_funding(D(-4)) == (("cash", D(4)), ("funding", D(-4)))
    assert ledger.settle_liquidation(D(2), D(30)) == (
        ("cash", D(28)),
        ("liquidation_fees", D(2)),
        ("insurance", D(-30)),
    )
    assert (ledger.cash, ledger.funding, ledger.liquidation_fees, ledger.insurance) == (D("130.5"), D("-2.5"), 2, -30)
    ledger.check_balance()


def test_opening_moves_no_cash_but_the_fee() -> None:
    ledger = Ledger()
    assert ledger.fill("X", D(2), D(100), D("0.12")) == (("cash", D("-0.12")), ("fees", D("0.12")))
    assert ledger.position("X") == Position(D(2), D(200))
    assert ledger.position("X").price == D(100)


@pytest.mark.parametrize(("side", "profit"), [(1, D(20)), (-1, D(-20))])
def test_closing_a_part_realises_its_share(side: int, profit: Decimal) -> None:
    ledger = Ledger()
    ledger.fill("X", D(4 * side), D(100), ZERO)
    assert ledger.fill("X", D(-2 * side), D(110), D("0.1")) == (
        ("cash", profit - D("0.1")),
        ("realised", -profit),
        ("fees", D("0.1")),
    )
    assert ledger.position("X") == Position(D(2 * side), D(200 * side))


def test_a_share_that_does_not_divide_stays_with_the_position() -> None:
    ledger = Ledger()
    ledger.fill("X", D(1), D(100), ZERO)
    ledger.fill("X", D(2), D("100.1"), ZERO)
    ledger.fill("X", D(-1), D(100), ZERO)
    assert ledger.position("X").cost == D("200.1333333333")
    ledger.fill("X", D(-2), D(100), ZERO)
    assert ledger.cash == D("-0.2")


def test_turning_a_position_closes_all_of_it_and_opens_the_rest() -> None:
    ledger = Ledger()
    ledger.fill("X", D(1), D(100), ZERO)
    assert ledger.fill("X", D(-3), D(90), ZERO) == (("cash", D(-10)), ("realised", D(10)), ("fees", ZERO))
    assert ledger.position("X") == Position(D(-2), D(-180))
    assert equity(ledger, D(80)) == D(10)


def test_positions_of_different_symbols_do_not_mix() -> None:
    ledger = Ledger()
    ledger.fill("X", D(1), D(100), ZERO)
    ledger.fill("Y", D(-1), D(10), ZERO)
    ledger.fill("Y", D(1), D(12), ZERO)
    assert (ledger.position("X"), ledger.position("Y")) == (Position(D(1), D(100)), Position(ZERO, ZERO))
    assert ledger.cash == D(-2)


def test_a_symbol_never_traded_is_flat_and_a_flat_position_has_no_price() -> None:
    assert Ledger().position("X") == Position(ZERO, ZERO)
    assert Position().price == 0


def test_what_is_done_to_a_runs_own_context_is_over_with_the_run() -> None:
    before = getcontext().prec
    with own_context():
        getcontext().prec = 3
        assert Decimal(1) / 3 == Decimal("0.333")
    assert getcontext().prec == before
