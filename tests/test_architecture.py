"""Imports point one way, the pure half is pure, and nothing that decides reads a clock or draws a number.

Each check is a function from source text to complaints, so that it is shown to fail on planted text too.
"""

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
CORE: Final = ROOT / "core" / "src"
LAYERS: Final = (
    "compiled", "exit_codes", "secret", "errors", "lines", "domain", "engine", "records", "statistics", "ports",
    "feed", "journal", "plugins", "composition", "runs", "reporting", "health", "backtesting", "simulation",
    "supervision", "live", "downloads", "research", "campaign", "cli",
)  # fmt: skip
PURE: Final = ("exit_codes", "errors", "lines", "domain", "engine", "records", "statistics")
WITH_CLOCK: Final = (
    "feed",
    "simulation",
    "supervision",
    "live",
    "downloads",
    "research",
    "runs",
    "reporting",
    "health",
    "research",
    "campaign",
    "cli",
    "testing",
)
DECIDING_HOOKS: Final = {"lab_strategies", "lab_risk_gates", "lab_brokers"}

# Of the standard library, what the pure half may not import: clocks, randomness, I/O, concurrency, logging.
IMPURE: Final = frozenset({
    "asyncio", "concurrent", "contextvars", "ctypes", "fileinput", "glob", "http", "io", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "platform", "queue", "random", "sched", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
    "uuid", "weakref", "zoneinfo",
})  # fmt: skip
# Of msgspec, its structs: they are data, and no more than attrs in another hand. Its codecs are not for the pure half.
STRUCTS: Final = frozenset({
    "msgspec.Struct", "msgspec.field", "msgspec.structs.astuple", "msgspec.structs.replace", "msgspec.to_builtins",
})  # fmt: skip
IMPURE_BUILTINS: Final = frozenset({"open", "print", "input", "exec", "eval", "__import__"})
# What depends on the moment, the machine or the process, by its full name; a name covers all that is under it.
VOLATILE: Final = (
    "time", "random", "uuid", "secrets", "numpy.random", "os.urandom", "os.getrandom", "os.getpid",
    "anyio.current_time", "datetime.datetime.now", "datetime.datetime.utcnow",
    "datetime.datetime.today", "datetime.date.today",
)  # fmt: skip
VOLATILE_BUILTINS: Final = frozenset({"id", "hash"})


# -- reading source ---------------------------------------------------------------------------------------------------


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, module: str, *, package: bool = False) -> Iterator[tuple[str, int]]:
    """Give the full name and line of whatever is imported, at any depth, with `import_module` of a constant too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")
                up = up[: len(up) - node.level + (1 if package else 0)]
                base = ".".join([*up, *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                yield str(first.value), node.lineno


def uses(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give the full name and line of every name and attribute used, seen through imports and their aliases."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            head, rest = dotted(node)
            if head in known:
                yield known[head] + rest, node.lineno
            elif isinstance(node, ast.Name) and hasattr(builtins, head) and head not in own:
                yield f"builtins.{head}", node.lineno


def dotted(node: ast.expr) -> tuple[str, str]:
    """Return the first name of ``a.b.c`` and the rest, ``.b.c``; an empty first name where it is no plain name."""
    rest = ""
    while isinstance(node, ast.Attribute):
        rest = f".{node.attr}{rest}"
        node = node.value
    return (node.id if isinstance(node, ast.Name) else ""), rest


def layer_of(name: str) -> str:
    """Return the layer of a full name under ``lab``; ``lab`` for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in {*LAYERS, "testing"} else "lab"


# -- the checks -------------------------------------------------------------------------------------------------------


def direction(source: str, module: str, *, package: bool = False) -> list[str]:
    """Say which imports of a `lab` module point upwards, at `lab.testing` or at a plugin."""
    here = layer_of(module)
    complaints = []
    for name, line in imports(ast.parse(source), module, package=package):
        top, there = name.partition(".")[0], layer_of(name)
        if top.startswith("lab_") and (module, name) != ("lab.__main__", "lab_command.main"):
            complaints.append(f"{module}:{line} imports the plugin {name}")
        elif top != "lab" or here in {"testing", "lab"}:
            continue
        elif there == "testing":
            complaints.append(f"{module}:{line} imports {name}: only tests may")
        elif there == "lab":
            complaints.append(f"{module}:{line} imports {name} from the top, which stands for every layer")
        elif LAYERS.index(there) > LAYERS.index(here):
            complaints.append(f"{module}:{line} in {here} imports {name} of {there}")
    return complaints


