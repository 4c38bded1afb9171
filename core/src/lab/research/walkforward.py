"""`walkforward`: settings are chosen in one stretch of the prices and traded in the next, again and again."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from os import PathLike
from typing import Any, Final

from attrs import evolve, frozen

from lab.domain.time import DAY_NS, parse_interval
from lab.errors import ConfigError, text_of
from lab.research.backtests import offered_run, priced
from lab.research.found import Sweep
from lab.research.interrupts import interruptible
from lab.research.metrics import Metric, measured
from lab.research.offered import Stopped
from lab.research.pool import runner_of
from lab.research.prices import Prices, Time
from lab.research.result import Result
from lab.research.rows import Equity
from lab.research.shared import Events, Window, events_of
from lab.research.space import SpaceLike, Targets, space_of
from lab.research.storage import optuna
from lab.research.sweep import How, check_number, search_of
from lab.research.tables import Table
from lab.research.tasks import Task
from lab.research.trials import Plan
from lab.research.walk import WalkForward, WindowRow, stitched, warnings_of
from lab.research.words import said_in_python

_WINDOWS_MOST: Final = 1_000
_STRIDE: Final = 1_000_000
"""Task numbers of one window: those of the next begin behind them."""


@frozen
class Stretch:
    """Two neighbouring parts of the prices: settings are chosen in the first, and traded in the second."""

    start_ns: int
    split_ns: int
    end_ns: int


@said_in_python()
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
    since: Time | None = None,
    until: Time | None = None,
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
    prices = priced(
        data, symbol=symbol, interval=interval, since=since, until=until, seed=seed, settings=settings, config=config
    )
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
        windows=Table.of(WindowRow, rows), equity=Table.of(Equity, list(stitched(rows, results))),
        warnings=(), interrupted=interrupted, sweeps=tuple(sweeps), results=tuple(results),
    )  # fmt: skip
    return evolve(walk, warnings=tuple(warnings_of(walk, len(stretches))))


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
