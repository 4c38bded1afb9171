"""Components that no installed plugin offers: a class in a file, or in a module that can be imported.

A reference is text: ``./mine.py:Mine``, ``./mine.py`` where the file defines one class of that kind, or
``package.module:Mine``. It runs the file's code, as importing a plugin does.
"""

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from lab.errors import PluginError, describe_error, did_you_mean

FILE_VERSION: Final = "sha256 "
"""How the version of a component begins that comes from a file, not from an installed distribution."""
_LONGEST: Final = 5_000_000  # bytes of a file of code
_loaded: Final[dict[tuple[Path, str], ModuleType]] = {}
"""Files by path and SHA-256: one that did not change is run once."""
_SEEN: Final = "__lab_sha256__"
"""The name in a module under which the SHA-256 is that its file had when it was run, or first seen."""
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_reference(name: str) -> bool:
    """Return whether a component's name is a reference to a class, and no name that a plugin offers."""
    return ":" in name or name.endswith(".py")


def alias_of(class_name: str) -> str:
    """Return the name in a run of a class that was given none: ``my_strategy`` for ``MyStrategy``."""
    return _CAPITAL.sub("_", class_name).lower().lstrip("_") or "component"


def reference_of(cls: type) -> str:
    """Return the reference to a class: by its file where that is no installed module's, else by its module."""
    path = source_file(cls)
    if path is None or "<locals>" in cls.__qualname__ or _is_installed(cls.__module__):
        return f"{cls.__module__}:{cls.__qualname__}"
    return f"{path}:{cls.__qualname__}"


def resolve(reference: str, base: type) -> tuple[str, type]:
    """Return the whole reference, with the file's path from the root, and its class, which derives from ``base``.

    Raises `PluginError` with the file or module, what is wrong with it, and the classes it has instead.
    """
    place, name = _parted(reference)
    if not place:
        raise PluginError(f"{reference:.80} names no file; expected file.py:Class or package.module:Class")
    if place.endswith(".py") or "/" in place or "\\" in place:
        path = Path(place).expanduser().absolute()
        module, shown = load_file(path), str(path)
    else:
        module, shown = _of_name(place, name), place
    return _picked(module, shown, name, base)


def origin_of(cls: type) -> tuple[str, str]:
    """Return where a class comes from, as distribution and version.

    Of a class in a file they are the file's name and its SHA-256; of one that was typed into a notebook ``no file`` and
    an empty text.
    """
    installed = _distributions_of(cls.__module__.partition(".")[0])
    if installed:
        return installed[0], version(installed[0])
    path = source_file(cls)
    if path is None:
        return "no file", ""
    module = sys.modules.get(cls.__module__)
    if module is None:
        return path.name, f"{FILE_VERSION}{_sha256(path)}"
    if _SEEN not in vars(module):  # what was edited since is not what runs
        setattr(module, _SEEN, _sha256(path))
    return path.name, f"{FILE_VERSION}{getattr(module, _SEEN)}"


def source_file(cls: type) -> Path | None:
    """Return the file that defines a class, ``None`` where there is none, as in a notebook."""
    try:
        path = Path(inspect.getfile(cls)).absolute()
    except (TypeError, OSError):  # of a module without a file
        return None
    return path if path.is_file() else None


def _parted(reference: str) -> tuple[str, str]:
    """Return place and class; the colon of a Windows drive is the place's."""
    place, colon, name = reference.rpartition(":")
    if not colon or "/" in name or "\\" in name:
        return reference, ""
    return place.strip(), name.strip()


