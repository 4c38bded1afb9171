"""How results are printed: JSON, or plain aligned tables without colour codes where nobody watches."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click
import msgspec

ARGUMENTS: Final = "lab.arguments"
"""Where a context's ``meta`` holds the command's name and its arguments, as they were given."""

_SAID_MOST: Final = 1000
_MONEY_DIGITS: Final = 4
_DECIMAL: Final = re.compile(r"-?\d+\.\d+")


def clean(text: str) -> str:
    """Return text on one line that no terminal acts on: control characters are written out, as ``\\x1b``."""
    line = text.translate(_SPACES)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in line)


_SPACES: Final = str.maketrans("\n\r\t\v\f", "     ")


def say(text: str) -> None:
    """Tell the user something beside the result: one line on standard error, of at most 1,000 characters."""
    line = clean(text)
    click.echo(f"lab: {line if len(line) <= _SAID_MOST else line[:_SAID_MOST] + '...'}", err=True)


def print_json(value: Any) -> None:
    """Print a result as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


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


def report_lines(report: Mapping[str, Any]) -> str:
    """Return a final report as a table."""
    rows = []
    for key, value in report.items():
        text = _inline(value)
        if text and key not in {"schema_version", "kind", "books"}:
            rows.append((key.replace("_", " "), text))
    return table(rows)


def rounded(figure: str) -> str:
    """Return a decimal figure as people read it: two decimals, or four digits where it is smaller than that."""
    amount = Decimal(figure)
    if not amount:
        return "0"
    digits = max(2, _MONEY_DIGITS - 1 - amount.adjusted() if abs(amount) < 1 else 2)
    text = format(round(amount, digits), "f")
    return text.rstrip("0").rstrip(".") if abs(amount) < 1 else text


def _inline(value: Any) -> str:
    """Return a value on one line, nested ones in their own brackets, figures rounded."""
    if value is None:
        return ""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return rounded(value)
    if isinstance(value, dict):
        return ", ".join(f"{k}: {f'({_inline(v)})' if isinstance(v, dict) else _inline(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
