"""Runs one simulated session: with its own faults, killed and resumed as often as they say."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

from lab.campaign.cuts import cut_off
from lab.campaign.faults import ENDS_A_LIFE, split
from lab.campaign.life import Life
from lab.campaign.plan import Lived, Plan, Recipe
from lab.domain.ledger import own_context
from lab.plugins.discovery import Registry
from lab.runs.cut_off import finalize_interrupted
from lab.runs.previous import newest_session

_DOWN_S: Final = (0.5, 25.0)


@own_context()
def live(recipe: Recipe, registry: Registry, plan: Plan, settings: Mapping[str, str], folder: Path) -> Lived:
    """Run a session to its end, in a folder; ``settings`` are the provider's. Raises what `assemble` raises."""
    lived = Lived(plan)
    own, _ = split(plan.faults)
    state_dir, began_s = folder / "now", 0.0
    ends = [fault for fault in own if fault.kind in ENDS_A_LIFE]
    others = [fault for fault in own if fault.kind not in ENDS_A_LIFE]
    for number in range(len(ends) + 1):
        end = ends[number] if number < len(ends) else None
        resumed, ended = cut_off(state_dir)
        if ended is not None:  # it was killed behind its end
            finalize_interrupted(state_dir)
            break
        left = plan.minutes if resumed is not None else max(0.5, plan.minutes - began_s / 60)
        assembly = recipe.assembly(registry, plan.seed, left, settings, state_dir, plan.symbols)
        lived.providers.append(assembly.provider.component)
        life = Life(lived, assembly, state_dir, folder / "saved", began_s, end, others)
        cut_s = life.run(resumed)
        if cut_s is None:
            break
        began_s = round(cut_s + Random(f"{plan.seed}/{number}/down").uniform(*_DOWN_S), 3)
    lived.directory = newest_session(state_dir)
    return lived
