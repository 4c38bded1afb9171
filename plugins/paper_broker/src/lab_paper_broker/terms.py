"""What trading one instrument costs, and what is assumed where the market data cannot tell."""

from decimal import Decimal
from typing import Final

from lab import Instrument, Order

from lab_paper_broker.models import Fees, Slippage

_ONE: Final = Decimal(1)
_IMPACT: Final = Decimal("0.5")
_IMPACT_MOST: Final = Decimal(3)
_FACTOR_STEP: Final = Decimal("0.0001")


class Terms:
    """One instrument's rates and slippages as fractions, the assumed ``fills``, and the models that replace them."""

    __slots__ = ("fees", "fills", "instrument", "maker", "quote_slippage", "slippage", "slippage_model", "taker")

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
        self.maker = maker
        self.taker = taker
        self.slippage = slippage
        self.quote_slippage = quote_slippage
        self.fills = fills
        self.fees = fees
        self.slippage_model = slippage_model

    def beyond(self, order: Order, quantity: Decimal, typical: Decimal | None, quoted: bool) -> Decimal:
        """Return the fraction lost beyond the reference price.

        It grows with the quantity's share of what is typical, displayed at the touch or traded in a candle:
        ``× (1 + 0.5 · quantity / typical)``, at most three times.
        """
        if self.slippage_model is not None:
            return self.slippage_model.fraction(order, quantity, typical, quoted)
        fraction = self.quote_slippage if quoted else self.slippage
        if not fraction or not typical:
            return fraction
        factor = _ONE + _IMPACT * quantity / typical
        if factor > _IMPACT_MOST:
            return fraction * _IMPACT_MOST
        return fraction * factor.quantize(_FACTOR_STEP)