def purity(source: str, module: str, *, package: bool = False) -> list[str]:
    """Say what a module of the pure half uses beyond itself, attrs, structs and what is pure in the library."""
    tree = ast.parse(source)
    complaints = []
    for name, line in imports(tree, module, package=package):
        top = name.partition(".")[0]
        if top in {"attr", "attrs"} or name in STRUCTS or (top == "lab" and layer_of(name) in PURE):
            continue
        if top not in sys.stdlib_module_names or top in IMPURE or (top == "datetime" and module != "lab.domain.time"):
            complaints.append(f"{module}:{line} imports {name}")
    for name, line in uses(tree):
        if name.startswith("builtins.") and name.removeprefix("builtins.") in IMPURE_BUILTINS:
            complaints.append(f"{module}:{line} uses {name.removeprefix('builtins.')}")
    return complaints


def steadiness(source: str, module: str) -> list[str]:
    """Say where a module reads a clock, draws a random number or orders by identity."""
    complaints = []
    for name, line in uses(ast.parse(source)):
        volatile = any(name == one or name.startswith(f"{one}.") for one in VOLATILE)
        if volatile or (name.startswith("builtins.") and name.removeprefix("builtins.") in VOLATILE_BUILTINS):
            complaints.append(f"{module}:{line} uses {name.removeprefix('builtins.')}")
    return complaints


# -- the sources ------------------------------------------------------------------------------------------------------


def core_modules() -> list[tuple[str, Path]]:
    return [(module_name(path, CORE), path) for path in sorted((CORE / "lab").rglob("*.py"))]


