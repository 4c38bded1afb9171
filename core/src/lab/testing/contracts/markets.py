"""Difficult markets and venues that every component must cope with, by name."""

from collections.abc import Callable, Mapping, Sequence

from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED, Backfill, Candle, Depth, Trade
from lab.domain.orders import Side
from lab.ports import Broker
from lab.testing.builders import tape
from lab.testing.contracts.venues import ExpiresAll, FillsInParts, RejectsAll

Events = Callable[[Sequence[float]], Sequence[Input]]


def hard_markets(
    events: Sequence[Input],
    closes: Sequence[float],
    lookback: int,
    symbol: str,
    interval_ns: int,
    events_of: Events,
) -> Mapping[str, Sequence[Input]]:
    """Return variants of a market, by what is hard about them. ``events_of`` makes events of closes."""
    candles = [event for event in events if isinstance(event, Candle)]
    half = len(closes) // 2
    return {
        "candles without quotes": candles,
        "gaps": [one for place, one in enumerate(events) if place // 3 % 11 not in {4, 5, 6}],
        "no volume": [one._replace(volume=0.0) for one in candles],
        "flat prices": events_of([closes[0]] * len(closes)),
        "prices near the tick": events_of([0.5 + place % 3 / 10 for place in range(len(closes))]),
        "a jump of a hundred times": events_of([*closes[:half], *(100 * one for one in closes[:50])]),
        "back-filled candles": tape(closes, symbol=symbol, interval_ns=interval_ns, backfilled=lookback + 20),
        "candles that come late": _late(events, lookback),
        "trades and levels": _detailed(events),
    }


def hard_venues() -> Mapping[str, Broker]:
    """Return brokers, by what they do to orders."""
    return {
        "orders filled in parts": FillsInParts(),
        "orders that expire": ExpiresAll(),
        "orders that are rejected": RejectsAll(),
    }


def _late(events: Sequence[Input], lookback: int) -> Sequence[Input]:
    """Hold three candles back behind the look-back, then every 40 candles, and give them together as one back-fill."""
    made: list[Input] = []
    held: list[Candle] = []
    number = 0
    for event in events:
        if isinstance(event, Candle):
            number += 1
            if number > lookback and number % 40 in {0, 1, 2}:
                held.append(event._replace(status=BACKFILLED))
                continue
        made.append(event)
        if len(held) == 3 and isinstance(event, Candle):
            made.append(Backfill(event.symbol, event.time_ns, tuple(held)))
            held.clear()
    return made


def _detailed(events: Sequence[Input]) -> Sequence[Input]:
    """Put a trade and the displayed levels behind each candle."""
    made: list[Input] = []
    for number, event in enumerate(events):
        made.append(event)
        if isinstance(event, Candle):
            symbol, time_ns, close = event.symbol, event.time_ns, event.close
            made.append(Trade(symbol, time_ns, close, 0.5, Side.BUY if number % 2 else Side.SELL))
            steps = [round(number / 10, 1) for number in range(1, 4)]
            bids = tuple((round(close - step, 1), 1.0) for step in steps)
            made.append(Depth(symbol, time_ns, bids, tuple((round(close + step, 1), 1.0) for step in steps)))
    return made
