"""A working order of the paper broker: what it waits for, and what is left of it."""

from decimal import Decimal
from typing import Final

from lab import Order, OrderType, Side, TimeInForce
from lab.domain.money import as_decimal
from msgspec.structs import astuple

# Python 3.11 looks an enum's member up in 90 ns.
_BUY: Final = Side.BUY
_MARKET: Final = OrderType.MARKET
_LIMIT: Final = OrderType.LIMIT
_STOP_LIMIT: Final = OrderType.STOP_LIMIT
_TAKE_PROFIT: Final = OrderType.TAKE_PROFIT
_TRAILING: Final = OrderType.TRAILING_STOP
_IOC: Final = TimeInForce.IOC
_FOK: Final = TimeInForce.FOK
_ZERO: Final = Decimal(0)
_astuple: Final = astuple  # compiled code reads a name that is Final at once, and looks any other up in its module

# How far inside a candle an entry filled, for the orders that guard it: not at all, and everything that is behind.
AT_OPEN: Final = 1
INSIDE: Final = 2
AT_CLOSE: Final = 3


class Resting:
    """One working order.

    ``waits`` says that a level is still to be reached, ``rises`` that the price comes to it from below, ``takes`` that
    it is or becomes a market order. ``left`` may fill now; ``total`` is its whole quantity, ``size`` the same as
    a float, and ``done`` what filled.
    ``woken`` is how much of an order with an entry may fill in sum, and ``shrunk`` by how much others than its
    amendments made it smaller: its group, or its entry. ``first``
    says that it has not met the market. ``ahead`` is the queue before it, ``None`` before it rests; ``unseen`` says
    that its level was never displayed, so that nobody knows the queue. ``sent_ns`` and ``since_ns`` are when its prices
    were sent and arrived: with the order, or with an amendment. ``holder`` is whose position of which symbol it
    changes, ``reduces`` says that it may only make that smaller, and ``hidden`` is what of ``left`` would not.

    What does not change of the order is copied: a look-up in `Order` costs much more than one here.
    """

    __slots__ = (
        "age_ns", "ahead", "arrived", "awake_at", "best", "buys", "crosses", "decided_at", "done", "eligible_ns",
        "ended", "entry_rises", "first", "group", "hidden", "holder", "id", "immediate", "leaves", "left", "level",
        "limit", "order", "parent", "queue", "reduces", "rises", "seen_n", "sent_ns", "shrunk", "since_ns", "size",
        "symbol", "takes", "total", "trails", "unseen", "waits", "whole", "woke_in", "woke_ns", "woken",
    )  # fmt: skip

    def __init__(self, order: Order, eligible_ns: int) -> None:
        # All fields in one call: a look-up of each costs more.
        (
            oid, strategy, symbol, side, quantity, kind, limit, reduce_only, placed_ns, _, _, stop, _, _, time_in_force,
            _, parent, group,
        ) = _astuple(order)  # fmt: skip
        self.order = order
        self.id: str = oid
        self.symbol: str = symbol
        self.holder = (strategy, symbol)
        self.reduces: bool = reduce_only
        self.parent: str = parent
        self.group: str = group
        self.eligible_ns = self.since_ns = eligible_ns
        self.sent_ns: int = placed_ns
        self.buys = side is _BUY
        self.takes = kind is not _LIMIT and kind is not _STOP_LIMIT
        self.waits = kind is not _MARKET and kind is not _LIMIT
        self.trails = kind is _TRAILING
        self.rises = self.buys is not (kind is _TAKE_PROFIT)
        self.limit = 0.0 if limit is None else float(limit)
        self.level = 0.0 if stop is None else float(stop)
        self.immediate = time_in_force is _IOC or time_in_force is _FOK
        self.whole = time_in_force is _FOK
        self.total: Decimal = quantity
        self.size = float(quantity)
        self.hidden = _ZERO
        self.done = _ZERO
        self.shrunk = _ZERO
        self.woken: Decimal | None = _ZERO if parent else None
        self.left: Decimal = quantity if not parent else _ZERO
        self.arrived = False
        self.ended = False
        self.leaves = False  # it expires inside the candle that comes, and meets its open only
        self.first = True
        self.crosses = False  # it was marketable when it came, and what was there was not enough
        self.age_ns = 0
        self.best = 0.0
        self.decided_at = 0.0
        self.ahead: Decimal | None = None
        self.queue: Decimal | None = None
        self.unseen = False
        self.seen_n = 0
        self.awake_at = 0  # where in a candle its entry filled: AT_OPEN, INSIDE, AT_CLOSE; 0: it has no entry
        self.woke_in = -1  # the open time of that candle, or the number of that event
        self.woke_ns = -1  # the time of that fill
        self.entry_rises = False

    def amend(self, order: Order, sent_ns: int, arrival_ns: int) -> None:
        """Take other figures. Another price or a larger quantity loses the place in the queue."""
        if order.limit != self.order.limit or order.stop != self.order.stop:
            self.sent_ns, self.since_ns = sent_ns, arrival_ns
        if order.limit != self.order.limit or order.quantity > self.total:
            self.ahead = None
            self.first = self.first or order.limit != self.order.limit
        self.set_total(order.quantity)
        self.limit = 0.0 if order.limit is None else float(order.limit)
        if not self.trails:
            self.level = 0.0 if order.stop is None else float(order.stop)
        self.order = order

    def set_total(self, total: Decimal) -> None:
        """Take another whole quantity. One that has an entry works for no more than that filled."""
        self.total, self.size = total, float(total)
        woken = self.woken
        self.left = (total if woken is None or woken > total else woken) - self.done

    def wake(self, quantity: Decimal) -> None:
        """Let an order that has an entry work for so much more."""
        assert self.woken is not None, f"{self.id} has no entry"
        self.woken += quantity
        self.set_total(self.total)

    def resize(self, more: Decimal) -> None:
        """Become larger or smaller with its entry; an amendment on its way does so, too."""
        self.shrunk -= more
        self.set_total(self.total + more)

    def outlive(self) -> None:
        """Work on for what its entry filled: that has ended."""
        if self.woken is not None and self.woken < self.total:
            self.resize(self.woken - self.total)

    def give_up(self, quantity: Decimal) -> None:
        """Give a quantity up to another order of the group."""
        self.shrunk += quantity
        if self.woken is not None:
            self.woken = max(self.woken - quantity, self.done)
        self.set_total(self.total - quantity)

    def fill(self, quantity: Decimal) -> None:
        """Count a fill."""
        self.left -= quantity
        self.done += quantity

    def show(self) -> None:
        """Have left again what was hidden from the market."""
        if self.hidden:
            self.left += self.hidden
            self.hidden = _ZERO

    def follow(self, price: float) -> None:
        """Let a trailing stop follow the best price; its level never goes back."""
        if not self.best or (price < self.best if self.buys else price > self.best):
            self.best = price
            trail = self.order.trail
            assert trail is not None, f"{self.id} trails without a distance"  # submit refuses one
            self.level = float(as_decimal(price) + trail if self.buys else as_decimal(price) - trail)
