"""`walkforward`: settings are chosen in one stretch of the prices and traded in the next, again and again."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from os import PathLike
from typing import Any, Final, NamedTuple

from attrs import define, evolve, frozen

from lab.domain.time import DAY_NS, parse_interval
from lab.errors import ConfigError, text_of
from lab.research.backtests import offered_run, priced
from lab.research.found import Sweep
from lab.research.metrics import SUMS, Metric, measured
from lab.research.offered import Stopped
from lab.research.pool import interruptible, runner_of
from lab.research.prices import Prices
from lab.research.result import Result
from lab.research.rows import Equity
from lab.research.shared import Events, Window, events_of
from lab.research.space import SpaceLike, Targets, space_of
from lab.research.studies import optuna
from lab.research.sweep import How, check_number, search_of
from lab.research.tables import Table
from lab.research.trials import Plan, Task

_WINDOWS_MOST: Final = 1_000
_STRIDE: Final = 1_000_000
"""Task numbers of one window: those of the next begin behind them."""


@frozen
class Stretch:
    """Two neighbouring parts of the prices: settings are chosen in the first, and traded in the second."""

    start_ns: int
    split_ns: int
    end_ns: int


class WindowRow(NamedTuple):
    """One step of a walk. Times are UTC nanoseconds; ``in_sample`` and ``out_of_sample`` are the metric."""

    number: int
    in_sample_from_ns: int
    out_of_sample_from_ns: int
    out_of_sample_to_ns: int
    settings: Mapping[str, Any] | None
    """The best of the in-sample sweep; ``None`` where no trial had the metric, and nothing was traded."""
    trials: int
    in_sample: float | None
    out_of_sample: float | None
    profit: Decimal
    """Out of sample: ending less starting equity."""
    trades: int
    starting_equity: Decimal
    ending_equity: Decimal
    error: str


@define(eq=False, repr=False)
class WalkForward:
    """What a walk came to: its windows, and the equity out of sample, put together to one."""

    metric: str
    direction: str
    windows: Table[WindowRow]
    equity: Table[Equity]
    """The equity after each candle out of sample: each window begins with what the one before it ended with."""
    warnings: tuple[str, ...]
    interrupted: bool
    sweeps: tuple[Sweep, ...]
    """The sweep of each window."""
    results: tuple[Result | None, ...]
    """The run out of sample of each window; ``None`` where nothing was traded."""

    def __repr__(self) -> str:
        return f"<WalkForward of {len(self.windows)} windows: profit {self.profit:f} out of sample>"

    @property
    def profit(self) -> Decimal:
        """What all windows made out of sample."""
        return sum((row.profit for row in self.windows), Decimal(0))

    @property
    def in_sample(self) -> float | None:
        """The mean of the metric in sample, over the windows that have it in both parts; of a sum of money, a day."""
        rows = self._whole()
        return _mean([self._scaled(row.in_sample, row.in_sample_from_ns, row.out_of_sample_from_ns) for row in rows])

    @property
    def out_of_sample(self) -> float | None:
        """The mean of the metric out of sample, over the same windows."""
        rows = self._whole()
        return _mean(
            [self._scaled(row.out_of_sample, row.out_of_sample_from_ns, row.out_of_sample_to_ns) for row in rows]
        )

    def _scaled(self, value: float | None, from_ns: int, to_ns: int) -> float | None:
        """Return a figure that grows with the time as one of a day: the two parts are not of one length."""
        return value if value is None or self.metric not in SUMS else value * DAY_NS / (to_ns - from_ns)

    def _whole(self) -> list[WindowRow]:
        return [row for row in self.windows if row.in_sample is not None and row.out_of_sample is not None]


def walkforward(
    strategy: Any,
    data: Any,
    space: SpaceLike,
    *,
    in_sample: str | int,
    out_of_sample: str | int,
    anchored: bool = False,
    metric: Metric = "sharpe",
    direction: str | None = None,
    trials: int | None = None,
    sampler: Any = None,
    workers: int = 1,
    scheduler: str | None = None,
    storage: Any = None,
    name: str = "walk",
    seed: int = 0,
    symbol: str | None = None,
    interval: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | PathLike[str] | None = None,
    stopped: Stopped | None = None,
    progress: Callable[[int, int], None] | None = None,
    **run: Any,
) -> WalkForward:
    """Choose settings in one stretch of the prices, trade them in the next, and go on behind that, to the end.

    ``in_sample`` and ``out_of_sample`` are lengths of time (``"30d"``, ``"12h"``) or numbers of candles. The windows
    roll: each begins ``out_of_sample`` after the one before it; with ``anchored`` all begin with the prices, and grow.
    What does not fill a window at the end is traded if it is at least half of one.

    Each window is a sweep, as `sweep` makes it, of its in-sample part. Its best settings are then run once over the
    out-of-sample part, beginning with the equity that the window before ended with; it begins with no position, and one
    that is open at its end counts at the last price and is not carried over. Before each part come candles of the data
    before it as history, twice the strategy's lookback, which warm it up and are not traded; before the first there
    are none.

    ``storage`` keeps the sweeps: the same call goes on. The other arguments are those of `sweep`. Raises `LabError`.
    """
    check_number("workers", workers)
    check_number("trials", trials)
    optuna()
    prices = priced(data, symbol=symbol, interval=interval, seed=seed, settings=settings, config=config)
    offered = offered_run(prices, settings=settings, config=config, seed=seed, **run)
    offered.strategies(strategy, classes=True)
    plan = Plan.of(offered.registry, offered.layers, prices, metric)
    how = How(metric, direction, trials, sampler, None, storage, name, seed)
    stretches = stretches_of(prices, in_sample, out_of_sample, anchored=anchored)
    return walked(
        plan, prices, space, how, stretches, workers=workers, scheduler=scheduler, stopped=stopped, progress=progress
    )


def stretches_of(
    prices: Prices, in_sample: str | int, out_of_sample: str | int, *, anchored: bool = False
) -> list[Stretch]:
    """Return the windows that fit into prices. Raises `ConfigError` for lengths that do not."""
    interval_ns = parse_interval(prices.interval)
    first_ns, last_ns = prices.first_ns - interval_ns, prices.last_ns
    trained, traded = (
        _length("in_sample", in_sample, interval_ns), _length("out_of_sample", out_of_sample, interval_ns),
    )  # fmt: skip
    found: list[Stretch] = []
    split_ns = first_ns + trained
    while last_ns - split_ns >= (traded if not found else traded // 2) and len(found) <= _WINDOWS_MOST:
        start_ns = first_ns if anchored else split_ns - trained
        found.append(Stretch(start_ns, split_ns, min(split_ns + traded, last_ns)))
        split_ns += traded
    if not found:
        has = f"the prices are {(last_ns - first_ns) / DAY_NS:.4g} days long"
        raise ConfigError(f"in_sample = {in_sample}, out_of_sample = {out_of_sample}: no window fits; {has}")
    if len(found) > _WINDOWS_MOST:
        raise ConfigError(f"out_of_sample = {out_of_sample}: more than {_WINDOWS_MOST:,} windows; give a longer one")
    return found


def walked(
    plan: Plan,
    prices: Prices,
    space: SpaceLike,
    how: How,
    stretches: Sequence[Stretch],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    stopped: Stopped | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WalkForward:
    """Walk a plan over its prices, as `walkforward` does. Raises `LabError`."""
    rows: list[WindowRow] = []
    sweeps: list[Sweep] = []
    results: list[Result | None] = []
    events = events_of(prices)
    equity: Decimal | None = None
    with ExitStack() as held:
        asked = held.enter_context(interruptible(stopped))
        runner = held.enter_context(runner_of(plan, prices, workers, scheduler, asked))
        for number, one in enumerate(stretches):
            if progress is not None:
                progress(number, len(stretches))
            found = search_of(
                plan, prices, space, evolve(how, name=f"{how.name}-{number}"), runner, asked, None,
                Window(one.start_ns, one.split_ns), number * _STRIDE, near=False,
            )  # fmt: skip
            if found.interrupted:
                break
            row, result = _traded(plan, events, space, found, one, number, equity)
            equity = row.ending_equity
            rows.append(row)
            sweeps.append(found)
            results.append(result)
            if equity <= 0:
                break
    interrupted = len(rows) < len(stretches) and not (equity is not None and equity <= 0)
    first = sweeps[0] if sweeps else None
    walk = WalkForward(
        metric=first.metric if first else str(how.metric), direction=first.direction if first else "maximize",
        windows=Table(WindowRow._fields, rows), equity=Table(Equity._fields, list(_stitched(rows, results))),
        warnings=(), interrupted=interrupted, sweeps=tuple(sweeps), results=tuple(results),
    )  # fmt: skip
    return evolve(walk, warnings=tuple(_warnings(walk, len(stretches))))


def _traded(
    plan: Plan, events: Events, given: SpaceLike, found: Sweep, one: Stretch, number: int, equity: Decimal | None
) -> tuple[WindowRow, Result | None]:
    """Run the best settings of a window out of sample."""
    if equity is not None:
        plan = plan.starting_with(equity)
    result, error, value, settings = None, "", math.nan, None
    if found.best is None:
        error = "no trial in sample has the metric"
    else:
        settings = dict(found.best.settings)
        space = space_of(given, Targets(plan.classes(), plan.strategies()))
        drawn = space.settings(optuna().trial.FixedTrial(found.params or {}))
        result = plan.result(events, Task(number, drawn, Window(one.split_ns, one.end_ns)))
        value, error = measured(plan.metric, result)
        error = result.report.error or error
    report = result.report if result is not None else None
    start = report.starting_equity if report is not None else equity if equity is not None else plan.equity()
    end = report.ending_equity if report is not None else start
    row = WindowRow(
        number, one.start_ns, one.split_ns, one.end_ns, settings, len(found.trials),
        found.best.value if found.best is not None else None, None if math.isnan(value) else value, end - start,
        report.trades if report is not None else 0, start, end, error,
    )  # fmt: skip
    return row, result


def _stitched(windows: Sequence[WindowRow], results: Sequence[Result | None]) -> Iterator[Equity]:
    """Yield the equity of all windows, its drawdown measured over all of them."""
    peak = 0.0
    for window, result in zip(windows, results, strict=True):
        for row in result.equity if result is not None else ():
            if row.time_ns <= window.out_of_sample_from_ns:
                continue  # history
            peak = max(peak, row.equity)
            yield Equity(row.time_ns, row.equity, row.equity / peak - 1.0 if peak > 0 else 0.0)


def _warnings(walk: WalkForward, windows: int) -> Iterator[str]:
    """Yield what speaks against the walk, a line each."""
    rows = list(walk.windows)
    if walk.interrupted:
        yield f"interrupted: {len(rows)} of {windows} windows were walked"
    elif len(rows) < windows:
        yield f"ruin: nothing was left of the equity after {len(rows)} of {windows} windows"
    inside, outside = walk.in_sample, walk.out_of_sample
    if inside is not None and outside is not None:
        sign = 1 if walk.direction == "maximize" else -1
        kept = f", {outside / inside:.0%} of it" if inside > 0 and sign > 0 else ""
        drop = sign * (inside - outside)
        how = f"{drop:.4g} worse" if drop > 0 else f"{-drop:.4g} better"
        what = f"{walk.metric} a day" if walk.metric in SUMS else walk.metric
        yield f"drop: {what} is {inside:.4g} in sample and {outside:.4g} out of sample on average: {how}{kept}"
    if rows:
        won = sum(row.profit > 0 for row in rows)
        yield f"windows: {won} of {len(rows)} made a profit out of sample"
    empty = [row for row in rows if row.settings is None]
    if empty:
        yield f"idle: in {len(empty)} of {len(rows)} windows no trial in sample had the metric, and nothing was traded"
    chosen = {tuple(sorted((row.settings or {}).items(), key=str)) for row in rows if row.settings is not None}
    if len(rows) > 2 and len(chosen) == len(rows):
        yield "settings: every window chose others, so what is best does not last"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _length(name: str, given: str | int, interval_ns: int) -> int:
    """Return a length in nanoseconds, which is at least two candles. Raises `ConfigError`."""
    expected = "expected a length, as 30d or 12h, or a number of candles"
    try:
        if isinstance(given, bool) or not isinstance(given, str | int):
            raise ValueError(expected)
        if isinstance(given, str) and not given.strip().isdigit():
            length_ns = parse_interval(given)
        else:
            length_ns = int(given) * interval_ns
    except ValueError:
        raise ConfigError(f"{name} = {text_of(repr, given, 40)}: {expected}") from None
    if length_ns < 2 * interval_ns:
        raise ConfigError(f"{name} = {given}: shorter than two candles; {expected}")
    return length_ns
