"""One run of the suite: what it may take, the data it measures with, and the figures so far."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.data import Expected
from benchmarks.forms import COMPILED, OWN, PLAIN, Form
from benchmarks.measure import unit_ns
from benchmarks.table import Row


@define
class Suite:
    """What the groups share. ``folder`` holds the data, and is removed at the end."""

    quick: bool
    folder: Path
    expected: dict[str, Expected]
    forms: dict[str, Form]
    groups: frozenset[str] = frozenset()
    """The groups that are wanted."""
    rows: list[Row] = field(factory=list)
    raw: dict[str, Any] = field(factory=dict)
    units: list[float] = field(factory=list)

    @property
    def first(self) -> Form:
        """The form that a figure without a form is of: the compiled one, where there is one."""
        return self.forms.get(COMPILED, self.forms[PLAIN])

    def both(self) -> Iterator[Form]:
        """Yield the two that stand beside each other in the table, as far as they are there."""
        return (form for form in self.forms.values() if form.name != OWN)

    def unit(self) -> float:
        """Measure u now, for a figure and for the record of how quiet the machine was."""
        self.units.append(unit_ns(3))
        return self.units[-1]

    def add(self, key: str, raw: Any, *rows: Row) -> None:
        """Keep figures, every single run of them, and show them at once."""
        self.raw[key] = raw
        self.rows.extend(rows)
        for one in rows:
            in_u = f"{one['u']} u; " if one["u"] else ""
            target = f"target {one['target']}; " if one["target"] else ""
            figures = f"{one['compiled']} | plain {one['plain']}" if one["plain"] else one["compiled"]
            print(f"  {one['what']}: {figures}; {in_u}{target}{one['note']}", flush=True)
