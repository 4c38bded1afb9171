"""Margin by hand: tiers, the price of liquidation, and inverse contracts, against the venues' published examples."""

from decimal import Decimal
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.instrument import ASSUMED_TIERS, Instrument, MarginTier, check_instrument
from lab.domain.ledger import EXACT, Ledger
from lab.domain.margin import (
    breach_notional,
    breach_price,
    figures_of,
    initial_margin,
    maintenance_margin,
    notional_most,
    tier_of,
)
from lab.engine.breach import breach_price_in_float
from lab.testing.builders import instrument

D = Decimal
CENT = D("0.01")
# The example of the page "Get Position Tiers" of Bitunix's documentation.
BITUNIX = (
    MarginTier(notional_to=D(50_000), leverage_max=125, maintenance_rate=D("0.004")),
    MarginTier(notional_from=D(50_000), leverage_max=100, maintenance_rate=D("0.005")),
)


def inverse(**more: Any) -> Instrument:
    return instrument("BTCUSD", base="BTC", quote="USD", contract="inverse", tick=D("0.5"), lot=D(1), **more)


@pytest.mark.behaviour("O11")
def test_a_tiers_rate_counts_for_the_whole_notional_and_begins_where_it_begins() -> None:
    assert maintenance_margin(BITUNIX, D(0)) == 0
    assert maintenance_margin(BITUNIX, D("49999.99")) == D("49999.99") * D("0.004")
    assert maintenance_margin(BITUNIX, D(50_000)) == 250
    assert maintenance_margin(BITUNIX, D(10**9)) == 5 * 10**6
    assert tier_of(BITUNIX, D(-1)) is BITUNIX[0]


@pytest.mark.behaviour("O11")
def test_a_deduction_makes_rates_of_parts_as_binance_states_its_maintenance_amount() -> None:
    """Binance, COIN-M: the amount of level 5 is 50 BTC x (5 % - 2.5 %) + 0.56 BTC = 1.81 BTC.

    USD-M: 4,918,775.081 x 10 % - 135,365 = 356,512.508 and 3,500,032.458 x 2.5 % - 16,300 = 71,200.811.
    """
    for notional, rate, amount, margin in (
        ("4918775.081", "0.1", "135365", "356512.5081"),
        ("3500032.458", "0.025", "16300", "71200.81145"),
    ):
        tier = MarginTier(maintenance_rate=D(rate), deduction=D(amount))
        assert maintenance_margin((tier,), D(notional)) == D(margin)
    below = MarginTier(notional_to=D(50), maintenance_rate=D("0.025"), deduction=D("0.56"))
    above = MarginTier(notional_from=D(50), maintenance_rate=D("0.05"), deduction=D("1.81"))
    assert above.deduction == 50 * (above.maintenance_rate - below.maintenance_rate) + below.deduction
    assert maintenance_margin((below, above), D("49.999999")) < maintenance_margin((below, above), D(50)) == D("0.69")


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize(
    ("wallet", "other_maintenance", "other_unrealised", "rate", "amount", "quantity", "entry", "price"),
    [
        ("1535443.01", "71200.81144", "-56354.57", "0.10", "135365", "3683.979", "1456.84", "1153.26"),
        ("1535443.01", "356512.508", "-448192.89", "0.025", "16300", "109.488", "32481.98", "26316.89"),
    ],
)
def test_the_price_of_liquidation_with_cross_margin_is_that_of_binances_formula(
    wallet: str, other_maintenance: str, other_unrealised: str, rate: str, amount: str, quantity: str, entry: str,
    price: str,
) -> None:  # fmt: skip
    """(WB - TMM1 + UPNL1 + cumB - side x position x entry) / (position x MMR - side x position), USD-M futures."""
    tier = MarginTier(maintenance_rate=D(rate), deduction=D(amount))
    held, cost = D(quantity), D(quantity) * D(entry)
    backing = D(wallet) - D(other_maintenance) + D(other_unrealised)
    found = breach_price(instrument(tiers=(tier,)), held, backing - cost)
    formula = (backing + D(amount) - cost) / (held * D(rate) - held)
    assert found is not None
    assert abs(found - formula) < D("1e-9")
    assert found.quantize(CENT) == D(price)


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize(("quantity", "price"), [("1", "19698.49"), ("-1", "20298.51")])
def test_an_isolated_position_is_liquidated_where_its_margin_and_its_loss_meet_the_maintenance(
    quantity: str, price: str
) -> None:
    """1 BTC at 20,000, 50 times: margin 400. Long: 400 + p - 20,000 = 0.005 p, so p = 19,600 / 0.995 = 19,698.49.

    Short: 400 + 20,000 - p = 0.005 p, so p = 20,400 / 1.005 = 20,298.51. Bybit's example of the same long takes the
    maintenance margin at entry, 100, and comes to 20,000 - (400 - 100) = 19,700.
    """
    held, cost = D(quantity), D(quantity) * 20_000
    margin = initial_margin(cost, D(50))
    assert margin == 400
    found = breach_price(instrument(), held, margin - cost)
    assert found is not None
    assert found.quantize(CENT) == D(price)
    assert abs(margin + held * found - cost - found * D("0.005")) < D("1e-8")


