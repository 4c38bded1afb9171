"""Market data to measure with, and what a backtest of it must come to: a seeded random walk in whole tenths."""

import random
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

FAST: Final = 10
SLOW: Final = 30
EQUITY: Final = 100_000
QUOTES_A_MINUTE: Final = 240
"""Four every second; after the last one a trade at its bid, which is the minute's candle."""
_BEGIN_MS: Final = 1_640_995_200_000
_STEP: Final = 0.0008  # standard deviation of a minute's return: about that of BTC
_FIRST: Final = 430_000
_LEAST: Final = 1_000

# Money is counted in units of 1e-8: a price in tenths times 0.001 coins is 10,000 of them, and of that 6 bps are 6.
_NOTIONAL: Final = 10_000
_FEE: Final = 6
_UNIT: Final = Decimal("1e-8")


class Expected(NamedTuple):
    """What a run of SMA 10/30 over the data must report."""

    candles: int
    quotes: int
    orders: int
    fills: int
    trades: int
    fees: Decimal
    equity: Decimal


def walk(count: int, seed: int = 1) -> Iterator[int]:
    """Yield ``count`` prices in tenths."""
    gauss = random.Random(seed).gauss
    price = _FIRST
    for _ in range(count):
        price = max(_LEAST, round(price * (1 + gauss(0.0, _STEP))))
        yield price


def _text(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}"


def write_candles(path: Path, closes: Sequence[int], seed: int = 2) -> Expected:
    """Write one-minute candles with these closes, in tenths; return what a backtest of them must report.

    An order is decided at a close and meets the next candle's open, which is the same price, 1 bp worse and rounded to
    the worse tenth.
    """
    uniform = random.Random(seed).random
    opened = _FIRST
    with path.open("w", encoding="ascii") as file:
        file.write("time,open,high,low,close,volume\n")
        for number, close in enumerate(closes):
            reach = opened * _STEP / 2
            high = max(opened, close) + int(reach * uniform())
            low = min(opened, close) - int(reach * uniform())
            volume = round(50 + 200 * uniform(), 3)  # so much that no order of the runs is felt by the price
            prices = f"{_text(opened)},{_text(high)},{_text(low)},{_text(close)}"
            file.write(f"{_BEGIN_MS + 60_000 * number},{prices},{volume}\n")
            opened = close
    fills = (
        (way, -(-closes[at] * 10_001 // 10_000) if way > 0 else closes[at] * 9_999 // 10_000)
        for at, way in crossings(closes)
        if at + 1 < len(closes)
    )
    waiting = sum(at + 1 == len(closes) for at, _ in crossings(closes))
    return _expected(len(closes), 0, fills, closes[-1], closes[-1], waiting)


def write_quotes(path: Path, bids: Sequence[int]) -> Expected:
    """Write a quote every 250 ms with these bids, in tenths, and a trade a minute; return what a backtest must report.

    A minute's candle comes before the next minute's first quote; the order it causes arrives before the second one,
    and meets the first.
    """
    with path.open("w", encoding="ascii") as file:
        file.write("kind,venue_ms,bid,bid_size,ask,ask_size,price,size,side\n")
        for number, tenths in enumerate(bids):
            time_ms, price = _BEGIN_MS + 250 * number, _text(tenths)
            file.write(f"quote,{time_ms},{price},1.5,{_text(tenths + 1)},2.5,,,\n")
            if number % QUOTES_A_MINUTE == QUOTES_A_MINUTE - 1:
                file.write(f"trade,{time_ms},,,,,{price},0.01,buy\n")
    candles = (len(bids) - 1) // QUOTES_A_MINUTE
    closes = [bids[(number + 1) * QUOTES_A_MINUTE - 1] for number in range(candles)]
    fills = (
        (way, bids[(at + 1) * QUOTES_A_MINUTE] + (way > 0))
        for at, way in crossings(closes)
        if (at + 1) * QUOTES_A_MINUTE + 1 < len(bids)
    )
    return _expected(candles, len(bids), fills, bids[-1], bids[-1] + 1, 0)


def flips(closes: Sequence[int], orders: int) -> Expected:
    """Return what candles with these closes must report where every second one, from the first, sends an order.

    In and out in turn, ``orders`` in all, filled as in `write_candles`.
    """
    cash, fees = EQUITY * 10**8, 0
    for number in range(orders):
        way, close = (-1 if number % 2 else 1), closes[2 * number]
        price = -(-close * 10_001 // 10_000) if way > 0 else close * 9_999 // 10_000
        fees += price * _FEE
        cash -= way * price * _NOTIONAL
    held = orders % 2
    equity = cash - fees + held * closes[-1] * _NOTIONAL
    return Expected(len(closes), 0, orders, orders, orders // 2, fees * _UNIT, equity * _UNIT)


def crossings(closes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield each candle on which the fast average crosses the slow one: its number, and 1 for upwards or -1."""
    sides: list[tuple[int, int]] = []
    fast, slow = sum(closes[SLOW - FAST : SLOW]), sum(closes[:SLOW])
    for at in range(SLOW - 1, len(closes)):
        if at >= SLOW:
            fast += closes[at] - closes[at - FAST]
            slow += closes[at] - closes[at - SLOW]
        difference = fast * SLOW - slow * FAST
        if difference:
            sides.append((at, 1 if difference > 0 else -1))
    for (_, before), (at, side) in pairwise(sides):
        if side != before:
            yield at, side


def _expected(
    candles: int, quotes: int, fills: Iterable[tuple[int, int]], bid: int, ask: int, waiting: int
) -> Expected:
    """Add up: each crossing closes the position, unless it is the first, and opens the other one."""
    cash, held, orders, turns = EQUITY * 10**8, 0, 0, 0
    fees = 0
    for way, price in fills:
        both = 2 if held else 1
        turns += both == 2
        orders += both
        fees += both * price * _FEE
        cash -= both * way * price * _NOTIONAL
        held = way
    equity = cash - fees + held * (bid if held > 0 else ask) * _NOTIONAL
    unfilled = waiting * (2 if held else 1)
    return Expected(candles, quotes, orders + unfilled, orders, turns, fees * _UNIT, equity * _UNIT)


def write(folder: Path, candles: Sequence[int], quotes: int, orders: int) -> dict[str, Expected]:
    """Write ``candles-N.csv`` for each N, ``quotes-N.csv``, and ``orders-N.csv``: candles for N orders (`flips`).

    Return what to expect of each file, by its name.
    """
    prices = list(walk(max(*candles, quotes, 2 * orders)))
    made = {f"candles-{count}.csv": write_candles(folder / f"candles-{count}.csv", prices[:count]) for count in candles}
    made[f"quotes-{quotes}.csv"] = write_quotes(folder / f"quotes-{quotes}.csv", prices[:quotes])
    write_candles(folder / f"orders-{orders}.csv", prices[: 2 * orders])
    return made | {f"orders-{orders}.csv": flips(prices[: 2 * orders], orders)}
