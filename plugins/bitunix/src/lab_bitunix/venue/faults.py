"""The faults of the local venue, parsed from a text such as ``reset@30,mute=depth_book1@60+20,rest=429:0.5``."""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final

from attrs import frozen


class FaultError(ValueError):
    """A fault text that cannot be read. The message names the part and the cure, or the nearest fault."""


@frozen
class Fault:
    """One fault in force from ``start_s`` (venue seconds since the start) for ``duration_s``."""

    kind: str
    value: Any
    start_s: float = -math.inf
    duration_s: float = math.inf

    @property
    def end_s(self) -> float:
        """When it is over, in venue seconds since the start."""
        return math.inf if self.duration_s == math.inf else self.start_s + self.duration_s

    def holds(self, at_s: float) -> bool:
        """Say whether the fault is in force."""
        return self.start_s <= at_s < self.end_s


@frozen
class FaultKind:
    """A kind of fault: its effect, the parser of its value, and its default."""

    help: str
    read: Callable[[str], Any]
    default: Any = None
    needs: str = ""
    """``value`` or ``time`` where the fault means nothing without."""


def _number(text: str, low: float, high: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if not low <= value <= high:  # also refuses NaN
        raise ValueError(expected)
    return value


def _whole(text: str, low: int, high: int, expected: str) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(expected)
    return int(text)


def _share(text: str) -> float:
    return _number(text, 0, 1, "a share from 0 to 1")


def _seconds(text: str) -> float:
    return _number(text, 0, 1e9, "seconds, 0 or more")


def _period(text: str) -> float:
    return _number(text, 0.01, 1e9, "seconds, 0.01 or more")


def _count(text: str) -> int:
    return _whole(text, 1, 10**6, "a whole number from 1 to 1000000")


def _status(text: str) -> int:
    return _whole(text, 400, 599, "an HTTP status from 400 to 599")


def _code(text: str) -> int:
    return _whole(text, 1, 10**6, "one of the venue's codes, 1 or more")


def _shared(read: Callable[[str], int]) -> Callable[[str], tuple[int, float]]:
    def both(text: str) -> tuple[int, float]:
        value, colon, share = text.partition(":")
        return read(value), _share(share) if colon else 1.0

    return both


def _late(text: str) -> tuple[float, float]:
    share, colon, seconds = text.partition(":")
    return _share(share), _seconds(seconds) if colon else 2.0


def _skew(text: str) -> tuple[float, float]:
    seconds, colon, share = text.partition(":")
    return _number(seconds, -1e6, 1e6, "seconds, -1000000 to 1000000"), _share(share) if colon else 1.0


def _one_of(*words: str) -> Callable[[str], str]:
    def word(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return word


def _nothing(text: str) -> None:
    raise ValueError("no value")


FAULTS: Final[Mapping[str, FaultKind]] = {
    # Connections
    "reset": FaultKind("reset every socket; =N again every N s", _period, needs="time"),
    "midframe": FaultKind("send half a frame to each socket, then reset it; =N again every N s", _period, needs="time"),
    "handshake": FaultKind("reset this share of new sockets in the middle of the handshake", _share, 1.0),
    "refuse": FaultKind("refuse new TCP connections; open ones are left alone", _nothing, needs="time"),
    "connect": FaultKind(
        "answer new sockets with this HTTP status; =429:0.5 half of them", _shared(_status), needs="value"
    ),
    "close_storm": FaultKind(
        "close sockets within 50 ms; =1000, 1001, 1013, none, or 1006 (no close frame)",
        _one_of("1000", "1001", "1006", "1013", "none"),
    ),
    "blackhole": FaultKind("half-open: bytes vanish both ways, REST and new sockets hang", _nothing),
    # Frames
    "silence": FaultKind("sockets open and pings are answered, but no data comes", _nothing),
    "mute": FaultKind("no frames of this channel; * and ? match several", str, "*"),
    "no_pong": FaultKind("pings are not answered, and do not keep the socket open", _nothing),
    "drop_arg": FaultKind("ignore the Nth subscription of each socket", _count, 1),
    "late_sub": FaultKind("begin with the data of a subscription N s later", _seconds, 5.0),
    "refuse_sub": FaultKind("refuse every subscription with result false", _nothing),
    "late": FaultKind("this share of the frames comes later than stamped: =0.1:2 by 2 s", _late, (0.1, 2.0)),
    "duplicate": FaultKind("send this share of the frames twice", _share, 0.1),
    "reorder": FaultKind("send this share of the frames after the next one of their channel", _share, 0.1),
    "malformed": FaultKind("damage this share of the frames: cut, wrong types, NaN, negative, not JSON", _share, 0.1),
    "skew": FaultKind("stamp frames N s ahead, or -N s behind; =600:0.1 a tenth of them", _skew, needs="value"),
    "levels": FaultKind("make books of this share of the frames crossed, unordered, empty, of size 0", _share, 0.1),
    "newbucket_old_values": FaultKind("the first N pushes of a new candle still have the old one's values", _count, 1),
    "flood": FaultKind("send N depth_book1 frames a second", _count, 5000),
    "kline_every": FaultKind("push candles every N s instead of every 0.5 s", _period, 2.0),
    # REST
    "rest": FaultKind(
        "answer REST calls with this HTTP status (403: challenge page); =500:0.5 half of them",
        _shared(_status),
        needs="value",
    ),
    "error": FaultKind(
        "answer with this code inside HTTP 200; =10006:0.5 half of the calls", _shared(_code), (10006, 1.0)
    ),
    "html": FaultKind("answer this share of the calls with an HTML page and HTTP 200", _share, 1.0),
    "truncated": FaultKind("cut the JSON of this share of the answers", _share, 1.0),
    "cut": FaultKind("reset the connection in the middle of this share of the answers", _share, 1.0),
    "slow": FaultKind("answer N s later", _seconds, 2.0),
    "empty": FaultKind("answer this share of the candle calls with an empty list", _share, 1.0),
    "row_delay": FaultKind("the row of a new candle appears N s after it opened (without this 1 s)", _seconds, 3.0),
    "revise": FaultKind("a closed row lacks its last 60th until N s after the close", _seconds, 5.0),
    "hole": FaultKind("leave out every Nth candle that opened in the time given", _count, 1),
    "open_outside": FaultKind("this share of the candles opens outside [low, high]", _share, 1.0),
    # Shapes the venue or its documentation has had
    "volume": FaultKind(
        "old: quoteVol holds coins and baseVol the quote currency, as until September 2026",
        _one_of("old", "new"),
        "old",
    ),
    "numbers": FaultKind(
        "number: decimals as JSON numbers instead of strings, everywhere", _one_of("number", "string"), "number"
    ),
    "codes": FaultKind("string: the code inside the answer as text", _one_of("string", "int"), "string"),
    "kline": FaultKind(
        "rows as in the documentation of 2026-10 (docs) or 2025 (docs2025)", _one_of("wire", "docs", "docs2025"), "docs"
    ),
    "pairs": FaultKind("docs: trading pairs as in the documentation", _one_of("wire", "docs"), "docs"),
    "funding": FaultKind("list: the funding rate as a list of one", _one_of("list", "object"), "list"),
    "no_optional": FaultKind(
        "leave out optional fields: as in early 2026, in 2025, or all", _one_of("2026", "2025", "all"), "2026"
    ),
}

_PART: Final = re.compile(r"([a-z_]+)(?:=([^@]*))?(?:@([0-9.]+)(?:\+([0-9.]+))?)?")


@frozen
class Faults:
    """The faults of a venue. Looking for a fault that was not set costs one lookup in an empty mapping."""

    by_kind: Mapping[str, tuple[Fault, ...]]

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """Read comma separated ``kind[=value][@start[+duration]]``, in seconds since the start. Raises `FaultError`.

        Without ``@start`` a fault is always in force, also for candles from before the start; without ``+duration``
        from the start on for ever.
        """
        found: dict[str, tuple[Fault, ...]] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            fault = _read(part)
            found[fault.kind] = (*found.get(fault.kind, ()), fault)
        return cls(found)

    def __iter__(self) -> Iterator[Fault]:
        return (fault for faults in self.by_kind.values() for fault in faults)

    def active(self, kind: str, at_s: float) -> Fault | None:
        """Return the fault of this kind that is in force at a time, or ``None``; the last one given wins."""
        faults = self.by_kind.get(kind)
        if faults is None:
            return None
        return next((fault for fault in reversed(faults) if fault.holds(at_s)), None)

    def value(self, kind: str, at_s: float, default: Any) -> Any:
        """Return the value of the fault in force, or the default."""
        fault = self.active(kind, at_s)
        return default if fault is None else fault.value

    def strikes(self, kind: str, at_s: float, random: Random) -> bool:
        """Say whether a fault whose value is a share hits this time."""
        fault = self.active(kind, at_s)
        return fault is not None and (fault.value >= 1 or random.random() < fault.value)


def _read(part: str) -> Fault:
    match = _PART.fullmatch(part)
    if match is None:
        raise FaultError(f"fault {part!r}: expected kind[=value][@start[+duration]], for example mute=trade@60+20")
    name, raw, start, duration = match.groups()
    kind = FAULTS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, FAULTS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(FAULTS))}"
        raise FaultError(f"fault {part!r}: no fault of this name; {hint}")
    if kind.needs == "value" and not raw:
        raise FaultError(f"fault {part!r}: needs a value, for example {name}=429")
    if kind.needs == "time" and start is None:
        raise FaultError(f"fault {part!r}: needs a time, for example {part}@30")
    try:
        value = kind.default if raw is None else kind.read(raw)
    except ValueError as error:
        raise FaultError(f"fault {part!r}: value {raw!r}: expected {error} ({kind.help})") from None
    try:
        return Fault(
            name, value, -math.inf if start is None else float(start), math.inf if duration is None else float(duration)
        )
    except ValueError:
        raise FaultError(f"fault {part!r}: the times are seconds, for example {name}@60+20") from None


def help_text() -> str:
    """Return one line a fault, for ``lab bitunix-venue --help``."""
    width = max(map(len, FAULTS))
    return "\n".join(f"  {name.ljust(width)}  {kind.help}" for name, kind in FAULTS.items())