def deciding_modules() -> list[tuple[str, Path]]:
    """Return the modules of every plugin here that offers a strategy, a risk gate or a broker."""
    found = []
    for init in sorted(ROOT.glob("plugins/*/src/*/__init__.py")):
        tree = ast.parse(init.read_text("utf-8"))
        if DECIDING_HOOKS & {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            found += [(module_name(path, init.parents[1]), path) for path in sorted(init.parent.rglob("*.py"))]
    return found


def test_imports_point_one_way_and_never_at_tests_or_plugins() -> None:
    modules = core_modules()
    assert {layer_of(name) for name, _ in modules} == {*LAYERS, "testing", "lab"}
    assert [
        complaint
        for name, path in modules
        for complaint in direction(path.read_text("utf-8"), name, package=path.name == "__init__.py")
    ] == []


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return every group of modules that import each other, however far around (Tarjan's components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        path.append(module)
        for other in sorted(graph[module]):
            if other not in number:
                visit(other)
            if other in path:
                low[module] = min(low[module], low[other])
        if low[module] == number[module]:
            group = path[path.index(module) :]
            del path[path.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


def import_graph(modules: Mapping[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """Return which of the modules (name: source, whether a package) each imports, type checking and functions included.

    ``from package import name`` counts for the module ``package.name`` where there is one, else for the package.
    """
    graph: dict[str, set[str]] = {}
    for module, (source, package) in modules.items():
        found = (name for name, _ in imports(ast.parse(source), module, package=package))
        homes = (name if name in modules else name.rpartition(".")[0] for name in found)
        graph[module] = {home for home in homes if home in modules and home != module}
    return graph


def test_no_modules_import_each_other_in_a_circle() -> None:
    roots = [CORE, *sorted(ROOT.glob("plugins/*/src"))]
    modules = {
        module_name(path, root): (path.read_text("utf-8"), path.name == "__init__.py")
        for root in roots
        for path in sorted(root.rglob("*.py"))
    }
    assert len(modules) > 150
    assert circles(import_graph(modules)) == []


@pytest.mark.parametrize(
    "back",
    [
        "import a.one",
        "from a import one",
        "from a.one import x",
        "from . import one",
        "def f():\n    from a.one import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.one import x",
        "import importlib\nimportlib.import_module('a.one')",
    ],
)
def test_a_circle_of_three_modules_is_found(back: str) -> None:
    modules = {"a": ("", True), "a.one": ("from a.two import x", False), "a.two": ("from a import three", False)}
    assert circles(import_graph({**modules, "a.three": ("import re", False)})) == []
    assert circles(import_graph({**modules, "a.three": (back, False)})) == [["a.one", "a.three", "a.two"]]


def test_the_pure_half_imports_attrs_structs_and_the_pure_part_of_the_standard_library() -> None:
    modules = [(name, path) for name, path in core_modules() if layer_of(name) in PURE]
    assert len(modules) > 10
    assert [
        complaint
        for name, path in modules
        for complaint in purity(path.read_text("utf-8"), name, package=path.name == "__init__.py")
    ] == []


def test_the_pure_half_needs_nothing_but_attrs_and_msgspec_when_it_runs() -> None:
    program = (
        "import sys\nbefore = set(sys.modules)\nimport lab.engine.engine\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(tops - sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert set(run.stdout.split()) <= {"attr", "attrs", "lab", "lab_trading__mypyc", "msgspec", "typing_extensions"}
    assert "lab" in run.stdout


def test_nothing_in_core_reads_a_clock_or_draws_a_number_but_session_and_command_line() -> None:
    modules = [(name, path) for name, path in core_modules() if layer_of(name) not in WITH_CLOCK]
    assert [complaint for name, path in modules for complaint in steadiness(path.read_text("utf-8"), name)] == []


def test_no_strategy_gate_or_broker_reads_a_clock_or_draws_a_number() -> None:
    modules = deciding_modules()
    assert {"lab_sma_strategy", "lab_risk_limits", "lab_paper_broker"} <= {name for name, _ in modules}
    assert [complaint for name, path in modules for complaint in steadiness(path.read_text("utf-8"), name)] == []


# -- each check fails on what is planted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lab.domain.orders", "from lab.engine.view import View"),
        ("lab.domain.orders", "from lab import ports"),
        ("lab.engine.engine", "import lab.ports"),
        ("lab.engine.engine", "def f():\n    from lab.ports import Broker"),
        ("lab.engine.engine", "from ..ports import Broker"),
        (
            "lab.engine.engine",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lab.journal.store import Journal",
        ),
        ("lab.ports", "from lab.journal.codec import encode"),
        ("lab.journal.store", "from lab.plugins.discovery import discover"),
        ("lab.plugins.discovery", "from lab.composition.config import load"),
        ("lab.live.runner", "from lab.cli.output import table"),
        ("lab.live.runner", "from lab.testing.builders import candles"),
        ("lab.cli.main", "import importlib\nimportlib.import_module('lab.testing.contracts')"),
        ("lab.journal.store", "from lab import Candle"),
        ("lab.cli.run", "from lab_bitunix.provider import Bitunix"),
        ("lab.cli.run", "from importlib import import_module\nimport_module('lab_mock')"),
        ("lab.testing.builders", "import lab_sma_strategy"),
    ],
)
def test_an_import_that_points_the_wrong_way_is_found(module: str, source: str) -> None:
    assert len(direction(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lab.cli.main", "from lab.domain.time import parse_time\nfrom lab.composition.config import load"),
        ("lab.engine.engine", "from lab.engine.orders import OrderEntry\nfrom .view import View\nimport attrs"),
        ("lab.testing.builders", "from lab.simulation.clocks import loop_factory"),
        ("lab", "from lab.ports import Broker"),
    ],
)
def test_an_import_that_points_the_right_way_is_not_complained_of(module: str, source: str) -> None:
    assert direction(source, module) == []


@pytest.mark.parametrize(
    "source",
    [
        *(
            f"import {name}"
            for name in ("time", "random", "os", "io", "sqlite3", "asyncio", "threading", "logging", "uuid")
        ),
        "from secrets import token_hex",
        "def f():\n    import os.path",
        "import anyio",
        "import msgspec",
        "from msgspec import json",
        "import pluggy",
        "import numpy as np",
        "from datetime import datetime",
        "from lab.ports import Broker",
        "data = open('x').read()",
        "print('here')",
    ],
)
def test_what_is_not_pure_is_found(source: str) -> None:
    assert len(purity(source, "lab.engine.engine")) == 1


def test_what_is_pure_is_not_complained_of() -> None:
    source = "import re\nfrom decimal import Decimal\nfrom attrs import frozen\nfrom lab.domain.ids import order_id\n"
    assert purity(source, "lab.engine.engine") == []
    assert purity("from datetime import datetime", "lab.domain.time") == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\nnow = time.time()",
        "import time as t\nnow = t.monotonic()",
        "from time import perf_counter\nnow = perf_counter()",
        "import time\ndef f(clock=time.monotonic_ns): ...",
        "from datetime import datetime, UTC\nnow = datetime.now(UTC)",
        "import datetime\nnow = datetime.datetime.utcnow()",
        "import datetime as dt\nnow = dt.date.today()",
        "from datetime import datetime as when\nnow = when.today()",
        "import random\nx = random.random()",
        "from random import Random\nx = Random()",
        "import uuid\nx = uuid.uuid4()",
        "from secrets import token_hex\nx = token_hex()",
        "import os\nx = os.urandom(8)",
        "import numpy as np\nx = np.random.rand()",
        "import anyio\nx = anyio.current_time()",
        "x = sorted([object()], key=id)",
        "x = hash('BTCUSDT')",
    ],
)
def test_a_clock_a_random_number_and_an_identity_are_found(source: str) -> None:
    assert steadiness(source, "lab_mine.strategy") != []


@pytest.mark.parametrize(
    "source",
    [
        "from lab.domain.time import parse_time\nx = parse_time('2024-01-01')",
        "from datetime import datetime\nx = datetime.fromisoformat('2024-01-01')",
        "def f(order):\n    return order.id, order.time, view.now_ns",
        "from anyio import sleep",
        "id = 3\nx = id",
    ],
)
def test_what_only_sounds_like_a_clock_is_not_complained_of(source: str) -> None:
    assert steadiness(source, "lab_mine.strategy") == []
