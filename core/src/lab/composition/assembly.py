"""Assembles a run from its components and settings, and from the description that an earlier run recorded."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, setcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

import attrs
import msgspec

from lab.composition.config import RunSettings
from lab.composition.declared import Declared, declared
from lab.domain.ids import config_hash
from lab.domain.instrument import Instrument, check_instrument
from lab.engine.engine import Engine, ignore_failure
from lab.engine.protocols import OnFailure
from lab.errors import ComponentError, ConfigError, PluginError, describe_error, text_of
from lab.journal.codec import encode
from lab.journal.report import RUN_SETTINGS, deposits, setting_text
from lab.journal.schema import SCHEMA_VERSION
from lab.plugins.discovery import Offer, Registry
from lab.plugins.references import alias_of, is_reference
from lab.plugins.settings import Effective, Layers, build, settings_of
from lab.ports import Broker, Provider, Reporter, RiskGate, Strategy
from lab.records.report import Setting
from lab.records.run import ComponentRecord, RunKind, RunStarted
from lab.secret import HIDDEN, Secret

C = TypeVar("C")
FLAGS: Final[Mapping[str, str]] = {"strategies": "--strategy", "gates": "--gate", "reporters": "--reporter"}
"""The flags of those settings that may be given several times."""


@attrs.define
class Part(Generic[C]):
    """A component of a run, with its name in this run and the origin of its class."""

    name: str
    offer: Offer
    component: C


@attrs.frozen
class _Stopped:
    """What is left of a strategy that was stopped."""

    lookback: int


@attrs.define
class Assembly:
    """All parts of a run."""

    settings: RunSettings
    provider: Part[Provider]
    strategies: list[Part[Strategy]]
    gates: list[Part[RiskGate]]
    broker: Part[Broker]
    reporters: list[Part[Reporter]]
    in_force: list[Effective]
    unknown_variables: list[str]
    unused: list[str]
    """Settings of the command line that are of no component of this run, as ``name.key``."""
    _declared: Declared | None = None

    @property
    def declared(self) -> Declared:
        """What the provider declares, as it was when this was first asked: once the provider is ready.

        Raises `PluginError` for a provider that fails to say it.
        """
        if self._declared is None:
            self._declared = declared(self.provider.name, self.provider.component)
        return self._declared

    @property
    def lookback(self) -> int:
        """Candles of each symbol needed before every strategy can decide."""
        return max((part.component.lookback for part in self.strategies), default=1)

    def engine(
        self,
        started: RunStarted,
        *,
        archive: Callable[[str], str | None] | None = None,
        on_failure: OnFailure = ignore_failure,
    ) -> Engine:
        """Return the engine of the run that `describe` described.

        Puts a fresh decimal context in force, for the strategies: what a component did to the one before must not
        decide on a live run and be missing when it is fed again.
        Raises `ConfigError` for a leverage above an instrument's, `ComponentError` where the broker does not open.
        """
        # The journal sorts what is by symbol: the order in which markets are gone through is that of the settings.
        instruments = {symbol: started.instruments[symbol] for symbol in started.symbols}
        for instrument in instruments.values():
            check_leverage(instrument, started.leverage)
        try:
            self.broker.component.open(instruments, started.seed)
        except BaseException as error:
            on_failure("broker", self.broker.name, "open", error)
            raise ComponentError(f"broker {self.broker.name} failed in open: {describe_error(error)}") from error
        setcontext(Context())
        before = started.carried_loss
        lookbacks: dict[str, int] = {}

        def failed(role: str, name: str, call: str, error: BaseException) -> None:
            on_failure(role, name, call, error)
            if role == "strategy" and name in lookbacks:
                self._let_go(name, lookbacks[name])

        engine = Engine(
            instruments,
            started.interval_ns,
            self.broker.component,
            [(part.name, part.component) for part in self.gates],
            [
                (part.name, part.component, money)
                for part, money in zip(self.strategies, deposits(started), strict=True)
            ],
            config_hash=started.config_hash,
            leverage=started.leverage,
            margin_mode=started.margin,
            account_mode=started.account,
            no_orders=started.no_orders,
            carried_loss=(before.day_ns, before.lost),
            gate_memory=started.gate_memory,
            record_inputs=started.kind == "run",
            broker_name=self.broker.name,
            archive=archive,
            on_failure=failed,
        )
        lookbacks.update({one.name: one.lookback for one in engine.strategies})
        return engine

    def _let_go(self, name: str, lookback: int) -> None:
        """Keep nothing of a strategy that was stopped: what it holds in memory may be why it failed."""
        for part in self.strategies:
            if part.name == name:
                part.component = cast("Strategy", _Stopped(lookback))

    def describe(self, kind: RunKind, instruments: Mapping[str, Instrument], source: Mapping[str, str]) -> RunStarted:
        """Return how this run is started. No label of place or time is in it."""
        run = self.settings
        instruments = {symbol: self._under_its_terms(one) for symbol, one in instruments.items()}
        strategies = tuple(component_record(entry) for entry in self.strategies)
        gates = tuple(component_record(entry) for entry in self.gates)
        broker = component_record(self.broker)
        same = {
            "strategies": strategies,
            "gates": gates,
            "broker": broker,
            "symbol": run.symbol,
            "interval": run.interval,
            "equity": run.equity,
            "account": run.account,
            "leverage": run.leverage,
            "margin": run.margin,
            "seed": run.seed,
        }
        return RunStarted(
            schema_version=SCHEMA_VERSION,
            kind=kind,
            lab=version("lab-trading"),
            config_hash=config_hash(encode(same).decode()),
            provider=component_record(self.provider),
            venue=self.declared.origin,
            realm=self.declared.realm,
            strategies=strategies,
            gates=gates,
            broker=broker,
            symbol=run.symbol,
            interval=run.interval,
            interval_ns=run.interval_ns,
            minutes=run.minutes if kind == "run" else None,
            equity=run.equity,
            account=run.account,
            leverage=run.leverage,
            margin=run.margin,
            seed=run.seed,
            speed=run.speed,
            no_orders=run.no_orders,
            lookback=self.lookback,
            instruments=instruments,
            source=dict(source),
            changed=tuple(f"{one.component}.{one.key}" for one in self.settings_in_force() if one.changed),
        )

    def _under_its_terms(self, instrument: Instrument) -> Instrument:
        """Return an instrument with the broker's margin table, where it has one of its own. Raises `PluginError`."""
        name = self.broker.name
        try:
            tiers = self.broker.component.margin_tiers(instrument.symbol)
            if tiers is None:
                return instrument
            changed = attrs.evolve(instrument, tiers=tuple(tiers))
            problem = check_instrument(changed)
        except BaseException as error:
            raise PluginError(f"{name}: its margin_tiers fails: {describe_error(error)}") from error
        if problem is not None:
            raise PluginError(f"{name}: margin_tiers({instrument.symbol!r}) gave what cannot be used: {problem}")
        return changed

    def settings_in_force(self) -> tuple[Setting, ...]:
        """Return every setting that decides how the run comes out: the run's own, then each component's."""
        origins = {one.key: one.origin for one in self.in_force}
        parts: list[Part[Any]] = [self.provider, *self.strategies, *self.gates, self.broker]
        tables: list[tuple[str, object]] = [("run", self.settings), *((part.name, part.component) for part in parts)]
        return tuple(
            Setting(
                component=name,
                key=key,
                value=setting_text(getattr(component, field.name)),
                origin=origins.get(f"{name}.{key}", "default"),
                changed=getattr(component, field.name) != _default(field),
            )
            for name, component in tables
            for key, field in settings_of(type(component)).items()
            if name != "run" or key in RUN_SETTINGS
        )


