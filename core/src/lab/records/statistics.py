"""The statistics of a run, as the report has them. docs/reference/statistics.md is made of what stands here."""

from collections.abc import Mapping
from decimal import Decimal

from lab.domain.ledger import ZERO
from lab.records.base import Record


class TradeFigures(Record, frozen=True, kw_only=True):
    """What round trips came to. One goes from flat to flat, or to the other side, in one symbol of one strategy.

    Its profit is what its fills and its funding did to the cash: fees of both sides included, exact. The fee of a fill
    that turns a position is shared by quantity. What a venue takes for a liquidation, and what its insurance fund pays,
    is of no trade. A position that is still open counts in fills, fees, slippage and funding, and is no trade yet.
    """

    trades: int = 0
    """closed round trips"""
    wins: int = 0
    """those whose profit is above 0"""
    losses: int = 0
    """those whose profit is below 0; what is neither is exactly 0"""
    profit: Decimal = ZERO
    """Σ profit of all closed round trips"""
    win_rate_percent: float | None = None
    """wins / trades × 100; null without a trade"""
    average_win: Decimal | None = None
    """Σ profit of the wins / wins, to 20 digits; null without a win"""
    average_loss: Decimal | None = None
    """Σ profit of the losses / losses, below 0, to 20 digits; null without a loss"""
    profit_factor: float | None = None
    """Σ profit of the wins / −Σ profit of the losses; 0 where none won, null where none lost"""
    expectancy: Decimal | None = None
    """profit / trades, to 20 digits: what a trade came to on average; null without a trade"""
    best_trade: Decimal | None = None
    """the highest profit of a trade; null without a trade"""
    worst_trade: Decimal | None = None
    """the lowest; null without a trade"""
    holding_mean_seconds: float | None = None
    """Σ (time of its last fill − time of its first) / trades, by the venue's clock; null without a trade"""
    holding_shortest_seconds: float | None = None
    """the shortest of them; null without a trade"""
    holding_longest_seconds: float | None = None
    """the longest; null without a trade"""
    fills: int = 0
    """fills of orders, partial ones included, those of open positions too"""
    fees: Decimal = ZERO
    """Σ fees of these fills"""
    slippage: Decimal = ZERO
    """Σ quantity × |price − reference|: what they lost against the prices they were made from; 0 or more"""
    funding: Decimal = ZERO
    """Σ funding paid; below 0: received"""
    traded_notional: Decimal = ZERO
    """Σ quantity × price of the fills, in the currency of the money"""


class MonthFigures(Record, frozen=True, kw_only=True):
    """What a month, in UTC, came to."""

    month: str
    """year and month: `2024-08`"""
    days: int
    """daily returns in it: days with an end in the journal, and the run's last day"""
    profit: Decimal
    """equity at its end − equity at the end of the month before, or at the start of the run"""
    return_percent: float | None
    """profit / the equity it began with × 100; null where that was not above 0"""
    trades: int
    """round trips closed in it"""
    buy_and_hold_percent: float | None
    """`buy_and_hold_percent` of this month alone: the same coins, held on; null before the first price"""


class Statistics(TradeFigures, frozen=True, kw_only=True):
    """The statistics of a run: its trades, then its equity.

    A figure that means nothing for the run is null, and `left_out` says why. Floats have 12 significant digits, so
    that the same journal gives the same bytes. Daily returns are `equity at the end of a UTC day / that at the end of
    the day before − 1`, the first against the deposits, the last day as far as it came; days on which nothing came
    have none, as with a market that is closed. A year has 365 days: these markets never close. The rate without risk
    is 0.
    """

    days: int = 0
    """daily returns there are"""
    cagr_percent: float | None = None
    """compound annual growth, (ending equity / starting equity) ^ (365 / calendar days) − 1, × 100; of at least 30
    calendar days, the first and the last included"""
    volatility_percent: float | None = None
    """sample standard deviation (n − 1) of the daily returns × √365, × 100; of at least 10 daily returns"""
    sharpe: float | None = None
    """mean / sample standard deviation of the daily returns × √365; of at least 10 that differ"""
    sortino: float | None = None
    """mean of the daily returns / √(Σ min(return, 0)² / n) × √365; of at least 10, one of them below 0"""
    calmar: float | None = None
    """`cagr_percent / max_drawdown_percent`: null where either is missing or nothing fell. The drawdown is the one at
    every event, so this is lower than one of daily figures"""
    max_drawdown_percent: Decimal | None = None
    """the fall of equity that was the largest part of the peak before it, in % of that peak, on 1e-10, looked at with
    every event that moves the equity; above 100 where more was lost than there was"""
    longest_drawdown_seconds: float | None = None
    """longest time from a peak of equity to the next higher one, the one that goes on at the end included; the time
    for which nothing was held at the peak is no drawdown"""
    lowest_equity: Decimal | None = None
    """lowest equity, at every event"""
    exposure_percent: float | None = None
    """time with any position / time from the first price that was no history to the last input, × 100, from fill to
    fill by the venue's clock; null where no time passed"""
    turnover: float | None = None
    """traded notional / starting equity: how many times the money was turned over"""
    buy_and_hold_percent: float | None = None
    """(worth at the last price − worth at the first) / |worth at the first| × 100: the same symbol bought at the first
    price that was no history, without fees, funding or leverage; of an inverse contract one of that value at the start,
    in its coin; of several symbols the mean, equal money in each at the start"""
    first_prices: Mapping[str, Decimal] = {}
    """the first price of each symbol that was no history: the middle of its quote, without quotes its close"""
    last_prices: Mapping[str, Decimal] = {}
    """its last price"""
    by_month: tuple[MonthFigures, ...] = ()
    """each month of the run in which a day ended; the newest 1,200"""
    by_strategy: Mapping[str, TradeFigures] = {}
    """the figures of trades by strategy"""
    by_symbol: Mapping[str, TradeFigures] = {}
    """the figures of trades by symbol"""
    left_out: Mapping[str, str] = {}
    """the figures that are null or empty, each with the reason"""
