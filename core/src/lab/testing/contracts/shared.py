"""What rules of several contracts check: settings, snapshots, and the look of two runs that should be one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
import msgspec

from lab.journal.codec import encode
from lab.ports import Component

C = TypeVar("C", bound=Component)

SETTINGS_WHY: Final = "settings are read by name from lab.toml and the command line, and shown with their help."
SETTINGS_CURE: Final = (
    'decorate with attrs.define(kw_only=True); give each field a type, a default and metadata={"help": "..."}.'
)
STATE_CURE: Final = (
    "keep all state in init=False fields of plain types (numbers, text, Decimal, lists, dicts) or write snapshot() and "
    "restore() yourself; keep none in globals, closures or class attributes."
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


def packed(component: Component) -> bytes:
    """Return a component's state as the journal keeps it. Asserts that it is JSON and says all of it."""
    snapshot = component.snapshot()
    assert isinstance(snapshot, dict), f"snapshot() gave {type(snapshot).__name__}, not a dict"
    trouble = _trouble(snapshot, "snapshot")
    assert trouble is None, trouble
    try:
        return encode(snapshot)
    except TypeError as error:
        raise AssertionError(f"snapshot() is not JSON: {error}") from error


def restored(make: Callable[[], C], state: bytes) -> C:
    """Return a fresh component that took over a packed state."""
    fresh = make()
    fresh.restore(msgspec.json.decode(state))
    return fresh


def check_same_state(fresh: Component, state: bytes) -> None:
    """Assert that a restored component's snapshot is the one it was given."""
    before, after = msgspec.json.decode(state), msgspec.json.decode(packed(fresh))
    for name in sorted({*before, *after}):
        ours, theirs = before.get(name, "nothing"), after.get(name, "nothing")
        assert ours == theirs, f"{name!r} was {ours!r} in the snapshot and is {theirs!r} after restore()"


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


def _trouble(value: object, place: str) -> str | None:
    """Return what JSON would lose or change of a value, with its place; ``None`` when nothing."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return f"{place} is {value!r}, which JSON cannot hold"
    if isinstance(value, Mapping):
        found = (_trouble(inner, f"{place}[{key!r}]") for key, inner in value.items())
    elif isinstance(value, list | tuple):
        found = (_trouble(inner, f"{place}[{number}]") for number, inner in enumerate(value))
    else:
        return None
    return next((text for text in found if text is not None), None)


def check_numbers(numbers: Any, what: str) -> None:
    """Assert that figures are a mapping of text to text."""
    assert isinstance(numbers, Mapping), f"{what} is {type(numbers).__name__}, not a mapping of text to text"
    for name, figure in numbers.items():
        fine = isinstance(name, str) and isinstance(figure, str)
        assert fine, f"{what}[{name!r}] is {figure!r} ({type(figure).__name__}), not text"
