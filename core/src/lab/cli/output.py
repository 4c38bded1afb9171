"""How results are printed: JSON, or plain aligned tables without colour codes where nobody watches."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec


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
        if isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items()) if key != "books" else f"{len(value)}"
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        if value not in {None, ""}:
            rows.append((key.replace("_", " "), str(value)))
    return table(rows)
