"""One time type: UTC nanoseconds since 1970 as ``int``. Text and other units are parsed here, once, at the edge."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000
MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ISO: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?=[^\d]|$))?)(?:(?<=:\d{2}:\d{2})[.,](\d{1,9}))?"
    r"\s*(Z|z|[+-]\d{2}:?\d{2})?)?"
)
_INTERVAL: Final = re.compile(r"([1-9]\d{0,3})([smhdw])")
_UNIT_NS: Final = {"s": SECOND_NS, "m": MINUTE_NS, "h": 60 * MINUTE_NS, "d": DAY_NS, "w": 7 * DAY_NS}
# A number's unit follows from its size: each range below covers the years 1973 to 5138 in its own unit.
_NUMBER_UNITS: Final = (
    (10**8, 10**11, SECOND_NS),
    (10**11, 10**14, 10**6),
    (10**14, 10**17, 10**3),
    (10**17, 2**63, 1),
)


def parse_time(value: object) -> int:
    """Return the UTC nanoseconds of an ISO 8601 text or of a number of s, ms, µs or ns.

    A text without a zone is UTC, whatever the machine's zone. A number's unit follows from its size (1973 onwards).
    Raises ``ValueError`` with the value in the message for anything else.
    """
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            whole, _, fraction = text.partition(".")
            return _number(int(whole), fraction, value)
        return _iso(text)
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(value, "", value)
    if isinstance(value, float) and value == value and abs(value) < 2**63:
        whole, _, fraction = repr(value).partition(".") if "e" not in repr(value) else (str(int(value)), "", "")
        return _number(int(whole), fraction, value)
    raise ValueError(f"not a time: {value!r:.100}; expected ISO 8601 text or a number of s, ms, µs or ns")


def _number(whole: int, fraction: str, value: object) -> int:
    for low, high, unit_ns in _NUMBER_UNITS:
        if low <= whole < high:
            return whole * unit_ns + int((fraction[:9]).ljust(9, "0")) * unit_ns // SECOND_NS
    raise ValueError(f"not a time: {value!r:.100}; a number of s, ms, µs or ns since 1970 lies between 1e8 and 9.2e18")


def _iso(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text!r:.100}; expected for example 2024-08-08T23:54:15.088Z")
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}").replace(tzinfo=UTC)
        offset = timedelta(0) if zone in {None, "Z", "z"} else datetime.strptime(zone, "%z").utcoffset()
    except ValueError as error:
        raise ValueError(f"not a time: {text!r:.100}; {str(error)[:100]}") from None
    since = moment - _EPOCH - (offset or timedelta(0))
    seconds = since.days * 86_400 + since.seconds
    time_ns = seconds * SECOND_NS + int((fraction or "").ljust(9, "0"))
    if abs(time_ns) >= 2**63:
        raise ValueError(f"not a time: {text!r:.100}; nanoseconds in 64 bits reach from 1678 to 2262")
    return time_ns


def format_time(time_ns: int) -> str:
    """Return ISO 8601 text in UTC, with as many fraction digits (0, 3, 6 or 9) as the value needs."""
    seconds, rest = divmod(time_ns, SECOND_NS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if rest:
        digits = f"{rest:09d}"
        keep = 3 if rest % 10**6 == 0 else 6 if rest % 10**3 == 0 else 9
        text += "." + digits[:keep]
    return text + "Z"


def format_duration(seconds: float) -> str:
    """Return seconds, rounded down to whole ones, as ``9:59``, ``1:02:03`` or ``2 d 3:04:05``."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour}:{minute:02d}:{second:02d}"
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def parse_interval(text: str) -> int:
    """Return the nanoseconds of an interval such as ``1m``, ``15m``, ``4h`` or ``1d``. Raises ``ValueError``."""
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not an interval: {text!r:.100}; expected a number and s, m, h, d or w, for example 1m")
    return int(match[1]) * _UNIT_NS[match[2]]


def format_interval(interval_ns: int) -> str:
    """Return the shortest text that `parse_interval` reads back as the same interval."""
    for unit in "wdhms":
        if interval_ns % _UNIT_NS[unit] == 0:
            return f"{interval_ns // _UNIT_NS[unit]}{unit}"
    raise ValueError(f"not a whole number of seconds: {interval_ns} ns")
