"""What a sweep optimizes: a figure of a run by its name, or a function of its `Result`."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from lab.errors import ConfigError, describe_error, did_you_mean, text_of
from lab.records.report import Report
from lab.research.result import Result

Metric = str | Callable[[Result], Any]
DIRECTIONS: Final = ("maximize", "minimize")
MISSING: Final = "no "
"""How the error of a trial begins that has no such figure."""

_OF_REPORT: Final = {
    "pnl": "pnl_absolute", "pnl_percent": "pnl_percent", "ending_equity": "ending_equity",
    "max_drawdown": "max_drawdown", "fees_paid": "fees_paid", "fills": "fills", "orders": "orders",
    "liquidations": "liquidations", "refusals": "refusals",
}  # fmt: skip
_OF_STATISTICS: Final = (
    "sharpe", "sortino", "calmar", "cagr_percent", "volatility_percent", "max_drawdown_percent",
    "longest_drawdown_seconds", "lowest_equity", "exposure_percent", "turnover", "trades", "wins", "losses", "profit",
    "win_rate_percent", "average_win", "average_loss", "profit_factor", "expectancy", "best_trade", "worst_trade",
    "holding_mean_seconds", "fees", "slippage", "funding", "traded_notional",
)  # fmt: skip
SUMS: Final = frozenset({
    "pnl", "pnl_percent", "profit", "fees_paid", "fees", "slippage", "funding", "trades", "wins", "losses", "fills",
    "orders", "refusals", "liquidations", "turnover", "traded_notional",
})  # fmt: skip
"""Figures that are the larger the longer a run is."""
_LESS_IS_BETTER: Final = frozenset({
    "max_drawdown", "max_drawdown_percent", "longest_drawdown_seconds", "volatility_percent", "fees_paid", "fees",
    "slippage", "funding", "losses", "liquidations", "refusals", "turnover", "exposure_percent",
})  # fmt: skip


def names() -> list[str]:
    """Return the names of the figures a sweep can optimize."""
    return sorted({*_OF_REPORT, *_OF_STATISTICS})


def name_of(metric: Metric) -> str:
    """Return what a metric is called. Raises `ConfigError` for one that is not known, or is no function."""
    if isinstance(metric, str):
        if metric not in names():
            short = next((name for name, of_report in _OF_REPORT.items() if of_report == metric), None)
            hint = f"; did you mean {short!r}?" if short else did_you_mean(metric, names())
            raise ConfigError(f"metric = {metric!r:.60}: no such figure{hint}")
        return metric
    if not callable(metric):
        raise ConfigError(f"metric = {text_of(repr, metric, 60)}: expected the name of a figure, or a function")
    return text_of(str, getattr(metric, "__name__", "metric"), 60)


def direction_of(metric: Metric, given: str | None) -> str:
    """Return ``maximize`` or ``minimize``: as given, else what is better of that figure. Raises `ConfigError`."""
    if given is None:
        return "minimize" if isinstance(metric, str) and metric in _LESS_IS_BETTER else "maximize"
    if given not in DIRECTIONS:
        raise ConfigError(f"direction = {given!r:.60}: expected maximize or minimize")
    return given


def figure(report: Report, name: str) -> Any:
    """Return a figure of a report, ``None`` where it has none."""
    if name in _OF_REPORT:
        return getattr(report, _OF_REPORT[name])
    return getattr(report.statistics, name)


def measured(metric: Metric, result: Result) -> tuple[float, str]:
    """Return the metric of a result and an empty text, or NaN and why there is none."""
    name = name_of(metric)
    try:
        value = figure(result.report, metric) if isinstance(metric, str) else metric(result)
    except Exception as error:
        return math.nan, f"metric {name} failed: {describe_error(error)}"
    if value is None:
        why = result.report.statistics.left_out.get(name, "")
        return math.nan, f"{MISSING}{name}{f': {why}' if why else ''}"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        try:
            value = float(value)  # numpy's and others' numbers
        except (TypeError, ValueError):
            return math.nan, f"metric {name} gave {text_of(repr, value, 60)}; expected a number"
    found = float(value)
    return (found, "") if math.isfinite(found) else (math.nan, f"{MISSING}{name}: it is {found}")


def figures_of(report: Report) -> dict[str, Any]:
    """Return what the table of trials shows of a run beside its metric: exact, and as JSON has it."""
    found = {
        "pnl": f"{report.pnl_absolute:f}",
        "trades": report.trades,
        "max_drawdown": f"{report.max_drawdown:f}",
        "sharpe": figure(report, "sharpe"),
    }
    return {key: value for key, value in found.items() if value is not None}
