"""`sweep`: many backtests of one strategy, each with other settings, and what to think of the best of them."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from os import PathLike, environ
from random import Random
from typing import Any, Final

from attrs import frozen

from lab.errors import ConfigError, text_of
from lab.research.backtests import offered_run, priced
from lab.research.code import code_of
from lab.research.found import Sweep, found_of
from lab.research.interrupts import interruptible
from lab.research.metrics import Metric, direction_of, name_of
from lab.research.offered import Stopped
from lab.research.pool import runner_of
from lab.research.prices import Prices, Time
from lab.research.shared import ALL, Window
from lab.research.space import Space, SpaceLike, Targets, space_of
from lab.research.storage import digest, opened, optuna, quiet
from lab.research.studies import Search, pruner_of, sampler_of
from lab.research.trials import Plan
from lab.research.words import said_in_python
from lab.research.worker import INSIDE
from lab.research.workers import Runner

_TRIALS: Final = 100


@said_in_python()
def sweep(
    strategy: Any,
    data: Any,
    space: SpaceLike,
    *,
    metric: Metric = "sharpe",
    direction: str | None = None,
    trials: int | None = None,
    sampler: Any = None,
    pruner: Any = None,
    workers: int = 1,
    scheduler: str | None = None,
    storage: Any = None,
    name: str = "sweep",
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
) -> Sweep:
    """Run backtests of a strategy with many settings, and say which were best, and how much that means.

    ``strategy`` is a class, an instance (whose settings hold where the space has none), a name or a reference
    (``./mine.py:Mine``). ``data`` is what `lab.load` takes or returns. ``space`` names what is tried: ``{"fast": (3,
    20), "slow": (20, 100, 5), "kind": ["a", "b"]}`` (ends included; the third is the step), or is a function of an
    Optuna trial that returns the settings, or ``None`` for those it drew. ``paper.slippage_bps`` is a setting of
    another component. ``metric`` is the name of a figure of the report or of its statistics, or a function of a
    `Result`; ``direction`` ``"maximize"`` or ``"minimize"``, by default what is better of that figure.

    Without ``trials`` all points of the grid are tried. With it that many are drawn by ``sampler``: ``"tpe"`` (the
    default), ``"random"``, ``"grid"`` (some points of it) or an Optuna sampler. ``pruner``, ``"median"``,
    ``"halving"``, ``"hyperband"`` or an Optuna pruner, gives trials up by their profit so far, at every tenth of the
    inputs; with several workers it depends on their pace.

    ``workers`` are processes; with 1 all is done in this one. The same ``seed`` draws the same trials, and so finds the
    same best to the last digit, whatever the number of workers up to 8: a trial is drawn when all but the newest eight
    before it have ended. With more workers the number of workers counts too; with a pruner so does their pace.
    ``scheduler`` is the address of a Dask scheduler, whose workers are used instead.

    ``storage`` is a file (``"sweep.db"``), a URL or an Optuna storage; by default nothing is kept. The same call goes
    on where the last one ended, and repeats no trial that has ended. A trial that fails is a row with its error.
    Ctrl-C, or ``stopped``, ends the sweep; what has ended is returned, and kept. The other arguments are those of
    `lab.backtest`.

    Raises `LabError` for what keeps it from beginning.
    """
    if environ.get(INSIDE):
        raise ConfigError("a worker of a sweep began a sweep; put the call under: if __name__ == '__main__':")
    check_number("workers", workers)
    check_number("trials", trials)
    prices = priced(
        data, symbol=symbol, interval=interval, since=since, until=until, seed=seed, settings=settings, config=config
    )
    offered = offered_run(prices, settings=settings, config=config, seed=seed, **run)
    offered.strategies(strategy, classes=True)
    plan = Plan.of(offered.registry, offered.layers, prices, metric)
    how = How(metric, direction, trials, sampler, pruner, storage, name, seed)
    return swept(plan, prices, space, how, workers=workers, scheduler=scheduler, stopped=stopped, progress=progress)


def swept(
    plan: Plan,
    prices: Prices,
    space: SpaceLike,
    how: "How",
    *,
    workers: int = 1,
    scheduler: str | None = None,
    stopped: Stopped | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Sweep a plan over its prices, as `sweep` does. Raises `LabError`."""
    check_number("workers", workers)
    check_number("trials", how.trials)
    optuna()
    with ExitStack() as held:
        asked = held.enter_context(interruptible(stopped))
        runner = held.enter_context(runner_of(plan, prices, workers, scheduler, asked))
        return search_of(plan, prices, space, how, runner, asked, progress)


@frozen
class How:
    """How a space is searched."""

    metric: Metric
    direction: str | None
    trials: int | None
    sampler: Any
    pruner: Any
    storage: Any
    name: str
    seed: int


def search_of(
    plan: Plan,
    prices: Prices,
    given: SpaceLike,
    how: How,
    runner: Runner,
    stopped: Stopped | None,
    progress: Callable[[int, int], None] | None,
    window: Window = ALL,
    base: int = 0,
    *,
    near: bool = True,
) -> Sweep:
    """Search a space, in a window of the prices, and return what was found; ``near`` is whether its neighbours are run.

    Raises `LabError`.
    """
    space = space_of(given, Targets(plan.classes(), plan.strategies()))
    metric, direction = name_of(how.metric), direction_of(how.metric, how.direction)
    if how.pruner is not None and direction == "minimize":
        raise ConfigError(f"pruner: it compares profits so far, and the sweep minimizes {metric}; leave it out")
    sampler = how.sampler if how.sampler is not None else ("grid" if how.trials is None else "tpe")
    grid = None
    if isinstance(sampler, str) and sampler == "grid":
        grid = space.grid()
        if how.trials is not None and how.trials < len(grid):
            kept = sorted(Random(how.seed).sample(range(len(grid)), how.trials))
            grid = [grid[place] for place in kept]
    number = len(grid) if grid is not None else how.trials or _TRIALS
    make = sampler_of(sampler, how.seed)
    identity = _identity(plan, space, how, direction, window)
    with opened(how.storage, how.name, direction, identity, pruner_of(how.pruner)) as study, quiet():
        search = Search(
            study=study, space=space, runner=runner, sampler=make, trials=number, grid=grid, window=window,
            pruned=how.pruner is not None, stopped=stopped, told=progress, base=base,
        )  # fmt: skip
        search.run()
        return found_of(search, space, plan, prices, metric, direction, near=near)


def check_number(name: str, number: Any) -> None:
    """Raise `ConfigError` for what is no number of workers or of trials; ``None`` is left to a default."""
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
        raise ConfigError(f"{name} = {text_of(repr, number, 40)}: expected a whole number, 1 or more")


def _identity(plan: Plan, space: Space, how: How, direction: str, window: Window) -> dict[str, str]:
    """Return what a study must have been made with to be gone on with: each part as a hash."""
    metric = how.metric if isinstance(how.metric, str) else code_of(how.metric)
    data = {**plan.facts.identity, "rows": plan.rows, "window": [window.start_ns, window.end_ns]}
    return {
        "data": digest(json.dumps(data, sort_keys=True)), "strategy": digest(json.dumps(plan.code())),
        "settings": digest(json.dumps(plan.settings_text())), "space": digest(space.described()),
        "metric": digest(metric), "direction": direction,
    }  # fmt: skip
