"""The documentation is run: every command line, every plugin of the how-to pages, every table that has a source.

A page's commands run in the page's order, in one temporary folder, in virtual time:

- ``lab`` is this one, with ``pip install uv && uv run``, ``pipx run uv run`` or ``uv run`` before it or not;
- ``LAB_BITUNIX_VENUE=local`` stands for the venue, ``LAB_RUN_SPEED=max`` and ``--speed max`` for other speeds, and
  ``LAB_RUN_MINUTES=10`` for what a page's configuration file says;
- a command that the page has given before is not run again;
- ``uv pip install ./NAME`` lays the page's files out as an installed distribution;
- ``uv run pytest NAME`` is left to the test that runs the contracts of all how-to pages at once, and ``uv run pytest``
  to whoever is running this.

A ``console`` block shows output: its lines must come in that order, digits aside. ``...`` stands for what is left out.
"""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
import lab as library
import pytest
from attrs import frozen
from lab import Broker, Instrument, RiskGate, Strategy, View
from lab.cli.main import COMMANDS
from lab.testing import run_strategy, tape
from lab.testing.builders import instrument

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
HOW_TO: Final = sorted((DOCS / "how-to").glob("write-a-*.md"))
ENVIRONMENT: Final = {"LAB_BITUNIX_VENUE": "local", "LAB_RUN_SPEED": "max", "LAB_RUN_MINUTES": "10"}

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED: Final = re.compile(r"^`([\w./-]+)`:$", re.MULTILINE)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PREFIX: Final = re.compile(r"^(pip install uv && uv run|pipx run uv run|uv run) ")


@frozen
class Block:
    """A fenced block of a page: ``name`` is the file it is said to be, if the line above says so."""

    page: Path
    line: int
    language: str
    text: str
    name: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@functools.cache
def blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = text[: match.start()]
        named = _NAMED.fullmatch(before.rstrip("\n").rpartition("\n")[2])
        found.append(Block(page, before.count("\n") + 1, match[1], match[2], named[1] if named else ""))
    return tuple(found)


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command line of a block with the lines of output shown below it."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "sh":
        yield from ((line.partition(" #")[0].strip(), []) for line in lines if line.strip() and line[0] != "#")
        return
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start][2:].strip(), lines[start + 1 : end]


def pages_with_commands() -> list[Path]:
    return [page for page in PAGES if any(block.language in {"sh", "console"} for block in blocks(page))]


def test_the_reference_of_the_library_has_every_name_of_it() -> None:
    text = (DOCS / "reference" / "library.md").read_text(encoding="utf-8")
    names = [name for name in library.__all__ if _home(name).startswith("lab.research.")]
    assert {"backtest", "sweep", "Best"} <= set(names)
    assert [name for name in names if f"\n### lab.{name}\n" not in text] == []


def _home(name: str) -> str:
    return str(getattr(getattr(library, name), "__module__", ""))


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages_with_commands(), ids=title)
def test_every_command_line_runs_and_shows_what_the_page_shows(page: Path, lab: Any, site: Any) -> None:
    folder = lab.folder
    for block in blocks(page):
        if block.name and block.language != "sh":
            target = folder / block.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
    known: dict[tuple[str, ...], tuple[int, str]] = {}
    for block in blocks(page):
        if block.language not in {"sh", "console"}:
            continue
        for line, shown in commands(block):
            words = words_of(line)
            if tuple(words) not in known:
                known[tuple(words)] = run_words(words, lab, site)
            code, out = known[tuple(words)]
            assert code == 0, f"{block.place}: `{line}` ended with exit code {code}:\n{out}"
            check_shown(f"{block.place}: `{line}`", shown, out)


def words_of(line: str) -> list[str]:
    """Return the words of a command line as it is run here."""
    words = shlex.split(_PREFIX.sub("", line))
    return ["max" if before == "--speed" else word for before, word in zip(["", *words], words, strict=False)]


