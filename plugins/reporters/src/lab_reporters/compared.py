"""The page of a comparison: the curves of several runs over each other, and their figures side by side."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Final

from lab_reporters import svg, text

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_COLOURS: Final = ("#2f6fb0", "#c9443a", "#0e7a5f", "#8a5a00", "#7a3fa0", "#5d6976")
"""The colour of each run; of more runs than these the colours come again."""


def comparison(
    names: Sequence[str],
    curves: Sequence[Sequence[tuple[int, float]]],
    tables: Sequence[tuple[str, Sequence[tuple[str, Sequence[str]]]]],
) -> str:
    """Return the whole page. ``tables`` are titles with rows: a label and a text for each run."""
    style = files("lab_reporters").joinpath("page.css").read_text("utf-8")
    style += "".join(
        f".drawing .line-{place}{{stroke:{_COLOURS[place % len(_COLOURS)]}}}" for place in range(len(names))
    )
    legend = "".join(
        f'<p class="note"><b style="color:{_COLOURS[place % len(_COLOURS)]}">run {place + 1}</b> {_safe(name)}</p>'
        for place, name in enumerate(names)
    )
    chart = svg.curves_chart(list(zip(names, curves, strict=True)))
    return "\n".join((
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{len(names)} runs</title><style>{style}</style></head><body><main>",
        f"<header><h1>{len(names)} runs</h1></header>",
        f"<section><h2>Equity, in % of what each began with</h2>{chart}{legend}</section>",
        *(_table(title, rows, len(names)) for title, rows in tables if rows),
        "</main></body></html>\n",
    ))  # fmt: skip


def _table(title: str, rows: Sequence[tuple[str, Sequence[str]]], runs: int) -> str:
    head = "".join(f'<th class="n" scope="col">run {number}</th>' for number in range(1, runs + 1))
    body = "".join(
        f'<tr><th scope="row">{_safe(label)}</th>{"".join(f"<td class=n>{_safe(one)}</td>" for one in texts)}</tr>'
        for label, texts in rows
    )
    return (
        f'<section><h2>{_safe(title)}</h2><div class="scroll" role="region" tabindex="0" aria-label="{_safe(title)}">'
        f'<table><caption class="hidden">{_safe(title)}</caption><thead><tr><th scope="col"></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _safe(value: object) -> str:
    return escape(text.clean(value, 200), quote=True)
