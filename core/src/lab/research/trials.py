"""What is the same for all trials of a sweep, and how one is run."""

import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen

from lab.backtesting.runner import conduct
from lab.composition.assembly import Assembly, Part, assemble
from lab.composition.config import RunSettings
from lab.domain.market import Candle
from lab.engine.engine import Engine
from lab.engine.protocols import Action
from lab.engine.view import View
from lab.errors import ConfigError, LabError, describe_error
from lab.exit_codes import EndReason
from lab.plugins.discovery import Offer, Registry
from lab.plugins.references import alias_of, is_reference
from lab.plugins.settings import Layers, Value, build, settings_of
from lab.ports import Provider, Strategy
from lab.research.code import code_of
from lab.research.metrics import Metric, figures_of, measured
from lab.research.prices import Prices
from lab.research.result import Result
from lab.research.shared import Events, Facts, WindowData
from lab.research.tasks import STEPS, Outcome, Settings, Task, Watch
from lab.runs.failures import FailureLog

_HISTORY: Final = 2
"""Candles of history before a window, in lookbacks: as many as a live session asks for."""
_PLACES: Final = 8
_BROKEN: Final = frozenset(
    reason.code for reason in (EndReason.PLUGIN, EndReason.INTERNAL, EndReason.CONFIG, EndReason.STORAGE)
)


class _Offers(Registry):
    """The classes of one run, which other processes have got with it."""

    def __init__(self, offers: Mapping[tuple[str, str], Offer]) -> None:
        self._offers_of_run = offers

    def get(self, kind: str, name: str) -> Offer:
        return self._offers_of_run[kind, name]


@define
class _Watched(Assembly):
    """An assembly that keeps the engine it makes."""

    made: Engine | None = field(init=False, default=None)

    def engine(self, *given: Any, **more: Any) -> Engine:
        self.made = super().engine(*given, **more)
        return self.made


