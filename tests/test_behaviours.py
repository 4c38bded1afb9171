"""The list of behaviours and the tests agree: every row that is called done is shown by a test that names it."""

import ast
import functools
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

ROOT: Final = Path(__file__).parent.parent
LIST: Final = ROOT / "docs" / "behaviours.md"
FOLDERS: Final = ("core/tests", "plugins/*/tests", "tests", "examples")
SECTIONS: Final = "FTMGORSJVXPLDN"

_HEADING: Final = re.compile(r"## ([A-Z])\. \S.*")
_ROW: Final = re.compile(r"\| ([A-Z])(\d+) \| (\S.*\S) \| (done|open) \|")


class MalformedList(ValueError):
    """The list cannot be read: the message names the line."""


@frozen
class Row:
    """One behaviour."""

    id: str
    text: str
    done: bool


@frozen
class Mark:
    """One mention of a row by a test."""

    place: str
    row: str


def read_rows(text: str) -> dict[str, Row]:
    """Return the rows by id. Raises `MalformedList`: rows stand in their section's table, numbered from 1, in order."""
    rows: dict[str, Row] = {}
    sections: list[str] = []
    expected = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            heading = _HEADING.fullmatch(line)
            if heading is None:
                raise MalformedList(f"line {number}: expected `## X. Title`, not {line!r}")
            sections.append(heading[1])
            expected = 1
        elif line.startswith("|") and line not in {"| id | behaviour | status |", "|---|---|---|"}:
            row = _ROW.fullmatch(line)
            if row is None:
                raise MalformedList(f"line {number}: expected `| id | behaviour | done or open |`, not {line[:60]!r}")
            if not sections or (row[1], int(row[2])) != (sections[-1], expected):
                wanted = f"{sections[-1]}{expected}" if sections else "a heading"
                raise MalformedList(f"line {number}: {row[1]}{row[2]} stands where {wanted} is expected")
            rows[row[1] + row[2]] = Row(row[1] + row[2], row[3], row[4] == "done")
            expected += 1
    if "".join(sections) != SECTIONS:
        raise MalformedList(f"sections {''.join(sections)}, expected {SECTIONS}")
    return rows


def read_marks(code: str, name: str) -> Iterator[Mark]:
    """Yield every ``pytest.mark.behaviour(...)`` of a source. Raises ``ValueError`` for a computed id."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.behaviour":
            for argument in node.args:
                place = f"{name}:{argument.lineno}"
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    raise ValueError(f"{place}: {ast.unparse(argument)} is no row's id written out")
                yield Mark(place, argument.value)


@functools.cache
def all_marks() -> list[Mark]:
    files = sorted(path for folder in FOLDERS for base in ROOT.glob(folder) for path in base.rglob("*.py"))
    return [
        mark for path in files for mark in read_marks(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    ]


def missing(rows: dict[str, Row], marks: list[Mark]) -> list[Row]:
    """Return the rows that are called done and shown by no test."""
    shown = {mark.row for mark in marks}
    return [row for row in rows.values() if row.done and row.id not in shown]


def unknown(rows: dict[str, Row], marks: list[Mark]) -> list[Mark]:
    """Return the marks that name no row."""
    return [mark for mark in marks if mark.row not in rows]


def test_every_row_that_is_done_is_shown_by_a_test() -> None:
    bare = missing(read_rows(LIST.read_text(encoding="utf-8")), all_marks())
    text = "\n".join(f"  {row.id}: {row.text[:100]}" for row in bare)
    assert not bare, f"{len(bare)} done rows of docs/behaviours.md have no test:\n{text}"


def test_every_mark_names_a_row() -> None:
    lost = unknown(read_rows(LIST.read_text(encoding="utf-8")), all_marks())
    assert not lost, "marks of rows that docs/behaviours.md has not: " + ", ".join(f"{m.place} {m.row}" for m in lost)


def listing(*rows: str) -> str:
    """Return a list with the given rows in section F, and every other section empty."""
    table = "\n".join(["| id | behaviour | status |", "|---|---|---|", *rows])
    return "\n".join(f"## {section}. Title\n\n{table if section == 'F' else ''}" for section in SECTIONS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (listing("| F2 | second | done |"), "F2 stands where F1 is expected"),
        (listing("| F1 | first | done |", "| F1 | again | open |"), "F1 stands where F2 is expected"),
        (listing("| T1 | elsewhere | done |"), "T1 stands where F1 is expected"),
        (listing("| F1 | first | perhaps |"), "done or open"),
        (listing("| F1 | | done |"), "done or open"),
        (listing("| F1 | first |"), "done or open"),
        (
            listing("| F1 | first | done |").replace("## P. Title", ""),
            f"sections {SECTIONS.replace('P', '')}, expected ",
        ),
        (listing().replace("## T. Title", "## Time"), "expected `## X. Title`"),
        ("| F1 | first | done |", "a heading"),
    ],
)
def test_a_malformed_list_is_refused(text: str, said: str) -> None:
    with pytest.raises(MalformedList, match=re.escape(said)):
        read_rows(text)


def test_missing_rows_and_unknown_marks_are_found() -> None:
    rows = read_rows(listing("| F1 | first | done |", "| F2 | second | done |", "| F3 | third | open |"))
    code = textwrap.dedent("""
        import pytest
        pytestmark = pytest.mark.behaviour("F9")
        @pytest.mark.behaviour("F1", "F3")
        def test_one(): ...
    """)
    marks = list(read_marks(code, "test_x.py"))
    assert [row.id for row in missing(rows, marks)] == ["F2"]
    assert unknown(rows, marks) == [Mark("test_x.py:3", "F9")]


def test_a_computed_id_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test_x\.py:1: ID is no row's id"):
        list(read_marks("pytest.mark.behaviour(ID)", "test_x.py"))
