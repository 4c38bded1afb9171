"""The working orders of the paper broker: what falls due for them, how they wake and cancel each other, and end.

And the positions that their fills make: a reduce-only order takes no more from the market than it may fill.
"""

from decimal import Decimal
from heapq import heapify, heappop, heappush
from typing import Any, Final

from lab import Ended, Order

from lab_paper_broker.families import Families
from lab_paper_broker.on_quotes import Reports
from lab_paper_broker.resting import Resting

# What falls due at a time.
ARRIVES: Final = 0
CANCEL: Final = 1
AMEND: Final = 2
EXPIRES: Final = 3

_ZERO: Final = Decimal(0)
_IDLE: Final = "nothing left to reduce"
_IDLE_MOST: Final = 1_000
_NEVER_NS: Final = 2**63 - 1
Due = tuple[int, int, int, Resting, Order | None, int]
"""Time, turn, what, for which order, its new figures, and when these were sent."""


class Working:
    """Orders by their id, in the order they were submitted."""

    __slots__ = ("_closed", "_due", "_held", "_turn", "families", "orders")

    def __init__(self) -> None:
        self.orders: dict[str, Resting] = {}
        self.families = Families()
        self._due: list[Due] = []  # a heap by time, then by turn
        self._turn = 0
        self._held: dict[tuple[str, str], Decimal] = {}
        self._closed: set[str] = set()  # reduce-only orders whose position the present event closed

    # -- positions ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Note that another event begins."""
        if self._closed:
            self._closed.clear()

    def can_fill(self, resting: Resting, reports: Reports) -> bool:
        """Return whether a reduce-only order has something to reduce; hide from the market what is more than that.

        One that has nothing ends, unless it guards an entry that still works. Of a position that did not begin here
        nothing is known: the engine cuts what is too much.
        """
        held = self._held.get(resting.holder)
        if held is None:
            return True
        if resting.id in self._closed or (held >= _ZERO if resting.buys else held <= _ZERO):
            if resting.parent not in self.orders:
                self.end(resting, "cancelled", _IDLE, reports)
            return False
        excess = resting.left - abs(held)
        if excess > _ZERO:
            resting.left, resting.hidden = abs(held), excess
        return True

    def _hold(self, resting: Resting, filled: Decimal) -> bool:
        """Add a fill to its position; return whether it closed the one there was."""
        holder = resting.holder
        if resting.reduces and holder not in self._held:
            return False
        held = self._held.get(holder, _ZERO)
        after = self._held[holder] = held + filled if resting.buys else held - filled
        closed = bool(held) and (not after or (after > _ZERO) is not (held > _ZERO))
        if closed:
            # Those that guard an entry which still works belong to the position that it makes, maybe in this event.
            self._closed.update(
                [
                    one.id
                    for one in self.orders.values()
                    if one.reduces and one.holder == holder and one.parent not in self.orders
                ]
            )
        return closed

    # -- what falls due ----------------------------------------------------------------------------------------------

    def fall_due(self, time_ns: int, what: int, resting: Resting, order: Order | None = None, sent_ns: int = 0) -> None:
        """Note what is to be done once the time has passed. What belongs to orders that have ended is dropped."""
        due = self._due
        if len(due) > _IDLE_MOST and len(due) > 8 * len(self.orders):
            due = self._due = [one for one in due if not one[3].ended]
            heapify(due)
        self._turn += 1
        heappush(due, (time_ns, self._turn, what, resting, order, sent_ns))

    def forget_due(self) -> None:
        """Forget what was to be done: no order works any more."""
        self._due = []

    def is_due(self, time_ns: int) -> bool:
        """Return whether something fell due before a time."""
        return bool(self._due) and self._due[0][0] < time_ns

    def is_changing(self, strategy: str) -> bool:
        """Return whether a cancel or an amendment of a strategy is still to act."""
        for _, _, what, resting, _, _ in self._due:
            if what in (AMEND, CANCEL) and not resting.ended and resting.holder[0] == strategy:
                return True
        return False

    def quiet_until(self) -> int:
        """Return until when nothing arrives and nothing expires; 0 where something is on its way."""
        for one in self._due:
            if one[2] != EXPIRES and not one[3].ended:
                return 0
        return self._due[0][0] if self._due else _NEVER_NS

    def next_due(self, time_ns: int) -> Due | None:
        """Return what fell due first before a time, for an order that still works; ``None`` where nothing is left."""
        due = self._due
        while due and due[0][0] < time_ns:
            one = heappop(due)
            if not one[3].ended:
                return one
        return None

    # -- ends --------------------------------------------------------------------------------------------------------

    def settle(
        self, resting: Resting, before: Decimal, woke_in: int, where: int, time_ns: int, reports: Reports
    ) -> None:
        """Pass an order's fills on to its position and its family, and remove it where it has ended."""
        resting.show()
        filled = resting.done - before
        over = False
        if filled:
            over = self._hold(resting, filled) and resting.parent not in self.orders
            if resting.group or self.families.has_children(resting):
                for other in self.families.filled(resting, filled, over, woke_in, where, time_ns, reports):
                    self.remove(other)
        if resting.ended or (not resting.left and resting.done == resting.total):
            self.remove(resting)
        elif over and resting.reduces:
            self.end(resting, "cancelled", _IDLE, reports)

    def end(self, resting: Resting, outcome: Any, reason: str, reports: Reports) -> None:
        """End an order, and report it."""
        reports.append(Ended(resting.id, outcome, reason))
        self.remove(resting)

    def remove(self, resting: Resting) -> None:
        """Forget an order that has ended. Its children work on for what it filled, or end, which the engine knows."""
        resting.ended = True
        self.orders.pop(resting.id, None)
        if self.families.leave(resting):
            for child in self.families.take_children(resting):
                child.outlive()
                if not child.left:
                    self.remove(child)
