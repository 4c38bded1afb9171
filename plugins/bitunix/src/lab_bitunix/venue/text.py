"""How the venue writes numbers and times on the wire."""

import re
from typing import Any, Final

import msgspec
from lab.domain.time import MILLISECOND_NS, SECOND_NS, format_time

_DECIMAL: Final = re.compile(r"-?\d+(\.\d+)?")
_encode: Final = msgspec.json.Encoder().encode


def number(value: float, digits: int) -> str:
    """Return a decimal without trailing zeros, never with an exponent: ``76445``, ``0.2413``."""
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def milliseconds(time_ns: int) -> str:
    """Return a REST time: milliseconds as text."""
    return str(time_ns // MILLISECOND_NS)


def iso_seconds(time_ns: int) -> str:
    """Return a socket time: ISO 8601 in whole seconds, ``2026-09-23T08:00:00Z``."""
    return format_time(time_ns - time_ns % SECOND_NS)


def as_numbers(data: Any) -> Any:
    """Return the data with each decimal text as a JSON number: the encoding of the older documentation."""
    if isinstance(data, str):
        if not _DECIMAL.fullmatch(data):
            return data
        return float(data) if "." in data else int(data)
    if isinstance(data, dict):
        return {key: as_numbers(value) for key, value in data.items()}
    if isinstance(data, list):
        return [as_numbers(value) for value in data]
    return data


def to_json(message: Any) -> bytes:
    """Return compact JSON, keys in the order given."""
    return _encode(message)
