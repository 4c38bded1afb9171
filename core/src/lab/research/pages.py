"""What the pages of sweeps and walks are made of: one file without scripts, tables, and figures as text."""

from collections.abc import Sequence
from html import escape
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from lab.errors import RunError
from lab.exit_codes import EndReason

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2024;
  background: #fff }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
.surface td, .surface th { border: 1px solid #fff; font-size: 12px; padding: .2rem .4rem }
.surface td { min-width: 3rem }
figure { display: inline-block; margin: 0 2rem 1rem 0; vertical-align: top }
svg { width: 100%; height: auto; font-size: 12px; fill: currentColor }
.line { fill: none; stroke: #2563a8; stroke-width: 1.5 }
.edge { stroke: currentColor; stroke-opacity: .2 }
@media (prefers-color-scheme: dark) {
  body { color: #e6e8ea; background: #15181b } th, td { border-color: #333 } .surface td { color: #111 }
}
"""


def document(head: str, parts: Sequence[str]) -> str:
    """Return a page under its headline, whole in one file."""
    body = "\n".join([f"<h1>{escape(head)}</h1>", *parts])
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(head)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>\n<body>{body}</body></html>\n'
    )


def against(warnings: Sequence[str]) -> str:
    """Return what speaks against a finding, as a list."""
    return "".join(["<h2>Against it</h2><ul>", *(f"<li>{escape(text)}</li>\n" for text in warnings), "</ul>"])


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table of texts."""
    heads = "".join(f"<th>{escape(str(one))}</th>" for one in header)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{lines}</table>"


def shown(value: Any) -> str:
    """Return a figure as text; nothing for none."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def written(path: str | PathLike[str], page: str) -> Path:
    """Write a page; return its path from the root. Raises `RunError`."""
    target = Path(fspath(path)).absolute()
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(EndReason.STORAGE, f"{target}: cannot be written: {error.strerror or error}") from None
    return target
