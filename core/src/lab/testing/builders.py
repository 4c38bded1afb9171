"""Market data and instruments for tests, made of the real classes. Nothing is random without a seed."""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Final

from lab.domain.inputs import Input
from lab.domain.instrument import Instrument
from lab.domain.market import BACKFILLED, FINAL, Candle, Quote
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time

START_NS: Final = parse_time("2024-01-01T00:00:00Z")
_DIGITS: Final = 1  # of prices on the tick of `instrument`


def instrument(symbol: str = "BTCUSDT", **changes: Any) -> Instrument:
    """Return a linear perpetual with the steps and fees of a large venue's BTCUSDT; ``changes`` replace fields."""
    figures: dict[str, Any] = {
        "base": symbol.removesuffix("USDT"),
        "quote": "USDT",
        "tick": Decimal("0.1"),
        "lot": Decimal("0.0001"),
        "quantity_min": Decimal("0.0001"),
        "maker_fee_rate": Decimal("0.0002"),
        "taker_fee_rate": Decimal("0.0006"),
    }
    return Instrument(symbol=symbol, **{**figures, **changes})


def waves(
    count: int, *, seed: int = 0, price: float = 50_000.0, period: int = 48, amplitude: float = 0.03
) -> list[float]:
    """Return closes on the tick that rise and fall: a wave of ``period`` candles, a shorter one, and seeded noise.

    ``amplitude`` is the wave's height as a fraction of the price. A trend strategy whose windows are shorter than half
    a period finds several turns in them.
    """
    random = Random(seed)
    closes = []
    for place in range(count):
        turn = 2 * math.pi * place / period
        move = math.sin(turn) + 0.3 * math.sin(3.7 * turn + seed) + 0.05 * random.gauss(0.0, 1.0)
        closes.append(round(price * (1.0 + amplitude * move), _DIGITS))
    return closes


def candles(
    closes: Iterable[float],
    *,
    symbol: str = "BTCUSDT",
    start_ns: int = START_NS,
    interval_ns: int = MINUTE_NS,
    volume: float = 10.0,
    status: str = FINAL,
) -> list[Candle]:
    """Return closed candles on the grid, one a close, each opening at the close before, known at its bucket's end."""
    made: list[Candle] = []
    for place, close in enumerate(closes):
        open_ns = start_ns + place * interval_ns
        open_ = made[-1].close if made else close
        high, low = max(open_, close), min(open_, close)
        made.append(Candle(symbol, open_ns, open_ns + interval_ns, open_, high, low, close, volume, status))
    return made


def quotes(
    mids: Iterable[float],
    *,
    symbol: str = "BTCUSDT",
    start_ns: int = START_NS,
    step_ns: int = SECOND_NS,
    spread: float = 0.2,
    size: float = 1.0,
) -> list[Quote]:
    """Return quotes on the tick around the given prices, ``step_ns`` apart, with ``size`` displayed on both sides."""
    half = spread / 2
    return [
        Quote(symbol, start_ns + place * step_ns, round(mid - half, _DIGITS), size, round(mid + half, _DIGITS), size)
        for place, mid in enumerate(mids)
    ]


def tape(
    closes: Sequence[float],
    *,
    symbol: str = "BTCUSDT",
    start_ns: int = START_NS,
    interval_ns: int = MINUTE_NS,
    backfilled: int = 0,
) -> list[Input]:
    """Return candles with two quotes behind each, as a live session sees them; the first ``backfilled`` are history.

    The quotes come one and three seconds after the candle is known, at its close.
    """
    events: list[Input] = []
    for place, candle in enumerate(candles(closes, symbol=symbol, start_ns=start_ns, interval_ns=interval_ns)):
        if place < backfilled:
            events.append(candle._replace(status=BACKFILLED))
            continue
        events.append(candle)
        after_ns = candle.time_ns + SECOND_NS
        events += quotes([candle.close] * 2, symbol=symbol, start_ns=after_ns, step_ns=2 * SECOND_NS)
    return events
