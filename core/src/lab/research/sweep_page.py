"""The page of a sweep: the surface of the metric over each pair of settings, the trials and the warnings."""

from collections.abc import Sequence
from html import escape
from itertools import combinations
from typing import Any, Final, Protocol

from lab.research.pages import against, document, shown, table

_TOP: Final = 50
_SETTINGS_MOST: Final = 4
_CELLS_MOST: Final = 40


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
    parts = []
    if best is not None:
        chosen = ", ".join(f"{key} {value}" for key, value in best.settings.items())
        parts.append(
            f"<p>Best: trial {best.number}, {escape(sweep.metric)} <b>{best.value:.6g}</b>: {escape(chosen)}</p>"
        )
    parts += [against(sweep.warnings), "<h2>Surface</h2>"]
    parts.append(f"<p>The best {escape(sweep.metric)} of each pair of values, whatever the other settings were.</p>")
    parts += [_surface(sweep, *pair) for pair in combinations(sweep.names[:_SETTINGS_MOST], 2)]
    parts += [_surface(sweep, one, None) for one in sweep.names[:_SETTINGS_MOST]]
    if len(sweep.beside):
        rows = [(one.setting, one.value, shown(one.metric), shown(one.change)) for one in sweep.beside]
        parts += ["<h2>One step away from the best</h2>", table(("setting", "value", sweep.metric, "change"), rows)]
    parts.append("<h2>Best trials</h2>")
    parts.append(table(sweep.trials.names, [list(map(shown, row)) for row in top(sweep, _TOP)]))
    return document(head, parts)


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
        label = shown(group[0]) if len(group) == 1 else f"{shown(group[0])}–{shown(group[-1])}"
        found.update(dict.fromkeys(group, label))
    return found
