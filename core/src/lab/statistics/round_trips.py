"""Round trips, from the fills they are made of: from flat to flat, or to the other side. They are made here only."""

from decimal import Decimal, getcontext, setcontext
from typing import Final

from msgspec.structs import astuple

from lab.domain.events import FundingPaid, OrderFilled
from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO, exact_context
from lab.domain.orders import Side
from lab.statistics.round_trip import RoundTrip

_OPEN_MOST: Final = 10_000
_FEE_STEP: Final = Decimal("1e-18")
EXACTLY: Final = exact_context()
"""The context that whoever takes many fills sets once: an operator costs half of what a context's method does."""
_astuple: Final = astuple
_BUY: Final = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every fill


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
        self.fees += fee
        if slip:
            self.slippage += quantity * slip


class RoundTrips:
    """Makes round trips out of the fills of a run, in their order.

    A position whose beginning it did not see is of no round trip. Of more than 10,000 open at once the newest are not
    followed.
    """

    __slots__ = ("_held_ns", "_held_since_ns", "_open", "_open_most")

    def __init__(self, open_most: int = _OPEN_MOST) -> None:
        self._open: dict[tuple[str, str], _Open] = {}
        self._open_most = open_most
        self._held_ns = self._held_since_ns = 0

    def take(self, event: OrderFilled, instrument: Instrument | None = None) -> RoundTrip | None:
        """Take a fill of an instrument; return the round trip that it closed. ``None`` stands for any linear contract.

        A fill that turns the position closes one and opens the next; fee and slippage are shared by quantity, the fee
        on 1e-18. Exact whatever decimal context is in force.
        """
        before = getcontext()
        setcontext(EXACTLY)
        try:
            return self.take_exactly(event, instrument)
        finally:
            setcontext(before)

    def take_exactly(self, event: OrderFilled, instrument: Instrument | None) -> RoundTrip | None:
        """Do what `take` does, where `EXACTLY` is in force."""
        after = event.position
        # All fields in one call: a look-up of each costs more.
        _, quantity, price, fee, _, _, _, reference, _, slip, time_ns, _, _, _, _, _ = _astuple(event.fill)
        if not quantity > ZERO:
            return None
        buys = event.side is _BUY
        key = event.strategy, event.symbol
        trip = self._open.get(key)
        if trip is None:
            if (after - quantity if buys else after + quantity) or len(self._open) >= self._open_most:
                return None
            if not self._open:
                self._held_since_ns = time_ns
            trip = self._open[key] = _Open(buys, time_ns, instrument)
        worth = price
        if instrument is not None and instrument.contract == "inverse":
            worth = instrument.worth(price)
            slip = abs(worth - instrument.worth(reference))
        trip.fills += 1
        if trip.long is buys:
            trip.entered += quantity
            trip.paid += quantity * worth
            trip.cost(quantity, fee, slip)
            return None
        turned = bool(after) and (after > ZERO) is buys
        rest, share = ZERO, ZERO
        if turned:
            rest = after.copy_abs()
            share = (fee * rest / quantity).quantize(_FEE_STEP)
            quantity, fee = quantity - rest, fee - share
        trip.received += quantity * worth
        trip.cost(quantity, fee, slip)
        if after and not turned:
            return None
        if turned:
            new = self._open[key] = _Open(buys, time_ns, instrument)
            new.entered, new.paid = rest, rest * worth
            new.cost(rest, share, slip)
        else:
            del self._open[key]
            if not self._open:
                self._held_ns += max(time_ns - self._held_since_ns, 0)
        return _trip(key, trip, time_ns)

    def held_ns(self, now_ns: int) -> int:
        """Return for how long any was open until now: time in which several were counts once."""
        return self._held_ns + (max(now_ns - self._held_since_ns, 0) if self._open else 0)

    def pay(self, event: FundingPaid) -> None:
        """Take funding that a position paid or received: it is of the round trip that is open."""
        trip = self._open.get((event.strategy, event.symbol))
        if trip is not None:
            trip.funding = EXACTLY.add(trip.funding, event.amount)

    def open(self) -> list[RoundTrip]:
        """Return those that are still open, in the order they began."""
        return [_trip(key, trip, 0) for key, trip in self._open.items()]


def _trip(key: tuple[str, str], trip: _Open, exit_ns: int) -> RoundTrip:
    paid, received = trip.paid, trip.received
    profit = ZERO
    if exit_ns:
        profit = (received - paid if trip.long else paid - received) - (trip.fees + trip.funding)
    strategy, symbol = key
    return RoundTrip(
        strategy, symbol, trip.long, trip.entry_ns, exit_ns, trip.entered, paid, received, trip.fees, trip.funding,
        profit, trip.fills, trip.slippage, trip.instrument,
    )  # fmt: skip
