"""How results are printed: JSON, or plain aligned tables without colour codes where nobody watches."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec


def say(text: str) -> None:
    """Tell the user something beside the result: one line on standard error."""
    click.echo(f"lab: {text}", err=True)


def print_json(value: Any) -> None:
    """Print a result as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return rows as aligned columns."""
    lines = [list(header), *map(list, rows)] if header else list(map(list, rows))
    if not lines:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    if header:
        text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def report_lines(report: Mapping[str, Any]) -> str:
    """Return a final report as a table."""
    rows = []
    for key, value in report.items():
        text = _inline(value)
        if text and key not in {"schema_version", "kind", "books"}:
            rows.append((key.replace("_", " "), text))
    return table(rows)


def _inline(value: Any) -> str:
    """Return a value on one line, nested ones in their own brackets."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {f'({_inline(v)})' if isinstance(v, dict) else _inline(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
