"""Checks a session while it runs: its rows as they are made, and its state after each commit."""

from collections.abc import Callable, Sequence
from decimal import localcontext
from typing import Final

from attrs import define, field

from lab.domain.control import TradingState
from lab.domain.ledger import EXACT
from lab.journal.audit import Auditor
from lab.journal.audit_findings import Findings
from lab.journal.chain import GENESIS, WrittenRow
from lab.journal.codec import ROW_KINDS, decode_as
from lab.records.run import RunState

_GATE: Final = ROW_KINDS[TradingState]
_TASKS_MOST: Final = 1000  # a simulated venue that is late has one for each frame
_CONNECTIONS_MOST: Final = 12
_CLOCK_S: Final = 0.002  # durations are rounded to milliseconds
_SHOWN_MOST: Final = 5
_EACH: Final = 16


@define(eq=False)
class Watch:
    """The invariants that can be checked after each commit of one life of a session."""

    now_s: Callable[[], float]
    tasks: Callable[[], int]
    connections: Callable[[], int]
    gate: Callable[[tuple[str, ...]], None]
    """Hears of the trading gate, and why it is shut."""
    shown: int = 0
    """The number of the newest row that may have been shown: its commit has returned."""
    head: bytes = GENESIS
    """That row's hash."""
    commits: int = 0
    wrong: list[str] = field(factory=list)
    _at: Findings = field(factory=Findings)
    _auditor: Auditor = field(init=False)
    _since: tuple[float, float] | None = None

    def __attrs_post_init__(self) -> None:
        self._auditor = Auditor(self._at)

    def take(self, rows: Sequence[WrittenRow]) -> None:
        """Audit rows that are new, or that a resumed session has made again."""
        with localcontext(EXACT):
            for row in rows:
                self._auditor.take((*row[:5], row[5].encode(), bytes(row[6])))
                if row[3] == _GATE:
                    self.gate(decode_as(TradingState, row[5]).halted_by)
        self._tell()

    def committed(self, seq: int, head: bytes, state: RunState | None) -> None:
        """Check what the session says of itself with a commit: its money, its counters, its time."""
        self.shown, self.head = seq, head
        self.commits += 1
        if self.commits % _EACH == 0:
            self._limits()
        if state is None:
            return
        with localcontext(EXACT):
            self._auditor.finish(state, ended=False)
        self._tell()
        self._time(state.session.duration_seconds)

    def _tell(self) -> None:
        if self._at.lines:
            self._note(*(f"I1 to I6: at {self.now_s():.2f} s, {line}" for line in self._at.lines))
            self._at.lines.clear()

    def _time(self, duration_s: float) -> None:
        """Compare the session's duration with the monotonic time that has passed, whatever the wall clock did."""
        if self._since is None:
            self._since = self.now_s(), duration_s
        passed_s, counted_s = self.now_s() - self._since[0], duration_s - self._since[1]
        if abs(passed_s - counted_s) > _CLOCK_S:
            self._note(f"I15: {passed_s:.3f} s have passed, and the session counts {counted_s:.3f} s")

    def _limits(self) -> None:
        tasks, connections = self.tasks(), self.connections()
        if tasks > _TASKS_MOST:
            self._note(f"I10: {tasks} tasks at {self.now_s():.2f} s")
        if connections > _CONNECTIONS_MOST:
            self._note(f"I10: {connections} connections at {self.now_s():.2f} s")

    def _note(self, *texts: str) -> None:
        self.wrong += texts[: _SHOWN_MOST - len(self.wrong)]
