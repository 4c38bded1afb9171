"""The forms of lab that are measured: built from this tree as wheels, and installed apart from the clone's environment.

``compiled`` is what tools/compile_wheels.py makes, ``plain`` the same installation with its compiled modules switched
off, and ``own`` compiled too, but with the strategy in plain Python: that is how a user's own strategy runs.
"""

import os
import re
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen
from lab.compiled import SWITCH

from benchmarks.measure import ROOT, cost

COMPILED: Final = "compiled"
PLAIN: Final = "plain"
OWN: Final = "own"
CACHE: Final = "LAB_CACHE_DIR"
"""The environment variable that says where lab keeps what it has read of files."""
_TOOL: Final = ROOT / "tools" / "compile_wheels.py"
_STRATEGY: Final = ROOT / "plugins" / "sma_strategy"


@frozen
class Form:
    """One way to run lab: an environment's interpreter, and what is set for it."""

    name: str
    python: Path
    variables: Mapping[str, str]
    version: str
    """What its ``lab --version`` says."""

    @property
    def lab(self) -> str:
        """The command."""
        return str(self.python.with_name("lab"))

    def environment(self) -> dict[str, str]:
        """Return the variables of a process of this form."""
        return outside() | dict(self.variables)


def outside() -> dict[str, str]:
    """Return the environment variables without those that lead into this interpreter's environment, or set up lab."""
    ours = {"PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ours and (name == CACHE or not name.startswith("LAB_"))
    }


def why(error: RuntimeError) -> str:
    """Return an error's last words as one line that names no address and no path: results are kept."""
    return re.sub(r"(\w+://|(?<!\S)/)\S+", "…", " ".join(str(error).split()))[-300:]


def uv() -> str:
    """Return the command uv. Raises ``RuntimeError`` where there is none."""
    found = shutil.which("uv")
    if found is None:
        raise RuntimeError("uv is not on the path")
    return found


def environment(folder: Path, packages: Sequence[str], cache: Path | None, *options: str) -> Path:
    """Make a new environment with these packages and return its interpreter. Raises ``RuntimeError`` where uv fails."""
    given = {**outside(), "UV_PYTHON_DOWNLOADS": "never"} | ({"UV_CACHE_DIR": str(cache)} if cache else {})
    cost([uv(), "venv", "--quiet", "--python", sys.executable, str(folder)], folder.parent, given)
    python = folder / "bin" / "python"
    cost([uv(), "pip", "install", "--quiet", "--python", str(python), *options, *packages], folder.parent, given, 300)
    return python


def prepare(folder: Path, wheels: Path | None) -> tuple[dict[str, Form], str]:
    """Return the forms that can be had here, by name, and why there is no compiled one; empty where there is.

    ``wheels`` holds what tools/compile_wheels.py made of this very tree before; else it is made now. Raises
    ``RuntimeError`` where they are of another state.
    """
    lacking = ""
    if wheels is None:
        try:
            cost([sys.executable, str(_TOOL), "--can"], ROOT, outside())
        except RuntimeError as error:
            lacking = why(error).rpartition("skipped: ")[2]
        wheels = folder / "wheels"
        _build(wheels, bool(lacking))
    else:
        _compare(wheels)
    made = sorted(map(str, wheels.glob("*.whl")))
    plain = _installed(folder, "lab", made)
    forms = {PLAIN: _form(PLAIN, plain, {SWITCH: "0"})}
    if lacking:
        return forms, lacking
    cost([uv(), "build", "--quiet", "--wheel", "--out-dir", str(folder / "pure"), str(_STRATEGY)], ROOT, outside())
    own = [name for name in made if "lab_sma_strategy" not in name] + [
        str(one) for one in (folder / "pure").glob("*.whl")
    ]
    return {
        COMPILED: _form(COMPILED, plain, {}), OWN: _form(OWN, _installed(folder, "own", own), {}), **forms
    }, ""  # fmt: skip


def _build(out: Path, plain: bool) -> None:
    """Build a wheel of every project, compiled where that is possible."""
    if not plain:
        made = [uv(), "run", "--no-sync", "--with", "setuptools", "--with", "wheel", "python", str(_TOOL), str(out)]
        cost(made, ROOT, outside(), 600)
        return
    for project in sorted({ROOT / "core", *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))}):
        cost([uv(), "build", "--quiet", "--wheel", "--out-dir", str(out), str(project)], ROOT, outside())


def _compare(wheels: Path) -> None:
    """Raise ``RuntimeError`` unless every source in the wheels is the tree's, and the other way round."""
    packed = {
        name: text
        for wheel in wheels.glob("*.whl")
        for name, text in _sources(wheel).items()
    }  # fmt: skip
    roots = [ROOT / "core" / "src", *ROOT.glob("plugins/*/src")]
    here = {path.relative_to(root).as_posix(): path.read_bytes() for root in roots for path in root.rglob("*.py")}
    if packed != here:
        names = sorted(name for name in {*packed, *here} if packed.get(name) != here.get(name))
        raise RuntimeError(f"the wheels are not of this tree: {', '.join(names[:5])} differ; build them anew")


def _sources(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist() if name.endswith(".py")}


def _installed(folder: Path, name: str, wheels: Sequence[str]) -> Path:
    """Install wheels with the versions that the clone is locked to.

    Past uv's cache and with copies: these wheels have the names and numbers of others.
    """
    locked = folder / "locked.txt"
    if not locked.exists():
        what = ["--quiet", "--no-hashes", "--no-emit-workspace", "--all-groups", "--frozen", "--output-file"]
        cost([uv(), "export", *what, str(locked)], ROOT, outside())
    options = ["--no-cache", "--reinstall", "--link-mode", "copy", "--compile-bytecode", "--constraint", str(locked)]
    return environment(folder / f"env-{name}", wheels, None, *options)


def _form(name: str, python: Path, variables: Mapping[str, str]) -> Form:
    said = cost([str(python.with_name("lab")), "--version"], python.parent, outside() | dict(variables)).output
    wanted = "(plain Python)" if name == PLAIN else "(compiled)"
    if wanted not in said:
        raise RuntimeError(f"lab --version says {said.strip()!r} where {wanted} was installed")
    return Form(name, python, variables, said.strip())
