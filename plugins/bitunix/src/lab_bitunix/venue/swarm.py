"""Draws the faults of a simulated session from its seed: which kinds, how strong, when, and for how long."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

_MOST: Final = 7
_SHORTEST_S: Final = 1.0
_LONGEST_S: Final = 120.0
_COOLING: Final = ("403", "429", "10006")
"""Answers after which nobody calls for at least half a minute, and longer each time."""
_COOLING_S: Final = 12.0
_BEFORE_THE_END_S: Final = 60.0
_CHANNELS: Final = ("*", "depth_book1", "market_kline_*", "price", "ticker*")

Draw = Callable[[Random], str]


def _one(*texts: str) -> Draw:
    return lambda chance: chance.choice(texts)


def _share(low: float) -> Draw:
    return lambda chance: f"{chance.uniform(low, 1.0):.2f}"


def _number(low: float, high: float) -> Draw:
    return lambda chance: f"{chance.uniform(low, high):.1f}"


def _answer(*codes: str) -> Draw:
    return lambda chance: f"{chance.choice(codes)}:{chance.uniform(0.2, 1.0):.2f}"


FOR_A_WHILE: Final[Mapping[str, Draw]] = {
    "reset": lambda chance: chance.choice(("", f"{chance.uniform(3, 40):.1f}")),
    "midframe": lambda chance: chance.choice(("", f"{chance.uniform(5, 40):.1f}")),
    "handshake": _share(0.3),
    "refuse": _one(""),
    "connect": _answer("403", "429", "502", "520"),
    "close_storm": _one("1000", "1001", "1006", "1013", "none"),
    "blackhole": _one(""),
    "silence": _one(""),
    "mute": _one(*_CHANNELS),
    "no_pong": _one(""),
    "drop_arg": _one("1", "2", "3"),
    "late_sub": _number(1, 12),
    "refuse_sub": _one(""),
    "late": lambda chance: f"{chance.uniform(0.05, 0.6):.2f}:{chance.uniform(0.3, 8):.1f}",
    "duplicate": _share(0.1),
    "reorder": _share(0.1),
    "malformed": _share(0.05),
    "levels": _share(0.1),
    "skew": lambda chance: chance.choice(("-3600", "-45", "-2.5", "1.5", "4", "45", "3600", "600:0.02", "-600:0.3")),
    "newbucket_old_values": _one("1", "2", "4"),
    "kline_every": _number(0.7, 6),
    "rest": _answer("403", "429", "500", "502", "503"),
    "error": _answer("1", "10006"),
    "html": _share(0.3),
    "truncated": _share(0.3),
    "cut": _share(0.3),
    "slow": _number(0.5, 15),
    "empty": _share(0.3),
    "hole": _one("1", "2", "3"),
    "flood": _one("40", "90"),
}
"""Faults that come and go, and how their value is drawn."""
ALL_THE_TIME: Final[Mapping[str, Draw]] = {
    "row_delay": _number(0, 4),
    "revise": _number(0.5, 4),
    "open_outside": _share(0.1),
    "volume": _one("old"),
    "numbers": _one("number"),
    "codes": _one("string"),
    "kline": _one("docs", "docs2025"),
    "pairs": _one("docs"),
    "funding": _one("list"),
    "no_optional": _one("2026", "2025"),
}
"""Shapes of the venue's answers, which stay the same in a session."""
_OF_NEW_SOCKETS: Final = frozenset({
    "handshake", "refuse", "connect", "close_storm", "drop_arg", "late_sub", "refuse_sub",
})  # fmt: skip
_WITH_A_RESET: Final = 0.7
"""In how many of these the open socket is reset at the beginning, so that there is a new one."""
_SHORT: Final = {"flood": 4.0}
"""The longest of those that cost much, in seconds."""


def draw(seed: int, seconds: float) -> list[str]:
    """Return faults for a session, all over after ``seconds``: none to seven that come and go, and some shapes."""
    chance = Random(f"{seed}/venue faults")
    kinds = chance.sample(sorted(FOR_A_WHILE), chance.randrange(_MOST + 1))
    shapes = [kind for kind in ALL_THE_TIME if chance.random() < 0.1]
    found = [part for kind in kinds for part in _for_a_while(kind, chance, seconds)]
    return found + [_text(kind, ALL_THE_TIME[kind](chance)) for kind in shapes]


def _for_a_while(kind: str, chance: Random, seconds: float) -> list[str]:
    value = FOR_A_WHILE[kind](chance)
    most_s, latest_s = _SHORT.get(kind, _LONGEST_S), seconds
    if value.startswith(_COOLING):
        most_s, latest_s = _COOLING_S, seconds - _BEFORE_THE_END_S
    length_s = min(_SHORTEST_S * (most_s / _SHORTEST_S) ** chance.random(), seconds / 2)
    start_s = chance.uniform(0.0, max(0.0, latest_s - length_s))
    found = [f"{_text(kind, value)}@{start_s:.1f}+{length_s:.1f}"]
    if kind in _OF_NEW_SOCKETS and chance.random() < _WITH_A_RESET:
        found.append(f"reset@{start_s + 0.3:.1f}")
    return found


def _text(kind: str, value: str) -> str:
    return f"{kind}={value}" if value else kind
