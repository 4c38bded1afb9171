"""What trading one instrument costs, and what is assumed where the market data cannot tell."""

from decimal import Decimal
from typing import Final

from lab import Instrument, Order
from lab.domain.money import as_decimal

from lab_paper_broker.models import Fees, Slippage
from lab_paper_broker.resting import Resting

_PLACES: Final = 18
_IMPACT_MOST: Final = Decimal(3)
_FELT: Final = 1.00005
"""The least factor that is above 1 to four decimals."""


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

    def fee_rate(self, order: Order, liquidity: str) -> Decimal:
        """Return the fee rate that the model of fees gives. Raises ``TypeError`` naming it, where that is none."""
        assert self.fees is not None, "asked for where there is a model"
        rate = self.fees.rate(order, liquidity)
        if type(rate) is not Decimal or not rate.is_finite() or not -1 < rate < 1 or rate != round(rate, _PLACES):
            what = f"{rate!r:.60} ({type(rate).__name__})"
            raise TypeError(
                f"fee_model: rate() gave {what}; expected a fraction as Decimal with at most {_PLACES} decimals, such "
                "as Decimal('0.0006')"
            )
        return rate

    def beyond(self, resting: Resting, quantity: Decimal, typical: float, quoted: bool) -> Decimal:
        """Return the fraction lost beyond the reference price.

        It grows with the quantity's share of what is typical, displayed at the touch or traded in a candle; 0: that is
        not known. ``× (1 + 0.5 · quantity / typical)``, to four decimals, at most three times.
        """
        if self.slippage_model is not None:
            known = as_decimal(typical) if typical else None
            fraction = self.slippage_model.fraction(resting.order, quantity, known, quoted)
            if type(fraction) is not Decimal or not fraction.is_finite() or not 0 <= fraction < 1:
                what = f"{fraction!r:.60} ({type(fraction).__name__})"
                raise TypeError(f"slippage_model: fraction() gave {what}; expected a Decimal from 0 to under 1")
            return fraction
        fraction = self.quote_slippage if quoted else self.slippage
        if not typical or not fraction or 1.0 + 0.5 * resting.size / typical < _FELT:
            return fraction  # not even the whole order is felt
        factor = 1.0 + 0.5 * float(quantity) / typical
        if factor < _FELT:
            return fraction
        return fraction * (_IMPACT_MOST if factor > 3.0 else as_decimal(round(factor, 4)))
