"""The study of a sweep: asked for trials, in an order that no pace of workers changes, and told what they came to."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, define, field, frozen

from lab.errors import ConfigError, text_of
from lab.research.shared import ALL, Window
from lab.research.space import Params, Space
from lab.research.storage import optuna
from lab.research.tasks import Outcome, Task
from lab.research.workers import AHEAD, Runner

SAMPLERS: Final = ("grid", "random", "tpe")
_OUTCOME: Final = "lab:outcome"


@frozen
class Entry:
    """A trial that was drawn: its number, what Optuna drew, the settings that follow, and what it came to."""

    number: int
    params: Params
    settings: Mapping[str, Any]
    outcome: Outcome


def sampler_of(given: Any, seed: int) -> Callable[[int], Any]:
    """Return what makes the sampler that draws a trial, by its number: of its own seed, so that a study resumes as it
    would have gone on. An Optuna sampler stays what it is. Raises `ConfigError` for a name that is none.
    """
    samplers = optuna().samplers
    if isinstance(given, samplers.BaseSampler):
        return lambda number: given
    made = {"tpe": samplers.TPESampler, "random": samplers.RandomSampler, "grid": samplers.RandomSampler}
    if given not in made:
        expected = f"expected {', '.join(SAMPLERS)} or an Optuna sampler"
        raise ConfigError(f"sampler = {text_of(repr, given, 60)}: {expected}")

    def make(number: int) -> Any:
        own = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4])
        return made[given](seed=own)

    return make


def pruner_of(given: Any) -> Any:
    """Return a pruner: by name, an Optuna pruner, or one that gives nothing up. Raises `ConfigError`."""
    pruners = optuna().pruners
    if given is None:
        return pruners.NopPruner()
    if isinstance(given, pruners.BasePruner):
        return given
    made = {
        "median": pruners.MedianPruner,
        "halving": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
    }
    if given not in made:
        expected = f"expected {', '.join(made)} or an Optuna pruner"
        raise ConfigError(f"pruner = {text_of(repr, given, 60)}: {expected}")
    return made[given]()


@define
class Search:
    """Draws the trials of a study, has them run, and tells the study in the order of their numbers."""

    study: Any
    space: Space
    runner: Runner
    sampler: Callable[[int], Any]
    trials: int
    grid: Sequence[Params] | None = None
    window: Window = ALL
    pruned: bool = False
    stopped: Callable[[], object] | None = None
    told: Callable[[int, int], None] | None = None
    """Is told how many trials have ended, of how many."""
    base: int = 0
    """Added to the numbers of tasks: those of one runner differ."""
    interrupted: bool = field(init=False, default=False)
    _open: dict[int, Any] = field(init=False, factory=dict)
    _outcomes: dict[int, Outcome] = field(init=False, factory=dict)
    _known: dict[str, Outcome] = field(init=False, factory=dict)
    _ended: int = field(init=False, default=0)

    def run(self) -> None:
        """Go on until all trials have ended, or the end is asked for: by ``stopped``, or by Ctrl-C."""
        again = self._taken_up()
        ahead, running = max(AHEAD, self.runner.slots), 0
        number = len(self.study.get_trials(deepcopy=False))
        points = self._points()

        def next_trial() -> Any:
            """Return the next trial, ``None`` where there is none, or not yet."""
            nonlocal number
            if again:
                return again.popleft()
            more = number < self.trials if points is None else bool(points)
            if not more or not self._is_near(number - ahead):
                return None
            self._tell(number - ahead)
            if points:
                self.study.enqueue_trial(points.popleft())
            self.study.sampler = self.sampler(number)
            number += 1
            return self.study.ask()

        try:
            while not self.is_stopped():
                while running < self.runner.slots and (trial := next_trial()) is not None:
                    running += self._begun(trial)
                if not running:
                    break
                for task, outcome in self.runner.wait(self._asked):
                    running -= 1
                    self._note(task.number - self.base, task.settings, outcome)
        except KeyboardInterrupt:
            self.interrupted = True
        if not self.interrupted:
            self._tell(None)

    def entries(self) -> list[Entry]:
        """Return the trials that have ended, in the order of their numbers."""
        found = []
        for trial in self.study.get_trials(deepcopy=False):
            kept = trial.user_attrs.get(_OUTCOME)
            if kept is not None:
                found.append(Entry(trial.number, dict(trial.params), kept["settings"], _outcome_of(kept)))
        return found

    # -- drawing -----------------------------------------------------------------------------------------------------

    def _points(self) -> "deque[Params] | None":
        """Return the points of the grid that no trial has, in their order."""
        if self.grid is None:
            return None
        seen = {
            key_of(one.system_attrs.get("fixed_params", one.params)) for one in self.study.get_trials(deepcopy=False)
        }
        return deque(point for point in self.grid if key_of(point) not in seen)

    def _begun(self, trial: Any) -> bool:
        """Begin a trial; return whether it runs: one with the settings of an earlier one comes to the same."""
        settings = self.space.settings(trial)
        self._open[trial.number] = trial
        known = self._known.get(key_of(settings))
        if known is not None:
            self._note(trial.number, settings, known)
            return False
        self.runner.begin(Task(self.base + trial.number, settings, self.window, self.pruned))
        return True

    def _taken_up(self) -> "deque[Any]":
        """Take up the study as it was left; return the trials that were begun and did not end."""
        library, again = optuna(), deque[Any]()
        for trial in self.study.get_trials(deepcopy=False):
            kept = trial.user_attrs.get(_OUTCOME)
            if kept is not None:
                self._ended += 1
                self._known[key_of(kept["settings"])] = _outcome_of(kept)
            if trial.state is library.trial.TrialState.WAITING:
                again.append(self.study.ask())
            elif trial.state is library.trial.TrialState.RUNNING:
                taken = library.trial.Trial(self.study, trial._trial_id)  # noqa: SLF001 - Optuna's own way to one
                if kept is not None:
                    self._open[trial.number], self._outcomes[trial.number] = taken, _outcome_of(kept)
                else:
                    again.append(taken)
        return again

    # -- telling -----------------------------------------------------------------------------------------------------

    def _is_near(self, least: int) -> bool:
        """Return whether all trials up to a number have ended."""
        return all(number > least or number in self._outcomes for number in self._open)

    def _note(self, number: int, settings: Mapping[str, Any], outcome: Outcome) -> None:
        """Keep what a trial came to, at once: it is told to the sampler in its turn."""
        trial = self._open[number]
        trial.set_user_attr(_OUTCOME, {**asdict(outcome), "settings": plain(settings)})
        self._outcomes[number] = outcome
        if not outcome.pruned:
            self._known[key_of(settings)] = outcome
        self._ended += 1
        if self.told is not None:
            self.told(self._ended, self.trials)

    def _tell(self, most: int | None) -> None:
        """Tell the study of all trials up to a number, of all without one."""
        states = optuna().trial.TrialState
        for number in sorted(number for number in self._outcomes if most is None or number <= most):
            trial, outcome = self._open.pop(number), self._outcomes.pop(number)
            if outcome.value is not None:
                self.study.tell(trial, outcome.value)
            else:
                self.study.tell(trial, state=states.PRUNED if outcome.pruned else states.FAIL)

    def _asked(self, number: int, step: int, value: float) -> bool:
        trial = self._open[number - self.base]
        trial.report(value, step)
        return bool(trial.should_prune())

    def is_stopped(self) -> bool:
        """Return whether the end was asked for."""
        if self.stopped is not None and self.stopped():
            self.interrupted = True
        return self.interrupted


def _outcome_of(kept: Mapping[str, Any]) -> Outcome:
    return Outcome(**{key: value for key, value in kept.items() if key != "settings"})


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON has them."""
    known = (bool, int, float, str, type(None))
    return {key: value if isinstance(value, known) else str(value) for key, value in settings.items()}


def key_of(settings: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same settings."""
    return json.dumps(plain(settings), sort_keys=True)
