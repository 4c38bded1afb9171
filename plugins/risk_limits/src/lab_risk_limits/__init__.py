"""Limits on losses, positions, margin, orders and prices for lab."""

from collections.abc import Mapping

from lab import hookimpl
from lab.compiled import choose

choose(__name__, __file__)


@hookimpl
def lab_risk_gates() -> Mapping[str, str]:
    """Offer the gates by name."""
    return {
        "max_daily_loss": "lab_risk_limits.daily_loss:MaxDailyLoss",
        "max_drawdown": "lab_risk_limits.drawdown:MaxDrawdown",
        "consecutive_losses": "lab_risk_limits.losses:ConsecutiveLosses",
        "cool_down": "lab_risk_limits.cool_down:CoolDown",
        "max_position": "lab_risk_limits.position:MaxPosition",
        "margin": "lab_risk_limits.margin:Margin",
        "order_rate": "lab_risk_limits.order_rate:OrderRate",
        "price_band": "lab_risk_limits.price_band:PriceBand",
    }
