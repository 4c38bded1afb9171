"""What a sweep found: its trials, the best of them, and what is to be said against it."""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen

from lab.errors import ConfigError
from lab.research.beside import Beside, beside
from lab.research.pages import written
from lab.research.prices import Prices
from lab.research.result import Result
from lab.research.shared import events_of
from lab.research.space import Space
from lab.research.storage import optuna
from lab.research.studies import Entry, Search
from lab.research.sweep_page import page_of
from lab.research.tables import Table
from lab.research.tasks import Task
from lab.research.trials import Plan
from lab.research.verdict import warnings_of
from lab.statistics.returns import daily_returns

_COLUMNS: Final = ("pnl", "trades", "max_drawdown", "sharpe", "seconds", "error")
_KINDS: Final = {
    "number": "count", "state": "text", "value": "figure", "pnl": "figure", "trades": "count",
    "max_drawdown": "figure", "sharpe": "figure", "seconds": "figure", "error": "text",
}  # fmt: skip


@frozen
class Best:
    """The best trial of a sweep."""

    number: int
    """Its number, as `Sweep.trials` and `Sweep.run` have it."""
    settings: Mapping[str, Any]
    """What the sweep gave it, by the names of the space."""
    value: float
    """Its metric."""
    _run: Callable[[], Result] = field(repr=False)

    @property
    def result(self) -> Result:
        """All of its run, which is run once more."""
        return self._run()


@define(eq=False, repr=False)
class Sweep:
    """What a sweep found: its trials, the best of them, and what is to be said against it."""

    metric: str
    """What was optimized: the name of the figure, or of the function."""
    direction: str
    """``maximize`` or ``minimize``."""
    trials: Table[Any]
    """A row a trial, in the order of their numbers: ``number``, ``state`` (``complete``, ``failed`` or ``pruned``),
    ``value`` (the metric), the settings, then figures of the run and why it failed. Money in ``Decimal``.
    """
    best: Best | None
    """The best trial, of equals the first; ``None`` where no trial has the metric."""
    beside: Table[Beside]
    """The metric one step away from the best, for each setting that has an order."""
    warnings: tuple[str, ...]
    """What speaks against the best: how many trials it was chosen from, what luck alone would show, ..."""
    interrupted: bool
    """Whether it was ended before all trials had ended: the same call goes on, where it has a storage."""
    names: tuple[str, ...]
    """The settings that were tried, as the table has them."""
    params: Mapping[str, Any] | None
    """What Optuna drew for the best trial."""
    _run: Callable[[int], Result]

    def __repr__(self) -> str:
        best = f"best {self.metric} {self.best.value:g} of {dict(self.best.settings)}" if self.best else "no best"
        return f"<Sweep of {len(self.trials)} trials: {best}>"

    def run(self, number: int) -> Result:
        """Return all of a trial's run, which is run once more. Raises `ConfigError` where there is no such trial."""
        return self._run(number)

    def plot(self, path: str | PathLike[str]) -> Path:
        """Write a page with the surface of the metric, the trials and the warnings, whole in one file.

        Raises `RunError`.
        """
        return written(path, page_of(self))


def found_of(
    search: Search, space: Space, plan: Plan, prices: Prices, metric: str, direction: str, *, near: bool
) -> Sweep:
    """Return what a search found; ``near`` is whether the neighbours of its best are run."""
    entries = [evolve(one, settings=space.targets.typed(one.settings)) for one in search.entries()]
    whole = [one for one in entries if one.outcome.value is not None]
    sign = 1 if direction == "maximize" else -1
    top = max(whole, key=lambda one: (sign * (one.outcome.value or 0.0), -one.number), default=None)
    numbered = {one.number: one for one in entries}

    def run(number: int) -> Result:
        if number not in numbered:
            raise ConfigError(f"trial {number}: there is none; there are {len(numbered)}")
        settings = space.settings(optuna().trial.FixedTrial(numbered[number].params))
        return plan.result(events_of(prices), Task(number, settings, search.window))

    names = _names(plan, entries)
    around: list[Beside] = []
    best = None
    if top is not None:
        shown = {names[dotted]: value for dotted, value in top.settings.items()}
        assert top.outcome.value is not None
        best = Best(top.number, shown, top.outcome.value, lambda: run(top.number))
        if near and not search.is_stopped():
            frozen_trial = next(one for one in search.study.get_trials(deepcopy=False) if one.number == top.number)
            around = beside(search, space, top, frozen_trial.distributions)
    returns = _Returns(best)
    warnings = warnings_of(entries, top, around, metric, sign, space, returns, search.interrupted)
    return Sweep(
        metric=metric,
        direction=direction,
        trials=_table(entries, names),
        best=best,
        beside=Table.of(Beside, around),
        warnings=tuple(warnings),
        interrupted=search.interrupted,
        names=tuple(names.values()),
        params=top.params if top is not None else None,
        run=run,
    )


@define
class _Returns:
    """The daily returns of the best trial, which is run again when they are asked for."""

    best: Best | None

    def __call__(self) -> Sequence[float]:
        return daily_returns(self.best.result.daily_equities()) if self.best is not None else []


def _names(plan: Plan, entries: Sequence[Entry]) -> dict[str, str]:
    """Return what the settings are called in the table, by ``table.key``: of one strategy by the key alone."""
    own = plan.strategies()
    found: dict[str, str] = {}
    for dotted in dict.fromkeys(dotted for one in entries for dotted in one.settings):
        table, _, key = dotted.partition(".")
        taken = {"number", "state", "value", *_COLUMNS}
        found[dotted] = key if [table] == own and key not in taken else dotted
    return found


def _table(entries: Sequence[Entry], names: Mapping[str, str]) -> Table[Any]:
    columns = ["number", "state", "value", *names.values(), *_COLUMNS]
    made: Any = namedtuple
    row = made("TrialRow", columns, rename=True)
    rows = []
    for one in entries:
        outcome, figures = one.outcome, one.outcome.figures
        state = "complete" if outcome.value is not None else "pruned" if outcome.pruned else "failed"
        money = [Decimal(figures[key]) if key in figures else None for key in ("pnl", "max_drawdown")]
        rows.append(
            row(
                one.number, state, outcome.value, *(one.settings.get(dotted) for dotted in names), money[0],
                figures.get("trades"), money[1], figures.get("sharpe"), round(outcome.seconds, 6), outcome.error,
            )
        )  # fmt: skip
    return Table(columns, rows, _KINDS)
