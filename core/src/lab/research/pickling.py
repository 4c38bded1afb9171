"""What goes to other processes: what is of installed modules by its name, what is of scripts and notebooks whole."""

import importlib
import pickle
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from lab.errors import ConfigError, describe_error

FILE_MODULE: Final = "lab_file_"
"""How the name of a module begins that was made of a file (`lab.plugins.references`)."""


def dumped(value: object, about: Iterable[object], *, whole_files: bool = False) -> bytes:
    """Return a value pickled. ``about`` are the classes and functions in it, which may be of a script or a notebook.

    With ``whole_files`` classes of files go whole, for a machine that has no such files. Raises `ConfigError` with the
    cure where something cannot go.
    """
    about = list(about)
    cloudpickle = _cloudpickle()
    modules = [one for one in map(_module, about) if one is not None and _goes_whole(one, whole_files)]
    if cloudpickle is None:
        here = [one for one in about if _module(one) in modules]
        if here:
            name = getattr(here[0], "__qualname__", "it")
            cure = "pip install cloudpickle, or put it into a file: ./mine.py:Mine"
            raise ConfigError(f"{name:.80} is of a script or a notebook, which the workers do not have; {cure}")
        return _pickled(pickle.dumps, value)
    registered = [one for one in modules if one.__name__ != "__main__"]
    for module in registered:
        cloudpickle.register_pickle_by_value(module)
    try:
        return _pickled(cloudpickle.dumps, value)
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def files_of(about: Iterable[object]) -> list[tuple[str, str]]:
    """Return file and module name of what was loaded for these classes: another process loads it again, named so."""
    modules = [one for one in map(_module, about) if one is not None and one.__name__.startswith(FILE_MODULE)]
    return sorted({(str(one.__file__), one.__name__) for one in modules if one.__file__})


def _cloudpickle() -> Any:
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return None


def _pickled(dumps: Any, value: object) -> bytes:
    try:
        data: bytes = dumps(value)
    except Exception as error:
        cure = "make it of a class or a function of a file"
        raise ConfigError(
            f"what the workers need cannot be sent to them: {describe_error(error):.200}; {cure}"
        ) from None
    return data


def _module(one: object) -> ModuleType | None:
    return sys.modules.get(str(getattr(one, "__module__", "")))


def _goes_whole(module: ModuleType, whole_files: bool) -> bool:
    """Return whether another process could not import a module by its name."""
    name = module.__name__
    if name.startswith(FILE_MODULE):
        return whole_files
    if name in {"__main__", "__mp_main__"}:
        return True
    path = getattr(module, "__file__", None)
    if path is None:
        return name not in sys.builtin_module_names
    parts = name.split(".")
    tail = Path(path).with_suffix("")
    tail = tail.parent if tail.name == "__init__" else tail
    root = tail
    for part in reversed(parts):
        if root.name.partition(".")[0] != part:
            return True
        root = root.parent
    return str(root) not in {str(Path(one or ".").absolute()) for one in sys.path}
