"""Moving-average crossover for lab."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab import hookimpl

if TYPE_CHECKING:
    from lab import Strategy


@hookimpl
def lab_strategies() -> Mapping[str, "type[Strategy]"]:
    """Offer the strategy ``sma``."""
    from lab_sma_strategy.strategy import SmaCross

    return {"sma": SmaCross}
