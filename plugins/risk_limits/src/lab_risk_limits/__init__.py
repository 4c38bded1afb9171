"""Daily loss and margin limits for lab."""

from collections.abc import Mapping

from lab import hookimpl
from lab.compiled import choose

choose(__name__, __file__)


@hookimpl
def lab_risk_gates() -> Mapping[str, str]:
    """Offer the gates ``max_daily_loss`` and ``margin``."""
    return {"max_daily_loss": "lab_risk_limits.daily_loss:MaxDailyLoss", "margin": "lab_risk_limits.margin:Margin"}
