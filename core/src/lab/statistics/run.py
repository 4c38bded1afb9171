"""The statistics of one run, from the rows of its journal, in bounded memory."""

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, localcontext
from typing import Any, Final

from lab.domain.events import DayEnded, FundingPaid, OrderFilled
from lab.domain.ledger import ZERO, exact_context
from lab.domain.time import DAY_NS, SECOND_NS, format_interval, format_time
from lab.records.base import exact
from lab.records.run import RunStarted, RunState, Totals
from lab.records.statistics import MonthFigures, Statistics, TradeFigures
from lab.statistics.returns import cagr, calmar, daily_returns, sharpe, sortino, volatility
from lab.statistics.round_trip import RoundTrip
from lab.statistics.round_trips import EXACTLY, RoundTrips
from lab.statistics.tally import Tally, rounded

# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_DAY: Final = DayEnded
_FILLED: Final = OrderFilled
_PAID: Final = FundingPaid

KEPT_SINCE: Final = 3
"""The journal's schema from which on it has the ends of days and the extremes of equity."""
_MONTHS_MOST: Final = 1_200
_WIDE: Final = exact_context()
_OLD: Final = f"the journal is of an older lab: it holds none before schema version {KEPT_SINCE}"
_NO_END: Final = "the journal holds neither an end nor a state of the run"


class _Month:
    """What a month began and ended with."""

    __slots__ = ("after", "before", "days", "prices")

    def __init__(self, before: Decimal) -> None:
        self.before = self.after = before
        self.days = 0
        self.prices: Mapping[str, Decimal] = {}


