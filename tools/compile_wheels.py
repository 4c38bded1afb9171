"""Builds wheels whose hot modules are compiled with mypyc, for this Python on this platform.

    uv run --with setuptools --with wheel python tools/compile_wheels.py dist

Which modules those are stands in each project's pyproject.toml, under ``[tool.lab] compiled``. The sources stay in the
wheel beside what was compiled from them, and ``compiled.json`` names both (`lab.compiled`). A C compiler and Python's
headers are needed; projects without the table are built as they are.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
SUFFIX: Final = sysconfig.get_config_var("EXT_SUFFIX")
SETUP: Final = """\
import sys

from mypyc.build import mypycify
from setuptools import setup

modules = mypycify({arguments!r}, opt_level="3", debug_level="0", group_name={name!r})
if sys.platform == "linux":
    for module in modules:  # a library's calls within itself need not go through a table: others do so anyway
        module.extra_link_args += ["-Wl,-Bsymbolic-functions"]
setup(name={name!r}, packages=[], ext_modules=modules)
"""
MYPY: Final = ("--strict", "--follow-imports=silent", "--config-file=")


def main() -> None:
    """Build a wheel of every project into the folder that is named; with ``--can`` say whether that is possible."""
    if sys.argv[1:] == ["--can"]:
        lacking = what_is_missing()
        sys.exit(f"skipped: {lacking}" if lacking else 0)
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    for module in ("setuptools", "wheel"):
        if importlib.util.find_spec(module) is None:
            sys.exit(f"{module} is missing: uv run --with setuptools --with wheel python tools/compile_wheels.py OUT")
    out = Path(sys.argv[1]).resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for project in sorted({ROOT / "core", *(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))}):
        with tempfile.TemporaryDirectory() as folder:
            wheel = build(project, Path(folder), out)
        print(wheel.name, flush=True)


def what_is_missing() -> str:
    """Return what this machine lacks to compile, empty where it lacks nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "x.c"
        source.write_text("#include <Python.h>\n", "utf-8")
        headers = sysconfig.get_path("include")
        compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            return "no C compiler is on the path"
        done = subprocess.run(
            [compiler, "-c", source, f"-I{headers}", "-o", Path(folder) / "x.o"], capture_output=True, check=False
        )
    return "" if done.returncode == 0 else f"Python's headers are not in {headers}"


def build(project: Path, folder: Path, out: Path) -> Path:
    """Build one project's wheel, compiled where it says so; return where it is."""
    run("uv", "build", "--quiet", "--wheel", "--out-dir", folder, project)
    (plain,) = folder.glob("*.whl")
    settings = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    wanted = settings.get("tool", {}).get("lab", {}).get("compiled")
    if not wanted:
        return Path(shutil.copy(plain, out))
    run(sys.executable, "-m", "wheel", "unpack", "--dest", folder, plain)
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    compile_modules(unpacked, settings["project"]["name"].replace("-", "_"), wanted)
    (info,) = unpacked.glob("*.dist-info/WHEEL")
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    text = info.read_text("utf-8").replace("Root-Is-Purelib: true", "Root-Is-Purelib: false")
    info.write_text(text.replace("Tag: py3-none-any", f"Tag: {tag}-{tag}-{platform}"), "utf-8")
    done = run(sys.executable, "-m", "wheel", "pack", "--dest-dir", out, unpacked)
    return out / Path(done.split("\n")[-1].split(" as ")[-1].removesuffix("...OK").split("/")[-1])


def compile_modules(root: Path, name: str, wanted: list[str]) -> None:
    """Compile the modules in place, and write the manifest beside the package's ``__init__``."""
    files = sorted({path for pattern in wanted for path in root.glob(pattern) if path.name != "__init__.py"})
    if not files:
        sys.exit(f"{name}: nothing matches {wanted}")
    relative = [path.relative_to(root).as_posix() for path in files]
    setup = root.parent / "setup.py"
    setup.write_text(SETUP.format(name=name, arguments=[*MYPY, *relative]), "utf-8")
    before = set(root.rglob("*"))
    run(sys.executable, setup, "-q", "build_ext", "--inplace", "--build-temp", root.parent / "build", cwd=root)
    shutil.rmtree(root / "build", ignore_errors=True)
    shutil.rmtree(root / ".mypy_cache", ignore_errors=True)
    package = root / relative[0].partition("/")[0]
    binaries = sorted(path for path in set(root.rglob("*")) - before if path.name.endswith(SUFFIX))
    manifest: dict[str, Any] = {
        "suffix": SUFFIX,
        "modules": {
            path.removesuffix(".py").replace("/", "."): {
                "source": path.partition("/")[2],
                "sha256": hashlib.sha256((root / path).read_bytes()).hexdigest(),
            }
            for path in relative
        },
        "binaries": {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in binaries
        },
    }
    (package / "compiled.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command, and show what it said where it fails; return its output."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
