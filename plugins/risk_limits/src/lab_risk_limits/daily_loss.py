"""The gate ``max_daily_loss``: refuses entries once the day's loss has reached its limit."""

from collections.abc import Mapping
from decimal import Decimal

from attrs import define, field
from lab import PASS, OrderRequest, Refuse, RiskGate, Verdict, View

from lab_risk_limits.figures import above_0, texts


@define(kw_only=True)
class MaxDailyLoss(RiskGate):
    """Refuse entries while the session's loss of the UTC day is at or above the limit; the tighter of the two applies.

    The loss is the equity all books had when the day (or the session) began less what they have now, unrealised profit
    and fees included. The engine keeps the day's beginning over a restart, so a restart does not reset it.
    """

    usd: Decimal | None = field(
        default=Decimal(500),
        validator=above_0,
        metadata={"help": "largest loss of a UTC day, in the quote currency"},
    )
    percent: Decimal | None = field(
        default=None,
        validator=above_0,
        metadata={"help": "largest loss of a UTC day, in % of the session's starting equity"},
    )

    def __attrs_post_init__(self) -> None:
        if self.usd is None and self.percent is None:
            raise ValueError("max_daily_loss limits nothing: set usd, percent or both, or leave the gate out")

    def limit(self, view: View) -> Decimal:
        """Return the limit in force, in the quote currency."""
        usd, percent = self.usd, self.percent
        if percent is None and usd is not None:
            return usd
        limit = view.session_starting_equity * (percent or 0) / 100
        return limit if usd is None else min(usd, limit)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass while the day's loss is below the limit."""
        began, equity = view.day_starting_equity, view.session_equity
        loss, limit = began - equity, self.limit(view)
        if loss < limit:
            return PASS
        numbers = texts(loss=loss, limit=limit, day_starting_equity=began, equity=equity)
        return Refuse(f"the day's loss {numbers['loss']} reached the limit {numbers['limit']}", numbers)

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limit in force, and the settings it comes from where it is not the one setting itself."""
        limits = {"limit": f"{self.limit(view):f} a UTC day"}
        if self.percent is not None:
            if self.usd is not None:
                limits["usd"] = f"{self.usd:f}"
            limits["percent"] = f"{self.percent:f} % of {view.session_starting_equity:f}"
        return limits
