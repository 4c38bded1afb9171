"""Orders that belong together: those that sleep until their entry fills, and those of one group."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from lab import Ended
from lab.ports import Amended

from lab_paper_broker.on_quotes import Reports
from lab_paper_broker.resting import Resting

_NOBODY: Final[tuple[Resting, ...]] = ()


class Families:
    """The children of each entry and the members of each group, in the order in which they were submitted."""

    __slots__ = ("_children", "_groups")

    def __init__(self) -> None:
        self._children: dict[str, list[Resting]] = {}
        self._groups: dict[str, list[Resting]] = {}

    def add_child(self, resting: Resting) -> None:
        """Let an order sleep until its entry fills."""
        self._children.setdefault(resting.parent, []).append(resting)
        if resting.group:
            self.join(resting)

    def join(self, resting: Resting) -> None:
        """Take an order into its group."""
        self._groups.setdefault(resting.group, []).append(resting)

    def leave(self, resting: Resting) -> bool:
        """Forget an order that has ended in its group and as a child; return whether it has children of its own."""
        if not resting.group and not resting.parent:
            return resting.id in self._children
        for families, name in ((self._groups, resting.group), (self._children, resting.parent)):
            members = families.get(name)
            if members is not None and resting in members:
                members.remove(resting)
                if not members:
                    del families[name]
        return resting.id in self._children

    def resized(self, resting: Resting, more: Decimal) -> None:
        """Let the children of an entry that was amended become larger or smaller with it."""
        for child in self._children.get(resting.id, _NOBODY):
            child.resize(more)

    def has_children(self, resting: Resting) -> bool:
        """Return whether an order has others that sleep until it fills."""
        return resting.id in self._children

    def take_children(self, resting: Resting) -> Sequence[Resting]:
        """Return the orders that have this one as their entry, and forget that they have."""
        return self._children.pop(resting.id, _NOBODY)

    def others(self, resting: Resting) -> Sequence[Resting]:
        """Return the other members of an order's group."""
        if not resting.group:
            return _NOBODY
        return [one for one in self._groups.get(resting.group, _NOBODY) if one is not resting]

    def filled(
        self,
        resting: Resting,
        quantity: Decimal,
        over: bool,
        woke_in: int,
        where: int,
        time_ns: int,
        reports: Reports,
    ) -> Sequence[Resting]:
        """Wake the children for what filled, take it from the rest of the group; return those that have ended by it.

        ``over`` says that nothing is left to reduce, nor will be: all of the group that only reduces ends.
        """
        for child in self._children.get(resting.id, _NOBODY):
            guards = child.takes and bool(child.left)  # a stop goes on guarding what filled before
            child.wake(quantity)
            if not guards:
                child.woke_in, child.awake_at, child.woke_ns = woke_in, where, time_ns
        ended: list[Resting] = []
        for other in self.others(resting):
            left = other.total - other.done
            if not other.reduces or left <= quantity or (over and other.holder == resting.holder):
                ended.append(other)
                reports.append(Ended(other.id, "cancelled", f"{resting.id} of its group filled"))
            else:
                other.give_up(quantity)
                reason = f"{resting.id} of its group filled {quantity}"
                reports.append(Amended(other.id, other.total, other.order.limit, other.order.stop, reason))
        return ended