class _Unsaid(FailureLog):
    """Says nothing: what fails first in a trial is in its row."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def note(self, role: str, name: str, call: str, error: BaseException) -> None:
        self.first = self.first or f"{role} {name} failed in {call}: {describe_error(error)}"

    def _print(self, text: str, details: str = "") -> None:
        return


@frozen
class Plan:
    """What is the same for all trials: components, their settings, prices and metric. It can be pickled."""

    offers: Mapping[tuple[str, str], Offer]
    tables: Mapping[str, Mapping[str, Value]]
    provider: tuple[str, Offer, Mapping[str, Any]]
    facts: Facts
    rows: int
    metric: Metric

    @classmethod
    def of(cls, registry: Registry, layers: Layers, prices: Prices, metric: Metric) -> "Plan":
        """Return the plan of runs with these settings. Raises what `assemble` raises, but for the strategies."""
        layers.put("run", "no_write", True, "a sweep")
        layers.put("run", "reporters", [], "a sweep")
        run, _ = build("run", RunSettings, layers)
        offers = {("strategy", name): registry.get("strategy", name) for _, name in run.named_strategies()}
        offers |= {("risk gate", name): registry.get("risk gate", name) for name in run.gates}
        offers["broker", run.broker] = registry.get("broker", run.broker)
        provider = prices.part
        played = provider.name, provider.offer, _values(provider.component)
        plan = cls(offers, layers.tables, played, Facts.of(prices), prices.rows, metric)
        plan._check()
        return plan

    @classmethod
    def of_assembly(cls, registry: Registry, made: Assembly, prices: Prices, metric: Metric) -> "Plan":
        """Return the plan of runs like one that was put together. Raises as `of` does."""
        layers = Layers()
        layers.put_made("run", evolve(made.settings, symbol=prices.symbol, interval=prices.interval))
        parts: list[Part[Any]] = [*made.strategies, *made.gates, made.broker]
        for part in parts:
            layers.put_made(part.name, part.component)
        return cls.of(registry, layers, prices, metric)

    def equity(self) -> Decimal:
        """Return the starting equity of a run, of all its accounts."""
        run, _ = build("run", RunSettings, self._layers({}))
        return Decimal(run.equity * _accounts(run))

    def starting_with(self, equity: Decimal) -> "Plan":
        """Return a plan whose runs begin with another equity, the same part of it in each account."""
        run, _ = build("run", RunSettings, self._layers({}))
        own = equity / _accounts(run)
        tables = {table: dict(values) for table, values in self.tables.items()}
        tables["run"]["equity"] = Value(round(own, _PLACES) if own != equity else own, "the run before", as_it_is=True)
        return evolve(self, tables=tables)

    def abouts(self) -> list[object]:
        """Return the classes and functions in it, which may be of a file, a script or a notebook."""
        found: list[object] = [offer.cls for offer in (*self.offers.values(), self.provider[1])]
        return [*found, self.metric] if callable(self.metric) else found

    def classes(self) -> dict[str, type]:
        """Return the classes of the components by the names they have in a run: the strategies first."""
        run, _ = build("run", RunSettings, self._layers({}))
        found = {}
        for alias, name in run.named_strategies():
            found[self._alias("strategy", alias, name)] = self.offers["strategy", name].cls
        for name in run.gates:
            found[self._alias("risk gate", name, name)] = self.offers["risk gate", name].cls
        found[self._alias("broker", run.broker, run.broker)] = self.offers["broker", run.broker].cls
        return found

    def strategies(self) -> list[str]:
        """Return the names of the strategies in a run."""
        run, _ = build("run", RunSettings, self._layers({}))
        return [self._alias("strategy", alias, name) for alias, name in run.named_strategies()]

    def code(self) -> list[str]:
        """Return what tells the code of the strategies from another version of it."""
        return [code_of(offer.cls) for (kind, _), offer in self.offers.items() if kind == "strategy"]

    def settings_text(self) -> list[str]:
        """Return the settings of the run and of its components that every trial has, as text."""
        made, _ = self._stood_in()
        stand_ins = {part.name for part in made.strategies}
        found = [
            f"{one.component}.{one.key} = {one.value}"
            for one in made.settings_in_force()
            if (one.component, one.key) != ("run", "strategies") and not Path(one.value).is_absolute()
        ]  # where files lie is no part of what is in them
        for table in sorted(stand_ins):
            found += [f"{table}.{key} = {value.raw}" for key, value in sorted(self.tables.get(table, {}).items())]
        parts: list[Part[Any]] = [*made.gates, made.broker]
        return [*found, *(f"{part.name} is {code_of(part.offer.cls)}" for part in parts)]

    def assembly(self, settings: Settings) -> Assembly:
        """Put one run together, of new components. Raises `LabError` where the settings do not fit them."""
        layers = self._layers(settings)
        made = assemble(_Offers(self.offers), layers, {}, reporters=False, provider=self._provider())
        return _of(made, self.facts)

    def result(
        self,
        events: Events,
        task: Task,
        watch: Watch | None = None,
        stopped: Callable[[], object] | None = None,
        failures: FailureLog | None = None,
    ) -> Result:
        """Run one trial and return all of it. Raises `LabError` for what keeps it from beginning."""
        assembly = self.assembly(task.settings)
        rows = sum(map(len, events.within(task.window, 0))) if watch is not None else 0
        data = WindowData(
            self.facts, events, task.window, _HISTORY * assembly.lookback, max(rows // STEPS, 1) if rows else None
        )
        stop, progress = (stopped, None) if watch is None else _watching(assembly, max(rows, 1), watch, stopped)
        ended = conduct(
            assembly, wall_ns=time.time_ns, seconds=time.perf_counter, quiet=True, data=data, stopped=stop,
            progress=progress, failures=failures or _Unsaid(),
        )  # fmt: skip
        return Result.of_backtest(ended)

    def outcome(
        self, events: Events, task: Task, watch: Watch | None = None, stopped: Callable[[], object] | None = None
    ) -> Outcome:
        """Run one trial; return what it came to. A trial that fails is an outcome too."""
        began, failures = time.perf_counter(), _Unsaid()
        try:
            result = self.result(events, task, watch if task.watched else None, stopped, failures)
            report = result.report
            if report.reason in _BROKEN:
                return Outcome(
                    error=failures.first or report.error or report.reason, seconds=time.perf_counter() - began
                )
            if report.reason == EndReason.STOPPED.code:
                return Outcome(pruned=True, figures=figures_of(report), seconds=time.perf_counter() - began)
            value, error = measured(self.metric, result)
            found = None if error else value
            return Outcome(found, error, figures=figures_of(report), seconds=time.perf_counter() - began)
        except LabError as error:
            return Outcome(error=str(error), seconds=time.perf_counter() - began)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Outcome(error=describe_error(error), seconds=time.perf_counter() - began)

    def _provider(self) -> Part[Provider]:
        name, offer, values = self.provider
        return Part(name, offer, offer.cls(**values))

    def _layers(self, settings: Settings) -> Layers:
        layers = Layers()
        layers.tables = {table: dict(values) for table, values in self.tables.items()}
        for dotted, value in settings.items():
            table, _, key = dotted.partition(".")
            layers.tables.setdefault(table, {})[key] = Value(value, "space", as_it_is=True)
        return layers

    def _check(self) -> None:
        """Raise for what is wrong with everything but the strategies' settings, which the space completes."""
        made, tables = self._stood_in()
        unused = [one for one in made.unused if one.partition(".")[0] not in tables]
        if unused:
            raise ConfigError(f"settings: {unused[0]}: this run has no component of that name")

    def _stood_in(self) -> tuple[Assembly, list[str]]:
        """Return a run with other strategies in the place of these, and the names of those."""
        stand_ins = {
            key: one._replace(cls=_StandIn) if key[0] == "strategy" else one for key, one in self.offers.items()
        }
        layers = self._layers({})
        run, _ = build("run", RunSettings, layers)
        tables = [self._alias("strategy", alias, name) for alias, name in run.named_strategies()]
        for table in tables:
            layers.tables.pop(table, None)
        entries = [f"{table}={name}" for table, (_, name) in zip(tables, run.named_strategies(), strict=True)]
        layers.put("run", "strategies", entries, "strategy")
        made = assemble(_Offers(stand_ins), layers, {}, reporters=False, provider=self._provider())
        return _of(made, self.facts), tables

    def _alias(self, kind: str, alias: str, name: str) -> str:
        return alias_of(self.offers[kind, name].cls.__name__) if alias == name and is_reference(name) else alias


