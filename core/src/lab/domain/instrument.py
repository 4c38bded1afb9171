"""The traded instrument, and its price and quantity steps."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from attrs import frozen

from lab.domain.orders import Side


@frozen(kw_only=True)
class Instrument:
    """A linear perpetual contract of one coin: profit is quantity × price difference, in the quote currency.

    Steps and rates are exact. Rates are fractions: ``Decimal("0.0006")`` is 0.06 %.
    """

    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    quantity_min: Decimal
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal
    quantity_max: Decimal | None = None
    leverage_max: int | None = None
    origin: str = ""
    """The steps and, in words, where they come from: ``tick 0.01 (2 decimals in the file)``. It decides nothing."""

    def __attrs_post_init__(self) -> None:
        for name in ("tick", "lot"):
            if not getattr(self, name) > 0:
                raise ValueError(f"instrument {self.symbol}: {name} must be above 0, not {getattr(self, name)}")

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """Return the quantity rounded down to the lot, so that risk is never rounded up."""
        return quantity // self.lot * self.lot

    def price(self, value: float) -> Decimal:
        """Return a market price as exact money, on the nearest tick."""
        return (Decimal(repr(value)) / self.tick).quantize(_ONE, ROUND_HALF_EVEN) * self.tick

    def passive_price(self, price: Decimal, side: Side) -> Decimal:
        """Return a limit on the tick that is no worse for its owner: down for a buy, up for a sell."""
        tick = self.tick
        floor = price // tick * tick  # exact, and three times faster than dividing and rounding
        return floor if side is _BUY or floor == price else floor + tick

    def worse_price(self, price: Decimal, side: Side) -> Decimal:
        """Return a fill price on the tick that is no better for the trader: up for a buy, down for a sell."""
        tick = self.tick
        floor = price // tick * tick
        return floor if side is not _BUY or floor == price else floor + tick


_PLACES: Final = 18
_MOST: Final = Decimal(10**18)
_FIGURES: Final = (
    ("tick", 0, True), ("lot", 0, True), ("quantity_min", 0, False), ("quantity_max", 0, True),
    ("maker_fee_rate", -1, True), ("taker_fee_rate", -1, True),
)  # fmt: skip
"""Each figure's field, its lowest value, and whether that is out of the question. A rate is below 1."""
_BUY = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every order
_ONE = Decimal(1)


def check_instrument(one: Instrument) -> str | None:
    """Return what is wrong with an instrument's fields, or ``None``: the engine's arithmetic relies on all of them."""
    for name in ("symbol", "base", "quote", "origin"):
        text = getattr(one, name)
        if type(text) is not str or not text.isprintable():
            return f"{name} {text!a:.60} is no printable text"
    for name, lowest, is_open in _FIGURES:
        value = getattr(one, name)
        if value is None and name == "quantity_max":
            continue
        if type(value) is not Decimal or not value.is_finite():
            return f"{name} {value!r:.60} is no finite Decimal"
        places = value.as_tuple().exponent
        if isinstance(places, int) and -places > _PLACES:
            return f"{name} has {-places} places; at most {_PLACES} are kept exactly"
        if not lowest <= value < (_ONE if lowest < 0 else _MOST) or (is_open and value == lowest):
            return f"{name} {value:.20} is out of bounds"
    most = one.leverage_max
    if most is not None and (type(most) is not int or most < 1):
        return f"leverage_max {most!r:.60} is no whole number above 0"
    return None
