"""The gate ``max_daily_loss``: refuses entries once the day's loss has reached its limit."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

from attrs import define, field
from lab import PASS, OrderRequest, Refuse, RiskGate, Verdict, View

from lab_risk_limits.day import is_within, limit_of
from lab_risk_limits.figures import above_0, check_figures, texts

_FIGURES: Final = ("loss", "limit", "day_starting_equity", "equity")


@define(kw_only=True)
class MaxDailyLoss(RiskGate):
    """Refuse entries once the session's loss of a UTC day has reached the limit; the tighter of the two applies.

    The loss is the equity all books had when the day (or the session) began less what they have now, unrealised profit
    and fees included; it is looked at for each entry and after each fill. Once tripped the gate stays tripped for the
    session, midnight UTC and a recovery included, unless ``lasts`` is ``"day"``: then entries are refused while the
    day's loss is at or above the limit. Neither the day's loss nor the trip is reset by a restart.
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
    lasts: Literal["session", "day"] = field(
        default="session",
        metadata={"help": "how long a reached limit lasts: session, midnight UTC included, or day"},
    )
    _tripped: dict[str, str] = field(init=False, factory=dict)  # the figures of the loss, empty before

    def __attrs_post_init__(self) -> None:
        if self.usd is None and self.percent is None:
            raise ValueError("max_daily_loss limits nothing: set usd, percent or both, or leave the gate out")

    def limit(self, view: View) -> Decimal:
        """Return the limit in force, in the quote currency."""
        return limit_of(view, self.usd, self.percent)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass while no day's loss has reached the limit."""
        if not self._tripped and is_within(view, self.usd, self.percent):
            return PASS
        numbers = self._tripped or self._find(view)
        return Refuse(_said(numbers, self.lasts), {**numbers})

    def tripped(self, view: View) -> str:
        """Return what the loss was that reached the limit for the session."""
        if self.lasts == "day" or (not self._tripped and is_within(view, self.usd, self.percent)):
            return ""
        return _said(self._tripped or self._find(view), self.lasts)

    def snapshot(self) -> Mapping[str, str]:
        """Return the figures of the loss that reached the limit."""
        return self._tripped

    def restore(self, memory: Mapping[str, str]) -> None:
        """Take them over."""
        check_figures(memory, _FIGURES)
        self._tripped = dict(memory)

    def _find(self, view: View) -> dict[str, str]:
        """Return the figures of a loss that has reached the limit; what lasts is kept."""
        began, equity = view.day_starting_equity, view.session_equity
        numbers = texts(loss=began - equity, limit=self.limit(view), day_starting_equity=began, equity=equity)
        if self.lasts == "session":
            self._tripped = numbers
        return numbers

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limit in force, and the settings it comes from where it is not the one setting itself."""
        limits = {"limit": f"{self.limit(view):f} a UTC day"}
        if self.percent is not None:
            if self.usd is not None:
                limits["usd"] = f"{self.usd:f}"
            limits["percent"] = f"{self.percent:f} % of {view.session_starting_equity:f}"
        if self.lasts == "day":
            limits["lasts"] = "until the UTC day ends"
        return limits


def _said(numbers: Mapping[str, str], lasts: str) -> str:
    reason = f"the day's loss {numbers['loss']} reached the limit {numbers['limit']}"
    return f"{reason}: no entries in this session any more" if lasts == "session" else reason
