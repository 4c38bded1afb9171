"""Faults of a simulated session itself, which need no venue: kills, stalls, and steps of the wall clock."""

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from attrs import frozen

from lab.errors import ConfigError

KILL: Final = "kill"
STALL: Final = "stall"
WALL: Final = "wall"

_PART: Final = re.compile(r"(kill|stall|wall)(?:=(-?[0-9]+(?:\.[0-9]+)?))?@([0-9]+(?:\.[0-9]+)?)")
_KINDS: Final = (KILL, STALL, WALL)
_EARLIEST_S: Final = 0.2
_BEGINNING_S: Final = 0.6
_EARLY: Final = 0.12
"""In how many sessions there is a kill before the first rows, or soon after."""
_TURNS_MOST: Final = 300
_STALLS_S: Final = (0.3, 1.5, 4.0, 12.0, 45.0)
_STEPS_S: Final = (-3600.0, -2.0, 2.0, 90.0, 3600.0)


@frozen
class OwnFault:
    """A fault of the session at a time, in virtual seconds since its start.

    ``value`` is for a kill after how many turns of the loop it strikes, for a stall how many seconds nothing runs, and
    for the wall clock by how many seconds it steps.
    """

    kind: str
    value: float
    at_s: float


def draw(seed: int, seconds: float, *, kills: bool) -> list[str]:
    """Return the faults that a seed draws, within a time: in half of the sessions kills, in some stalls and steps."""
    chance = Random(f"{seed}/session faults")
    kinds = [KILL] * chance.choice((0, 0, 1, 1, 2, 3)) if kills else []
    kinds += [STALL] * chance.choice((0, 0, 0, 1, 2)) + [WALL] * chance.choice((0, 0, 0, 1))
    found = [_drawn(kind, chance, seconds) for kind in kinds]
    early = Random(f"{seed}/killed while it begins")
    if kills and early.random() < _EARLY:
        found.append(f"kill={early.randrange(_TURNS_MOST)}@{early.uniform(0.01, _BEGINNING_S):.2f}")
    return found


def _drawn(kind: str, chance: Random, seconds: float) -> str:
    at_s = round(chance.uniform(_EARLIEST_S, seconds), 2)
    if kind == KILL:
        return f"kill={chance.randrange(_TURNS_MOST)}@{at_s}"
    value = chance.choice(_STALLS_S if kind == STALL else _STEPS_S)
    return f"{kind}={value:g}@{min(at_s, max(_EARLIEST_S, round(seconds - value, 2)))}"


def split(parts: Iterable[str]) -> tuple[list[OwnFault], list[str]]:
    """Return the session's own faults by time, and the provider's as they are. Raises `ConfigError`."""
    own, others = [], []
    for part in parts:
        match = _PART.fullmatch(part)
        if match is not None:
            own.append(OwnFault(match[1], float(match[2] or 0), float(match[3])))
        elif part.partition("@")[0].partition("=")[0] in _KINDS:
            raise ConfigError(f"--faults: {part!r}: expected kind=value@seconds, for example stall=3@120")
        else:
            others.append(part)
    return sorted(own, key=lambda fault: fault.at_s), others


def parts_of(text: str) -> Sequence[str]:
    """Return the parts of a text that holds faults, separated by commas."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))
