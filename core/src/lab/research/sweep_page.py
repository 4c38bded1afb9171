"""The page of a sweep: the surface of the metric over each pair of settings, the trials and the warnings."""

from collections.abc import Sequence
from html import escape
from itertools import combinations
from typing import Any, Final, Protocol

_TOP: Final = 50
_SETTINGS_MOST: Final = 4
_CELLS_MOST: Final = 40
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2024;
  background: #fff }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #ddd }
.surface td, .surface th { border: 1px solid #fff; font-size: 12px; padding: .2rem .4rem }
.surface td { min-width: 3rem }
figure { display: inline-block; margin: 0 2rem 1rem 0; vertical-align: top }
@media (prefers-color-scheme: dark) {
  body { color: #e6e8ea; background: #15181b } th, td { border-color: #333 } .surface td { color: #111 }
}
"""


class Swept(Protocol):
    """What the page needs of a `lab.research.found.Sweep`."""

    metric: str
    direction: str
    trials: Any
    best: Any
    beside: Any
    warnings: tuple[str, ...]
    names: tuple[str, ...]


def page_of(sweep: Swept) -> str:
    """Return the page, whole in one file, without scripts."""
    best = sweep.best
    head = f"Sweep: {len(sweep.trials)} trials, {sweep.direction} {sweep.metric}"
    parts = [f"<h1>{escape(head)}</h1>"]
    if best is not None:
        chosen = ", ".join(f"{key} {value}" for key, value in best.settings.items())
        parts.append(
            f"<p>Best: trial {best.number}, {escape(sweep.metric)} <b>{best.value:.6g}</b>: {escape(chosen)}</p>"
        )
    parts.append("<h2>Against it</h2><ul>")
    parts += [f"<li>{escape(text)}</li>" for text in sweep.warnings]
    parts.append("</ul><h2>Surface</h2>")
    parts.append(f"<p>The best {escape(sweep.metric)} of each pair of values, whatever the other settings were.</p>")
    parts += [_surface(sweep, *pair) for pair in combinations(sweep.names[:_SETTINGS_MOST], 2)]
    parts += [_surface(sweep, one, None) for one in sweep.names[:_SETTINGS_MOST]]
    if len(sweep.beside):
        rows = [(one.setting, one.value, _figure(one.metric), _figure(one.change)) for one in sweep.beside]
        parts += ["<h2>One step away from the best</h2>", _table(("setting", "value", sweep.metric, "change"), rows)]
    parts.append("<h2>Best trials</h2>")
    parts.append(_table(sweep.trials.names, [list(map(_figure, row)) for row in top(sweep, _TOP)]))
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(head)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>\n<body>{body}</body></html>\n'
    )


def top(sweep: Swept, most: int) -> list[Any]:
    """Return the best trials, the best first; of those with the same settings the first."""
    sign = -1 if sweep.direction == "maximize" else 1
    width = 3 + len(sweep.names)
    whole = sorted((row for row in sweep.trials if row[2] is not None), key=lambda row: (sign * row[2], row[0]))
    return list({row[3:width]: row for row in reversed(whole)}.values())[::-1][:most]


def _surface(sweep: Swept, across: str, down: str | None) -> str:
    """Return a table of the best metric of each pair of values; of long ranges neighbouring values share a cell."""
    names = sweep.trials.names
    x, y = names.index(across), names.index(down) if down is not None else None
    pick = max if sweep.direction == "maximize" else min
    rows = [row for row in sweep.trials if row[2] is not None]
    columns, lines = _bins([row[x] for row in rows]), _bins([row[y] for row in rows] if y is not None else [""])
    cells: dict[tuple[str, str], float] = {}
    for row in rows:
        place = lines[row[y]] if y is not None else lines[""], columns[row[x]]
        cells[place] = pick(cells.get(place, row[2]), row[2])
    low, high = min(cells.values(), default=0.0), max(cells.values(), default=0.0)
    heads = list(dict.fromkeys(columns.values()))
    parts = [f"<figure><figcaption>{escape(across)}{f' × {escape(down)}' if down else ''}</figcaption>"]
    parts.append('<table class="surface"><tr><th></th>' + "".join(f"<th>{escape(one)}</th>" for one in heads) + "</tr>")
    for line in dict.fromkeys(lines.values()):
        parts.append(f"<tr><th>{escape(line)}</th>")
        parts += [_cell(cells.get((line, column)), low, high) for column in heads]
        parts.append("</tr>")
    return "".join([*parts, "</table></figure>"])


def _cell(value: float | None, low: float, high: float) -> str:
    if value is None:
        return "<td></td>"
    part = (value - low) / (high - low) if high > low else 1.0
    return f'<td style="background: hsl({round(12 + 120 * part)} 60% {round(72 - 12 * part)}%)">{value:.4g}</td>'


def _bins(values: Sequence[Any]) -> dict[Any, str]:
    """Return the label of each value: itself, or of many the first and the last of its neighbours."""
    try:
        distinct = sorted(set(values))
    except TypeError:
        distinct = list(dict.fromkeys(values))
    size = -(-len(distinct) // _CELLS_MOST) or 1
    found = {}
    for begin in range(0, len(distinct), size):
        group = distinct[begin : begin + size]
        label = _figure(group[0]) if len(group) == 1 else f"{_figure(group[0])}–{_figure(group[-1])}"
        found.update(dict.fromkeys(group, label))
    return found


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    heads = "".join(f"<th>{escape(str(one))}</th>" for one in header)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{lines}</table>"


def _figure(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