@pytest.mark.behaviour("O11")
def test_where_the_tier_changes_on_the_way_the_margin_of_the_lower_one_counts() -> None:
    """Long 1 at 60,000 on 11,000: in the tier from 50,000 on it would be 49,246.23, which lies in the other one."""
    btc = instrument(tiers=BITUNIX)
    found = breach_price(btc, D(1), D(11_000) - 60_000)
    assert found is not None
    assert found.quantize(CENT) == (D(49_000) / D("0.996")).quantize(CENT) == D("49196.79")


@pytest.mark.behaviour("O11")
def test_a_short_that_grows_into_a_tier_is_liquidated_where_that_begins_if_it_lacks_its_margin() -> None:
    """Short 1 with 50,225 + 0 behind it: 225 are left at 50,000, and 250 are needed from there on, 200 below."""
    btc = instrument(tiers=BITUNIX)
    assert breach_price(btc, D(-1), D(50_225)) == 50_000
    assert breach_price(btc, D(-1), D(50_199)) == (D(50_199) / D("1.004")).quantize(D("1e-10"))


def test_without_leverage_there_is_no_price_at_which_a_long_is_liquidated() -> None:
    assert breach_price(instrument(), D(1), D(0)) is None
    assert breach_price(instrument(), D(1), D(5)) is None
    assert breach_price(inverse(), D(-100), D("0.5")) is None


def test_a_book_that_has_nothing_left_is_liquidated_at_every_price() -> None:
    tiers = ((0.0, inf, 0.005, 0.0),)
    assert breach_price_in_float(0.0, -1.0, -5.0, tiers) == 0.0
    assert breach_price_in_float(100.0, 1.0, -5.0, tiers) == inf
    assert breach_price_in_float(0.0, 1.0, 5.0, tiers) == 0.0
    assert breach_price_in_float(100.0, -1.0, 5.0, tiers) == inf


@given(
    st.integers(1, 10**6),
    st.integers(-(10**6), 10**6).filter(bool),
    st.integers(1, 10**6),
    st.booleans(),
    st.sampled_from([ASSUMED_TIERS, BITUNIX]),
)
def test_the_float_ahead_of_the_exact_figures_says_the_same(
    backing: int, quantity: int, entry: int, is_inverse: bool, tiers: tuple[MarginTier, ...]
) -> None:
    one = inverse(tiers=tiers, contract_value=D(100)) if is_inverse else instrument(tiers=tiers)
    money = D(backing) / (1_000 if is_inverse else 1)
    aside = money - quantity * one.worth(D(entry))
    exact = breach_price(one, D(quantity), aside)
    figures = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in figures_of(tiers))
    near = breach_price_in_float(100.0 if is_inverse else 0.0, float(quantity), float(aside), figures)
    if exact is None:
        assert near in {0.0, inf}
    elif exact > CENT:
        assert near == pytest.approx(float(exact), rel=1e-6)


@given(st.integers(-(10**7), 10**7), st.booleans(), st.sampled_from([ASSUMED_TIERS, BITUNIX]))
def test_at_the_notional_of_a_breach_the_margin_is_not_enough_and_before_it_it_is(
    aside: int, falls: bool, tiers: tuple[MarginTier, ...]
) -> None:
    level = breach_notional(D(aside), falls=falls, tiers=figures_of(tiers))

    def left(notional: Decimal) -> Decimal:
        return aside + (notional if falls else -notional) - maintenance_margin(tiers, notional)

    if level is None:
        assert all(left(D(notional)) > 0 for notional in (1, 10, 1_000, 49_999, 50_000, 10**8))
        return
    tiny = D("1e-15")
    if level > 0:
        assert left(level + (-tiny if falls else tiny)) <= D("1e-9")
    before = level + (D(1) if falls else D(-1))
    if before > 0:
        assert left(before) > 0


def test_a_venue_gives_a_leverage_up_to_the_tier_that_has_less() -> None:
    assert notional_most(BITUNIX, D(100)) is None
    assert notional_most(BITUNIX, D(101)) == 50_000
    assert instrument(tiers=BITUNIX).leverage_most == 125
    assert instrument(tiers=BITUNIX, leverage_max=50).leverage_most == 50
    assert instrument(tiers=(MarginTier(),)).leverage_most is None
    assert instrument().leverage_most == 100


@pytest.mark.behaviour("O11")
def test_an_inverse_contracts_profit_is_that_of_bitmexs_example() -> None:
    """100,000 contracts of 1 USD from 10,000 to 10,500: 100,000 x 1 x (1/10,000 - 1/10,500) = 0.476 XBT."""
    ledger, one = Ledger(), inverse()
    ledger.fill("BTCUSD", D(100_000), one.worth(D(10_000)), D(0))
    assert one.price_of(ledger.position("BTCUSD").price) == 10_000
    assert one.notional(D(100_000), D(10_000)) == 10
    ledger.fill("BTCUSD", D(-100_000), one.worth(D(10_500)), D(0))
    assert ledger.cash.quantize(D("0.001")) == D("0.476")
    assert abs(ledger.cash - D(100_000) * (1 / D(10_000) - 1 / D(10_500))) < D("1e-12")
    ledger.check_balance()


