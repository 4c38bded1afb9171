"""The neighbourhood of the best trial: what becomes of the metric one step away, setting by setting."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lab.research.space import Params, Space
from lab.research.storage import optuna
from lab.research.studies import Entry, Search, key_of
from lab.research.tasks import Outcome, Task

_KEPT: Final = "lab:beside"
_PART: Final = 0.05
"""A step of a range without one, as a part of the range."""


class Beside(NamedTuple):
    """The metric where one setting is a step lower or higher than in the best trial, and all others the same."""

    setting: str
    value: Any
    metric: float | None
    """``None`` where such a run fails."""
    change: float | None
    """Metric less that of the best trial."""


def steps_of(params: Params, distributions: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings of a trial, each a step lower and a step higher, as far as they have an order."""
    found: list[tuple[str, Any]] = []
    for name, distribution in distributions.items():
        if not hasattr(distribution, "low"):
            continue
        low, high, value = distribution.low, distribution.high, params[name]
        step = distribution.step or (high - low) * _PART
        for moved in (value - step, value + step):
            place = moved if isinstance(value, int) else round(moved, 12)
            if low <= place <= high and place != value:
                found.append((name, place))
    return found


def beside(search: Search, space: Space, best: Entry, distributions: Mapping[str, Any]) -> list[Beside]:
    """Return the neighbourhood of the best trial. What no trial has shown is run; a study keeps what came of it."""
    library = optuna()
    known = {key_of(one.settings): one.outcome for one in search.entries() if not one.outcome.pruned}
    kept = search.study.user_attrs.get(_KEPT, {})
    places, outcomes, wanted = [], dict[str, Outcome](), list[Task]()
    for name, value in steps_of(best.params, distributions):
        settings = space.settings(library.trial.FixedTrial({**best.params, name: value}))
        text = key_of(settings)
        places.append((name, value, text))
        if text in known:
            outcomes[text] = known[text]
        elif text in kept:
            outcomes[text] = Outcome(value=kept[text])
        else:
            wanted.append(Task(search.base + search.trials + 1 + len(wanted), settings, search.window))
    running = len(wanted)
    for task in wanted:
        search.runner.begin(task)
    while running and not search.is_stopped():
        for task, outcome in search.runner.wait(lambda *_: False):
            running -= 1
            outcomes[key_of(task.settings)] = outcome
    ran = {key_of(task.settings) for task in wanted}
    if ran:
        fresh = {text: one.value for text, one in outcomes.items() if text in ran}
        search.study.set_user_attr(_KEPT, {**kept, **fresh})
    value = best.outcome.value
    assert value is not None, "the best trial has a metric"
    rows = []
    for name, place, text in places:
        if text in outcomes:
            found = outcomes[text].value
            rows.append(Beside(name, place, found, None if found is None else found - value))
    return rows