def component_record(part: Part[Any]) -> ComponentRecord:
    """Return what the journal records of a component, its settings as JSON values."""
    component = part.component
    settings = {key: _plain(getattr(component, field.name)) for key, field in settings_of(type(component)).items()}
    return ComponentRecord(
        name=part.name,
        type=part.offer.name,
        distribution=part.offer.plugin.distribution,
        version=part.offer.plugin.version,
        settings=msgspec.json.decode(encode(settings)),
    )


def check_leverage(instrument: Instrument, leverage: Decimal) -> None:
    """Refuse a leverage that the venue does not give. Raises `ConfigError`."""
    most = instrument.leverage_most
    if most is not None and leverage > most:
        raise ConfigError(f"leverage = {leverage}: {instrument.symbol} has at most {most}; give --leverage {most}")


RECORDED: Final = "the recorded run"
"""The origin of settings that an earlier run recorded."""

Given = Mapping[str, tuple[Any, str]]
"""Settings that a command gives itself: raw value and where it comes from, by ``table.key``."""


def layers_for(
    config: Path | None,
    sets: list[str],
    options: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    taken_over: Given | None = None,
) -> Layers:
    """Return the layers of file and command line; ``options`` are the command's own flags, ``None`` where not given.

    ``defaults`` are the command's, where they are not those of a live run. ``taken_over`` counts over the file and the
    environment, and less than what was typed. Raises `ConfigError`.
    """
    layers = Layers()
    for dotted, raw in (defaults or {}).items():
        table, _, key = dotted.partition(".")
        layers.put(table, key, raw, "default")
    if config is not None:
        layers.add_file(config, of_run=settings_of(RunSettings))
    # What was hidden in the record is given again.
    layers.add_command({key: given for key, given in (taken_over or {}).items() if given[0] != HIDDEN})
    for text in sets:
        layers.add_set(text)
    typed = {dotted: raw for dotted, raw in options.items() if raw is not None}
    layers.add_command({dotted: (raw, _flag(dotted.partition(".")[2])) for dotted, raw in typed.items()})
    return layers


