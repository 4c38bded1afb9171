"""Orders that belong together: those that sleep until their entry fills, and those of one group."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from lab import Ended
from lab.ports import Amended

from lab_paper_broker.on_quotes import Reports
from lab_paper_broker.resting import Resting

_NOBODY: Final[tuple[Resting, ...]] = ()
_ZERO: Final = Decimal(0)


class Families:
    """The children of each entry and the members of each group, in the order in which they were submitted."""

    __slots__ = ("_children", "_groups")

    def __init__(self) -> None:
        self._children: dict[str, list[Resting]] = {}
        self._groups: dict[str, list[Resting]] = {}

    def add_child(self, resting: Resting) -> None:
        """Let an order sleep until its entry fills."""
        self._children.setdefault(resting.order.parent, []).append(resting)
        if resting.order.group:
            self.join(resting)

    def join(self, resting: Resting) -> None:
        """Take an order into its group."""
        self._groups.setdefault(resting.order.group, []).append(resting)

    def leave(self, resting: Resting) -> None:
        """Forget an order that has ended."""
        order = resting.order
        if not order.group and not order.parent and not self._children:
            return
        for child in self._children.pop(resting.id, _NOBODY):
            child.resize(child.left - (child.total - child.done))  # it guards what its entry filled
        for families, name in ((self._groups, order.group), (self._children, order.parent)):
            members = families.get(name)
            if members is not None and resting in members:
                members.remove(resting)
                if not members:
                    del families[name]

    def resized(self, resting: Resting, more: Decimal) -> None:
        """Let the children of an entry that was amended become larger or smaller with it."""
        for child in self._children.get(resting.id, _NOBODY):
            child.resize(more)

    def has_children(self, resting: Resting) -> bool:
        """Return whether an order has others that sleep until it fills."""
        return resting.id in self._children

    def others(self, resting: Resting) -> Sequence[Resting]:
        """Return the other members of an order's group."""
        if not resting.order.group:
            return _NOBODY
        return [one for one in self._groups.get(resting.order.group, _NOBODY) if one is not resting]

    def filled(
        self, resting: Resting, quantity: Decimal, woke_in: int, where: int, reports: Reports
    ) -> Sequence[Resting]:
        """Wake the children for what filled, take it from the rest of the group; return those that have ended by it."""
        for child in self._children.get(resting.id, _NOBODY):
            child.left += quantity
            child.woke_in, child.awake_at = woke_in, where
        ended: list[Resting] = []
        for other in self.others(resting):
            left = other.total - other.done
            if not other.order.reduce_only or left <= quantity:
                ended.append(other)
                reports.append(Ended(other.id, "cancelled", f"{resting.id} of its group filled"))
            else:
                other.resize(-quantity)
                other.left = max(other.left - quantity, _ZERO)
                reason = f"{resting.id} of its group filled {quantity}"
                reports.append(Amended(other.id, other.total, other.order.limit, other.order.stop, reason))
        return ended
