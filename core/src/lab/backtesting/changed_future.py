"""Another future for recorded inputs: prices scaled, values in another order; times and kinds stay where they are.

Everything drawn follows from a seed and a label, in every process alike. No clock, no generator with a state.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final, Literal

from lab.domain.inputs import Input
from lab.domain.market import Backfill, Candle, Depth, Funding, MarketData, Quote, Trade

Future = Literal["ended", "scaled", "mirrored", "shuffled"]
FUTURES: Final[tuple[Future, ...]] = ("ended", "scaled", "mirrored", "shuffled")
"""``ended``: nothing comes any more. ``scaled``: each price times its own factor of 0.5 to 1.5. ``mirrored``: times 2
minus that factor, so that of the two one is higher and one lower than what was. ``shuffled``: the values in another
order."""
STRETCH: Final = 4096
"""How many inputs or rows are put into another order at once, which bounds the memory."""

Draw = Callable[[int], float]
_FIGURES_FROM: Final[dict[type, int]] = {Candle: 3, Quote: 2, Trade: 2, Depth: 2}


def draw_of(seed: int, label: object) -> Draw:
    """Return the numbers of a label, by their place: each at least 0 and less than 1."""
    begin = sha256(f"{seed} {label} ".encode())

    def draw(place: int) -> float:
        digest = begin.copy()
        digest.update(b"%d" % place)
        return int.from_bytes(digest.digest()[:6], "big") / (1 << 48)

    return draw


def factor(draw: Draw, how: Future, place: int) -> float:
    """Return what the prices at a place are multiplied by, for ``scaled`` and ``mirrored``."""
    drawn = 0.5 + draw(place)
    return drawn if how == "scaled" else 2.0 - drawn


def order_of(draw: Draw, first: int, count: int) -> list[int]:
    """Return the places 0 to ``count`` in another order. ``first`` tells one stretch from the next."""
    return sorted(range(count), key=lambda place: draw(first + place))


def changed_inputs(future: Sequence[Input], how: Future, draw: Draw) -> list[Input]:
    """Return the inputs with other market data at the same times. What the session itself said stays as it was."""
    if how == "ended":
        return []
    if how == "shuffled":
        return _shuffled(future, draw)
    return [_scaled(event, factor(draw, how, place)) for place, event in enumerate(future)]


def _scaled(event: Any, by: float) -> Any:
    """Return market data with other prices. Multiplying keeps their order: low stays below high, bid below ask."""
    kind = type(event)
    if kind is Candle:
        prices = {name: getattr(event, name) * by for name in ("open", "high", "low", "close")}
        return event._replace(**prices)
    if kind is Quote:
        return event._replace(bid=event.bid * by, ask=event.ask * by)
    if kind is Trade:
        return event._replace(price=event.price * by)
    if kind is Depth:
        sides = {name: tuple((price * by, size) for price, size in getattr(event, name)) for name in ("bids", "asks")}
        return event._replace(**sides)
    if kind is Funding:
        return event._replace(rate=event.rate * by, mark=event.mark * by)
    if kind is Backfill:
        return event._replace(candles=tuple(_scaled(candle, by) for candle in event.candles))
    return event


def _shuffled(future: Sequence[Input], draw: Draw) -> list[Input]:
    """Permute the figures among the events of one class and symbol; each event keeps its place and its times."""
    made = list(future)
    groups: dict[tuple[type, str], list[int]] = {}
    for place, event in enumerate(future):
        if type(event) in _FIGURES_FROM and isinstance(event, MarketData):
            groups.setdefault((type(event), event.symbol), []).append(place)
    for (kind, _), places in groups.items():
        begin = _FIGURES_FROM[kind]
        end = 8 if kind is Candle else len(kind._fields)  # type: ignore[attr-defined]  # a candle's status stays
        for place, other in zip(places, order_of(draw, places[0], len(places)), strict=True):
            event, figures = future[place], future[places[other]][begin:end]
            made[place] = kind._make((*event[:begin], *figures, *event[end:]))  # type: ignore[attr-defined]
    return made
