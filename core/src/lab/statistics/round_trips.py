"""Round trips, from the fills they are made of: from flat to flat, or to the other side. They are made here only."""

from collections.abc import Collection
from decimal import Context, Decimal
from typing import Final

from msgspec import Struct

from lab.domain.events import FundingPaid, OrderFilled
from lab.domain.ledger import ZERO, exact_context
from lab.domain.orders import Side

_OPEN_MOST: Final = 10_000
_WIDE: Final = exact_context()
_PRICES: Final = Context(prec=28)
_FEE_STEP: Final = Decimal("1e-18")
_BUY: Final = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every fill


class RoundTrip(Struct, frozen=True, gc=False, kw_only=True):
    """A closed round trip of one strategy in one symbol.

    Prices are averages, to 28 digits: Σ quantity × price / Σ quantity, of an inverse contract Σ quantity / Σ (quantity
    / price). ``profit`` is exact: what its fills and its funding did to the cash, with the fees of both sides.
    """

    strategy: str
    symbol: str
    side: str
    """``long`` or ``short``"""
    entry_ns: int
    """time of its first fill"""
    exit_ns: int
    """time of its last"""
    quantity: Decimal
    """all that was entered, which is what was left"""
    entry_price: Decimal
    exit_price: Decimal
    fees: Decimal
    funding: Decimal
    """funding paid while it was open; below 0: received"""
    profit: Decimal


class _Open:
    """A round trip on its way: what was entered and left so far, and what it did to the cash."""

    __slots__ = ("cash", "entered", "entry_ns", "fees", "funding", "left", "long", "paid", "received")

    def __init__(self, long: bool, entry_ns: int) -> None:
        self.long = long
        self.entry_ns = entry_ns
        self.entered = self.paid = self.left = self.received = ZERO
        self.fees = self.cash = self.funding = ZERO


class RoundTrips:
    """Makes round trips out of the fills of a run, in their order. ``inverse`` are the symbols of inverse contracts.

    A position whose beginning it did not see is of no round trip. Of more than 10,000 open at once the newest are not
    followed.
    """

    __slots__ = ("_inverse", "_open")

    def __init__(self, inverse: Collection[str] = ()) -> None:
        self._inverse = frozenset(inverse)
        self._open: dict[tuple[str, str], _Open] = {}

    def __bool__(self) -> bool:
        """Whether any is open."""
        return bool(self._open)

    def take(self, event: OrderFilled) -> RoundTrip | None:
        """Take a fill; return the round trip that it closed.

        A fill that turns the position closes one and opens the next; its fee is shared by quantity, on 1e-18.
        """
        fill, after = event.fill, event.position
        quantity, fee = fill.quantity, fill.fee
        if not quantity > ZERO:
            return None
        buys = event.side is _BUY
        before = _WIDE.subtract(after, quantity) if buys else _WIDE.add(after, quantity)
        key = event.strategy, event.symbol
        trip = self._open.get(key)
        cash = ZERO
        for account, amount in event.postings:
            if account == "cash":
                cash = _WIDE.add(cash, amount)
        if not before:
            trip = self._begin(key, buys, fill.time_ns)
        if trip is None:
            return None
        if trip.long is buys:
            trip.entered = _WIDE.add(trip.entered, quantity)
            trip.paid = _WIDE.add(trip.paid, self._value(event.symbol, quantity, fill.price))
        else:
            turned = bool(after) and (after > ZERO) is buys
            rest = abs(after) if turned else ZERO
            leaving = _WIDE.subtract(quantity, rest)
            share = _WIDE.quantize(_WIDE.divide(_WIDE.multiply(fee, rest), quantity), _FEE_STEP) if rest else ZERO
            trip.left = _WIDE.add(trip.left, leaving)
            trip.received = _WIDE.add(trip.received, self._value(event.symbol, leaving, fill.price))
            if not after or turned:
                trip.fees = _WIDE.add(trip.fees, _WIDE.subtract(fee, share))
                trip.cash = _WIDE.add(trip.cash, _WIDE.add(cash, share))
                del self._open[key]
                if turned:
                    new = self._begin(key, buys, fill.time_ns)
                    assert new is not None  # there is room: one was just closed
                    new.entered, new.fees, new.cash = rest, share, -share
                    new.paid = self._value(event.symbol, rest, fill.price)
                return self._closed(key, trip, fill.time_ns)
        trip.fees = _WIDE.add(trip.fees, fee)
        trip.cash = _WIDE.add(trip.cash, cash)
        return None

    def pay(self, event: FundingPaid) -> None:
        """Take funding that a position paid or received: it is of the round trip that is open."""
        trip = self._open.get((event.strategy, event.symbol))
        if trip is not None:
            trip.funding = _WIDE.add(trip.funding, event.amount)

    def _begin(self, key: tuple[str, str], long: bool, time_ns: int) -> _Open | None:
        if len(self._open) >= _OPEN_MOST:
            return None
        trip = self._open[key] = _Open(long, time_ns)
        return trip

    def _value(self, symbol: str, quantity: Decimal, price: Decimal) -> Decimal:
        return _WIDE.divide(quantity, price) if symbol in self._inverse else _WIDE.multiply(quantity, price)

    def _closed(self, key: tuple[str, str], trip: _Open, exit_ns: int) -> RoundTrip:
        strategy, symbol = key
        sides = ((trip.paid, trip.entered), (trip.received, trip.left))
        if symbol in self._inverse:
            entry, exit_ = (_PRICES.divide(quantity, value) for value, quantity in sides)
        else:
            entry, exit_ = (_PRICES.divide(value, quantity) for value, quantity in sides)
        return RoundTrip(
            strategy=strategy, symbol=symbol, side="long" if trip.long else "short", entry_ns=trip.entry_ns,
            exit_ns=exit_ns, quantity=trip.entered, entry_price=entry, exit_price=exit_, fees=trip.fees,
            funding=trip.funding, profit=_WIDE.subtract(trip.cash, trip.funding),
        )  # fmt: skip
