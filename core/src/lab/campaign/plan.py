"""What a campaign's sessions are made of, what one of them has to go through, and what came of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from lab.campaign.canary import environment_of
from lab.campaign.cuts import Cut
from lab.composition.assembly import Assembly, assemble, layers_for
from lab.plugins.discovery import Registry
from lab.ports import Provider
from lab.runs.result import RunResult

HEALING_S: Final = 70.0
"""The last seconds of a session, in which no fault is in force."""
_HEALTH_EACH: Final = 4
"""Of so many sessions one says how it is, which takes half as much time again."""
LIVE_WITHIN_S: Final = 60.0
"""How soon after the last fault, or the last start, trading must be open."""


@frozen
class Plan:
    """One session: its seed, its length, and the faults in force."""

    seed: int
    minutes: float
    faults: tuple[str, ...]
    symbols: tuple[str, ...] = ()
    """Its symbols, where none were asked for."""

    @property
    def healed_s(self) -> float:
        """When the last fault is over, in virtual seconds since the start."""
        return healed_s(self.minutes)


def healed_s(minutes: float) -> float:
    """Return when the last fault of a session is over, in virtual seconds since the start."""
    return max(1.0, minutes * 60 - HEALING_S)


@frozen
class Recipe:
    """What all sessions of a campaign have in common: what was typed for it."""

    options: Mapping[str, Any]
    sets: Sequence[str] = ()
    config: Path | None = None

    def assembly(
        self,
        registry: Registry,
        seed: int,
        minutes: float,
        more: Mapping[str, str],
        where: Path,
        symbols: Sequence[str] = (),
    ) -> Assembly:
        """Put a session together; ``more`` are settings of the provider, ``symbols`` those where none were asked for.

        Raises as `assemble` does.
        """
        defaults = {"run.symbol": ",".join(symbols)} if symbols else {}
        layers = layers_for(self.config, list(self.sets), self.options, defaults)
        for key, value in more.items():
            layers.put(self.options["run.provider"], key, value, "default")
        health = {"health_port": "0"} if seed % _HEALTH_EACH == 0 else {}
        own = {
            "seed": str(seed), "minutes": str(minutes), "speed": "max", "start_timeout": "0", "no_write": "false",
            "state_dir": str(where), "reporters": [], **health,
        }  # fmt: skip
        layers.add_command({f"run.{key}": (raw, "lab simulate") for key, raw in own.items()})
        return assemble(registry, layers, environment_of(seed), reporters=False)


@define
class Lived:
    """A session that came to its end, or could not."""

    plan: Plan
    directory: Path | None = None
    providers: list[Provider] = field(factory=list)
    """The provider of each life."""
    cuts: list[Cut] = field(factory=list)
    result: RunResult | None = None
    problem: str = ""
    """What kept the session from its end, or escaped it."""
    wrong: list[str] = field(factory=list)
    """What was violated while it ran."""
    halted_by: tuple[str, ...] | None = None
    """Why trading was halted when it should have been open again; ``None`` where nobody could look."""
    left_over: str = ""
    """Tasks and connections that outlived the session."""
    overrun_s: float = 0.0
    """How much longer the last life took than its time."""
    no_room: bool = False
    """Whether the disk had no room in the last life."""
    commits: int = 0
    """After how many commits it was checked while it ran."""
