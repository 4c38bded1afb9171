"""The settings a sweep tries: ranges and choices by name, or a function of an Optuna trial."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import product
from math import isfinite, prod
from typing import Any, Final, get_args, get_origin

from attrs import frozen

from lab.errors import ConfigError, describe_error, did_you_mean, text_of
from lab.plugins.settings import convert, settings_of, type_name
from lab.research.code import code_of

GRID_MOST: Final = 100_000
SpaceLike = Mapping[str, Any] | Callable[[Any], Mapping[str, Any] | None]
Params = dict[str, Any]
"""What an Optuna trial has: by the names of the space, numbers, texts or booleans."""


@frozen
class Target:
    """A setting of a component of the run."""

    table: str
    key: str
    kind: Any

    @property
    def dotted(self) -> str:
        """The setting as ``table.key``."""
        return f"{self.table}.{self.key}"


class Targets:
    """The settings of a run's components by the names a space may give them: ``fast``, or ``sma.fast``."""

    def __init__(self, classes: Mapping[str, type], strategies: Sequence[str]) -> None:
        self._known = {
            f"{table}.{key}": Target(table, key, one.type)
            for table, cls in classes.items()
            for key, one in settings_of(cls).items()
        }
        self._strategies = strategies

    def find(self, name: str) -> Target:
        """Return the setting of a name. Raises `ConfigError` with the nearest one."""
        if "." in name:
            dotted = name
        elif len(self._strategies) > 1:
            some = ", ".join(f"{table}.{name}" for table in self._strategies)
            raise ConfigError(
                f"space: {name:.60}: the run has {len(self._strategies)} strategies; say whose: {some:.80}"
            )
        else:
            dotted = f"{self._strategies[0]}.{name}"
        if dotted not in self._known:
            table = dotted.partition(".")[0]
            near = [one if "." in name else one.partition(".")[2] for one in self._known if one.startswith(f"{table}.")]
            known = near or sorted({one.partition(".")[0] for one in self._known})
            raise ConfigError(f"space: {table:.60} has no setting {name!r:.60}{did_you_mean(name, known)}")
        return self._known[dotted]

    def typed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings that were kept as JSON as their components have them."""
        return {dotted: _converted(dotted, self._known[dotted], value) for dotted, value in settings.items()}


class Dimension(ABC):
    """One setting and the values it is given."""

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self.target = target

    @abstractmethod
    def suggest(self, trial: Any) -> Any:
        """Return the value that an Optuna trial draws, of the setting's type."""

    @abstractmethod
    def params(self) -> list[Any]:
        """Return all it can draw, as Optuna has it. Raises `ConfigError` where that has no end."""

    @abstractmethod
    def described(self) -> Any:
        """Return it as JSON has it: two that are the same draw the same."""


class Whole(Dimension):
    """Whole numbers from one to another."""

    def __init__(self, name: str, target: Target, low: int, high: int, step: int) -> None:
        super().__init__(name, target)
        self.low, self.step = low, step
        self.high = low + (high - low) // step * step

    def suggest(self, trial: Any) -> Any:
        return trial.suggest_int(self.name, self.low, self.high, step=self.step)

    def params(self) -> list[Any]:
        return list(range(self.low, self.high + 1, self.step))

    def described(self) -> Any:
        return ["whole", self.low, self.high, self.step]


class Steps(Dimension):
    """Decimal fractions from one to another, a step apart; without a step whatever lies between, in float."""

    def __init__(self, name: str, target: Target, low: Decimal, high: Decimal, step: Decimal | None) -> None:
        super().__init__(name, target)
        self.low, self.step = low, step
        self.high = high if step is None else low + (high - low) // step * step
        self._exact = Decimal in {target.kind, *get_args(target.kind)}

    def suggest(self, trial: Any) -> Any:
        if self.step is None:
            drawn = trial.suggest_float(self.name, float(self.low), float(self.high))
            return Decimal(f"{drawn:.9g}") if self._exact else drawn
        drawn = trial.suggest_float(self.name, float(self.low), float(self.high), step=float(self.step))
        value = self.low + round((Decimal(repr(drawn)) - self.low) / self.step) * self.step
        return value if self._exact else float(value)

    def params(self) -> list[Any]:
        if self.step is None:
            text = f"({self.low}, {self.high}) has no step, and a grid needs one: ({self.low}, {self.high}, STEP)"
            raise ConfigError(f"space: {self.name}: {text}; or give trials")
        return [float(self.low + place * self.step) for place in range(int((self.high - self.low) / self.step) + 1)]

    def described(self) -> Any:
        return ["steps", str(self.low), str(self.high), str(self.step)]


class Choices(Dimension):
    """Values that are listed."""

    def __init__(self, name: str, target: Target, values: Sequence[Any]) -> None:
        super().__init__(name, target)
        plain = (bool, int, float, str, type(None))
        self._values = {value if isinstance(value, plain) else str(value): value for value in values}

    def suggest(self, trial: Any) -> Any:
        return self._values[trial.suggest_categorical(self.name, list(self._values))]

    def params(self) -> list[Any]:
        return list(self._values)

    def described(self) -> Any:
        return ["choices", *map(repr, self._values)]


