"""Paper fills on real quotes for lab: latency, spread, slippage, fees."""

from collections.abc import Mapping

from lab import hookimpl
from lab.compiled import choose

choose(__name__, __file__)


@hookimpl
def lab_brokers() -> Mapping[str, str]:
    """Offer the broker ``paper``."""
    return {"paper": "lab_paper_broker.broker:PaperBroker"}
