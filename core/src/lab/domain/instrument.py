"""The traded instrument, and its price and quantity steps."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, Literal

from attrs import frozen

from lab.domain.calendar import check_calendar
from lab.domain.money import step_down, step_up
from lab.domain.orders import Side

Contract = Literal["linear", "inverse"]


@frozen(kw_only=True)
class MarginTier:
    """One step of a venue's margin table: what a position of a notional from ``notional_from`` up to ``notional_to``
    needs. Notional is in the currency of the money; ``notional_to`` is ``None`` in the last tier, which has no end.

    Maintenance margin is notional × ``maintenance_rate`` − ``deduction``, of the whole notional. Venues whose rates
    count for the part in a tier only state the deduction that makes up for it; for the others it is 0.
    """

    notional_from: Decimal = Decimal(0)
    notional_to: Decimal | None = None
    leverage_max: int | None = None
    maintenance_rate: Decimal = Decimal("0.005")
    deduction: Decimal = Decimal(0)


ASSUMED_TIERS: Final = (MarginTier(leverage_max=100),)
"""What counts where a venue's margin tiers are not known: 0.5 % of the notional, at most 100 times leverage."""


@frozen(kw_only=True)
class Instrument:
    """A perpetual contract. Steps and rates are exact. Rates are fractions: ``Decimal("0.0006")`` is 0.06 %.

    A ``linear`` contract is one coin: profit is quantity × (exit − entry), and money is in the quote currency. An
    ``inverse`` one is worth ``contract_value`` of the quote currency at every price: profit is quantity ×
    ``contract_value`` × (1 / entry − 1 / exit), and money (deposits, fees, margin too) is in the base coin.
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
    contract: Contract = "linear"
    contract_value: Decimal = Decimal(1)
    """What one inverse contract is worth in the quote currency; 1 of a linear one, which is one coin."""
    tiers: tuple[MarginTier, ...] = ASSUMED_TIERS
    """The venue's margin table, from notional 0 on without a hole; maintenance margin never falls as notional rises."""
    liquidation_fee_rate: Decimal = Decimal(0)
    """What the venue takes of the notional that it liquidates, beside the fee of the fill."""
    calendar: str = ""
    """When the market is open, as `lab.domain.calendar` has it; empty: around the clock."""
    origin: str = ""
    """The steps and, in words, where they come from: ``tick 0.01 (2 decimals in the file)``. It decides nothing."""

    def __attrs_post_init__(self) -> None:
        for name in ("tick", "lot"):
            if not getattr(self, name) > 0:
                raise ValueError(f"instrument {self.symbol}: {name} must be above 0, not {getattr(self, name)}")

    @property
    def currency(self) -> str:
        """The currency of the money: the quote of a linear contract, the base coin of an inverse one."""
        return self.quote if self.contract == "linear" else self.base

    @property
    def leverage_most(self) -> int | None:
        """The highest leverage of all, which is that of the smallest positions; ``None`` where none is known."""
        known = [most for most in (self.leverage_max, self.tiers[0].leverage_max) if most is not None]
        return min(known, default=None)

    def worth(self, price: Decimal) -> Decimal:
        """Return what a contract counts for at a price: profit is quantity × (worth at exit − worth at entry).

        That is the price of a linear contract, and −``contract_value`` / price of an inverse one, on 1e-18.
        """
        if self.contract == "linear":
            return price
        return -_WIDE.quantize(_WIDE.divide(self.contract_value, price), _WORTH_STEP)

    def price_of(self, worth: Decimal) -> Decimal:
        """Return the price at which a contract counts for ``worth``: the average entry price of cost / quantity.

        It is a quotient, so not exact. 0 stays 0.
        """
        return worth if self.contract == "linear" or not worth else -self.contract_value / worth

    def notional(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return what a quantity is worth at a price, 0 or more, in the currency of the money."""
        return abs(quantity * (price if self.contract == "linear" else self.worth(price)))

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """Return the quantity rounded down to the lot, so that risk is never rounded up."""
        return step_down(quantity, self.lot)

    def price(self, value: float) -> Decimal:
        """Return a market price as exact money, on the nearest tick."""
        return (Decimal(repr(value)) / self.tick).quantize(_ONE, ROUND_HALF_EVEN) * self.tick

    def passive_price(self, price: Decimal, side: Side) -> Decimal:
        """Return a limit on the tick that is no worse for its owner: down for a buy, up for a sell."""
        return step_down(price, self.tick) if side is _BUY else step_up(price, self.tick)

    def worse_price(self, price: Decimal, side: Side) -> Decimal:
        """Return a fill price on the tick that is no better for the trader: up for a buy, down for a sell."""
        return step_up(price, self.tick) if side is _BUY else step_down(price, self.tick)


_PLACES: Final = 18
_MOST: Final = Decimal(10**18)
_FIGURES: Final = (
    ("tick", 0, True), ("lot", 0, True), ("quantity_min", 0, False), ("quantity_max", 0, True),
    ("maker_fee_rate", -1, True), ("taker_fee_rate", -1, True), ("contract_value", 0, True),
    ("liquidation_fee_rate", 0, False),
)  # fmt: skip
"""Each figure's field, its lowest value, and whether that is out of the question. A rate is below 1."""
_TIERS_MOST: Final = 100
_WIDE: Final = Context(prec=100, rounding=ROUND_HALF_EVEN)
_WORTH_STEP: Final = Decimal("1e-18")
_BUY = Side.BUY  # Python 3.11 looks an enum's member up in 90 ns: too long for every order
_ONE = Decimal(1)


def check_instrument(one: Instrument) -> str | None:
    """Return what is wrong with an instrument's fields, or ``None``: the engine's arithmetic relies on all of them."""
    for name in ("symbol", "base", "quote", "calendar", "origin"):
        text = getattr(one, name)
        if type(text) is not str or not text.isprintable():
            return f"{name} {text!a:.60} is no printable text"
    try:
        check_calendar(one.calendar)
    except ValueError as error:
        return str(error)
    for name, lowest, is_open in _FIGURES:
        value = getattr(one, name)
        if value is None and name == "quantity_max":
            continue
        problem = _figure(name, value)
        if problem is not None:
            return problem
        if not lowest <= value < (_ONE if name.endswith("_rate") else _MOST) or (is_open and value == lowest):
            return f"{name} {value:.20} is out of bounds"
    if not _leverage(one.leverage_max):
        return f"leverage_max {one.leverage_max!r:.60} is no whole number above 0"
    if one.contract not in ("linear", "inverse"):
        return f"contract {one.contract!r:.60} is neither linear nor inverse"
    if one.contract == "linear" and one.contract_value != _ONE:
        return f"contract_value {one.contract_value:.20} is that of an inverse contract: a linear one is one coin"
    return _check_tiers(one.tiers)


def _leverage(most: object) -> bool:
    return most is None or (type(most) is int and most >= 1)


def _figure(name: str, value: object) -> str | None:
    if type(value) is not Decimal or not value.is_finite():
        return f"{name} {value!r:.60} is no finite Decimal"
    places = value.as_tuple().exponent
    if isinstance(places, int) and -places > _PLACES:
        return f"{name} has {-places} places; at most {_PLACES} are kept exactly"
    return None


def _check_tiers(tiers: object) -> str | None:
    """Return what is wrong with a margin table, or ``None``: it covers every notional once, and never falls."""
    if type(tiers) is not tuple or not 1 <= len(tiers) <= _TIERS_MOST:
        return f"tiers {tiers!r:.60} are no tuple of 1 to {_TIERS_MOST} MarginTier"
    begins, margin = Decimal(0), Decimal(0)
    for number, tier in enumerate(tiers, 1):
        problem = _check_tier(tier, begins, margin, is_last=number == len(tiers))
        if problem is not None:
            return f"tier {number}: {problem}"
        if tier.notional_to is not None:
            begins = tier.notional_to
            margin = begins * tier.maintenance_rate - tier.deduction
    return None


def _check_tier(tier: object, begins: Decimal, margin: Decimal, *, is_last: bool) -> str | None:
    """Return what is wrong with a tier that is to begin at a notional, where that below it needs this margin."""
    if type(tier) is not MarginTier:
        return f"{tier!r:.60} is no MarginTier"
    figures: dict[str, object] = {"notional_from": tier.notional_from, "maintenance_rate": tier.maintenance_rate}
    figures["deduction"] = tier.deduction
    if not is_last:
        figures["notional_to"] = tier.notional_to
    elif tier.notional_to is not None:
        return "notional_to is for a tier that another one follows: the last has no end"
    problem = next((text for name, value in figures.items() if (text := _figure(name, value)) is not None), None)
    if problem is not None:
        return problem
    if tier.notional_from != begins:
        return f"notional_from is {tier.notional_from:.20}; expected {begins:.20}, where the tier below it ends"
    if tier.notional_to is not None and not begins < tier.notional_to < _MOST:
        return f"notional_to {tier.notional_to:.20} is out of bounds"
    if not 0 <= tier.maintenance_rate < 1 or not 0 <= tier.deduction < _MOST:
        return f"maintenance_rate {tier.maintenance_rate:.20}, deduction {tier.deduction:.20}: out of bounds"
    if begins * tier.maintenance_rate - tier.deduction < margin:
        return f"it needs less margin at {begins:.20} than the tier below it"
    if not _leverage(tier.leverage_max):
        return f"leverage_max {tier.leverage_max!r:.60} is no whole number above 0"
    return None
