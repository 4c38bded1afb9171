"""The figures of daily returns, by hand; where a figure means nothing, the reason."""

import math
from collections.abc import Callable

import pytest
from lab.statistics.returns import (
    cagr,
    calmar,
    daily_returns,
    max_drawdown,
    sharpe,
    sortino,
    volatility,
)

# Mean 0.005; squares of the distances from it: 5 × 0.015² + 5 × 0.015², of 9.
TEN = [0.02, -0.01] * 5


def test_daily_returns_are_each_equity_by_the_one_before_less_1() -> None:
    assert daily_returns([100.0, 110.0, 99.0]) == pytest.approx([0.1, -0.1])
    assert daily_returns([100.0]) == daily_returns([]) == []
    assert daily_returns([100.0, -5.0]) == pytest.approx([-1.05])


def test_volatility_sharpe_and_sortino_of_ten_days_by_hand() -> None:
    deviation = math.sqrt(10 * 0.015**2 / 9)
    assert volatility(TEN) == pytest.approx(deviation * math.sqrt(365), rel=1e-12)
    assert sharpe(TEN) == pytest.approx(0.005 / deviation * math.sqrt(365), rel=1e-12)
    downside = math.sqrt(5 * 0.01**2 / 10)
    assert sortino(TEN) == pytest.approx(0.005 / downside * math.sqrt(365), rel=1e-12)
    assert sharpe(TEN, days_a_year=252) == pytest.approx(sharpe(TEN) * math.sqrt(252 / 365), rel=1e-12)


def test_growth_and_falls_by_hand() -> None:
    assert cagr(100.0, 121.0, 730) == pytest.approx(0.1, rel=1e-12)
    assert cagr(100.0, 50.0, 365) == pytest.approx(-0.5, rel=1e-12)
    assert max_drawdown([100.0, 120.0, 90.0, 130.0, 104.0]) == pytest.approx(0.25)
    assert max_drawdown([100.0, 101.0]) == 0.0
    assert max_drawdown([100.0, -20.0]) == pytest.approx(1.2)
    assert calmar(0.5, 0.25) == 2.0


def test_the_order_of_the_returns_changes_no_bit() -> None:
    returns = [0.1, 1e-17, -0.1, 0.3, 2e-16, -0.2, 0.05, 0.01, -0.03, 0.07]
    assert sharpe(returns) == sharpe(returns[::-1]) == sharpe(sorted(returns))


@pytest.mark.parametrize(
    ("figure", "why"),
    [
        (lambda: volatility(TEN[:9]), "9 daily returns; at least 10 are needed"),
        (lambda: sharpe([0.1]), "1 daily return; at least 10 are needed"),
        (lambda: sortino([]), "0 daily returns; at least 10 are needed"),
        (lambda: sharpe([0.01] * 10), "the daily returns do not differ"),
        (lambda: sortino([0.01] * 9 + [0.0]), "no day lost"),
        (lambda: cagr(100.0, 110.0, 29), "29 calendar days; at least 30 are needed"),
        (lambda: cagr(100.0, 110.0, 1), "1 calendar day; at least 30 are needed"),
        (lambda: cagr(100.0, 0.0, 60), "the equity went from 100 to 0: growth is between figures above 0"),
        (lambda: cagr(1e-300, 1e300, 30), "it grew beyond any figure"),
        (lambda: cagr(1.0, 1e30, 30), "it grew beyond any figure"),
        (lambda: daily_returns([100.0, 0.0, 5.0]), "the equity was 0 at the end of day 1, and returns begin above 0"),
        (lambda: max_drawdown([]), "there is no equity"),
        (lambda: max_drawdown([-1.0]), "the highest equity so far was -1, and falls begin above 0"),
        (lambda: calmar(0.1, 0.0), "the equity never fell"),
    ],
)
def test_a_figure_that_means_nothing_says_why(figure: Callable[[], float], why: str) -> None:
    with pytest.raises(ValueError, match="^" + why.replace(".", r"\.") + "$"):
        figure()
