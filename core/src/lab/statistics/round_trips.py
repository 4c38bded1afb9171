"""Round trips, from the fills they are made of: from flat to flat, or to the other side. They are made here only."""

from decimal import Context, Decimal
from typing import Final

from attrs import define, field
from msgspec import Struct

from lab.domain.events import FundingPaid, OrderFilled
from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO, exact_context
from lab.domain.orders import Side

_OPEN_MOST: Final = 10_000
_PRICES: Final = Context(prec=28)
_FEE_STEP: Final = Decimal("1e-18")
_WIDE: Final = exact_context()
# The context's own methods, whatever context is in force; bound once, because each fill calls several.
_add, _subtract, _multiply = _WIDE.add, _WIDE.subtract, _WIDE.multiply
_BUY: Final = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every fill


class RoundTrip(Struct, frozen=True, gc=False):
    """A round trip of one strategy in one symbol. Money is exact.

    ``quantity`` is all that was entered, ``paid`` and ``received`` are Σ quantity × worth
    (`lab.domain.instrument.Instrument.worth`, the price of a linear contract) of what was entered and left. ``funding``
    is what was paid while it was open, below 0: received; ``profit`` is after it and after the fees of both sides.
    ``fills`` counts the fills that entered or left, the one that turned a position with the round trip it closed;
    ``slippage`` is what they lost against their reference prices. One that is still open has an ``exit_ns`` and a
    ``profit`` of 0.
    """

    strategy: str
    symbol: str
    long: bool
    entry_ns: int
    exit_ns: int
    quantity: Decimal
    paid: Decimal
    received: Decimal
    fees: Decimal
    funding: Decimal
    profit: Decimal
    fills: int
    slippage: Decimal
    instrument: Instrument | None

    @property
    def notional(self) -> Decimal:
        """What its fills traded, in the currency of the money."""
        return _add(self.paid.copy_abs(), self.received.copy_abs())  # abs() would be in a context that is not ours

    @property
    def entry_price(self) -> Decimal:
        """The average price of what was entered, to 28 digits."""
        return self._price(self.paid)

    @property
    def exit_price(self) -> Decimal:
        """The average price of what was left, to 28 digits, of a closed one."""
        return self._price(self.received)

    def _price(self, value: Decimal) -> Decimal:
        average = _PRICES.divide(value, self.quantity)
        return average if self.instrument is None else _PRICES.plus(self.instrument.price_of(average))


class _Open:
    """A round trip on its way: what was entered and left, each with Σ quantity × worth, and what it cost."""

    __slots__ = (
        "entered",
        "entry_ns",
        "fees",
        "fills",
        "funding",
        "instrument",
        "long",
        "paid",
        "received",
        "slippage",
    )

    def __init__(self, long: bool, entry_ns: int, instrument: Instrument | None) -> None:
        self.long = long
        self.entry_ns = entry_ns
        self.instrument = instrument
        self.fills = 0
        self.entered = self.paid = self.received = self.fees = self.funding = self.slippage = ZERO

    def cost(self, quantity: Decimal, fee: Decimal, slip: Decimal) -> None:
        """Add what a fill cost: its fee, and what each contract lost against the reference price."""
        self.fees = _add(self.fees, fee)
        if slip:
            self.slippage = _add(self.slippage, _multiply(quantity, slip))


@define
class RoundTrips:
    """Makes round trips out of the fills of a run, in their order.

    A position whose beginning it did not see is of no round trip. Of more than 10,000 open at once the newest are not
    followed.
    """

    _open: dict[tuple[str, str], _Open] = field(init=False, factory=dict)
    _held_ns: int = field(init=False, default=0)
    _held_since_ns: int = field(init=False, default=0)

    def take(self, event: OrderFilled, instrument: Instrument | None = None) -> RoundTrip | None:
        """Take a fill of an instrument; return the round trip that it closed. ``None`` stands for any linear contract.

        A fill that turns the position closes one and opens the next; fee and slippage are shared by quantity, the fee
        on 1e-18.
        """
        fill, after = event.fill, event.position
        quantity, price, fee = fill.quantity, fill.price, fill.fee
        if not quantity > ZERO:
            return None
        buys = event.side is _BUY
        key = event.strategy, event.symbol
        trip = self._open.get(key)
        if trip is None:
            if (_subtract(after, quantity) if buys else _add(after, quantity)) or len(self._open) >= _OPEN_MOST:
                return None
            if not self._open:
                self._held_since_ns = fill.time_ns
            trip = self._open[key] = _Open(buys, fill.time_ns, instrument)
        worth, slip = price, fill.slippage
        if instrument is not None and instrument.contract == "inverse":
            worth = instrument.worth(price)
            slip = _subtract(worth, instrument.worth(fill.reference)).copy_abs()
        trip.fills += 1
        if trip.long is buys:
            trip.entered = _add(trip.entered, quantity)
            trip.paid = _add(trip.paid, _multiply(quantity, worth))
            trip.cost(quantity, fee, slip)
            return None
        turned = bool(after) and (after > ZERO) is buys
        rest, share = ZERO, ZERO
        if turned:
            rest = after.copy_abs()
            share = _WIDE.quantize(_WIDE.divide(_multiply(fee, rest), quantity), _FEE_STEP)
            quantity, fee = _subtract(quantity, rest), _subtract(fee, share)
        trip.received = _add(trip.received, _multiply(quantity, worth))
        trip.cost(quantity, fee, slip)
        if after and not turned:
            return None
        if turned:
            new = self._open[key] = _Open(buys, fill.time_ns, instrument)
            new.entered, new.paid = rest, _multiply(rest, worth)
            new.cost(rest, share, slip)
        else:
            del self._open[key]
            if not self._open:
                self._held_ns += max(fill.time_ns - self._held_since_ns, 0)
        return _trip(key, trip, fill.time_ns)

    def held_ns(self, now_ns: int) -> int:
        """Return for how long any was open until now: time in which several were counts once."""
        return self._held_ns + (max(now_ns - self._held_since_ns, 0) if self._open else 0)

    def pay(self, event: FundingPaid) -> None:
        """Take funding that a position paid or received: it is of the round trip that is open."""
        trip = self._open.get((event.strategy, event.symbol))
        if trip is not None:
            trip.funding = _add(trip.funding, event.amount)

    def open(self) -> list[RoundTrip]:
        """Return those that are still open, in the order they began."""
        return [_trip(key, trip, 0) for key, trip in self._open.items()]


def _trip(key: tuple[str, str], trip: _Open, exit_ns: int) -> RoundTrip:
    paid, received = trip.paid, trip.received
    gained = _subtract(received, paid) if trip.long else _subtract(paid, received)
    profit = _subtract(gained, _add(trip.fees, trip.funding)) if exit_ns else ZERO
    strategy, symbol = key
    return RoundTrip(
        strategy, symbol, trip.long, trip.entry_ns, exit_ns, trip.entered, paid, received, trip.fees, trip.funding,
        profit, trip.fills, trip.slippage, trip.instrument,
    )  # fmt: skip
