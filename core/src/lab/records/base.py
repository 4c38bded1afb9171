"""The base of all records: every figure in them is finite."""

from decimal import Decimal
from typing import Any, Final

from msgspec import Struct, to_builtins
from msgspec.structs import astuple

_DIGITS_MAX: Final = 40
_PLACES_MAX: Final = 100


class Record(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of the records: frozen and strict. Raises ``ValueError`` for a decimal that is no amount.

    A key that a record does not have is refused when it is read: another version of lab wrote it, and what it means is
    unknown.
    """

    def __post_init__(self) -> None:
        for place, value in enumerate(astuple(self)):
            if value.__class__ is Decimal and not (value.is_finite() and abs(value.adjusted()) <= _DIGITS_MAX):
                raise ValueError(f"{self.__struct_fields__[place]}: {str(value)[:40]} is not an amount")


def exact(amount: Decimal) -> Decimal:
    """Return the same amount without trailing zeros and without a positive exponent: what is written is then short.

    Raises ``ValueError`` for one that would be long: an exponent of millions, written out, fills the memory.
    """
    if abs(amount.adjusted()) > _PLACES_MAX:
        raise ValueError(f"{amount:.10} is not an amount")
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return Decimal("0" if text == "-0" else text)


def as_data(record: object) -> Any:
    """Return a record as plain data for JSON, with money as decimal text without an exponent."""
    return _as_text(to_builtins(record, builtin_types=(Decimal,)))


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(inner) for inner in value]
    return format(value, "f") if isinstance(value, Decimal) else value