class RunStatistics:
    """Takes rows in their order; `finish` gives the statistics. ``starting`` is the starting equity, above 0.

    It keeps a few figures of each strategy and symbol, of each month, and eight bytes of each day.
    """

    def __init__(self, started: RunStarted, starting: Decimal, months_most: int = _MONTHS_MOST) -> None:
        self._started = started
        self._starting = starting
        self._months_most = months_most
        self._instruments = started.instruments
        self._trips = RoundTrips()
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._equities = array("d", [float(starting)])
        self._equity = starting
        self._first_day_ns = self._day_ns = 0
        self._months: dict[str, _Month] = {}
        self._dropped: _Month | None = None
        self._trades: dict[str, int] = {}
        self._month_of_day = (-1, "")

    def take(self, events: Iterable[object]) -> None:
        """Take the bodies of rows. Raises ``ValueError`` or ``ArithmeticError`` for what no run writes."""
        with localcontext(EXACTLY):
            for event in events:
                if type(event) is _FILLED:
                    self._fill(event)
                elif type(event) is _PAID:
                    self._trips.pay(event)
                elif type(event) is _DAY:
                    self._day(event.day_ns, event.equity, event.prices)

    def finish(self, end: RunState | None, first_ns: int, last_ns: int) -> Statistics:
        """Return the statistics of a run from ``first_ns`` to ``last_ns`` whose state was ``end`` then.

        ``None`` stands for a run of which nothing but its rows is known. Called once.
        """
        left_out: dict[str, str] = {}
        totals = end.totals if end is not None else Totals()
        kept = self._started.schema_version >= KEPT_SINCE
        if end is not None and kept and end.day_ns and totals.first_prices:
            self._day(end.day_ns, end.equity, totals.last_prices)
        by_strategy, by_symbol, every = dict[str, Tally](), dict[str, Tally](), Tally()
        with localcontext(EXACTLY):
            for trip in self._trips.open():
                self._tally(trip).count(trip)
            for (strategy, symbol), tally in self._tallies.items():
                by_strategy.setdefault(strategy, Tally()).add(tally)
                by_symbol.setdefault(symbol, Tally()).add(tally)
                every.add(tally)
            trades = every.figures()
            figures_by_strategy = {name: by_strategy[name].figures() for name in sorted(by_strategy)}
            figures_by_symbol = {name: by_symbol[name].figures() for name in sorted(by_symbol)}
        _say_missing(trades, left_out)
        extremes = end is not None and kept
        if not extremes:
            missing = ("max_drawdown_percent", "longest_drawdown_seconds", "lowest_equity")
            left_out.update(dict.fromkeys(missing, _NO_END if kept else _OLD))
        daily = self._daily_figures(totals if extremes else None, left_out)
        held = self._buy_and_hold(totals, kept, left_out)
        months = self._by_month(totals.first_prices, left_out)
        return Statistics(
            **{name: getattr(trades, name) for name in TradeFigures.__struct_fields__},
            **daily,
            days=len(self._equities) - 1,
            max_drawdown_percent=totals.max_drawdown_percent if extremes else None,
            longest_drawdown_seconds=rounded(totals.longest_drawdown_ns / SECOND_NS) if extremes else None,
            lowest_equity=exact(totals.lowest_equity) if extremes else None,
            exposure_percent=self._exposure(totals.live_since_ns or first_ns, last_ns, left_out),
            turnover=rounded(float(trades.traded_notional) / float(self._starting)),
            buy_and_hold_percent=held,
            first_prices=totals.first_prices,
            last_prices=totals.last_prices,
            by_month=months,
            by_strategy=figures_by_strategy,
            by_symbol=figures_by_symbol,
            left_out=dict(sorted(left_out.items())),
        )

    # -- rows --------------------------------------------------------------------------------------------------------

    def _tally(self, trip: RoundTrip) -> Tally:
        key = trip.strategy, trip.symbol
        found = self._tallies.get(key)
        if found is None:
            found = self._tallies[key] = Tally()
        return found

    def _fill(self, event: OrderFilled) -> None:
        instrument = self._instruments.get(event.symbol)
        if instrument is None:
            raise ValueError(f"a fill of {event.symbol!r:.60}, which the run did not trade")
        trip = self._trips.take_exactly(event, instrument)
        if trip is None:
            return
        self._tally(trip).trade(trip)
        day = trip.exit_ns // DAY_NS
        if self._month_of_day[0] != day:
            self._month_of_day = day, format_time(day * DAY_NS)[:7]
        month = self._month_of_day[1]
        self._trades[month] = self._trades.get(month, 0) + 1

    def _day(self, day_ns: int, equity: Decimal, prices: Mapping[str, Decimal]) -> None:
        """Take the end of a day, or how far the last one came."""
        month = format_time(day_ns)[:7]
        found = self._months.get(month)
        if found is None:
            found = self._months[month] = _Month(self._equity)
            if len(self._months) > self._months_most:
                self._dropped = self._months.pop(next(iter(self._months)))
        found.after, found.prices = equity, prices
        found.days += 1
        self._equity = equity
        self._equities.append(float(equity))
        self._first_day_ns = self._first_day_ns or day_ns
        self._day_ns = day_ns

    # -- figures -----------------------------------------------------------------------------------------------------

    def _exposure(self, first_ns: int, last_ns: int, left_out: dict[str, str]) -> float | None:
        passed_ns = last_ns - first_ns if first_ns > 0 else 0
        if passed_ns <= 0:
            left_out["exposure_percent"] = "no time passed between the first price and the last input"
            return None
        return rounded(min(self._trips.held_ns(last_ns) / passed_ns, 1.0) * 100.0)

    def _daily_figures(self, totals: Totals | None, left_out: dict[str, str]) -> dict[str, Any]:
        """Return the figures that follow from the ends of days, in %, those that mean nothing as ``None``."""
        found: dict[str, Any] = {}

        def figure(name: str, factor: float, function: Callable[[], float]) -> None:
            try:
                value = function() * factor
                if not math.isfinite(value):
                    raise OverflowError
                found[name] = rounded(value)
            except ValueError as error:
                found[name], left_out[name] = None, str(error)
            except OverflowError:
                found[name], left_out[name] = None, "it is beyond any figure"

        def returns() -> list[float]:
            self._check_days()
            return daily_returns(self._equities)

        def growth() -> float:
            self._check_days()
            days = (self._day_ns - self._first_day_ns) // DAY_NS + 1 if self._day_ns else 0
            return cagr(self._equities[0], self._equities[-1], days)

        def growth_over_fall() -> float:
            grown = growth()
            if totals is None:
                raise ValueError(left_out["max_drawdown_percent"])
            return calmar(grown, float(totals.max_drawdown_percent) / 100.0)

        figure("cagr_percent", 100.0, growth)
        figure("volatility_percent", 100.0, lambda: volatility(returns()))
        figure("sharpe", 1.0, lambda: sharpe(returns()))
        figure("sortino", 1.0, lambda: sortino(returns()))
        figure("calmar", 1.0, growth_over_fall)
        return found

    def _check_days(self) -> None:
        """Raise ``ValueError`` where the rows hold no daily returns."""
        if self._started.schema_version < KEPT_SINCE:
            raise ValueError(_OLD)
        if self._started.interval_ns > DAY_NS:
            raise ValueError(f"candles of {format_interval(self._started.interval_ns)} have no daily returns")

    def _buy_and_hold(self, totals: Totals, kept: bool, left_out: dict[str, str]) -> float | None:
        value = self._value_held(totals.first_prices, totals.last_prices)
        if value is None:
            left_out["buy_and_hold_percent"] = "there was no live price" if kept else _OLD
            return None
        return rounded((value - 1.0) * 100.0)

    def _value_held(self, first: Mapping[str, Decimal], now: Mapping[str, Decimal]) -> float | None:
        """Return what 1 put into the symbols at their first prices, equal parts of it, is at other prices.

        Raises ``ValueError`` for a symbol that the run does not trade: the row was damaged.
        """
        values = []
        for symbol in sorted(first):
            instrument = self._instruments.get(symbol)
            if instrument is None:
                raise ValueError(f"there is a first price of {symbol!r:.40}, which the run does not trade")
            before = instrument.worth(first[symbol])
            gained = _WIDE.subtract(instrument.worth(now.get(symbol, first[symbol])), before)
            values.append(1.0 + float(gained) / abs(float(before)))
        return math.fsum(values) / len(values) if values else None

    def _by_month(self, first: Mapping[str, Decimal], left_out: dict[str, str]) -> tuple[MonthFigures, ...]:
        if self._dropped is not None:
            left_out["by_month"] = f"only the newest {self._months_most} months are kept"
        elif not self._months:
            old = self._started.schema_version < KEPT_SINCE
            left_out["by_month"] = _OLD if old else "no day of live prices is known"
        months, held = [], self._value_held(first, self._dropped.prices if self._dropped is not None else {})
        for name, month in self._months.items():
            profit = _WIDE.subtract(month.after, month.before)
            value = self._value_held(first, month.prices)
            grown = rounded((value / held - 1.0) * 100.0) if value is not None and held else None
            held = value
            part = rounded(float(profit) / float(month.before) * 100.0) if month.before > ZERO else None
            trades = self._trades.get(name, 0)
            one = MonthFigures(
                month=name, days=month.days, profit=exact(profit), return_percent=part, trades=trades,
                buy_and_hold_percent=grown,
            )  # fmt: skip
            months.append(one)
        return tuple(months)


def _say_missing(trades: TradeFigures, left_out: dict[str, str]) -> None:
    """Note which figures of trades mean nothing, and why."""
    if not trades.trades:
        names = (
            "win_rate_percent", "average_win", "average_loss", "profit_factor", "expectancy", "best_trade",
            "worst_trade", "holding_mean_seconds", "holding_shortest_seconds", "holding_longest_seconds",
        )  # fmt: skip
        left_out.update(dict.fromkeys(names, "no trade was closed"))
        return
    if not trades.wins:
        left_out["average_win"] = "no trade won"
    if not trades.losses:
        left_out.update(dict.fromkeys(("average_loss", "profit_factor"), "no trade lost"))