def _picked(module: ModuleType, shown: str, name: str, base: type) -> tuple[str, type]:
    own = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and not inspect.isabstract(value)
        and value.__module__ == module.__name__
    }  # fmt: skip
    kind = base.__name__
    if not name:
        if len(own) != 1:
            has = f"it defines {', '.join(sorted(own))}; give {shown}:{min(own)}" if own else "it defines none"
            raise PluginError(f"{shown}: expected one subclass of {kind}; {has}")
        name = next(iter(own))
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if value is None:
        there = f"; it has {', '.join(sorted(own))}" if own else ""
        raise PluginError(f"{shown}: defines no {name:.80}{did_you_mean(name, sorted(own)) or there}")
    if not isinstance(value, type) or not issubclass(value, base):
        what = f"class {name}" if isinstance(value, type) else name
        raise PluginError(f"{shown}: {what:.80} is no subclass of {kind}; derive it from lab.{kind}")
    return f"{shown}:{name}", value


def _of_name(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        is_missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        cure = in_this_folder(module, name) if is_missing else ""
        raise PluginError(f"the module {module:.80} cannot be imported: {describe_error(error)}{cure}") from None


def in_this_folder(module: str, name: str = "") -> str:
    """Return the reference that was meant by the name of a module, as a cure, where its file lies in this folder."""
    file = module.replace(".", "/") + ".py"
    try:
        lies_here = Path(file).is_file()
    except (OSError, ValueError):  # a name that no file can have
        lies_here = False
    return f"; a file is named by its path: ./{file}{name and ':'}{name}" if lies_here else ""


def load_file(place: "Path | str", name: str = "") -> ModuleType:
    """Run a file as a module of its own: once, as long as it stays the same. Raises `PluginError`.

    ``name`` is the module's, where another process knows it already.
    """
    path = Path(place)
    if not path.is_file():
        near = did_you_mean(path.name, [one.name for one in path.parent.glob("*.py")][:500])
        raise PluginError(f"{path}: no such file{near}")
    if path.stat().st_size > _LONGEST:
        raise PluginError(f"{path}: longer than {_LONGEST:,} bytes; expected a file of Python")
    running = sys.modules.get("__main__")
    if running is not None and getattr(running, "__file__", None) and Path(str(running.__file__)).absolute() == path:
        return running  # the script that runs: to run it again would begin all over
    key = (path, _sha256(path))
    if key in _loaded:
        return _loaded[key]
    name = name or _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path}: is no file of Python; expected a name that ends in .py")
    before = sys.modules.get(name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with _beside(path.parent):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        if isinstance(error, KeyboardInterrupt):
            raise
        lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == str(path)]
        where = f" (line {lines[-1]})" if lines else ""
        raise PluginError(f"{path}: cannot be imported: {describe_error(error)}{where}") from None
    _loaded[key] = module
    setattr(module, _SEEN, key[1])
    return module


def _module_name(path: Path) -> str:
    """Return the name of a file's module. Errors show it, so it holds no path and no hash."""
    name = f"lab_file_{path.stem}"
    others = {place[0]: one.__name__ for place, one in _loaded.items() if place[0].stem == path.stem}
    if path in others:
        return others[path]
    return name if not others else f"{name}_{len(others) + 1}"  # files of that name in several folders


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let a file import those beside it, as a script does, whatever files of other folders have imported before.

    What it imports of its folder is its own: another file's import of the same name finds the one beside itself.
    """
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    names -= {*sys.stdlib_module_names, *(name for name in names if _is_installed(name))}

    def of_folder() -> dict[str, ModuleType]:
        return {name: one for name, one in sys.modules.items() if name.partition(".")[0] in names}

    before = of_folder()
    away = {name: one for name, one in before.items() if not _lies_in(one, folder)}
    for name in away:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        for name, one in of_folder().items():
            if before.get(name) is not one and _lies_in(one, folder):
                del sys.modules[name]
        sys.modules.update(away)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and folder in Path(file).absolute().parents


def _is_installed(module: str) -> bool:
    return bool(_distributions_of(module.partition(".")[0]))


@lru_cache
def _distributions_of(package: str) -> list[str]:
    return [] if package == "__main__" else packages_distributions().get(package, [])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
