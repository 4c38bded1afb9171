"""Daily loss and margin limits for lab."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab import hookimpl

if TYPE_CHECKING:
    from lab import RiskGate


@hookimpl
def lab_risk_gates() -> Mapping[str, "type[RiskGate]"]:
    """Offer the gates ``max_daily_loss`` and ``margin``."""
    from lab_risk_limits.daily_loss import MaxDailyLoss
    from lab_risk_limits.margin import Margin

    return {"max_daily_loss": MaxDailyLoss, "margin": Margin}
