"""The deflated Sharpe ratio, against the example of the paper and by hand."""

import math
from statistics import NormalDist

import pytest
from lab.research.overfitting import deflated_sharpe, luckiest_sharpe, probabilistic_sharpe


def test_the_example_of_bailey_and_lopez_de_prado_comes_out() -> None:
    # A yearly Sharpe ratio of 2.5 over 1250 daily returns of skewness -3 and kurtosis 10, 250 a year, the best of 100
    # trials whose yearly ratios have a variance of 1/2: the ratio of luck is 0.1132 a day, the deflated one 0.9004.
    luckiest = luckiest_sharpe(0.5 / 250, 100)
    assert luckiest == pytest.approx(0.1132, abs=5e-5)
    deflated = probabilistic_sharpe(2.5 / math.sqrt(250), luckiest, 1250, -3.0, 10.0)
    assert deflated == pytest.approx(0.9004, abs=5e-5)
    fewer = luckiest_sharpe(0.5 / 250, 46)
    assert probabilistic_sharpe(2.5 / math.sqrt(250), fewer, 1250, -3.0, 10.0) == pytest.approx(0.9505, abs=5e-5)
    normal = probabilistic_sharpe(2.5 / math.sqrt(250), luckiest_sharpe(0.5 / 250, 88), 1250, 0.0, 3.0)
    assert normal == pytest.approx(0.9505, abs=5e-4)


def test_ten_returns_and_two_trials_come_out_as_by_hand() -> None:
    returns = [0.01, -0.01] * 4 + [0.02, 0.02]
    # mean 0.004, deviations 4 × 0.006, 4 × -0.014, 2 × 0.016; squares 4 × 36, 4 × 196, 2 × 256 (in 1e-6): 1440
    sharpe = 0.004 / math.sqrt(1440e-6 / 9)
    second = 1440e-6 / 10
    third = (4 * 0.006**3 - 4 * 0.014**3 + 2 * 0.016**3) / 10
    fourth = (4 * 0.006**4 + 4 * 0.014**4 + 2 * 0.016**4) / 10
    z, gamma = NormalDist().inv_cdf, 0.5772156649015329
    # two trials of 0.1 and 0.3: variance 0.02; Z⁻¹(1/2) is 0
    luckiest = math.sqrt(0.02) * gamma * z(1 - 1 / (2 * math.e))
    root = math.sqrt(1 - third / second**1.5 * sharpe + (fourth / second**2 - 1) / 4 * sharpe**2)
    found = deflated_sharpe(returns, [0.1, 0.3])
    assert found.probability == pytest.approx(NormalDist().cdf((sharpe - luckiest) * 3 / root), rel=1e-12)
    assert (found.sharpe, found.luckiest) == pytest.approx((sharpe * math.sqrt(365), luckiest * math.sqrt(365)))
    assert found.trials == 2


def test_more_trials_make_the_same_figure_less_likely_to_be_more_than_luck() -> None:
    returns = [0.01 * math.sin(at) + 0.002 for at in range(100)]
    figures = [deflated_sharpe(returns, [0.1, -0.1] * half).probability for half in (1, 5, 50, 500)]
    assert figures == sorted(figures, reverse=True)
    assert luckiest_sharpe(0.02, 1) == 0.0


@pytest.mark.parametrize(
    ("returns", "trials", "why"),
    [
        ([0.1] * 9, [0.1, 0.2], "9 daily returns; at least 10 are needed"),
        ([0.1, 0.2] * 5, [0.1], "one trial alone was not chosen among others"),
        ([0.25] * 10, [0.1, 0.2], "the returns, or the trials, do not differ"),
        ([0.1, 0.2] * 5, [0.1, 0.1], "the returns, or the trials, do not differ"),
    ],
)
def test_where_it_means_nothing_it_says_why(returns: list[float], trials: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        deflated_sharpe(returns, trials)


def test_returns_whose_spread_is_unknown_have_no_probability() -> None:
    with pytest.raises(ValueError, match="say nothing of the spread"):
        probabilistic_sharpe(2.0, 0.0, 100, 3.0, 1.0)
