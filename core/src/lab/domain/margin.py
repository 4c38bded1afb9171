"""Margin: what a position needs to be kept open, and the price at which that is no longer there. Pure arithmetic."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Final, Literal, TypeVar

from lab.domain.instrument import Instrument, MarginTier

MarginMode = Literal["cross", "isolated"]
MARGIN_MODES: Final = ("cross", "isolated")
AccountMode = Literal["separate", "shared"]
ACCOUNT_MODES: Final = ("separate", "shared")

N = TypeVar("N", float, Decimal)
TierFigures = tuple[N, N, N, N]
"""Notional from and to, maintenance rate and deduction of one tier: exact, or as floats to look ahead with."""

ENDLESS: Final = Decimal("Infinity")
_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_STEP: Final = Decimal("1e-10")


def tier_of(tiers: Sequence[MarginTier], notional: Decimal) -> MarginTier:
    """Return the tier a notional lies in; where one ends, the next has begun."""
    for tier in reversed(tiers):
        if notional >= tier.notional_from:
            return tier
    return tiers[0]


def maintenance_margin(tiers: Sequence[MarginTier], notional: Decimal) -> Decimal:
    """Return the maintenance margin of a position of this notional."""
    tier = tier_of(tiers, notional)
    return notional * tier.maintenance_rate - tier.deduction


def initial_margin(cost: Decimal, leverage: Decimal) -> Decimal:
    """Return the margin that an isolated position was given: its notional at entry / leverage, on 1e-10."""
    return _WIDE.quantize(_WIDE.divide(abs(cost), leverage), _STEP)


def notional_most(tiers: Sequence[MarginTier], leverage: Decimal) -> Decimal | None:
    """Return the notional from which on the venue does not give this leverage; ``None`` where it always does."""
    for tier in tiers:
        if tier.leverage_max is not None and leverage > tier.leverage_max:
            return tier.notional_from
    return None


def figures_of(tiers: Sequence[MarginTier]) -> tuple[TierFigures[Decimal], ...]:
    """Return the figures of each tier, for `breach_notional`."""
    return tuple(
        (tier.notional_from, tier.notional_to or ENDLESS, tier.maintenance_rate, tier.deduction) for tier in tiers
    )


def breach_notional(aside: Decimal, *, falls: bool, tiers: Sequence[TierFigures[Decimal]]) -> Decimal | None:
    """Return the notional at which a margin balance is down to the maintenance margin; ``None``: at none.

    The balance is ``aside`` + notional where a loss lets the notional fall (``falls``: a linear long, an inverse
    short), ``aside`` − notional where it lets it rise. The answer is the first that is reached on the way of the loss.
    """
    if falls:
        for begins, _, rate, deduction in reversed(tiers):
            level = -(aside + deduction) / (1 - rate)
            if level >= begins and level > 0:
                return level  # it lies in this tier: margin never falls as notional rises
        return None
    for begins, ends, rate, deduction in tiers:
        level = (aside + deduction) / (1 + rate)
        if level < ends:
            return max(level, begins)
    return None  # pragma: no cover - the last tier has no end


def breach_price(instrument: Instrument, quantity: Decimal, aside: Decimal) -> Decimal | None:
    """Return the mark at which a position of a signed quantity is liquidated, on 1e-10; ``None``: at none above 0.

    ``aside`` is what backs it beside its own notional: the margin (its own, or what cross margin leaves it) less the
    signed cost.
    """
    linear = instrument.contract == "linear"
    with localcontext(_WIDE):
        notional = breach_notional(aside, falls=(quantity > 0) is linear, tiers=figures_of(instrument.tiers))
        if notional is None or notional <= 0:
            return None
        size = abs(quantity)
        price = notional / size if linear else size * instrument.contract_value / notional
        return price.quantize(_STEP)
