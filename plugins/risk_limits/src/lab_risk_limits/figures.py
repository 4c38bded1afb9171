"""What the gates have in common: checks of their settings, and figures as text."""

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


def as_seconds(ns: int) -> Decimal:
    """Return nanoseconds as seconds, exactly."""
    return ns / _SECOND_NS
