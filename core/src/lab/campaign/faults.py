"""Faults of a simulated session itself, which need no venue: kills, stalls, a sick disk, steps of the wall clock."""

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from attrs import frozen

from lab.campaign.disk import FAILURES
from lab.errors import ConfigError

KILL: Final = "kill"
CRASH: Final = "crash"
STALL: Final = "stall"
LAG: Final = "lag"
WALL: Final = "wall"
FULL: Final = "full"
EIO: Final = "eio"

KINDS: Final = (KILL, CRASH, STALL, LAG, WALL, FULL, EIO)
ENDS_A_LIFE: Final = frozenset({KILL, CRASH, EIO})
"""After these the session has to be resumed."""
LASTS: Final = frozenset({LAG, FULL})
"""These need a duration."""
_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_PART: Final = re.compile(rf"({'|'.join(KINDS)})(?:=(-?{_NUMBER}))?@({_NUMBER})(?:\+({_NUMBER}))?")
_EARLIEST_S: Final = 0.2
_BEGINNING_S: Final = 0.6
_EARLY: Final = 0.12
"""In how many sessions there is a kill before the first rows, or soon after."""
_IN_RECOVERY: Final = 0.25
"""After how many kills the recovery is killed, too."""
_TURNS_MOST: Final = 300
_OPERATIONS_MOST: Final = 24
_OF_RECOVERY: Final = 14
_STALLS_S: Final = (0.3, 1.5, 4.0, 12.0, 45.0)
_STEPS_S: Final = (-3600.0, -2.0, 2.0, 90.0, 3600.0)
_LAGS_S: Final = (0.05, 0.2, 0.4, 2.5)
_LASTING_S: Final = (2.0, 8.0, 20.0, 45.0)


@frozen
class OwnFault:
    """A fault of the session at a time, in virtual seconds since its start.

    ``value`` is for a kill after how many turns of the loop it strikes, for a crash after how many operations of the
    disk, for a stall how many seconds nothing runs, for a slow strategy how many seconds each input costs, for the
    wall clock by how many seconds it steps, and for a failing disk the operation.
    """

    kind: str
    value: float
    at_s: float
    lasts_s: float = 0.0


def draw(seed: int, seconds: float, *, kills: bool) -> list[str]:
    """Return the faults that a seed draws, within a time: in half of the sessions kills, in some the others."""
    chance = Random(f"{seed}/session faults")
    kinds = [KILL] * chance.choice((0, 0, 1, 1, 2, 3)) if kills else []
    kinds += [STALL] * chance.choice((0, 0, 0, 1, 2)) + [WALL] * chance.choice((0, 0, 0, 1))
    found = [_drawn(kind, chance, seconds) for kind in kinds]
    early = Random(f"{seed}/killed while it begins")
    if kills and early.random() < _EARLY:
        found.append(f"kill={early.randrange(_TURNS_MOST)}@{early.uniform(0.01, _BEGINNING_S):.2f}")
    return found + _of_disk(Random(f"{seed}/disk faults"), seconds, found, kills=kills)


def _drawn(kind: str, chance: Random, seconds: float) -> str:
    at_s = round(chance.uniform(_EARLIEST_S, seconds), 2)
    if kind == KILL:
        return f"kill={chance.randrange(_TURNS_MOST)}@{at_s}"
    value = chance.choice(_STALLS_S if kind == STALL else _STEPS_S)
    return f"{kind}={value:g}@{min(at_s, max(_EARLIEST_S, round(seconds - value, 2)))}"


def _of_disk(chance: Random, seconds: float, drawn: Sequence[str], *, kills: bool) -> list[str]:
    """Return faults of the disk and slow strategies: kills while a session is recovered, after some of its kills."""
    found = []
    for kind, share in ((FULL, 0.2), (LAG, 0.15)):
        if chance.random() < share:
            lasts_s = min(chance.choice(_LASTING_S), seconds / 3)
            value = f"={chance.choice(_LAGS_S):g}" if kind == LAG else ""
            found.append(f"{kind}{value}@{chance.uniform(_EARLIEST_S, seconds - lasts_s):.2f}+{lasts_s:g}")
    if not kills:
        return found
    if chance.random() < 0.2:
        found.append(f"crash={chance.randrange(_OPERATIONS_MOST)}@{chance.uniform(0, seconds):.2f}")
    if chance.random() < 0.15:
        found.append(f"eio={chance.choice(FAILURES)}@{chance.uniform(0, seconds):.2f}")
    for at in [text.partition("@")[2] for text in drawn if text.startswith(KILL)]:
        if chance.random() < _IN_RECOVERY:
            found += [f"crash={chance.randrange(_OF_RECOVERY)}@{at}"]
    return found


def split(parts: Iterable[str]) -> tuple[list[OwnFault], list[str]]:
    """Return the session's own faults by time, and the provider's as they are. Raises `ConfigError`."""
    own, others = [], []
    for part in parts:
        match = _PART.fullmatch(part)
        if match is not None and (match[1] in LASTS) == bool(match[4]):
            own.append(OwnFault(match[1], float(match[2] or 0), float(match[3]), float(match[4] or 0)))
        elif part.partition("@")[0].partition("=")[0] in KINDS:
            raise ConfigError(f"--faults: {part!r}: expected kind=value@seconds, for example stall=3@120, full@60+20")
        else:
            others.append(part)
    return sorted(own, key=lambda fault: (fault.at_s, fault.kind != KILL)), others


def parts_of(text: str) -> Sequence[str]:
    """Return the parts of a text that holds faults, separated by commas."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))
