"""Timers of strategies and gates, on venue time: each falls due at whole multiples of its period.

An input that passes a due time calls the timer first, at that due time, so that it sees nothing later. However many
due times an input passes, a timer is called once, because nothing became known between them.
"""

from lab.domain.control import Timer
from lab.engine.gates import BoundGate, Gates
from lab.engine.state import NEVER_NS, EngineState, Outputs
from lab.engine.strategies import BoundStrategy, Strategies


class Timers:
    """The timers of one run. ``next_ns`` is when the first falls due, `NEVER_NS` where there is none."""

    __slots__ = ("_gates", "_owners", "_state", "_strategies", "next_ns")

    def __init__(self, state: EngineState, gates: Gates, strategies: Strategies) -> None:
        self._state = state
        self._gates = gates
        self._strategies = strategies
        owners: list[BoundGate | BoundStrategy] = [*gates.bound, *strategies.bound]
        self._owners = tuple(owner for owner in owners if owner.timer_ns > 0)
        self.next_ns = 0 if self._owners else NEVER_NS

    def fire(self, time_ns: int, out: Outputs, *, live: bool, record: bool) -> None:
        """Call what fell due until ``time_ns``, gates before strategies at the same time; then set ``next_ns``.

        Requests are placed only where ``live``: history passes due times too. With ``record``, a due time at which
        something came about begins with its `Timer`.
        """
        if time_ns < self.next_ns:
            return
        due: dict[int, list[BoundGate | BoundStrategy]] = {}
        for owner in self._owners:
            newest_ns = time_ns - time_ns % owner.timer_ns
            if owner.next_timer_ns and newest_ns >= owner.next_timer_ns:
                due.setdefault(newest_ns, []).append(owner)
            owner.next_timer_ns = newest_ns + owner.timer_ns
        self.next_ns = min((owner.next_timer_ns for owner in self._owners), default=NEVER_NS)
        for due_ns in sorted(due):
            self._call(due_ns, due[due_ns], out, live=live, record=record)

    def set_back(self, time_ns: int) -> None:
        """Let each timer fall due next after an earlier time."""
        for owner in self._owners:
            owner.next_timer_ns = time_ns - time_ns % owner.timer_ns + owner.timer_ns
        if self._owners:
            self.next_ns = min(owner.next_timer_ns for owner in self._owners)

    def _call(
        self, due_ns: int, owners: list[BoundGate | BoundStrategy], out: Outputs, *, live: bool, record: bool
    ) -> None:
        self._state.now_ns = due_ns
        if self._state.stopping:
            return
        known = len(out)
        for owner in owners:
            if isinstance(owner, BoundGate):
                self._gates.timer(owner, due_ns, [one.view for one in self._strategies.bound], out)
            elif owner.on_timer is not None and not owner.book.stopped:
                self._strategies.ask(owner, "on_timer", owner.on_timer, due_ns, f"m{due_ns}", live, out)
        if record and len(out) > known:
            out.insert(known, Timer(due_ns))
