"""What the gates have in common: checks of their settings, and figures as text."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from attrs import Attribute

_SECOND_NS: Final = Decimal(1_000_000_000)


def above_0(instance: Any, attribute: "Attribute[Any]", value: Decimal | int | None) -> None:
    """Refuse a setting of 0 or less by its name; a setting that is left out is no limit."""
    if value is not None and not value > 0:
        cure = "; leave it out for no such limit" if attribute.default is None or isinstance(value, Decimal) else ""
        raise ValueError(f"{attribute.name} must be above 0, not {value}{cure}")


def texts(**numbers: Decimal | int) -> dict[str, str]:
    """Return figures as a verdict carries them: name to text, without an exponent and without idle zeros."""
    return {name: format(Decimal(number).normalize(), "f") for name, number in numbers.items()}


def record(*values: Decimal | int) -> str:
    """Return figures as one text, for a gate's memory; `figures_of` reads it."""
    return " ".join(str(value) for value in values)


def figures_of(text: str, count: int | None = None) -> list[Decimal]:
    """Return the figures of such a text. Raises ``ValueError`` where it is none, or has another number of them."""
    try:
        found = [Decimal(part) for part in text.split()]
    except ArithmeticError:
        raise ValueError(f"{text[:60]!r} are no figures") from None
    if not all(one.is_finite() for one in found) or (count is not None and len(found) != count):
        raise ValueError(f"{text[:60]!r}: expected {count or 'finite'} figures")
    return found


def check_figures(memory: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse a memory that is neither empty nor has these figures. Raises ``ValueError``."""
    if memory and set(memory) != set(names):
        raise ValueError(f"{', '.join(memory)}: expected {', '.join(names)}")
    for text in memory.values():
        figures_of(text, 1)


def as_ns(value: Decimal) -> int:
    """Return a figure as a time in nanoseconds. Raises ``ValueError`` where it is none."""
    if not 0 <= value < 2**63 or value != int(value):
        raise ValueError(f"{value} is no time in nanoseconds")
    return int(value)


def as_seconds(ns: int) -> Decimal:
    """Return nanoseconds as seconds, exactly."""
    return ns / _SECOND_NS