def run_words(words: list[str], lab: Any, site: Any) -> tuple[int, str]:
    """Run one command as the module's header says; return exit code and output."""
    if words[0] == "lab":
        result = lab(*words[1:], env=ENVIRONMENT)
        return result.code, result.out + result.err
    if words[:3] == ["uv", "pip", "install"]:
        install(lab.folder / words[3], site)
        return 0, ""
    if words[0] == "pytest":
        where = [lab.folder / words[1]] if words[1:] else [ROOT / path for path in configured_folders()]
        return (0, "") if all(path.is_dir() for path in where) else (1, f"no such folder: {where}")
    environment = {**lab.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable if words[0] == "python" else words[0], *words[1:]]
    done = subprocess.run(
        words, cwd=lab.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def configured_folders() -> list[str]:
    """Return where ``pytest`` without arguments looks for tests."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[str] = settings["tool"]["pytest"]["ini_options"]["testpaths"]
    return found


def install(folder: Path, site: Any) -> None:
    """Lay a page's distribution out in the site folder: its one module, and its entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = project["entry-points"]["lab"]
    assert len(modules) == 1, f"{folder.name}: the page's plugin has one entry point, not {modules}"
    (module,) = modules.values()
    site.install(module, (folder / "src" / module / "__init__.py").read_text(encoding="utf-8"))


def check_shown(place: str, shown: list[str], out: str) -> None:
    """Check that the lines shown came in that order, digits aside; of one that ends in ``...`` the beginning."""
    left = iter([shape(line) for line in out.splitlines()])
    for line in shown:
        wanted, dots, _ = shape(line).partition("...")
        if wanted:
            found = any(came.startswith(wanted) if dots else came == wanted for came in left)
            assert found, f"{place} shows a line that did not come, or not there: {line!r}\nit gave:\n{out}"


def shape(line: str) -> str:
    """Return a line without what differs from run to run: figures, signs, hashes, widths of columns."""
    line = re.sub(r"(\b\d{8}T\d{6}Z-[a-z-]+?)-\d+\b", r"\1", line)  # a second run in the same second has a number
    line = re.sub(r"\b[0-9a-f]{8,}\b", "#", line)
    return re.sub(r"[\s-]+", " ", re.sub(r"[-+]?\d[\d,.]*", "#", line)).strip()


# -- the plugins of the how-to pages ---------------------------------------------------------------------------------


def test_the_plugins_of_the_how_to_pages_keep_their_contracts(tmp_path: Path, lab: Any) -> None:
    folders = []
    for page in HOW_TO:
        for block in blocks(page):
            if block.name:
                target = tmp_path / block.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
        folders += [tmp_path / block.name.partition("/")[0] for block in blocks(page) if block.language == "toml"]
    folders = [folder for folder in folders if (folder / "tests").is_dir()]
    assert len(folders) == len(HOW_TO) == 6
    environment = {**lab.environment, "PYTHONPATH": os.pathsep.join(str(folder / "src") for folder in folders)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "-c", os.devnull]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), *map(str, folders)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 50, "each page inherits ten rules or more"
    assert "skipped" not in done.stdout
    assert "xfailed" not in done.stdout


def test_the_example_strategy_says_the_price_of_a_cheap_coin_with_all_its_digits() -> None:
    code = next(block.text for block in blocks(DOCS / "how-to" / "write-a-strategy.md") if "class Dip" in block.text)
    module = types.ModuleType("lab_dip")
    exec(code, vars(module))
    closes = [0.0000214] * 3 + [0.0000200, 0.0000214]
    cheap = instrument(tick=Decimal("0.0000001"), lot=Decimal(1), quantity_min=Decimal(1))
    asked = run_strategy(module.Dip(window=3, quantity=Decimal(10)), tape(closes), instruments=[cheap])
    assert [action.reason for _, actions in asked for action in actions] == ["below 0.0000209", "back at 0.0000209"]


# -- what has a source -----------------------------------------------------------------------------------------------


@functools.cache
def generator() -> dict[str, Any]:
    import runpy

    sys.path.insert(0, str(DOCS))  # as Python does for the script that it is given
    try:
        return runpy.run_path(str(DOCS / "generate.py"))
    finally:
        sys.path.remove(str(DOCS))


def test_the_reference_says_what_the_code_says() -> None:
    pages: Callable[[], dict[Path, str]] = generator()["pages"]
    written = pages()
    assert written, "docs/generate.py writes nothing"
    for path, text in written.items():
        name = path.relative_to(ROOT)
        assert path.read_text(encoding="utf-8") == text, f"{name} is out of date: run `uv run python docs/generate.py`"


def test_the_reference_has_a_section_for_every_command() -> None:
    headings = re.findall(
        r"^## lab ([\w-]+)$", (DOCS / "reference" / "cli.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {*COMMANDS} <= {*headings}


def test_every_key_of_a_report_is_explained(lab: Any) -> None:
    report = json.loads(lab.mock("--no-write", "--json").out)
    page = (DOCS / "reference" / "report.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (.+?) \|", page.partition("## Inside the report")[0], re.MULTILINE)
    explained = [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]
    assert sorted(explained) == sorted(report), set(explained) ^ set(report)


PORTS: Final = {"write-a-strategy": Strategy, "write-a-risk-gate": RiskGate, "write-a-broker": Broker}


@pytest.mark.parametrize("name", PORTS)
def test_a_how_to_page_names_every_method_of_its_port(name: str) -> None:
    text = (DOCS / "how-to" / f"{name}.md").read_text(encoding="utf-8")
    methods = [one for one in vars(PORTS[name]) if not one.startswith("_")]
    missing = [one for one in methods if not re.search(rf"`[^`\n]*\b{one}\b[^`\n]*`", text)]
    assert len(methods) >= 5
    assert not missing, f"{name}.md does not name {', '.join(missing)}"


def test_the_strategy_page_names_every_member_of_views_and_instruments() -> None:
    text = (DOCS / "how-to" / "write-a-strategy.md").read_text(encoding="utf-8")
    members = [*vars(View), *vars(Instrument), *(one.name for one in attrs.fields(Instrument))]
    members = [one for one in members if not one.startswith("_")]
    missing = [one for one in members if not re.search(rf"`{one}\b[^`\n]*`", text)]
    assert len(members) > 25
    assert not missing, f"the page does not name {', '.join(missing)}"


# -- links -----------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{title(page)}: {target} leads nowhere"
        assert ROOT in [there, *there.parents], f"{title(page)}: {target} leads out of the repository"
        if anchor:
            assert anchor in anchors(there), f"{title(page)}: {target}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
        targets = [target.partition("#")[0] for target in links if not re.match(r"[a-z]+:", target)]
        found = [(page.parent / target).resolve() for target in targets if target]
        waiting += [child for path in found for child in (path.glob("*.md") if path.is_dir() else [path])]
    lost = [title(page) for page in PAGES if page not in seen]
    assert not lost, f"no link leads to {', '.join(lost)}"