def _flag(key: str) -> str:
    return FLAGS.get(key) or f"--{key.replace('_', '-')}"


def assemble(
    registry: Registry,
    layers: Layers,
    environment: Mapping[str, str],
    *,
    reporters: bool = True,
    provider: Part[Provider] | None = None,
) -> Assembly:
    """Put a run together. Raises `ConfigError` or `lab.plugins.discovery.PluginError`; writes nothing.

    A ``provider`` that is given is used as it is: it has its settings, and may have read its data already.
    """
    layers.add_environment({k: v for k, v in environment.items() if k.startswith("LAB_RUN_")}, {"run": RunSettings})
    run, in_force = build("run", RunSettings, layers)
    offers: dict[str, Offer] = {}

    def choose(kind: str, name: str, alias: str | None = None) -> tuple[str, Offer]:
        offer = None
        if (alias or name) == name and is_reference(name):
            offer = registry.get(kind, name)
            alias = alias_of(offer.cls.__name__)
        alias = alias or name
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", alias):
            raise ConfigError(f"{alias!r} is no name for a component; expected lower-case letters, digits, _ and -")
        if alias in offers or alias == "run":
            cure = f"give one an alias: --strategy other={name}" if kind == "strategy" else "name it once"
            raise ConfigError(f"two components of this run are named {alias!r}; {cure}")
        offers[alias] = offer = offer or registry.get(kind, name)
        return alias, offer

    if provider is None:
        chosen = choose("provider", run.provider)
    else:
        chosen = provider.name, provider.offer
        offers[provider.name] = provider.offer
    if not run.strategies:
        raise ConfigError("no strategy chosen; give --strategy NAME (see `lab plugins`)")
    strategies = [choose("strategy", name, alias) for alias, name in run.named_strategies()]
    gates = [choose("risk gate", name) for name in run.gates]
    broker = choose("broker", run.broker)
    shown = [choose("reporter", name) for name in run.reporters] if reporters else []
    tables: dict[str, type] = {alias: offer.cls for alias, offer in offers.items()}
    unknown_variables = layers.add_environment(environment, {"run": RunSettings, **tables})
    known = ["run", *tables]
    if reporters:
        layers.check_tables(list({*known, *_installed(registry)}))

    def make(chosen: tuple[str, Offer]) -> Part[Any]:
        alias, offer = chosen
        component, settings = build(alias, offer.cls, layers)
        in_force.extend(settings)
        return Part(alias, offer, component)

    return Assembly(
        run,
        provider or _told(run, make(chosen)),
        [_checked(make(entry), run.symbols) for entry in strategies],
        [make(entry) for entry in gates],
        make(broker),
        [make(entry) for entry in shown],
        in_force,
        unknown_variables,
        layers.unused(known),
    )


