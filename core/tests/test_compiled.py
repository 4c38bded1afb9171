"""Compiled modules are used whole or not at all, and whoever asks is told which it is, and why."""

import hashlib
import json
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Final

import pytest

SOURCE: Final = "def which() -> str:\n    return 'plain'\n"
# What Python would take for the compiled module: it finds extension modules first, and this stands for one.
SHOW: Final = """
import sys
from importlib.machinery import ExtensionFileLoader

create, execute = ExtensionFileLoader.create_module, ExtensionFileLoader.exec_module

def create_module(self, spec):
    return None if spec.name.startswith("hot.") else create(self, spec)

def exec_module(self, module):
    if module.__name__.startswith("hot."):
        module.which = lambda: "compiled"
    else:
        execute(self, module)

ExtensionFileLoader.create_module, ExtensionFileLoader.exec_module = create_module, exec_module
sys.path.insert(0, FOLDER)
import hot.one, hot.two
from lab.compiled import complaints, forms
print(hot.one.which(), hot.two.which(), repr(forms().get("hot")), *complaints(), sep="\\n")
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Write a package of two modules with what a compiler left beside them."""
    folder = tmp_path / "hot"
    folder.mkdir()
    (folder / "__init__.py").write_text("from lab.compiled import choose\nchoose('hot', __file__)\n", "utf-8")
    suffix = EXTENSION_SUFFIXES[0]
    modules, binaries = {}, {}
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(SOURCE, "utf-8")
        (folder / f"{name}{suffix}").write_bytes(b"compiled")
        modules[f"hot.{name}"] = {"source": f"{name}.py", "sha256": hashlib.sha256(SOURCE.encode()).hexdigest()}
        binaries[f"hot/{name}{suffix}"] = hashlib.sha256(b"compiled").hexdigest()
    (tmp_path / f"hot__mypyc{suffix}").write_bytes(b"shared")
    binaries[f"hot__mypyc{suffix}"] = hashlib.sha256(b"shared").hexdigest()
    write(folder, {"suffix": suffix, "modules": modules, "binaries": binaries})
    return folder


def write(folder: Path, manifest: Any) -> None:
    (folder / "compiled.json").write_text(json.dumps(manifest), "utf-8")


def manifest(folder: Path) -> Any:
    return json.loads((folder / "compiled.json").read_text("utf-8"))


def imported(folder: Path, **environment: str) -> list[str]:
    code = SHOW.replace("FOLDER", repr(str(folder.parent)))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30, env=environment
    )
    return done.stdout.splitlines()


def test_what_was_compiled_runs_where_all_of_it_fits(package: Path) -> None:
    assert imported(package) == ["compiled", "compiled", "Form(compiled=True, why='')"]


def test_the_environment_chooses_the_sources_without_a_complaint(package: Path) -> None:
    assert imported(package, LAB_COMPILED="0") == ["plain", "plain", "Form(compiled=False, why='')"]


def test_a_package_that_nothing_was_compiled_of_is_no_form(package: Path) -> None:
    for path in [*package.iterdir()]:
        if path.suffix != ".py":
            path.unlink()
    assert imported(package) == ["plain", "plain", "None"]


def test_one_source_that_was_changed_makes_all_of_them_run_in_plain_python(package: Path) -> None:
    with (package / "two.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    one, two, form, complaint = imported(package)
    assert (one, two) == ("plain", "plain")
    assert "compiled=False" in form
    assert complaint == (
        f"hot runs in plain Python: {package / 'two.py'} is not what its compiled module was made of; "
        "install it again without a cache (pip: --force-reinstall --no-cache-dir; uv pip: --reinstall --no-cache)"
    )


@pytest.mark.parametrize("name", ["one", "two", "../hot__mypyc"])
@pytest.mark.parametrize("how", ["missing", "of another size", "damaged"])
def test_a_binary_that_is_missing_or_of_another_build_makes_all_of_them_run_in_plain_python(
    package: Path, name: str, how: str
) -> None:
    binary = package / f"{name}{EXTENSION_SUFFIXES[0]}"
    if how == "missing":
        binary.unlink()
    else:
        binary.write_bytes(b"another build of it" if how == "of another size" else binary.read_bytes()[:-1] + b"\0")
    one, two, _, complaint = imported(package)
    assert (one, two) == ("plain", "plain")
    assert f"{binary.resolve()} is missing, damaged or of another build" in complaint


def test_modules_for_another_python_are_not_used(package: Path) -> None:
    write(package, manifest(package) | {"suffix": ".cpython-39-x86_64-linux-gnu.so"})
    one, two, _, complaint = imported(package)
    assert (one, two) == ("plain", "plain")
    assert "for .cpython-39-x86_64-linux-gnu.so, not for this Python" in complaint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"suffix": 1, "modules": [], "binaries": {}}',
        '{"modules": {"hot.one": {"source": 1}}}',
        "\xff",
    ],
)
def test_a_manifest_that_cannot_be_read_makes_all_modules_run_in_plain_python(package: Path, text: str) -> None:
    (package / "compiled.json").write_bytes(text.encode("latin-1"))
    one, two, form, complaint = imported(package)
    assert (one, two) == ("plain", "plain")
    assert "compiled=False" in form
    assert f"hot runs in plain Python: {package / 'compiled.json'} cannot be read: " in complaint
