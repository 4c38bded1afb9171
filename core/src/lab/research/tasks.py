"""What is a trial's own, and what it came to: what goes to a worker, and comes back."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from lab.research.shared import ALL, Window

STEPS: Final = 10
"""How often a pruner is asked about a trial: each time a tenth of the inputs is done."""
Settings = Mapping[str, Any]
"""Settings of components by ``table.key``."""
Watch = Callable[[int, float], bool]
"""Takes how many tenths are done and the profit so far; returns whether the trial is to be given up."""


@frozen
class Task:
    """What is a trial's own."""

    number: int
    settings: Settings
    window: Window = ALL
    watched: bool = False
    """Whether a pruner looks at it."""


@frozen
class Outcome:
    """What a trial came to."""

    value: float | None = None
    """Its metric; ``None`` where it failed or was given up."""
    error: str = ""
    """Why it failed."""
    pruned: bool = False
    figures: Mapping[str, Any] = field(factory=dict)
    seconds: float = 0.0
