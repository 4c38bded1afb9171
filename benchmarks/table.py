"""How figures are shown: a plain table, and the same as Markdown inside ``benchmarks/README.md``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

BEGIN: Final = "<!-- figures: written by python -m benchmarks -->"
END: Final = "<!-- end of figures -->"


def row(what: str, figure: str, *, u: float | None = None, note: str = "") -> dict[str, str]:
    """Return one line of the table."""
    return {"what": what, "figure": figure, "u": "" if u is None else f"{u:,.0f}", "note": note}


def plain(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as aligned text."""
    keys = ("what", "figure", "u", "note")
    widths = {key: max(len(key), *(len(one[key]) for one in rows)) for key in keys}
    lines = [dict(zip(keys, keys, strict=True)), *rows]
    return "\n".join("  ".join(line[key].ljust(widths[key]) for key in keys).rstrip() for line in lines)


def markdown(rows: Sequence[Mapping[str, str]], machine: Mapping[str, Any], u_ns: float) -> str:
    """Return rows as a Markdown table, with what they were measured on."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    head = (
        f"Measured on {machine['cpu']} ({machine['cores']} cores), {machine['system']}, {machine['python']}, "
        f"load {machine['load_1m']}; {versions}. u = {u_ns:.0f} ns."
    )
    lines = ["| what | figure | u | note |", "|---|---|---|---|"]
    lines += [f"| {one['what']} | {one['figure']} | {one['u']} | {one['note']} |" for one in rows]
    return "\n".join([head, "", *lines])


def put_into(path: Path, text: str) -> None:
    """Replace the figures between the two marks of a Markdown file. Raises ``ValueError`` where they are missing."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: expected the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
