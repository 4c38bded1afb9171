"""How results are printed: JSON, or plain aligned tables without colour codes where nobody watches."""

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from lab.compiled import complaints
from lab.records.base import as_data

if TYPE_CHECKING:
    from lab.records.report import Report

ARGUMENTS: Final = "lab.arguments"
"""Where a context's ``meta`` holds the command's name and its arguments, as they were given."""

_SAID_MOST: Final = 1000
_MONEY_DIGITS: Final = 4
_DECIMAL: Final = re.compile(r"-?\d+\.\d+")
_FRACTION_OF_A_SECOND: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z")
_NOT_SHOWN: Final = frozenset({"schema_version", "kind", "changed"})


def clean(text: str) -> str:
    """Return text on one line that no terminal acts on: control characters are written out, as ``\\x1b``."""
    line = text.translate(_SPACES)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in line)


_SPACES: Final = str.maketrans("\n\r\t\v\f", "     ")


def say(text: str) -> None:
    """Print a message for the user, not part of the result: one line on standard error, at most 1,000 characters."""
    line = clean(text)
    click.echo(f"lab: {line if len(line) <= _SAID_MOST else line[:_SAID_MOST] + '...'}", err=True)


def say_what_is_not_compiled() -> None:
    """Tell, once, of compiled modules that do not fit and are not used."""
    for complaint in complaints():
        if complaint not in _said:
            _said.add(complaint)
            say(complaint)


_said: set[str] = set()


def print_json(value: Any) -> None:
    """Print a result as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(as_data(value)), indent=2).decode())


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return rows as aligned columns."""
    lines = [[clean(cell) for cell in line] for line in ([header, *rows] if header else rows)]
    if not lines:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if header:
        text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def files_line(directory: Path | None) -> str:
    """Return where a run's files are."""
    return f"files: {directory}" if directory is not None else "files: none (no_write)"


def report_lines(report: "Report") -> str:
    """Return a final report as a table; what is empty is left out, and so are the books where there is only one."""
    from lab.statistics.wording import figure_rows

    rows = []
    for key, value in as_data(report).items():
        label = key.replace("_", " ")
        lines = [(label, value)]
        if key == "settings":
            lines = [(f"{label} {part}", _as_given(inner)) for part, inner in value.items()]
        elif key == "books":  # the result of each strategy
            lines = [(f"result {part}", _result(inner)) for part, inner in value.items() if len(value) > 1]
        elif key == "statistics":
            lines = figure_rows(report.statistics, rounded)
        elif key == "instruments":  # a line each
            lines = [(f"instrument {part}", inner) for part, inner in value.items()]
        elif key == "instrument" and report.instruments:
            continue
        elif key == "degradations":  # a line each
            lines = [("" if place else label, inner) for place, inner in enumerate(value)]
        rows += [(name, text) for name, inner in lines if key not in _NOT_SHOWN and (text := _inline(inner))]
    return table(rows)


def _result(book: dict[str, Any]) -> dict[str, Any]:
    """Return what a strategy came to, from its book: what it holds at the end last."""
    figures = {key: book[key] for key in ("pnl", "trades", "fills")}
    costs = {key: book["balances"][key] for key in ("fees", "funding") if key in book["balances"]}
    held = {symbol: position["quantity"] for symbol, position in book["positions"].items()}
    return {**figures, **costs, "equity": book["equity"], "holds": held}


def rounded(amount: Decimal) -> str:
    """Return a figure as people read it: two decimals, or four digits where it is smaller than that."""
    if not amount:
        return "0"
    digits = max(2, _MONEY_DIGITS - 1 - amount.adjusted() if abs(amount) < 1 else 2)
    text = format(round(amount, digits), "f")
    return text.rstrip("0").rstrip(".") if abs(amount) < 1 else text


def changed_text(report: "Report", limit: int) -> str:
    """Return the settings that differ from their defaults, as far as they fit: ``sma.fast=7 equity=5000``.

    Those of the provider come last: most runs of a folder have the same ones, and the file is the longest of all.
    """
    run = report.settings.get("run", {})
    provider = ("run.provider", f"{run.get('provider', '')}.")
    ordered = sorted(report.changed.items(), key=lambda one: one[0].startswith(provider))
    text = " ".join(f"{dotted.removeprefix('run.')}={value}" for dotted, value in ordered)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _as_given(settings: dict[str, str]) -> str:
    """Return settings on one line, their figures as they are in force: rounded, one would be another setting."""
    return ", ".join(f"{key}: {value}" for key, value in settings.items() if value)


def _inline(value: Any) -> str:
    """Return a value on one line, nested ones in their own brackets, figures rounded, times in seconds."""
    if value is None:
        return ""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return rounded(Decimal(value))
    if isinstance(value, str) and (time := _FRACTION_OF_A_SECOND.fullmatch(value)):
        return f"{time[1]}Z"
    if isinstance(value, dict):
        shown = {k: _inline(v) for k, v in value.items()}
        return ", ".join(
            f"{k}: {f'({text})' if isinstance(value[k], dict) else text}" for k, text in shown.items() if text
        )
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
