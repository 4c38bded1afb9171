"""A run, put together: components with their settings, and the description from which it can be put together again."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import attrs
import msgspec

from lab.composition.config import RunSettings
from lab.domain.ids import config_hash
from lab.domain.instrument import Instrument
from lab.engine.engine import Engine, ignore_failure
from lab.engine.protocols import OnFailure
from lab.errors import ComponentError, ConfigError, PluginError, describe_error
from lab.journal.codec import encode
from lab.journal.schema import SCHEMA_VERSION
from lab.plugins.discovery import Offer, Registry
from lab.plugins.settings import Effective, Layers, build, settings_of
from lab.ports import Broker, Provider, Reporter, RiskGate, Strategy

C = TypeVar("C")
FLAGS: Final[Mapping[str, str]] = {"strategies": "--strategy", "gates": "--gate", "reporters": "--reporter"}
"""The flags of those settings that may be given several times."""


@attrs.define
class Part(Generic[C]):
    """A component in its place: the name it goes by in this run, and where its class came from."""

    name: str
    offer: Offer
    component: C


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

    @property
    def lookback(self) -> int:
        """Candles needed before every strategy can decide."""
        return max((part.component.lookback for part in self.strategies), default=1)

    def engine(
        self,
        body: Mapping[str, Any],
        *,
        archive: Callable[[str], str | None] | None = None,
        on_failure: OnFailure = ignore_failure,
    ) -> Engine:
        """Return the engine of the run that `describe` described.

        Raises `ConfigError` for a leverage above an instrument's, `ComponentError` where the broker does not open.
        """
        instruments = {
            symbol: msgspec.convert(raw, Instrument, strict=False) for symbol, raw in body["instruments"].items()
        }
        for instrument in instruments.values():
            check_leverage(instrument, Decimal(body["leverage"]))
        try:
            self.broker.component.open(instruments, int(body["seed"]))
        except BaseException as error:
            on_failure("broker", self.broker.name, "open", error)
            raise ComponentError(f"broker {self.broker.name} failed in open: {describe_error(error)}") from error
        before = body.get("carried_loss", {"day_ns": 0, "lost": "0"})
        return Engine(
            instruments,
            int(body["interval_ns"]),
            self.broker.component,
            [(part.name, part.component) for part in self.gates],
            [(part.name, part.component, Decimal(body["equity"])) for part in self.strategies],
            config_hash=body["config_hash"],
            leverage=Decimal(body["leverage"]),
            no_orders=bool(body["no_orders"]),
            carried_loss=(int(before["day_ns"]), Decimal(before["lost"])),
            record_inputs=body["kind"] == "run",
            broker_name=self.broker.name,
            archive=archive,
            on_failure=on_failure,
        )

    def describe(self, kind: str, instruments: Mapping[str, Instrument], source: Mapping[str, str]) -> dict[str, Any]:
        """Return the whole assembly as plain data: the body of ``run_started``. No label of place or time is in it."""
        run = self.settings

        def part(entry: Part[Any]) -> dict[str, Any]:
            cls = type(entry.component)
            settings = {key: _plain(getattr(entry.component, f.name)) for key, f in settings_of(cls).items()}
            return {
                "name": entry.name,
                "type": entry.offer.name,
                "distribution": entry.offer.plugin.distribution,
                "version": entry.offer.plugin.version,
                "settings": settings,
            }

        body: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "lab": version("lab-trading"),
            "provider": part(self.provider),
            "venue": self.provider.component.origin(),
            "realm": self.provider.component.realm().value,
            "strategies": [part(entry) for entry in self.strategies],
            "gates": [part(entry) for entry in self.gates],
            "broker": part(self.broker),
            "symbol": run.symbol,
            "interval": run.interval,
            "interval_ns": run.interval_ns,
            "minutes": run.minutes if kind == "run" else None,
            "equity": run.equity,
            "leverage": run.leverage,
            "seed": run.seed,
            "speed": run.speed,
            "no_orders": run.no_orders,
            "lookback": self.lookback,
            "instruments": dict(instruments),
            "source": dict(source),
            "carried_loss": {"day_ns": 0, "lost": "0"},
        }
        same = {
            key: body[key]
            for key in ("strategies", "gates", "broker", "symbol", "interval", "equity", "leverage", "seed")
        }
        body["config_hash"] = config_hash(encode(same).decode())
        plain: dict[str, Any] = msgspec.json.decode(encode(body))
        return plain


def check_leverage(instrument: Instrument, leverage: Decimal) -> None:
    """Refuse a leverage that the venue does not give. Raises `ConfigError`."""
    most = instrument.leverage_max
    if most is not None and leverage > most:
        raise ConfigError(f"leverage = {leverage}: {instrument.symbol} has at most {most}; give --leverage {most}")


def layers_for(
    config: Path | None, sets: list[str], options: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Layers:
    """Return the layers of file and command line; ``options`` are the command's own flags, ``None`` where not given.

    ``defaults`` are the command's, where they are not those of a live run. Raises `ConfigError`.
    """
    layers = Layers()
    for dotted, raw in (defaults or {}).items():
        table, _, key = dotted.partition(".")
        layers.put(table, key, raw, "default")
    if config is not None:
        layers.add_file(config)
    for text in sets:
        layers.add_set(text)
    for dotted, raw in options.items():
        if raw is not None:
            table, _, key = dotted.partition(".")
            layers.put(table, key, raw, FLAGS.get(key) or f"--{key.replace('_', '-')}")
    return layers


def assemble(registry: Registry, layers: Layers, environment: Mapping[str, str], *, reporters: bool = True) -> Assembly:
    """Put a run together. Raises `ConfigError` or `lab.plugins.discovery.PluginError`; writes nothing."""
    layers.add_environment({k: v for k, v in environment.items() if k.startswith("LAB_RUN_")}, {"run": RunSettings})
    run, in_force = build("run", RunSettings, layers)
    offers: dict[str, Offer] = {}

    def choose(kind: str, name: str, alias: str | None = None) -> tuple[str, Offer]:
        alias = alias or name
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", alias):
            raise ConfigError(f"{alias!r} is no name for a component; expected lower-case letters, digits, _ and -")
        if alias in offers or alias == "run":
            cure = f"give one an alias: --strategy other={name}" if kind == "strategy" else "name it once"
            raise ConfigError(f"two components of this run are named {alias!r}; {cure}")
        offers[alias] = offer = registry.get(kind, name)
        return alias, offer

    provider = choose("provider", run.provider)
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

    def make_strategy(chosen: tuple[str, Offer]) -> Part[Strategy]:
        part: Part[Strategy] = make(chosen)
        try:
            lookback = part.component.lookback
        except (Exception, SystemExit) as error:
            raise PluginError(f"{part.name}: its lookback fails: {type(error).__name__}: {error}") from None
        if not isinstance(lookback, int) or not 0 <= lookback <= 1_000_000:
            raise PluginError(
                f"{part.name}: its lookback is {lookback!r}; expected a whole number of candles, 0 or more"
            )
        return part

    return Assembly(
        run,
        make(provider),
        [make_strategy(entry) for entry in strategies],
        [make(entry) for entry in gates],
        make(broker),
        [make(entry) for entry in shown],
        in_force,
        unknown_variables,
    )


def _installed(registry: Registry) -> list[str]:
    """Names a configuration file may hold a table for, though this run does not use them."""
    kinds = ("provider", "strategy", "risk gate", "broker", "reporter")
    return [offer.name for kind in kinds for offer in registry.offers(kind)]


def reassemble(registry: Registry, body: Mapping[str, Any]) -> Assembly:
    """Put the run of a ``run_started`` body together again, without reporters. Raises as `assemble` does."""
    layers = Layers()
    run = {
        "provider": body["provider"]["type"],
        "strategies": [f"{entry['name']}={entry['type']}" for entry in body["strategies"]],
        "gates": [entry["type"] for entry in body["gates"]],
        "broker": body["broker"]["type"],
        **{key: body[key] for key in ("symbol", "interval", "equity", "leverage", "seed", "speed", "no_orders")},
    }
    for key, raw in run.items():
        layers.put("run", key, raw, "run_started")
    for entry in (body["provider"], *body["strategies"], *body["gates"], body["broker"]):
        for key, raw in entry["settings"].items():
            layers.put(entry["name"], key, raw, "run_started")
    return assemble(registry, layers, {}, reporters=False)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
