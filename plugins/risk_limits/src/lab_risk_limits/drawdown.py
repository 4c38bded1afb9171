"""The gate ``max_drawdown``: refuses entries for the rest of the session once equity has fallen too far."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from attrs import define, field
from lab import PASS, OrderRequest, Refuse, RiskGate, Verdict, View

from lab_risk_limits.figures import above_0, check_figures, texts

_FIGURES: Final = ("fall", "limit", "highest_equity", "lowest_equity")


@define(kw_only=True)
class MaxDrawdown(RiskGate):
    """Refuse entries from the moment that the session's equity has fallen by the limit below its highest.

    The equity is that of all books, unrealised profit and fees included, at every price that came. Once tripped the
    gate stays tripped for the session, whatever day it is and whatever the equity does. The tighter limit applies.
    """

    percent: Decimal | None = field(
        default=Decimal(10),
        validator=above_0,
        metadata={"help": "largest fall of the session's equity, in % of its highest"},
    )
    usd: Decimal | None = field(
        default=None,
        validator=above_0,
        metadata={"help": "largest fall of the session's equity below its highest, in the quote currency"},
    )
    _tripped: dict[str, str] = field(init=False, factory=dict)  # the figures of the fall, empty before

    def __attrs_post_init__(self) -> None:
        if self.percent is None and self.usd is None:
            raise ValueError("max_drawdown limits nothing: set percent, usd or both, or leave the gate out")

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass while the equity never fell by the limit."""
        tripped = self._tripped or self._find(view)
        if not tripped:
            return PASS
        return Refuse(_said(tripped), {**tripped, "equity": texts(equity=view.session_equity)["equity"]})

    def tripped(self, view: View) -> str:
        """Return what the fall was that reached the limit."""
        tripped = self._tripped or self._find(view)
        return _said(tripped) if tripped else ""

    def snapshot(self) -> Mapping[str, str]:
        """Return the figures of the fall that reached the limit."""
        return self._tripped

    def restore(self, memory: Mapping[str, str]) -> None:
        """Take them over."""
        check_figures(memory, _FIGURES)
        self._tripped = dict(memory)

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limits in force."""
        limits = {}
        if self.percent is not None:
            limits["percent"] = f"{self.percent:f} % below the session's highest equity"
        if self.usd is not None:
            limits["usd"] = f"{self.usd:f} below the session's highest equity"
        return limits

    def _find(self, view: View) -> dict[str, str]:
        """Return the figures of a fall by the limit, empty where there was none; what is found is kept."""
        if self.usd is not None:
            highest, lowest = view.session_deepest_fall
            if highest - lowest >= self.usd:
                self._trip(highest, lowest, self.usd)
        if self.percent is not None and not self._tripped:
            highest, lowest = view.session_steepest_fall
            limit = highest * self.percent / 100
            if highest - lowest >= limit:
                self._trip(highest, lowest, limit)
        return self._tripped

    def _trip(self, highest: Decimal, lowest: Decimal, limit: Decimal) -> None:
        self._tripped = texts(fall=highest - lowest, limit=limit, highest_equity=highest, lowest_equity=lowest)


def _said(numbers: Mapping[str, str]) -> str:
    return (
        f"the session's equity fell by {numbers['fall']} from {numbers['highest_equity']}, "
        f"the limit is {numbers['limit']}: no entries in this session any more"
    )
