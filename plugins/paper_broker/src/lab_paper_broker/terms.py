"""What trading one instrument costs, and what is assumed where the market data cannot tell."""

from decimal import Decimal
from typing import Final

from lab import Instrument, Order
from lab.domain.money import as_decimal

from lab_paper_broker.models import Fees, Slippage

_IMPACT_MOST: Final = Decimal(3)


class Terms:
    """One instrument's rates and slippages as fractions, the assumed ``fills``, and the models that replace them."""

    __slots__ = (
        "fees",
        "fills",
        "instrument",
        "linear",
        "maker",
        "quote_slippage",
        "slippage",
        "slippage_model",
        "taker",
    )

    def __init__(
        self,
        instrument: Instrument,
        maker: Decimal,
        taker: Decimal,
        slippage: Decimal,
        quote_slippage: Decimal,
        fills: str = "expected",
        fees: Fees | None = None,
        slippage_model: Slippage | None = None,
    ) -> None:
        self.instrument = instrument
        self.linear = instrument.contract == "linear"
        self.maker = maker
        self.taker = taker
        self.slippage = slippage
        self.quote_slippage = quote_slippage
        self.fills = fills
        self.fees = fees
        self.slippage_model = slippage_model

    def beyond(self, order: Order, quantity: Decimal, typical: float, quoted: bool) -> Decimal:
        """Return the fraction lost beyond the reference price.

        It grows with the quantity's share of what is typical, displayed at the touch or traded in a candle; 0: that is
        not known. ``× (1 + 0.5 · quantity / typical)``, to four decimals, at most three times.
        """
        if self.slippage_model is not None:
            return self.slippage_model.fraction(order, quantity, as_decimal(typical) if typical else None, quoted)
        fraction = self.quote_slippage if quoted else self.slippage
        if not typical or not fraction:
            return fraction
        factor = 1.0 + 0.5 * float(quantity) / typical
        if factor < 1.00005:
            return fraction
        return fraction * (_IMPACT_MOST if factor > 3.0 else as_decimal(round(factor, 4)))