def _checked(part: Part[Strategy], symbols: Sequence[str]) -> Part[Strategy]:
    """Return a strategy whose look-back and symbols can be used. Raises `PluginError`, `ConfigError`."""
    try:
        lookback = part.component.lookback
    except KeyboardInterrupt:
        raise  # of a command that a signal just ends
    except BaseException as error:
        raise PluginError(f"{part.name}: its lookback fails: {describe_error(error)}") from None
    if not isinstance(lookback, int) or not 0 <= lookback <= 1_000_000:
        raise PluginError(
            f"{part.name}: its lookback is {text_of(repr, lookback, 100)}; expected a whole number of candles, "
            "0 or more"
        )
    _check_symbols(part, symbols)
    return part


def _check_symbols(part: Part[Strategy], known: Sequence[str]) -> None:
    """Refuse a strategy that names a symbol which is not in the run. Raises `ConfigError`, `PluginError`."""
    try:
        named = getattr(part.component, "symbols", ())
        names = [] if isinstance(named, str) else list(named)
    except KeyboardInterrupt:
        raise  # of a command that a signal just ends
    except BaseException as error:
        raise PluginError(f"{part.name}: its symbols fail: {describe_error(error)}") from None
    if isinstance(named, str) or not all(type(one) is str for one in names):
        raise PluginError(f"{part.name}: its symbols are {text_of(repr, named, 80)}; expected a sequence of text")
    for one in names:
        if one not in known:
            cure = f"add --symbol {one[:80]}, or take it out of the strategy's symbols"
            raise ConfigError(f"{part.name} wants {one[:80]}, and this run has {', '.join(known)}; {cure}")


def _told(run: RunSettings, part: Part[Provider]) -> Part[Provider]:
    """Tell a provider where the run leaves no file behind; return it."""
    if run.no_write:
        try:
            part.component.leave_no_file()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(f"{part.name}: its leave_no_file fails: {describe_error(error)}") from None
    return part


def _installed(registry: Registry) -> list[str]:
    """Return the names of all installed components: a file may have tables of some that this run does not use."""
    kinds = ("provider", "strategy", "risk gate", "broker", "reporter")
    return [name for kind in kinds for name in registry.names(kind)]


_SAME_RUN: Final = ("symbol", "interval", "equity", "account", "leverage", "margin", "seed", "speed", "no_orders")


def own_settings(assembly: Assembly) -> dict[str, Any]:
    """Return the settings of a run and its components as `recorded_settings` does."""
    run = {
        "provider": assembly.provider.offer.name,
        "strategies": [f"{part.name}={part.offer.name}" for part in assembly.strategies],
        "gates": [part.offer.name for part in assembly.gates],
        "broker": assembly.broker.offer.name,
        **{key: getattr(assembly.settings, key) for key in (*_SAME_RUN, "minutes")},
    }
    parts: tuple[Part[Any], ...] = (assembly.provider, *assembly.strategies, *assembly.gates, assembly.broker)
    return _by_name(run, [component_record(part) for part in parts])


def recorded_settings(started: RunStarted) -> dict[str, Any]:
    """Return the settings of a recorded run and its components, by ``table.key``."""
    run = {
        "provider": started.provider.type,
        "strategies": [f"{entry.name}={entry.type}" for entry in started.strategies],
        "gates": [entry.type for entry in started.gates],
        "broker": started.broker.type,
        **{key: getattr(started, key) for key in _SAME_RUN},
        **({} if started.minutes is None else {"minutes": started.minutes}),
    }
    return _by_name(run, (started.provider, *started.strategies, *started.gates, started.broker))


def _by_name(run: Mapping[str, Any], entries: Sequence[ComponentRecord]) -> dict[str, Any]:
    of_components = {f"{entry.name}.{key}": raw for entry in entries for key, raw in entry.settings.items()}
    return {f"run.{key}": raw for key, raw in run.items()} | of_components


def reassemble(registry: Registry, started: RunStarted) -> Assembly:
    """Put a recorded run together again, without reporters. Raises as `assemble` does."""
    layers = Layers()
    for dotted, raw in recorded_settings(started).items():
        table, _, key = dotted.partition(".")
        layers.put(table, key, raw, RECORDED)
    return assemble(registry, layers, {}, reporters=False)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path | Secret) else value


def _default(field: "attrs.Attribute[Any]") -> Any:
    """Return a setting's default as it would be in force; `attrs.NOTHING` for one that must be given."""
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # the stub takes this class for a function
        return attrs.NOTHING if default.takes_self else default.factory()
    return field.converter(default) if callable(field.converter) and default is not attrs.NOTHING else default
