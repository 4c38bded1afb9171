"""Paper fills on real quotes for lab: latency, spread, slippage, fees."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab import hookimpl

if TYPE_CHECKING:
    from lab import Broker


@hookimpl
def lab_brokers() -> Mapping[str, "type[Broker]"]:
    """Offer the broker ``paper``."""
    from lab_paper_broker.broker import PaperBroker

    return {"paper": PaperBroker}
