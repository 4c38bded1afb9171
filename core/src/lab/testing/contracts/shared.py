"""Checks that several contracts share: settings, and the equality of two runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs

from lab.ports import Component

C = TypeVar("C", bound=Component)

SETTINGS_WHY: Final = "settings are read by name from lab.toml and the command line, and shown with their help."
SETTINGS_CURE: Final = (
    'decorate with attrs.define(kw_only=True); give each field a type, a default and metadata={"help": "..."}.'
)


def check_settings(component: object, port: type[Component]) -> None:
    """Assert that a component is an attrs class of its port, whose settings all have a default and a help text."""
    cls: Any = type(component)
    assert isinstance(component, port), f"{cls.__name__} does not derive from {port.__name__}"
    assert "__attrs_attrs__" in vars(cls), f"{cls.__name__} is not decorated with attrs.define"
    try:
        attrs.resolve_types(cls)
    except NameError as error:
        raise AssertionError(
            f"a field's type cannot be resolved at run time, where settings are read: {error}"
        ) from error
    for one in attrs.fields(cls):
        if one.init:
            assert one.default is not attrs.NOTHING, f"setting {one.alias or one.name!r} has no default"
            text = one.metadata.get("help")
            helped = isinstance(text, str) and text.strip()
            assert helped, f"setting {one.alias or one.name!r} has no help text"
        assert one.type is not None, f"field {one.name!r} has no type"
    cls()


def check_same(ours: Sequence[object], theirs: Sequence[object], what: str, other: str) -> None:
    """Assert that two sequences are equal; the failure shows where they part."""
    for place, (one, two) in enumerate(zip(ours, theirs, strict=False)):
        assert one == two, f"{what} parts from {other} at number {place}: {_short(one)} against {_short(two)}"
    longer, name = (ours, what) if len(ours) > len(theirs) else (theirs, other)
    least = min(len(ours), len(theirs))
    assert len(ours) == len(theirs), (
        f"{what} has {len(ours)}, {other} has {len(theirs)}; {name} goes on with {_short(longer[least])}"
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:299] + "…"


def check_numbers(numbers: Any, what: str) -> None:
    """Assert that figures are a mapping of text to text."""
    assert isinstance(numbers, Mapping), f"{what} is {type(numbers).__name__}, not a mapping of text to text"
    for name, figure in numbers.items():
        fine = isinstance(name, str) and isinstance(figure, str)
        assert fine, f"{what}[{name!r}] is {figure!r} ({type(figure).__name__}), not text"
