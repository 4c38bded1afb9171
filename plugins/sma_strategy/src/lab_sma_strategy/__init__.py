"""Moving-average crossover for lab."""

from collections.abc import Mapping

from lab import hookimpl
from lab.compiled import choose

choose(__name__, __file__)


@hookimpl
def lab_strategies() -> Mapping[str, str]:
    """Offer the strategy ``sma``."""
    return {"sma": "lab_sma_strategy.strategy:SmaCross"}
