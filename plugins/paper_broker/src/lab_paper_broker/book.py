"""The book of one symbol as it is displayed: its quote, its deeper levels, and what was taken of them.

Displayed liquidity is there once: what an order of the run took stays taken while its level stands. A level that shows
more than before has that much more to give; one that shows less gives no more than it shows. One that the market passed
is gone, and a new one when it comes back; one that is only hidden, because better prices are displayed and there is no
depth, is remembered for a while. A size of 0 in a quote says that it is not known, and then there is no end to it.
"""

from decimal import Decimal
from typing import Final

from lab import Depth, Quote
from lab.domain.money import as_decimal

_ZERO: Final = Decimal(0)
DEPTH_COUNTS_NS: Final = 1_000_000_000
"""How much older than the quote the deeper levels may be."""
HIDDEN_COUNTS_NS: Final = 10_000_000_000
"""How long a level is remembered that better prices hide."""
_TAKEN_MOST: Final = 64

Level = tuple[float, float]
Taken = tuple[Decimal, Decimal, int]
"""What a level displayed when it was taken of, what was taken, and since when it is hidden, 0 while it is displayed."""


class DisplayedBook:
    """One symbol's newest quote and depth. ``unlimited`` displays no end of liquidity at the touch."""

    __slots__ = ("_depth", "_taken_asks", "_taken_bids", "quote", "unlimited")

    def __init__(self, unlimited: bool) -> None:
        self.unlimited = unlimited
        self.quote: Quote | None = None
        self._depth: Depth | None = None
        self._taken_asks: dict[float, Taken] = {}
        self._taken_bids: dict[float, Taken] = {}

    @property
    def remembers(self) -> bool:
        """Whether it remembers what was taken of a level."""
        return bool(self._taken_asks or self._taken_bids)

    def show_quote(self, quote: Quote) -> None:
        """Take the newest quote."""
        before = self.quote
        self.quote = quote
        if before is None or not (self._taken_asks or self._taken_bids):
            return
        if self._depth is None:
            if self._taken_asks:
                _follow(self._taken_asks, before[4], quote[4], quote[5], quote[1], True)
            if self._taken_bids:
                _follow(self._taken_bids, before[2], quote[2], quote[3], quote[1], False)
        else:
            self._taken_asks = self._standing(self._taken_asks, True)
            self._taken_bids = self._standing(self._taken_bids, False)

    def show(self, quote: Quote, depth: Depth | None) -> None:
        """Take the newest quote and depth of one moment."""
        if depth is self._depth:
            if quote is not self.quote:
                self.show_quote(quote)
            return
        known = self.quote is not None
        self.quote, self._depth = quote, depth
        if known and (self._taken_asks or self._taken_bids):
            self._taken_asks = self._standing(self._taken_asks, True)
            self._taken_bids = self._standing(self._taken_bids, False)

    def show_depth(self, depth: Depth) -> None:
        """Take the newest depth; its best levels are no quote."""
        if depth is self._depth:
            return
        self._depth = depth
        if self._taken_asks:
            self._taken_asks = self._standing(self._taken_asks, True)
        if self._taken_bids:
            self._taken_bids = self._standing(self._taken_bids, False)

    def grow_old(self) -> None:
        """Let what is displayed be in force no more, and what was taken of it be forgotten."""
        quote = self.quote
        if quote is not None:
            self.quote = quote._replace(time_ns=0)
        self._depth = None
        self._taken_asks = {}
        self._taken_bids = {}

    def levels(self, asks: bool) -> list[Level]:
        """Return what is displayed on one side, the touch first: the quote's, then deeper levels that are no older.

        A depth newer than the quote, whose best price is worse, says that the touch is gone.
        """
        quote = self.quote
        assert quote is not None, "only a book with a quote is met"
        touch = (quote[4], quote[5]) if asks else (quote[2], quote[3])
        depth = self._depth
        if depth is None or depth.time_ns + DEPTH_COUNTS_NS < quote[1] or self.unlimited:
            return [touch]
        best = touch[0]
        shown = depth.asks if asks else depth.bids
        deeper = [level for level in shown if (level[0] > best if asks else level[0] < best)]
        if deeper and len(deeper) == len(shown) and depth.time_ns > quote[1]:
            return deeper
        return [touch, *deeper]

    def left(self, price: float, size: float, asks: bool) -> Decimal | None:
        """Return what a displayed level still gives; ``None`` where its size is not known."""
        if self.unlimited or not size:
            return None
        displayed = as_decimal(size)
        taken = self._taken_asks if asks else self._taken_bids
        if not taken:
            return displayed
        before = taken.get(price)
        if before is None:
            return displayed
        left = _left(before, displayed)
        taken[price] = displayed, displayed - left, 0
        return left

    def take(self, price: float, size: float, asks: bool, quantity: Decimal) -> None:
        """Note that a quantity was taken of a level."""
        if self.unlimited or not size:
            return
        taken = self._taken_asks if asks else self._taken_bids
        displayed = as_decimal(size)
        before = taken.get(price)
        taken[price] = displayed, quantity if before is None else before[1] + quantity, 0
        if len(taken) > _TAKEN_MOST:
            del taken[next(iter(taken))]

    def _standing(self, taken: dict[float, Taken], asks: bool) -> dict[float, Taken]:
        """Return what was taken of the levels that stand, against what they display now, and of hidden ones."""
        kept: dict[float, Taken] = {}
        levels, quote = self.levels(asks), self.quote
        assert quote is not None, "only what is displayed is taken"
        now_ns, shown, last = quote[1], dict(levels), levels[-1][0]
        for price, before in taken.items():
            size, since_ns = shown.get(price), before[2] or now_ns
            if now_ns - since_ns > HIDDEN_COUNTS_NS:
                continue
            if size:
                displayed = as_decimal(size)
                kept[price] = displayed, displayed - _left(before, displayed), 0
            elif size is None and (price > last if asks else price < last):
                kept[price] = before[0], before[1], since_ns
        return kept

    def displayed_at(self, price: float, bids: bool) -> Decimal | None:
        """Return what is displayed at one price on one side; ``None`` where that is not known.

        Nothing is displayed inside the spread or, with depth, between its levels; beyond the last level nobody knows.
        """
        last = 0.0
        for level, size in self.levels(not bids):
            if level == price:
                return as_decimal(size) if size else None
            if level < price if bids else level > price:
                return _ZERO
            last = level
        return None if last else _ZERO


def _follow(taken: dict[float, Taken], was: float, price: float, size: float, now_ns: int, asks: bool) -> None:
    """Follow the touch of one side from one price to the next, where there is no depth."""
    if was != price:
        standing = taken.get(was)
        if standing is not None:
            taken[was] = standing[0], standing[1], now_ns
        if was < price if asks else was > price:
            for passed in [one for one in taken if (one < price if asks else one > price)]:
                del taken[passed]
    before = taken.get(price)
    if before is None:
        return
    if not size or (before[2] and now_ns - before[2] > HIDDEN_COUNTS_NS):
        del taken[price]
    else:
        displayed = as_decimal(size)
        taken[price] = displayed, displayed - _left(before, displayed), 0


def _left(before: Taken, displayed: Decimal) -> Decimal:
    """Return what a level gives that displayed and gave as ``before`` says, and displays so much now."""
    shown, gave, _ = before
    left = shown - gave
    return left + displayed - shown if displayed > shown else min(left, displayed)
