"""Paper fills on real quotes for lab: latency, spread, slippage, fees."""

from collections.abc import Mapping

from lab import hookimpl


@hookimpl
def lab_brokers() -> Mapping[str, str]:
    """Offer the broker ``paper``."""
    return {"paper": "lab_paper_broker.broker:PaperBroker"}
