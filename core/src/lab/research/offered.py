"""Turns what a program gives (components, names, figures) into the layers and the registry of an assembly."""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from lab.composition.assembly import Assembly, Part, assemble, layers_for
from lab.composition.config import RunSettings
from lab.errors import ConfigError, did_you_mean, text_of
from lab.plugins.discovery import BASES, Offer, Registry
from lab.plugins.references import alias_of, is_reference
from lab.plugins.settings import Layers, build, settings_of
from lab.ports import Broker, Component, Provider, Reporter, RiskGate, Strategy

StrategyLike = Strategy | str
_ARGUMENTS: Final = {
    "symbol": "symbol=", "interval": "interval=", "provider": "the data, or provider=", "strategies": "the strategy",
    "gates": "gates=", "broker": "broker=", "reporters": "reporters=", "state_dir": "state_dir=",
    "no_write": "state_dir=None, or a folder",
}  # fmt: skip
"""Settings of the run that are arguments of their own."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")


@lru_cache(maxsize=1)
def installed() -> Registry:
    """Return the plugins of this environment, which are looked for once in a process."""
    return Registry()


class Made(Registry):
    """The installed plugins, and the classes of components that a program made itself."""

    def __init__(self, base: Registry) -> None:
        self.__dict__.update(base.__dict__)
        self._made: dict[tuple[str, str], Offer] = {}

    def add(self, kind: str, cls: type) -> Offer:
        """Offer a class; return its offer, under the name by which it is recorded."""
        offer = self.offer_of(kind, cls)
        name, number = offer.name, 1
        while (known := self._made.get((kind, name))) is not None and known.cls is not cls:
            number += (
                1  # another class of the same name: of a notebook's cell that was run again, or made by a function
            )
            name = f"{offer.name}#{number}"
        return self._made.setdefault((kind, name), offer._replace(name=name))

    def get(self, kind: str, name: str) -> Offer:
        """Return the class of a component that was made, else what `Registry.get` does."""
        return self._made.get((kind, name)) or super().get(kind, name)


class Offered:
    """The settings of one run as a program gives them; `assembly` puts them together.

    An instance of a component stands for its class and its settings: every run makes a new one of them, so that no run
    begins with what another has left behind.
    """

    def __init__(self, config: str | PathLike[str] | None, settings: Mapping[str, Any] | None) -> None:
        self.registry = Made(installed())
        self.layers: Layers = layers_for(None if config is None else Path(fspath(config)), [], {})
        for dotted, raw in (settings or {}).items():
            table, dot, key = str(dotted).partition(".")
            if not (dot and table and key):
                raise ConfigError(f"settings: {dotted!r}: expected component.key, for example 'sma.fast'")
            if table == "run" and key in _ARGUMENTS:
                raise ConfigError(f"settings: {dotted}: give it as {_ARGUMENTS[key]}")
            self.put(table, key, raw, "settings")

    def put(self, table: str, key: str, raw: Any, origin: str) -> None:
        """Set one value over what was set before."""
        self.layers.put(table, key, raw if not isinstance(raw, PathLike) else str(raw), origin, of_command=True)

    def run(self, **given: Any) -> None:
        """Set settings of the run; ``None`` leaves one as the file or its default has it."""
        known = settings_of(RunSettings)
        for key, raw in given.items():
            if raw is not None:
                assert key in known, key
                self.put("run", key, raw, key)

    def strategies(self, given: Any, *, classes: bool = False) -> None:
        """Take the strategies: one, several, or several by the name each shall have in the run.

        With ``classes`` a class stands for itself: its settings are given later.
        """
        entries: list[str] = []
        pairs = given.items() if isinstance(given, Mapping) else [("", one) for one in listed(given)]
        for alias, one in pairs:
            named = self._class if classes and isinstance(one, type) else self.component
            entries.append(named("strategy", one, str(alias)))
        self.put("run", "strategies", entries, "strategy")

    def components(self, key: str, kind: str, given: Any) -> None:
        """Take gates or reporters: names or components, in their order; ``None`` leaves them as they are."""
        if given is not None:
            entries = [self.component(kind, one, "").rpartition("=")[2] for one in listed(given)]
            self.put("run", key, entries, key)

    def component(self, kind: str, given: object, alias: str) -> str:
        """Take one component; return it as the run's settings name it: ``name``, or ``alias=name``.

        Raises `ConfigError` for a class, and for what is no component of that kind.
        """
        if alias and not _NAME.fullmatch(alias):
            raise ConfigError(f"{alias!r:.80} is no name for a {kind}; expected lower-case letters, digits, _ and -")
        if isinstance(given, str | PathLike):
            name = fspath(given)
            return f"{alias}={name}" if alias else str(name)
        base = _CLASSES[kind]
        if isinstance(given, type):
            made = f"{given.__name__}()" if issubclass(given, base) else "an instance"
            raise ConfigError(f"{given.__name__} is a class; give {made}, with its settings, or a name")
        if not isinstance(given, base):
            shown = text_of(repr, given, 60)
            raise ConfigError(f"{shown} is no {kind}; expected an instance of lab.{base.__name__}, or a name")
        offer = self.registry.add(kind, type(given))
        alias = alias or (alias_of(type(given).__name__) if is_reference(offer.name) else offer.name)
        twice = [key for key, value in self.layers.tables.get(alias, {}).items() if value.origin == "settings"]
        if twice:
            made = f"{type(given).__name__}({twice[0]}=…)"
            raise ConfigError(
                f"settings: {alias}.{twice[0]}: {alias} is an instance, which has its settings; give {made}"
            )
        self.layers.put_made(alias, given)
        return offer.name if alias == offer.name else f"{alias}={offer.name}"

    def _class(self, kind: str, given: Any, alias: str) -> str:
        base = _CLASSES[kind]
        if not issubclass(given, base):
            raise ConfigError(f"{given.__name__:.60} is no {kind}; derive it from lab.{base.__name__}")
        offer = self.registry.add(kind, given)
        alias = alias or (alias_of(given.__name__) if is_reference(offer.name) else offer.name)
        return offer.name if alias == offer.name else f"{alias}={offer.name}"

    def of_broker(self, **given: Any) -> None:
        """Give settings to the broker of the run, whichever that is. Raises `ConfigError` where it has none such."""
        values = {key: raw for key, raw in given.items() if raw is not None}
        if values:
            run, _ = build("run", RunSettings, self.layers)
            offer = self.registry.get("broker", run.broker)
            table = alias_of(offer.cls.__name__) if is_reference(run.broker) else run.broker
            self.of_component(table, offer.cls, values)

    def of_component(self, table: str, cls: type, values: Mapping[str, Any]) -> None:
        """Give settings to a component of the run. Raises `ConfigError` where it has none such."""
        known = settings_of(cls)
        for key, raw in values.items():
            if key not in known:
                raise ConfigError(f"{key}: {table} has no setting {key}{did_you_mean(key, list(known))}")
            self.put(table, key, raw, key)

    def assembly(self, provider: Part[Provider] | None = None) -> Assembly:
        """Put the run together; with ``provider`` that component is used as it is. Raises as `assemble` does."""
        made = assemble(self.registry, self.layers, {}, provider=provider)
        if made.unused:
            raise ConfigError(f"settings: {made.unused[0]}: this run has no component of that name")
        return made


def listed(given: Any) -> list[Any]:
    """Return what was given as a list: one thing stands for itself."""
    if isinstance(given, str | PathLike | Component) or not isinstance(given, Iterable):
        return [given]
    return list(given)


def fees_of(fees: Any) -> dict[str, Any]:
    """Return fees as settings of a provider: one fraction for maker and taker, or a pair of them."""
    if fees is None:
        return {}
    if isinstance(fees, tuple | list):
        if len(fees) != 2:
            raise ConfigError(f"fees = {text_of(repr, fees, 60)}: expected one fraction, or (maker, taker)")
        return {"maker_fee": fees[0], "taker_fee": fees[1]}
    return {"maker_fee": fees, "taker_fee": fees}


_CLASSES: Final[Mapping[str, Any]] = {
    "provider": Provider,
    "strategy": Strategy,
    "risk gate": RiskGate,
    "broker": Broker,
    "reporter": Reporter,
}
assert _CLASSES.keys() == BASES.keys()
Money = Decimal | int | float | str
Stopped = Callable[[], object]
