"""The gate ``cool_down``: keeps a strategy from entering anew right after a loss."""

from collections.abc import Mapping
from decimal import Decimal

from attrs import define, field
from lab import PASS, OrderFilled, OrderRequest, Refuse, RiskGate, Verdict, View
from lab.domain.ledger import ZERO
from lab.domain.time import MINUTE_NS
from lab.statistics.round_trips import RoundTrips

from lab_risk_limits.figures import above_0, as_ns, as_seconds, figures_of, record, texts


@define(kw_only=True)
class CoolDown(RiskGate):
    """Refuse a strategy's entries for some minutes of venue time after each of its round trips that lost.

    A round trip goes from flat to flat in one symbol, or to the other side, and counts with its fees. Entries in all
    symbols are refused. Another loss begins the wait anew; a gain does not end it.
    """

    minutes: int = field(
        default=15, validator=above_0, metadata={"help": "minutes of venue time without entries after a loss"}
    )
    _trips: RoundTrips = field(init=False, repr=False, eq=False, factory=RoundTrips)
    _lost: dict[str, tuple[int, Decimal]] = field(init=False, factory=dict)  # when and how much, by strategy

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass where the strategy's last loss is long enough ago."""
        last = self._lost.get(view.strategy)
        if last is None:
            return PASS
        lost_ns, lost = last
        if lost_ns > view.now_ns:  # the clock of a restart is an earlier one: the wait begins now, and is no longer
            lost_ns = view.now_ns
            self._lost[view.strategy] = lost_ns, lost
        left_ns = lost_ns + self.minutes * MINUTE_NS - view.now_ns
        if left_ns <= 0:
            return PASS
        numbers = texts(lost=lost, minutes=self.minutes, seconds_left=as_seconds(left_ns))
        return Refuse(f"the last losing round trip lost {numbers['lost']}: no entries for {self.minutes} min", numbers)

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        """Note when a round trip ended with a loss."""
        trip = self._trips.take(fill, view.instrument(fill.symbol))
        if trip is not None and trip.profit < ZERO:
            self._lost[fill.strategy] = view.now_ns, -trip.profit

    def snapshot(self) -> Mapping[str, str]:
        """Return when each strategy lost last, and how much."""
        return {name: record(*lost) for name, lost in self._lost.items()}

    def restore(self, memory: Mapping[str, str]) -> None:
        """Take that over."""
        found = {name: figures_of(text, 2) for name, text in memory.items()}
        self._lost = {name: (as_ns(lost_ns), lost) for name, (lost_ns, lost) in found.items()}

    def describe(self, view: View) -> Mapping[str, str]:
        """Return how long entries are refused."""
        return {"pause": f"{self.minutes} min after a loss"}
