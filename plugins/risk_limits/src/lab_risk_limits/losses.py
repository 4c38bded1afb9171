"""The gate ``consecutive_losses``: refuses a strategy's entries after several losses in a row."""

from collections.abc import Mapping
from decimal import Decimal

from attrs import define, field
from lab import PASS, OrderFilled, OrderRequest, Refuse, RiskGate, Verdict, View
from lab.domain.ledger import ZERO
from lab.domain.time import MINUTE_NS
from lab.statistics.round_trips import RoundTrips

from lab_risk_limits.figures import above_0, as_ns, as_seconds, figures_of, record, texts


@define(kw_only=True)
class ConsecutiveLosses(RiskGate):
    """Refuse a strategy's entries once its last round trips, several in a row, all lost.

    A round trip goes from flat to flat in one symbol, or to the other side, and counts with its fees; those of all
    symbols count in the order they ended. One that did not lose begins the row anew. Once tripped the gate stays
    tripped for the session, or for a pause of venue time, after which the row begins anew.
    """

    losses: int = field(
        default=3, validator=above_0, metadata={"help": "round trips in a row that lost, fees included, for a refusal"}
    )
    pause_minutes: int | None = field(
        default=None,
        validator=above_0,
        metadata={"help": "minutes of venue time without entries; not set: the rest of the session"},
    )
    _trips: RoundTrips = field(init=False, repr=False, eq=False, factory=RoundTrips)
    _row: dict[str, list[Decimal]] = field(init=False, factory=dict)  # the results, by strategy
    _tripped: dict[str, tuple[int, Decimal]] = field(init=False, factory=dict)  # when, and what the row lost

    def review(self, request: OrderRequest, view: View) -> Verdict:
        """Pass while the strategy has not lost that often in a row, or its pause is over."""
        tripped = self._tripped.get(view.strategy)
        if tripped is None:
            return PASS
        tripped_ns, lost = tripped
        numbers = texts(losses=self.losses, lost=lost)
        reason = self._said(lost)
        if self.pause_minutes is None:
            return Refuse(f"{reason}: no entries in this session any more", numbers)
        if tripped_ns > view.now_ns:  # the clock of a restart is an earlier one: the pause begins now, and is no longer
            tripped_ns = view.now_ns
            self._tripped[view.strategy] = tripped_ns, lost
        left_ns = tripped_ns + self.pause_minutes * MINUTE_NS - view.now_ns
        if left_ns <= 0:
            return PASS
        return Refuse(
            f"{reason}: no entries for {self.pause_minutes} min",
            {**numbers, **texts(pause_minutes=self.pause_minutes, seconds_left=as_seconds(left_ns))},
        )

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        """Count the round trip that the fill ended, if it ended one."""
        trip = self._trips.take(fill, view.instrument(fill.symbol))
        if trip is None:
            return
        row = self._row.setdefault(fill.strategy, [])
        if trip.profit >= ZERO:
            row.clear()
            return
        row.append(trip.profit)
        if len(row) == self.losses:
            self._tripped[fill.strategy] = view.now_ns, -sum(row, ZERO)
            row.clear()

    def tripped(self, view: View) -> str:
        """Return what a strategy's row of losses was, where it is halted for the session."""
        tripped = self._tripped.get(view.strategy) if self.pause_minutes is None else None
        return "" if tripped is None else f"{self._said(tripped[1])}: no entries in this session any more"

    def snapshot(self) -> Mapping[str, str]:
        """Return each strategy's row of losses, and when it was tripped and what that row had lost."""
        rows = {f"row {name}": record(*row) for name, row in self._row.items()}
        return rows | {f"tripped {name}": record(*tripped) for name, tripped in self._tripped.items()}

    def restore(self, memory: Mapping[str, str]) -> None:
        """Take them over. A round trip that had begun is not among them: its position is not in the restart either."""
        rows: dict[str, list[Decimal]] = {}
        tripped: dict[str, tuple[int, Decimal]] = {}
        for key, text in memory.items():
            kind, _, name = key.partition(" ")
            if kind == "row":
                rows[name] = figures_of(text)
            elif kind == "tripped":
                time_ns, lost = figures_of(text, 2)
                tripped[name] = as_ns(time_ns), lost
            else:
                raise ValueError(f"{key[:60]!r}: expected `row` or `tripped`, and a strategy's name")
        if any(len(row) >= self.losses for row in rows.values()):
            raise ValueError(f"a row of {self.losses} losses or more, which would have tripped it")
        self._row, self._tripped = rows, tripped

    def _said(self, lost: Decimal) -> str:
        return f"{self.losses} round trips in a row lost {texts(lost=lost)['lost']}"

    def describe(self, view: View) -> Mapping[str, str]:
        """Return the limit, and for how long entries are refused."""
        pause = "the session" if self.pause_minutes is None else f"{self.pause_minutes} min"
        return {"limit": f"{self.losses} losses in a row", "pause": pause}
