"""Audits a journal: its rows against each other, without the engine that wrote them.

Beside `lab verify`, which lets the engine decide again: what is wrong in the engine itself is the same there, and is
found here.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import localcontext
from typing import Any, Final

from attrs import frozen

from lab.domain.control import ClockStepped
from lab.domain.events import (
    AmendRefused,
    AmendSent,
    CancelSent,
    DayEnded,
    Deposited,
    FundingPaid,
    Liquidated,
    LiquidationSettled,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    OrderTriggered,
    Signal,
)
from lab.domain.ledger import EXACT
from lab.journal.audit_fills import Fills
from lab.journal.audit_findings import Checks, Findings
from lab.journal.audit_money import Money
from lab.journal.audit_orders import Orders
from lab.journal.chain import GENESIS, Row, key_of, row_hash
from lab.journal.codec import INPUT_KINDS, ROW_KINDS, RUN_STARTED, decode_as
from lab.journal.reader import JournalReader
from lab.records.run import RunEnded, RunStarted, RunState

_CLASSES: Final = {kind: cls for cls, kind in ROW_KINDS.items()}
_MAY_GO_BACK: Final = (RUN_STARTED, INPUT_KINDS[ClockStepped])


@frozen
class Audit:
    """What an audit came to. ``findings`` are the first hundred, each a line that begins with its row."""

    rows: int
    orders: int
    fills: int
    found: int
    findings: tuple[str, ...]


def audit(reader: JournalReader) -> Audit:
    """Audit every row of a journal. Raises `lab.errors.JournalError` where it cannot be read at all."""
    at = Findings()
    with localcontext(EXACT):
        auditor = Auditor(at)
        for row in reader.rows():
            auditor.take(row)
        ended = reader.run_ended()
        damage = [reader.damage(), reader.state_damage()]
        for text in filter(None, damage):
            auditor.note_damage(text)
        if ended is not None or not any(damage):
            auditor.finish(ended or reader.run_state(), ended=ended is not None)
    return Audit(auditor.rows, auditor.counts[OrderAccepted], auditor.counts[OrderFilled], at.found, tuple(at.lines))


class Auditor(Checks):
    """Takes the rows in order, checks what holds for all of them, and gives each to the part whose subject it is."""

    def __init__(self, at: Findings) -> None:
        super().__init__(at)
        self.rows = 0
        self.counts: Counter[type] = Counter()
        self._previous = GENESIS
        self._keys: set[str] = set()
        self._ended = False
        self._money = Money(at)
        self._fills = Fills(at, self._money)
        self._orders = Orders(at, self._money, self._fills)
        self._takers: dict[type, Callable[[Any], None]] = {
            RunStarted: self._money.run_started,
            Deposited: self._money.deposited,
            OrderAccepted: self._orders.accepted,
            OrderFilled: self._orders.filled,
            OrderEnded: self._orders.ended,
            OrderTriggered: self._orders.triggered,
            OrderAmended: self._orders.amended,
            CancelSent: self._orders.cancel_sent,
            AmendSent: self._orders.amend_sent,
            FundingPaid: self._money.funding,
            Liquidated: self._money.liquidated,
            LiquidationSettled: self._money.settled,
            DayEnded: self._money.day_ended,
        }

    def note_damage(self, text: str) -> None:
        """Note what is wrong with the newest rows as a whole."""
        self._at.where = f"after row {self._at.seq}"
        self._note(text)

    def take(self, row: Row) -> None:
        """Check a row's place, hash and key, then what it says."""
        seq, time_ns, input_n, kind, key, body, digest = row
        at = self._at
        self.rows += 1
        at.where = f"row {seq} ({kind:.60})"
        if self._ended:
            self._note("it comes after the end of the run")
        self._expect("its number", seq, at.seq + 1)
        if time_ns < at.time_ns and kind not in _MAY_GO_BACK:
            self._note(f"its time {time_ns} is before that of the row above, {at.time_ns}")
        if input_n < at.input_n:
            self._note(f"its input {input_n} is before that of the row above, {at.input_n}")
        if row_hash(self._previous, *row[:6]) != digest:
            self._note("its hash does not follow from the row above and what it says: it was changed")
        if input_n > at.input_n or time_ns < at.time_ns:
            at.before_ns = min(at.time_ns, time_ns)
        at.seq, at.time_ns, at.input_n, self._previous = seq, time_ns, input_n, digest
        cls = _CLASSES.get(kind)
        if cls is None:
            self._note("rows of this kind are not known")
            return
        try:
            event: Any = decode_as(cls, body)
        except ValueError as error:
            self._note(f"it cannot be read: {error}")
            return
        self.counts[cls] += 1
        self._ended = cls is RunEnded
        self._expect("its key", key, kind if cls in (RunStarted, RunEnded) else key_of(event))
        if key is not None:
            if key in self._keys:
                self._note(f"its key {key} was there before: it happened twice")
            self._keys.add(key)
        taker = self._takers.get(cls)
        if taker is not None:
            try:
                taker(event)
            except (ValueError, ArithmeticError) as error:  # such as an outcome that is none, or a figure beyond all
                self._note(f"what it says cannot be: {error!s:.200}")

    def finish(self, state: RunState | None, *, ended: bool) -> None:
        """Compare what was counted and booked with the state that the run recorded of itself."""
        self._at.where = "the end of the run" if ended else "the last state of the run"
        if not self.counts[RunStarted]:
            self._note("how the run was started is missing")
        if ended:
            self._orders.finish()
        if state is None:
            return
        for name, counted in self._counted():
            self._expect(name, getattr(state.totals, name), counted)
        self._money.finish(state)

    def _counted(self) -> Iterator[tuple[str, object]]:
        for name, cls in (
            ("orders", OrderAccepted), ("fills", OrderFilled), ("signals", Signal),
        ):  # fmt: skip
            yield name, self.counts[cls]
        yield "refusals", self.counts[OrderRefused] + self.counts[AmendRefused]
        yield "amended", self.counts[OrderAmended]
        yield "amendments_refused", self.counts[AmendRefused]
        for outcome in ("cancelled", "expired", "rejected"):
            yield outcome, self._orders.outcomes[outcome]
        yield "liquidations", self.counts[Liquidated]
        yield from self._fills.totals()
        yield from self._money.totals()
