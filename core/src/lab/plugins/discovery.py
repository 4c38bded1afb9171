"""Discovers plugins: every distribution with an entry point in the group ``lab``, and the components it offers.

A plugin that fails is kept by name with its reason, and fails only those runs that ask for it. No attrs here:
``lab --help`` looks at the plugins' commands, and should cost next to nothing.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple

import pluggy

from lab.errors import PluginError, UnknownPlugin, describe_error, did_you_mean
from lab.plugins import hookspecs
from lab.plugins.hookspecs import GROUP, PROJECT, PluginCommand
from lab.plugins.references import alias_of, in_this_folder, is_reference, origin_of, reference_of, resolve

KINDS: Final[Mapping[str, str]] = {
    "provider": "lab_providers",
    "strategy": "lab_strategies",
    "risk gate": "lab_risk_gates",
    "broker": "lab_brokers",
    "reporter": "lab_reporters",
}
"""Kinds of component, as users call them, and the hook that offers each."""
BASES: Final[Mapping[str, str]] = {
    "provider": "Provider",
    "strategy": "Strategy",
    "risk gate": "RiskGate",
    "broker": "Broker",
    "reporter": "Reporter",
}
"""The class of `lab.ports` that each kind of component derives from."""


class Plugin:
    """A plugin: its entry point, its distribution, and its failure, if it failed."""

    def __init__(self, name: str, distribution: str, version: str) -> None:
        self.name = name
        self.distribution = distribution
        self.version = version
        self.hooks: list[str] = []
        self.problems: list[str] = []

    def fail(self, problem: str) -> None:
        """Note what went wrong, on one line of bounded length."""
        text = " ".join(problem.split())
        self.problems.append(text if len(text) <= 300 else text[:297] + "...")


class Offer(NamedTuple):
    """A class offered under a name, by a plugin."""

    kind: str
    name: str
    cls: type
    plugin: Plugin


class _Declared(NamedTuple):
    """What a plugin offers under a name: a class, or where it is, as ``module:Class``; not looked at yet."""

    kind: str
    name: str
    value: object
    plugin: Plugin


class Registry:
    """All plugins of this environment, loaded once. Loading imports each plugin's module and nothing it offers."""

    def __init__(self, found: list[EntryPoint] | None = None) -> None:
        """Load the entry points of the group ``lab``, or the given ones. Never raises for what a plugin does."""
        self.plugins: list[Plugin] = []
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._declared: dict[str, list[_Declared]] = {}
        self._offers: dict[tuple[str, str, str, str], Offer | None] = {}
        points = list(entry_points(group=GROUP)) if found is None else found
        for point in sorted(points, key=lambda p: (p.name, p.dist.name if p.dist else "")):
            self._load(point)

    def _load(self, point: EntryPoint) -> None:
        plugin = Plugin(point.name, point.dist.name if point.dist else "?", point.dist.version if point.dist else "?")
        self.plugins.append(plugin)
        try:
            module = point.load()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            plugin.fail(f"cannot be imported ({point.value}): {describe_error(error)}")
            return
        problem = self._check_hooks(module, plugin)
        if problem is not None:
            plugin.fail(problem)
            return
        try:
            self._manager.register(module, name=f"{plugin.distribution}:{plugin.name}")
        except (pluggy.PluginValidationError, ValueError) as error:
            plugin.fail(f"cannot be registered: {error}")

    @staticmethod
    def _check_hooks(module: object, plugin: Plugin) -> str | None:
        """Note the hooks a module implements; return what is wrong with them."""
        known = [name for name in dir(hookspecs) if name.startswith("lab_")]
        for name, value in inspect.getmembers(module):
            marked = getattr(value, f"{PROJECT}_impl", None) is not None
            if not marked:
                if name.startswith("lab_") and inspect.isfunction(value):
                    return f"{name} is not marked with @hookimpl; add `from lab import hookimpl` and the decorator"
                continue
            if name not in known:
                return f"offers the unknown hook {name!r}{did_you_mean(name, known)}"
            plugin.hooks.append(name)
        if not plugin.hooks:
            return f"offers no hook; implement one of {', '.join(known)}"
        return None

    def _call(self, hook: str) -> list[tuple[Plugin, Mapping[str, Any]]]:
        """Call one hook of every plugin, each on its own, and return what is sound."""
        results = []
        for plugin in self.plugins:
            module = self._manager.get_plugin(f"{plugin.distribution}:{plugin.name}")
            if module is None or hook not in plugin.hooks:
                continue
            implementation: Callable[[], object] = getattr(module, hook)
            try:
                offered = implementation()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                plugin.fail(f"{hook} failed: {describe_error(error)}")
                continue
            if not isinstance(offered, Mapping):
                plugin.fail(f"{hook} returned {type(offered).__name__}, expected a mapping of name to class")
                continue
            results.append((plugin, offered))
        return results

    def names(self, kind: str) -> list[str]:
        """Return the names offered for one kind, sound or not, in order. Imports nothing that is offered as text."""
        return sorted({declared.name for declared in self._declare(kind)})

    def offers(self, kind: str) -> list[Offer]:
        """Return every sound offer of one kind, by name; two plugins may offer the same name (see `get`)."""
        found = [offer for declared in self._declare(kind) if (offer := self._sound(declared)) is not None]
        return sorted(found, key=lambda offer: (offer.name, offer.plugin.distribution))

    def get(self, kind: str, name: str) -> Offer:
        """Return the offer of that kind and name; of what is offered as text, only this is imported.

        A name may be a reference to a class in a file or module, such as ``./mine.py:Mine``: no plugin offers it, and
        its plugin then names the file and its SHA-256. Raises `UnknownPlugin` with the nearest name, or `PluginError`
        when two plugins offer it or the one that should is broken.
        """
        if is_reference(name):
            return self._referred(kind, name)
        declared = [one for one in self._declare(kind) if one.name == name]
        named = [offer for one in declared if (offer := self._sound(one)) is not None]
        if len(named) == 1:
            return named[0]
        if named:
            owners = " and ".join(f"{o.plugin.distribution} {o.plugin.version}" for o in named)
            raise PluginError(f"{kind} {name!r} is offered by {owners}; uninstall one of them")
        text = f"no {kind} named {name!r}{did_you_mean(name, sorted({offer.name for offer in self.offers(kind)}))}"
        for plugin in self.broken(name):
            text = f"{kind} {name!r}: {plugin.distribution} {plugin.version}: {plugin.problems[0]}"
            raise PluginError(f"{text}; repair or uninstall it (see `lab plugins`)")
        if broken := [plugin for plugin in self.plugins if plugin.problems]:
            names = ", ".join(p.distribution for p in broken)
            text += f" ({names} failed to load: see `lab plugins`)"
        raise UnknownPlugin(text + in_this_folder(name))

    def offer_of(self, kind: str, cls: type) -> Offer:
        """Return the offer of a class: the one under whose name a plugin offers it, else a reference to it.

        Raises `PluginError` for a class that is no sound component of that kind.
        """
        package = cls.__module__.partition(".")[0]
        for declared in self._declare(kind):
            near = isinstance(declared.value, str) and declared.value.partition(":")[0].partition(".")[0] == package
            if near or declared.value is cls:
                offer = self._sound(declared)
                if offer is not None and offer.cls is cls:
                    return offer
        return self._offered(kind, reference_of(cls), cls)

    def _referred(self, kind: str, reference: str) -> Offer:
        from lab import ports

        return self._offered(kind, *resolve(reference, getattr(ports, BASES[kind])))

    @staticmethod
    def _offered(kind: str, reference: str, cls: type) -> Offer:
        problem = _problem(kind, cls)
        if problem:
            raise PluginError(f"{reference}: {cls.__name__}{problem.removeprefix(',')}")
        distribution, version = origin_of(cls)
        return Offer(kind, reference, cls, Plugin(alias_of(cls.__name__), distribution, version))

    def broken(self, name: str) -> list[Plugin]:
        """Return the plugins that failed and have this name, or offer it as far as was found out."""
        return [
            plugin
            for plugin in self.plugins
            if plugin.problems
            and (name in {plugin.name, plugin.distribution} or any(repr(name) in text for text in plugin.problems))
        ]

    def _declare(self, kind: str) -> list[_Declared]:
        """Return what the plugins offer of one kind under a sound name, not looked at any further."""
        if kind not in self._declared:
            hook = KINDS[kind]
            self._declared[kind] = found = []
            for plugin, offered in self._call(hook):
                for name, value in offered.items():
                    if isinstance(name, str) and name.replace("_", "").isalnum() and name.islower():
                        found.append(_Declared(kind, name, value, plugin))
                    else:
                        plugin.fail(f"{hook} offers the name {name!r}; expected lower-case letters, digits, _")
        return self._declared[kind]

    def _sound(self, declared: _Declared) -> Offer | None:
        """Return the offer whose class is sound, or note once at its plugin what is wrong with it."""
        kind, name, value, plugin = declared
        key = (kind, name, plugin.distribution, plugin.name)
        if key not in self._offers:
            self._offers[key] = None
            try:
                cls = _resolved(value)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                problem = f", which cannot be imported: {type(error).__name__}: {error}"
            else:
                problem = _problem(kind, cls)
            if problem:
                plugin.fail(f"{KINDS[kind]} offers {name!r}{problem}")
            else:
                self._offers[key] = Offer(kind, name, cls, plugin)
        return self._offers[key]

    def commands(self) -> dict[str, PluginCommand]:
        """Return the further command lines that plugins offer; the first of two with one name wins."""
        found: dict[str, PluginCommand] = {}
        for plugin, offered in self._call("lab_commands"):
            for name, command in offered.items():
                if not isinstance(command, PluginCommand):
                    plugin.fail(f"lab_commands offers {name!r} as {command!r}, expected a PluginCommand")
                elif name in found:
                    plugin.fail(f"lab_commands offers {name!r}, which another plugin offers too")
                else:
                    found[name] = command
        return found


def _resolved(value: object) -> Any:
    """Return a class that is offered as text, imported; anything else as it is."""
    if not isinstance(value, str):
        return value
    module, colon, attribute = value.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"{value!r:.100} is no module:Class")
    return getattr(import_module(module), attribute)


def _problem(kind: str, cls: Any) -> str:
    """Return what is wrong with a class that is offered as a component, or an empty text."""
    from lab import ports
    from lab.plugins.settings import settings_of

    base: type = getattr(ports, BASES[kind])
    if not (isinstance(cls, type) and issubclass(cls, base)):
        return f" as {cls!r}, expected a subclass of {base.__name__}"
    if inspect.isabstract(cls):
        return f", whose class lacks {', '.join(sorted(getattr(cls, '__abstractmethods__', ())))}"
    if not hasattr(cls, "__attrs_attrs__"):
        return ", whose class is no attrs class; add @attrs.define"
    try:
        settings_of(cls)
    except PluginError as problem:
        return f": {problem}"
    return ""
