"""The price and quantity steps for a file: set, those of a shipped recording, or inferred from its prices."""

import re
from decimal import Decimal
from typing import Any, Final

from attrs import frozen
from lab.errors import ProviderError
from lab_recordings import Survey, shipped
from lab_recordings.survey import TICK_LIMIT

from lab_replay.price_file import PriceFile

_BASIS_POINT: Final = Decimal("0.0001")
_FINEST_TICK: Final = Decimal("1e-12")
_SET: Final = "set"
_SYMBOL: Final = re.compile(r"[A-Z0-9]{2,10}(USDT|USDC|USD)(?![A-Z0-9])")


@frozen
class Steps:
    """Tick, lot and smallest quantity, and a text on the origin of each."""

    tick: Decimal
    lot: Decimal
    quantity_min: Decimal
    origin: str


def steps_of(source: PriceFile[Any], tick: Decimal | None, lot: Decimal | None, quantity_min: Decimal | None) -> Steps:
    """Return the steps of a file; ``None`` stands for what is not set.

    Raises `ProviderError` with the cure where the tick is more than 5 basis points of the lowest price, because fills
    are rounded to it.
    """
    survey = source.surveyed()
    known = shipped(source.path)
    if known is not None:
        (tick_here, tick_why), (lot_here, lot_why) = ((step, "the recording's") for step in (known.tick, known.lot))
    else:
        (tick_here, tick_why), (lot_here, lot_why) = survey.tick(), survey.lot()
    if tick is not None:
        tick_here, tick_why = tick, _SET
    if lot is not None:
        lot_here, lot_why = lot, _SET
    if tick_here < _FINEST_TICK:
        lowest = f"{Decimal(repr(survey.lowest)):.3g}"
        raise ProviderError(
            f"replay: {source.name}: its prices, from {lowest} on, need a tick below {_FINEST_TICK:f}, "
            "the finest there is; multiply them by a power of ten"
        )
    _refuse_coarse(source.name, survey, tick_here, tick_why)
    least, least_why = (lot_here, "one lot") if quantity_min is None else (quantity_min, _SET)
    origin = f"tick {tick_here:f} ({tick_why}), lot {lot_here:f} ({lot_why}), smallest quantity {least:f} ({least_why})"
    return Steps(tick_here, lot_here, least, origin)


def label_note(source: PriceFile[Any], symbol: str) -> str:
    """Return what is to be said where a file is labelled otherwise than it, or its name, says; else an empty text."""
    known = shipped(source.path)
    named = _SYMBOL.match(source.name.upper())
    said = known.symbol if known is not None else named[0] if named else symbol
    if said == symbol.upper():
        return ""
    return (
        f"; labelled {symbol}, but {source.name} {'is' if known else 'is named'} {said}: --symbol {said} labels it so"
    )


def _refuse_coarse(name: str, survey: Survey, tick: Decimal, why: str) -> None:
    lowest = Decimal(repr(survey.lowest))
    limit = lowest * Decimal(repr(TICK_LIMIT))
    if tick > limit:
        points = (tick / lowest / _BASIS_POINT).normalize()
        raise ProviderError(
            f"replay: {name}: the tick {tick:f} ({why}) is {points:.3g} basis points of the lowest price {lowest:f}, "
            f"and fills are rounded to it; 5 is the most: give --set replay.tick={survey.fine_tick():f}"
        )