def _accounts(run: RunSettings) -> int:
    return len(run.strategies) if run.account == "separate" else 1


def _of(made: Assembly, facts: Facts) -> _Watched:
    return _Watched(
        made.settings, made.provider, made.strategies, made.gates, made.broker, [], made.in_force, [], made.unused,
        declared=facts.declared,
    )  # fmt: skip


@define
class _StandIn(Strategy):
    """Stands for a strategy whose settings are not known yet."""

    @property
    def lookback(self) -> int:
        return 0

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        return ()


def _values(component: object) -> dict[str, Any]:
    return {key: getattr(component, one.name) for key, one in settings_of(type(component)).items()}


def _watching(
    assembly: Assembly, rows: int, watch: Watch, stopped: Callable[[], object] | None
) -> tuple[Callable[[], object], Callable[[str, int, int | None], None]]:
    """Return what asks a pruner while a run goes on: ``stopped`` and ``progress`` of the run."""
    assert isinstance(assembly, _Watched)
    step, given_up = 0, False

    def progress(what: str, done: int, total: int | None) -> None:
        nonlocal step, given_up
        tenth = done * STEPS // rows
        if what == "inputs" and step < tenth < STEPS and not given_up and assembly.made is not None:
            step = tenth
            valuation = assembly.made.valuation
            given_up = watch(step, float(valuation.equity() - valuation.starting_equity))

    return lambda: given_up or (stopped is not None and stopped()), progress
