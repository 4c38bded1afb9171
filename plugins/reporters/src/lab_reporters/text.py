"""Values as people read them. Every function returns text for every value: showing one must not fail."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from lab.domain.time import SECOND_NS, format_duration, format_time

# A decimal of a million digits is one short text in the journal and a million characters on the screen.
_DIGITS_MAX: Final = 30


def clean(value: object, limit: int = 400) -> str:
    """Return one line of printable text: control characters, which could steer a terminal, become ``�``."""
    line = " ".join(str(value).split())
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def as_decimal(value: object) -> Decimal | None:
    """Return a finite number given as number or text exactly, anything else as ``None``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= _DIGITS_MAX else None


def exact(value: object) -> str:
    """Return a number with every digit that counts, and thousands separated."""
    number = as_decimal(value)
    if number is None:
        return clean(value, 40)
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(value: object, *, signed: bool = False) -> str:
    """Return an amount with two decimals (more where it is below one cent), with a sign if wanted."""
    number = as_decimal(value)
    if number is None:
        return clean(value, 40)
    places = 2 if not number or abs(number) >= Decimal("0.01") else min(8, 1 - number.adjusted())
    return f"{number:{'+' if signed and number else ''},.{places}f}"


def profit(equity: object, starting: object) -> str:
    """Return the profit and its share of the starting equity."""
    now, before = as_decimal(equity), as_decimal(starting)
    if now is None or before is None:
        return "unknown"
    text = money(now - before, signed=True)
    return f"{text} ({percent((now - before) / before * 100)})" if before else text


def percent(share: Decimal) -> str:
    """Return a signed percentage with two decimals, more where it is below a hundredth."""
    places = 2 if not share or abs(share) >= Decimal("0.01") else min(8, 1 - share.adjusted())
    return f"{share:{'+' if share else ''}.{places}f} %"


def price(value: float | None) -> str:
    """Return a market price with at most ten significant digits, all written out; ``–`` when there is none yet."""
    if value is None:
        return "–"
    return exact(f"{value:.10g}") if math.isfinite(value) else str(value)


def duration(seconds: object) -> str:
    """Return seconds as ``9:59``, ``1:02:03`` or ``2 d 3:04:05``."""
    number = as_decimal(seconds)
    if number is None:
        return "unknown"
    return format_duration(float(number))


def moment(time_ns: int) -> str:
    """Return a time as ISO 8601, or the bare number where it lies outside the calendar."""
    try:
        return format_time(time_ns)
    except OverflowError:
        return str(time_ns)


def second(time_ns: int) -> str:
    """Return a time as ISO 8601 in whole seconds, ``–`` for 0: what a run says before its first data has no time."""
    return "–" if not time_ns else moment(time_ns // SECOND_NS * SECOND_NS)


def clock(time_ns: int) -> str:
    """Return the time of day, UTC, in whole seconds."""
    return second(time_ns).partition("T")[2].removesuffix("Z") or "–"


def joined(value: object, limit: int = 400) -> str:
    """Return nested plain data as one line: ``limit 500 USD, used 0``."""
    return clean(_flat(value), limit)


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items() if inner != "")
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return ", ".join(_flat(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
