"""What tells code from other code: of a strategy, a metric or a space, so that a study is of one version of them."""

import dis
import hashlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any, Final

from lab.errors import text_of
from lab.plugins.references import FILE_VERSION, origin_of, source_file

_MOST: Final = 10_000  # characters of a value
_SENT: Final = (None, "__main__", "__mp_main__")
"""Modules whose code is sent to workers as it is."""
_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")
_LONG: Final = 1000
_DEEP: Final = 8
_VALUES: Final = (bool, int, float, complex, str, bytes, Decimal, type(None), tuple, frozenset)


def code_of(code: Any) -> str:
    """Return a text for a class or function, for which another text stands for another one.

    Of a class it holds the hash of each file that it and its bases are of, unless they are an installed distribution's,
    whose version counts. Of all functions it holds the compiled code and the values that they hold or use by name. What
    modules do that they import is not in it.
    """
    return "\n".join(_told(code, set()))


def seen_files(about: Iterable[object]) -> dict[str, str]:
    """Return the files of classes, their bases and functions that another process imports for itself, with the SHA-256
    that they had when they were first looked at.
    """
    found = {}
    parts: list[Any] = [part for one in about for part in (one.__mro__ if isinstance(one, type) else (one,))]
    for code in parts:
        if isinstance(code, FunctionType | type) and code.__module__ not in _SENT and _is_own(code):
            whole: Any = code
            version, path = origin_of(whole)[1], source_file(whole)
            if path is not None and version:
                found[str(path)] = version.removeprefix(FILE_VERSION)
    return found


def changed_file(seen: Mapping[str, str]) -> str:
    """Return the name of a file that has another SHA-256 by now, or an empty text."""
    for file, sha256 in seen.items():
        path = Path(file)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            return path.name
    return ""


def _told(code: Any, known: set[int]) -> Iterator[str]:
    """Yield lines about a class or function; ``known`` are those that were told of, by identity."""
    if id(code) in known:
        return
    known.add(id(code))
    if isinstance(code, type):
        for cls in code.__mro__:
            if cls.__module__.partition(".")[0] not in sys.stdlib_module_names and cls is not object:
                known.add(id(cls))
                yield from _of_class(cls, known)
    elif isinstance(code, partial):
        yield f"partial {_shown(code.args)} {_shown(code.keywords)}"
        yield from _told(code.func, known)
    elif isinstance(code, MethodType):
        yield from _told(code.__func__, known)
        yield _state(code.__self__)
    elif isinstance(code, FunctionType):
        yield f"def {code.__qualname__}"
        yield _source(code)
        yield from _of_function(code, known)
    else:
        yield _state(code)
        yield from _told(type(code), known)  # an object that can be called


def _of_class(cls: type, known: set[int]) -> Iterator[str]:
    origin, version = origin_of(cls)
    yield f"class {cls.__qualname__} of {origin} {version}"
    if not _is_own(cls):
        return
    if not version:  # of a notebook
        yield _source(cls)
    for one in getattr(cls, "__attrs_attrs__", ()):
        yield f"{one.name} = {_shown(one.default)}"
    for name, value in sorted(vars(cls).items()):
        if isinstance(value, _VALUES) and not name.startswith("__"):
            yield f"{name} = {_shown(value)}"
        for function in _functions(value):
            made = function.__globals__.get("__name__", "")
            if made.partition(".")[0] != "attr" and not function.__code__.co_filename.startswith("<attrs generated"):
                yield f"def {name}"
                yield from _of_function(function, known)


def _functions(value: Any) -> list[FunctionType]:
    """Return the functions of a class's attribute: a method of any kind, or a property."""
    if isinstance(value, property):
        parts: list[Any] = [value.fget, value.fset, value.fdel]
    elif isinstance(value, cached_property):
        parts = [value.func]
    else:
        parts = [getattr(value, "__func__", value)]
    return [part for part in parts if isinstance(part, FunctionType)]


def _of_function(function: FunctionType, known: set[int]) -> Iterator[str]:
    """Yield what a function does and what it holds: its code, defaults, the values of its closure, and its globals."""
    code = function.__code__
    yield from _compiled(code)
    yield f"defaults {_shown(function.__defaults__)} {_shown(function.__kwdefaults__)}"
    own = set(_assigned(code))  # what changes while the function is used
    found: dict[str, Any] = {key: function.__globals__[key] for key in _names(code) & function.__globals__.keys()}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # one that is still empty
            found[name] = cell.cell_contents
    for name, value in sorted(found.items()):
        if name in own:
            continue
        if isinstance(value, FunctionType | type):
            if _is_own(value) and id(value) not in known:
                yield f"{name}:"
                yield from _told(value, known)
        elif name in code.co_freevars or isinstance(value, _VALUES):
            yield f"{name} = {_shown(value)}"


def _compiled(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars}"
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _compiled(one)
        else:
            yield _shown(one)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _nested(one)


def _names(code: CodeType) -> set[str]:
    return {name for one in _nested(code) for name in one.co_names}


def _assigned(code: CodeType) -> Iterator[str]:
    for one in _nested(code):
        for step in dis.get_instructions(one):
            if step.opname in {"STORE_GLOBAL", "STORE_DEREF"}:
                yield str(step.argval)


def _is_own(code: Any) -> bool:
    """Return whether code is no installed distribution's and none of Python's own."""
    module = code.__module__
    if module is None or module.partition(".")[0] in sys.stdlib_module_names:
        return module is None  # it was made of text
    version = origin_of(code)[1]
    return not version or version.startswith(FILE_VERSION)


def _source(code: Any) -> str:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):
        return text_of(str, getattr(code, "__qualname__", code))


def _state(value: Any) -> str:
    return f"{_shown(value)} {_shown(getattr(value, '__dict__', {}))}"


def _shown(value: Any, depth: int = 0) -> str:
    """Return a value's text, which is the same in every process."""
    if isinstance(value, set | frozenset | tuple | list | dict) and len(value) < _LONG and depth < _DEEP:
        pairs = value.items() if isinstance(value, dict) else value
        parts = [_shown(one, depth + 1) for one in pairs]
        return f"{type(value).__name__}({', '.join(sorted(parts) if isinstance(value, set | frozenset) else parts)})"
    return _ADDRESS.sub("", text_of(repr, value, _MOST))