class Space(ABC):
    """What a trial of Optuna is turned into settings by."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    @abstractmethod
    def settings(self, trial: Any) -> dict[str, Any]:
        """Return the settings that a trial draws, by ``table.key``. Raises `ConfigError`."""

    @abstractmethod
    def grid(self) -> list[Params]:
        """Return what all trials of a grid draw, in order. Raises `ConfigError` where it has no end."""

    @abstractmethod
    def described(self) -> str:
        """Return a text that is another one for another space."""


class Ranges(Space):
    """A space by ranges and choices."""

    def __init__(self, targets: Targets, dimensions: Sequence[Dimension]) -> None:
        super().__init__(targets)
        self.dimensions = dimensions

    def settings(self, trial: Any) -> dict[str, Any]:
        return {one.target.dotted: one.suggest(trial) for one in self.dimensions}

    def grid(self) -> list[Params]:
        columns = [one.params() for one in self.dimensions]
        if (points := prod(map(len, columns))) > GRID_MOST:
            raise ConfigError(
                f"space: a grid of {points:,} points; give trials, or wider steps ({GRID_MOST:,} at most)"
            )
        drawn = [one.name for one in self.dimensions]
        return [dict(zip(drawn, values, strict=True)) for values in product(*columns)]

    def described(self) -> str:
        return json.dumps({one.target.dotted: one.described() for one in self.dimensions}, sort_keys=True)


class Drawn(Space):
    """A space by a function: it draws from the trial and returns the settings, or nothing where it drew just those."""

    def __init__(self, targets: Targets, draw: Callable[[Any], Mapping[str, Any] | None], source: str) -> None:
        super().__init__(targets)
        self._draw, self._source = draw, source

    def settings(self, trial: Any) -> dict[str, Any]:
        try:
            given = self._draw(trial)
        except Exception as error:
            if type(error).__module__.partition(".")[0] == "optuna":
                raise
            raise ConfigError(f"space: the function failed: {describe_error(error)}") from None
        if given is None:
            given = trial.params
        if not isinstance(given, Mapping) or not given:
            expected = "expected the settings by name, or None for what the trial drew"
            raise ConfigError(f"space: the function gave {text_of(repr, given, 60)}; {expected}")
        found = {}
        for name, raw in given.items():
            target = self.targets.find(str(name))
            found[target.dotted] = _converted(str(name), target, raw)
        return found

    def grid(self) -> list[Params]:
        raise ConfigError("space: a function has no grid; give trials, or ranges and choices by name")

    def described(self) -> str:
        return self._source


def space_of(given: SpaceLike, targets: Targets) -> Space:
    """Return the space that a program gives. Raises `ConfigError` naming setting, value and cure."""
    if callable(given):
        return Drawn(targets, given, code_of(given))
    if not isinstance(given, Mapping):
        expected = "expected ranges and choices by name: {'fast': (3, 20)}"
        raise ConfigError(f"space: {text_of(repr, given, 60)}; {expected}, or a function of a trial")
    if not given:
        raise ConfigError("space: it is empty; name what is to be tried: {'fast': (3, 20)}")
    found: dict[str, Dimension] = {}
    for name, values in given.items():
        one = _dimension(str(name), targets.find(str(name)), values)
        if one.target.dotted in found:
            raise ConfigError(f"space: {name:.60} is given twice")
        found[one.target.dotted] = one
    return Ranges(targets, list(found.values()))


def from_text(name: str, text: str) -> Any:
    """Return what a command line says of a setting as a program gives it: ``3:20``, ``20:100:5`` or ``a,b``."""
    if ":" in text:
        return tuple(part.strip() for part in text.split(":"))
    return [part.strip() for part in text.split(",")]


def _dimension(name: str, target: Target, values: Any) -> Dimension:
    shown = text_of(repr, values, 60)
    if isinstance(values, range):
        values = (values.start, values[-1], values.step) if values and values.step > 0 else []
    if isinstance(values, tuple):
        return _range(name, target, values, shown)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"space: {name} = {shown}: expected (low, high), (low, high, step) or a list of choices")
    choices = [_converted(name, target, value) for value in values]
    if not choices:
        raise ConfigError(f"space: {name} = {shown}: it is empty; list what is to be tried")
    return Choices(name, target, choices)


def _range(name: str, target: Target, values: tuple[Any, ...], shown: str) -> Dimension:
    if len(values) not in {2, 3}:
        raise ConfigError(f"space: {name} = {shown}: expected (low, high) or (low, high, step); choices are a [list]")
    kinds = _kinds(target)
    if not kinds & {int, float, Decimal}:
        expected = f"a range is of numbers, and {name} is {type_name(target.kind)}; list its choices: [...]"
        raise ConfigError(f"space: {name} = {shown}: {expected}")
    whole = int in kinds
    low, high, *rest = (_number(name, target, value, shown, whole) for value in values)
    if low > high:
        raise ConfigError(f"space: {name} = {shown}: it is empty, for its low is above its high; expected (low, high)")
    step = rest[0] if rest else None
    if step is not None and step <= 0:
        raise ConfigError(f"space: {name} = {shown}: a step of {step}; expected one above 0")
    if whole:
        return Whole(name, target, int(low), int(high), int(step or 1))
    return Steps(name, target, low, high, step)


def _kinds(target: Target) -> set[Any]:
    kind = target.kind
    return {kind, *(get_args(kind) if get_origin(kind) is not None or get_args(kind) else ())}


def _number(name: str, target: Target, value: Any, shown: str, whole: bool) -> Decimal:
    converted = _converted(name, target, value)
    if isinstance(converted, bool) or not isinstance(converted, int | float | Decimal) or not isfinite(converted):
        expected = "a whole number" if whole else "a number"
        raise ConfigError(f"space: {name} = {shown}: {value!r:.40} is no bound; expected {expected}")
    return Decimal(repr(converted)) if isinstance(converted, float) else Decimal(converted)


def _converted(name: str, target: Target, value: Any) -> Any:
    try:
        return convert(value, target.kind)
    except ValueError as error:
        raise ConfigError(f"space: {name} = {text_of(repr, value, 60)}: {error}") from None