@pytest.mark.behaviour("O11")
def test_an_inverse_short_loses_when_the_price_rises_and_a_contract_may_be_worth_a_hundred() -> None:
    """1,000 contracts of 100 USD sold at 50,000 and bought at 62,500: 100,000 x (1/62,500 - 1/50,000) = -0.4 coins."""
    ledger, one = Ledger(), inverse(contract_value=D(100))
    ledger.fill("BTCUSD", D(-1_000), one.worth(D(50_000)), D("0.001"))
    ledger.fill("BTCUSD", D(1_000), one.worth(D(62_500)), D("0.001"))
    assert ledger.cash == D("-0.402")
    assert one.currency == "BTC"
    assert instrument().currency == "USDT"


@pytest.mark.behaviour("O11")
@pytest.mark.parametrize(("quantity", "price"), [(60_000, "45681.82"), (-60_000, "55277.78")])
def test_an_inverse_position_is_liquidated_where_bybits_formula_says(quantity: int, price: str) -> None:
    """60,000 USD at 50,000, 10 times, 0.5 %: 1.2 BTC, margin 0.12.

    Long: size x (MMR + 1) / (size/entry + margin) = 60,300 / 1.32; short: size x (1 - MMR) / (size/entry - margin) =
    59,700 / 1.08, as Bybit's help centre has it for inverse perpetuals with isolated margin.
    """
    one = inverse()
    cost = quantity * one.worth(D(50_000))
    margin = initial_margin(cost, D(10))
    assert margin == D("0.12")
    found = breach_price(one, D(quantity), margin - cost)
    assert found is not None
    assert found.quantize(CENT) == D(price)


def test_the_worth_of_a_contract_is_kept_to_eighteen_places_whatever_context_is_in_force() -> None:
    assert inverse().worth(D(3)) == D("-0.333333333333333333")
    assert EXACT.multiply(inverse().worth(D(3)), D(3)) == D("-0.999999999999999999")
    assert inverse().price_of(D(0)) == 0
    assert instrument().worth(D("1.5")) == instrument().price_of(D("1.5")) == D("1.5")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contract": "quanto"}, "contract 'quanto' is neither linear nor inverse"),
        ({"contract_value": D(100)}, "contract_value 100 is that of an inverse contract: a linear one is one coin"),
        ({"contract_value": D(0)}, "contract_value 0 is out of bounds"),
        ({"liquidation_fee_rate": D(1)}, "liquidation_fee_rate 1 is out of bounds"),
        ({"liquidation_fee_rate": 0.1}, "liquidation_fee_rate 0.1 is no finite Decimal"),
        ({"tiers": ()}, "tiers () are no tuple of 1 to 100 MarginTier"),
        ({"tiers": list(BITUNIX)}, "are no tuple of 1 to 100 MarginTier"),
        ({"tiers": (1,)}, "tier 1: 1 is no MarginTier"),
        ({"tiers": (BITUNIX[0],)}, "tier 1: notional_to is for a tier that another one follows: the last has no end"),
        ({"tiers": (BITUNIX[1],)}, "tier 1: notional_from is 50000; expected 0, where the tier below it ends"),
        ({"tiers": (MarginTier(), MarginTier())}, "tier 1: notional_to None is no finite Decimal"),
        ({"tiers": (MarginTier(notional_to=D(0)), MarginTier())}, "tier 1: notional_to 0 is out of bounds"),
        ({"tiers": (MarginTier(maintenance_rate=D(1)),)}, "tier 1: maintenance_rate 1, deduction 0: out of bounds"),
        ({"tiers": (MarginTier(maintenance_rate=D("NaN")),)}, "tier 1: maintenance_rate Decimal('NaN') is no finite"),
        ({"tiers": (MarginTier(deduction=D(1)),)}, "tier 1: it needs less margin at 0 than the tier below it"),
        (
            {"tiers": (BITUNIX[0], MarginTier(notional_from=D(50_000), maintenance_rate=D("0.003")))},
            "tier 2: it needs less margin at 50000 than the tier below it",
        ),
        ({"tiers": (MarginTier(leverage_max=0),)}, "tier 1: leverage_max 0 is no whole number above 0"),
    ],
)
def test_margin_figures_that_cannot_be_used_are_named(changes: dict[str, Any], words: str) -> None:
    problem = check_instrument(instrument(**changes))
    assert problem is not None
    assert problem.startswith(words) or words in problem


def test_sound_margin_figures_are_taken() -> None:
    assert check_instrument(instrument(tiers=BITUNIX, liquidation_fee_rate=D("0.0005"))) is None
    assert check_instrument(inverse(contract_value=D(100))) is None
