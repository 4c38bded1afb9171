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
_COLUMNS: Final = ("what", "figure", "u", "target", "note")

Row = dict[str, str]


def row(
    what: str, figure: str, *, u: float | None = None, target: str = "", met: bool | None = None, note: str = ""
) -> Row:
    """Return one line of the table. A target that was not ``met`` is marked, nothing more."""
    shown = target if met is not False else f"{target}, missed"
    return {"what": what, "figure": figure, "u": "" if u is None else f"{u:,.1f}", "target": shown, "note": note}


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
    head = (
        f"Measured at {results['measured']} on commit {machine['commit']}, in {results['seconds']:.0f} s: "
        f"{machine['cpu']} ({machine['cores']} cores), {machine['system']}, {machine['python']}; {versions}.\n\n"
        f"Load before: {machine['load_before']}. u = {u['median']:.1f} ns ({u['least']:.1f} to {u['most']:.1f} "
        f"during the run; far apart means a busy machine).{left_out}"
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
    put_into(HERE / "README.md", markdown(json.loads(stored.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
