"""How figures are shown: a plain table, and the same as Markdown inside ``benchmarks/README.md``.

``python -m benchmarks.table`` writes the README's figures anew from ``results/full.json``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
BEGIN: Final = "<!-- figures: written by python -m benchmarks.table -->"
END: Final = "<!-- end of figures -->"
NONE: Final = "–"
SCHEMA: Final = 3
"""Of the stored results."""
_COLUMNS: Final = ("what", "compiled", "plain", "u", "target", "note")

Row = dict[str, str]


def row(
    what: str, figures: Mapping[str, str], *, u: float | None = None, targets: Sequence[str] = (), note: str = ""
) -> Row:
    """Return one line of the table: a figure of lab compiled and one in plain Python, where there are both.

    ``u`` belongs to the first figure. ``targets`` are of `judged`.
    """
    return {
        "what": what, "compiled": figures.get("compiled", NONE), "plain": figures.get("plain", NONE),
        "u": "" if u is None else f"{u:,.1f}", "target": "; ".join(targets), "note": note,
    }  # fmt: skip


def alone(figure: str) -> dict[str, str]:
    """Return the figures of what is measured in one form only: it stands in the first column."""
    return {"compiled": figure, "plain": ""}


def judged(target: str, met: bool | None) -> str:
    """Return a target, marked where it was missed: nothing more happens. ``None``: nothing was measured."""
    return f"{target}, not measured" if met is None else target if met else f"{target}, missed"


def plain(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as aligned text."""
    widths = {key: max(len(key), *(len(one[key]) for one in rows)) for key in _COLUMNS}
    lines = [dict(zip(_COLUMNS, _COLUMNS, strict=True)), *rows]
    return "\n".join("  ".join(line[key].ljust(widths[key]) for key in _COLUMNS).rstrip() for line in lines)


def markdown(results: Mapping[str, Any]) -> str:
    """Return stored results as a Markdown table, with what they were measured on."""
    machine, u = results["machine"], results["u_ns"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    left_out = f" Left out: {', '.join(results['left_out'])}." if results["left_out"] else ""
    compiled = f" Not compiled: {results['not_compiled']}." if results["not_compiled"] else ""
    head = (
        f"Measured at {results['measured']} on commit {machine['commit']}, in {results['seconds']:.0f} s: "
        f"{machine['cpu']} ({machine['cores']} cores), {machine['system']}, {machine['python']}; {versions}.\n\n"
        f"Load before: {machine['load_before']}. u = {u['median']:.1f} ns ({u['least']:.1f} to {u['most']:.1f} "
        f"during the run; far apart means a busy machine).{compiled}{left_out}"
    )
    lines = [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    lines += [f"| {' | '.join(one[key].replace('|', '/') for key in _COLUMNS)} |" for one in results["rows"]]
    return "\n".join([head, "", *lines])


def put_into(path: Path, text: str) -> None:
    """Replace the figures between the two marks of a Markdown file. Raises ``ValueError`` where they are missing."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: expected the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Write the README's figures from the stored results of the last full run."""
    stored = HERE / "results" / "full.json"
    if not stored.is_file():
        print("benchmarks/results/full.json is missing; make it with: python -m benchmarks --peers", file=sys.stderr)
        return 1
    results = json.loads(stored.read_text(encoding="utf-8"))
    if results["schema_version"] != SCHEMA:
        print(f"benchmarks/results/full.json has schema {results['schema_version']}, not {SCHEMA}", file=sys.stderr)
        return 1
    put_into(HERE / "README.md", markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
