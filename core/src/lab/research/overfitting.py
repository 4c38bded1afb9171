"""How much of a best figure is the choosing: the deflated Sharpe ratio.

After D. H. Bailey and M. López de Prado, "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest
Overfitting, and Non-Normality", Journal of Portfolio Management 40 (5), 2014, pp. 94-107. All Sharpe ratios here are of
one period of the returns (a day), not of a year: a yearly one is divided by √365 first.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, variance
from typing import Final

from attrs import frozen

from lab.statistics.returns import DAYS_A_YEAR, RETURNS_LEAST

ENOUGH: Final = 0.95
"""The probability from which on a Sharpe ratio is usually taken for more than luck."""
_EULER: Final = 0.57721566490153286
_normal: Final = NormalDist()


def luckiest_sharpe(variance_of_trials: float, trials: int) -> float:
    """Return the Sharpe ratio to be expected of the best of ``trials`` independent trials without any skill.

    √V · ((1 − γ) Z⁻¹(1 − 1/N) + γ Z⁻¹(1 − 1/(N e))): V is the variance of the trials' Sharpe ratios, N their number,
    Z⁻¹ the inverse of the standard normal distribution, γ the constant of Euler and Mascheroni. Of one trial it is 0.
    """
    if trials < 2:
        return 0.0
    first, second = _normal.inv_cdf(1.0 - 1.0 / trials), _normal.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance_of_trials) * ((1.0 - _EULER) * first + _EULER * second)


def probabilistic_sharpe(sharpe: float, benchmark: float, returns: int, skewness: float, kurtosis: float) -> float:
    """Return the probability, 0 to 1, that the true Sharpe ratio is above a benchmark.

    Z((SR − SR*) √(T − 1) / √(1 − γ₃ SR + (γ₄ − 1)/4 SR²)): SR was measured on T returns of skewness γ₃ and kurtosis γ₄,
    which of normal ones are 0 and 3. Raises ``ValueError`` where that root has no value.
    """
    spread = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if returns < 2 or not spread > 0.0:
        raise ValueError("these returns say nothing of the spread of their Sharpe ratio")
    return _normal.cdf((sharpe - benchmark) * math.sqrt(returns - 1) / math.sqrt(spread))


@frozen
class Deflated:
    """A Sharpe ratio held against what the best of so many trials would show by luck."""

    probability: float
    """The deflated Sharpe ratio: the probability, 0 to 1, that the true one is above that of luck."""
    sharpe: float
    """Of a year."""
    luckiest: float
    """What the best of the trials would show without any skill, of a year."""
    trials: int


def deflated_sharpe(returns: Sequence[float], trials: Sequence[float]) -> Deflated:
    """Return the deflated Sharpe ratio of the best of several trials.

    ``returns`` are its daily ones, ``trials`` the Sharpe ratios of all trials, its own included, of a day. They are
    counted as if they were independent; where they are alike, luck is overrated. Raises ``ValueError`` with the reason
    where it means nothing: fewer than 10 returns, fewer than 2 trials, returns or trials that do not differ.
    """
    if len(returns) < RETURNS_LEAST:
        raise ValueError(f"{len(returns)} daily returns; at least {RETURNS_LEAST} are needed")
    if len(trials) < 2:
        raise ValueError("one trial alone was not chosen among others")
    spread = variance(trials)
    mean = fmean(returns)
    moments = [fmean((one - mean) ** power for one in returns) for power in (2, 3, 4)]
    if not moments[0] > 0.0 or not spread > 0.0:
        raise ValueError("the returns, or the trials, do not differ")
    sharpe = mean / math.sqrt(variance(returns))
    luckiest = luckiest_sharpe(spread, len(trials))
    skewness, kurtosis = moments[1] / moments[0] ** 1.5, moments[2] / moments[0] ** 2
    probability = probabilistic_sharpe(sharpe, luckiest, len(returns), skewness, kurtosis)
    year = math.sqrt(DAYS_A_YEAR)
    return Deflated(probability, sharpe * year, luckiest * year, len(trials))
