"""Trades as each engine reports them, the rules by which they must come about, and why two engines' trades differ.

Nothing here uses lab's code: what is computed is an order decided at a candle's close that meets the next open.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.data import crossings

FEE: Final = Decimal("0.0006")
EQUITY: Final = 1_000_000
QUANTITY: Final = Decimal(1)
"""Whole coins, because backtesting.py trades no parts of one."""
MONEY: Final = Decimal("1e-8")
"""To this the floating-point figures of others are read; ours are exact, and have no more decimals."""

# What others do otherwise in a candle that reaches a stop or a target.
LATER: Final = "stop and target work from the candle after the entry's on; ours from the entry on"
TOUCH: Final = "a target is filled by a touch; ours by a trade through it"
AT_OPEN: Final = "a candle that opens beyond a target fills it at that open; ours at the target"
STOP_FIRST: Final = "the stop comes first even where the candle opens beyond the target; ours then has the target first"
ONE_A_CANDLE: Final = (
    "one order a candle, the stop or target before all: reached in the candle whose open the next crossing meets, it "
    "takes that crossing's place; ours leaves at that open and trades the crossing"
)


class Bar(NamedTuple):
    """One candle, exact."""

    time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class Decision(NamedTuple):
    """What is decided at a candle's close: 1 for long or -1, and where stop and target lie, if there are any."""

    way: int
    stop: Decimal | None = None
    target: Decimal | None = None


class Trade(NamedTuple):
    """One round trip, or at the end one that is still open: its exit is ``None`` and its profit that at the last close.

    Times are those of the candles' opens, fees those of both ends, and the profit is after fees.
    """

    entry_ms: int
    way: int
    quantity: Decimal
    entry_price: Decimal
    exit_ms: int | None
    exit_price: Decimal | None
    fees: Decimal
    profit: Decimal

    @classmethod
    def of(cls, way: int, entry: tuple[int, Decimal], leave: tuple[int, Decimal] | None, last: Decimal) -> "Trade":
        """Return a trade of `QUANTITY` with the fees and profit that it must have; times with prices."""
        fees = FEE * QUANTITY * (entry[1] + (leave[1] if leave else 0))
        profit = way * QUANTITY * ((leave[1] if leave else last) - entry[1]) - fees
        left_ms, out = leave or (None, None)
        return cls(entry[0], way, QUANTITY, entry[1], left_ms, out, fees, profit)


def read(path: Path) -> list[Bar]:
    """Read candles from a file with the columns of `benchmarks.data.write_candles`."""
    with path.open(encoding="ascii", newline="") as file:
        return [
            Bar(int(row["time"]), *(Decimal(row[name]) for name in ("open", "high", "low", "close")))
            for row in csv.DictReader(file)
        ]


def tick_of(bars: Iterable[Bar]) -> Decimal:
    """Return the tick that the decimals show. Raises ``ValueError`` where fees have more decimals than `MONEY`."""
    tick = Decimal(1).scaleb(min(int(price.as_tuple().exponent) for bar in bars for price in bar[1:]))
    if (tick * FEE) % MONEY:
        raise ValueError(f"prices have a tick of {tick}: fees of {FEE} would have more decimals than {MONEY}")
    return tick


def decide(bars: Sequence[Bar], tick: Decimal, stop_percent: Decimal, target_percent: Decimal) -> dict[int, Decision]:
    """Return what SMA 10/30 decides, by the number of the candle: each crossing, with its stop and target if not 0.

    Averages are compared as whole numbers, so that equal ones are equal. Levels lie around the close that decides, on
    the tick that is the better one for the order that rests there.
    """
    closes = [int(bar.close / tick) for bar in bars]

    def level(number: int, way: int, percent: Decimal) -> Decimal | None:
        """Return the level so many percent in favour: rounded up where a long sells, down where a short buys."""
        if not percent:
            return None
        ticks = closes[number] * (1 + way * percent / 100)
        return ticks.to_integral_value(ROUND_CEILING if way > 0 else ROUND_FLOOR) * tick

    return {
        number: Decision(way, level(number, way, -stop_percent), level(number, way, target_percent))
        for number, way in crossings(closes)
    }


