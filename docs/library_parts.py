"""The generated parts of docs/reference/library.md: functions, classes and tables of lab as a library."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_type_hints

import lab
from lab.research import rows

_TABLES = ("Trade", "FillRow", "OrderRow", "Equity", "PriceRow")


def library_functions(*names: str) -> str:
    """Return a section for each function: how it is called, and what it promises."""
    return "\n\n".join(f"### lab.{name}\n\n```python\n{_call(name)}\n```\n\n{_prose(_of(name))}" for name in names)


def library_classes(*names: str) -> str:
    """Return a section for each class: its text, its attributes and its methods."""
    return "\n\n".join(map(_class, names))


def library_tables() -> str:
    """Return the fields of each table's rows."""
    found = []
    for name in _TABLES:
        cls = getattr(rows, name)
        hints = get_type_hints(cls)
        fields = ", ".join(f"`{field}` ({_type(hints[field])})" for field in cls._fields)
        found.append(f"- **{name}**: {_line(cls)} Fields: {fields}.")
    return "\n".join(found)


def _class(name: str) -> str:
    cls = _of(name)
    lines = [f"### lab.{name}\n\n{_prose(cls)}\n", *(f"- `{key}`: {text}" for key, text in _attributes(cls))]
    for key, member in vars(cls).items():
        function = getattr(member, "func", getattr(member, "fget", member))
        if key.startswith("_") or not callable(function):
            continue
        called = "" if function is not member else _signature(function)
        lines.append(f"- `{key}{called}`: {_line(function)}")
    return "\n".join(lines)


def _attributes(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the attributes that have a text below them, in the class or in its ``__init__``."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    made = (one for one in body.body if isinstance(one, ast.FunctionDef) and one.name == "__init__")
    for block in (body.body, *(one.body for one in made)):
        for field, below in pairwise(block):
            if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)):
                continue
            if isinstance(field, ast.AnnAssign | ast.Assign):
                target = field.target if isinstance(field, ast.AnnAssign) else field.targets[0]
                yield ast.unparse(target).removeprefix("self."), _one_line(str(below.value.value))


def _of(name: str) -> Any:
    return getattr(lab, name)


def _call(name: str) -> str:
    parameters = inspect.signature(_of(name)).parameters.values()
    plain = [str(one.replace(annotation=one.empty)) for one in parameters]
    stars = next((place for place, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY), len(plain))
    return f"lab.{name}({', '.join([*plain[:stars], *(['*'] if stars < len(plain) else []), *plain[stars:]])})"


def _signature(function: Any) -> str:
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name not in {"self", "cls"}]
    return str(inspect.Signature([one.replace(annotation=one.empty) for one in parameters]))


def _prose(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "").replace("``", "`")


def _line(thing: Any) -> str:
    return _one_line(thing.__doc__ or "")


def _one_line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _type(hint: Any) -> str:
    return "optional " * (type(None) in getattr(hint, "__args__", ())) + getattr(
        next((one for one in getattr(hint, "__args__", (hint,)) if one is not type(None)), hint), "__name__", str(hint)
    )
