"""A round trip as a record. Apart from what makes them, because a compiled struct would lose what it promises."""

from decimal import Context, Decimal
from typing import Final

from msgspec import Struct

from lab.domain.instrument import Instrument
from lab.domain.ledger import exact_context

_PRICES: Final = Context(prec=28)
_add: Final = exact_context().add


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