def simulate(bars: Sequence[Bar], decisions: Mapping[int, Decision], departures: Iterable[str] = ()) -> list[Trade]:
    """Return the trades that must come about: decided at a close, entered at the next open, by our rules but for some.

    A crossing leaves at the open what is held and enters the other side there. ``departures`` are rules of others.
    """
    rules = frozenset(departures)
    trades = []
    held: tuple[int, Decision] | None = None
    last = bars[-1].close

    def leave(number: int, price: Decimal) -> None:
        assert held is not None
        began, decision = held
        entry = bars[began].time_ms, bars[began].open
        trades.append(Trade.of(decision.way, entry, (bars[number].time_ms, price), last))

    for number, bar in enumerate(bars):
        decision = decisions.get(number - 1)
        if held and decision and ONE_A_CANDLE in rules and (price := _reached(bar, held[1], rules, False)) is not None:
            leave(number, price)
            held = decision = None
        if decision:
            if held:
                target = held[1].target if AT_OPEN not in rules else None  # it rested before
                passed = target is not None and (bar.open - target) * held[1].way > 0
                leave(number, target if target is not None and passed else bar.open)
            held = number, decision
        if held and not (held[0] == number and LATER in rules):
            price = _reached(bar, held[1], rules, held[0] == number)
            if price is not None:
                leave(number, price)
                held = None
    if held:
        trades.append(Trade.of(held[1].way, (bars[held[0]].time_ms, bars[held[0]].open), None, last))
    return trades


def _reached(bar: Bar, decision: Decision, rules: frozenset[str], entered: bool) -> Decimal | None:
    """Return the price at which a candle ends a position by its stop or target; ``entered``: at this candle's open."""
    way, stop, target = decision
    opened = bar.open * way
    worst, best = (bar.low, bar.high) if way > 0 else (-bar.high, -bar.low)
    if stop is not None and opened <= stop * way:
        return bar.open
    hit = stop is not None and worst <= stop * way
    if target is not None and opened >= target * way and not (hit and STOP_FIRST in rules):
        # An order that finds the market beyond its limit when it arrives takes the better price; one that rests not.
        if entered or AT_OPEN in rules:
            return bar.open
        if best > target * way or TOUCH in rules:
            return target
    if hit:
        return stop
    if target is not None and (best >= target * way if TOUCH in rules else best > target * way):
        return target
    return None


class Difference(NamedTuple):
    """Two engines' trades that began at one candle and are not the same; ``None`` where there is none."""

    ours: Trade | None
    theirs: Trade | None


def compare(ours: Sequence[Trade], theirs: Sequence[Trade]) -> list[Difference]:
    """Return what differs, trade by trade, in the order of entries. Raises ``ValueError`` for two of one candle."""
    mine, others = ({trade.entry_ms: trade for trade in each} for each in (ours, theirs))
    if len(mine) != len(ours) or len(others) != len(theirs):
        raise ValueError("two trades began at one candle")
    pairs = (Difference(mine.get(time), others.get(time)) for time in sorted({*mine, *others}))
    return [pair for pair in pairs if pair.ours != pair.theirs]


def reasons(
    bars: Sequence[Bar], decisions: Mapping[int, Decision], differences: Sequence[Difference], departures: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return for each difference the fewest departures that make our trade theirs; none where nothing explains it.

    Nothing explains a trade of ours that is not what our own rules demand.
    """
    found: list[tuple[str, ...]] = [()] * len(differences)
    plain = {trade.entry_ms: trade for trade in simulate(bars, decisions)}
    for some in _subsets(departures):
        trades = {trade.entry_ms: trade for trade in simulate(bars, decisions, some)}
        for place, pair in enumerate(differences):
            began = next(trade.entry_ms for trade in pair if trade is not None)
            if not found[place] and pair == (plain.get(began), trades.get(began)):
                found[place] = some
    return found


def _subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for size in range(1, len(names) + 1):
        yield from combinations(names, size)
