"""The order book around the best bid and ask: the recordings have only those."""

from typing import Final

from lab_bitunix.venue.market import Market
from lab_bitunix.venue.text import number

LEVELS_MOST: Final = 500
"""Levels a side of the whole book. The venue shows thousands."""


def levels(market: Market, time_ns: int, count: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return bids (descending) and asks (ascending) as price and size in text, at most ``count`` a side.

    The first level is the quote's; those behind lie a tick apart and have made-up sizes that follow from the first.
    Each shows at least one step of size, also where the recording knows none.
    """
    bid, bid_size, ask, ask_size = market.quote_at(time_ns)
    contract = market.contract
    prices, tick, step = contract.price_digits, contract.tick, 10.0**-contract.size_digits
    least = number(step, contract.size_digits)

    def shown(size: float) -> str:
        return number(size, contract.size_digits) if size >= step else least

    if count == 1:
        return [[number(bid, prices), shown(bid_size)]], [[number(ask, prices), shown(ask_size)]]
    bids = [
        [number(bid - place * tick, prices), shown(bid_size * _factor(place) + 1e-3 * place)]
        for place in range(count)
        if bid - place * tick > tick / 2
    ]
    asks = [
        [number(ask + place * tick, prices), shown(ask_size * _factor(place) + 1e-3 * place)] for place in range(count)
    ]
    return bids, asks


def _factor(place: int) -> float:
    return 1.0 if place == 0 else 0.25 + (place * 7919 % 31) / 10
