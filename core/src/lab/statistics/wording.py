"""The most important figures of a run in words, for a terminal, `lab report` and the page."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from lab.domain.time import format_duration
from lab.records.statistics import Statistics

Money = Callable[[Decimal], str]
"""How an amount of money is written."""

_NAMES: Final = {
    "win_rate_percent": "win rate", "average_win": "average win", "average_loss": "average loss",
    "profit_factor": "profit factor", "expectancy": "expectancy", "holding_mean_seconds": "holding time",
    "exposure_percent": "exposure", "buy_and_hold_percent": "buy and hold", "max_drawdown_percent": "drawdown",
    "longest_drawdown_seconds": "longest drawdown", "lowest_equity": "lowest equity", "cagr_percent": "CAGR",
    "volatility_percent": "volatility", "sharpe": "Sharpe", "sortino": "Sortino", "calmar": "Calmar",
    "by_month": "months",
}  # fmt: skip


def figure_rows(statistics: Statistics, money: Money) -> list[tuple[str, str]]:
    """Return the important figures as rows of label and text, and last, for each reason, those that are left out."""
    rows = [*_trade_rows(statistics, money), *_equity_rows(statistics, money)]
    reasons: dict[str, list[str]] = {}
    for name, label in _NAMES.items():
        if name in statistics.left_out:
            reasons.setdefault(statistics.left_out[name], []).append(label)
    rows += [("left out", f"{', '.join(labels)}: {reason}") for reason, labels in reasons.items()]
    return rows


def _trade_rows(one: Statistics, money: Money) -> list[tuple[str, str]]:
    rows = []
    if one.win_rate_percent is not None:
        factor = "" if one.profit_factor is None else f", profit factor {one.profit_factor:.4g}"
        rows.append(("win rate", f"{one.win_rate_percent:.2f} % of {one.trades:,}{factor}"))
    if one.expectancy is not None:
        averages = {"wins": one.average_win, "losses": one.average_loss}
        said = [f"{name} {money(amount)}" for name, amount in averages.items() if amount is not None]
        rows.append(("on average", ", ".join([*said, f"all {money(one.expectancy)}"])))
    if one.holding_mean_seconds is not None:
        some = (one.holding_mean_seconds, one.holding_shortest_seconds or 0.0, one.holding_longest_seconds or 0.0)
        mean, shortest, longest = map(format_duration, some)
        rows.append(("holding time", f"{mean} on average, {shortest} to {longest}"))
    if one.fills:
        rows.append(("slippage", money(one.slippage)))
        rows.append(("turnover", f"{one.turnover or 0.0:.4g} times the starting equity"))
    return rows


def _equity_rows(one: Statistics, money: Money) -> list[tuple[str, str]]:
    rows = []
    if one.exposure_percent is not None:
        rows.append(("exposure", f"{one.exposure_percent:.2f} % of the time"))
    if one.max_drawdown_percent is not None and one.lowest_equity is not None:
        lasted = format_duration(one.longest_drawdown_seconds or 0.0)
        rows.append(("drawdown", f"{one.max_drawdown_percent:.2f} % at most, {lasted} at the longest"))
        rows.append(("low", f"equity {money(one.lowest_equity)} at the lowest"))
    for name, unit in (
        ("cagr_percent", " % a year"), ("volatility_percent", " % a year"), ("sharpe", ""), ("sortino", ""),
        ("calmar", ""), ("buy_and_hold_percent", " %"),
    ):  # fmt: skip
        value = getattr(one, name)
        if value is not None:
            sign = "" if name == "volatility_percent" else "+"
            rows.append((_NAMES[name], f"{value:{sign}.2f}{unit}"))
    return rows
