"""A position of one book in one symbol."""

from decimal import Decimal
from typing import Final

from msgspec import Struct

_NOTHING: Final = Decimal(0)


class Position(Struct, frozen=True, gc=False):
    """Signed quantity (above 0 is long) and its cost: the signed sum of quantity × price of what is still held.

    Of an inverse contract the cost is in the base coin: the sum of quantity × `lab.domain.instrument.Instrument.worth`.
    """

    quantity: Decimal = _NOTHING
    cost: Decimal = _NOTHING

    @property
    def price(self) -> Decimal:
        """The average entry price, for display: a quotient, so not exact. 0 when flat.

        Of an inverse contract it is the worth at entry: `lab.View.entry_price` gives the price of either.
        """
        return self.cost / self.quantity if self.quantity else _NOTHING


FLAT: Final = Position()
