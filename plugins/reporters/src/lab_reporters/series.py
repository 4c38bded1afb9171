"""The series of the charts, in bounded memory: candles (merged when there are many), fills as columns, and equity."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from heapq import merge
from itertools import islice
from math import isfinite
from typing import Final, NamedTuple

from attrs import define, field
from lab.domain.events import OrderFilled
from lab.domain.market import PRICE_LEAST, PRICE_LIMIT, Candle
from lab.domain.orders import Side


class _Bar(NamedTuple):
    """One candle of the chart, or several that became one."""

    open_ns: int
    end_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    def joined(self, later: "_Bar") -> "_Bar":
        """Return it with the one that follows put into it."""
        high, low = max(self.high, later.high), min(self.low, later.low)
        return _Bar(self.open_ns, later.end_ns, self.open, high, low, later.close, self.volume + later.volume)


_TIMES: Final = 2
_FIGURES: Final = 5


@define
class Candles:
    """One symbol's candles, ascending. Beyond twice ``limit`` neighbours are merged: no high and no low is lost.

    ``group`` is how many real candles a kept one stands for. They are kept as columns: as objects they take five times
    the memory.
    """

    limit: int
    interval_ns: int
    total: int = field(init=False, default=0)
    group: int = field(init=False, default=1)
    _symbol: str = field(init=False, default="")
    _times: "array[int]" = field(init=False, factory=lambda: array("q"))
    """Of each bar: open, end."""
    _figures: "array[float]" = field(init=False, factory=lambda: array("d"))
    """Of each bar: open, high, low, close, volume."""
    _parts: int = field(init=False, default=0)
    _newest_ns: int = field(init=False, default=-1)
    _out_of_order: bool = field(init=False, default=False)

    def add(self, candle: Candle) -> None:
        """Take a candle. A late one (history that came afterwards) is put in its place as long as nothing is merged."""
        self._symbol, open_ns, _, open_, high, low, close, volume, _ = candle
        # The rule of `check_candle` in one expression: this runs a million times. NaN fails each comparison.
        sound = (
            PRICE_LEAST <= low <= close <= high < PRICE_LIMIT
            and PRICE_LEAST <= open_ < PRICE_LIMIT
            and 0.0 <= volume < 1e18
        )
        if not sound or not 0 <= open_ns < 1 << 62:
            return
        late = open_ns <= self._newest_ns
        if late and self.group > 1:
            return
        # Back-filled candles became known long after they closed; on the chart each ends where its bucket does.
        end_ns = open_ns + self.interval_ns
        self.total += 1
        if self._parts and not late:
            self._times[-1] = end_ns
            figures = self._figures
            if high > figures[-4]:
                figures[-4] = high
            if low < figures[-3]:
                figures[-3] = low
            figures[-2] = close
            figures[-1] += volume
        else:
            self._times.extend((open_ns, end_ns))
            self._figures.extend((open_, high, low, close, volume))
        self._parts = (self._parts + 1) % self.group
        if late:
            self._out_of_order = True
        else:
            self._newest_ns = open_ns
        if len(self._times) > 2 * self.limit * _TIMES:
            self._halve()

    def drawn(self) -> tuple[list[Candle], int]:
        """Return at most ``limit`` candles and how many real ones each stands for."""
        self._put_in_order()
        size = max(1, -(-len(self._times) // _TIMES // self.limit))
        return [Candle(self._symbol, *bar) for bar in _merged(self._bars(), size)], size * self.group

    def _halve(self) -> None:
        self._put_in_order()
        odd = len(self._times) // _TIMES % 2
        self._keep(_merged(self._bars(), 2))
        if odd:  # the last one is half of a pair
            self._parts = self._parts or self.group
        elif self._parts:
            self._parts += self.group
        self.group *= 2
        self._parts %= self.group

    def _put_in_order(self) -> None:
        """Sort the bars by their time; of two that opened together the later one stays."""
        if self._out_of_order:
            by_open = {bar.open_ns: bar for bar in self._bars()}
            self._keep(sorted(by_open.values()))
            self._out_of_order = False

    def _keep(self, bars: Iterable[_Bar]) -> None:
        times, figures = array("q"), array("d")
        for bar in bars:
            times.extend(bar[:_TIMES])
            figures.extend(bar[_TIMES:])
        self._times, self._figures = times, figures

    def _bars(self) -> Iterator[_Bar]:
        """Yield them one by one: as objects all of them would take a megabyte for a moment."""
        times, figures = iter(self._times), iter(self._figures)
        for open_ns in times:
            yield _Bar(open_ns, next(times), *islice(figures, _FIGURES))


def _merged(bars: Iterator[_Bar], size: int) -> Iterator[_Bar]:
    """Yield bars that stand for ``size`` of those given each."""
    for bar in bars:
        yield reduce(_Bar.joined, islice(bars, size - 1), bar)


@define
class Fills:
    """One symbol's fills as columns: 32 bytes each, so that a long backtest's fit into memory."""

    time_ns: "array[int]" = field(init=False, factory=lambda: array("q"))
    quantity: "array[float]" = field(init=False, factory=lambda: array("d"))
    price: "array[float]" = field(init=False, factory=lambda: array("d"))
    fee: "array[float]" = field(init=False, factory=lambda: array("d"))

    def add(self, event: OrderFilled) -> None:
        """Take a fill. Figures beyond what can be drawn are left out."""
        fill = event.fill
        quantity = float(fill.quantity) * (1 if event.side is Side.BUY else -1)
        figures = (quantity, float(fill.price), float(fill.fee))
        if not all(isfinite(figure) for figure in figures) or not 0 <= fill.time_ns < 1 << 63:
            return
        self.time_ns.append(fill.time_ns)
        for column, figure in zip((self.quantity, self.price, self.fee), figures, strict=True):
            column.append(figure)

    def drawn(self, limit: int) -> list[int]:
        """Return the places of at most ``limit`` fills, evenly spread, the first and the last among them."""
        total = len(self.time_ns)
        if total <= limit:
            return list(range(total))
        return sorted({round(i * (total - 1) / (limit - 1)) for i in range(limit)})


@define
class Moves:
    """What cash moved beside fills, for the equity curve: funding, and what liquidations added."""

    time_ns: "array[int]" = field(init=False, factory=lambda: array("q"))
    amount: "array[float]" = field(init=False, factory=lambda: array("d"))

    def add(self, time_ns: int, amount: Decimal) -> None:
        """Take an amount that came in, or below 0 went out."""
        if 0 <= time_ns < 1 << 63 and isfinite(float(amount)):
            self.time_ns.append(time_ns)
            self.amount.append(float(amount))


Moment = tuple[int, str, float, float, float]  # time_ns, symbol, price, signed quantity (0: only the price), fee


def equity_curve(
    starting: float, candles: dict[str, list[Candle]], fills: dict[str, Fills], moves: Moves, limit: int
) -> list[tuple[int, float]]:
    """Return (time_ns, equity) at each drawn candle's end and, while they are few, after each fill.

    Equity is ``starting − Σ signed quantity × price − Σ fees + moves + Σ quantity × newest price``; for the eye, in
    float: the exact figures are the report's.
    """
    streams: list[Iterator[Moment]] = [_fill_moments(symbol, one) for symbol, one in fills.items()]
    streams += [_candle_moments(symbol, some) for symbol, some in candles.items()]
    streams.append(
        (time_ns, "", 0.0, 0.0, -amount) for time_ns, amount in zip(moves.time_ns, moves.amount, strict=True)
    )
    each_fill = sum(len(one.time_ns) for one in fills.values()) <= limit or not any(candles.values())
    cash, held, marks = starting, dict.fromkeys(fills, 0.0), dict[str, float]()
    points: list[tuple[int, float]] = []
    for time_ns, symbol, price, quantity, fee in merge(*streams, key=_moment_order):
        cash -= quantity * price + fee
        if not symbol:
            continue
        if quantity:
            held[symbol] += quantity
            marks.setdefault(symbol, price)
        else:
            marks[symbol] = price
        if not quantity or each_fill:
            points.append((time_ns, cash + sum(amount * marks[of] for of, amount in held.items() if amount)))
    step = max(1, -(-len(points) // (2 * limit)))
    return points if step == 1 else [*points[:-1:step], points[-1]]


def held_curve(
    starting: float, candles: Mapping[str, Sequence[Candle]], first: Mapping[str, float], from_ns: int, *, inverse: bool
) -> list[tuple[int, float]]:
    """Return (time_ns, what the starting equity is worth) had it bought the symbols at their first prices, equal parts.

    A point at each drawn candle's end from ``from_ns`` on, in float, as `lab.records.statistics` defines it.
    """
    streams = [_candle_moments(symbol, some) for symbol, some in candles.items() if first.get(symbol, 0.0) > 0.0]
    marks = {symbol: price for symbol, price in first.items() if price > 0.0}
    points: list[tuple[int, float]] = []
    for time_ns, symbol, price, _, _ in merge(*streams, key=_moment_order):
        if time_ns < from_ns or not price > 0.0:
            continue
        marks[symbol] = price
        gains = [1.0 - first[of] / now if inverse else now / first[of] - 1.0 for of, now in marks.items()]
        if points and points[-1][0] == time_ns:  # candles of several symbols end together
            points.pop()
        points.append((time_ns, starting * (1.0 + sum(gains) / len(gains))))
    return points


def drawdown_curve(points: Sequence[tuple[int, float]], starting: float) -> list[tuple[int, float]]:
    """Return (time_ns, how far the equity is below the highest before it, in %, 0 or less) of an equity curve."""
    peak, falls = starting, list[tuple[int, float]]()
    for time_ns, equity in points:
        peak = max(peak, equity)
        falls.append((time_ns, (equity - peak) / peak * 100.0 if peak > 0.0 else 0.0))
    return falls


def _moment_order(moment: Moment) -> tuple[int, bool]:
    return moment[0], moment[3] == 0.0  # at the same moment fills count first


def _fill_moments(symbol: str, fills: Fills) -> Iterator[Moment]:
    for time_ns, quantity, price, fee in zip(fills.time_ns, fills.quantity, fills.price, fills.fee, strict=True):
        yield time_ns, symbol, price, quantity, fee


def _candle_moments(symbol: str, candles: Sequence[Candle]) -> Iterator[Moment]:
    for candle in candles:
        yield candle.time_ns, symbol, candle.close, 0.0, 0.0
