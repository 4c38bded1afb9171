"""Runs beside each other: the settings in which they differ, what they came to, and their equity."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from lab.errors import PluginError, RunError
from lab.exit_codes import EndReason
from lab.journal.report import setting_text
from lab.research.offered import installed
from lab.research.result import Result

_POINTS_MOST: Final = 1_000  # of a curve on a page
_ENDS: Final = ("reason", "symbol", "interval", "first_event", "last_event")
_FIGURES: Final = (
    "starting_equity", "ending_equity", "pnl_absolute", "pnl_percent", "max_drawdown", "fees_paid", "funding_paid",
    "trades", "fills", "orders", "refusals",
)  # fmt: skip
_STATISTICS: Final = (
    "win_rate_percent", "profit_factor", "expectancy", "max_drawdown_percent", "longest_drawdown_seconds",
    "exposure_percent", "turnover", "slippage", "cagr_percent", "volatility_percent", "sharpe", "sortino", "calmar",
    "buy_and_hold_percent",
)  # fmt: skip
_NONE: Final = "–"

Rows = Sequence[tuple[str, tuple[str, ...]]]
"""A label, and a text for each run."""


@frozen
class SideBySide:
    """Several runs, in the order in which they were given. A figure that a run does not have is ``–``."""

    runs: tuple[str, ...]
    settings: Rows
    """Those that differ: ``sma.fast`` and its value in each run."""
    figures: Rows

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "runs": list(self.runs),
            "settings": {label: list(texts) for label, texts in self.settings},
            "figures": {label: list(texts) for label, texts in self.figures},
        }


def side_by_side(results: Sequence[Result]) -> SideBySide:
    """Return the settings of some runs that differ, and their figures."""
    reports = [result.report for result in results]
    tables = [_flat(report.settings) for report in reports]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    settings = [(key, tuple(table.get(key, _NONE) for table in tables)) for key in keys]
    figures = [(key, _texts(reports, key)) for key in (*_ENDS, *_FIGURES)]
    figures += [(key, _texts([report.statistics for report in reports], key)) for key in _STATISTICS]
    return SideBySide(
        tuple(report.run_id for report in reports),
        [(key, texts) for key, texts in settings if len(set(texts)) > 1],
        [(key, texts) for key, texts in figures if set(texts) != {_NONE}],
    )


def curve_of(result: Result) -> list[tuple[int, float]]:
    """Return (time, equity) of a run, at most 1,000 points with the first and the last among them."""
    points = [(row.time_ns, row.equity) for row in result.equity]
    step = max(1, -(-len(points) // _POINTS_MOST))
    return points if step == 1 else [*points[:-1:step], points[-1]]


def write_page(path: Path, results: Sequence[Result], beside: SideBySide) -> None:
    """Write a page with the equity of the runs over each other, in % of what each began with, and the figures.

    Raises `PluginError` where the installed reporter ``html`` makes no such page, `RunError` where it can't be written.
    """
    reporter = installed().get("reporter", "html").cls()
    if not hasattr(reporter, "comparison"):
        raise PluginError("the reporter html that is installed compares no runs; upgrade lab-reporters")
    curves = []
    for result in results:
        points = curve_of(result)
        began = float(result.report.starting_equity)
        curves.append([(time_ns, equity / began * 100.0) for time_ns, equity in points])
    tables = [("Settings that differ", beside.settings), ("Figures", beside.figures)]
    try:
        path.write_text(reporter.comparison(beside.runs, curves, tables), encoding="utf-8")
    except OSError as error:
        raise RunError(EndReason.STORAGE, f"{path}: cannot be written: {error.strerror or error}") from None


def _flat(settings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {f"{name}.{key}": value for name, table in settings.items() for key, value in table.items()}


def _texts(records: Sequence[object], key: str) -> tuple[str, ...]:
    return tuple(_text(getattr(record, key)) for record in records)


def _text(value: Any) -> str:
    if value is None or value == "":
        return _NONE
    if isinstance(value, float):
        return f"{value:.6g}"
    return setting_text(round(value, 8) if isinstance(value, Decimal) else value)
